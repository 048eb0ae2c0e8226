"""OpenCode 2.x's own way through a cache of ours, without a network: its install code, or the rule in small.

OPENCODE_CACHE_TEST_UPSTREAM names a directory with upstream's `packages/util/src`, of which nothing is in
this repository; then that is the judge too. The other one is the documented rule in small:
`opencode2/npm.ts`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import isolated as box
import making
import pytest
from registry import Registry

from opencode_cache import layouts
from opencode_cache.build import builder
from opencode_cache.formats.lock import Lock
from opencode_cache.layouts.generations import key
from opencode_cache.npm import platforms
from opencode_cache.opencode import versions
from opencode_cache.wrapper import render

VERSION = "2.0.32"
COMMIT = "0123456789" * 4
HERE = Path(__file__).parent / "opencode2"
UPSTREAM = os.environ.get("OPENCODE_CACHE_TEST_UPSTREAM")
SPECS = {
    "bare": "bare",
    "pinned@1.0.0": "pinned",
    "range@>=1 <2": "range",
    "@scope/scoped": "@scope/scoped",
    "@scope/ranged@^1": "@scope/ranged",
    "alias@npm:bare@1": "alias",
    "named@github:o/r": "named",
    f"github:o/r#{COMMIT}": "nameless",
}
TOOLS = {
    "pyright": {"pyright": "./cli.js", "pyright-langserver": "./cli.js"},
    "prettier": {"prettier": "./cli.js"},
}
MUTABLE = [spec for spec in SPECS if spec not in ("pinned@1.0.0", f"github:o/r#{COMMIT}")]


@pytest.fixture(scope="module", params=[HERE, UPSTREAM], ids=["model", "upstream"])
def code(request):
    if request.param is None:
        pytest.skip("OPENCODE_CACHE_TEST_UPSTREAM names no directory with upstream's packages/util/src")
    return Path(request.param)


def lock_of(version: str, packages: dict[str, tuple], requests: list[tuple[str, str, str]]) -> Lock:
    layout = layouts.named("generations")
    trees, wanted = {}, []
    for kind, spec, name in requests:
        placed = layout.place(VERSION, kind, spec, version)
        trees[placed.tree] = {f"node_modules/{name}": packages[name][0].key}
        fields = {"name": name, "requested": placed.requested}
        wanted.append(making.request(kind, spec, placed.tree, version) | fields)
    about = {"version": VERSION, "layout": "generations", "bundled": [], "binaries": {}}
    every = {package.key: package for package, _ in packages.values()}
    return Lock.model_validate({"opencode": about, "requests": wanted, "trees": trees, "packages": every})


def packages_of(version: str) -> dict[str, tuple]:
    made = {}
    for name in (*SPECS.values(), *TOOLS):
        fields = {"bin": TOOLS[name]} if name in TOOLS else {}
        if name in ("named", "nameless"):
            fields["github"] = f"o/r#{COMMIT}"
        made[name] = making.npm_package(name, version, **fields)
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Caches A (1.0.0) and B (1.1.0 of what is not pinned), their wrappers, and the tarballs."""
    top = tmp_path_factory.mktemp("generations")
    program = making.opencode_stand_in(top / "opencode", VERSION)
    models = top / "models.json"
    models.write_text('{"p": {"id": "p", "env": [], "name": "p", "models": {}}}')
    (top / "tarballs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(versions.CONSENT, "1")
        for name, version in (("a", "1.0.0"), ("b", "1.1.0")):
            packages = packages_of(version)
            for package, data in packages.values():
                (top / "tarballs" / package.tarball).write_bytes(data)
            plugins = [
                ("plugin", spec, called)
                for spec, called in SPECS.items()
                if version in spec or "@1.0" not in spec
            ]
            lock = lock_of(version, packages, [*plugins, *(("tool", tool, tool) for tool in TOOLS)])
            inputs = builder.Inputs(lock, top / "tarballs", program, platforms.current(), models=models)
            builder.build(inputs, top / name)
            render.wrap(top / name, program, top / f"wrapped-{name}")
    return top


def settings(home: Path) -> dict[str, str]:
    """The environment in which the wrapper starts OpenCode, as far as its install code looks at it."""
    return {"XDG_CACHE_HOME": f"{home}/.cache-nix", "npm_config_offline": "true"}


def start(place: Path, name: str, home: Path) -> None:
    wrapper = place / f"wrapped-{name}/bin/opencode"
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run([wrapper], env=env, cwd=place, check=True, capture_output=True)


def put(bun: Path, code: Path, home: Path, questions: list[list[str]]) -> tuple[list[dict], list[str]]:
    """The answers to questions in a namespace without a network, and the hosts that were asked for."""
    command = [str(HERE / "ask.ts"), str(code), json.dumps(questions)]
    report = box.run(bun, command, home, env=settings(home))
    assert report.returncode == 0, report.stderr
    return [json.loads(line) for line in report.stdout.splitlines()], report.hosts


def test_every_kind_of_spec_is_found_without_a_query(isolated, bun, code, place, tmp_path):
    start(place, "a", tmp_path)
    npm = tmp_path / ".cache-nix/opencode/npm"
    questions = [[what, spec] for what in ("add", "resolve") for spec in SPECS]
    questions += [["which", "pyright", "pyright-langserver"], ["which", "pyright"], ["which", "prettier"]]
    answers, hosts = put(bun, code, tmp_path, questions)
    assert hosts == []
    for (_, spec), answer in zip(questions, answers[: 2 * len(SPECS)], strict=False):
        assert answer["ok"]["directory"] == str(npm / key(spec) / "1/node_modules" / SPECS[spec]), spec
        assert answer["ok"]["entrypoint"].endswith("index.js"), spec
    wanted = [
        "pyright@latest/1/node_modules/.bin/pyright-langserver",
        "pyright@latest/1/node_modules/.bin/pyright",
    ]
    wanted.append("prettier@latest/1/node_modules/.bin/prettier")
    assert [answer["ok"] for answer in answers[-3:]] == [str(npm / one) for one in wanted]


def test_a_check_for_updates_ends_at_once_and_asks_nobody(isolated, bun, code, place, tmp_path):
    start(place, "a", tmp_path)
    specs = [
        "pinned@1.0.0",
        f"github:o/r#{COMMIT}",
        *(spec for spec in MUTABLE if "git" not in spec and "npm:" not in spec),
    ]
    answers, hosts = put(bun, code, tmp_path, [["check", spec] for spec in specs])
    assert hosts == []
    assert [answer.get("ok") for answer in answers[:2]] == [False, False]
    assert all("is not installed" not in answer["error"] for answer in answers[2:])
    assert max(answer["ms"] for answer in answers) < 5000


def test_the_judge_can_say_no(isolated, bun, code, place, tmp_path):
    """The same code, without our links, and without our settings."""
    answers, hosts = put(bun, code, tmp_path, [["add", "bare"], ["resolve", "bare"], ["check", "bare"]])
    assert hosts == []
    assert ["error" in answer for answer in answers] == [True, False, True]
    assert "entrypoint" not in answers[1]["ok"]
    command = [str(HERE / "ask.ts"), str(code), '[["check", "range@>=1 <2"]]']
    start(place, "a", tmp_path)
    env = settings(tmp_path) | {"npm_config_offline": "false", "npm_config_fetch_retries": "0"}
    env |= {"npm_config_registry": "http://registry.invalid"}
    assert box.run(bun, command, tmp_path, env=env).hosts == ["registry.invalid"]


def test_the_key_of_every_spec_is_the_judges(isolated, bun, code, tmp_path):
    specs = [
        *SPECS,
        "bare@",
        "o/r",
        "o/r#v1",
        "bare@latest",
        "@s/x@next",
        "x@1 || 2",
        "x@*",
        "x@git+https://github.com/o/r.git",
    ]
    specs += [
        "github:o/r",
        "git+https://github.com/o/R.x.git#v1",
        "git+ssh://git@github.com/o/r.git",
        "x@~1.2",
    ]
    answers, _ = put(bun, code, tmp_path, [["cacheKey", spec] for spec in specs])
    assert {spec: answer["ok"] for spec, answer in zip(specs, answers, strict=True)} == {
        spec: key(spec) for spec in specs
    }


def test_from_a_to_b_to_the_users_update_and_back(isolated, bun, code, place, tmp_path):
    def versions_now() -> list[str]:
        answers, hosts = put(bun, code, tmp_path, [["add", "bare"], ["add", "@scope/ranged@^1"]])
        assert hosts == []
        return [answer["ok"]["version"] for answer in answers]

    start(place, "a", tmp_path)
    assert versions_now() == ["1.0.0", "1.0.0"]
    start(place, "b", tmp_path)
    assert versions_now() == ["1.1.0", "1.1.0"]
    newer = packages_of("1.2.0")
    tarballs = tmp_path / "tarballs"
    tarballs.mkdir()
    for package, data in newer.values():
        (tarballs / package.tarball).write_bytes(data)
    registry = Registry([package for package, _ in newer.values()], tarballs)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": f"{tmp_path}/.cache-nix"}
    env |= {"npm_config_registry": registry.url, "npm_config_audit": "false"}
    command = [str(bun), str(HERE / "ask.ts"), str(code), '[["update", "bare"]]']
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    registry.close()
    assert "ok" in json.loads(done.stdout), done.stdout + done.stderr
    generations = tmp_path / ".cache-nix/opencode/npm/bare@latest"
    assert len(list(generations.iterdir())) == 2
    updated = versions_now()
    assert updated[0] == ("1.2.0" if code != HERE else "1.1.0")  # the model has no registry to take one from
    start(place, "a", tmp_path)
    assert versions_now() == [updated[0] if code != HERE else "1.0.0", "1.0.0"]
    assert (generations / "1/node_modules/bare/package.json").read_text().count('"1.0.0"') == 1
