"""A shipped catalogue beats the binary's own whatever its age: OpenCode shows the newer of the two."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt

import isolated
import pytest
from kept import slow

from opencode_cache.build import builder
from opencode_cache.catalogue import choose
from opencode_cache.catalogue import document as catalogue
from opencode_cache.formats import manifest
from opencode_cache.npm import platforms
from opencode_cache.opencode import ask, embedded, highlighting
from opencode_cache.wrapper import render as wrapper

pytestmark = pytest.mark.usefixtures("isolated")

NEW = "a-model-of-the-given-catalogue"


@pytest.fixture(scope="module")
def own(made_extra):
    return embedded.catalogue(made_extra.opencode)


@pytest.mark.parametrize(
    ("day", "shipped"), [("2031-01-01", True), pytest.param("2024-01-01", False, marks=slow)]
)
def test_the_user_sees_the_newer_catalogue(made_extra, own, tarballs, tmp_path, day, shipped):
    given = copy.deepcopy(own)
    for provider in given.values():
        for model in provider["models"].values():
            model |= {"release_date": day, "last_updated": day}
    free = next(m for m in given["opencode"]["models"].values() if m["id"] == "big-pickle")
    given["opencode"]["models"][NEW] = free | {"id": NEW, "name": NEW}
    models = tmp_path / "api.json"
    models.write_text(catalogue.dumps(given), encoding="utf-8")
    out = tmp_path / "cache"
    inputs = builder.Inputs(
        made_extra.lock, tarballs, made_extra.opencode, platforms.current(), models=models
    )
    inputs = dataclasses.replace(inputs, models_revision="0123abc")
    made = builder.build(inputs, out)
    assert (made.catalogue is not None) is shipped
    assert ("newer" in made.catalogue_why) is True
    assert made.catalogue_date == (dt.date.fromisoformat(day) if shipped else choose.newest(own))
    assert made.models_revision == "0123abc"
    assert made == manifest.read(out)
    program = wrapper.wrap(out, made_extra.opencode, tmp_path / "wrapped")
    done = isolated.run(program, ["models"], tmp_path / "home", read_only=[out])
    assert (done.returncode, done.hosts) == (0, [])
    assert (f"opencode/{NEW}" in done.stdout) is shipped


def test_a_program_wrapped_as_nixpkgs_does_is_looked_through(made_extra, made_10, own, tmp_path):
    for made in (made_extra, made_10):
        wrapped = tmp_path / made.lock.opencode.version
        wrapped.write_text(
            f'#!/bin/bash\nexport PATH="/nowhere:$PATH"\nexec -a "$0" {made.opencode.resolve()} "$@"\n'
        )
        wrapped.chmod(0o755)
        assert embedded.catalogue(wrapped) == (
            own if made is made_extra else embedded.catalogue(made.opencode)
        )
        assert ask.sdk_major(wrapped) == ask.sdk_major(made.opencode) is not None
        assert highlighting.remote(wrapped) == highlighting.remote(made.opencode)
