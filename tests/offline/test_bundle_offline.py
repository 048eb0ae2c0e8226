"""The air-gap bundle on a bare Debian machine: no Python, Nix, network or root, and the real OpenCode."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import isolated
import pytest
from kept import REPOSITORY, slow

from opencode_cache import pipeline
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.formats import manifest, plan
from opencode_cache.opencode import tools
from opencode_cache.prove.child.tools import diagnostics
from opencode_cache.ship import pack, unbundle

pytestmark = pytest.mark.usefixtures("isolated")

TOOLS = Path(__file__).parent / "locks" / "tools-1.18.lock.json"
SUITE = "trixie"
PACKAGES = ["coreutils", "dash", "libgcc-s1", "libstdc++6", "tar", "zstd"]
"""All there is on the machine: what OpenCode is linked with, a shell, and what unpacks the bundle."""
USER = 1000
MOCK = {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "@MODELS@/v1", "apiKey": "loopback"},
    "models": {"mock-model": {"name": "mock-model"}},
}
CONFIG = {"provider": {"extra": MOCK}}
HELLO = ["run", "-m", "extra/mock-model", "hello"]
KNOWN = {"1.18": set(), "1.0": {"models.dev"}}
"""1.0 has no switch for its catalogue."""

# $1: the machine's root directory, $2: the Debian tree, $3: who to be; then an environment and the command.
ENTER = """
set -eu
root=$1 tree=$2 user=$3
shift 3
mount --bind "$tree/usr" "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
chown -R "$user:$user" "$root/home/user"
exec chroot --userspec="$user:$user" "$root" /usr/bin/env -i -C /home/user/work "$@"
"""
ENVIRONMENT = ["HOME=/home/user", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]
INSTALL = 'zstd -tq "$f" && zstd -dcq "$f" | tar -xO install.sh | sh -s "$f" '


def load_debian():
    """tests/nix/debian.py, which is not on the path of these tests."""
    spec = importlib.util.spec_from_file_location("debian", REPOSITORY / "tests" / "nix" / "debian.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tree(tarballs) -> Path:
    """The unpacked packages, kept between runs."""
    debian = load_debian()
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("needs x86_64 Linux")
    if debian.why_not():
        pytest.skip(debian.why_not())
    kept = tarballs.parent / "bare"
    place = kept / "-".join([SUITE, *PACKAGES])
    if not place.exists():
        beside = place.with_name(".new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            debian.unpack(SUITE, PACKAGES, beside, kept / "debs")
        except debian.CannotError as error:
            pytest.skip(str(error))
        beside.rename(place)
    programs = {path.name for path in (place / "usr" / "bin").iterdir()}
    assert not {
        name for name in programs if name.startswith(("python", "perl", "nix", "bash", "rg", "busybox"))
    }
    return place


@dataclass
class Machine:
    """A root directory with nothing on it but the packages and a user."""

    root: Path
    tree: Path

    @property
    def home(self) -> Path:
        return self.root / "home" / "user"

    def run(self, *command: str, config=None) -> isolated.Report:
        """Run a command there as the user, beside a model server on loopback."""
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        number = str(USER if os.geteuid() == 0 else 0)
        enter = ["unshare", *user, "--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]
        words = [*enter, str(self.root), str(self.tree), number, *ENVIRONMENT, *command]
        return isolated.run(words[0], words[1:], self.home, config=config)

    def sh(self, script: str) -> isolated.Report:
        return self.run("f=/media/opencode.tar.zst", "sh", "-c", script)


@pytest.fixture
def machine(tree, tmp_path) -> Machine:
    if shutil.which("unshare") is None:
        pytest.skip("needs util-linux's unshare")
    root = tmp_path / "machine"
    for name in ("usr", "dev", "proc", "tmp", "etc", "media", "opt", "home/user"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("tmp", "opt", "media"):
        (root / name).chmod(0o1777)
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\nuser:x:{USER}:{USER}::/home/user:/bin/sh\n")
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    for path in (root, *root.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    return Machine(root, tree)


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


def works(machine: Machine, program: str, version: str) -> None:
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


def mistakes_of(machine: Machine, program: str, name: str, text: str, servers=True) -> str:  # noqa: FBT002
    """What OpenCode with these servers finds in a file of the project."""
    mistake = machine.home / "work" / name
    mistake.parent.mkdir(exist_ok=True)
    mistake.write_text(text)
    for _ in range(4):  # OpenCode waits a few seconds for a server, which a busy machine may need for more
        done = machine.run(program, "debug", "lsp", "diagnostics", name, config={"lsp": servers})
        assert (done.returncode, done.hosts) == (0, []), done.stderr
        said = diagnostics(done.stdout).get(f"/{mistake.relative_to(machine.root)}")
        if said:
            break
    return json.dumps(said)


@slow
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
    others = {tool.server: {"disabled": True} for tool in tools.TOOLS.values() if tool.server}
    del others["pyright"]
    text = 'number: int = "no"\n'
    assert "is not assignable" in mistakes_of(machine, "/opt/tools/bin/opencode", "mistake.py", text, others)


@slow
def test_language_servers_of_the_documentation_need_neither_node_nor_a_typescript(
    machine, tarballs, tmp_path, monkeypatch
):
    section = (REPOSITORY / "docs/recipes.md").read_text().split("## Language servers", 1)[1]
    example = section.split("```toml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "my.toml").write_text(example)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(pipeline.store, "downloads", lambda: tarballs)
    wanted = plan.read(tmp_path / "my.toml").model_copy(update={"providers": [], "systems": ["x86_64-linux"]})
    assert wanted.tools == ["pyright", "typescript-language-server"]
    try:
        made, _ = pipeline.built(pipeline.locked(wanted, is_default=False))
    except NetworkError as error:
        pytest.skip(f"needs the npm registry: {error}")
    versions = {one.spec: one.version for one in manifest.read(made.cache).requests}
    print(versions)  # noqa: T201 - which they are today
    file = tmp_path / "opencode.tar.zst"
    pack.bundle([pack.tree(made.cache, made.opencode)], file)
    unbundle.unbundle(file, machine.root / "opt/tools")
    assert not list((machine.root / "opt/tools").rglob("node"))
    assert machine.sh("! command -v node npm npx bun").returncode == 0
    program = "/opt/tools/bin/opencode"
    assert "is not assignable" in mistakes_of(machine, program, "mistake.py", 'number: int = "no"\n')
    (machine.home / "work/package-lock.json").write_text("{}")
    text = 'const count: number = "two"\nexport default count\n'
    assert "is not assignable" in mistakes_of(machine, program, "mistake.ts", text)
    assert not (machine.home / "work/node_modules").exists()


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
