"""`./dev` runs nothing of the directory that it is called from, and sets up what was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

if not (REPOSITORY / "dev").is_file():
    pytest.skip("needs ./dev of the repository beside the tests", allow_module_level=True)

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
HOSTILE = ("venv", "pip", "ensurepip", "argparse", "typer", "opencode_cache", "pytest", "sitecustomize")


COMPLETES = """
eval "$(./dev completion)"
for line in 'che' 'tool bundle --pre' 'tool im' 'run --lin' 'test tests/comm'; do
    COMP_WORDS=(./dev $line) COMP_CWORD=$(($(set -- $line; echo $#)))
    _opencode_cache_dev
    echo "${COMPREPLY[@]}"
done
"""


def test_commands_and_options_are_completed_in_bash():
    """As the shell asks for them, of the command itself."""
    if shutil.which("bash") is None or not (REPOSITORY / ".venv/.has-run").exists():
        pytest.skip("needs bash, and what ./dev has set up")
    words = ["bash", "-euc", COMPLETES]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["check", "--preset", "image", "--link", "tests/commands"]


def write(program, text):
    program.write_text(text)
    program.chmod(0o755)


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose requirements are empty files, so that no network is needed."""
    root = tmp_path / "check out"
    (root / "python/requirements").mkdir(parents=True)
    (root / "tests").mkdir()
    shutil.copy(REPOSITORY / "dev", root / "dev")
    shutil.copy(REPOSITORY / "pyproject.toml", root / "pyproject.toml")
    (root / "python/src").symlink_to(REPOSITORY / "python/src")
    (root / "nix").symlink_to(REPOSITORY / "nix")
    for name in ("run", "dev", "node"):
        (root / f"python/requirements/{name}.txt").touch()
    (root / "tests/test_one.py").write_text("def test_one():\n    pass\n")
    return root


@pytest.fixture
def programs(tmp_path):
    """A PATH with what `./dev` needs, an npm, and a uv that has nothing to do: the requirements are empty."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name in ("sh", "dirname", "rm", "sed", "mkdir", "cat", "chmod", "mv", "ln"):
        (directory / name).symlink_to(shutil.which(name))
    for name in ("npm", "uv"):
        write(directory / name, "#!/bin/sh\n")
    # As Python, as far as `./dev` asks: `-m venv` makes an environment whose Python does nothing.
    write(
        directory / "python3",
        "#!/bin/sh\n"
        'case "$*" in *--without-pip*) for last; do :; done\n'
        'mkdir -p "$last/bin"; echo "#!/bin/sh" >"$last/bin/python"; chmod +x "$last/bin/python"\n'
        "esac\n",
    )
    return directory


@pytest.fixture
def real_python(programs):
    """The real one; an environment that it makes gets this one's packages, as if they had been installed."""
    write(
        programs / "python3",
        "#!/bin/sh\n"
        f'"{sys._base_executable}" "$@" || exit\n'
        'case "$*" in *--without-pip*) for last; do :; done\n'
        f"echo '{sysconfig.get_path('purelib')}' >\"$last\"/lib/{PYTHON}/site-packages/ours.pth\n"
        "esac\n",
    )


@pytest.fixture
def dev(checkout, programs, tmp_path):
    """Runs `./dev` from a directory: (exit status, stdout, stderr)."""

    def run(*arguments, at=None, script=None, **environment):
        done = subprocess.run(
            [script or checkout / "dev", *arguments],
            cwd=at or tmp_path,
            env={"PATH": str(programs), "HOME": str(tmp_path), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def hostile(tmp_path):
    """A directory whose modules leave a mark when they run."""
    directory = tmp_path / "hostile"
    directory.mkdir()
    code = f"import pathlib\npathlib.Path({str(tmp_path)!r}, 'marks-' + __name__.split('.')[0]).touch()\n"
    for name in (*HOSTILE, "conftest", "test_theirs"):
        (directory / f"{name}.py").write_text(code)
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --version\n")
    return directory


def marks(tmp_path):
    return sorted(path.name for path in tmp_path.glob("marks-*"))


@pytest.mark.usefixtures("real_python")
def test_set_up_and_command_run_nothing_of_the_callers_directory(dev, programs, hostile, tmp_path):
    (programs / "uv").unlink()  # so that the real pip is started
    for path in ({"PYTHONPATH": "."}, {}):  # the second time, everything is there
        status, out, said = dev("tool", "--version", at=hostile, **path)
        assert (status, out[:15]) == (0, "opencode-cache "), said
        assert marks(tmp_path) == []


def test_a_hostile_module_would_leave_a_mark(hostile, tmp_path):
    """The counter-test: with the directory on Python's path, these modules do run."""
    subprocess.run([sys.executable, "-m", "venv"], cwd=hostile, check=False, capture_output=True)
    assert "marks-__main__" in marks(tmp_path)


@pytest.mark.usefixtures("real_python")
def test_pytest_takes_the_callers_paths_and_no_conftest_and_nothing_is_linted(
    dev, checkout, hostile, tmp_path
):
    status, out, said = dev("test", "-q", at=hostile)
    assert (status, marks(tmp_path)) == (0, []), out + said
    assert "1 passed" in out
    status, out, said = dev("test", "-q", "../tests/test_one.py::test_one", at=checkout / "python")
    assert (status, "1 passed" in out) == (0, True), out + said
    assert "ruff" not in out + said


def test_cdpath_leads_nowhere_else(dev, checkout, tmp_path):
    for directory in (tmp_path / "other/tree", tmp_path / "tree"):
        directory.mkdir(parents=True)
        shutil.copy(checkout / "dev", directory / "dev")
    (tmp_path / "other/tree/dev").write_text("# one\n# two of another tree\n")
    ours = dev("help", script="tree/dev")
    assert dev("help", script="tree/dev", CDPATH=str(tmp_path / "other")) == ours
    assert "./dev run" in ours[1]


def test_python_named_by_a_relative_path_is_the_callers(dev, programs):
    status, _, said = dev("tool", "--version", at=programs.parent, PYTHON="programs/python3")
    assert status == 0, said


def test_an_older_python_is_named(dev, programs):
    write(programs / "python3", "#!/bin/sh\nexit 2\n")
    status, _, said = dev("tool", "--version")
    assert (status, said.splitlines()[-1]) == (
        2,
        "dev: python3 is older than Python 3.10 (or missing); set PYTHON to a newer one",
    )


def test_a_moved_checkout_is_set_up_again(dev, checkout):
    assert "setting up" in dev("tool", "--version")[2]
    assert "setting up" not in dev("tool", "--version")[2]
    moved = checkout.rename(checkout.with_name("moved"))
    assert "setting up" in dev("tool", "--version", script=moved / "dev")[2]


def test_newer_requirements_are_installed(dev, checkout):
    dev("tool", "--version")
    stamp = checkout / ".venv/.has-run"
    later = stamp.stat().st_mtime + 10
    os.utime(checkout / "python/requirements/run.txt", (later, later))
    assert "setting up" in dev("tool", "--version")[2]


# What `./dev run` keeps


@pytest.fixture
def made(dev, checkout):
    """Stands for the whole builder: `./dev run` in it, and what the builder was asked, a line each time.

    FAIL is its exit status; PROGRAM the version of what it makes.
    """
    dev("tool", "--version")
    log = checkout / "log"
    for version in "12":
        write(checkout / f"program-{version}", f'#!/bin/sh\necho "version {version}: $*"\n')
    write(
        checkout / ".venv/bin/python",
        "#!/bin/sh\n"
        "shift 3\n"
        f'echo "$*" >>"{log}"\n'
        '[ -z "${FAIL-}" ] || exit "$FAIL"\n'
        "case $* in *--help*) echo help; exit 0 ;; esac\n"
        "link= before=\n"
        'for word; do [ "$before" != --link ] || link=$word; before=$word; done\n'
        f'ln -sf "{checkout}/program-${{PROGRAM-1}}" "$link"\n'
        f'echo "{checkout}/program"\n',
    )

    def asked():
        return len(log.read_text().splitlines()) if log.exists() else 0

    return asked


def change(checkout, path):
    """Change a file after what there is was made."""
    for since in checkout.glob(".cache/run/*/since"):
        os.utime(since, (since.stat().st_mtime - 10,) * 2)
    path.touch()


@pytest.fixture
def source(checkout):
    """A file that the program depends on, which may be changed."""
    real = checkout / "python/src"
    real.unlink()
    (real / "opencode_cache").mkdir(parents=True)
    (real / "opencode_cache/one.py").touch()
    return real / "opencode_cache/one.py"


def test_run_makes_once_and_then_starts_it_at_once(dev, made):
    assert dev("run", "--", "models", "-x")[:2] == (0, "version 1: models -x\n")
    assert dev("run")[:2] == (0, "version 1: \n")
    assert made() == 1
    assert dev("run", "--plugin", "p", "--", "a b")[:2] == (0, "version 1: a b\n")
    assert dev("run", "--plugin", "p")[:2] == (0, "version 1: \n")
    assert made() == 2


@pytest.mark.parametrize(("words", "fail"), [(["--help"], ""), (["--tpyo"], "2"), (["--plugin", "p"], "130")])
def test_what_goes_wrong_takes_away_nothing(dev, made, checkout, words, fail):
    dev("run")
    status, out, _ = dev("run", *words, FAIL=fail)
    assert (status, "version" in out) == (int(fail or 0), False)
    asked = made()
    assert dev("run", "--", "x")[:2] == (0, "version 1: x\n")
    assert made() == asked
    assert len(list((checkout / ".cache/run").iterdir())) == 1


@pytest.mark.usefixtures("made")
def test_the_old_program_is_there_until_the_new_one_is(dev, checkout, source):
    dev("run")
    change(checkout, source)
    assert dev("run", FAIL="2")[:2] == (2, "")
    assert dev("run", PROGRAM="2")[:2] == (0, "version 2: \n")
    assert dev("run", PROGRAM="1")[:2] == (0, "version 2: \n")


def test_without_a_network_after_a_change_what_was_proved_is_started(dev, made, checkout, source):
    dev("run")
    change(checkout, source)
    status, out, said = dev("run", "--", "x", FAIL="3")
    assert (status, out) == (0, "version 1: x\n")
    assert "what was proved before" in said
    assert dev("run", "--plugin", "p", FAIL="3")[:2] == (3, "")  # of that, nothing was
    assert made() == 3


def test_a_changed_plan_is_read_again_and_another_directorys_is_another(dev, made, checkout, tmp_path):
    plan = tmp_path / "my.toml"
    plan.touch()
    dev("run", "--plan", "my.toml")
    dev("run", "--plan", "my.toml")
    assert made() == 1
    change(checkout, plan)
    dev("run", "--plan", "my.toml")
    assert made() == 2
    (tmp_path / "other").mkdir()
    dev("run", "--plan", "my.toml", at=tmp_path / "other")
    assert made() == 3


def installers(dev, checkout, programs, uv_status):
    """What uv and pip were given when `./dev tool` set up, with fakes of both."""
    log = checkout / "log"
    write(programs / "uv", f'#!/bin/sh\necho "uv $*" >>"{log}"\nexit {uv_status}\n')
    python = (programs / "python3").read_text()
    logs = f'#!/bin/sh\ncase "$*" in *" pip "*) echo "pip $*" >>"{log}"; exit 0;; esac\n'
    write(programs / "python3", python.replace("#!/bin/sh\n", logs, 1))
    assert dev("tool", "--version")[0] == 0
    return log.read_text().splitlines()


def test_uv_is_used_where_it_is_there_by_hash_and_builds_nothing(dev, checkout, programs):
    (said,) = installers(dev, checkout, programs, 0)
    assert said.startswith("uv pip install ")
    assert "--require-hashes" in said
    assert "--no-build" in said


def test_where_uv_fails_pip_is_tried_by_hash_and_builds_nothing(dev, checkout, programs):
    _, said = installers(dev, checkout, programs, 1)
    assert said.startswith("pip -I -m pip ")
    assert "--require-hashes" in said
    assert "--only-binary :all:" in said


def test_without_npm_pypis_is_installed_too(dev, checkout, programs):
    (programs / "npm").unlink()
    (said,) = installers(dev, checkout, programs, 0)
    assert "requirements/node.txt" in said


BOOT = Path("/proc/sys/kernel/random/boot_id")


@pytest.mark.skipif(not BOOT.exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("boot", "program", "at_once"),
    [
        (None, "#!/bin/sh\necho at once\n", True),
        ("another-start-of-the-machine", "#!/bin/sh\necho at once\n", False),
        (None, "", False),
    ],
    ids=["as it was", "after a power cut", "emptied"],
)
def test_the_store_is_looked_at_again_after_a_power_cut(
    dev, made, checkout, tmp_path, boot, program, at_once
):
    run = checkout / ".cache/run/1"
    run.mkdir(parents=True)
    write(run / "opencode", program)
    (run / "options").write_text(f"{tmp_path}\n")
    (run / "since").write_text(f"{boot or BOOT.read_text().strip()}\n")
    status, out, _ = dev("run", "--", "models")
    assert (status, "at once" in out) == (0, at_once)
    assert made() == (0 if at_once else 1)
    assert (run / "since").read_text() == BOOT.read_text()


def test_every_folder_of_tests_is_in_the_whole_run():
    text = (REPOSITORY / "dev").read_text(encoding="utf-8")
    folders = {
        path.relative_to(REPOSITORY / "tests").parts[0] for path in REPOSITORY.glob("tests/*/**/test_*.py")
    }
    assert {name for name in folders if f'"$root/tests/{name}"' not in text} == set()


def test_no_two_files_of_tests_have_one_name_and_none_asks_a_conftest():
    """In one run of all folders, Python knows one module of a name."""
    files = sorted(REPOSITORY.glob("tests/**/test_*.py"))
    assert len({path.name for path in files}) == len(files)
    line = "from " + "conftest import"
    assert [path.name for path in files if line in path.read_text(encoding="utf-8")] == []
