"""Pinned npm packages from which the grammars of `opentui.py` come, and their place in a cache.

OpenCode fetches grammars and queries from GitHub. The same grammars, of the same authors, are npm packages,
so they can be locked by hash like everything else. A plan names languages, and may bring a pin of its own:

    languages = ["python", "rust", "nix"]      # or "pinned": all that there is a pin for

    [grammars.nix]
    wasm = "my-grammars@1.0.0/tree-sitter-nix.wasm"          # package@version/path
    queries = ["my-grammars@1.0.0/nix/highlights.scm"]

In a cache they are `tree-sitter/{languages,queries}/`, under the names by which OpenTUI looks for them, and
`tree-sitter/files.json` says which file stands for which URL: language -> URL -> path beside it.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .errors import BadInputError
from .unpack.tar import Kind, Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from .lock import Package
    from .opentui import Remote

DIRECTORY = "tree-sitter"
"""Of the cache: what OpenTUI's own `tree-sitter` directory would hold."""
INDEX = "files.json"
PINNED: Literal["pinned"] = "pinned"

_FILE = re.compile(
    r"(?P<package>(?:@[^/@\s]+/)?[^/@\s]+@\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)/(?P<path>[^/\s]\S*)"
)
_NOTHING_MORE = b"; what this stands for is in the first of the queries\n"
"""OpenTUI joins the queries of a language, and takes an empty file for one that is not there."""


def _file(value: str) -> str:
    match = _FILE.fullmatch(value)
    path = PurePosixPath(match["path"]) if match else None
    if match is None or path is None or ".." in path.parts or str(path) != match["path"]:
        raise ValueError(f"{value!r} is not `package@version/path`, with an exact version")
    return value


File = Annotated[str, AfterValidator(_file)]
"""A file in an npm package: `tree-sitter-python@0.23.6/queries/highlights.scm`."""


class Grammar(BaseModel):
    """Where one language comes from: its grammar, and its queries in the order in which they are joined."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wasm: File
    queries: Annotated[tuple[File, ...], Field(min_length=1)]

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that hold the files, as exact npm specs (which are a lock's keys)."""
        return tuple(dict.fromkeys(_split(file)[0] for file in (self.wasm, *self.queries)))


def _split(file: str) -> tuple[str, str]:
    match = _FILE.fullmatch(file)
    assert match  # noqa: S101 - a `File` was checked
    return match["package"], match["path"]


def _pin(package: str, wasm: str = "", *before: str) -> Grammar:
    """A package with its own query, after the queries of the grammars that it extends."""
    name = package.rpartition("@")[0].rpartition("/")[2]
    return Grammar(
        wasm=f"{package}/{wasm or f'{name}.wasm'}", queries=(*before, f"{package}/queries/highlights.scm")
    )


# The versions are those that the binary's URLs name, where npm has them: fsharp 0.3.0, lua 0.5.0 and yaml
# 0.7.2 it has not, and of kotlin and swift no grammar but somebody else's build. Each was shown in colours by
# 1.18.33, and by 1.0.61 where that has the language. Of the other languages the packages that were looked at
# have no grammar, or no query.
PINS = {
    "bash": _pin("tree-sitter-bash@0.25.0"),
    "c": _pin("tree-sitter-c@0.24.1"),
    "cpp": _pin("tree-sitter-cpp@0.23.4", "", "tree-sitter-c@0.23.4/queries/highlights.scm"),
    "csharp": _pin("tree-sitter-c-sharp@0.23.1", "tree-sitter-c_sharp.wasm"),
    "css": _pin("tree-sitter-css@0.25.0"),
    "elixir": _pin("tree-sitter-elixir@0.3.5"),
    "fsharp": _pin("tree-sitter-fsharp@0.3.5"),
    "go": _pin("tree-sitter-go@0.25.0"),
    "haskell": _pin("tree-sitter-haskell@0.23.1"),
    "html": _pin("tree-sitter-html@0.23.2"),
    "java": _pin("tree-sitter-java@0.23.5"),
    "json": _pin("tree-sitter-json@0.24.8"),
    "julia": _pin("tree-sitter-julia@0.23.1"),
    "kotlin": Grammar(
        wasm="tree-sitter-wasms@0.1.13/out/tree-sitter-kotlin.wasm",
        queries=("tree-sitter-kotlin@0.3.8/queries/highlights.scm",),
    ),
    "lua": _pin("@tree-sitter-grammars/tree-sitter-lua@0.4.1"),
    "ocaml": _pin("tree-sitter-ocaml@0.24.2"),
    "php": _pin("tree-sitter-php@0.24.2"),
    "python": _pin("tree-sitter-python@0.23.6"),
    "r": _pin("@davisvaughan/tree-sitter-r@1.2.0"),
    "ruby": _pin("tree-sitter-ruby@0.23.1"),
    "rust": _pin("tree-sitter-rust@0.24.0"),
    "scala": _pin("tree-sitter-scala@0.24.0"),
    "swift": Grammar(
        wasm="tree-sitter-wasms@0.1.13/out/tree-sitter-swift.wasm",
        queries=("tree-sitter-swift@0.4.3/queries/highlights.scm",),
    ),
    "toml": _pin("@tree-sitter-grammars/tree-sitter-toml@0.7.0"),
    "yaml": _pin("@tree-sitter-grammars/tree-sitter-yaml@0.7.1"),
}


