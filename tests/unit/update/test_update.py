"""`update` as a whole: which files change, what is said, and that nothing changes when something is wrong.

GitHub is a server on loopback, npm a table; nothing is resolved or proved here (tests/offline does that).
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys

import making
import pytest
import updating
from updating import ARCHIVES, Answer, document

from opencode_cache import pipeline
from opencode_cache.base import http_exchange, store, transaction
from opencode_cache.base.errors import BadInputError, CheckFailedError, NetworkError
from opencode_cache.cli import main as cli
from opencode_cache.cli import tables
from opencode_cache.fetch import tarballs as tarball
from opencode_cache.formats import lock, nar, shipped
from opencode_cache.npm import client as npm
from opencode_cache.npm import platforms
from opencode_cache.update import changes, checkout, run, update

PROGRAM = b"\x7fELF opencode 1.18.33"
OTHER = b"\x7fELF something else"
SYSTEMS = sorted(ARCHIVES)
TAGS = "/repos/anomalyco/opencode/releases/tags/v1.18.33"
LIST = "/repos/anomalyco/opencode/releases?per_page=30&page=1"
LINUX = "x86_64-linux"


class World:
    """GitHub, npm and a checkout."""

    def __init__(self, root, server, monkeypatch):
        self.root, self.server, self.monkeypatch = root, server, monkeypatch
        self.npm: dict[str, bytes] = {}
        self.made = lambda version: updating.some_lock(version, "2.0.0")
        self.proved: list[lock.Lock] = []
        self.before = updating.contents(root)

    def view(self, spec):
        name, _, version = spec.rpartition("@")
        found = [key for key in self.npm if key == spec or (version == ">=0" and key.startswith(f"{name}@"))]
        if not found:
            raise npm.NotInRegistryError(f"npm view failed: no {spec} (E404)")
        return [
            {"version": key.rpartition("@")[2], "dist": {"integrity": making.integrity(self.npm[key])}}
            for key in found
        ]

    def fetch(self, packages, to, **_):
        to.mkdir(parents=True, exist_ok=True)
        for package in packages:
            (to / package.tarball).write_bytes(self.npm[package.key])

    def npm_has(self, *names, version="1.18.33", program=PROGRAM):
        for name in names:
            self.npm[f"{name}@{version}"] = making.tarball({"package.json": "{}", "bin/opencode": program})

    def releases(self, version="1.18.33", program=PROGRAM, without=()):
        """GitHub has that release, with an archive for every system but those."""
        assets = []
        for system, (_, archive) in ARCHIVES.items():
            data = updating.zipped(program) if archive.endswith("zip") else updating.tar_gz(program)
            path = f"/anomalyco/opencode/releases/download/v{version}/{archive}"
            self.server.table[path] = Answer(data)
            if system not in without:
                digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
                assets.append({"name": archive, "size": len(data), "digest": digest})
        found = {"tag_name": f"v{version}", "assets": assets}
        self.server.table[f"/repos/anomalyco/opencode/releases/tags/v{version}"] = document(found)
        return found

    def heads(self, rev=updating.NEW_REV, date="2026-10-01T12:00:00Z"):
        commit = {"sha": rev, "commit": {"committer": {"date": date}}}
        self.server.table["/repos/NixOS/nixpkgs/commits/nixpkgs-unstable"] = document(commit)
        self.server.table["/repos/anomalyco/models.dev/commits/HEAD"] = document(commit)

    def github_is_away(self):
        self.server.close()

    def prefetch(self, body, *, nix=True):
        program = self.root.parent / "bin" / "nix-prefetch-github"
        program.parent.mkdir(exist_ok=True)
        for path in (program, program.with_name("nix-build")) if nix else (program,):
            path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            path.chmod(0o755)
        self.monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def update(self, version=None, *only, check=False):
        return update(self.root, version=version, only=only, check=check)

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def versions(self):
        return {name: entry["version"] for name, entry in json.loads(self.text("nix/releases.json")).items()}

    def default_version(self):
        """What the command line takes with the locks of the checkout."""
        self.monkeypatch.setenv(shipped.LOCKS, str(self.root / checkout.NPM_LOCKS))
        return shipped.default_version()

    def unchanged(self):
        return updating.contents(self.root) == self.before and not transaction.waiting(self.root)


@pytest.fixture
def world(tmp_path, monkeypatch):
    server = updating.Server()
    made = World(updating.repository(tmp_path / "repository"), server, monkeypatch)
    monkeypatch.setattr(http_exchange, "_SLICE", 0.02)
    monkeypatch.setenv("OPENCODE_CACHE_GITHUB_API", server.url)
    monkeypatch.setenv("OPENCODE_CACHE_GITHUB", server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platforms, "current", lambda: platforms.named(LINUX))
    monkeypatch.setattr(npm, "view", made.view)
    monkeypatch.setattr(tarball, "fetch", made.fetch)
    monkeypatch.setattr(pipeline, "make_lock", lambda plan, _: made.made(plan.opencode))
    monkeypatch.setattr(run, "_prove", made.proved.append)
    yield made
    server.close()


SAYS = f'{{"owner": "%s", "repo": "%s", "rev": "%s", "hash": "{updating.NIX_HASH}"}}'
PREFETCH = f'printf \'{SAYS}\' "$1" "$2" "$4"'


# Everything can be reached


def test_everything_moves(world):
    world.releases()
    world.npm_has("opencode-linux-x64-baseline", "opencode-linux-arm64")
    world.heads()
    world.prefetch(PREFETCH)
    told = world.update("1.18.33")
    assert world.versions() == dict.fromkeys(SYSTEMS, "1.18.33")
    assert told.left == ()
    assert [lock.opencode.version for lock in world.proved] == ["1.18.33"]
    for name in checkout.FLAKES:
        text = world.text(name)
        assert "1.18.21" not in text
        assert text == world.before[name].decode().replace("1.18.21", "1.18.33")
    flake_lock = json.loads(world.text("flake.lock"))
    for name, archive in ARCHIVES.values():
        size = len(PROGRAM)
        pin = nar.directory_with_file("opencode", size, [PROGRAM], executable=True)
        place = {"type": "tarball", "url": updating.url("1.18.33", archive)}
        assert flake_lock["nodes"][name] == {
            "flake": False,
            "locked": place | {"narHash": pin},
            "original": place,
        }
    for name in ("nixpkgs", "models-dev"):
        locked = flake_lock["nodes"][name]["locked"]
        assert (locked["rev"], locked["narHash"]) == (updating.NEW_REV, updating.NIX_HASH)
        assert locked["lastModified"] == 1_790_856_000
    assert world.text("flake.lock") == world.text("opencode/flake.lock") == updating.dumps(flake_lock)
    assert world.default_version() == "1.18.33"
    assert lock.read(world.root / checkout.MAIN_LOCK) == world.made("1.18.33")
    assert sorted(path.name for path in (world.root / "nix/locks").iterdir()) == ["opencode-cache.lock.json"]
    assert world.text("CHANGELOG.md") == (
        "# Changelog\n\n## Unreleased\n\n"
        "* OpenCode 1.18.33 for aarch64-darwin, aarch64-linux, x86_64-linux; models-dev of 2026-10-01; "
        "nixpkgs of\n  2026-10-01; 1 npm package of the default cache changed.\n"
        "* The first thing.\n"
    )
    notes = {row.name: row.note for row in told.rows if row.kind == "release"}
    assert notes == {
        "aarch64-darwin": "hash from GitHub",
        "aarch64-linux": "hash from GitHub and npm",
        "x86_64-linux": "hash from GitHub and npm",
    }


def test_twice_gives_no_second_diff(world):
    world.releases()
    world.heads()
    world.prefetch(PREFETCH)
    world.update("1.18.33")
    after = updating.contents(world.root)
    told = world.update("1.18.33")
    assert (told.files, told.rows, told.newer) == ((), (), False)
    assert updating.contents(world.root) == after
    assert len(world.proved) == 1


def test_the_newest_that_every_source_has(world):
    world.server.table[LIST] = document(
        [
            {"tag_name": "v2.0.0", "assets": []},
            world.releases("1.18.36"),
            world.releases("1.18.35", without=["aarch64-linux"]),
            world.releases("1.18.34"),
            world.releases("1.18.33"),
        ]
    )
    world.heads(updating.OLD_REV)
    world.npm_has("opencode-linux-x64-baseline", version="1.18.36")
    for version in ("1.18.34", "1.18.35"):
        world.npm_has("opencode-linux-x64-baseline", "@opencode-ai/plugin", version=version)
    assert world.update().opencode == "1.18.34"
    assert world.versions() == dict.fromkeys(SYSTEMS, "1.18.34")


def test_nothing_goes_back_unless_it_is_named(world):
    world.server.table[LIST] = document([world.releases("1.18.20")])
    world.heads(updating.OLD_REV)
    world.npm_has("opencode-linux-x64-baseline", "@opencode-ai/plugin", version="1.18.20")
    world.made = updating.some_lock
    told = world.update()
    assert (told.files, told.rows) == ((), ())
    assert {left.name: left.why for left in told.left} == {f"{s} 1.18.21": "newer already" for s in SYSTEMS}
    assert world.unchanged()
    assert world.update("1.18.20").files
    assert world.versions() == dict.fromkeys(SYSTEMS, "1.18.20")
    # The newest lock of a series stays, and with it the default.
    assert world.default_version() == "1.18.21"
    locks = checkout.read(world.root).npm_locks
    assert {name: found.opencode.version for name, found in locks.items()} == {
        "nix/locks/opencode-cache-1.18.20.lock.json": "1.18.20",
        "nix/locks/opencode-cache.lock.json": "1.18.21",
    }


def test_a_dry_run_changes_nothing(world):
    world.releases()
    world.heads()
    world.prefetch("exit 1")
    told = world.update("1.18.33", check=True)
    assert told.newer
    assert "flake.lock" in told.files
    assert world.unchanged()
    assert world.proved == []


def test_older_revisions_are_not_taken(world):
    world.releases()
    world.heads(date="2020-01-01T00:00:00Z")
    told = world.update("1.18.33")
    assert [left.why for left in told.left] == ["GitHub's newest, 2222222, is older"] * 2


def test_without_nix_prefetch_github_inputs_are_left_and_named(world):
    world.releases("1.18.21")
    world.heads()
    world.made = updating.some_lock
    told = world.update("1.18.21")
    assert told.files == ()
    assert told.newer
    assert [left.name for left in told.left] == ["models-dev 1111111", "nixpkgs 1111111"]
    assert all("nix-prefetch-github is not on PATH; run `nix run .#update`" in left.why for left in told.left)


def test_without_nix_inputs_are_left_and_named(world):
    world.releases()
    world.heads()
    world.prefetch("exit 1", nix=False)
    told = world.update("1.18.33")
    assert [left.why for left in told.left] == [
        "nix-prefetch-github needs Nix, whose nix-build is not on PATH; install Nix"
    ] * 2
    assert world.versions() == dict.fromkeys(SYSTEMS, "1.18.33")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo no network >&2; exit 1", "failed: no network"),
        ("exit 4", "failed: exit status 4"),
        ("echo nonsense", "did not print a revision and its hash"),
        (PREFETCH.replace('"$4"', "main"), "answers for 'main'"),
        (PREFETCH.replace("sha256-", "md5-"), "did not print a revision and its hash"),
    ],
)
def test_a_prefetch_that_fails_changes_nothing(world, body, said):
    world.releases()
    world.heads()
    world.prefetch(body)
    with pytest.raises(NetworkError, match=said):
        world.update("1.18.33")
    assert world.unchanged()


# GitHub is away


def test_what_cannot_be_pinned_is_named_and_nothing_changes(world):
    world.github_is_away()
    world.npm_has("opencode-linux-x64-baseline")
    with pytest.raises(NetworkError) as caught:
        world.update("1.18.33")
    said = str(caught.value)
    assert caught.value.exit_status == 3
    for word in (
        "tui-darwin-arm64 (aarch64-darwin)",
        "tui-linux-arm64 (aarch64-linux)",
        "nothing was changed",
    ):
        assert word in said
    assert "npm registry has no opencode-darwin-arm64@1.18.33" in said
    assert "127.0.0.1 cannot be reached" in said
    assert said.endswith("--system x86_64-linux")
    assert "tui-linux-x64" not in said
    assert world.unchanged()


def test_one_system_moves_alone(world):
    world.github_is_away()
    world.npm_has("opencode-linux-x64-baseline")
    told = world.update("1.18.33", LINUX)
    assert world.versions() == {
        "aarch64-darwin": "1.18.21",
        "aarch64-linux": "1.18.21",
        "x86_64-linux": "1.18.33",
    }
    assert {left.name: left.why for left in told.left} == {
        "aarch64-darwin 1.18.21": "not asked for",
        "aarch64-linux 1.18.21": "not asked for",
        "models-dev 1111111": "127.0.0.1 cannot be reached",
        "nixpkgs 1111111": "127.0.0.1 cannot be reached",
    }
    # The others' lock stays, under another name.
    found = {name: entry.opencode.version for name, entry in checkout.read(world.root).npm_locks.items()}
    assert found == {
        "nix/locks/opencode-cache-1.18.21.lock.json": "1.18.21",
        "nix/locks/opencode-cache.lock.json": "1.18.33",
    }
    old = world.before["nix/locks/opencode-cache.lock.json"]
    assert (world.root / "nix/locks/opencode-cache-1.18.21.lock.json").read_bytes() == old
    after = updating.contents(world.root)
    assert world.update("1.18.33", LINUX).files == ()
    assert updating.contents(world.root) == after
    # The last ones follow, and their lock goes.
    world.npm_has("opencode-linux-arm64", "opencode-darwin-arm64")
    world.update("1.18.33")
    assert sorted(checkout.read(world.root).npm_locks) == ["nix/locks/opencode-cache.lock.json"]


def test_without_a_version_it_is_said_how_to_go_on(world):
    world.github_is_away()
    world.npm_has("opencode-linux-x64-baseline")
    world.npm_has("opencode-linux-x64-baseline", version="1.18.4")
    world.npm_has("opencode-linux-x64-baseline", version="9.9.9-$(id)")
    with pytest.raises(NetworkError, match=r"--opencode-version \(npm has 1.18.33\)$"):
        world.update(None, LINUX)
    with pytest.raises(NetworkError, match=r"--opencode-version$"):
        world.update()
    assert world.unchanged()


# What must not be believed


def test_bits_that_differ_are_refused_with_both_names(world):
    world.releases()
    world.npm_has("opencode-linux-x64-baseline", program=OTHER)
    with pytest.raises(NetworkError) as caught:
        world.update("1.18.33", LINUX)
    said = str(caught.value)
    assert "opencode-linux-x64-baseline.tar.gz on GitHub has the narHash sha256-" in said
    assert "npm's opencode-linux-x64-baseline@1.18.33 has sha256-" in said
    assert world.unchanged()


def test_an_archive_that_github_lacks_is_not_pinned_from_npm(world):
    world.releases(without=[LINUX])
    world.npm_has("opencode-linux-x64-baseline")
    with pytest.raises(
        NetworkError, match=r"the release on GitHub has no opencode-linux-x64-baseline.tar.gz"
    ):
        world.update("1.18.33", LINUX)
    assert world.unchanged()


def test_another_release_than_the_one_asked_for_is_refused(world):
    world.releases()
    world.server.table[TAGS] = document(world.releases("1.18.32"))
    with pytest.raises(NetworkError, match=r"GitHub answers 'v1.18.32' when asked for v1.18.33"):
        world.update("1.18.33")
    assert world.unchanged()


def test_a_package_of_another_version_is_refused(world):
    world.github_is_away()
    world.npm_has("opencode-linux-x64-baseline", version="1.18.3; rm -rf ~")
    world.monkeypatch.setattr(
        npm, "view", lambda _: world.view("opencode-linux-x64-baseline@1.18.3; rm -rf ~")
    )
    with pytest.raises(NetworkError, match="npm registry"):
        world.update("1.18.33", LINUX)
    assert world.unchanged()


@pytest.mark.parametrize(
    "entry", [{}, {"version": "1.18.33"}, {"version": "1.18.33", "dist": []}, {"version": {}}]
)
def test_nonsense_from_npm_is_a_sentence(world, entry):
    world.github_is_away()
    world.monkeypatch.setattr(npm, "view", lambda _: [entry])
    with pytest.raises(NetworkError, match=r"cannot be used|cannot be pinned"):
        world.update("1.18.33", LINUX)
    assert world.unchanged()


@pytest.mark.parametrize(
    "version",
    ["", "1.18", "v1.18.33", "1.18.33;id", "../../x", "1.18.33\n", "1.18.33-beta", "\u0661.0.0", "$(id)"],
)
def test_a_version_that_is_none_goes_nowhere(world, version):
    with pytest.raises(BadInputError, match=r"is not a version|is not an OpenCode version"):
        world.update(version)
    assert world.server.asked == []
    assert world.unchanged()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.0.0", "is an experiment"),
        ("3.0.0", "is not supported"),
        ("1.0.61", "had other names"),
        ("1.18.99", "has no release on GitHub"),
    ],
)
def test_versions_that_cannot_be_had(world, version, said):
    with pytest.raises(BadInputError, match=said):
        world.update(version)
    assert world.unchanged()


# Failures on the way


@pytest.mark.parametrize("error", [NetworkError("npm"), CheckFailedError("not proved"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["make_lock", "_prove"])
def test_whatever_fails_leaves_all_as_it_was(world, error, place):
    def fail(*_):
        raise error

    world.releases()
    world.heads()
    world.prefetch(PREFETCH)
    world.monkeypatch.setattr(pipeline if place == "make_lock" else run, place, fail)
    with pytest.raises(type(error)):
        world.update("1.18.33")
    assert world.unchanged()


def test_an_interrupted_update_is_finished_by_the_next(world, monkeypatch, capsys):
    world.releases()
    world.heads(updating.OLD_REV)

    def killed(_):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(transaction, "complete", killed)
        patched.setattr(run, "_finish_earlier", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            world.update("1.18.33")
    with pytest.raises(CheckFailedError, match="without --check to finish it"):
        world.update("1.18.33", check=True)
    assert updating.contents(world.root) == world.before
    capsys.readouterr()
    assert world.update("1.18.33").files == ()
    assert "finished an update that was interrupted: CHANGELOG.md, flake.lock" in capsys.readouterr().err
    assert world.versions() == dict.fromkeys(SYSTEMS, "1.18.33")


# The checkout


def test_it_is_found_from_below(world, monkeypatch):
    monkeypatch.chdir(world.root / "nix" / "locks")
    assert checkout.find(world.root / "nix" / "locks") == world.root


def test_elsewhere_it_is_said_where_to_go(tmp_path):
    with pytest.raises(
        BadInputError, match=r"neither it nor a directory above it has flake.nix and nix/releases.json"
    ):
        update(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("flake.nix", "v1.18.21/opencode-linux-x64", "v1.18.20/opencode-linux-x64", "exactly once"),
        ("opencode/flake.nix", "v1.18.21/opencode-linux-x64", "v1.18.20/opencode-linux-x64", "exactly once"),
        ("opencode/flake.lock", "1.18.21", "1.18.20", "differs from flake.lock"),
        ("nix/releases.json", "1.18.21", "1.18.20", "make the two agree"),
        ("nix/releases.json", "1.18.21", "1.18.21; id", "restore it with git"),
        ("nix/releases.json", "x86_64-linux", "riscv64-linux", "is not supported"),
        ("nix/locks/opencode-cache.lock.json", "{", "[", "restore the file"),
    ],
)
def test_a_checkout_that_does_not_agree_with_itself_is_refused(world, name, old, new, said):
    path = world.root / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(BadInputError, match=said) as caught:
        world.update("1.18.33")
    assert str(world.root) in str(caught.value) or "riscv64" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nodes": []}', "[" * 100_000, '{"nodes": {"root": {}}}'])
def test_a_damaged_flake_lock_is_a_sentence(world, text):
    updating.write(world.root, dict.fromkeys(checkout.FLAKE_LOCKS, text))
    with pytest.raises(BadInputError, match=r"flake.lock"):
        world.update("1.18.33")


def test_a_system_that_the_flake_does_not_have(world):
    with pytest.raises(BadInputError, match=r"--system x86_64-linux-musl: is not in nix/releases.json"):
        world.update("1.18.33", "x86_64-linux-musl")


# What is said


def test_licences_and_sizes_are_told():
    old = updating.some_lock(license="MIT")
    new = updating.some_lock("1.18.33", "2.0.0", license="GPL-3.0")
    rows = changes.packages(old, new, platforms.named(LINUX))
    assert [(row.kind, row.name, row.old, row.new) for row in rows] == [
        ("package", "@opencode-ai/plugin", "1.0.0", "2.0.0"),
        ("licence", "@opencode-ai/plugin", "MIT", "GPL-3.0"),
    ]


def test_a_table_for_a_pull_request_holds_words_not_markup():
    row = changes.Row(kind="package", name="@me/a|b", old="1", new="<script>", note="see [x](y) #1\n# head")
    left = changes.Left(name="nixpkgs", why="because `x`")
    text = tables.markdown(changes.Changes(opencode="1.18.33", rows=(row,), left=(left,), files=("a",)))
    line = next(line for line in text.splitlines() if "package" in line)
    assert line.count("|") - line.count("\\|") == 6
    assert "@me" not in text
    assert "#1" not in text
    assert "\n#" not in text
    assert "\\<script\\>" in text
    assert "\\`x\\`" in text


def test_a_body_is_never_longer_than_github_takes():
    rows = [
        changes.Row(kind="package", name=f"@some-scope/package-{n}", old="1.0.0", new="2.0.0")
        for n in range(2000)
    ]
    text = tables.markdown(changes.Changes(opencode="1.18.33", rows=tuple(rows), left=(), files=("a",)))
    assert len(text) < 65_536
    assert "and 1700 more" in text


def test_one_version_in_two_files_becomes_one(world):
    old = world.text("nix/locks/opencode-cache.lock.json")
    updating.write(world.root, {"nix/locks/opencode-cache-1.18.21.lock.json": old})
    world.releases()
    world.heads(updating.OLD_REV)
    world.update("1.18.33")
    assert sorted(path.name for path in (world.root / "nix/locks").iterdir()) == ["opencode-cache.lock.json"]


def test_the_lock_of_another_series_stays(world):
    other = lock.dumps(updating.some_lock("1.17.19"))
    updating.write(world.root, {"nix/locks/opencode-cache-1.17.lock.json": other})
    world.releases()
    world.heads(updating.OLD_REV)
    world.update("1.18.33")
    assert world.text("nix/locks/opencode-cache-1.17.lock.json") == other


def test_a_changelog_without_unreleased_gets_one():
    told = changes.Changes(opencode="1.18.33", rows=(), left=(), files=("x",))
    assert changes.with_entry("# Changelog\n\n## 1.0\n\n* a\n", told) == (
        "# Changelog\n\n## Unreleased\n\n* the lock for OpenCode 1.18.33 made anew.\n\n## 1.0\n\n* a\n"
    )


# The command


@pytest.fixture
def command(world, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(world.root)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["opencode-cache", "update", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


def test_check_ends_with_1_when_something_is_newer(world, command, tmp_path):
    world.releases()
    world.heads(updating.OLD_REV)
    status, out, err = command(
        "--opencode-version", "1.18.33", "--check", "--markdown", str(tmp_path / "pr.md")
    )
    assert status == 1
    assert "1.18.21  1.18.33" in out
    assert (
        err.splitlines()[-1]
        == "opencode-cache: newer versions are there; take them with `opencode-cache update`"
    )
    assert "| release | x86\\_64-linux | 1.18.21 | 1.18.33 |" in (tmp_path / "pr.md").read_text(
        encoding="utf-8"
    )
    assert world.unchanged()
    assert command("--opencode-version", "1.18.33")[0] == 0
    status, out, _ = command("--opencode-version", "1.18.33", "--check")
    assert (status, out.splitlines()[0]) == (0, "nothing is newer; OpenCode 1.18.33")


def test_json_is_one_document(world, command):
    world.releases()
    world.heads(updating.OLD_REV)
    status, out, _ = command("--opencode-version", "1.18.33", "--json")
    found = json.loads(out)
    assert (status, found["opencode"], found["left"]) == (0, "1.18.33", [])
    assert "flake.lock" in found["files"]


def test_a_limit_of_github_is_one_sentence(world, command):
    world.server.table[LIST] = Answer(status=403, headers={"Retry-After": "3600"})
    status, out, err = command()
    assert (status, out) == (3, "")
    assert len(err.splitlines()) == 1
    assert "wait 3600 s" in err
    assert world.unchanged()


def test_downloads_are_kept(world):
    world.releases()
    world.heads(updating.OLD_REV)
    world.monkeypatch.setattr(run, "_prove", lambda _: (_ for _ in ()).throw(CheckFailedError("not proved")))
    for _ in range(2):
        with pytest.raises(CheckFailedError):
            world.update("1.18.33")
    asked = [path for path, _ in world.server.asked if "/download/" in path]
    assert len(asked) == len(set(asked)) == 3
    assert len(list(store.downloads().iterdir())) == 3


def test_the_port_of_a_closed_server_is_closed(world):
    """What the tests with GitHub away rest on."""
    world.github_is_away()
    with socket.socket() as one, pytest.raises(OSError, match="refused"):
        one.connect(("127.0.0.1", world.server.server.server_port))
