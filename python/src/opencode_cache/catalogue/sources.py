"""The files of models.dev's sources: found, read, and parsed to what JSON can say.

Upstream finds them with Bun's `Glob` (`**/*.toml`, links followed, hidden names left out) and reads them with
Bun's TOML importer. What Bun lets through although TOML forbids it (two pairs on a line, text that is not
UTF-8) does not occur in the sources, and is refused.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any

from opencode_cache.base.errors import BadInputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".toml"

_LARGEST = 1_000_000
"""Bytes; a model's file has less than 3,000."""
_MOST_FILES = 100_000
_DEEPEST = 32
_EXACT = 2**53
"""Above it upstream's numbers, which are JavaScript's, are no longer exact."""


class Tree:
    """The directory that holds the sources. Nothing outside of it is read, whatever links say."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._real = os.path.realpath(root)
        self._seen = 0

    def inside(self, path: str) -> str:
        """Where the path really leads. Raises BadInputError where that is not below the root."""
        real = os.path.realpath(path)
        if os.path.commonpath([real, self._real]) != self._real:
            raise BadInputError(f"{path}: is a link out of {self.root}, to {real}; put a copy in its place")
        return real

    def toml_files(self, directory: str) -> Iterator[tuple[str, str]]:
        """Id and path of every TOML file below, sorted. The id is the path below, without `.toml`.

        Links to files and directories are followed; a link that leads nowhere is passed over.
        """
        yield from self._walk(directory, "", (self.inside(directory),))

    def _walk(self, directory: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for entry in listed(directory):
            path = entry.path
            real = self.inside(path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
            try:
                is_directory, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:  # a link to itself
                raise BadInputError(f"{path}: cannot be read ({error.strerror}); remove it") from error
            if is_directory:
                if real in above or len(above) > _DEEPEST:
                    raise BadInputError(f"{path}: leads back to a directory above it; remove the link")
                yield from self._walk(path, f"{prefix}{entry.name}/", (*above, real))
            elif is_file and entry.name.endswith(SUFFIX):
                self._seen += 1
                if self._seen > _MOST_FILES:
                    raise BadInputError(
                        f"{path}: is one of more than {_MOST_FILES} files; give models.dev's sources"
                    )
                yield f"{prefix}{entry.name[: -len(SUFFIX)]}", path


def listed(directory: str) -> list[os.DirEntry[str]]:
    """What is in a directory and not hidden, by name. Raises BadInputError where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise BadInputError(
            f"{directory}: cannot be read ({error.strerror}); give the sources of models.dev"
        ) from error
    for entry in visible:
        if not entry.name.isprintable():  # it would be an id, and no JSON has bytes that are no text
            raise BadInputError(f"{entry.path!a}: the name is not plain text; rename it")
    return sorted(visible, key=lambda entry: entry.name)


def load(path: str) -> dict[str, Any]:
    """A TOML file as JSON has it after upstream. Raises BadInputError with the file, and line or field."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of them, and Path.open takes its time
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise BadInputError(
                f"{path}: is larger than {_LARGEST // 1000} kB, as no model's file is; make it smaller"
            )
        table = tomllib.loads(content.decode("utf-8-sig"))  # upstream reads past a byte order mark, too
    except OSError as error:
        raise BadInputError(
            f"{path}: cannot be read ({error.strerror}); give the sources of models.dev"
        ) from error
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:  # not TOML, or a number with thousands of digits
        raise BadInputError(f"{path}: not TOML: {error}; fix it") from error
    try:
        return {key: plain(value, key) for key, value in table.items()}
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error


def plain(value: object, where: str) -> Any:  # noqa: ANN401 - whatever JSON can say
    """The value as JSON has it after upstream: 3.0 is 3. Raises ValueError for what JSON cannot say."""
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, dict):
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, f"{where}.{number}") for number, item in enumerate(value)]
    if isinstance(value, int) and abs(value) <= _EXACT:
        return value
    if isinstance(value, (int, float)):
        number = float(value) if abs(value) < sys.float_info.max else math.inf
        if math.isfinite(number):
            return int(number) if number.is_integer() else number
        raise ValueError(f"{where}: is not a number that JSON can say; correct it")
    raise ValueError(f"{where}: {value} is a date or a time; write it as text, in quotes")
