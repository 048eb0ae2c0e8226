"""The build step: tarballs and a lock become the content of OpenCode's cache directory.

Pure: reads only what its arguments name, writes only `out`, gives the same bytes, modes and times for the
same input. Nothing stands at `out` until all of it is right.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opencode_cache import __version__, layouts
from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.build import assemble, catalogue, grammars, interpreter, urls, user_files
from opencode_cache.build.unpack.bins import link_bins
from opencode_cache.formats import contents, grammar, manifest, proof
from opencode_cache.formats.manifest import Manifest
from opencode_cache.layouts import accepts
from opencode_cache.opencode import highlighting
from opencode_cache.opencode import run as opencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opencode_cache.formats.lock import Lock, Package
    from opencode_cache.npm import platforms

MTIME = 1
"""Of everything in a cache: the time that the Nix store gives its files."""


@dataclass(frozen=True)
class Inputs:
    """All that a build reads."""

    lock: Lock
    tarballs: Path
    opencode: Path
    system: platforms.System
    models: Path | None = None
    tui: Path | None = None
    force_models: bool = False
    """Ship `models` even if the binary's own catalogue is newer."""
    models_revision: str | None = None
    """What `models` is a revision of, for the manifest."""
    keep_all: bool = False
    interpreter: Path | None = None
    """The ELF loader that programs of npm packages are to ask for, on a system without /lib64."""
    node: Path | None = None
    """The Node.js that scripts of npm packages are started with, where /usr/bin/env is missing."""
    by: Path | None = None
    """An OpenCode that runs here, where `opencode` is another system's, as the lock has it."""


def build(
    inputs: Inputs,
    out: Path,
    *,
    on_done: Callable[[Package], None] = lambda _: None,
    prove: Callable[[Path], None] = lambda _: None,
) -> Manifest:
    """Write the cache to `out`, which must not exist.

    `on_done` is told of each package that is unpacked. `prove` is called with the finished cache before it
    gets its name, and refuses it by raising. Whatever is raised (BadInputError, or what `prove` raises),
    there is then nothing at `out`.
    """
    if out.is_symlink() or out.exists():
        raise BadInputError(f"{out}: exists already; remove it or choose another --out")
    layouts.check(inputs.lock)
    version = inputs.lock.opencode.version
    if inputs.by is None:
        version = accepts.accepted(inputs.opencode, version)
    with _place(out) as cache:
        try:
            new_manifest = _fill(inputs, version, cache, on_done)
        except OSError as error:
            raise BadInputError(
                f"{out}: cannot be written ({error.strerror}: {error.filename}); free some space there"
            ) from error
        _settle(cache)
        prove(cache)
        if cache != out:
            with _explained(out):
                files.sync_tree(cache)
                cache.rename(out)
                os.utime(out, (MTIME, MTIME))
                files.sync_directory(out.parent)
    return new_manifest


@contextmanager
def _place(out: Path) -> Iterator[Path]:
    """A new directory that is to be renamed to `out`, and is gone if it was not."""
    with _explained(out):
        files.make_directories(out.parent)
    if os.environ.get("NIX_BUILD_TOP") and os.environ.get("out") == str(out):  # noqa: SIM112 - Nix's
        # Nix allows writing to $out alone, and throws it away itself when a build fails.
        with _explained(out):
            out.mkdir()
        try:
            yield out
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        return
    with ExitStack() as stack:
        with _explained(out):
            directory = stack.enter_context(files.beside(out)) / out.name
            directory.mkdir()
            directory.chmod(files.DIRECTORY_MODE)
        yield directory


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error


