"""A flake in another directory that uses this one: packages, overlay, mkOpencode with a plugin of its own."""

from __future__ import annotations

import base64
import json
import shutil

import pytest
from flake_lab import EXTRA_LOCK, TARBALLS, TOOLS_LOCK, Flake, Registry, commit, get, packages_of
from kept import slow
from trees import REPOSITORY


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


def test_a_plugin_of_ones_own_is_in_the_cache(consumer, machine):
    """`test_only_nix.py` starts OpenCode with it."""
    consumer.build("plugged")
    cache = consumer.value("plugged", "p: p.cache.outPath")
    manifest = json.loads(machine.run("cat", f"{cache}/manifest.json").stdout)
    assert "opencode-gemini-auth" in {entry["name"] for entry in manifest["requests"]}


@pytest.mark.parametrize("which", ["plugged", pytest.param("tooled", marks=slow)])
def test_a_lock_of_ones_own_makes_the_same_cache_without_nix(which, consumer, flake, machine, tmp_path):
    """The builder on a plain directory of tarballs, as `fetch` leaves them, with the same lock.

    Without the warm-up, which leaves nothing in a cache of this layout.
    """
    consumer.build(which)
    get([*packages_of(TOOLS_LOCK).values(), *packages_of(EXTRA_LOCK).values()])
    arguments = consumer.value(which, "p: p.cache.arguments")
    arguments[arguments.index("--tarballs") + 1] = str(TARBALLS)
    builder = flake.build("opencode-cache-builder")
    options = ["--no-warmup", "--out", tmp_path / "cache"]
    machine.run(f"{builder}/bin/opencode-cache", "build", *arguments, *options)
    cache = consumer.value(which, "p: p.cache.outPath")
    assert machine.out("hash", "path", tmp_path / "cache") == machine.out("hash", "path", cache)


def test_a_language_server_finds_node_where_the_lock_has_one(consumer, machine, default):
    program = machine.run("cat", f"{consumer.build('plugged')}/bin/opencode").stdout
    (place,) = [line.split(":")[1] for line in program.splitlines() if "only-node" in line and "*:" in line]
    assert machine.run("ls", place).stdout.split() == ["node"]
    assert "only-node" not in machine.run("cat", f"{default}/bin/opencode").stdout


def test_without_the_tui_the_cache_does_not_lead_to_opencode(consumer, machine):
    path = consumer.build("plugged")
    cache = consumer.value("plugged", "p: p.cache.outPath")
    assert "tui" not in machine.run("ls", cache).stdout.split()
    opencode = consumer.value("plugged", "p: p.opencode.outPath")
    assert opencode not in machine.out("path-info", "--recursive", cache)
    assert opencode in machine.out("path-info", "--recursive", path)


def test_an_old_catalogue_is_not_shipped_and_the_manifest_says_why(consumer, machine):
    consumer.build("plugged")
    cache = consumer.value("plugged", "p: p.cache.outPath")
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
    assert "OpenCode 3.0.1 is not supported by this opencode-cache; the supported versions are" in done.stderr
    assert "opencode-release-with-cache" in done.stderr


def test_an_opencode_that_is_an_experiment_is_told_so_at_evaluation(consumer):
    done = consumer.nix("eval", "--raw", at="#second.drvPath", check=False)
    assert done.returncode
    assert "OpenCode 2.0.15 is an experiment here: known is what 2.0.15 for x86_64-linux makes" in done.stderr
    assert "#lock -- --experimental --opencode-version 2.0.15 -o opencode-cache.lock.json" in done.stderr
    done = consumer.nix("eval", "--raw", at="#without-catalogue.drvPath", check=False)
    assert "models: is null, and OpenCode 2 has no catalogue in it" in done.stderr


def test_a_lock_of_an_experiment_is_taken_with_a_warning(consumer):
    done = consumer.nix("eval", "--raw", at="#experiment.drvPath")
    assert "OpenCode 2.0.15 is an experiment here: known is what 2.0.15 for x86_64-linux makes" in done.stderr
    assert done.stdout.endswith("opencode-with-cache-2.0.15.drv")


def test_an_opencode_that_only_wants_a_lock_is_told_so(consumer):
    done = consumer.nix("eval", "--raw", at="#lockable.drvPath", check=False)
    assert done.returncode
    assert "there is no lock for OpenCode 1.17.4 in this opencode-cache" in done.stderr
    assert "#lock -- --opencode-version 1.17.4 -o opencode-cache.lock.json" in done.stderr
    assert "opencode-release-with-cache" in done.stderr


def test_where_wanted_it_is_then_plain_opencode_and_a_warning(consumer):
    done = consumer.nix("eval", "--raw", at="#bare.drvPath")
    assert "OpenCode comes without a cache: there is no lock for OpenCode 1.17.4" in done.stderr
    assert done.stdout == consumer.nix("eval", "--raw", at="#unsupported.drvPath").stdout


def test_all_that_is_wrong_with_the_arguments_is_said_at_once(consumer):
    done = consumer.nix("eval", "--raw", at="#wrong.drvPath", check=False)
    assert done.returncode
    assert "mkOpencode: lock: " in done.stderr
    assert "nothing.lock.json is not there; run `nix run " in done.stderr
    assert "mkOpencode: warmup: is a string" in done.stderr


