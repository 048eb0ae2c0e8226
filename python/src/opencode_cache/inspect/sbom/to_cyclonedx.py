"""CycloneDX 1.6 (https://cyclonedx.org/schema/bom-1.6.schema.json)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opencode_cache.inspect.sbom.parts import AUTHORS, NAME, Bill, Part, take
from opencode_cache.inspect.sbom.writing import created, expression, identity

if TYPE_CHECKING:
    from opencode_cache.formats.manifest import Manifest


def cyclonedx(given: Bill | Manifest) -> dict[str, Any]:
    """The bill as a document."""
    bill = given if isinstance(given, Bill) else take(given)
    manifest = bill.manifest
    tool = {"type": "application", "name": NAME, "version": manifest.builder, "supplier": {"name": AUTHORS}}
    metadata: dict[str, Any] = {
        "timestamp": created(),
        "authors": [{"name": AUTHORS}],
        "supplier": {"name": AUTHORS},
        "tools": {"components": [tool]},
        "component": {
            "type": "application",
            "bom-ref": NAME,
            "name": NAME,
            "version": manifest.opencode,
            "supplier": {"name": AUTHORS},
            "description": bill.description,
        },
        "properties": [
            _property("layout", manifest.layout),
            _property("system", manifest.system),
            *(_property("unavailable", f"{u.kind} {u.spec}: {u.reason}") for u in manifest.unavailable),
        ],
    }
    known = "complete" if bill.exact else "incomplete"
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [_component(part) for part in bill.parts],
        "dependencies": [{"ref": ref, "dependsOn": below} for ref, below in bill.graph.items()],
        "compositions": [{"aggregate": known, "dependencies": list(bill.graph)}],
    }
    return document | {"serialNumber": f"urn:uuid:{identity(document)}"}


def _component(part: Part) -> dict[str, Any]:
    scope, name = "", part.name
    if part.kind == "library":
        scope, _, name = part.name.rpartition("/")
    component: dict[str, Any] = {
        "type": part.kind,
        "bom-ref": part.ref,
        "name": name,
        "version": part.version,
        "supplier": {"name": part.supplier},
        "hashes": [{"alg": algorithm, "content": digest} for algorithm, digest in part.hashes.items()],
        "properties": [_property(key, value) for key, value in part.properties],
    }
    if part.purl:
        component["purl"] = part.purl
    if scope:
        component["group"] = scope
    if part.licence_file:
        component["properties"].append(_property("licence-file", part.licence_file))
    if part.licence:
        component["licenses"] = [_licence(part, part.licence)]
    elif part.read:
        component["licenses"] = [{"license": {"id": part.read.licence, "acknowledgement": "concluded"}}]
        component["copyright"] = part.read.copyright
        component["properties"].append(_property("licence-source", part.read.source))
    return component


def _licence(part: Part, stated: str) -> dict[str, Any]:
    said = expression(stated)
    if said is None:
        licence: dict[str, Any] = {"name": stated}
        if part.licence_text:
            licence["text"] = {"contentType": "text/plain", "content": part.licence_text}
        return {"license": licence}
    if " " in said or said.endswith("+"):
        return {"expression": said}
    return {"license": {"id": said}}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{NAME}:{name}", "value": value}
