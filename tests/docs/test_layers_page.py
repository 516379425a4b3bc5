"""docs/layers.md is what docs/make_layers.py writes, and shows every layer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bpcompile.language import layers

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_is_current_and_complete() -> None:
    spec = importlib.util.spec_from_file_location("make_layers", DOCS / "make_layers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.page()
    assert (DOCS / "layers.md").read_text(encoding="utf-8") == text, "run python docs/make_layers.py"
    missing = [n for n in layers.__all__ if n not in ("SPEC_KINDS", "LibraryLayer") and f"`{n}" not in text]
    assert not missing
