"""Frozen parameters stay where they are, whatever the optimizer does; gradients keep the parameters' structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.training.loop import fit


def network(frozen: tuple[str, ...]) -> bp.Network:
    x, y = bp.Input("x", (4,)), bp.Target("y", (2,))
    h = bp.Dense(5, activation="tanh", name="first", trainable="first" not in frozen)(x)
    h = bp.Dense(3, activation="tanh", name="second", trainable="second" not in frozen)(h)
    z = bp.Dense(2, name="third", trainable="third" not in frozen)(h)
    return bp.Network(z, loss=bp.MeanSquaredError(z, y))


def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(24, 4)), "y": rng.normal(size=(24, 2))}


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("optimizer", [bp.AdamW(1e-2, weight_decay=0.5), bp.SGD(0.1)])
@pytest.mark.parametrize("frozen", [("first",), ("second",), ("first", "third")])
def test_frozen_parameters_do_not_move(backend: str, optimizer: Any, frozen: tuple[str, ...]) -> None:
    model = bp.compile(network(frozen), backend=backend, dtype="float64", optimizer=optimizer)
    params = model.init(1)
    before = {name: array.copy() for name, array in params.items()}
    fit(model, params, data(), epochs=2, batch_size=5)
    for name, array in params.items():
        assert np.array_equal(array, before[name]) == (name.split(".")[0] in frozen), name
    _, grads = model.value_and_grad(params, **data())
    assert all(not grads[name].any() for name in params if name.split(".")[0] in frozen)


def test_what_moves_moves_as_if_the_rest_were_constant() -> None:
    free, tied = (bp.compile(network(f), dtype="float64", optimizer=bp.SGD(0.1)) for f in ((), ("second",)))
    start = free.init(3)
    _, expected = free.value_and_grad(start, **data())
    params = tied.parameters(start)
    _, grads = tied.value_and_grad(params, **data())
    for name in ("first.W", "first.b", "third.W", "third.b"):
        np.testing.assert_allclose(grads[name], expected[name], rtol=1e-12)
    tied.train_epoch(params, batch_size=24, shuffle=False, **data())
    np.testing.assert_allclose(params["third.W"], start["third.W"] - 0.1 * expected["third.W"], rtol=1e-12)
    np.testing.assert_array_equal(params["second.W"], start["second.W"])
