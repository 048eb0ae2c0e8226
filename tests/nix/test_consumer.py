"""A flake in another directory that uses this one: packages, overlay, mkOpencode with a plugin of its own."""

from __future__ import annotations

import json
import shutil

import pytest
from flake_lab import EXTRA_LOCK, TARBALLS, TOOLS_LOCK, Flake, commit
from trees import REPOSITORY

CONSUMER = """\
{
  inputs = {
    nixpkgs.url = "@NIXPKGS@";
    opencode-cache.url = "@PROJECT@";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
    opencode-cache.inputs.models-dev.url = "@MODELS@";
  };
  outputs = { nixpkgs, opencode-cache, ... }:
    let
      pkgs = import nixpkgs {
        system = "x86_64-linux";
        overlays = [ opencode-cache.overlays.default ];
      };
      inherit (opencode-cache.lib) mkOpencode;
    in
    {
      packages.x86_64-linux = {
        ours = opencode-cache.packages.x86_64-linux.default;
        overlaid = pkgs.opencode-with-cache;
        plugged = mkOpencode { inherit pkgs; lock = ./extra.lock.json; };
        tooled = mkOpencode { inherit pkgs; lock = ./tools.lock.json; };
        catalogued = mkOpencode { inherit pkgs; models = opencode-cache.inputs.models-dev; };
        slim = mkOpencode { inherit pkgs; withTui = false; };
        darwin = mkOpencode { pkgs = import nixpkgs { system = "x86_64-darwin"; }; };
        future = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode // { version = "2.0.1"; };
        };
        lacking = mkOpencode { inherit pkgs; lock = ./lacking.lock.json; };
        tampered = mkOpencode {
          inherit pkgs;
          lock = ./tampered.lock.json;
          mirror = "@MIRROR@";
        };
        mirrored = mkOpencode {
          inherit pkgs;
          lock = ./mirrored.lock.json;
          mirror = "@MIRROR@";
        };
      };
    };
}
"""


def without_the_config_directory(text: str) -> dict:
    """A lock that lacks what OpenCode asks for at each start: the plugin API for its config directory."""
    found = json.loads(text)
    found["requests"] = [request for request in found["requests"] if request["kind"] != "config"]
    del found["trees"]["config"]
    used = {key for nodes in found["trees"].values() for key in nodes.values()}
    found["packages"] = {key: package for key, package in found["packages"].items() if key in used}
    return found


def with_another_hash(text: str, key: str) -> dict:
    found = json.loads(text)
    found["packages"][key]["integrity"] = f"sha512-{'A' * 86}=="
    return found


@pytest.fixture(scope="session")
def consumer(flake, registry, tmp_path_factory) -> Flake:
    place = tmp_path_factory.mktemp("consumer")
    (place / "flake.nix").write_text(flake.consumed(CONSUMER).replace("@MIRROR@", registry.url))
    shutil.copyfile(EXTRA_LOCK, place / "extra.lock.json")
    shutil.copyfile(TOOLS_LOCK, place / "tools.lock.json")
    lock_text = EXTRA_LOCK.read_text()
    (place / "mirrored.lock.json").write_text(lock_text)
    (place / "lacking.lock.json").write_text(json.dumps(without_the_config_directory(lock_text)))
    (place / "tampered.lock.json").write_text(json.dumps(with_another_hash(lock_text, registry.package.key)))
    commit(place)
    return Flake(flake.machine, f"git+file://{place}", {})


def test_package_and_overlay_are_the_same_derivation(consumer, default):
    assert consumer.nix("eval", "--raw", at="#ours").stdout == default
    assert consumer.nix("eval", "--raw", at="#overlaid").stdout == default


def test_the_flake_of_the_readme_is_one(flake, default, tmp_path_factory):
    text = (REPOSITORY / "README.md").read_text().split("### In a flake", 1)[1]
    text = text.split("```nix\n", 1)[1].split("```", 1)[0]
    follows = 'inputs.opencode-cache.inputs.nixpkgs.follows = "nixpkgs";\n'
    assert follows in text
    text = text.replace("github:NixOS/nixpkgs/nixpkgs-unstable", "@NIXPKGS@").replace(
        "github:OWNER/REPO", "@PROJECT@"
    )
    place = tmp_path_factory.mktemp("readme")
    (place / "flake.nix").write_text(flake.consumed(text))
    shutil.copyfile(EXTRA_LOCK, place / "opencode-cache.lock.json")
    commit(place)
    theirs = Flake(flake.machine, f"git+file://{place}", {})
    assert theirs.nix("eval", "--raw", at="#ready").stdout == default
    mine = theirs.nix("eval", "--raw", at="#mine").stdout
    assert mine.endswith("-opencode-with-cache-1.18.33")
    assert mine != default