def test_the_overlay_composes(consumer, default):
    """`opencode = final.opencode-with-cache` is no recursion."""
    assert consumer.nix("eval", "--raw", at="#composed").stdout == default


def test_attributes_are_overridden_as_in_nixpkgs(consumer):
    name = consumer.nix("eval", "--raw", at="#changed.name").stdout
    assert name == "opencode-with-cache-of-mine-1.18.33"
    assert consumer.value("changed", "p: p.mine && p ? cache && p ? override && p ? overrideAttrs")
    build = consumer.value("changed-twice", "p: { inherit (p) pname installPhase; }")
    assert build["pname"] == "of-mine"
    assert "--online" in build["installPhase"]


def test_what_the_lock_lacks_fails_the_build_with_its_name(consumer):
    done = consumer.nix("build", "-L", "--no-link", at="#lacking", check=False)
    assert done.returncode
    assert "asked the registry for @opencode-ai/plugin, which the cache lacks" in done.stderr
    assert "lock again with" in done.stderr


@pytest.fixture
def fetched(consumer, machine, registry):
    """Fetch the tarball of the registry anew, with the arguments of one of the packages."""

    def fetch(which, *options, check=True, **environment):
        wanted = f't: t.name == "{registry.package.tarball}"'
        select = f"p: (builtins.head (builtins.filter ({wanted}) p.cache.tarballs))"
        derivation = consumer.nix(
            *("eval", "--raw", "--apply", f"{select}.path.drvPath"), at=f"#{which}", offline=False
        ).stdout
        machine.nix("build", "--no-link", f"{derivation}^*", check=False, environment=environment)
        rebuild = ["build", "-L", "--rebuild", "--no-link", *options, f"{derivation}^*"]
        return machine.nix(*rebuild, check=check, environment=environment)

    return fetch


def without_proxies():
    names = ("http_proxy", "https_proxy", "all_proxy")
    return dict.fromkeys((*names, *map(str.upper, names)), "")


@pytest.mark.parametrize("which", ["mirrored", "listed"])
def test_a_tarball_comes_from_the_registries_that_are_given(fetched, registry, which):
    registry.asked.clear()
    said = fetched(which, **without_proxies()).stderr
    assert registry.asked
    assert "%" not in said  # no progress bar


def test_a_tarball_with_another_hash_is_refused(consumer, machine, registry):
    done = consumer.nix("build", "--no-link", at="#tampered", check=False, offline=False)
    assert done.returncode
    assert "hash mismatch" in done.stderr


def test_without_registries_the_environment_names_one(fetched, registry):
    registry.asked.clear()
    fetched("plugged", NPM_CONFIG_REGISTRY=f"{registry.url}/", **without_proxies())
    assert registry.asked
    assert registry.agents >= {"curl"}


def test_npm_logs_in_with_its_own_configuration(fetched, registry, tmp_path):
    """Its file is shown to the sandbox with `extra-sandbox-paths`, and NPM_CONFIG_USERCONFIG names it."""
    npmrc = tmp_path / "npmrc"
    with Registry(registry.package, login="Bearer s3cret") as private:
        npmrc.write_text(f"registry={private.url}/\n//{private.url[7:]}/:_authToken=s3cret\n")
        how = {"NPM_CONFIG_USERCONFIG": str(npmrc), "NPM_CONFIG_REGISTRY": private.url} | without_proxies()
        assert fetched("npm", check=False, **how).returncode  # the file is not shown to the build
        done = fetched("npm", "--option", "extra-sandbox-paths", str(npmrc), **how)
        assert private.asked
        assert "%" not in done.stderr


def test_curl_logs_in_with_a_netrc(fetched, registry, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s3cret\n")
    login = "Basic " + base64.b64encode(b"ada:s3cret").decode()
    with Registry(registry.package, login=login) as private:
        fetched(
            "plugged",
            *("--option", "extra-sandbox-paths", str(netrc)),
            NPM_CONFIG_REGISTRY=private.url,
            NIX_CURL_FLAGS=f"--netrc-file {netrc}",
            **without_proxies(),
        )
        assert private.asked


def test_the_template_evaluates(flake, machine, tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    shutil.copytree(REPOSITORY / "templates" / "default", place, dirs_exist_ok=True)
    assert flake.nix("eval", "--json", at="#templates.default.description").stdout
    commit(place)
    inputs = {"opencode-cache": flake.url}
    for name, url in flake.inputs.items():
        inputs[name if name == "nixpkgs" else f"opencode-cache/{name}"] = url
    mine = Flake(machine, f"git+file://{place}", inputs)
    early = mine.nix("eval", "--raw", at="#default.drvPath", check=False)
    assert early.returncode
    assert "opencode-cache.lock.json is not there; run `nix run " in early.stderr
    assert "then `git add opencode-cache.lock.json`" in early.stderr
    shutil.copyfile(EXTRA_LOCK, place / "opencode-cache.lock.json")
    commit(place)
    assert mine.nix("eval", "--raw", at="#default.drvPath").stdout.endswith(".drv")
    assert mine.nix("eval", "--raw", at="#apps.x86_64-linux.lock.program").stdout
