"""`remove --prefix` hands to the installer; whoever has no right to it gets a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import bundle_lab
import pytest

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.ship import remove, unbundle


@pytest.fixture
def prefix(tmp_path):
    bundle = bundle_lab.make_bundle(tmp_path / "made")
    unbundle.unbundle(bundle, tmp_path / "prefix")
    (tmp_path / "prefix/bin/other").write_text("not ours")
    return tmp_path / "prefix"


def test_an_installation_goes_and_what_lies_beside_stays(prefix):
    before = bundle_lab.everything(prefix)
    said = remove.of_prefix(prefix, dry_run=True)
    assert bundle_lab.everything(prefix) == before
    assert remove.of_prefix(prefix) == said == [prefix / "bin/opencode", prefix / "lib/opencode-cache"]
    assert list(bundle_lab.everything(prefix)) == ["bin", "bin/other"]
    with pytest.raises(CheckFailedError, match="nothing is installed there"):
        remove.of_prefix(prefix)


@pytest.mark.parametrize("words", [["remove", "--prefix"], ["unbundle", "--undo", "--to"]])
def test_without_rights_on_the_prefix_it_is_one_sentence(prefix, words):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    for directory in (prefix, *prefix.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    code = (
        "import os; from opencode_cache.cli import app, main; app.all_commands();"
        "os.setuid(12345); main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, prefix],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "another user (root)" in done.stderr


@pytest.mark.parametrize("word", ["--undo", "--remove"])
def test_without_rights_the_installer_says_so_itself(prefix, word):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    for directory in (prefix, *prefix.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    script = bundle_lab.SCRIPT.read_text()
    done = subprocess.run(
        ["sh", "-s", "--", word, str(prefix)],
        input=script,
        user=12345,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"install.sh: {prefix}: you may not write there; ask whom it belongs to, or choose another place\n"
    )