def test_a_plugin_of_ones_own_is_in_the_cache_and_loads(consumer, machine):
    path = consumer.build("plugged")
    cache = consumer.value("plugged", "p: p.cache.outPath")
    manifest = json.loads(machine.run("cat", f"{cache}/manifest.json").stdout)
    assert "opencode-gemini-auth" in {entry["name"] for entry in manifest["requests"]}
    config = {"OPENCODE_CONFIG_CONTENT": json.dumps({"plugin": ["opencode-gemini-auth"]})}
    said = machine.run(f"{path}/bin/opencode", "models", offline=True, environment=config)
    assert "opencode/" in said.stdout


@pytest.mark.parametrize("which", ["plugged", "tooled"])
def test_a_lock_of_ones_own_makes_the_same_cache_without_nix(which, consumer, flake, machine, tmp_path):
    """The builder on a plain directory of tarballs, as `fetch` leaves them, with the same lock."""
    consumer.build(which)
    arguments = consumer.value(which, "p: p.cache.arguments")
    arguments[arguments.index("--tarballs") + 1] = str(TARBALLS)
    builder = flake.build("opencode-cache-builder")
    machine.run(f"{builder}/bin/opencode-cache", "build", *arguments, "--out", tmp_path / "cache")
    cache = consumer.value(which, "p: p.cache.outPath")
    assert machine.out("hash", "path", tmp_path / "cache") == machine.out("hash", "path", cache)


def test_a_language_server_finds_node_where_the_lock_has_one(consumer, machine):
    program = machine.run("cat", f"{consumer.build('tooled')}/bin/opencode").stdout
    (place,) = [line.split(":")[1] for line in program.splitlines() if "only-node" in line and "*:" in line]
    assert machine.run("ls", place).stdout.split() == ["node"]
    assert "only-node" not in machine.run("cat", f"{consumer.build('plugged')}/bin/opencode").stdout


def test_without_the_tui_the_cache_does_not_lead_to_opencode(consumer, machine, default):
    path = consumer.build("slim")
    cache = consumer.value("slim", "p: p.cache.outPath")
    assert "tui" not in machine.run("ls", cache).stdout.split()
    opencode = consumer.value("slim", "p: p.opencode.outPath")
    assert opencode not in machine.out("path-info", "--recursive", cache)
    assert opencode in machine.out("path-info", "--recursive", path)


def test_an_old_catalogue_is_not_shipped_and_the_manifest_says_why(consumer, machine):
    consumer.build("catalogued")
    cache = consumer.value("catalogued", "p: p.cache.outPath")
    found = json.loads(machine.run("cat", f"{cache}/manifest.json").stdout)
    assert "catalogue" not in found
    assert "binary is newer" in found["catalogue_why"]


def test_an_unsupported_system_is_refused_at_evaluation(consumer):
    done = consumer.nix("eval", "--raw", at="#darwin.drvPath", check=False)
    assert done.returncode
    assert "x86_64-darwin is not supported; the supported systems are aarch64-darwin" in done.stderr


def test_an_unsupported_opencode_is_refused_at_evaluation(consumer):
    done = consumer.nix("eval", "--raw", at="#future.drvPath", check=False)
    assert done.returncode
    assert "there is no lock for OpenCode 2.0.1" in done.stderr
    assert "opencode-cache lock --opencode-version 2.0.1" in done.stderr


def test_what_the_lock_lacks_fails_the_build_with_its_name(consumer):
    done = consumer.nix("build", "-L", "--no-link", at="#lacking", check=False)
    assert done.returncode
    assert "asked the registry for @opencode-ai/plugin, which the cache lacks" in done.stderr
    assert "lock again with" in done.stderr


def test_a_tarball_comes_from_a_mirror_and_is_checked(consumer, registry, machine):
    """Nix's own downloader, from an address that the user gives; then with another hash in the lock."""
    wanted = f't: t.name == "{registry.package.tarball}"'
    select = f"p: (builtins.head (builtins.filter ({wanted}) p.cache.tarballs)).path"
    for which, ok in (("mirrored", True), ("tampered", False)):
        chosen = f"{select}.drvPath"
        derivation = consumer.nix("eval", "--raw", "--apply", chosen, at=f"#{which}", offline=False).stdout
        rebuild = ["--rebuild"] if ok else []
        done = machine.nix("build", *rebuild, "--no-link", f"{derivation}^*", check=False)
        assert (done.returncode == 0) is ok, done.stderr
        if not ok:
            assert "hash mismatch" in done.stderr
    assert registry.asked


def test_the_template_evaluates(flake, machine, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    shutil.copytree(REPOSITORY / "templates" / "default", place, dirs_exist_ok=True)
    assert flake.nix("eval", "--json", at="#templates.default.description").stdout
    shutil.copyfile(EXTRA_LOCK, place / "opencode-cache.lock.json")
    commit(place)
    inputs = {"opencode-cache": flake.url}
    for name, url in flake.inputs.items():
        inputs[name if name == "nixpkgs" else f"opencode-cache/{name}"] = url
    mine = Flake(machine, f"git+file://{place}", inputs)
    assert mine.nix("eval", "--raw", at="#default.drvPath").stdout.endswith(".drv")
    assert mine.nix("eval", "--raw", at="#apps.x86_64-linux.lock.program").stdout
