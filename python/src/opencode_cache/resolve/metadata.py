"""What npm says of a package becomes what a lock says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opencode_cache.base.errors import BadInputError
from opencode_cache.base.model import first_problem
from opencode_cache.formats import redistribution
from opencode_cache.formats.lock import Package
from opencode_cache.npm import answers
from opencode_cache.npm.spec import is_exact
from opencode_cache.resolve.choose_version import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opencode_cache.formats.lock import Request


def package_from(entry: dict[str, Any], name: str) -> Package:
    """A lock's package from an entry of npm's package-lock or an answer of `npm view`.

    Raises UnavailableError where there is no hash in it, or no sense.
    """
    answer = answers.checked(entry)
    integrity = answers.sha512(answer.get("integrity") or answer.get("dist", {}).get("integrity") or "")
    if not integrity:
        raise UnavailableError(f"{name}@{answer.get('version')} has no sha512 integrity in the registry")
    try:
        return Package(
            name=name,
            version=answer.get("version", ""),
            integrity=integrity,
            license=answer.get("license"),
            bin=bins(name, answer.get("bin")),
            **{key: tuple(answer.get(key, ())) for key in ("os", "cpu", "libc")},
        )
    except ValidationError as error:
        raise UnavailableError(
            f"what the registry says of {name[:80]!r} cannot be used ({first_problem(error)})"
        ) from error


def bins(name: str, value: object) -> dict[str, str]:
    """A package.json's `bin` as command -> path. For npm, a text is the command of the package's own name."""
    if isinstance(value, str):
        return {name.rpartition("/")[2]: value}
    pairs = value.items() if isinstance(value, dict) else ()
    return {command: path for command, path in pairs if isinstance(path, str)}


def nodes(tree: str, document: dict[str, Any]) -> dict[str, Package]:
    """The packages of a package-lock: path in the tree -> package. Raises BadInputError without a hash."""
    packages: dict[str, Package] = {}
    for path, entry in document["packages"].items():
        if not path or entry.get("inBundle"):
            continue  # the root; or shipped in the tarball of the package around it
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        foreign = str(entry.get("resolved") or "").startswith(("git", "file:")) or not is_exact(
            str(entry.get("version"))
        )
        if entry.get("link") or foreign or not entry.get("integrity"):
            raise BadInputError(
                f"{tree}: {path} is from no registry, so no hash can be locked; name another version"
            )
        try:
            packages[path] = package_from(entry, name)
        except UnavailableError as error:
            raise BadInputError(f"{tree}: {error}") from error
    return packages


def with_terms(request: Request, tree: Mapping[str, str], packages: Mapping[str, Package]) -> Request:
    """The request, with a note where its tree holds what may not be passed on."""
    held = redistribution.forbidden(packages[key] for key in tree.values())
    if not held:
        return request
    said = redistribution.note(request.name, held)
    return request.model_copy(update={"note": f"{request.note}; {said}" if request.note else said})
