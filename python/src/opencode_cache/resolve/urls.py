"""Fetches the texts that a plan names by address, for its lock. An index from outside may say anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pydantic import ValidationError

from opencode_cache.base import http
from opencode_cache.base.errors import NetworkError
from opencode_cache.base.model import first_problem
from opencode_cache.formats import urls
from opencode_cache.formats.lock import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WORKERS = 8
_INSTEAD = "fetch the skills into a directory and name it under skills.paths"


def take(
    instructions: Sequence[str], skills: Sequence[str], on_step: Callable[[str], None]
) -> tuple[dict[str, str], list[Unavailable]]:
    """Address -> text, of everything that is named; and what cannot be had, with the reason."""
    texts: dict[str, str] = {}
    gone = []
    wanted = [(_instruction, url) for url in dict.fromkeys(instructions)]
    wanted += [(_skills, url) for url in dict.fromkeys(skills)]
    if wanted:
        on_step(f"fetching what {len(wanted)} addresses of the configuration have")
    for fetch, url in wanted:
        try:
            more, reason = fetch(url), f"with it there are more than {urls.MOST} texts; {_INSTEAD}"
        except NetworkError as error:
            more, reason = {}, str(error)
        if more and len(texts | more) <= urls.MOST:
            texts |= more
        else:
            gone.append(Unavailable(kind="url", spec=url, reason=reason))
    return texts, gone


def _instruction(url: str) -> dict[str, str]:
    return {url: _text(url, "save it as a file and name that")}


def _skills(url: str) -> dict[str, str]:
    first = urls.first("skills", url)
    base = first.removesuffix("index.json")
    try:
        index = urls.Index.model_validate_json(_text(first, _INSTEAD))
    except ValidationError as error:
        raise NetworkError(f"{first} is no index of skills ({first_problem(error)}); {_INSTEAD}") from error
    # OpenCode passes over one without SKILL.md.
    chosen = {
        skill.name: list(dict.fromkeys(skill.files)) for skill in index.skills if "SKILL.md" in skill.files
    }
    places = [(name, file) for name, files in chosen.items() for file in files]
    if len(places) >= urls.MOST:
        raise NetworkError(f"{first} names {len(places)} files; {_INSTEAD}")
    with ThreadPoolExecutor(_WORKERS) as pool:
        bodies = pool.map(lambda place: _text(f"{base}{place[0]}/{place[1]}", _INSTEAD), places)
        texts = dict(zip(places, bodies, strict=True))
    skills = {name: {file: texts[name, file] for file in files} for name, files in chosen.items()}
    return {first: urls.index(skills)} | {
        f"{base}{name}/{file}": text for (name, file), text in texts.items()
    }


def _text(url: str, fix: str) -> str:
    try:
        return http.Client(most=urls.LARGEST).read(url).decode()
    except UnicodeDecodeError as error:
        raise NetworkError(f"{url} is no text in UTF-8; {fix}") from error
