"""The flake as its users have it: evaluation, builds in the sandbox, `nix run`, a profile."""

from __future__ import annotations

import json
import re
import time

import pytest
from flake_lab import LOCKS, SUITE, Flake, Registry, commit, get, machine_of
from kept import slow
from trees import KEPT

from opencode_cache.formats import lock

MODULES = """\
{
  inputs = {
    nixpkgs.url = "@NIXPKGS@";
    opencode-cache.url = "@PROJECT@";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
  };
  outputs = { nixpkgs, opencode-cache, ... }: {
    home =
      (nixpkgs.lib.evalModules {
        modules = [
          opencode-cache.homeModules.default
          {
            options = nixpkgs.lib.genAttrs [ "assertions" "warnings" "home" "xdg" ] (
              _: nixpkgs.lib.mkOption { type = nixpkgs.lib.types.raw; }
            );
            config.programs.opencode-cache.enable = true;
          }
        ];
        specialArgs = { inherit (nixpkgs) lib; pkgs = nixpkgs.legacyPackages.x86_64-linux; };
      }).config.programs.opencode-cache.finalPackage;
  };
}
"""


def test_every_system_evaluates(flake):
    flake.nix("flake", "check", "--no-build", "--all-systems")


def test_the_default_package_evaluates_fast(flake):
    began = time.monotonic()
    flake.nix("eval", "--raw", "--option", "eval-cache", "false", at="#default.drvPath")
    assert time.monotonic() - began < 3


def test_no_input_but_the_promised_ones(project):
    for place in ("flake.lock", "opencode/flake.lock"):
        nodes = json.loads((project / place).read_text())["nodes"]
        assert set(nodes) - {"root"} == {
            "models-dev",
            "nixpkgs",
            "tui-darwin-arm64",
            "tui-linux-arm64",
            "tui-linux-x64",
        }


def test_the_python_dependencies_are_those_of_pyproject(project):
    text = (project / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)[1]
    names = {re.match(r'\s*"([\w-]+)', line)[1] for line in listed.splitlines() if '"' in line}
    ours = (project / "nix" / "python-dependencies.nix").read_text()
    assert set(re.findall(r"^  packages\.(\S+)", ours, re.MULTILINE)) == names - {"tomli"}


def test_run_starts_the_real_opencode_with_the_cache(flake, default):
    """The program is the package's, which a test below asks for its models."""
    program = flake.nix("eval", "--raw", at="#apps.x86_64-linux.default.program").stdout
    assert program == f"{default}/bin/opencode"
    assert flake.nix("run", rest=["--version"]).stdout.strip() == flake.value("default", "p: p.version")


def test_the_flake_in_the_directory_is_the_same(flake, default):
    assert flake.nix("eval", "--raw", at="?dir=opencode#default").stdout == default


def test_lock_app_is_the_builder(flake):
    assert "--plugin" in flake.nix("run", at="#lock", rest=["--help"]).stdout


def test_two_such_packages_and_another_share_a_profile(flake, consumer, machine, default, tmp_path):
    """The second has the cache of the first, and its own of everything that is in a profile."""
    profile = tmp_path / "profile"
    verb = "install"
    for place, package, priority in (
        (flake, "default", "4"),
        (consumer, "changed-twice", "6"),
        (flake, "opencode-cache-builder", "5"),
    ):
        place.nix("profile", verb, "--profile", str(profile), "--priority", priority, at=f"#{package}")
    listed = machine.run("ls", "-A", f"{profile}/").stdout.split()
    assert set(listed) <= {"bin", "share", "lib", "libexec", "manifest.json"}
    assert set(machine.run("ls", f"{profile}/bin").stdout.split()) == {"opencode", "opencode-cache"}
    said = machine.run(f"{profile}/bin/opencode", "--version", offline=True).stdout.strip()
    assert said == flake.value("default", "p: p.version")
    assert machine.run("ls", f"{profile}/share/bash-completion/completions/").stdout


LOCAL_PLUGIN = """import { tool } from "@opencode-ai/plugin"
import { writeFileSync } from "node:fs"
writeFileSync(process.env.HOME + "/loaded", typeof tool.schema.string)
export const Mine = async () => ({})
"""


def test_after_use_remove_and_a_garbage_collection_plain_opencode_installs_its_plugin_api(
    flake, second, default, machine, tmp_path
):
    """What keeps plain OpenCode from doing that is gone; nothing dangles; a local plugin works as ever."""
    home = {"HOME": str(tmp_path)}
    cache, opencode = (flake.value("default", f"p: p.{name}.outPath") for name in ("cache", "opencode"))
    remove = flake.nix("eval", "--raw", at="#apps.x86_64-linux.remove.program").stdout
    flake.nix("run", at="#remove", rest=["--dry-run"])
    # Of this machine's store nothing may go: another one has a copy, by Nix's own means.
    machine.nix("copy", "--to", KEPT / second.store, "--no-check-sigs", default, remove.partition("/bin/")[0])
    profile = "/nix/var/nix/profiles/mine"
    second.nix("build", "--profile", profile, default)
    second.run(f"{profile}/bin/opencode", "models", offline=True, environment=home)
    links = second.run("find", tmp_path, "-type", "l").stdout.split()
    assert f"{tmp_path}/.config/opencode/node_modules/zod" in links
    said = second.run(remove, environment=home).stdout
    assert "removed " in said
    assert not second.run("find", tmp_path, "-type", "l").stdout
    assert not (tmp_path / ".config/opencode/node_modules").exists()
    assert not (tmp_path / ".config/opencode/package-lock.json").exists()
    second.nix("build", "--profile", profile, opencode)
    second.nix("profile", "wipe-history", "--profile", profile)
    assert second.has(cache)
    assert "store paths deleted" in second.out("store", "gc")
    assert not second.has(cache)
    assert not second.has(default)
    config = tmp_path / ".config/opencode"
    (config / "plugin").mkdir()
    (config / "plugin/mine.js").write_text(LOCAL_PLUGIN)
    locked = lock.read(LOCKS / "opencode-cache.lock.json")
    api = [locked.packages[key] for key in locked.trees["config"].values()]
    get(api)
    with Registry(*api) as registry:
        environment = home | {"npm_config_registry": registry.url, "OPENCODE_DISABLE_MODELS_FETCH": "1"}
        second.run(f"{profile}/bin/opencode", "models", environment=environment)
    assert (tmp_path / "loaded").read_text() == "function"
    assert not (config / "node_modules/@opencode-ai/plugin").is_symlink()


