"""Tuning: any limits give right results; a search is short, remembered, and refused where it cannot help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile import tune
from bpcompile.calculus.gradient import analyze
from bpcompile.driver import c_module, c_prefix, lower
from bpcompile.emit.c.limits import DEFAULTS, Limits
from bpcompile.profile import clocked
from tests.model.networks import classifier


def wide() -> bp.Network:
    """Wide enough for panels, blocks of depth and rows; a dense layer takes every path of a contraction."""
    x, y = bp.Input("x", (600,)), bp.Target("y", classes=40)
    z = bp.Dense(40, name="output")(bp.Dense(130, activation="tanh", name="hidden")(x))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="wide")


def test_every_variant_agrees_within_rounding() -> None:
    net, rng = wide(), np.random.default_rng(0)
    data: dict[str, Any] = {"x": rng.normal(size=(70, 600)), "y": rng.integers(0, 40, 70).astype(np.int32)}
    model = bp.compile(net, dtype="float64")
    programs, params, texts = lower(analyze(net), ("parameters",), None), model.init(), set()
    loss, grads = model.value_and_grad(params, **data)
    for limits in (DEFAULTS, *tune.VARIANTS):
        module = c_module(programs, model.signature, c_prefix(net.name), dict.fromkeys(range(99), limits))
        texts.add(module.c_text)
        run = clocked(model, module, params, model.init_state(), data)
        found, others = run._step()  # type: ignore[misc]
        assert found == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(others.flat, grads.flat, rtol=1e-10, atol=1e-13)
    assert len(texts) >= 6  # the variants are variants


def small() -> bp.Network:
    """Quick to build, with contractions."""
    x, y = bp.Input("x", (40,)), bp.Target("y", classes=20)
    z = bp.Dense(20, name="output")(x)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="small")


def arrays() -> dict[str, Any]:
    """Data for `small`."""
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(6, 40)).astype(np.float32), "y": rng.integers(0, 20, 6).astype(np.int32)}


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A search of two variants that takes no time to speak of, and a cache of its own."""
    monkeypatch.setenv("BPCOMPILE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tune, "SECONDS", 0.5)
    monkeypatch.setattr(tune, "_BUILD_SHARE", 1e3)
    monkeypatch.setattr(tune, "VARIANTS", (Limits(dot_rows=0), Limits(dot_rows=256)))
    return tmp_path


def each_faster(runs: Mapping[Any, Any], seconds: float) -> dict[Any, dict[str, float]]:
    """Times as if each run were twice as fast as the one before it."""
    return {key: dict.fromkeys(run.names, 0.5**k) for k, (key, run) in enumerate(runs.items())}


def all_alike(runs: Mapping[Any, Any], seconds: float) -> dict[Any, dict[str, float]]:
    """Times as if nothing made a difference."""
    return {key: dict.fromkeys(run.names, 1.0) for key, run in runs.items()}


def test_a_search_is_remembered(brief: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, data = bp.compile(small()), arrays()
    monkeypatch.setattr(tune, "_in_turn", each_faster)
    model = bp.compile(small(), tune=6)
    assert model.cost.seconds["tune"] > 0
    assert model.cost.tuned
    assert model.source != plain.source
    loss = model.value_and_grad(model.init(), **data)[0]
    assert loss == pytest.approx(plain.value_and_grad(plain.init(), **data)[0], rel=1e-6)
    (place,) = (brief / "tuned").iterdir()
    monkeypatch.setattr(tune, "_search", None)  # from now on, whoever searches fails
    assert bp.compile(small(), tune=6).source == model.source
    assert bp.compile(small()).source == plain.source  # without being asked, nothing changes
    place.write_text("damaged")
    with pytest.raises(TypeError):
        bp.compile(small(), tune=6)


def test_without_a_difference_nothing_changes(brief: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_in_turn", all_alike)
    model = bp.compile(small(), tune=6)
    assert not model.cost.tuned
    assert model.source == bp.compile(small()).source


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tune": "yes"}, "tune must be True, False or a number of examples"),
        ({"tune": -1}, "tune must be True, False or a number of examples"),
        ({"tune": True, "backend": "numpy"}, "Only generated C can be tuned"),
    ],
)
def test_what_cannot_be_tuned(options: dict[str, Any], words: str) -> None:
    with pytest.raises(bp.BPCompileError, match=words):
        bp.compile(classifier(), **options)


def test_without_a_loss_there_is_nothing_to_measure() -> None:
    x = bp.Input("x", (3,))
    with pytest.raises(bp.BPCompileError, match="the network has no loss"):
        bp.compile(bp.Network(bp.Dense(2, name="output")(x)), tune=True)
