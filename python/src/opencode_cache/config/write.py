"""The plan that a person would have written for a configuration, with a comment for what no plan can have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opencode_cache.config.offer import Judgement
from opencode_cache.config.read import API
from opencode_cache.npm.spec import split_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opencode_cache.config.mistakes import Mistake

KEYS = ("plugins", "extra_providers", "tools", "commands", "config", "instructions", "skills")
_WIDTH = 100


def additions(judgements: Iterable[Judgement]) -> tuple[dict[str, list[str]], list[Judgement]]:
    """What a plan has beside its default: key → specs; and the judgements as they are then.

    One `node_modules` serves all config directories, so of two ranges for one package the first one counts.
    """
    by_key: dict[str, list[str]] = {}
    final = []
    for judgement in judgements:
        key, specs = judgement.plan or ("", ())
        taken = by_key.setdefault(key, []) if key else []
        other = next((one for one in taken if key == "config" and _differs(one, specs[0])), None)
        if other:
            fix = f"agree on one version, or run npm install beside {judgement.entry.where}"
            reason = f"asks for another version than {other!r}, and there is one node_modules for all"
            final.append(Judgement(judgement.entry, "not covered", reason, fix))
            continue
        taken += [spec for spec in specs if spec not in taken]
        final.append(judgement)
    return {key: specs for key, specs in by_key.items() if specs}, final


def _differs(one: str, other: str) -> bool:
    return one != other and split_spec(one)[0] == split_spec(other)[0]


def text(
    judgements: Sequence[Judgement], wrong: Sequence[Mistake], opencode: str, files: Sequence[str]
) -> str:
    """The plan as TOML. `files` are what the configuration was read from, as a person knows them."""
    planned, final = additions(judgements)
    lines = ["# What this OpenCode configuration needs, by `opencode-cache plan`. It was read from:"]
    lines += [f"#   {_one_line(name)}" for name in files] or ["#   no file: there is none"]
    lines += ["# Run it with `opencode-cache run --plan FILE`.", f"opencode = {json.dumps(opencode)}"]
    for key in KEYS:
        specs = planned.get(key, [])
        if specs:
            lines += _list(key, [API, *specs] if key == "config" else specs)
    lines += ["", "# Mistakes in the configuration."] if wrong else []
    for mistake in wrong:
        lines += [f"# * {_one_line(f'{mistake.where}: {mistake.text}')}", f"#   {_one_line(mistake.fix)}"]
    for word, title in _TITLES:
        told = [one for one in final if one.word == word and (one.fix or word != "cached")]
        lines += ["", f"# {title}"] if told else []
        for one in told:
            lines.append(f"# * {_one_line(f'{one.shown}: {one.reason}')}")
            lines += [f"#   {_one_line(one.fix)}"] if one.fix else []
    return "\n".join(lines) + "\n"


_TITLES = (
    ("not covered", "Not covered: OpenCode does without these, or waits for them."),
    ("cached", "Covered, with something to know."),
    ("bundled", "Compiled into OpenCode."),
    ("not needed", "Nothing to fetch for these."),
)


def _list(key: str, specs: Sequence[str]) -> list[str]:
    words = [json.dumps(spec, ensure_ascii=False) for spec in specs]
    short = f"{key} = [{', '.join(words)}]"
    return [short] if len(short) <= _WIDTH else [f"{key} = [", *(f"    {word}," for word in words), "]"]


def _one_line(words: str) -> str:
    """Without line ends and control characters: a comment ends where its line ends."""
    return " ".join("".join(char if char.isprintable() else " " for char in words).split())
