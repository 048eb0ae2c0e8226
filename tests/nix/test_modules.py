"""The modules as users have them: errors that name the option and the fix, and what the options come to.

The pairs in nix/module-tests are evaluated by the flake's check `modules`, with the module system of the
nixpkgs that these tests run with: the stand-in's, or, with `--nixpkgs locked`, the genuine one.
"""

from __future__ import annotations

import json
import re

import pytest
from flake_lab import LOCKED, Flake, commit
from modules_lab import GENUINE

LOCK = "nix run github:OWNER/REPO#lock --"


def test_the_pairs_hold(flake, machine):
    path = flake.build("checks.x86_64-linux.modules")
    assert "pairs hold" in machine.run("cat", path).stdout


@pytest.mark.parametrize(
    ("attribute", "option", "fix"),
    [
        ("wrong-type", "programs.opencode-cache.plugins", 'as [ "opencode-gemini-auth" ]'),
        ("wrong-lock", "programs.opencode-cache.lock", "`./opencode-cache.lock.json`, without quotes"),
        ("wrong-element", "programs.opencode-cache.providers", 'as "@ai-sdk/fireworks"'),
        ("unknown-option", "programs.opencode-cache.plugin", "does not exist"),
        ("unknown-provider", "programs.opencode-cache.providers", f"{LOCK} --provider @ai-sdk/nobody "),
        ("unlocked-plugin", "programs.opencode-cache.plugins", f"{LOCK} --plugin opencode-gemini-auth "),
        ("unlocked-tool", "programs.opencode-cache.tools", f"{LOCK} --tool bash-language-server "),
        ("unlocked-setting", "programs.opencode-cache.settings.plugin", f"{LOCK} --plugin opencode-nobody "),
        ("open-address", "services.opencode-cache.hostname", "set services.opencode-cache.hostname = "),
        ("no-password", "services.opencode-cache.passwordFile", "set services.opencode-cache.passwordFile"),
        ("a-name", "services.opencode-cache.allowedAddresses", "services.opencode-cache.allowedHosts"),
        ("wrong-port", "services.opencode-cache.port", "16 bit unsigned integer"),
    ],
)
def test_what_is_wrong_is_said_at_evaluation(users, attribute, option, fix):
    done = users.nix("eval", "--raw", at=f"#{attribute}.drvPath", check=False)
    assert done.returncode
    said = " ".join(done.stderr.split())
    assert option in said
    assert fix in said


def test_the_home_module_installs_the_default_package(users, default):
    assert users.nix("eval", "--raw", at="#plain").stdout == default
    assert users.nix("eval", "--raw", at="#ready").stdout == default


def test_a_plugin_of_the_home_module_is_in_the_cache_and_in_the_config(users, machine):
    """`test_only_nix.py` starts OpenCode with that configuration."""
    mine, by_hand = (users.nix("eval", "--raw", at=f"#{name}.drvPath").stdout for name in ("mine", "by-hand"))
    assert mine == by_hand
    found = json.loads(machine.run("cat", users.build("config")).stdout)
    assert found == {
        "$schema": "https://opencode.ai/config.json",
        "plugin": ["opencode-gemini-auth"],
        "share": "disabled",
    }


def test_settings_that_name_what_the_lock_lacks_are_not_built(users):
    """By the function that `plan --check` has; a file that is the machine's is not asked for."""
    done = users.nix("build", "--no-link", "--print-build-logs", at="#lacking-setting", check=False)
    assert done.returncode
    said = " ".join(done.stderr.split())
    assert "not covered: mcp.notes 'npx -y my-notes': is not in the cache" in said
    assert "commands = ['my-notes']" in said
    assert "cannot be read" not in said


def test_the_server_starts_the_package_with_what_it_needs(users, default, machine):
    unit = json.loads(machine.run("cat", users.build("unit")).stdout)
    assert f"exec {default}/bin/opencode serve --hostname 127.0.0.1 --port 4096" in unit["script"]
    assert unit["serviceConfig"]["LoadCredential"] == "password:/run/password"


