"""A cache of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toolchain.tiny import forget


@pytest.fixture
def cache_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and a process that has loaded nothing yet."""
    path = tmp_path / "cache"
    monkeypatch.setenv("BPCOMPILE_CACHE_DIR", str(path))
    monkeypatch.delenv("CC", raising=False)
    forget()
    yield path
    forget()