def choose(
    wanted: Sequence[str] | Literal["pinned"],
    own: Mapping[str, Grammar],
    known: Mapping[str, Remote],
    embedded: Collection[str] = (),
) -> tuple[dict[str, Grammar], list[str]]:
    """Language -> its pin, for what a plan wants; and those of its languages that nothing is pinned for.

    `own` are the plan's own pins, which win and need not be named again; `known` and `embedded` is what the
    binary fetches and what it has.
    Raises BadInputError for a language that the binary never fetches.
    """
    pins = PINS | dict(own)
    named = [name for name in known if name in pins] if wanted == PINNED else wanted
    names = sorted({*named, *own})
    for name in names:
        if name not in known:
            raise BadInputError(f"languages: {_why_not(name, known, embedded)}")
    return {name: pins[name] for name in names if name in pins}, [n for n in names if n not in pins]


def _why_not(name: str, known: Mapping[str, Remote], embedded: Collection[str]) -> str:
    if name in embedded:
        return f"{name!r} is in the OpenCode binary itself; take it out of the plan"
    meant = next((one.name for one in known.values() if name in one.aliases), None)
    near = [meant] if meant else difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"write {near[0]!r}" if near else f"it fetches {', '.join(sorted(known))}"
    return f"this OpenCode fetches no grammar for {name!r}; {hint}"


def packages(pins: Iterable[Grammar]) -> list[str]:
    """The packages of several pins, as exact npm specs, sorted."""
    return sorted({package for pin in pins for package in pin.packages})


def missing(known: Mapping[str, Remote], pinned: Collection[str]) -> list[str]:
    """The languages that the interface will ask GitHub for when it first shows them, sorted."""
    return sorted(name for name in known if name not in pinned)


def install(
    pins: Mapping[str, Grammar],
    known: Mapping[str, Remote],
    locked: Mapping[str, Package],
    tarballs: Path,
    cache: Path,
) -> tuple[str, ...]:
    """Write the pinned languages into a cache; returns the files, relative to it.

    `known` is what the binary at hand fetches, `locked` has the packages by key, `tarballs` holds files named
    `Package.tarball`. Raises BadInputError where the binary never fetches a language, a package is not in the
    lock, a tarball is damaged or has no such file, and OSError where the cache cannot be written.
    """
    for name in pins:
        if name not in known:
            raise BadInputError(f"languages: {_why_not(name, known, ())}, or lock again")
    if not pins:
        return ()
    content = _read(pins.values(), locked, tarballs)
    written: dict[str, bytes] = {}
    for name, pin in pins.items():
        one = known[name]
        queries = [content[file] for file in pin.queries]
        written[one.language_file] = content[pin.wasm]
        for url, where in one.query_files.items():
            written[where] = b"\n".join(queries) if url == one.highlights[0] else _NOTHING_MORE
    index = {name: known[name].files for name in pins}
    written[INDEX] = (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
    for where, body in sorted(written.items()):
        path = cache / DIRECTORY / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o644)
        for directory in (path.parent, cache / DIRECTORY):
            directory.chmod(0o755)
    return tuple(f"{DIRECTORY}/{where}" for where in sorted(written))


def _read(pins: Iterable[Grammar], locked: Mapping[str, Package], tarballs: Path) -> dict[str, bytes]:
    """The content of every file of the pins. Each tarball is read once, and its hash checked."""
    wanted: dict[str, dict[str, str]] = {}
    for pin in pins:
        for file in (pin.wasm, *pin.queries):
            package, path = _split(file)
            wanted.setdefault(package, {})[path] = file
    content: dict[str, bytes] = {}
    for key, files in sorted(wanted.items()):
        if key not in locked:
            raise BadInputError(f"languages: the lock has no package {key}; lock again")
        found = _take(locked[key], tarballs / locked[key].tarball, files)
        for path, file in files.items():
            if not found.get(path):
                raise BadInputError(f"languages: {key} has no file {path!r}, or an empty one; pin another")
            content[file] = found[path]
    return content


def _take(package: Package, tarball: Path, paths: Collection[str]) -> dict[str, bytes]:
    found = {}
    try:
        with tarball.open("rb") as file:
            reader = Reader(file, package, tarball)
            for member in reader:
                # npm takes the first part for the package's own directory, whatever it is called.
                path = member.path.partition("/")[2]
                if member.kind is Kind.FILE and path in paths:
                    found[path] = b"".join(reader.chunks())
    except OSError as error:
        raise BadInputError(
            f"{package.key}: {tarball} cannot be read ({error.strerror}); run `opencode-cache fetch` first"
        ) from error
    return found
