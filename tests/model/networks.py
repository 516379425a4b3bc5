"""Small networks for the tests of what the user holds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import bpcompile as bp


@cache
def classifier() -> bp.Network:
    """Five inputs, four tanh units, three classes."""
    x, y = bp.Input("x", (5,)), bp.Target("y", classes=3)
    h = bp.Dense(4, activation="tanh", name="hidden")(x)
    z = bp.Dense(3, name="output")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="classifier")


@cache
def regression() -> bp.Network:
    """Two inputs, two sigmoid units, two outputs."""
    x, y = bp.Input("x", (2,)), bp.Target("y", (2,))
    z = bp.Dense(2, name="output")(bp.Dense(2, activation="sigmoid", name="hidden")(x))
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name="regression")


@cache
def with_state() -> bp.Network:
    """A running mean of the inputs is taken off them; noise in training."""
    centred = bp.Layer(
        [
            "batch[i] = mean(x[n,i], n)",
            "m[i] = 0.9*m[i] + 0.1*batch[i]",
            "a[n,i] = x[n,i] - where(training, batch[i], m[i]) + where(training, 0.1*normal(), 0)",
        ],
        state={"m": ("i",)},
        inputs=("x",),
        output="a",
        name="centred",
    )
    x, y = bp.Input("x", (3,)), bp.Target("y", (2,))
    z = bp.Dense(2, name="output")(centred(x))
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name="stateful")


def examples(n: int = 6, seed: int = 0) -> dict[str, Any]:
    """Data for `classifier`."""
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(n, 5)).astype(np.float32), "y": rng.integers(0, 3, n).astype(np.int32)}


def clusters(n: int = 300, seed: int = 0) -> dict[str, Any]:
    """Data for `classifier` that can be learned: three clusters."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centres = rng.normal(size=(3, 5)) * 2
    return {"x": centres[y] + 0.5 * rng.normal(size=(n, 5)), "y": y}
