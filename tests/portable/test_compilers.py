"""Extensions built by gcc and by clang compute the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import bpcompile as bp


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_compiler_that_is_chosen(compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not checked here: there is no {compiler}")
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("BPCOMPILE_CACHE_DIR", str(tmp_path / "cache"))
    x, y = bp.Input("x", (9,)), bp.Target("y", classes=4)
    z = bp.Dense(4, name="output")(bp.Dense(33, activation="gelu", name="hidden")(x))
    net = bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="chosen")
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(13, 9)), "y": rng.integers(0, 4, 13)}
    model, reference = bp.compile(net, threads=2), bp.compile(net, backend="numpy", dtype="float64")
    assert compiler in str(model.cost.facts["compiler"])
    params = model.init(seed=1)
    loss, grads = model.value_and_grad(params, **data)
    exact, wanted = reference.value_and_grad(reference.parameters(params), **data)
    assert abs(loss - exact) < 1e-5
    for name in params:
        np.testing.assert_allclose(grads[name], wanted[name], rtol=1e-3, atol=1e-5)
