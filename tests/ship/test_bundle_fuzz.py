"""Mutants of a small signed bundle, through both ways in: one sentence each, and nothing written outside.

OPENCODE_CACHE_TEST_MUTANTS says how many; OPENCODE_CACHE_TEST_SEED, which.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundle_lab import (
    Parts,
    everything,
    make_bundle,
    make_cache,
    make_program,
    member,
    packed_again,
    run_sh,
    says,
    unpacked_tar,
)

from opencode_cache.base.errors import OpencodeCacheError
from opencode_cache.npm import platforms
from opencode_cache.ship import pack, unbundle
from opencode_cache.ship.file_format import BLOCK, DIGITS, END, INFO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MUTANTS = int(os.environ.get("OPENCODE_CACHE_TEST_MUTANTS", "40"))
SEED = int(os.environ.get("OPENCODE_CACHE_TEST_SEED", "11"))
NOTICE = "install.sh: signed, but not checked; check SHA256SUMS and pass --sums\n"
TAKES = re.compile(r"^install\.sh: takes [^\n]*\n")
ODD = [
    "",
    "\x1b[2J",
    "a\rb",
    "..",
    "../../canary",
    "/",
    "./x",
    "x" * 300,
    "\udcff",
    "\u202e",
    "\x9b31m",
    "a\\b",
    "-rf",
]
NUMBERS = ["-1", "0", "00", "1e9", "9" * 5000, "x", "", "4611686018427387904", "07777777777"]


def bytes_of(chance: random.Random, data: bytes) -> bytes:
    """One accident, or a few: a bit, or a piece that is gone, there twice, elsewhere, or something else."""
    for _ in range(chance.choice([1, 1, 1, 3])):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice([1, 2, 16, 512, 4096]))
        piece = data[at:end]
        data = chance.choice(
            [
                data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in piece[:1]) + data[at + 1 :],
                data[:at] + chance.randbytes(len(piece)) + data[end:],
                data[:at] + data[end:],
                data[:end] + piece + data[end:],
                data[:at] + data[end:] + piece,
                data[:at],
                data[:at] + b"\0" * len(piece) + data[end:],
            ]
        )
    return data


def lines_of(chance: random.Random, text: bytes) -> bytes:
    """One line that is gone, there twice, in another place, or has something else in one of its fields."""
    lines = text.decode().split("\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    fields = lines[at].split("\t")
    fields[chance.randrange(len(fields))] = chance.choice(
        [*ODD, *NUMBERS, "f", "d", "l", "t", "c", "444", "4755"]
    )
    how = chance.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(other, lines[at])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = "\t".join(fields)
    return "\n".join(lines).encode(errors="surrogateescape")


def with_members(chance: random.Random, parts: Parts) -> Parts:
    name = chance.choice(
        [*(odd for odd in ODD if odd.isprintable() and odd), "bin/opencode", "SHA256SUMS", "cache"]
    )
    flag = chance.choice([b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"x", b"g", b"L", b"S", b"V"])
    new = member(
        name, chance.choice([b"", b"evil\n"]), flag, chance.choice([0o444, 0o6777]), chance.choice(ODD[:7])
    )
    at = chance.choice([0, parts.at("install.sh"), len(parts.rest) - len(END)])
    return replace(parts, rest=parts.rest[:at] + new + parts.rest[at:])


def with_info(chance: random.Random, parts: Parts) -> Parts:
    """A bundle.json that says something else, in lists that agree."""
    line = next(line for line in parts.contents.split(b"\n") if line.endswith(b"\t" + INFO.encode()))
    at = parts.at(INFO)
    size = int(line.split(b"\t")[2])
    old = parts.rest[at + BLOCK : at + BLOCK + size]
    value = chance.choice([*ODD[:9], *NUMBERS, "[" * 3000, '{"date": 1}', "null"])
    fields = old.decode().split("\n")
    which = chance.randrange(1, len(fields) - 2)
    key = fields[which].split(":")[0]
    fields[which] = f"{key}: {value}," if chance.random() < 0.5 else f'{key}: "{value}",'
    new = chance.choice(
        [bytes_of(chance, old), "\n".join(fields).encode(errors="surrogateescape"), b"", b"\0"]
    )
    return replace(
        parts,
        rest=parts.rest[:at] + member(INFO, new) + parts.rest[at + BLOCK + -(-size // BLOCK) * BLOCK :],
        contents=parts.contents.replace(line, b"f\t444\t%d\t%s" % (len(new), INFO.encode())),
        sums=parts.sums.replace(
            hashlib.sha256(old).hexdigest().encode(), hashlib.sha256(new).hexdigest().encode()
        ),
    )


def mutant(chance: random.Random, good: bytes, tar: bytes, parts: Parts, at: Path) -> Path:
    def file(data: bytes) -> Path:
        at.write_bytes(data)
        return at

    def sealed(data: bytes) -> Path:
        return file(data[:-DIGITS] + hashlib.sha256(data[:-DIGITS]).hexdigest().encode())

    def lists(parts: Parts) -> Parts:
        if chance.random() < 0.5:
            return replace(parts, contents=lines_of(chance, parts.contents))
        return replace(parts, sums=lines_of(chance, parts.sums))

    def packed(parts: Parts) -> Path:
        unsigned = replace(parts, signature=b"") if chance.random() < 0.5 else parts
        return packed_again((unsigned.agreeing() if chance.random() < 0.7 else unsigned).tar, at)

    ways: list[Callable[[], Path]] = [
        lambda: file(bytes_of(chance, good)),
        lambda: sealed(bytes_of(chance, good)),
        lambda: packed_again(bytes_of(chance, tar), at),
        lambda: packed(replace(parts, rest=bytes_of(chance, parts.rest))),
        lambda: packed(lists(parts)),
        lambda: packed(with_members(chance, parts)),
        lambda: packed(with_members(chance, lists(parts))),
        lambda: packed(with_info(chance, parts)),
    ]
    return chance.choice(ways)()


def by_unbundle(file: Path, prefix: Path, checked: Path | None) -> str:
    """What it said; nothing where it installed."""
    try:
        unbundle.unbundle(file, prefix, trusted=checked)
    except OpencodeCacheError as error:
        return str(error)
    return ""


def by_installer(file: Path, prefix: Path, checked: Path | None) -> str:
    """As the recipe does once SHA256SUMS is checked, or without: then with a script that is ours, too."""
    done = run_sh(file, prefix, sums=checked or "")
    assert done.returncode == (0 if done.stdout else 2), done
    said = TAKES.sub("", done.stderr.removeprefix(NOTICE))
    assert said.count("\n") == (0 if done.stdout else 1), done
    return said.removesuffix("\n")


@pytest.fixture(scope="module")
def goods(keys, tmp_path_factory):
    """A bundle of one system, and one of two."""
    at = tmp_path_factory.mktemp("good")
    here = platforms.current().name
    program = make_program(at / "opencode")
    trees = [
        pack.tree(make_cache(at / name, name), program)
        for name in (here, next(name for name in platforms.SYSTEMS if name != here))
    ]
    return {
        "one": make_bundle(at, sign_key=keys / "key"),
        "parts": pack.bundle(trees, at / "parts", sign_key=keys / "key").file,
    }


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("unbundle", "one"),
        ("install.sh", "one"),
        ("unbundle", "parts"),
        *([("install.sh", "parts")] if "OPENCODE_CACHE_TEST_MUTANTS" in os.environ else []),
    ],
)
def test_mutants(goods, kind, keys, tmp_path, way, capsys):
    good = goods[kind]
    data, tar, parts = good.read_bytes(), unpacked_tar(good), Parts.of(good)
    (tmp_path / "sums").write_bytes(parts.sums)
    run, vouched = {
        "unbundle": (by_unbundle, keys / "trusted"),
        "install.sh": (by_installer, tmp_path / "sums"),
    }[way]
    root = tmp_path / "root"
    prefix = root / "in" / "to"
    prefix.parent.mkdir(parents=True)
    (root / "canary").write_text("mine")
    before = everything(root)
    refused, sentences = 0, set()
    for number in range(MUTANTS):
        chance = random.Random(f"{SEED} {number}")  # noqa: S311 - the same each time
        file = mutant(chance, data, tar, parts, tmp_path / "mutant")
        checked = vouched if number % 2 else None
        said = run(file, prefix, checked)
        assert said.isprintable(), (number, said)
        if said:
            refused += 1
            sentences.add(said)
            assert not os.path.lexists(prefix), (number, said)
        else:
            # What is installed is what was signed, or nobody asked.
            assert not checked or says(prefix, tmp_path / "home") == "version 1 hello", number
            subprocess.run(["chmod", "-R", "u+w", prefix], check=True)
            shutil.rmtree(prefix)
        assert everything(root) == before, number
    with capsys.disabled():
        if "OPENCODE_CACHE_TEST_MUTANTS" in os.environ:
            rest = MUTANTS - refused
            sys.stdout.write(
                f"\n{way}, {kind}: {MUTANTS} mutants, {refused} refused in one sentence of {len(sentences)}, "
                f"{rest} installed as they are announced\n"
            )
    assert refused > MUTANTS // 2
