"""What both formats share: the time, the identity, licences as SPDX expressions, the text of the file."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from opencode_cache.base.errors import BadInputError

_FILES_TIME = 1
"""What `build` gives every file, as the Nix store does: the time of a bill that is given none."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:opencode-cache:sbom")


def dumps(document: dict[str, Any]) -> str:
    """The text of a bill of materials: two spaces, a newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def identity(document: dict[str, Any]) -> uuid.UUID:
    """A UUID made from the document's content."""
    return uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))


def expression(text: str) -> str | None:
    """What npm calls the licence as an SPDX expression; None where it is none."""
    if "LicenseRef-" in text:  # says nothing outside of the document that defines it
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def created() -> str:
    """SOURCE_DATE_EPOCH (seconds), else the time that the cache's own files have. Raises BadInputError."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return _time(int(text) if text else _FILES_TIME)
    except (ValueError, OverflowError, OSError) as error:
        shown = repr((text or "")[:40])
        raise BadInputError(
            f"SOURCE_DATE_EPOCH: {shown} is not a time in seconds since 1970; correct or unset it"
        ) from error


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
