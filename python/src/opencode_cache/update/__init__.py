"""`update`: newer releases, revisions and packages, pinned and proved, all of it or nothing."""

from opencode_cache.update.run import update

__all__ = ["update"]
