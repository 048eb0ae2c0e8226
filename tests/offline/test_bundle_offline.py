"""The air-gap bundle on a bare Debian machine: no Python, Nix, network or root, and the real OpenCode."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import bare
import pytest
from kept import REPOSITORY, slow

from opencode_cache import pipeline
from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.formats import manifest, plan
from opencode_cache.opencode import tools
from opencode_cache.prove.child.tools import diagnostics
from opencode_cache.ship import pack, unbundle
from opencode_cache.ship.installation import Choices

if TYPE_CHECKING:
    import isolated

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
            found = request.getfixturevalue({"1.18": "made_extra", "1.0": "made_10"}[version])
            ripgrep = shutil.which("rg")
            if not ripgrep:
                pytest.skip("needs ripgrep on PATH: install Debian's ripgrep")
            out = tmp_path_factory.mktemp("bundle") / f"{version}.tar.zst"
            made[version] = pack.bundle(
                [pack.tree(found.cache, found.opencode, Choices(ripgrep=Path(ripgrep)))], out
            ).file
        return made[version]

    return one


def works(machine: bare.Machine, program: str, version: str, prompt: str = "hello") -> isolated.Report:
    answer = machine.run(program, *HELLO[:-1], prompt, config=CONFIG)
    assert answer.returncode == 0, answer.stderr
    assert "LOOPBACK-OK" in answer.stdout
    assert answer.models == ["mock-model"]
    assert set(answer.hosts) <= KNOWN[version]
    return answer


@pytest.mark.parametrize("version", ["1.18", pytest.param("1.0", marks=slow)])
def test_installed_moved_and_used(machine, bundles, version):
    shutil.copy(bundles(version), machine.root / "media/opencode.tar.zst")
    installed = machine.sh(INSTALL + "/home/user/first")
    assert (installed.returncode, installed.stderr) == (0, "")
    assert installed.stdout == "/home/user/first/bin/opencode\n"
    (machine.home / "first").rename(machine.root / "opt/second place")
    # What the agent finds: the bundle's ripgrep, at the end of PATH.
    prompt = "RUN:command -v rg && rg --version:END"
    (said,) = works(machine, "/opt/second place/bin/opencode", version, prompt).tool_results
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


@slow
def test_installed_by_python_elsewhere(machine, bundles):
    """It installs what install.sh does: tests/ship has that of a small bundle."""
    unbundle.unbundle(bundles("1.18"), machine.root / "opt/made-elsewhere")
    works(machine, "/opt/made-elsewhere/bin/opencode", "1.18")


def mistakes_of(machine: bare.Machine, program: str, name: str, text: str, servers=True) -> str:  # noqa: FBT002
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
    tree = pack.tree(found.cache, found.opencode, Choices(node=nodejs, accept_licences=["intelephense"]))
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
    # What OpenCode waits for is a matter of seconds, and of how much there is to read.
    small = {"compilerOptions": {"lib": ["es5"], "types": []}, "files": ["mistake.ts"]}
    (machine.home / "work/tsconfig.json").write_text(json.dumps(small))
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
