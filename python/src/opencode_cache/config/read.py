"""The files of a user's OpenCode configuration, in the order in which OpenCode puts them together.

Upstream (anomalyco/opencode `packages/opencode/src/config/{config,paths,tui,managed}.ts`; read in and tried
on 1.18.33, where a later file wins): the global directory's `config.json`, `opencode.json`, `opencode.jsonc`;
OPENCODE_CONFIG; `opencode.json` and `.jsonc` from the worktree down to the working directory (without a
repository from the root of the file system); those in each `.opencode` from the working directory up, in
`~/.opencode` and in OPENCODE_CONFIG_DIR; OPENCODE_CONFIG_CONTENT; the managed directory's. `tui.json` and
`.jsonc` lie beside them, and OPENCODE_TUI_CONFIG names one more. OPENCODE_DISABLE_PROJECT_CONFIG leaves the
project's out. What a server gives (a login's `.well-known/opencode`, an account) is not looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencode_cache.base import files
from opencode_cache.base.errors import BadInputError
from opencode_cache.config.text import TextError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAMES = ("opencode.json", "opencode.jsonc")
_TUI_NAMES = ("tui.json", "tui.jsonc")
_CONTENT = "OPENCODE_CONFIG_CONTENT"
_LISTS = {"plugin", "instructions"}
_MANAGED = Path("/etc/opencode")
_ON = frozenset({"1", "true"})
_SECTIONS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
API = "@opencode-ai/plugin"
"""What every config directory gets, asked for or not."""


@dataclass(frozen=True)
class Document:
    """One file, or one variable. `tui`: it is the interface's, of which only plugins count here."""

    where: str
    directory: Path
    """What paths in it are relative to."""
    value: dict[str, Any]
    tui: bool = False


@dataclass(frozen=True)
class Broken:
    """What should be configuration, and with which OpenCode does not start."""

    where: str
    why: str


@dataclass
class Configuration:
    """Everything that was read."""

    documents: list[Document] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    """OpenCode's config directories that are there: tools and plugins lie in them, and package.json."""
    projects: list[Path] = field(default_factory=list)


def directory(environ: Mapping[str, str]) -> Path | None:
    """The user's config directory, if it can be known."""
    own, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if own.startswith("/"):
        return Path(own) / "opencode"
    return Path(home) / ".config/opencode" if home.startswith("/") else None


def read(environ: Mapping[str, str], projects: Sequence[Path]) -> Configuration:
    """What OpenCode reads when it is started in each of the projects, by that environment."""
    configuration = Configuration(projects=list(projects))
    paths: dict[Path, bool] = {}
    for project in projects:
        paths |= dict.fromkeys(_config_paths(environ, project), False)
    for path in paths:
        _add(configuration, path, environ)
    _replace_lists(configuration, directory(environ))
    content = environ.get(_CONTENT)
    if content:
        _add_text(configuration, _CONTENT, content, projects[0] if projects else Path("/"), environ)
    managed = Path(environ.get("OPENCODE_TEST_MANAGED_CONFIG_DIR") or _MANAGED)
    for name in _NAMES:
        _add(configuration, managed / name, environ)
    for path in dict.fromkeys(path for project in projects for path in _tui_paths(environ, project)):
        _add(configuration, path, environ, tui=True)
    directories = [path for project in projects for path in _directories(environ, project)]
    configuration.directories = [path for path in dict.fromkeys(directories) if path.is_dir()]
    return configuration


def _replace_lists(configuration: Configuration, config: Path | None) -> None:
    """Of the global directory's files the last list counts, where all other files' lists add up."""
    seen: set[str] = set()
    for index in reversed(range(len(configuration.documents))):
        document = configuration.documents[index]
        if document.directory == config:
            value = {key: value for key, value in document.value.items() if key not in seen}
            configuration.documents[index] = Document(document.where, document.directory, value)
            seen |= _LISTS & document.value.keys()


