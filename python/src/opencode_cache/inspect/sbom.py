"""The manifest of a cache as a software bill of materials: CycloneDX 1.6 or SPDX 2.3, both as JSON.

Deterministic: the same manifest gives the same document. Its UUID is made from its content, and its time is
SOURCE_DATE_EPOCH (seconds), else none (CycloneDX), or the time that the cache's own files have (SPDX, which
cannot do without).

What depends on what, as far as the manifest tells: the cache on what was requested, and that on every package
of its tree. The `bun` layout has one tree for all requests, so there the cache depends on every package.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from opencode_cache.base.errors import BadInputError

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import CachedPackage, Manifest

NAME = "opencode-cache"

_FILES_TIME = 1
"""What `build` gives every file, as the Nix store does."""
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:opencode-cache:sbom")
_CATALOGUE = "models.json"


def _purl(package: CachedPackage) -> str:
    """The package's name in every bill of materials: GitHub's, where it comes from there."""
    if package.github:
        repository, _, commit = package.github.partition("#")
        return f"pkg:github/{quote(repository.lower(), safe='/')}@{commit}"
    return purl(package.name, package.version)


def purl(name: str, version: str) -> str:
    """`pkg:npm/%40scope/name@1.0.0`: the name of a package that a registry has."""
    return f"pkg:npm/{quote(name, safe='/')}@{quote(version, safe='')}"


def cyclonedx(manifest: Manifest) -> dict[str, Any]:
    """CycloneDX 1.6 (https://cyclonedx.org/schema/bom-1.6.schema.json)."""
    graph = _graph(manifest)
    components = [_component(package) for package in _packages(manifest)]
    if manifest.catalogue:
        components.append(
            {
                "type": "data",
                "bom-ref": _CATALOGUE,
                "name": _CATALOGUE,
                "hashes": [{"alg": "SHA-256", "content": manifest.catalogue.sha256}],
                "properties": [_property("catalogue", manifest.catalogue.source)],
            }
        )
    tool = {"type": "application", "name": NAME, "version": manifest.builder}
    metadata: dict[str, Any] = {
        "tools": {"components": [tool]},
        "component": {
            "type": "application",
            "bom-ref": NAME,
            "name": NAME,
            "version": manifest.opencode,
            "description": _description(manifest),
        },
        "properties": [
            _property("layout", manifest.layout),
            _property("system", manifest.system),
            *(_property("unavailable", f"{u.kind} {u.spec}: {u.reason}") for u in manifest.unavailable),
        ],
    }
    if (seconds := _epoch()) is not None:
        metadata["timestamp"] = _time(seconds)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": below} for ref, below in graph.items()],
    }
    return document | {"serialNumber": f"urn:uuid:{_uuid(document)}"}


def spdx(manifest: Manifest) -> dict[str, Any]:
    """SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/)."""
    named: dict[str, str] = {}
    packages = [_spdx_package(package, named) for package in _packages(manifest)]
    root = _spdx_base(NAME, NAME, manifest.opencode) | {
        "primaryPackagePurpose": "APPLICATION",
        "licenseDeclared": "NOASSERTION",
        "comment": _description(manifest),
    }
    packages.insert(0, root)
    if manifest.catalogue:
        checksum = {"algorithm": "SHA256", "checksumValue": manifest.catalogue.sha256}
        data = _spdx_base(_CATALOGUE, _CATALOGUE, None)
        packages.append(data | {"checksums": [checksum], "licenseDeclared": "NOASSERTION"})
    relationships = [_relationship("SPDXRef-DOCUMENT", "DESCRIBES", _spdx_id(NAME))]
    for ref, below in _graph(manifest).items():
        relationships += [_relationship(_spdx_id(ref), "DEPENDS_ON", _spdx_id(other)) for other in below]
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{NAME}-{manifest.opencode}-{manifest.system}",
        "creationInfo": {
            "created": _time(_FILES_TIME if (seconds := _epoch()) is None else seconds),
            "creators": [f"Tool: {NAME}-{manifest.builder}"],
        },
        "packages": packages,
        "relationships": relationships,
    }
    if named:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": key, "name": text, "extractedText": text} for key, text in sorted(named.items())
        ]
    return document | {"documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{_uuid(document)}"}


