"""`hosts`: whom a network has to let through, from proof and providers, in formats that sandboxes read."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import making
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.cli import main as cli
from opencode_cache.config import read
from opencode_cache.formats import manifest
from opencode_cache.formats import proof as proof_format
from opencode_cache.formats.proof import Host
from opencode_cache.inspect import host_formats as formats
from opencode_cache.inspect import hosts
from opencode_cache.prove import on_file

REPOSITORY = Path(__file__).resolve().parents[3]
MODELS = {"m": {"name": "m"}}
CATALOGUE = {
    "anthropic": {"npm": "@ai-sdk/anthropic", "models": MODELS},
    "deepseek": {
        "npm": "@ai-sdk/openai-compatible",
        "api": "https://api.deepseek.example/v1",
        "models": MODELS,
    },
    "amazon-bedrock": {"npm": "@ai-sdk/amazon-bedrock", "models": MODELS},
    "databricks": {"npm": "@ai-sdk/openai-compatible", "api": "https://${HOST}/v1", "models": MODELS},
    "neon": {"npm": "@ai-sdk/openai-compatible", "api": "${URL}/v1", "models": MODELS},
    "odd": {"npm": "@x/odd", "models": MODELS},
}
SEEN = (
    Host(
        name="192.0.2.1", ports=("tcp/80", "udp/53"), count=2, step="import x", who="provider x", known="why"
    ),
    Host(name="h.example", count=2, step="serve", known="why"),
)


@pytest.fixture
def made():
    return manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        opencode_sha256="b" * 64,
        layout="packages",
        system="x86_64-linux",
        links=(),
        requests=(),
        packages=(),
        files=0,
        bytes=0,
    )


def listed(made, *providers, seen=SEEN, features=False, configuration=None):
    proof = making.proof(hosts=seen, ok=proof_format.is_quiet(seen))
    return hosts.allow_list(
        made, proof, "here", lambda: CATALOGUE, providers, configuration, features=features
    )


def configured(made, tmp_path, document, *providers, seen=()):
    """The list of a machine whose opencode.json is that document."""
    path = tmp_path / "opencode.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return listed(made, *providers, seen=seen, configuration=read.read_files([path], {}, []))


def rows(found):
    return [(row.host, row.port, row.who) for row in found.rows]


def test_what_the_proof_saw_and_what_providers_need(made):
    assert rows(listed(made, "anthropic", "deepseek")) == [
        ("192.0.2.1", "tcp/80", "provider x"),
        ("192.0.2.1", "udp/53", "provider x"),
        ("h.example", "tcp/443", "OpenCode, or a plugin"),
        ("api.anthropic.com", "tcp/443", "provider anthropic"),
        ("api.deepseek.example", "tcp/443", "provider deepseek"),
    ]


def test_a_cloud_s_provider_has_the_metadata_service_in_its_list(made):
    assert rows(listed(made, "amazon-bedrock", seen=())) == [
        ("*.amazonaws.com", "tcp/443", "provider amazon-bedrock"),
        ("169.254.169.254", "tcp/80", "provider amazon-bedrock"),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "has none of that name"),
        ("databricks", "not known beforehand (https://${HOST}/v1)"),
        ("neon", "not known beforehand (${URL}/v1)"),
        ("odd", "@x/odd chooses it"),
    ],
)
def test_a_host_that_nobody_can_tell_is_an_error_and_not_left_out(made, name, said):
    with pytest.raises(BadInputError, match=re.escape(said)) as raised:
        listed(made, name)
    assert name in str(raised.value)


def test_the_metadata_service_answers_http_by_name_and_by_address(made):
    seen = (
        Host(name="metadata.google.internal", count=2, step="ask", who="provider google-vertex/x"),
        Host(name="169.254.169.254", ports=("tcp/80",), count=2, step="ask", who="provider google-vertex/x"),
    )
    assert {row.port for row in listed(made, seen=seen).rows} == {"tcp/80"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"mcp": {"docs": {"type": "remote", "url": "https://mcp.example:8443/sse"}}},
            ("mcp.example", "tcp/8443", "MCP server docs", "at every start"),
        ),
        (
            {"mcp": {"docs": {"type": "remote", "url": "http://192.0.2.7/"}}},
            ("192.0.2.7", "tcp/80", "MCP server docs", "at every start"),
        ),
        (
            {"provider": {"own": {"options": {"baseURL": "https://llm.example/v1"}}}},
            ("llm.example", "tcp/443", "provider own", "when used"),
        ),
        (
            {"provider": {"own": {"api": "https://[2001:db8::1]:8000/v1"}}},
            ("2001:db8::1", "tcp/8000", "provider own", "when used"),
        ),
        (
            {"instructions": ["https://rules.example/a.md", "b.md"]},
            ("rules.example", "tcp/443", "instructions", "with each prompt"),
        ),
        (
            {"skills": {"urls": ["https://skills.example/"]}},
            ("skills.example", "tcp/443", "skills", "at every start"),
        ),
        (
            {"references": {"lib": "owner/repo"}},
            ("github.com", "tcp/443", "reference lib", "when it is first used"),
        ),
        (
            {"references": {"lib": {"repository": "git@git.example:a/b.git"}}},
            ("git.example", "tcp/22", "reference lib", "when it is first used"),
        ),
        (
            {"enterprise": {"url": "https://share.example"}},
            ("share.example", "tcp/443", "sharing", "when a session is shared"),
        ),
        (
            {"model": "anthropic/claude"},
            ("api.anthropic.com", "tcp/443", "provider anthropic", "when used"),
        ),
        (
            {"provider": {"deepseek": {"options": {"apiKey": "x"}}}},
            ("api.deepseek.example", "tcp/443", "provider deepseek", "when used"),
        ),
        (
            {"plugin": ["opencode-wakatime"]},
            (
                *("github.com", "tcp/443", "plugin opencode-wakatime"),
                "its download of wakatime-cli; to stop it: put wakatime-cli on PATH",
            ),
        ),
    ],
)
def test_what_the_configuration_names_is_listed_with_who_and_when(made, tmp_path, document, expected):
    found = configured(made, tmp_path, document)
    assert (*expected[:3], expected[3]) in [(row.host, row.port, row.who, row.when) for row in found.rows]
    assert found.untold == ()


@pytest.mark.parametrize(
    "document",
    [
        {"mcp": {"docs": {"type": "remote", "url": "https://mcp.example/", "enabled": False}}},
        {"mcp": {"docs": {"type": "remote", "url": "http://localhost:3000/"}}},
        {"provider": {"own": {"options": {"baseURL": "http://127.0.0.1:11434/v1"}}}},
        {"model": "anthropic/x", "disabled_providers": ["anthropic"]},
        {"instructions": ["rules.md"], "references": {"lib": "./there"}},
        {"mcp": {"local": {"type": "local", "command": ["npx", "-y", "server"]}}},
    ],
)
def test_what_is_off_local_or_from_the_cache_is_not_listed(made, tmp_path, document):
    found = configured(made, tmp_path, document)
    assert (found.rows, found.untold) == ((), ())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mcp": {"d": {"type": "remote", "url": "https://u:p@{x}/?k=1"}}}, "MCP server d: 'https://…@{x}/'"),
        ({"model": "databricks/x"}, "provider 'databricks': its host is not known beforehand"),
        ({"model": "nobody/x"}, "provider 'nobody': the model catalogue has none"),
        ({"mcp": {"p": {"type": "local", "command": ["uvx", "server"]}}}, "mcp.p: uvx chooses where"),
        ({"plugin": ["@tarquinen/opencode-dcp"]}, "it asks the npm registry"),
    ],
)
def test_what_nobody_can_tell_is_said_and_not_left_out(made, tmp_path, document, said):
    found = configured(made, tmp_path, document)
    assert found.rows == ()
    assert len(found.untold) == 1
    assert said in found.untold[0]
    assert "k=1" not in found.untold[0]


def test_what_the_proof_saw_of_a_plugin_is_not_listed_twice(made, tmp_path):
    seen = (Host(name="eu.i.posthog.com", count=1, step="serve", who="plugin oh-my-opencode@latest"),)
    found = configured(made, tmp_path, {"plugin": ["oh-my-opencode"]}, seen=seen)
    assert [row.host for row in found.rows if "posthog" in row.host] == ["eu.i.posthog.com"]
    other = (Host(name="eu.i.posthog.com", count=1, step="serve", who="plugin oh-my-opencode-slim"),)
    assert "*.posthog.com" in [
        row.host for row in configured(made, tmp_path, {"plugin": ["oh-my-opencode"]}, seen=other).rows
    ]
    assert "*.posthog.com" in [
        row.host for row in configured(made, tmp_path, {"plugin": ["oh-my-opencode"]}).rows
    ]


def test_an_address_whose_text_is_in_the_cache_is_not_asked(made, tmp_path):
    address = "https://rules.example/a.md"
    cached = made.model_copy(update={"urls": {address: "a" * 64}})
    assert configured(cached, tmp_path, {"instructions": [address]}).rows == ()
    assert configured(made, tmp_path, {"instructions": [address]}).rows != ()


def test_a_provider_that_an_option_names_is_listed_once(made, tmp_path):
    found = configured(made, tmp_path, {"model": "anthropic/x"}, "anthropic")
    assert rows(found) == [("api.anthropic.com", "tcp/443", "provider anthropic")]


def test_one_host_a_line(made):
    assert formats.plain(listed(made, "anthropic")) == "192.0.2.1\nh.example\napi.anthropic.com\n"
    assert formats.plain(listed(made, seen=())) == ""


def test_for_squid(made):
    """Each port with the hosts that are asked there, and nothing of UDP."""
    assert formats.squid(listed(made, "amazon-bedrock")).splitlines() == [
        "# OpenCode 1.18.33",
        "acl opencode_port_80 port 80",
        "acl opencode_addresses_80 dst 192.0.2.1",
        "acl opencode_addresses_80 dst 169.254.169.254",
        "http_access allow opencode_addresses_80 opencode_port_80",
        "acl opencode_port_443 port 443",
        "acl opencode_names_443 dstdomain h.example",
        "acl opencode_names_443 dstdomain .amazonaws.com",
        "http_access allow opencode_names_443 opencode_port_443",
    ]


def test_squid_gets_no_name_that_a_wildcard_covers(made):
    names = ("*.example", "a.example", "*.b.example", "example", "other")
    found = hosts.AllowList(
        opencode="1.18.33",
        proved=None,
        rows=tuple(
            hosts.Row(host=name, port="tcp/443", who="w", when="n", source="feature") for name in names
        ),
    )
    assert re.findall(r"dstdomain (.*)", formats.squid(found)) == [".example", "other"]


def test_for_cilium(made):
    policy = json.loads(formats.network_policy(listed(made, "amazon-bedrock")))
    dns, *rules = policy["spec"]["egress"]
    assert dns["toPorts"][0]["ports"] == [{"port": "53", "protocol": "ANY"}]
    tcp = lambda port: [{"ports": [{"port": port, "protocol": "TCP"}]}]  # noqa: E731
    assert rules == [
        {"toFQDNs": [{"matchName": "h.example"}, {"matchPattern": "*.amazonaws.com"}], "toPorts": tcp("443")},
        {"toCIDR": ["192.0.2.1/32", "169.254.169.254/32"], "toPorts": tcp("80")},
        {"toCIDR": ["192.0.2.1/32"], "toPorts": [{"ports": [{"port": "53", "protocol": "UDP"}]}]},
    ]
    ping = listed(made, seen=(Host(name="192.0.2.1", ports=("icmp",), count=1, step="s"),))
    assert json.loads(formats.network_policy(ping))["spec"]["egress"] == [
        {"toCIDR": ["192.0.2.1/32"], "icmps": [{"fields": [{"family": "IPv4", "type": 8}]}]}
    ]
    # A policy with nothing in `egress` but an empty rule lets nothing out.
    assert json.loads(formats.network_policy(listed(made, seen=())))["spec"]["egress"] == [{}]


@pytest.mark.skipif(not (REPOSITORY / "docs").is_dir(), reason="needs docs/ of the repository")
def test_every_documented_host_stands_in_the_page_on_the_network():
    page = (REPOSITORY / "docs" / "network.md").read_text(encoding="utf-8")
    named = {host for _, names, _ in hosts.FEATURES for host in names} | set(hosts.METADATA)
    assert [host for host in sorted(named) if host not in page] == []


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, made):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENCODE_TEST_MANAGED_CONFIG_DIR", str(tmp_path / "managed"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / manifest.FILE).write_text(manifest.dumps(made))
    (cache / "models.json").write_text(json.dumps(CATALOGUE))

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["opencode-cache", "hosts", "--cache", str(cache), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return cache, main


def test_the_command_takes_the_proof_that_is_on_file(run, made):
    cache, main = run
    status, out, err = main("--json", "--provider", "anthropic")
    assert (status, json.loads(out)["proved"]) == (0, None)
    assert "not proved that nothing else is asked for" in err
    on_file.put(making.proof(**on_file.identity(cache, made).model_dump(), hosts=SEEN))
    status, out, err = main("--json", "--provider", "anthropic")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["proved"].startswith("x86_64, 2 CPUs, Linux 6.1.0, 2026-11-26")
    assert [row["source"] for row in document["rows"]] == ["proof", "proof", "proof", "provider"]
    assert main("--format", "plain")[1] == "192.0.2.1\nh.example\n"
    table = main()[1]
    assert "192.0.2.1" in table
    assert "seen in the proof, in step serve" in table


def test_two_formats_are_refused(run):
    status, out, err = run[1]("--json", "--format", "plain")
    assert (status, out) == (2, "")
    assert "give either --format or --json" in err


def test_without_a_catalogue_the_program_is_asked_for(run):
    cache, main = run
    (cache / "models.json").unlink()
    status, out, err = main("--provider", "anthropic")
    assert (status, out) == (2, "")
    assert "give the program with --opencode" in err


def test_the_command_reads_the_users_configuration(run, tmp_path):
    _, main = run
    config = tmp_path / "home/.config/opencode/opencode.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"mcp": {"docs": {"type": "remote", "url": "https://mcp.example/"}}}))
    assert "mcp.example" in main("--format", "plain")[1]
    assert "mcp.example" in main()[1]
    assert main("--format", "plain", "--no-config")[1] == ""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"mcp": {"p": {"type": "local", "command": ["uvx", "x"]}}}))
    status, out, err = main("--format", "plain", "--config", str(other))
    assert (status, out) == (0, "")
    assert "not in the list: mcp.p: uvx chooses where it fetches from" in err
    assert main("--no-config", "--config", str(other))[0] == 2
    config.write_text("{")
    status, out, err = main()
    assert (status, out) == (2, "")
    assert "opencode.json" in err