def test_update_app_is_the_builder(flake):
    assert "--check" in flake.nix("run", at="#update", rest=["--help"]).stdout


def test_a_build_log_has_no_progress_bar_in_it(flake, default):
    lines = flake.nix("log", at="#opencode-cache").stdout.splitlines()
    assert lines
    assert not [line for line in lines if "\x1b[2K" in line or "━" in line or re.search(r"\b\d+/\d+\b", line)]


def test_the_closure_is_opencode_and_the_cache_and_three_small_programs(flake, machine, default):
    """Beyond nixpkgs' own OpenCode, and what those programs themselves need."""
    cache, opencode = (flake.value("default", f"p: p.{name}.outPath") for name in ("cache", "opencode"))
    nixpkgs = flake.inputs.get("nixpkgs", "nixpkgs")
    programs = [
        flake.machine.nix(
            *(
                "eval",
                "--raw",
                "--no-write-lock-file",
                f"{nixpkgs}#legacyPackages.x86_64-linux.{name}.outPath",
            )
        ).stdout
        for name in ("dash", "ripgrep", "coreutils")
    ]
    known = {default, cache}
    for path in (opencode, *programs):
        known |= set(machine.out("path-info", "--recursive", path).split())
    assert set(machine.out("path-info", "--recursive", default).split()) == known
    assert set(machine.out("path-info", "--recursive", cache).split()) <= known


def test_the_tui_is_the_opencode_that_is_started(flake, machine, default):
    cache, version = flake.build("opencode-cache"), flake.value("default", "p: p.version")
    link = machine.run("readlink", "-f", f"{cache}/tui/tui-{version}").stdout.strip()
    assert link == flake.value("default", "p: p.opencode.outPath") + "/bin/opencode"


def test_evaluation_fetches_nothing_but_nixpkgs(flake, second, tmp_path):
    """In an empty store, without a network: no release archive, no catalogue, and no copy of them either."""
    if "nixpkgs" not in flake.inputs:
        pytest.skip("nixpkgs itself is to be had from a network")
    alone = Flake(second, flake.url, {"nixpkgs": flake.inputs["nixpkgs"]})
    for name in ("default", "opencode-release", "opencode-release-with-cache", "opencode-cache"):
        assert alone.nix("eval", "--raw", at=f"#{name}.drvPath").stdout.endswith(".drv")
    assert "opencode-release" in alone.nix("flake", "show").stdout
    alone.nix("flake", "check", "--no-build")
    (tmp_path / "flake.nix").write_text(alone.consumed(MODULES))
    commit(tmp_path)
    user = Flake(second, f"git+file://{tmp_path}", {})
    assert user.nix("eval", "--raw", at="#home.drvPath").stdout.endswith(".drv")
    assert not [path for path in second.out("path-info", "--all").split() if path.endswith(".tgz")]


@slow
def test_the_release_runs_with_its_cache(flake, machine, project):
    path = flake.build("opencode-release-with-cache")
    said = machine.run(f"{path}/bin/opencode", "--version", offline=True).stdout.strip()
    assert said == json.loads((project / "nix" / "releases.json").read_text())["x86_64-linux"]["version"]


SLOW_CHECKS = {"offline", "reproducible", "unit"}
"""`test_the_flake_checks_itself` has them. By default tests/offline proves a cache, and test_consumer.py
builds one again, without Nix."""


def test_checks_of_the_flake(flake, default):
    names = set(flake.value("checks.x86_64-linux", "builtins.attrNames"))
    assert names > SLOW_CHECKS
    for name in sorted(names - SLOW_CHECKS):
        flake.build(f"checks.x86_64-linux.{name}")


@slow
def test_the_proof_that_nix_makes_is_shown_for_its_cache(flake, machine, default):
    proof = flake.build("opencode-cache.tests.offline")
    cache = flake.build("opencode-cache")
    listed = flake.nix("run", at="#opencode-cache-builder", rest=["list", "--cache", cache, "--proof", proof])
    assert "Proof: proved: OpenCode" in listed.stdout + listed.stderr


@slow
def test_the_flake_checks_itself(flake, default):
    flake.nix("flake", "check", timeout=3000)


@slow
def test_the_newest_nix_of_debian_makes_the_same_bits(flake, default):
    """Evaluation, the cache with its warm-up, and the program, with the Nix that Debian has in sid."""
    suite = "sid" if SUITE == "trixie" else ""
    if suite:
        machine_of(suite)
    flake.nix("flake", "check", "--no-build", "--all-systems", suite=suite)
    flake.build("opencode-cache", "--rebuild", suite=suite)
    assert "opencode/" in flake.nix("run", at="?dir=opencode", rest=["models"], suite=suite).stdout
