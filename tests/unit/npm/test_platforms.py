"""Which packages npm would install on which system."""

from __future__ import annotations

import platform
import sys

import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.npm import platforms

LINUX = platforms.SYSTEMS["x86_64-linux"]
MUSL = platforms.SYSTEMS["x86_64-linux-musl"]
ARM = platforms.SYSTEMS["aarch64-linux"]
MAC = platforms.SYSTEMS["aarch64-darwin"]


# The last column is what npm 11 says (npm-install-checks, checkPlatform).
@pytest.mark.parametrize(
    ("system", "os", "cpu", "libc", "fits"),
    [
        (LINUX, [], [], [], True),
        (LINUX, ["linux"], ["x64"], ["glibc"], True),
        (LINUX, ["darwin"], [], [], False),
        (LINUX, ["darwin", "linux"], [], [], True),
        (LINUX, ["any"], ["any"], [], True),
        (LINUX, ["any", "darwin"], [], [], False),
        (LINUX, ["!win32"], [], [], True),
        (LINUX, ["!linux"], [], [], False),
        (LINUX, ["!win32", "!darwin"], [], [], True),
        (LINUX, ["!win32", "darwin"], [], [], False),
        (LINUX, ["!win32", "linux"], [], [], True),
        (LINUX, ["linux", "!linux"], [], [], False),
        (LINUX, [], ["arm64"], [], False),
        (LINUX, [], ["!arm64"], [], True),
        (LINUX, [], ["!x64"], [], False),
        (LINUX, [], [], ["musl"], False),
        (LINUX, [], [], ["glibc", "musl"], True),
        (LINUX, [], [], ["!musl"], True),
        (LINUX, [], [], ["any"], True),
        (MUSL, ["linux"], ["x64"], ["musl"], True),
        (MUSL, ["linux"], ["x64"], ["glibc"], False),
        (MUSL, ["linux"], ["x64"], ["!musl"], False),
        (MUSL, ["linux"], ["x64"], [], True),
        (ARM, ["linux"], ["arm64"], [], True),
        (ARM, ["linux"], ["x64"], [], False),
        (MAC, ["darwin"], ["arm64"], [], True),
        (MAC, ["darwin"], ["x64"], [], False),
        (MAC, [], [], ["glibc"], False),
        (MAC, ["darwin"], ["arm64"], ["!musl"], False),
        (MAC, ["darwin"], ["arm64"], ["any"], False),
    ],
)
def test_a_package_fits_where_npm_would_install_it(system, os, cpu, libc, fits):
    assert platforms.fits(system, os, cpu, libc) is fits


def test_an_unknown_system_is_refused_with_the_supported_ones():
    with pytest.raises(BadInputError) as caught:
        platforms.named("sparc-solaris")
    assert "'sparc-solaris'" in str(caught.value)
    assert all(name in str(caught.value) for name in platforms.SYSTEMS)


def test_every_system_is_found_by_its_name():
    assert all(platforms.named(name).name == name for name in platforms.SYSTEMS)


@pytest.mark.parametrize(
    ("kernel", "machine", "musl", "name"),
    [
        ("linux", "x86_64", False, "x86_64-linux"),
        ("linux", "AMD64", True, "x86_64-linux-musl"),
        ("linux", "aarch64", False, "aarch64-linux"),
        ("linux", "arm64", True, "aarch64-linux-musl"),
        ("darwin", "arm64", False, "aarch64-darwin"),
    ],
)
def test_this_machine_is_named_as_nix_names_it(monkeypatch, kernel, machine, musl, name):
    monkeypatch.setattr(sys, "platform", kernel)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platforms, "_is_musl", lambda: musl)
    assert platforms.current().name == name


@pytest.mark.parametrize(("kernel", "machine"), [("darwin", "x86_64"), ("linux", "riscv64")])
def test_a_machine_without_a_release_is_refused(monkeypatch, kernel, machine):
    monkeypatch.setattr(sys, "platform", kernel)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(BadInputError, match="is not supported"):
        platforms.current()


def test_on_x86_the_baseline_build_comes_first():
    assert [system.binaries[0] for system in (LINUX, MUSL)] == [
        "opencode-linux-x64-baseline",
        "opencode-linux-x64-baseline-musl",
    ]
