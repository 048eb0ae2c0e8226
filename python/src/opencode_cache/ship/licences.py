"""Nothing leaves this machine whose licence forbids it, unless a person accepts that licence by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import redistribution

if TYPE_CHECKING:
    from collections.abc import Collection

    from opencode_cache.formats.manifest import Manifest


def check(manifest: Manifest, accepted: Collection[str]) -> None:
    """Raises BadInputError for what may not be passed on, and for an accepted name that is not such."""
    held = redistribution.forbidden(manifest.packages)
    for name in accepted:
        if name not in held:
            known = f"it holds {', '.join(held)}" if held else "there is none in the cache"
            raise BadInputError(
                f"--accept-licence {name!r}: names nothing in the cache that may not be passed on; {known}"
            )
    left = redistribution.not_accepted(manifest.packages, accepted)
    if left:
        named = ", ".join(f"{name} ({terms.title})" for name, terms in left.items())
        options = " ".join(f"--accept-licence {name}" for name in left)
        raise BadInputError(
            f"the cache holds what may not be passed on: {named}; build it without, or, where your "
            f"contract allows it, give {options}"
        )
