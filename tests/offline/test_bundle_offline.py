"""The air-gap bundle on a bare Debian machine: no Python, Nix, network or root, and the real OpenCode."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import bare
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.opencode import tools
from opencode_cache.prove.child.tools import diagnostics
from opencode_cache.ship import pack, unbundle

pytestmark = pytest.mark.usefixtures("isolated")

TOOLS = Path(__file__).parent / "locks" / "tools-1.18.lock.json"
MOCK = {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
    "models": {"mock-model": {"name": "mock-model"}},
}
CONFIG = {"provider": {"extra": MOCK}}
HELLO = ["run", "-m", "extra/mock-model", "hello"]
KNOWN = {"1.18": set(), "1.0": {"models.dev"}}
"""1.0 has no switch for its catalogue."""

INSTALL = 'zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" '


@pytest.fixture(scope="session")
def tree() -> Path:
    """The unpacked packages, kept between runs."""
    try:
        place = bare.debian_tree()
    except bare.CannotError as error:
        pytest.skip(str(error))
    programs = {path.name for path in (place / "usr" / "bin").iterdir()}
    assert not {
        name for name in programs if name.startswith(("python", "perl", "nix", "bash", "rg", "busybox"))
    }
    return place


@pytest.fixture
def machine(tree, tmp_path) -> bare.Machine:
    if shutil.which("unshare") is None:
        pytest.skip("needs util-linux's unshare")
    return bare.Machine.at(tmp_path / "machine", tree)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, request):
    """Version -> a bundle of it, made once."""
    made: dict[str, Path] = {}

    def one(version: str) -> Path:
        if version not in made:
            found = request.getfixturevalue({"1.18": "made_118", "1.0": "made_10"}[version])
            ripgrep = shutil.which("rg")
            if not ripgrep:
                pytest.skip("needs ripgrep on PATH: install Debian's ripgrep")
            out = tmp_path_factory.mktemp("bundle") / f"{version}.tar.zst"
            made[version] = pack.bundle(
                [pack.tree(found.cache, found.opencode, ripgrep=Path(ripgrep))], out
            ).file
        return made[version]

    return one


def works(machine: bare.Machine, program: str, version: str) -> None:
    models = machine.run(program, "models")
    assert models.returncode == 0, models.stderr
    assert "opencode/" in models.stdout
    answer = machine.run(program, *HELLO, config=CONFIG)
    assert answer.returncode == 0, answer.stderr
    assert "LOOPBACK-OK" in answer.stdout
    assert answer.models == ["mock-model"]
    assert set(models.hosts) | set(answer.hosts) <= KNOWN[version]


@pytest.mark.parametrize("version", ["1.18", "1.0"])
def test_installed_moved_and_used(machine, bundles, version):
    shutil.copy(bundles(version), machine.root / "media/opencode.tar.zst")
    installed = machine.sh(INSTALL + "/home/user/first")
    assert (installed.returncode, installed.stderr) == (0, "")
    assert installed.stdout == "/home/user/first/bin/opencode\n"
    (machine.home / "first").rename(machine.root / "opt/second place")
    works(machine, "/opt/second place/bin/opencode", version)
    # What the agent finds: the bundle's ripgrep, at the end of PATH.
    asked = ["run", "-m", "extra/mock-model", "RUN:command -v rg && rg --version:END"]
    (said,) = machine.run("/opt/second place/bin/opencode", *asked, config=CONFIG).tool_results
    assert "/libexec/path/rg" in said
    assert "ripgrep 1" in said
    # The links of the user's cache lead to where it is now.
    layout = "packages" if version == "1.18" else "bun"
    pointer = machine.home / ".cache-nix/opencode/.nix" / layout
    assert str(pointer.readlink()).startswith("/opt/second place/lib/opencode-cache/")


def test_unpacked_by_tar_alone(machine, bundles):
    shutil.copy(bundles("1.18"), machine.root / "media/opencode.tar.zst")
    unpacking = 'mkdir /opt/here && zstd -dc "$f" | tar -x -C /opt/here'
    done = machine.sh(f"{unpacking} && cd /opt/here && sha256sum -c --quiet SHA256SUMS")
    assert (done.returncode, done.stderr) == (0, "")
    works(machine, "/opt/here/bin/opencode", "1.18")


def test_installed_by_python_elsewhere(machine, bundles):
    unbundle.unbundle(bundles("1.18"), machine.root / "opt/made-elsewhere")
    works(machine, "/opt/made-elsewhere/bin/opencode", "1.18")


def test_language_server_of_a_bundle(machine, make, tmp_path):
    """There is no Node.js on the machine but the bundle's own."""
    if shutil.which("node") is None:
        pytest.skip("needs node on PATH, which runs the tools")
    found, nodejs = make(TOOLS), Path(shutil.which("node")).resolve()
    file = tmp_path / "with-tools.tar.zst"
    # What its licence forbids to pass on goes nowhere else here.
    tree = pack.tree(found.cache, found.opencode, node=nodejs, accept_licences=["intelephense"])
    pack.bundle([tree], file)
    unbundle.unbundle(file, machine.root / "opt/tools")
    (own,) = (machine.root / "opt/tools/lib/opencode-cache/generations").glob("*/libexec/path/node")
    inside = "/" + own.relative_to(machine.root).as_posix()
    if machine.run(inside, "--version").returncode:
        pytest.skip(f"needs a Node.js that runs by itself, as its own builds do; {nodejs} does not")
    mistake = machine.home / "work/mistake.py"
    mistake.write_text('number: int = "no"\n')
    others = {tool.server: {"disabled": True} for tool in tools.TOOLS.values() if tool.server}
    del others["pyright"]
    for _ in range(3):  # OpenCode waits a few seconds for a server, which a busy machine may need for more
        asked = ["debug", "lsp", "diagnostics", "mistake.py"]
        done = machine.run("/opt/tools/bin/opencode", *asked, config={"lsp": others})
        assert (done.returncode, done.hosts) == (0, [])
        said = diagnostics(done.stdout).get(f"/{mistake.relative_to(machine.root)}")
        if said:
            break
    assert "is not assignable" in json.dumps(said)


def test_one_flipped_byte_anywhere_is_found(machine, bundles, tmp_path):
    data = bytearray(bundles("1.18").read_bytes())
    bad = machine.root / "media/opencode.tar.zst"
    chosen = random.Random(6)  # noqa: S311 - the same bytes each time
    places = [0, 5, len(data) - 1, *(chosen.randrange(len(data)) for _ in range(5))]
    for at in places:
        data[at] ^= 1 << at % 8
        bad.write_bytes(data)
        data[at] ^= 1 << at % 8
        with pytest.raises(BadInputError, match="damaged, nothing was installed"):
            unbundle.unbundle(bad, tmp_path / "to")
        assert not (tmp_path / "to").exists(), at
        assert machine.sh(INSTALL + "/opt/to").stdout == "", at
        left = [path for path in (machine.root / "opt").rglob("*") if not path.is_dir()]
        assert left == [], at