SERVE = """
busybox ip link set lo up
"$1/bin/opencode" serve --hostname 127.0.0.1 --port 4096 >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
ask() {
  curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "$@" http://127.0.0.1:4096/config
}
count=0
# A request that comes too early gets no answer at all.
until [ "$(ask --max-time 2 -u opencode:s3cret)" = 200 ] || [ $count = 120 ]; do
  sleep 0.5
  count=$((count + 1))
done
ask
echo
ask -u opencode:s3cret
"""


def test_the_server_serves_with_a_configuration_that_is_read_only(users, default, machine, tmp_path):
    unit = json.loads(machine.run("cat", users.build("unit")).stdout)
    config = unit["environment"]["XDG_CONFIG_HOME"]
    assert machine.run("sh", "-c", f"touch {config}/opencode/x", check=False).returncode
    environment = {"XDG_CONFIG_HOME": config, "OPENCODE_SERVER_PASSWORD": "s3cret", "HOME": str(tmp_path)}
    said = machine.run("sh", "-c", SERVE, "serve", default, offline=True, environment=environment).stdout
    assert said.split() == ["401", "200"]


FILTER = """
busybox ip link set lo up
sh "$1" >/dev/null 2>&1 & proxy=$!
python3 -m http.server 9443 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
trap 'kill $proxy $server' EXIT
ask() { curl --silent --max-time 5 --output /dev/null --write-out "$1\n" --proxy http://127.0.0.1:4098 "$2"; }
count=0
until [ "$(ask '%{http_connect}' https://localhost:9443)" = 200 ] || [ $count = 60 ]; do
  sleep 0.5
  count=$((count + 1))
done
ask '%{http_connect}' https://localhost:9443
ask '%{http_connect}' https://localhost:22
ask '%{http_connect}' https://example.org
ask '%{http_code}' http://localhost:9443
ask '%{http_code}' http://example.org
true
"""


def test_the_proxy_lets_through_a_listed_name_on_its_port_and_nothing_else(users, machine):
    """The configuration of the unit, read by tinyproxy itself."""
    said = machine.run("sh", "-c", FILTER, "filter", users.build("proxied"), offline=True, check=False)
    assert said.stdout.split() == ["200", "403", "403", "403", "403"]


def test_the_documentation_has_every_option(flake, project):
    text = (project / "docs" / "modules.md").read_text()
    listed = set(re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE))
    assert listed == set(flake.value("checks.x86_64-linux.modules", "check: check.options"))


@pytest.fixture(scope="session")
def genuine(flake, tmp_path_factory) -> Flake:
    if not LOCKED:
        pytest.skip("needs nixpkgs and home-manager themselves: --nixpkgs locked, with a network")
    place = tmp_path_factory.mktemp("genuine")
    (place / "flake.nix").write_text(GENUINE.replace("@PROJECT@", flake.url))
    commit(place)
    return Flake(flake.machine, f"git+file://{place}", {})


@pytest.mark.parametrize("attribute", ["alone", "together", "machine"])
def test_home_manager_and_nixos_themselves_evaluate(genuine, attribute):
    done = genuine.nix("eval", "--raw", at=f"#{attribute}.drvPath", offline=False)
    assert done.stdout.endswith(".drv")


def test_home_manager_itself_says_what_is_wrong(genuine):
    done = genuine.nix("eval", "--raw", at="#plugin.drvPath", offline=False, check=False)
    assert done.returncode
    assert "programs.opencode-cache.plugins" in done.stderr
    assert f"{LOCK} --plugin opencode-nobody " in done.stderr


def test_the_virtual_machine_evaluates(flake):
    if not LOCKED:
        pytest.skip("needs nixpkgs itself, since the stand-in has no NixOS: --nixpkgs locked")
    assert flake.nix("eval", "--raw", at="#nixos-test.drvPath").stdout.endswith(".drv")
