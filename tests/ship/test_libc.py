"""A bundle for musl installs on musl, one for glibc there is refused in a sentence, and the reverse."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import bundle_lab
import pytest

from opencode_cache.base.errors import BadInputError
from opencode_cache.formats import manifest as manifests
from opencode_cache.npm import platforms
from opencode_cache.ship import unbundle

if TYPE_CHECKING:
    from pathlib import Path

LIBCS = ("glibc", "musl")


@pytest.fixture
def system():
    """This machine's, by libc."""
    here = platforms.current().name.removesuffix("-musl")
    if not here.endswith("-linux"):
        pytest.skip("needs Linux, which alone has two libcs")
    return {"glibc": here, "musl": f"{here}-musl"}


@pytest.fixture
def bundle(tmp_path, system):
    def one(libc: str) -> Path:
        cache = bundle_lab.make_cache(tmp_path / "cache")
        made = manifests.read(cache).model_copy(update={"system": system[libc]})
        (cache / manifests.FILE).write_text(manifests.dumps(made))
        program = bundle_lab.make_program(tmp_path / "opencode")
        return bundle_lab.bundled(cache, program, tmp_path / "bundle.tar.zst").file

    return one


def machine(directory: Path, libc: str) -> dict[str, str]:
    """PATH on which `ls` finds the loader of that libc, and none of the other's."""
    directory.mkdir()
    loaders = ["/lib/ld-musl-*", "/lib64/ld-linux*"]
    found, other = loaders if libc == "musl" else reversed(loaders)
    cases = f'{found}) ;;\n{other}) exit 1 ;;\n*) exec {shutil.which("ls")} "$@" ;;'
    script = f"#!/bin/sh\ncase $* in\n{cases}\nesac\n"
    (directory / "ls").write_text(script)
    (directory / "ls").chmod(0o755)
    return {"env": os.environ | {"PATH": f"{directory}:{os.environ['PATH']}"}}


@pytest.mark.parametrize("there", LIBCS)
@pytest.mark.parametrize("made_for", LIBCS)
def test_the_installer(bundle, system, tmp_path, made_for, there):
    options = machine(tmp_path / "bin", there)
    done = bundle_lab.run_sh(bundle(made_for), tmp_path / "to", **options)
    if made_for == there:
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'to'}/bin/opencode\n"), done.stderr
        return
    sentence = f"for another system ({system[made_for]}), and this is {system[there]}; get another bundle"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("there", LIBCS)
@pytest.mark.parametrize("made_for", LIBCS)
def test_unbundle(bundle, system, tmp_path, monkeypatch, made_for, there):
    monkeypatch.setattr(platforms, "_is_musl", lambda: there == "musl")
    if made_for == there:
        assert unbundle.unbundle(bundle(made_for), tmp_path / "to").changed
        return
    with pytest.raises(
        BadInputError, match=f"the bundle is for {system[made_for]}, this machine is {system[there]};"
    ):
        unbundle.unbundle(bundle(made_for), tmp_path / "to")
    assert not (tmp_path / "to").exists()
