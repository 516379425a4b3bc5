"""Formulas that are scaled by hand: their gradients stay in range where the values do."""

from __future__ import annotations

import numpy as np
import pytest

import bpcompile as bp

POWERS = {
    "m[n]*sqrt(sum((x[n,i]/m[n])**2, i))": 2,
    "m[n]*sqrt(sum(x[n,i]/m[n]*(x[n,i]/m[n]), i))": 2,
    "m[n]*sum(abs(x[n,i]/m[n])**3, i)**(1/3)": 3,
    "m[n]*sum((x[n,i]/m[n])**4, i)**0.25": 4,
}
"""Norms, with the power that the elements are taken to."""


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("formula", POWERS)
def test_a_norm_scaled_by_its_largest_element(formula: str, backend: str) -> None:
    x = bp.Input("x", (3,))
    equations = ["m[n] = max(abs(x[n,i]), i)", f"s[n] = {formula}"]
    s = bp.Layer(equations, inputs=("x",), output="s", name="norm")(x)
    loss = bp.Layer(["l[n] = s[n]"], inputs=("s",), output="l", name="loss")(s)
    model = bp.compile(bp.Network(s, loss=loss, name="scaled"), backend=backend, wrt=("x",))
    for scale in (1e-30, 1e-15, 1.0, 1e15, 1e25, 1e35):
        point = (np.array([[1, -2, 2.5]]) * scale).astype(np.float32)
        value, gradients = model.value_and_grad(model.init(), x=point)
        power = POWERS[formula]
        unit = point.astype(np.float64) / scale
        norm = (np.abs(unit) ** power).sum() ** (1 / power)
        assert abs(value / scale - norm) < 1e-6 * norm
        np.testing.assert_allclose(gradients["x"], np.sign(unit) * (np.abs(unit) / norm) ** (power - 1), rtol=1e-6)


@pytest.mark.parametrize("backend", ["c", "numpy"])
def test_a_product_above_a_square(backend: str) -> None:
    names = ("a", "b", "x")
    inputs = [bp.Input(name, ()) for name in names]
    loss = bp.Layer(["l[n] = a[n]*b[n]/(1 + x[n]**2)"], inputs=names, output="l", name="loss")(*inputs)
    model = bp.compile(bp.Network(None, loss=loss, name="bell"), backend=backend, wrt=names)
    for scale in (1.0, 1e10, 1e13, 1e18):
        a, b, x = (np.array([c * scale], np.float32) for c in (1.5, -2, 3))
        value, gradients = model.value_and_grad(model.init(), a=a, b=b, x=x)
        u, v, w = (float(t[0]) for t in (a, b, x))
        np.testing.assert_allclose(value, u * v / (1 + w * w), rtol=1e-6)
        want = {"a": v / (1 + w * w), "b": u / (1 + w * w), "x": -2 * w * u * v / (1 + w * w) / (1 + w * w)}
        for name, exact in want.items():
            np.testing.assert_allclose(gradients[name], [exact], rtol=1e-6)
