"""A home with a configuration in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from opencode_cache.config import read

if TYPE_CHECKING:
    from pathlib import Path


class Home:
    """Files of one user, by their places below `home`, and what is read of them."""

    def __init__(self, top: Path) -> None:
        self.home = top / "home"
        self.project = self.home / "work"
        self.project.mkdir(parents=True)
        (self.project / ".git").mkdir()
        self.environ = {
            "HOME": str(self.home),
            "OPENCODE_TEST_MANAGED_CONFIG_DIR": str(top / "managed"),
        }

    def write(self, place: str, value: object) -> Path:
        path = self.home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    def config(self, value: object) -> Path:
        return self.write(".config/opencode/opencode.json", value)

    def read(self, **environ: str) -> read.Configuration:
        return read.read(self.environ | environ, [self.project])


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)
