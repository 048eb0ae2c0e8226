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

from typing import TYPE_CHECKING, Literal

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats.grammar import PINNED, Grammar
from opencode_cache.opencode.highlighting import why_not

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from opencode_cache.opencode.highlighting import Remote


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
            raise BadInputError(f"languages: {why_not(name, known, embedded)}")
    return {name: pins[name] for name in names if name in pins}, [n for n in names if n not in pins]
