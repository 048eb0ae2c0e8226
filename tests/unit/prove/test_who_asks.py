"""Who asks for a host, the two verdicts, opt-outs, and what a second start finds. No OpenCode."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import making
import pytest
from pydantic import ValidationError

from opencode_cache.base.errors import CheckFailedError
from opencode_cache.formats import manifest, shipped
from opencode_cache.formats import proof as proofs
from opencode_cache.formats.proof import OPENCODE, Host, Proof, Step
from opencode_cache.prove import on_file, opt_outs, who_asks
from opencode_cache.prove.child import attribution, hosts, second_start
from opencode_cache.prove.child.record import Wanted

FAILED = Step(name="run", ok=False, seconds=1, detail="no")


def entry(spec):
    """A plugin, or a command where the spec begins with `npx `."""
    kind = "command" if spec.startswith("npx ") else "plugin"
    spec = spec.removeprefix("npx ")
    name = spec if spec.rfind("@") < 1 else spec[: spec.rfind("@")]
    return manifest.Entry(
        spec=spec, kind=kind, name=name, requested="latest", version="1.0.0", tree=f"packages/{spec}"
    )


def a_manifest(*plugins, accept=None):
    return manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        layout="packages",
        system="x86_64-linux",
        links=(),
        requests=tuple(entry(spec) for spec in plugins),
        packages=(),
        accept=accept,
        files=0,
        bytes=0,
    )


def host(who, **fields):
    return Host(name="h.example", count=1, step="serve", who=who, **fields)


def a_proof(*asked, steps=None, **fields):
    steps = steps or (Step(name="serve", ok=True, seconds=1, detail=""),)
    return making.proof(hosts=asked, steps=steps, ok=proofs.holds(steps, asked), **fields)


@pytest.mark.parametrize(
    ("asked", "complete", "quiet"),
    [
        ([], True, True),
        ([host(None)], False, False),
        ([host(OPENCODE)], False, False),
        ([host(None, known="nobody can stop it")], True, True),
        ([host("plugin x")], True, False),
        ([host("provider y")], True, False),
        ([host("plugin x", accepted=True)], True, True),
        ([host("plugin x", accepted=True), host("plugin y")], True, False),
        ([host("plugin x"), host(OPENCODE)], False, False),
    ],
)
def test_complete_and_quiet_are_never_mixed(asked, complete, quiet):
    proof = a_proof(*asked)
    assert (proof.complete, proof.quiet, proof.ok) == (complete, quiet, complete and quiet)
    assert not a_proof(*asked, steps=(FAILED,)).complete
    assert a_proof(*asked, steps=(FAILED,)).quiet is quiet


@pytest.mark.parametrize("field", ["ok", "complete", "quiet"])
def test_a_verdict_that_the_steps_and_hosts_do_not_say_is_refused(field):
    with pytest.raises(ValidationError, match=f"`{field}` contradicts the steps and hosts"):
        making.proof(**{field: False})


def test_a_proof_of_before_there_were_two_verdicts_has_both(tmp_path):
    document = json.loads(a_proof().model_dump_json())
    del document["complete"], document["quiet"]
    proof = Proof.model_validate(document)
    assert proof.complete
    assert proof.quiet


def test_the_shipped_proofs_are_complete_and_quiet():
    paths = shipped._all(shipped.PROOF)
    assert paths
    for path in paths:
        proof = proofs.read(path)
        assert proof.ok, path
        assert proof.complete, path
        assert proof.quiet, path


def test_a_proof_of_a_complete_cache_is_filed_and_found(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    noisy, lacking = a_proof(host("plugin x")), a_proof(host(OPENCODE))
    on_file.put(noisy)
    assert on_file.find(on_file.of(noisy)) == on_file.Found(noisy, here=True)
    on_file.put(lacking)
    assert on_file.find(on_file.of(lacking)) is None


def test_the_verdict_names_who_asks():
    assert (
        proofs.verdict(a_proof(host("plugin x"))) == "complete, not quiet: asked for by plugin x: h.example"
    )
    assert proofs.verdict(a_proof(host("plugin x"), steps=(FAILED,))) == (
        "not proved: failed: run (no); asked for by plugin x: h.example"
    )
    assert proofs.verdict(a_proof(host("plugin x", accepted=True))) == (
        "proved: OpenCode 1.18.33 asked only for hosts that are known or accepted"
    )


def test_each_host_gets_one_line_with_who_asks_and_what_stops_it():
    lines = who_asks.lines(
        a_proof(
            host("plugin x", fix="set X=0"),
            host("plugin x", fix="set X=0").model_copy(update={"step": "run"}),
            Host(name="two.example", count=1, step="run", who="plugin y"),
            Host(name="fine.example", count=1, step="run", who="plugin y", accepted=True),
        )
    )
    end = "; or `accept` it in the plan"
    assert list(lines) == [
        f"h.example: plugin x asks for it, not OpenCode; set X=0{end}",
        f"two.example: plugin y asks for it, not OpenCode; no switch for it is known{end}",
    ]


@pytest.mark.parametrize(
    ("plugins", "who", "fix"),
    [
        (None, None, "ripgrep"),
        ((), OPENCODE, "ripgrep"),
        (("opencode-wakatime",), "plugin opencode-wakatime", "wakatime-cli"),
        (("other@latest",), "plugin other@latest", None),
        (("other", "opencode-wakatime@1.3.9"), "plugin other, plugin opencode-wakatime@1.3.9",
         "opencode-wakatime: "),
    ],
)  # fmt: skip
def test_the_fix_fits_who_asks(plugins, who, fix):
    askers = {} if plugins is None else {"github.com": tuple(entry(one) for one in plugins)}
    found = hosts.judged(a_manifest(), Wanted("github.com"), "run", 1, askers=askers)
    assert found.who == who
    assert found.fix is None if fix is None else fix in found.fix
    assert ("ripgrep" in (found.fix or "")) is (fix == "ripgrep")


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ({}, False),
        ({"x": ("h.example",)}, False),
        ({"x": ("h.example",), "y@latest": ("h.example",)}, True),
        ({"x": ("h.example",), "y": ("h.example",)}, True),
        ({"x": ("h.example",), "y": ("other.example",)}, False),
        ({"*": ("h.example",)}, True),
    ],
)
def test_what_all_who_ask_may_ask_for_is_accepted(accept, accepted):
    given = a_manifest("x", "y@latest", accept=accept)
    found = hosts.judged(given, Wanted("h.example"), "run", 1, askers={"h.example": given.requests})
    assert found.accepted is accepted


@pytest.mark.parametrize("askers", [{}, {"h.example": ()}])
def test_what_opencode_asks_for_cannot_be_accepted(askers):
    given = a_manifest(accept={"*": ("h.example",)})
    found = hosts.judged(given, Wanted("h.example"), "run", 1, askers=askers)
    assert not found.accepted
    assert not a_proof(found).complete


def test_steps_without_plugins_are_opencodes_own():
    asked = {("models", Wanted("h.example")): 1, ("run", Wanted("h.example")): 1}
    found = hosts.all_of(a_manifest("x"), asked, {"h.example": (entry("x"),)})
    assert [(one.step, one.who) for one in found] == [("models", OPENCODE), ("run", "plugin x")]


def test_a_command_is_named_as_one_in_its_own_step_and_beside_others():
    asked = {("command b@1", Wanted("h.example")): 1, ("serve", Wanted("h.example")): 1}
    given = a_manifest("a", "npx b@1", accept={"b": ("h.example",)})
    found = hosts.all_of(given, asked, {"h.example": (entry("npx b@1"),)})
    assert [(one.step, one.who, one.accepted) for one in found] == [
        ("command b@1", "command b@1", True),
        ("serve", "command b@1", True),
    ]


@dataclass(frozen=True)
class Scripted:
    """Lanes in which each plugin or command asks for what it is said to, and OpenCode for `own`."""

    asks: dict[str, set[str]]
    own: set[str]
    starts: list[str]
    is_up: bool = True
    say: Any = None

    def start(self, steps):
        one = steps.keywords.get("one")
        self.starts.append(one.spec if one else "")
        names = self.own | self.asks.get(one.spec, set()) if one else self.own
        step = Step(name="serve", ok=self.is_up, seconds=1, detail="")
        record = SimpleNamespace(steps=[step], asked=Counter(("serve", Wanted(name)) for name in names))
        done = Future()
        done.set_result((record, [], names & steps.keywords["names"] if one else 0.0))
        return done


def told(asks, own, names, plugins):
    lanes = Scripted(asks, own, [])
    found, untold = attribution.askers(lanes, a_manifest(*plugins), names, [], 1)
    assert untold == []
    return {name: [one.spec for one in who] for name, who in found.items()}, lanes.starts


@pytest.mark.parametrize(
    ("plugins", "asks", "own", "names", "expected", "starts"),
    [
        (["a", "b"], {}, set(), set(), {}, []),
        ([], {}, {"h"}, {"h"}, {"h": []}, []),
        (["a"], {"a": {"h"}}, set(), {"h"}, {"h": ["a"]}, [""]),
        (["a", "b"], {}, {"h"}, {"h"}, {"h": []}, [""]),
        (["a", "b", "c"], {"a": {"h"}, "c": {"h", "i"}}, {"o"}, {"h", "i", "o"},
         {"h": ["a", "c"], "i": ["c"], "o": []}, ["", "a", "b", "c"]),
        (["a", "npx b"], {"b": {"h"}}, {"o"}, {"h", "o"}, {"h": ["b"], "o": []}, ["", "a", "b"]),
        (["npx b"], {"b": {"h"}}, set(), {"h"}, {"h": ["b"]}, [""]),
        (["a", "b"], {}, set(), {"h"}, {"h": ["a", "b"]}, ["", "a", "b"]),
    ],
)  # fmt: skip
def test_a_host_is_put_to_the_plugins_without_which_nobody_asks(plugins, asks, own, names, expected, starts):
    assert told(asks, own, names, plugins) == (expected, starts)


def test_where_opencode_does_not_start_without_plugins_nobody_is_blamed():
    lanes = Scripted({}, set(), [], is_up=False)
    found, untold = attribution.askers(lanes, a_manifest("a"), {"h"}, [], 1)
    assert found == {}
    assert untold == ["who asks for h: OpenCode does not start without plugins"]


def test_every_opt_out_says_where_it_was_seen_and_names_no_registry():
    assert opt_outs.known()
    for one in opt_outs.known():
        assert one.seen[0].isdigit()
        assert ".js" in one.seen
        assert not any("npm" in name for name in one.hosts)
        assert all(opt_outs.switch(plugin, one.hosts[0].replace("*", "x")) for plugin in one.plugins)
    assert "OMO_DISABLE_POSTHOG" in opt_outs.switch("oh-my-openagent", "us.i.posthog.com")
    assert opt_outs.switch("opencode-wakatime", "us.i.posthog.com") is None
    assert opt_outs.switch("nobody", "github.com") is None


class TestSecondStart:
    def refused(self, before, after):
        with pytest.raises(CheckFailedError) as caught:
            second_start.check_unchanged({"opencode.json": before}, {"opencode.json": after})
        return str(caught.value)

    def test_what_is_as_it_was_is_well(self):
        second_start.check_unchanged(
            {"opencode.json": {"plugin": ["a"]}}, {"opencode.json": {"plugin": ["a"]}}
        )

    def test_a_plugin_that_renames_itself_is_named_with_the_name_to_use(self):
        said = self.refused({"plugin": ["x", "old@latest"]}, {"plugin": ["x", ["new@latest", {"a": 1}]]})
        assert "plugin old@latest writes itself into the user's configuration as new@latest" in said
        assert "name it new@latest in the plan" in said

    def test_a_plugin_whose_other_name_is_cached_may_rename_itself(self):
        before = {"opencode.json": {"plugin": ["oh-my-opencode", "x"]}}
        after = {"opencode.json": {"plugin": ["oh-my-openagent", "x"]}}
        cached = ["oh-my-opencode", "oh-my-openagent", "x"]
        assert second_start.check_unchanged(before, after, cached) == ["oh-my-opencode"]
        with pytest.raises(CheckFailedError, match="name it oh-my-openagent"):
            second_start.check_unchanged(before, after, ["oh-my-opencode", "x"])
        more = {"opencode.json": {"plugin": ["oh-my-openagent", "x", "y"]}}
        with pytest.raises(CheckFailedError):
            second_start.check_unchanged(before, more, cached)

    def test_other_changes_are_named_by_their_keys(self):
        assert "opencode.json (model)" in self.refused({"model": "a"}, {"model": "b"})
        assert "plugin a is not in it any more" in self.refused({"plugin": ["a"]}, {"plugin": []})
        assert "plugin b was added" in self.refused({"plugin": ["a"]}, {"plugin": ["a", "b"]})
        assert "opencode.json" in self.refused({"plugin": []}, "// no JSON")

    def test_tools_are_compared(self):
        assert "the 2 tools" in second_start._compared(["a", "b"], ["a", "b"])
        assert "does not tell" in second_start._compared(None, None)
        with pytest.raises(CheckFailedError, match="without a; with c"):
            second_start._compared(["a", "b"], ["b", "c"])

    def test_the_configuration_is_read_as_it_is(self, tmp_path):
        directory = tmp_path / ".config" / "opencode"
        directory.mkdir(parents=True)
        (directory / "opencode.json").write_text('{"plugin": ["a"]}')
        (directory / "opencode.jsonc").write_text("{} // a word")
        assert second_start.configuration(tmp_path) == {
            "opencode.json": {"plugin": ["a"]},
            "opencode.jsonc": "{} // a word",
        }
