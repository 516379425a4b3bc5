"""NaN and infinity in training: noticed, the step and the equation named, everything as it was before that step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.model import Model

BACKENDS = pytest.mark.parametrize("backend", ["c", "numpy"])


def network(equation: str) -> bp.Network:
    """A product by one weight, then the equation from z to a, then a squared error."""
    x, y = bp.Input("x", (3,)), bp.Target("y", (3,))
    scaled = bp.Layer(["z[n,i] = w*x[n,i]"], parameters={"w": ()}, inputs=("x",), output="z", name="scaled")(x)
    a = bp.Layer([equation], inputs=("z",), output="a", name="odd")(scaled)
    return bp.Network(a, loss=bp.MeanSquaredError(a, y))


def trained(model: Model, x: Any, steps: int, **options: Any) -> tuple[Any, Any]:
    """Parameters and optimizer state after some steps of one example."""
    params = model.init(0)
    params["scaled.w"] = 1.0
    model.train_epoch(params, x=x[:steps], y=np.ones_like(x[:steps]), batch_size=1, shuffle=False, **options)
    return params, model.optimizer_state(params)


@BACKENDS
@pytest.mark.parametrize(
    ("equation", "bad", "said"),
    [
        ("a[n,i] = log(z[n,i])", -1.0, r"layer 'odd'.*log\(z.*a value of"),
        ("a[n,i] = sqrt(z[n,i])", 0.0, r"layer 'odd'.*sqrt\(z.*a derivative of"),
        ("a[n,i] = exp(z[n,i])", 3e4, r"layer 'odd'.*exp\(z.*a value of.*inf"),
    ],
)
def test_the_step_and_the_equation_are_named_and_all_is_as_before_it(
    backend: str, equation: str, bad: float, said: str
) -> None:
    model = bp.compile(network(equation), backend=backend, dtype="float64", optimizer=bp.Adam(1e-3))
    x = np.full((12, 3), 0.5)
    x[7, 1] = bad
    expected, moments = trained(model, x, 7)
    params = model.init(0)
    params["scaled.w"] = 1.0
    with pytest.raises(bp.TrainingError, match=rf"(?s)Step 8 gave NaN or infinity.*{said}"):
        model.train_epoch(params, x=x, y=np.ones_like(x), batch_size=1, shuffle=False)
    np.testing.assert_array_equal(params.flat, expected.flat)
    np.testing.assert_array_equal(model.optimizer_state(params).moments.flat, moments.moments.flat)
    assert model.optimizer_state(params).step == 7
    # Training can go on without the example that spoiled it.
    model.train_epoch(params, x=x[8:], y=np.ones_like(x[8:]), batch_size=2)
    assert np.isfinite(params.flat).all()


@BACKENDS
def test_an_update_that_overflows_is_told_from_a_gradient_that_does(backend: str) -> None:
    model = bp.compile(network("a[n,i] = z[n,i]"), backend=backend, dtype="float32", optimizer=bp.SGD(1e38))
    params = model.init(0)
    params["scaled.w"] = 1.0
    x = np.full((4, 3), 100.0, np.float32)
    with pytest.raises(bp.TrainingError, match=r"Step 1 gave NaN or infinity\. Loss and gradients are finite"):
        model.train_epoch(params, x=x, y=x * 3, batch_size=2)
    assert params["scaled.w"] == 1.0


def test_it_can_be_switched_off() -> None:
    model = bp.compile(network("a[n,i] = log(z[n,i])"), backend="numpy", optimizer=bp.SGD(0.1))
    with np.errstate(all="ignore"):
        params, _ = trained(model, np.full((3, 3), -1.0), 3, check_finite=False)
    assert np.isnan(params.flat).all()


def test_a_checked_call_names_the_equation_too() -> None:
    model = bp.compile(network("a[n,i] = log(z[n,i])"), backend="numpy", check_finite=True)
    params = model.init(0)
    params["scaled.w"] = -1.0
    with pytest.raises(bp.TrainingError, match=r"The loss is nan\. It begins in the layer 'odd'"), np.errstate(all="ignore"):
        model.value_and_grad(params, x=np.ones((2, 3)), y=np.ones((2, 3)))


def test_infinity_that_somebody_wrote_is_no_trouble() -> None:
    masked = "a[n,i] = where(z[n,i] > 0, z[n,i], -inf)"
    x, y = bp.Input("x", (3,)), bp.Target("y", classes=3)
    a = bp.Layer([masked], inputs=("z",), output="a", name="mask")(x)
    p = bp.Layer(["p[n,i] = w*exp(a[n,i])"], parameters={"w": ()}, inputs=("a",), output="p", name="sure")(a)
    l = bp.Layer(["l[n] = log(p[n,y[n]])"], inputs=("p", "y"), output="l", name="cost")(p, y)  # noqa: E741
    model = bp.compile(bp.Network(p, loss=l), backend="numpy", optimizer=bp.SGD(1e-3))
    params = model.init(0)
    params["sure.w"] = 1.0
    model.train_epoch(params, x=[[1.0, -1.0, 2.0]], y=[0], batch_size=1)
    with pytest.raises(bp.TrainingError, match="layer 'cost'"), np.errstate(all="ignore"):
        model.train_epoch(params, x=[[1.0, -1.0, 2.0]], y=[1], batch_size=1)