def _fill(inputs: Inputs, version: str, cache: Path, on_done: Callable[[Package], None]) -> Manifest:
    lock = inputs.lock
    layout = layouts.named(lock.opencode.layout)
    chosen = contents.selected(lock, inputs.system)
    tools = {request.tree for request in lock.requests if request.kind in ("tool", "command")}
    jobs = {
        cache / name / path: assemble.Job(package, whole=name in tools)
        for name, nodes in chosen.items()
        for path, package in nodes.items()
    }
    assemble.assemble(jobs, inputs.tarballs, keep_all=inputs.keep_all, on_done=on_done)
    for name, nodes in chosen.items():
        link_bins(cache / name, nodes)
    layout.write_metadata(cache, lock)
    user_files.write(lock.files, cache)
    texts = urls.write(lock.urls, cache)
    known = _fetched_languages(inputs)
    grammars.install(lock.languages, known, lock.packages, inputs.tarballs, cache)
    for key in grammar.packages(lock.languages.values()):
        on_done(lock.packages[key])
    shipped = catalogue.write(
        cache, inputs.lock, inputs.opencode, inputs.models, forced=inputs.force_models, by=inputs.by
    )
    tui = _link_tui(inputs, version, cache)
    if inputs.interpreter is not None:
        interpreter.give(cache, inputs.interpreter)
    if inputs.node is not None:
        interpreter.give_node(cache, inputs.node)
    count, size = _measure(cache)
    new_manifest = Manifest(
        builder=__version__,
        opencode=version,
        opencode_integrity=_integrity(lock, inputs.system, version),
        opencode_sha256=proof.sha256(opencode.image(inputs.opencode)),
        layout=lock.opencode.layout,
        cache_version=lock.opencode.cache_version,
        sdk_major=lock.opencode.sdk_major,
        bundled=lock.opencode.bundled,
        system=inputs.system.name,
        kept_all=inputs.keep_all,
        catalogue=shipped.what,
        catalogue_why=shipped.why,
        catalogue_date=shipped.day,
        models_revision=inputs.models_revision,
        tui=tui,
        links=(*layout.links(cache), *sorted(lock.files)),
        copies=layout.copies(cache),
        config="config" if (cache / "config").is_dir() else None,
        requests=contents.entries(lock),
        packages=contents.cached(lock, chosen),
        unavailable=lock.unavailable,
        languages=tuple(sorted(lock.languages)),
        languages_fetched=tuple(grammars.missing(known, lock.languages)),
        signatures=lock.signatures,
        accept=lock.accept or None,
        urls=texts or None,
        files=count,
        bytes=size,
    )
    (cache / manifest.FILE).write_text(manifest.dumps(new_manifest), encoding="utf-8")
    return new_manifest


def _fetched_languages(inputs: Inputs) -> dict[str, highlighting.Remote]:
    """What the binary fetches for its interface. One without a table is refused only where that matters."""
    try:
        return highlighting.remote(inputs.opencode)
    except BadInputError:
        if inputs.lock.languages:
            raise
        return {}


def _link_tui(inputs: Inputs, version: str, cache: Path) -> str | None:
    """`tui/tui-<version>`: a link to the release binary, so that it costs nothing twice."""
    if inputs.tui is not None and not inputs.tui.is_file():
        raise BadInputError(f"{inputs.tui}: is not a file; give the release binary with --tui")
    target = inputs.tui or (inputs.opencode if inputs.lock.opencode.layout == "bun" else None)
    if target is None:
        return None
    link = cache / "tui" / f"tui-{version}"
    link.parent.mkdir()
    link.symlink_to(target.resolve())
    return link.relative_to(cache).as_posix()


def _integrity(lock: Lock, system: platforms.System, version: str) -> str | None:
    package = lock.opencode.binaries.get(system.name)
    return package.integrity if package and package.version == version else None


def _walk(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        yield Path(directory)
        for name in names:
            yield Path(directory) / name


def _measure(cache: Path) -> tuple[int, int]:
    paths = [path for path in _walk(cache) if path.is_file() and not path.is_symlink()]
    return len(paths), sum(path.stat().st_size for path in paths)


def _settle(root: Path) -> None:
    """Give everything the one time, and files that we wrote the one mode, whatever the umask was."""
    for directory, directories, names in os.walk(root, topdown=False):
        for name in names + directories:
            os.utime(Path(directory) / name, (MTIME, MTIME), follow_symlinks=False)
    ours = (manifest.FILE, "models.json", "package.json", "bun.lock", "version", "config/package-lock.json")
    for name in ours:
        if (root / name).is_file():
            (root / name).chmod(0o644)
    for name in ("", "bin", "tui", "packages", "npm", "config"):
        if (root / name).is_dir():
            (root / name).chmod(0o755)
    os.utime(root, (MTIME, MTIME))