def read_files(paths: Sequence[Path], environ: Mapping[str, str], projects: Sequence[Path]) -> Configuration:
    """The same of these files alone, and of the projects'. Raises BadInputError for one that is not there."""
    configuration = Configuration(projects=list(projects))
    for path in paths:
        if not path.is_file():
            raise BadInputError(f"{path}: no such file; give an opencode.json, opencode.jsonc or tui.json")
        _add(configuration, path.absolute(), environ, tui=path.name in _TUI_NAMES)
    beside = [path.absolute().parent for path in paths if (path.absolute().parent / "package.json").is_file()]
    for project in projects:
        inner = _inner(project)
        for path in (*_project_files(project, _NAMES), *(one / name for one in inner for name in _NAMES)):
            _add(configuration, path, environ)
        for path in (
            *_project_files(project, _TUI_NAMES),
            *(one / name for one in inner for name in _TUI_NAMES),
        ):
            _add(configuration, path, environ, tui=True)
        beside += inner
    configuration.directories = [path for path in dict.fromkeys(beside) if path.is_dir()]
    return configuration


def _config_paths(environ: Mapping[str, str], project: Path) -> Iterator[Path]:
    config, named = directory(environ), environ.get("OPENCODE_CONFIG")
    if config:
        yield from (config / name for name in ("config.json", *_NAMES))
    if named:
        yield project / named
    if not _without_project(environ):
        yield from _project_files(project, _NAMES)
    yield from (path / name for path in _inner_directories(environ, project) for name in _NAMES)


def _tui_paths(environ: Mapping[str, str], project: Path) -> Iterator[Path]:
    config, named = directory(environ), environ.get("OPENCODE_TUI_CONFIG")
    if config:
        yield from (config / name for name in _TUI_NAMES)
    if named:
        yield project / named
    if not _without_project(environ):
        yield from _project_files(project, _TUI_NAMES)
    yield from (path / name for path in _inner_directories(environ, project) for name in _TUI_NAMES)


def _without_project(environ: Mapping[str, str]) -> bool:
    return environ.get("OPENCODE_DISABLE_PROJECT_CONFIG", "").lower() in _ON


def _upwards(project: Path) -> list[Path]:
    """The working directory and those above it, up to the worktree's top."""
    every = [project, *project.parents]
    top = next((path for path in every if (path / ".git").exists()), None)
    return every[: every.index(top) + 1] if top else every


def _project_files(project: Path, names: Sequence[str]) -> list[Path]:
    return [path / name for path in reversed(_upwards(project)) for name in names]


def _inner(project: Path) -> list[Path]:
    return [path / ".opencode" for path in _upwards(project)]


def _inner_directories(environ: Mapping[str, str], project: Path) -> list[Path]:
    home, extra = environ.get("HOME", ""), environ.get("OPENCODE_CONFIG_DIR")
    directories = [] if _without_project(environ) else _inner(project)
    directories += [Path(home) / ".opencode"] if home.startswith("/") else []
    directories += [project / extra] if extra else []
    return list(dict.fromkeys(directories))


def _directories(environ: Mapping[str, str], project: Path) -> list[Path]:
    config = directory(environ)
    return [*([config] if config else []), *_inner_directories(environ, project)]


def _add(configuration: Configuration, path: Path, environ: Mapping[str, str], *, tui: bool = False) -> None:
    try:
        text = files.read_text(path, files.SETTINGS, errors="replace")
    except OSError:
        return  # as OpenCode does without
    _add_text(configuration, str(path), text, path.parent, environ, tui=tui)


def _add_text(
    configuration: Configuration,
    where: str,
    text: str,
    beside: Path,
    environ: Mapping[str, str],
    *,
    tui: bool = False,
) -> None:
    try:
        value = parse(text, beside, environ)
    except TextError as error:
        configuration.broken.append(Broken(where, str(error)))
        return
    if not isinstance(value, dict):
        configuration.broken.append(Broken(where, "is not a table"))
        return
    configuration.documents.append(Document(where, beside, value, tui))


def dependencies(config: Path) -> dict[str, str]:
    """Package → range, of a config directory's package.json, without the plugin API.

    Raises BadInputError for one that is no package.json.
    """
    path = config / "package.json"
    try:
        document = json.loads(files.read_text(path, files.SETTINGS))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: cannot be read as a package.json; fix or remove it") from error
    wanted: dict[str, str] = {}
    for section in _SECTIONS:
        for name, version in table(document, section).items():
            if isinstance(version, str) and name != API:
                wanted.setdefault(name, version)
    return wanted


def table(document: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 - whatever the user wrote
    """A table in a document, empty where there is none."""
    inner = document.get(key) if isinstance(document, dict) else None
    return inner if isinstance(inner, dict) else {}
