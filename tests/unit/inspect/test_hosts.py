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
from opencode_cache.formats import manifest
from opencode_cache.formats.proof import Host
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


def listed(made, *providers, seen=SEEN, features=False):
    proof = making.proof(hosts=seen)
    return hosts.allow_list(made, proof, "here", CATALOGUE, providers, features=features)


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


def test_one_host_a_line(made):
    assert hosts.plain(listed(made, "anthropic")) == "192.0.2.1\nh.example\napi.anthropic.com\n"
    assert hosts.plain(listed(made, seen=())) == ""


def test_for_squid(made):
    assert hosts.squid(listed(made, "amazon-bedrock")).splitlines() == [
        "# OpenCode 1.18.33",
        "acl opencode_ports port 80",
        "acl opencode_ports port 443",
        "acl opencode_names dstdomain h.example",
        "acl opencode_names dstdomain .amazonaws.com",
        "http_access allow opencode_names opencode_ports",
        "acl opencode_addresses dst 192.0.2.1",
        "acl opencode_addresses dst 169.254.169.254",
        "http_access allow opencode_addresses opencode_ports",
    ]


def test_for_cilium(made):
    policy = json.loads(hosts.network_policy(listed(made, "amazon-bedrock")))
    dns, *rules = policy["spec"]["egress"]
    assert dns["toPorts"][0]["ports"] == [{"port": "53", "protocol": "ANY"}]
    tcp = lambda port: [{"ports": [{"port": port, "protocol": "TCP"}]}]  # noqa: E731
    assert rules == [
        {"toFQDNs": [{"matchName": "h.example"}, {"matchPattern": "*.amazonaws.com"}], "toPorts": tcp("443")},
        {"toCIDR": ["192.0.2.1/32", "169.254.169.254/32"], "toPorts": tcp("80")},
        {"toCIDR": ["192.0.2.1/32"], "toPorts": [{"ports": [{"port": "53", "protocol": "UDP"}]}]},
    ]
    # A policy with nothing in `egress` but an empty rule lets nothing out.
    assert json.loads(hosts.network_policy(listed(made, seen=())))["spec"]["egress"] == [{}]


@pytest.mark.skipif(not (REPOSITORY / "docs").is_dir(), reason="needs docs/ of the repository")
def test_every_documented_host_stands_in_the_page_on_the_network():
    page = (REPOSITORY / "docs" / "network.md").read_text(encoding="utf-8")
    named = {host for _, names, _ in hosts.FEATURES for host in names} | set(hosts.METADATA)
    assert [host for host in sorted(named) if host not in page] == []


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, made):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENCODE_CACHE_LOCKS", str(tmp_path))
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
