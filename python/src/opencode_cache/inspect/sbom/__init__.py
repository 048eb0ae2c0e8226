"""A cache, or a bundle, as a software bill of materials: CycloneDX 1.6 or SPDX 2.3, both as JSON."""

from opencode_cache.inspect.sbom.parts import OPENCODE, PRELOAD, WRAPPER, Bill, program_part, purl, take
from opencode_cache.inspect.sbom.to_cyclonedx import cyclonedx
from opencode_cache.inspect.sbom.to_spdx import spdx
from opencode_cache.inspect.sbom.writing import dumps

__all__ = [
    "OPENCODE",
    "PRELOAD",
    "WRAPPER",
    "Bill",
    "cyclonedx",
    "dumps",
    "program_part",
    "purl",
    "spdx",
    "take",
]
