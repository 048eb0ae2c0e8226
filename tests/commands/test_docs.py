"""What the documentation says is so: commands, options, plan keys, tables, links; examples are run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import bundle_lab
import making
import pytest

from opencode_cache.base import errors
from opencode_cache.cli import preset
from opencode_cache.cli.app import all_commands
from opencode_cache.formats import lock, manifest, plan
from opencode_cache.npm import platforms
from opencode_cache.opencode import tools
from opencode_cache.resolve import grammars

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

if not DOCS.is_dir():
    pytest.skip("needs docs/ of the repository beside the tests", allow_module_level=True)


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(language, pages=PAGES):
    """(page, text) of every example in that language."""
    return [
        pytest.param(text, id=f"{path.stem}-{number}")
        for path in pages
        for number, text in enumerate(
            re.findall(
                rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
            )
        )
    ]


def rows(text):
    """The first cells of the tables in a text."""
    return [
        cell for cell in re.findall(r"^\| *(.*?) *\|", text, re.MULTILINE) if cell and not set(cell) <= {"-"}
    ]


def test_every_command_and_option_is_documented_and_no_others():
    real = {
        name: {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for name, command in all_commands().items()
    }
    real = {name: {word for word in words if word.startswith("-")} for name, words in real.items()}
    said = {}
    for line in page("command-line").splitlines():
        match = re.match(r"\| `([a-z]+)[^`]*` \| (.*) \|$", line)
        if match:
            said[match[1]] = set(re.findall(r"`(--?[a-z][a-z-]*)`", match[2]))
    assert said == real


def test_exit_statuses_are_those_of_the_errors():
    said = set(re.findall(r"^\| (\d+) \|", page("command-line"), re.MULTILINE))
    real = {kind.exit_status for kind in errors.OpencodeCacheError.__subclasses__()}
    assert said == {str(status) for status in real | {0, errors.INTERRUPTED_STATUS}}


def test_every_key_of_a_plan_is_documented_and_no_others():
    keys = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", page("plan"), re.MULTILINE)
    assert sorted(keys) == sorted(plan.Plan.model_fields)


def test_tools_and_languages_are_those_that_there_are():
    text = page("plan")
    section = text.split("## Tools", 1)[1].split("## Languages", 1)[0]
    assert {cell.strip("`") for cell in rows(section)} - {"package"} == set(tools.TOOLS)
    offline = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE))
    for tool in tools.TOOLS.values():
        assert offline[tool.package].startswith("diagnostics") == bool(tool.sample)
    pinned = text.split("With a pin:", 1)[1].split("Compiled", 1)[0]
    assert set(re.findall(r"`(\w+)`", pinned)) == set(grammars.PINS)


def test_the_table_of_the_readme_says_what_the_whole_one_says():
    (readme,) = re.findall(
        r"^\| server \| nixpkgs \| server .*?\n\n", PAGES[0].read_text(), re.MULTILINE | re.DOTALL
    )
    short = re.findall(r"\| ([\w-]+) \| `([\w-]+)`", readme)
    whole = dict(re.findall(r"^\| ([\w-]+) \| GitHub[^|]* \| `([\w-]+)` \|$", page("network"), re.MULTILINE))
    assert dict(short) == whole
    assert len(short) == len(whole) > 4


@pytest.mark.parametrize("text", blocks("toml"))
def test_a_plan_in_the_documentation_is_a_plan(text, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    assert plan.read(path)


@pytest.mark.parametrize("text", blocks("json"))
def test_json_in_the_documentation_is_json(text):
    assert json.loads(text)


@pytest.mark.parametrize("text", blocks("sh"))
def test_commands_in_the_documentation_are_shell(text):
    """And every `opencode-cache` line has a command and options that exist."""
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["opencode-cache"]:
            known = {
                option
                for one in all_commands()[words[1]].params
                for option in (*one.opts, *one.secondary_opts)
            }
            ours = words[: words.index("--")] if "--" in words else words
            # That one may stand anywhere.
            given = {word for word in ours if word.startswith("-")} - {"--experimental"}
            assert given <= known, line


def small_cache(directory):
    """One SDK and nothing else."""
    place = directory / "packages/zod/node_modules/zod"
    place.mkdir(parents=True)
    (place / "package.json").write_text('{"name": "zod", "version": "4.0.0"}')
    entry = manifest.Entry(
        spec="zod",
        kind="provider",
        name="zod",
        requested="latest",
        version="4.0.0",
        tree="packages/zod",
    )
    package = manifest.CachedPackage(
        name="zod", version="4.0.0", integrity=making.package("zod").integrity, license="MIT", specs=("zod",)
    )
    made = manifest.Manifest(
        builder="1",
        opencode="1.18.33",
        layout="packages",
        system="x86_64-linux",
        links=("packages/zod",),
        requests=(entry,),
        packages=(package,),
        files=1,
        bytes=36,
    )
    (directory / manifest.FILE).write_text(manifest.dumps(made))


def in_shell(text, directory):
    """Run commands of the documentation, with this `opencode-cache` on PATH."""
    program = directory / "bin" / "opencode-cache"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m opencode_cache "$@"\n')
        program.chmod(0o755)
    environment = os.environ | {
        "HOME": str(directory),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(errors.__file__).parents[2]),
        "XDG_DATA_HOME": str(directory / "data"),
    }
    return subprocess.run(
        ["sh", "-eu", "-c", text], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def test_the_recipe_that_looks_into_a_cache_runs(tmp_path):
    recipe = page("recipes").split("## See what is in a cache", 1)[1]
    text = re.search(r"^```sh\n(.*?)^```", recipe, re.MULTILINE | re.DOTALL)[1]
    small_cache(tmp_path / "cache")
    (tmp_path / "old.lock.json").write_text(lock.dumps(making.lock([], {}, [])), encoding="utf-8")
    done = in_shell(text, tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = (tmp_path / "cache.html").read_text(encoding="utf-8")
    assert drawn.startswith("<!doctype html>")
    assert "What changed" in drawn
    assert "spdxVersion" in done.stdout


def test_the_recipes_that_install_a_bundle_run(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen on PATH: install OpenSSH's client")
    bundle_lab.sh_words()
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "allowed_signers").write_text(f"site {key.with_suffix('.pub').read_text()}")
    recipe = page("recipes").split("## An air-gapped site", 1)[1].split("\n## ", 1)[0]
    texts = re.findall(r"^```sh\n(.*?)^```", recipe, re.MULTILINE | re.DOTALL)
    by_python, by_sh, back, by_hand = (
        next(text for text in texts if mark in text)
        for mark in ("unbundle opencode.tar.zst", "f=opencode.tar.zst", "--undo", "ssh-keygen")
    )
    # (what is bundled, what is typed, what the program says then)
    steps = [("1", by_python, "1"), ("2", by_sh, "2"), ("", back, "1"), ("3", by_hand, "3")]
    for bundled, text, said in steps:
        if bundled:
            made = bundle_lab.make_bundle(tmp_path / "made", bundled, sign_key=key)
            shutil.copy(made, tmp_path / "opencode.tar.zst")
        done = in_shell(text, tmp_path)
        assert done.returncode == 0, done.stderr
        assert bundle_lab.says(tmp_path / ".local", tmp_path / "home") == f"version {said} hello"
    remove = re.search(r"To remove it: `(.*)`", recipe)[1].replace("PREFIX", "~/.local")
    assert in_shell(remove, tmp_path).returncode == 0
    assert [path for path in (tmp_path / ".local").rglob("*") if not path.is_dir()] == []


def test_the_image_of_the_recipe_installs_only_what_was_checked():
    text = page("images").split("```dockerfile", 1)[1].split("```", 1)[0]
    assert "zstd -tq" in text
    assert text.index("zstd -tq") < text.index("install.sh")


def test_the_feature_of_a_dev_container_installs_the_bundle_beside_it(tmp_path):
    bundle_lab.sh_words()
    folder, prefix = tmp_path / "opencode", tmp_path / "prefix"
    shutil.copytree(REPOSITORY / "templates/devcontainer-feature", folder)
    assert json.loads((folder / "devcontainer-feature.json").read_text())["id"] == folder.name
    words = ["sh", folder / "install.sh"]
    environment = os.environ | {"PREFIX": str(prefix)}
    without = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    shutil.copy(bundle_lab.make_bundle(tmp_path / "made", "1"), folder / "opencode.tar.zst")
    subprocess.run(words, env=environment, check=True)
    assert bundle_lab.says(prefix, tmp_path / "home") == "version 1 hello"


def test_the_preset_of_its_page_is_one(tmp_path):
    text = re.search(r"^```json\n(.*?)^```", page("presets"), re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "opencode.json").write_text(text)
    cache = bundle_lab.make_cache(tmp_path / "cache")
    program = bundle_lab.make_program(tmp_path / "opencode")
    assert preset.checked(tmp_path / "opencode.json", cache, program) == text.encode()


def test_messages_of_the_page_for_troubles_are_those_of_the_program():
    """Each in a row of its own; what is joined in the source may be cut there."""
    sources = Path(errors.__file__).parents[1]
    files = [path for path in sources.rglob("*") if path.suffix in {".py", ".sh", ".js"}]
    text = re.sub(r'"\s*f?"', "", "".join(path.read_text() for path in files))
    said = page("troubleshooting").split("## A start says", 1)[1].split("## OpenCode does without", 1)[0]
    messages = [message for cell in rows(said) for message in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 15
    assert [message for message in messages if message not in text] == []


def test_the_systems_of_their_page_are_those_that_there_are():
    assert set(re.findall(r"^\| `([\w-]+)` \|", page("supported"), re.MULTILINE)) == set(platforms.SYSTEMS)


def anchors(text):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), target
