"""Intervals that hold every value of an expression, and how fast it grows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bpcompile.calculus.bounds import EVERYTHING, bounds, growth
from bpcompile.calculus.forward import forward_program
from bpcompile.nodes.expressions import Expr
from tests.calculus.harness import network

INF = math.inf
FORMULAS = {
    "z[n]*z[n]": (0, INF),
    "z[n]**2 + 1": (1, INF),
    "z[n]**3": (-INF, INF),
    "exp(z[n]) + 2": (2, INF),
    "1/(1 + exp(-z[n]))": (0, 1),
    "1 - tanh(z[n])**2": (0, 1),
    "abs(z[n]) - 3": (-3, INF),
    "max(z[n], 0)*2": (0, INF),
    "where(z[n] > 0, 1, sin(z[n]))": (-1, 1),
    "sqrt(z[n]) + log(1 + z[n]*z[n])": (0, INF),
    "min(z[n]**2, 4)": (0, 4),
    "-z[n]**2": (-INF, 0),
    "z[n]": (-INF, INF),
}


def body_of(formula: str, shape: tuple[int, ...] = ()) -> Expr:
    net = network([f"f[n] = {formula}", "l = sum(f[n], n)"], {"z": shape}, loss="l")
    return next(s.body for s in forward_program(net).equations if s.target.endswith(".f"))


@pytest.mark.parametrize("formula", FORMULAS)
def test_intervals(formula: str) -> None:
    assert bounds(body_of(formula)) == pytest.approx(FORMULAS[formula])


def test_reductions() -> None:
    assert bounds(body_of("mean((z[n,i] - 1)**2, i)", (3,))) == (0, INF)
    assert bounds(body_of("sum(tanh(z[n,i]), i)", (3,))) == (-3, 3)
    assert bounds(body_of("max(exp(z[n,i]), i)", (3,)))[0] == 0
    assert bounds(body_of("exp(z[n,0])/sum(exp(z[n,i]), i)", (3,))) == (0, 1)
    assert bounds(body_of("z[n,0]/sum(z[n,i], i)", (3,))) == EVERYTHING


def test_what_is_known_of_a_tensor_is_used() -> None:
    assert bounds(body_of("1/(z[n] + 0.5)"), lambda _: (0.0, 1.5)) == pytest.approx((0.5, 2.0))
    assert np.isinf(bounds(body_of("1/z[n]"), lambda _: (0.0, 1.0))[1])


@pytest.mark.parametrize(
    ("formula", "degree"),
    [("2*z[n] + 1", 1), ("z[n]*z[n]", 2), ("z[n]**3 - z[n]", 3), ("tanh(z[n]**3)", 0), ("exp(z[n])", INF), ("1/z[n]", INF),
     ("z[n]/(1 + z[n])", 1.5)],
)  # fmt: skip
def test_growth(formula: str, degree: float) -> None:
    assert growth(body_of(formula)) == degree