def dumps(document: dict[str, Any]) -> str:
    """The text of a bill of materials: two spaces, a newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _packages(manifest: Manifest) -> list[CachedPackage]:
    return sorted(manifest.packages, key=lambda package: (package.name, package.version))


def _graph(manifest: Manifest) -> dict[str, list[str]]:
    """Reference -> references of what it depends on; every component is there, sorted, the cache first."""
    packages = {_purl(p): p for p in _packages(manifest)}
    references = {(p.name, p.version): ref for ref, p in packages.items()}
    asked: dict[str, set[str]] = {}  # what was requested -> the specs that it stands for
    for entry in manifest.requests:
        if ref := references.get((entry.name, entry.version)):
            asked.setdefault(ref, set()).add(entry.spec)
    data = [_CATALOGUE] if manifest.catalogue else []
    if manifest.layout == "bun":
        return {NAME: [*packages, *data]} | {ref: [] for ref in [*packages, *data]}
    trees = {
        root: [ref for ref, p in packages.items() if ref != root and not specs.isdisjoint(p.specs)]
        for root, specs in asked.items()
    }
    graph = {NAME: [*sorted(asked), *data]}
    return graph | {ref: trees.get(ref, []) for ref in packages} | {ref: [] for ref in data}


def _component(package: CachedPackage) -> dict[str, Any]:
    scope, _, name = package.name.rpartition("/")
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(package),
        "name": name,
        "version": package.version,
        "purl": _purl(package),
        "hashes": [{"alg": "SHA-512", "content": _sha512(package)}],
        "properties": [_property("spec", spec) for spec in package.specs],
    }
    if scope:
        component["group"] = scope
    if package.license:
        expression = _expression(package.license)
        if expression is None:
            component["licenses"] = [{"license": {"name": package.license}}]
        elif " " in expression or expression.endswith("+"):
            component["licenses"] = [{"expression": expression}]
        else:
            component["licenses"] = [{"license": {"id": expression}}]
    return component


def _spdx_package(package: CachedPackage, named: dict[str, str]) -> dict[str, Any]:
    """`named` collects the licences that SPDX does not know: reference -> what the package calls it."""
    declared = "NOASSERTION"
    if package.license:
        expression = _expression(package.license)
        if expression is None:
            reference = f"LicenseRef-{_slug(package.license)}"
            named[reference] = package.license
        declared = expression or reference
    reference_ = _purl(package)
    return _spdx_base(reference_, package.name, package.version) | {
        "licenseDeclared": declared,
        "checksums": [{"algorithm": "SHA512", "checksumValue": _sha512(package)}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": reference_,
            }
        ],
    }


def _spdx_base(reference: str, name: str, version: str | None) -> dict[str, Any]:
    base = {
        "SPDXID": _spdx_id(reference),
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }
    return base | ({"versionInfo": version} if version else {})


def _relationship(left: str, kind: str, right: str) -> dict[str, str]:
    return {"spdxElementId": left, "relationshipType": kind, "relatedSpdxElement": right}


def _spdx_id(reference: str) -> str:
    return f"SPDXRef-{_slug(reference.removeprefix('pkg:npm/'))}"


def _slug(text: str) -> str:
    """The text in the few characters that an SPDX reference may have; the digest keeps it unique."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:80]
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _expression(text: str) -> str | None:
    """What npm calls the licence as an SPDX expression; None where it is none."""
    if "LicenseRef-" in text:  # says nothing outside of the document that defines it
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def _sha512(package: CachedPackage) -> str:
    return base64.b64decode(package.integrity.partition("-")[2]).hex()


def _description(manifest: Manifest) -> str:
    return f"What OpenCode {manifest.opencode} finds in its cache on {manifest.system}"


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{NAME}:{name}", "value": value}


def _uuid(document: dict[str, Any]) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    try:
        seconds = int(text)
        _time(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInputError(
            f"SOURCE_DATE_EPOCH: {text[:40]!r} is not a time in seconds since 1970; correct or unset it"
        ) from error
    return seconds


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
