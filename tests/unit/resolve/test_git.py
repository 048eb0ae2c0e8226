"""Which commit stands behind a branch or a tag: real git, and repositories of this machine for GitHub's."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from opencode_cache.base.errors import BadInputError, NetworkError
from opencode_cache.npm import repository
from opencode_cache.resolve import git

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"), ("DATE", "2025-01-01T00:00:00Z"))
}


class Repository:
    def __init__(self, top):
        self.top = top
        top.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("commit", "--quiet", "--allow-empty", "--message=one")

    def git(self, *words):
        environment = os.environ | IDENTITY | {"GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            ["git", *words], cwd=self.top, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, name):
        self.git("commit", "--quiet", "--allow-empty", f"--message={name}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def made(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("needs git on PATH")
    monkeypatch.setenv(repository.GITHUB, f"file://{tmp_path}/hub/")
    return Repository(tmp_path / "hub/owner/repo")


def commit(spec):
    return git.pinned(repository.source(spec)).commit


def test_a_commit_is_chosen_as_npm_would(made):
    first = made.git("rev-parse", "HEAD")
    made.git("tag", "v1")
    tagged = made.commit("two")
    made.git("tag", "--annotate", "--message=two", "v2")
    made.git("branch", "next/one")
    newest = made.commit("three")
    assert commit("github:owner/repo") == newest
    assert commit("mine@git+https://github.com/owner/repo.git") == newest
    assert commit("github:owner/repo#main") == newest
    assert commit("github:owner/repo#v1") == first
    assert commit("mine@git+ssh://git@github.com/owner/repo.git#v2") == tagged  # what the tag is of
    assert commit("github:owner/repo#next/one") == tagged
    assert commit(f"github:owner/other#{first}") == first  # nobody is asked


@pytest.mark.parametrize("ref", ["gone", "0123456", "*", "HEAD~1"])
def test_what_is_not_there_is_refused(made, ref):
    with pytest.raises(BadInputError, match=r"has no branch or tag|is not a branch, tag or commit"):
        commit(f"github:owner/repo#{ref}")


def test_a_repository_without_a_commit_is_refused(made, tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path / "hub/owner/empty"], check=True)
    with pytest.raises(BadInputError, match="has no default branch"):
        commit("github:owner/empty")


def test_a_repository_that_is_not_there_is_a_sentence(made):
    with pytest.raises((BadInputError, NetworkError)) as caught:
        commit("github:owner/none")
    assert "owner/none" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_without_git_a_commit_is_asked_for(made, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInputError, match="install git, or write '#COMMIT'"):
        commit("github:owner/repo")


@pytest.mark.parametrize(
    ("spec", "owner_repo", "ref", "name"),
    [
        ("github:o/r", "o/r", "", None),
        ("github:o/r.git#v1.0", "o/r", "v1.0", None),
        ("n@github:o/r.x#a/b", "o/r.x", "a/b", "n"),
        ("@s/n@git+https://github.com/o/r.git", "o/r", "", "@s/n"),
        ("git+https://github.com/o/r", "o/r", "", None),
        ("o/r", "o/r", "", None),
        ("n@o/r#v1", "o/r", "v1", "n"),
        ("n@git+ssh://git@github.com/o/r.git#main", "o/r", "main", "n"),
        ("n@https://github.com/o/r.git", "o/r", "", "n"),
    ],
)
def test_spellings_of_a_repository(spec, owner_repo, ref, name):
    found = repository.source(spec)
    assert (f"{found.owner}/{found.repo}", found.ref, found.name) == (owner_repo, ref, name)
    assert repository.is_nameless(spec) == (name is None)


@pytest.mark.parametrize("spec", ["a", "a@1", "@s/a", "@s/a@^1", "a@npm:b@1", "a@latest"])
def test_specs_of_the_registry_are_no_repositories(spec):
    assert repository.source(spec) is None
    assert not repository.is_nameless(spec)


@pytest.mark.parametrize(
    "spec",
    ["git+https://example.com/o/r.git", "n@git+file:///x", "gitlab:o/r", "https://x.example/a.tgz"],
)
def test_other_repositories_are_refused(spec):
    with pytest.raises(BadInputError, match="cannot be locked"):
        repository.source(spec)


def test_the_settings_of_the_repository_that_the_user_is_in_count_for_nothing(made, tmp_path, monkeypatch):
    """They could lead to another place, and start programs."""
    wrong = Repository(tmp_path / "evil/owner/repo")
    other = wrong.commit("other")
    cloned = Repository(tmp_path / "cloned")
    cloned.git("config", f"url.file://{tmp_path}/evil/.insteadOf", f"file://{tmp_path}/hub/")
    (tmp_path / "cloned/tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "cloned/tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path / "cloned")
    assert cloned.git("ls-remote", f"file://{tmp_path}/hub/owner/repo", "HEAD").split()[0] == other
    assert commit("github:owner/repo") == made.git("rev-parse", "HEAD") != other
