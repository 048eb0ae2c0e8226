"""npm's settings and credentials, and what npm's failures become. npm is a small shell script here."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import shlex
from types import SimpleNamespace

import pytest

from opencode_cache.base.errors import BadInputError, NetworkError, OpencodeCacheError
from opencode_cache.npm import client as npm

ADDRESS = "http://127.0.0.1:8080/npm/"


def forget():
    for remembered in (npm.command, npm._config, npm.registry):
        remembered.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_remembered():
    forget()
    yield
    forget()


@pytest.fixture
def npm_is(tmp_path, monkeypatch):
    """Put a shell script on PATH as npm. Returns the directory where it may leave things."""

    def install(body):
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return tmp_path

    return install


@pytest.fixture
def npm_says(npm_is):
    """npm prints this and ends with that status."""

    def install(stdout="", stderr="", status=0):
        return npm_is(f"printf %s {shlex.quote(stdout)}\nprintf %s {shlex.quote(stderr)} >&2\nexit {status}")

    return install


@pytest.fixture
def configured(npm_says, tmp_path):
    """npm's configuration: the default registry, other settings, and the user's npmrc."""

    def install(npmrc="", registry=ADDRESS, **settings):
        file = tmp_path / "npmrc"
        file.write_bytes(npmrc if isinstance(npmrc, bytes) else npmrc.encode())
        config = {"registry": registry, "userconfig": str(file), "globalconfig": str(tmp_path / "none")}
        npm_says(json.dumps(config | settings))
        return npm.registry()

    return install


def basic(pair):
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


# Addresses


def test_tarballs_are_asked_for_by_npms_convention(configured):
    registry = configured()
    assert registry.tarball("left-pad", "1.3.0") == "http://127.0.0.1:8080/npm/left-pad/-/left-pad-1.3.0.tgz"
    assert registry.tarball("@s/a", "1.0.0-b") == "http://127.0.0.1:8080/npm/@s/a/-/a-1.0.0-b.tgz"


def test_a_scope_with_a_registry_of_its_own_is_asked_for_there(configured):
    registry = configured(**{"@mine:registry": "http://127.0.0.1:9090/m"})
    assert registry.tarball("@mine/a", "1.0.0") == "http://127.0.0.1:9090/m/@mine/a/-/a-1.0.0.tgz"
    assert registry.tarball("@other/a", "1.0.0").startswith(ADDRESS)
    assert registry.tarball("mine", "1.0.0").startswith(ADDRESS)


@pytest.mark.parametrize("wrong", ["", "registry.test", "file:///srv", "ftp://127.0.0.1/", None])
def test_a_registry_that_is_no_web_address_is_refused(configured, wrong):
    with pytest.raises(BadInputError, match="not an http"):
        configured(registry=wrong)


@pytest.mark.parametrize("said", ["", "not json", "[]", "null"])
def test_an_npm_that_answers_nonsense_is_refused(npm_says, said):
    npm_says(said)
    with pytest.raises(OpencodeCacheError):
        npm.registry()


def test_the_certificate_authority_of_npm_is_taken_over(configured, tmp_path):
    (tmp_path / "ca.pem").touch()
    assert configured(cafile=str(tmp_path / "ca.pem")).cafile == str(tmp_path / "ca.pem")
    forget()
    assert configured(cafile=None).cafile is None


def test_a_certificate_authority_that_is_no_file_is_refused(configured):
    with pytest.raises(BadInputError, match="npm's cafile setting is '/none'"):
        configured(cafile="/none")


def test_the_proxies_of_npm_are_taken_over(configured):
    made = configured(proxy="http://p.test", noproxy="127.0.0.1", **{"https-proxy": "http://q.test"})
    assert made.proxies == {"http": "http://p.test", "https": "http://q.test"}
    assert made.no_proxy == "127.0.0.1"
    forget()
    assert configured(proxy=None, noproxy="", **{"strict-ssl": False}).verify is False


def test_an_npmrc_beside_the_user_counts_for_nothing(npm_is):
    npm_is('echo "{\\"registry\\": \\"http://127.0.0.1/$(ls | wc -l | tr -d " ")\\"}"')
    assert npm.registry().default == "http://127.0.0.1/0"


# Credentials


@pytest.mark.parametrize(
    ("npmrc", "header"),
    [
        ("//127.0.0.1:8080/npm/:_authToken=abc", "Bearer abc"),
        ("//127.0.0.1:8080/:_authToken=abc", "Bearer abc"),
        ("//127.0.0.1:8080:_authToken=abc", "Bearer abc"),
        ('  //127.0.0.1:8080/:_authToken = "abc"  ', "Bearer abc"),
        ("//127.0.0.1:8080/:_authToken=a=b==", "Bearer a=b=="),
        ("//127.0.0.1:8080/:_authToken=${TEST_TOKEN}", "Bearer from-environment"),
        ("//127.0.0.1:8080/:_authToken=x-${TEST_TOKEN}", "Bearer x-from-environment"),
        ("//127.0.0.1:8080/:_authToken=${TEST_NOT_SET}", "Bearer ${TEST_NOT_SET}"),
        (f"//127.0.0.1:8080/:_auth={base64.b64encode(b'u:p').decode()}", basic("u:p")),
        (
            f"//127.0.0.1:8080/:username=u\n//127.0.0.1:8080/:_password={base64.b64encode(b'p:w').decode()}",
            basic("u:p:w"),
        ),
        ("//127.0.0.1:8080/:_authToken=abc\n//127.0.0.1:8080/:_auth=eHg=", "Bearer abc"),
        ("//127.0.0.1:8080/:_authToken=root\n//127.0.0.1:8080/npm/:_authToken=longer", "Bearer longer"),
        ("//127.0.0.1:8080/npm/:_authToken=longer\n//127.0.0.1:8080/:_authToken=root", "Bearer longer"),
        ("//127.0.0.1:8080/:username=u", None),
        ("# //127.0.0.1:8080/:_authToken=abc", None),
        ("; //127.0.0.1:8080/:_authToken=abc", None),
        ("_authToken=abc", None),
        ("", None),
    ],
)
def test_the_header_is_what_the_npmrc_says(configured, monkeypatch, npmrc, header):
    monkeypatch.setenv("TEST_TOKEN", "from-environment")
    monkeypatch.delenv("TEST_NOT_SET", raising=False)
    registry = configured(npmrc)
    expected = {} if header is None else {"Authorization": header}
    assert registry.headers(registry.tarball("left-pad", "1.3.0")) == expected


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("//127.0.0.1:8080/", "http://127.0.0.1:9090/a"),
        ("//127.0.0.1:8080/", "http://127.0.0.1/a"),
        ("//127.0.0.1:8080/", "http://elsewhere.test/127.0.0.1:8080/a"),
        ("//127.0.0.1:8080/npm/", "http://127.0.0.1:8080/other/a"),
        ("//127.0.0.1:8080/npm/", "http://127.0.0.1:8080/npmx/a"),
        ("//127.0.0.1:80", "http://127.0.0.1:8080/a"),
        ("//mine.test", "http://mine.test.elsewhere.test/a"),
        ("//mine.test", "http://mine.test@elsewhere.test/a"),
        ("//127.0.0.1:8080/npm", "http://127.0.0.1:8080/npmx/a"),
        ("//", "http://127.0.0.1:8080/a"),
    ],
)
def test_a_secret_never_goes_to_another_host_or_path(configured, prefix, address):
    assert configured(f"{prefix}:_authToken=abc").headers(address) == {}


@pytest.mark.parametrize(
    "npmrc",
    [
        "//127.0.0.1:8080/:username=u\n//127.0.0.1:8080/:_password=!!!",
        "//127.0.0.1:8080/:username=u\n//127.0.0.1:8080/:_password=/w==",
        b"//127.0.0.1:8080/:_authToken=\xff\xfe",
    ],
)
def test_a_damaged_npmrc_is_refused_without_telling_the_secret(configured, npmrc):
    with pytest.raises(BadInputError) as caught:
        configured(npmrc)
    assert "!!!" not in str(caught.value)


# npm's failures


E404 = "npm error code E404\nnpm error 404 Not Found - GET http://127.0.0.1/x - Not found\nnpm error 404\n"


@pytest.mark.parametrize(
    ("stderr", "kind", "said"),
    [
        (E404, npm.NotInRegistryError, "404 Not Found - GET http://127.0.0.1/x - Not found (E404)"),
        (E404.replace("npm error", "npm ERR!"), npm.NotInRegistryError, "(E404)"),
        (
            "npm error code ETARGET\nnpm error notarget No matching version found for a@9.\n",
            npm.NotInRegistryError,
            "notarget No matching version found for a@9. (ETARGET)",
        ),
        (
            "npm error code ENOVERSIONS\nnpm error No versions\n",
            npm.NotInRegistryError,
            "No versions (ENOVERSIONS)",
        ),
        (
            "npm error code ENOTFOUND\nnpm error network request to http://h.test/a failed\n",
            NetworkError,
            "network request to http://h.test/a failed (ENOTFOUND)",
        ),
        (
            "npm error code E401\nnpm error Unable to authenticate\n",
            NetworkError,
            "Unable to authenticate (E401)",
        ),
        ("npm error Something else\n", NetworkError, "Something else (no code)"),
        (
            "npm warn old\nnpm error A complete log of this run can be found in: /x\n",
            NetworkError,
            "exit status 7",
        ),
        ("", NetworkError, "exit status 7"),
    ],
)
def test_a_failure_of_npm_is_told_in_npms_own_words(npm_says, stderr, kind, said):
    npm_says(stderr=stderr, status=7)
    with pytest.raises(NetworkError) as caught:
        npm.view("a")
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert str(caught.value).startswith("npm view failed: ")
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_status == 3


def test_an_npm_that_does_not_end_is_stopped(npm_is, monkeypatch):
    npm_is("exec sleep 20")
    monkeypatch.setattr(npm, "_TIMEOUT", 0.1)
    with pytest.raises(NetworkError, match=r"npm view did not end within 0.1 s"):
        npm.view("a")


def test_without_npm_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"npm is not on PATH; install Node.js"):
        npm.view("a")


def test_without_npm_on_path_the_one_of_the_wheel_is_used(tmp_path, monkeypatch):
    node = tmp_path / "bin" / "node"
    script = tmp_path / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for file in (node, script):
        file.parent.mkdir(parents=True)
        file.touch()
    node.write_text(
        '#!/bin/sh\necho "[{\\"version\\": \\"1.0.0\\", \\"name\\": \\"$1\\"}]"\n', encoding="utf-8"
    )
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        npm, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    )
    assert npm.view("a") == [{"version": "1.0.0", "name": str(script)}]


# npm's answers


@pytest.mark.parametrize(
    ("stdout", "versions"),
    [
        ("", []),
        ('{"name": "a", "version": "1.0.0"}', ["1.0.0"]),
        ('[{"version": "1.0.0"}, {"version": "1.1.0"}]', ["1.0.0", "1.1.0"]),
        ('{"error": {"code": "x"}}', []),
    ],
)
def test_view_gives_one_manifest_for_each_version(npm_says, stdout, versions):
    npm_says(stdout)
    assert [entry["version"] for entry in npm.view("a@^1")] == versions


@pytest.mark.parametrize("stdout", ["npm notice new version", "{", "[1,"])
def test_an_answer_that_is_no_json_is_an_expected_error(npm_says, stdout):
    npm_says(stdout)
    with pytest.raises(OpencodeCacheError):
        npm.view("a")


def test_the_tree_does_not_depend_on_the_users_npmrc(npm_is, monkeypatch):
    keep = 'printf "%s\\n" "$@" >"$KEEP"; cat package.json >>"$KEEP"'
    left = npm_is(keep + "; echo '{\"packages\": {}}' >package-lock.json")
    monkeypatch.setenv("KEEP", str(left / "arguments"))
    assert npm.package_lock(["a@1.0.0", "-g"]) == {"packages": {}}
    said = (left / "arguments").read_text(encoding="utf-8").splitlines()
    assert said[0] == "install"
    assert said[-4:] == ["--", "a@1.0.0", "-g", "{}"]
    for flag in (
        "--package-lock-only",
        "--ignore-scripts",
        "--legacy-peer-deps=false",
        "--lockfile-version=3",
    ):
        assert flag in said
    assert not any(word.startswith("--before") for word in said)


def test_a_date_and_ranges_for_dependencies_reach_npm(npm_is, monkeypatch):
    keep = 'printf "%s\\n" "$@" >"$KEEP"; cat package.json >>"$KEEP"'
    left = npm_is(keep + "; echo '{\"packages\": {}}' >package-lock.json")
    monkeypatch.setenv("KEEP", str(left / "arguments"))
    npm.package_lock(["a@1.0.0"], dt.date(2025, 3, 1), {"zod": ">=4 <4.4"})
    said = (left / "arguments").read_text(encoding="utf-8").splitlines()
    assert "--before=2025-03-01" in said
    assert json.loads(said[-1]) == {"overrides": {"zod": ">=4 <4.4"}}


def test_settings_of_an_npm_that_started_us_do_not_reach_ours(npm_is, monkeypatch):
    npm_is('echo "[{\\"version\\": \\"${npm_config_json-unset}${npm_config_global-unset}\\"}]"')
    monkeypatch.setenv("npm_config_json", "false")
    monkeypatch.setenv("npm_config_global", "true")
    assert npm.view("a") == [{"version": "unsetunset"}]


@pytest.mark.parametrize("body", [":", "echo nonsense >package-lock.json", "echo [] >package-lock.json"])
def test_an_npm_that_leaves_no_lock_is_an_expected_error(npm_is, body):
    npm_is(body)
    with pytest.raises(OpencodeCacheError):
        npm.package_lock(["a@1.0.0"])


# Peers that conflict

CONFLICT = """\
case " $* " in *" --force "*) printf '{"packages": {}}' >package-lock.json; exit 0 ;; esac
printf '%s\n' 'npm error code ERESOLVE' 'npm error ERESOLVE could not resolve' 'npm error' \
  'npm error Found: ai@6.0.326' 'npm error   peer ai@"^6.0.0" from one@2.1.0' \
  'npm error Could not resolve dependency:' 'npm error two@"1" from the root project' >&2
exit 1
"""


def test_a_tree_with_peers_that_conflict_is_taken_as_bun_takes_it(npm_is):
    npm_is(CONFLICT)
    assert npm.package_lock(["one@2.1.0", "two@1.0.0"]) == {"packages": {}}


def test_a_package_whose_own_peers_conflict_is_one_sentence_about_it(npm_is):
    npm_is(CONFLICT)
    with pytest.raises(
        BadInputError, match=r'^Found: ai@6.0.326 peer ai@"\^6.0.0" from one@2.1.0.*--resolve'
    ):
        npm.package_lock(["two@1.0.0"])
