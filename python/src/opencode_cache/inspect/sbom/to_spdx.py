"""SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from opencode_cache.inspect.sbom.parts import AUTHORS, NAME, Bill, Part, take
from opencode_cache.inspect.sbom.writing import created, expression, identity

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import Manifest

_PURPOSES = {"library": "LIBRARY", "application": "APPLICATION", "data": "OTHER", "file": "FILE"}


def spdx(given: Bill | Manifest) -> dict[str, Any]:
    """The bill as a document."""
    bill = given if isinstance(given, Bill) else take(given)
    manifest = bill.manifest
    texts: dict[str, tuple[str, str]] = {}
    root = _base(Part(NAME, NAME, manifest.opencode, AUTHORS, "application")) | {"comment": bill.description}
    packages = [root, *(_package(part, texts) for part in bill.parts)]
    relationships = [_relationship("SPDXRef-DOCUMENT", "DESCRIBES", _id(NAME))]
    for ref, below in bill.graph.items():
        relationships += [_relationship(_id(ref), "DEPENDS_ON", _id(other)) for other in below]
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{NAME}-{manifest.opencode}-{manifest.system}",
        "creationInfo": {
            "created": created(),
            "creators": [f"Organization: {AUTHORS}", f"Tool: {NAME}-{manifest.builder}"],
        },
        "packages": packages,
        "relationships": relationships,
    }
    if texts:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": key, "name": name, "extractedText": text}
            for key, (name, text) in sorted(texts.items())
        ]
    return document | {"documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{identity(document)}"}


def _package(part: Part, texts: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """`texts` collects the licences that SPDX does not know: reference -> what it is called, its text."""
    package = _base(part)
    if part.licence:
        declared = expression(part.licence)
        if declared is None:
            text = part.licence_text or part.licence
            # The same words in two packages may stand for two texts.
            declared = f"LicenseRef-{_slug(part.licence, text)}"
            texts[declared] = part.licence, text
        package["licenseDeclared"] = declared
    comments = [f"The text is in the cache: {part.licence_file}"] if part.licence_file else []
    if part.read:
        package |= {"licenseConcluded": part.read.licence, "copyrightText": part.read.copyright}
        comments.append(f"package.json states none; {part.read.licence} by {part.read.source}")
    if comments:
        package["licenseComments"] = ". ".join(comments)
    if part.hashes:
        package["checksums"] = [
            {"algorithm": algorithm.replace("-", ""), "checksumValue": digest}
            for algorithm, digest in part.hashes.items()
        ]
    if part.purl:
        package["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": part.purl,
            }
        ]
    return package


def _base(part: Part) -> dict[str, Any]:
    return {
        "SPDXID": _id(part.ref),
        "name": part.name,
        "versionInfo": part.version,
        # A parenthesis would begin an e-mail address.
        "supplier": f"Organization: {re.sub('[()]', ' ', part.supplier)}",
        "primaryPackagePurpose": _PURPOSES[part.kind],
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }


def _relationship(left: str, kind: str, right: str) -> dict[str, str]:
    return {"spdxElementId": left, "relationshipType": kind, "relatedSpdxElement": right}


def _id(reference: str) -> str:
    return f"SPDXRef-{_slug(reference.removeprefix('pkg:npm/'))}"


def _slug(text: str, unique: str | None = None) -> str:
    """The text in the few characters that an SPDX reference may have; the digest keeps it unique."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:80]
    return f"{plain}-{hashlib.sha256((unique or text).encode()).hexdigest()[:8]}"
