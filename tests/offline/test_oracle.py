"""Our trees, with everything kept, are npm's: file for file, mode for mode, link for link."""

from __future__ import annotations

import shutil

import oracle
import pytest
from kept import slow

SPECS = (
    # Providers
    pytest.param("@aihubmix/ai-sdk-provider@2.1.0", marks=slow),
    pytest.param("@jerome-benoit/sap-ai-provider-v2@4.9.1", marks=slow),
    pytest.param("@qvac/ai-sdk-provider@0.7.0", marks=slow),
    "@saladtechnologies-oss/ai-sdk-provider@0.2.0",
    pytest.param("ai-gateway-provider@3.2.0", marks=slow),
    # Plugins; the second brings napi prebuilds of its own, the third ones in packages per system
    "opencode-gemini-auth@1.3.8",
    "bufferutil@4.0.9",
    "@parcel/watcher@2.5.1",
    pytest.param("@opencode-ai/plugin@1.18.33", marks=slow),
    # Tools
    pytest.param("pyright@1.1.400", marks=slow),
    "typescript-language-server@4.3.3",
    "@biomejs/biome@2.0.0",
    pytest.param("@vue/language-server@2.2.0", marks=slow),
)


@pytest.mark.skipif(not shutil.which("npm"), reason="npm is the judge")
@pytest.mark.parametrize("spec", SPECS)
def test_our_tree_is_npms(spec, tmp_path, tarballs, fetch_packages):
    try:
        project = oracle.resolve(spec, tarballs.parent / "oracle-locks")
        nodes = oracle.install(project, tmp_path / "npm")
    except oracle.NoRegistryError as error:
        pytest.skip(f"needs the npm registry once: {error}")
    fetch_packages(list(nodes.values()))
    stats = oracle.assemble(nodes, tarballs, tmp_path / "ours")
    theirs = oracle.listing(tmp_path / "npm/node_modules")
    ours = oracle.listing(tmp_path / "ours/node_modules")
    assert {path: what for path, what in ours.items() if theirs.get(path) != what} == {}
    assert set(theirs) == set(ours)
    assert stats.files == sum(what.startswith("file") for what in ours.values())
