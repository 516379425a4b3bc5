"""`check_stability`: what it finds, what it names, what it leaves alone; the library's own formulas over the whole range."""

from __future__ import annotations

import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from bpcompile.stability import check_stability

STABLE = [
    "log(1 + exp(z))",
    "1/(1 + exp(-z))",
    "exp(z)/(1 + exp(z))",
    "log(1 - 1/(1 + exp(-z)))",
    "log(1/(1 + exp(-z)))",
    "log(cosh(z))",
    "(exp(z) - exp(-z))/(exp(z) + exp(-z))",
    "where(z > 0, z, exp(z) - 1)",
    "max(z, 0)",
    "tanh(z)",
    "sigmoid(z)",
    "softplus(z)",
    "exp(z)",
    "expm1(z)",
    "sqrt(abs(z))",
    "sin(z)",
    "cos(z)",
    "atan(z)",
    "erf(z)",
    "z/(1 + abs(z))",
    "abs(z)",
]


@pytest.mark.parametrize("formula", STABLE)
def test_stable_over_the_whole_range(formula: str) -> None:
    report = check_stability(formula)
    assert report.passed, str(report)
    assert report.worst < 2e-4


@pytest.mark.parametrize("formula", STABLE[:8])
def test_stable_in_float64(formula: str) -> None:
    report = check_stability(formula, dtype="float64")
    assert report.passed, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("formula", STABLE)
def test_stable_in_generated_c(formula: str) -> None:
    assert check_stability(formula, backend="c").passed


def test_applied_forms_are_named() -> None:
    assert any(a.startswith("softplus") for a in check_stability("log(1 + exp(z))").applied)


def test_an_unstable_root_of_squares() -> None:
    report = check_stability("sqrt(x*x + y*y)")
    assert not report.passed and any("scale by the larger" in h for h in report.hints)
    problems = {r.problem for r in report.rows if r.quantity == "f"}
    assert {"overflow", "underflow"} <= problems
    row = next(r for r in report.rows if r.quantity == "f" and r.problem == "underflow")
    assert row.computed == 0.0 and float(row.exact) > 0 and "exactly" in str(report)


def test_cancellation_is_found() -> None:
    report = check_stability("(1 - cos(z))/z**2")
    assert any(r.problem in ("cancellation", "underflow", "NaN") for r in report.rows)
    assert any("2*sin(x/2)**2" in h for h in report.hints)


def test_a_network_is_taken_equation_by_equation() -> None:
    layer = bp.Layer(["a[n,i] = sqrt(x[n,i]**2 + W[i]**2)", "l[n] = sum(a[n,i], i)"], inputs=("x",), output="l",
                     parameters={"W": ("i",)}, name="norm")  # fmt: skip
    report = check_stability(bp.Network(None, loss=layer(bp.Input("x", (3,)))))
    assert report.formulas == ("sqrt(x**2 + W**2)",) and not report.passed
    assert report.to_dict()["passed"] is False


@pytest.mark.parametrize("formula", ["1 + 2", "a + b + c + d", "sqrt(", "foo(z)", "__import__('os')"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(BPCompileError):
        check_stability(formula)
