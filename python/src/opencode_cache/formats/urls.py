"""Texts that a configuration names by address: `instructions`, and the skills below `skills.urls`.

They travel in the lock with their content, as files of the user's own do: whoever writes at such an address
may change it on any day, and what an agent is told has to be read in a diff. Upstream (anomalyco/opencode
`packages/opencode/src/session/instruction.ts`, `src/skill/discovery.ts`; read in and tried on 1.3.2, 1.14.34
and 1.18.33): a text of `instructions` is fetched for each prompt and kept nowhere; of an address of `skills`,
`index.json` is fetched at every start, and without it the skills that are kept below `skills/` are not looked
at. So what is preloaded into OpenCode answers these addresses (`wrapper/preload.js`).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field

from opencode_cache.base.errors import BadInputError
from opencode_cache.npm.spec import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opencode_cache.opencode import versions

DIRECTORY = "urls"
"""In the cache: each text under its sha256, and `files.json`, which has address -> sha256."""
INDEX = f"{DIRECTORY}/files.json"
LARGEST = 64 * 1024
"""Bytes of one text."""
MOST = 500
"""Texts of one lock."""
_FILE = "index.json"
_LONGEST = 2000
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~!$&()*+,;=:@%/-]*)?", re.IGNORECASE)
_PART = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
"""What one part of a path is called, whoever writes the address of it."""


class Skill(BaseModel):
    """One skill of an `index.json`; what else the index says is not for us."""

    name: str = Field(pattern=f"^{_PART}$", max_length=200)
    files: list[Annotated[str, Field(pattern=f"^{_PART}(?:/{_PART})*$", max_length=500)]] = Field(
        max_length=MOST
    )


class Index(BaseModel):
    """An `index.json`, as OpenCode reads it."""

    skills: list[Skill] = Field(max_length=MOST)


def digests(texts: Mapping[str, str]) -> dict[str, str]:
    """Address -> sha256 of its text, sorted."""
    return {url: hashlib.sha256(text.encode()).hexdigest() for url, text in sorted(texts.items())}


def check(field: str, url: str, layout: versions.LayoutName) -> None:
    """Refuse an address that no lock may hold. Raises BadInputError that names the plan's key and a fix."""
    fix = "save the text as a file and name that"
    if field == "skills":
        fix = "fetch the skills into a directory and name it under skills.paths"
    if layout == "bun":
        raise BadInputError(f"{field}: only OpenCode 1.14 or newer can be answered from the cache; {fix}")
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise BadInputError(f"{field}: {public(url)} has a login or a query, which no lock may hold; {fix}")
    if not _URL.fullmatch(url) or len(url) > _LONGEST:
        raise BadInputError(f"{field}: {public(url)[:200]!r} is not an address; write 'https://HOST/PATH'")
    if parts.scheme.lower() == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise BadInputError(f"{field}: {url} is not https, so anybody may change it on its way; {fix}")
    if parts.path.endswith(f"/{_FILE}"):
        better = f"write '{url.removesuffix(_FILE)}'" if field == "skills" else fix
        raise BadInputError(
            f"{field}: {url}: {_FILE} is what OpenCode asks for below an address of skills; {better}"
        )


def first(field: str, url: str) -> str:
    """What OpenCode asks for first, of an address in `instructions` or in `skills`."""
    return f"{url.removesuffix('/')}/{_FILE}" if field == "skills" else url


def configured(addresses: Iterable[str]) -> dict[str, Any]:
    """The configuration that asks for all of these, as an opencode.json has it."""
    every = list(addresses)
    skills = [url.removesuffix(_FILE) for url in every if url.endswith(f"/{_FILE}")]
    texts = [url for url in every if not url.startswith(tuple(skills))]
    return ({"instructions": texts} if texts else {}) | ({"skills": {"urls": skills}} if skills else {})


def index(skills: Mapping[str, Mapping[str, str]]) -> str:
    """The text of an index, for skill -> file -> text.

    Each has its digest as its version, by which OpenCode 1.18 sees that what it keeps is another one.
    """
    entries = []
    for name, texts in skills.items():
        digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
        entries.append({"name": name, "version": digest[:16], "files": list(texts)})
    return json.dumps({"skills": entries}, indent=2) + "\n"


def _url(value: str) -> str:
    if not _URL.fullmatch(value) or len(value) > _LONGEST:
        raise ValueError(f"{value[:200]!r} is not an address")
    return value


def _text(value: str) -> str:
    if len(value.encode()) > LARGEST:
        raise ValueError(f"a text has more than {LARGEST} bytes")
    return value


Urls = Annotated[
    dict[Annotated[str, AfterValidator(_url)], Annotated[str, AfterValidator(_text)]], Field(max_length=MOST)
]
"""Address -> text."""
