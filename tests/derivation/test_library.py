"""The derivation of every layer of the library holds, as docs/layers.md shows it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bpcompile as bp

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUICK = ("Bilinear", "Maxout", "Conv1D", "MaxPooling1D", "LayerNormalization", "BatchNormalization", "Dropout(", "Embedding(50",
         "SimpleRNN", "MultiHeadAttention")  # fmt: skip


def shown() -> list[tuple[str, Callable[[], Any]]]:
    """The settings of docs/make_layers.py."""
    spec = importlib.util.spec_from_file_location("make_layers", DOCS / "make_layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_layers"] = module
    spec.loader.exec_module(module)
    return [row for rows in module.SHOWN.values() for row in rows]


CASES = [
    pytest.param(make, id=text, marks=() if text.startswith(QUICK) else pytest.mark.slow) for text, make in shown()
]  # fmt: skip


@pytest.mark.parametrize("make", CASES)
def test_every_equation_holds(make: Callable[[], Any]) -> None:
    value = make()
    value = value[0] if isinstance(value, tuple) else value
    target = bp.Target("target", value.shape[1:])
    network = bp.Network(value, loss=bp.MeanSquaredError(value, target))
    real = [name for name, v in network.inputs.items() if not v.integer]
    derivation = bp.derive(network, wrt=("parameters", *real), sections="network,chain,layers,general,batch,check")
    check = derivation.check()
    assert [r.equation.label for r in check.rows if not r.passed] == []
    assert check.rows
    for text in (derivation.latex(), derivation.html(), derivation.markdown(), derivation.text()):
        assert "NO" not in text.split()
