"""docs/lecture.md is what docs/make_lecture.py writes; making it checks every equation in it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_lecture_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_lecture", DOCS / "make_lecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_lecture", module)  # a dataclass looks for its module
    spec.loader.exec_module(module)
    assert (DOCS / "lecture.md").read_text(encoding="utf-8") == module.page(), "run python docs/make_lecture.py"


def test_every_formula_of_the_template_is_the_compilers() -> None:
    template = (DOCS / "lecture.template.md").read_text(encoding="utf-8")
    assert "$" not in template
    assert len(re.findall(r"{{", template)) > 20
