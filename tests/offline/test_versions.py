"""Any version of OpenCode, from its default plan to its first start: locked today, built, wrapped, proved."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from kept import KEPT

from opencode_cache.opencode import embedded
from opencode_cache.opencode.versions import CONSENT, EXPERIMENTAL, layout_name

VERSIONS = os.environ.get("OPENCODE_CACHE_TEST_VERSIONS", "").split()


@pytest.mark.skipif(
    not VERSIONS,
    reason="OPENCODE_CACHE_TEST_VERSIONS names no versions; each takes minutes, and asks the npm registry",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_is_proved(isolated, version, tmp_path, request):
    assert shutil.which("rg"), "OpenCode 1.0 downloads ripgrep where there is none"
    npmrc = subprocess.run(
        ["npm", "config", "get", "userconfig"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        # Downloads are kept; what is made of them is made anew.
        "XDG_CACHE_HOME": str(KEPT / "versions"),
        "npm_config_userconfig": npmrc,
        CONSENT: "1",
    }
    asked, alone = ["--opencode-version", version], []
    if layout_name(version) == EXPERIMENTAL:
        # It has no catalogue in it, and would leave a service behind.
        models = embedded.catalogue(request.getfixturevalue("made_118").opencode)
        (tmp_path / "models.json").write_text(json.dumps(models))
        plan = tmp_path / "plan.toml"
        plan.write_text(f'opencode = "{version}"\ncatalogue = "models.json"\n')
        asked, alone = ["--plan", str(plan)], ["--standalone"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "opencode_cache",
            "run",
            *asked,
            "--",
            "models",
            *alone,
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # 2.0.15 lists what it knows at that moment, which is nothing.
    assert alone or "opencode/" in done.stdout
