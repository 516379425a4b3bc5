"""Optimizers, as equations, against the same steps written by hand; C against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.training import optimizers
from bpcompile.training.optimizers import Optimizer, optimizer_named, optimizer_program
from tests.model.networks import classifier, clusters, regression

Array = np.ndarray[Any, Any]
State = dict[str, Array]
LR = 0.05


def sgd(p: Array, g: Array, _s: State, _t: int) -> Array:
    return p - LR * g


def momentum(p: Array, g: Array, s: State, _t: int) -> Array:
    s["u"] = 0.9 * s.get("u", 0) + g
    return p - LR * s["u"]


def nesterov(p: Array, g: Array, s: State, _t: int) -> Array:
    s["u"] = 0.9 * s.get("u", 0) + g
    return p - LR * (g + 0.9 * s["u"])


def adam(p: Array, g: Array, s: State, t: int, epsilon: float = 1e-8) -> Array:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    return p - LR * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + epsilon)


def adamw(p: Array, g: Array, s: State, t: int, epsilon: float = 1e-8) -> Array:
    return adam(p, g, s, t, epsilon) - LR * 0.01 * p


def rmsprop(p: Array, g: Array, s: State, _t: int, epsilon: float = 1e-8) -> Array:
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    return p - LR * g / (np.sqrt(s["v"]) + epsilon)


def adagrad(p: Array, g: Array, s: State, _t: int, epsilon: float = 1e-10) -> Array:
    s["v"] = s.get("v", 0) + g**2
    return p - LR * g / (np.sqrt(s["v"]) + epsilon)


CASES: list[tuple[Optimizer, Callable[..., Array]]] = [
    (optimizers.SGD(LR), sgd),
    (optimizers.Momentum(LR), momentum),
    (optimizers.SGD(LR, momentum=0.9, nesterov=True), nesterov),
    (optimizers.Adam(LR), adam),
    (optimizers.Adam(LR, weight_decay=0.01), adamw),
    (optimizers.RMSprop(LR), rmsprop),
    (optimizers.Adagrad(LR), adagrad),
]


@pytest.mark.parametrize(("optimizer", "step"), CASES, ids=[o.name for o, _ in CASES])
def test_epochs_are_the_steps_written_by_hand(optimizer: Optimizer, step: Callable[..., Array]) -> None:
    model = bp.compile(regression(), backend="numpy", dtype="float64", optimizer=optimizer)
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(10, 2)), "y": rng.normal(size=(10, 2))}
    params, mine, state, losses = model.init(), model.init(), {}, []
    for epoch in range(3):
        got = model.train_epoch(params, batch_size=4, shuffle=False, **data)
        losses = []
        for k, rows in enumerate((slice(0, 4), slice(4, 8), slice(8, 10))):
            loss, grads = model.value_and_grad(mine, x=data["x"][rows], y=data["y"][rows])
            losses += [loss] * len(data["x"][rows])
            mine.flat[:] = step(mine.flat, grads.flat, state, 3 * epoch + k + 1)
        assert got == pytest.approx(np.mean(losses), rel=1e-12)
        np.testing.assert_allclose(params.flat, mine.flat, rtol=1e-9)
    assert model.optimizer_state(params).step == 9


@pytest.mark.parametrize("optimizer", [o for o, _ in CASES], ids=[o.name for o, _ in CASES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_and_numpy_train_alike(optimizer: Optimizer, dtype: str) -> None:
    results = []
    for backend in ("c", "numpy"):
        model = bp.compile(classifier(), backend=backend, dtype=dtype, optimizer=optimizer)
        params = model.init()
        losses = [model.train_epoch(params, **clusters(50), seed=k, batch_size=16) for k in range(3)]
        results.append((losses, params.flat.copy()))
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=tolerance)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=tolerance, atol=tolerance)


def test_adam_in_float32_corrects_the_bias_of_its_first_steps() -> None:
    model = bp.compile(regression(), dtype="float32", optimizer=optimizers.Adam(LR))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(4, 2)), "y": rng.normal(size=(4, 2))}
    params = model.init()
    before, grads = params.flat.astype(float), model.value_and_grad(params, **data)[1].flat.astype(float)
    model.train_epoch(params, batch_size=4, **data)
    expected = adam(before, grads, {}, 1)
    np.testing.assert_allclose(params.flat, expected, rtol=2e-6)


def test_the_learning_rate_can_change_between_epochs() -> None:
    model = bp.compile(regression(), optimizer=optimizers.SGD(LR))
    params, data = model.init(), {"x": np.ones((2, 2)), "y": np.zeros((2, 2))}
    before = params.flat.copy()
    model.train_epoch(params, learning_rate=0.0, **data)
    np.testing.assert_array_equal(params.flat, before)
    model.train_epoch(params, **data)
    assert not np.array_equal(params.flat, before)


def test_shuffling_is_seeded_and_every_example_counts() -> None:
    model = bp.compile(classifier(), optimizer=optimizers.SGD(LR))
    results = []
    for seed in (1, 1, 2):
        params = model.init()
        model.train_epoch(params, seed=seed, batch_size=7, **clusters(40))
        results.append(params.flat.copy())
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    one, other = model.init(), model.init()
    model.train_epoch(one, batch_size=1000, shuffle=False, **clusters(40))
    model.train_epoch(other, batch_size=40, shuffle=True, **clusters(40))
    np.testing.assert_allclose(one.flat, other.flat, rtol=1e-5)


def test_equations_are_what_is_printed() -> None:
    program = optimizer_program(optimizers.Adam(), 5)
    assert [s.origin.equation for s in program.statements()] == list(optimizers.Adam().equations)
    assert all(s.origin.phase == "update" for s in program.statements())
    assert str(optimizers.Adam(0.01)) == "Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-08)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optimizers.Adam(-1), "learning rate"),
        (lambda: optimizers.Adam(float("nan")), "learning rate"),
        (lambda: optimizers.Adam(beta1=1.0), "beta1 must lie between 0 and 1"),
        (lambda: optimizer_named("adm"), "did you mean 'adam'|Did you mean 'adam'"),
        (lambda: optimizer_named("sgd", beta1=0.5), "has no option 'beta1'"),
    ],
)
def test_numbers_that_make_no_sense(make: Callable[[], Optimizer], words: str) -> None:
    with pytest.raises(bp.TrainingError, match=words):
        make()


def test_calls_that_make_no_sense() -> None:
    model = bp.compile(regression(), backend="numpy", optimizer=optimizers.SGD())
    data = {"x": np.ones((2, 2)), "y": np.ones((2, 2))}
    with pytest.raises(bp.ArrayError, match="in place"):
        model.train_epoch(dict(model.init()), **data)  # type: ignore[arg-type]
    with pytest.raises(bp.ArrayError, match="'batch_size'"):
        model.train_epoch(model.init(), batch_size=0, **data)
    with pytest.raises(bp.TrainingError, match="learning rate"):
        model.train_epoch(model.init(), learning_rate=-1.0, **data)
    with pytest.raises(bp.TrainingError, match="without an optimizer"):
        bp.compile(regression(), backend="numpy").train_epoch(model.init(), **data)
