"""Which files of a package no program can load: maps, declarations, unreachable sources, tests, docs.

The programs meant are Node and OpenCode (Bun), which loads `.ts` as well. What can be reached is what
package.json names (`exports` and `imports` as in Node 20's `lib/internal/modules/esm/resolve.js`, under
every condition that a runtime sets by itself) and, from every file that stays, what its relative string
literals name. JavaScript, JSON, WebAssembly, native code and data stay whatever reaches them: only the
kinds below are ever left out.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from opencode_cache.build.unpack.kinds import (
    DECLARATION,
    LEGAL,
    SOURCE,
    TEST_FILE,
    TEXT,
    Kind,
    held,
    is_source_map,
    kind,
    useless,
)
from opencode_cache.build.unpack.package_json import load_targets, parse, type_targets

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Collection, Iterable

    Read = Callable[[str], "bytes | mmap.mmap | None"]

__all__ = ["held", "is_source_map", "keep", "useless"]

_SCANNED = re.compile(r"\.(?:[cm]?[jt]sx?|vue|svelte)$|(?:^|/)[^./]+$")


def keep(files: Iterable[str], package_json: object, read: Read, *, declarations: bool = False) -> set[str]:
    """The files of a package that stay.

    `files` are paths below the package, `package_json` is what its manifest says, `read` gives a file's
    content, or None where it is too long to look at. `declarations` keeps every `.d.ts`. Without a manifest
    that is an object everything stays.
    """
    everything = {path for path in files if not useless(path)}
    if not isinstance(package_json, dict):
        return everything
    return _Reach(everything, package_json, read, declarations=declarations).kept()


class _Reach:
    """Finds out, for one package, which of the files that could go are reached and stay."""

    def __init__(
        self, files: set[str], manifest: dict[str, object], read: Read, *, declarations: bool
    ) -> None:
        self._files = files
        self._manifest = manifest
        self._read = read
        self._kinds = {path: what for path in files if (what := kind(path))}
        self._open = set(self._kinds)
        """What nothing has reached yet."""
        self._queue = [path for path in files if path not in self._kinds]
        if declarations:
            self._reached(path for path, kind in self._kinds.items() if kind is Kind.DECLARATION)
        self._names: dict[str, set[str]] = {}
        """What may go, by each path that an importer may write for it."""
        self._below: dict[str, set[str]] = {}
        """What may go, by each folder above it: whoever names a folder may list it. No declarations."""
        self._sources: dict[str, set[str]] = {}
        """The sources that may go, by their own folder."""
        for path in self._open:
            for name in _names(path, self._kinds[path], files):
                self._names.setdefault(name, set()).add(path)
            folder = posixpath.dirname(path)
            if self._kinds[path] is Kind.SOURCE:
                self._sources.setdefault(folder, set()).add(path)
            while folder and self._kinds[path] is not Kind.DECLARATION:
                self._below.setdefault(folder, set()).add(path)
                folder = posixpath.dirname(folder)

    def kept(self) -> set[str]:
        manifests = {"": self._manifest}
        for path in self._files:
            if path.endswith("/package.json") and self._kinds.get(path) is None:
                manifests[posixpath.dirname(path)] = parse(self._read(path))
        for folder, manifest in manifests.items():
            self._named_by_manifest(folder, manifest)
        if "exports" not in self._manifest:
            self._reached(path for path in list(self._open) if self._can_be_imported_deep(path))
        self._needed_declarations()
        self._follow()
        return self._files - self._open

    def _reached(self, paths: Iterable[str]) -> None:
        for path in list(paths):
            if path in self._open:
                self._open.remove(path)
                self._queue.append(path)

    # package.json

    def _named_by_manifest(self, folder: str, fields: dict[str, object]) -> None:
        for target in load_targets(fields):
            self._named(folder, target)

    def _named(self, folder: str, target: str) -> None:
        path = _joined(folder, target)
        if path is None:
            return
        if "*" not in target and not target.endswith("/"):
            self._reached(self._names.get(path, ()))
            self._reached(self._below.get(path, ()))
            return
        stem, _, tail = path.rpartition("*") if "*" in target else (path + "/", "", "")
        pattern = re.compile(".*".join(re.escape(part) for part in f"{stem}*{tail}".split("*")))
        # `./*` is meant for code: it names no declarations and no texts unless it ends like one.
        reachable = {
            Kind.DECLARATION: DECLARATION.search(f"x{tail}") is not None,
            Kind.DOCUMENT: TEXT.search(tail) is not None,
        }
        self._reached(
            path for path in self._open if reachable.get(self._kinds[path], True) and pattern.fullmatch(path)
        )

    def _can_be_imported_deep(self, path: str) -> bool:
        """Whether `import "package/path"` is plausible in a package without `exports`."""
        kind = self._kinds[path]
        if kind is Kind.TEST:
            return not (TEST_FILE.search(path) or "__" in path or re.match(r"(?:src/)?tests?/", path))
        if kind is not Kind.SOURCE:
            return False
        # Beside compiled code a source is what that was made from; elsewhere Bun may be told to load it.
        stem = SOURCE.sub("", path)
        return not any(f"{stem}{end}" in self._files for end in _JS_ENDS)

    def _needed_declarations(self) -> None:
        """Let declarations stay that describe no file beside them and that `types` does not lead to."""
        mixed = {""} if any(self._is_runtime(path) for path in self._files) else set()
        for path in self._files:
            folder = posixpath.dirname(path)
            while folder and folder not in mixed and self._is_runtime(path):
                mixed.add(folder)
                folder = posixpath.dirname(folder)
        typed = {path for path in map(_plain, type_targets(self._manifest)) if path}
        typed_folders = {_topmost(path, mixed) for path in typed} - {None}
        for path in [path for path in self._open if self._kinds[path] is Kind.DECLARATION]:
            stem = DECLARATION.sub("", path)
            described = any(f"{stem}{end}" in self._files for end in _RUNTIME_ENDS)
            if not (described or path in typed or _topmost(path, mixed) in typed_folders):
                self._reached([path])

    def _is_runtime(self, path: str) -> bool:
        return self._kinds.get(path) not in (Kind.DECLARATION, Kind.DOCUMENT) and not (
            path.endswith("package.json") or LEGAL.match(posixpath.basename(path))
        )

    # What files say

    def _follow(self) -> None:
        """Go through every file that stays, from one to the next, and keep what its strings name.

        Most files are passed over after a search for a few words: a string that leads to a file in another
        top folder has that folder's name in it.
        """
        words = {self._word(path) for path in self._open}
        tops = {path.partition("/")[0] for path in self._open if self._kinds[path] is not Kind.DECLARATION}
        while self._queue and self._open:
            path = self._queue.pop()
            if not _SCANNED.search(path):
                continue
            content = self._read(path)
            if content is None:
                self._reached(self._open)
                return
            folder = posixpath.dirname(path)
            beside = path.partition("/")[0] in tops if folder else any("/" not in top for top in tops)
            if beside or any(content.find(word) >= 0 for word in words):
                self._named_by_code(folder, content, words)

    def _word(self, path: str) -> bytes:
        if self._kinds[path] is Kind.DECLARATION:
            return b".d."
        top, slash, _ = path.partition("/")
        return (top if slash else SOURCE.sub("", top)).encode()

    def _named_by_code(self, folder: str, content: bytes | mmap.mmap, words: set[bytes]) -> None:
        for match in _RELATIVE.finditer(content):
            text, dynamic, _ = match.group(1).decode("utf-8", "replace").partition("${")
            text = text[: text.rfind("/") + 1] if dynamic else text.partition("?")[0]
            path = _joined(folder, text)
            if path is None:
                continue
            self._reached(self._names.get(path, ()))
            if path not in ("", folder):
                self._reached(self._below.get(path, ()))
            elif text == "./":  # import("./" + name)
                self._reached(self._sources.get(folder, ()))
        if _HERE.search(content):
            # path.join(__dirname, "docs"), new URL("docs/x.md", import.meta.url)
            for match in _BARE.finditer(content):
                if any(word in match.group(1) for word in words):
                    text = match.group(1).decode("utf-8", "replace").partition("${")[0].strip("/")
                    for path in filter(None, (_joined("", text), _joined(folder, text))):
                        self._reached(self._names.get(path, ()))
                        self._reached(self._below.get(path, ()))


_RUNTIME_ENDS = (
    ".js",
    ".mjs",
    ".cjs",
    ".jsx",
    ".ts",
    ".tsx",
    ".mts",
    ".cts",
    ".json",
    ".node",
    ".css",
    ".vue",
)
_RELATIVE = re.compile(rb"[\"'`](\.\.?(?:/[^\"'`\n]{0,512})?(?=[\"'`$]))")
_BARE = re.compile(rb"[\"'`]/?([\w@][^\"'`\n]{0,256})(?=[\"'`])")
_HERE = re.compile(rb"__dirname|__filename|import\.meta")
_SOURCE_ENDS = (".ts", ".tsx", ".mts", ".cts")
_JS_ENDS = (".js", ".mjs", ".cjs", ".jsx")


def _names(path: str, kind: str, files: Collection[str]) -> set[str]:
    """The paths, as an importer may write them, that a file answers to.

    Bun resolves `./x` and `./x.js` to `x.ts`, below node_modules only where no JavaScript file answers
    (tried with the Bun in OpenCode 1.0.61 and 1.18.33).
    """
    names = {path}
    stem, end = posixpath.splitext(path)
    if kind is Kind.DECLARATION or end not in (*_SOURCE_ENDS, *_JS_ENDS, ".json"):
        return names
    if end in _JS_ENDS or not any(f"{stem}{js}" in files for js in _JS_ENDS):
        names.add(stem)
        if posixpath.basename(stem) == "index":
            names.add(posixpath.dirname(path))
    if end in _SOURCE_ENDS:
        names |= {f"{stem}{js}" for js in _JS_ENDS if f"{stem}{js}" not in files}
    return names


def _joined(folder: str, target: str) -> str | None:
    """A target, relative to a folder, as a path of the package; None where it leaves it or is no path."""
    if target.startswith(("/", "#")) or ":" in target or "\0" in target or not target:
        return None
    path = posixpath.normpath(posixpath.join(folder, target))
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path


def _plain(target: str) -> str:
    return posixpath.normpath(target).removesuffix("/.") if target else ""


def _topmost(path: str, mixed: set[str]) -> str | None:
    """The highest folder above a declaration that holds nothing for a program; None if there is none."""
    parts = path.split("/")[:-1]
    for length in range(len(parts) + 1):
        folder = "/".join(parts[:length])
        if folder not in mixed:
            return folder
    return None
