"""`check_stability`: what it finds, what it names, what it leaves alone; the library's own formulas over the whole range."""

from __future__ import annotations

import numpy as np
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


def test_a_quotient_that_overflows() -> None:
    report = check_stability("x/sqrt(x*x*y*y + 1)")
    assert not report.passed and any("overflows" in h for h in report.hints)
    row = next(r for r in report.rows if r.quantity == "f" and r.problem == "underflow")
    assert row.computed == 0.0 and float(row.exact) != 0 and "exactly" in str(report)


@pytest.mark.parametrize(
    ("formula", "rule"),
    [
        ("sqrt(x*x + y*y)", "norm"), ("1 - cos(z)", "one minus cos"), ("log(1 - exp(-z))", "log one minus exp"),
        ("sqrt(1 + z**2) - 1", "root minus one"), ("log(exp(a) + exp(b))", "log-sum-exp"), ("log(1 + z**2)", "log of one and a square"),
        ("y*log(p)", "zero times log"), ("z**2*exp(-z)", "vanishing factor"), ("exp(-exp(z))", ""), ("tanh(z**3)", ""),
        ("exp(-1/z)", ""), ("z*(1 + tanh(sqrt(2/pi)*(z + 0.044715*z**3)))/2", "sigmoid of tanh"),
        ("log((1 + z)/(1 - z))", "artanh"), ("log(z + sqrt(z**2 + 1))", "arsinh"), ("(exp(z) - exp(-z))/2", "sinh"),
    ],
)  # fmt: skip
def test_formulas_that_once_failed(formula: str, rule: str) -> None:
    report = check_stability(formula)
    assert report.passed, str(report)
    assert not rule or any(a.startswith(f"{rule}:") for a in report.applied)


def test_cancellation_is_found() -> None:
    report = check_stability("(1 - cos(z))/z**2")
    assert any(r.problem in ("cancellation", "underflow", "NaN") for r in report.rows)
    assert any("0/0" in h for h in report.hints) and not any("2*sin" in h for h in report.hints)


def test_ranges_are_stated() -> None:
    formula = "w/sqrt(v + 1e-5)"
    assert not check_stability(formula).passed
    report = check_stability(formula, ranges=["v=0:inf", "w=-1:1"])
    assert report.passed and "v in [0, inf]" in str(report)
    for wrong in (["v"], ["v=1:0"], ["v=a:b"], {"v": 3}, ["q=0:1"]):
        with pytest.raises(BPCompileError):
            check_stability(formula, ranges=wrong)


@pytest.mark.parametrize("formula", ["log(sum(exp(z[i]), i))", "exp(z[i])/sum(exp(z[j]), j)"])
def test_reductions_that_hold(formula: str) -> None:
    report = check_stability(formula)
    assert report.passed and report.points, str(report)


def test_reductions_that_overflow() -> None:
    report = check_stability("log(sum(exp(z[i]), i) + 1)")
    assert not report.passed and any("exp overflows" in h for h in report.hints)
    row = next(r for r in report.rows if r.problem == "overflow")
    assert row.quantity == "f" and set(row.at) == {"z[0]", "z[1]", "z[2]"} and float(row.exact) < 1e38
    assert check_stability("log(sum(exp(z[i]), i) + 1)", ranges=["z=-80:80"]).passed


def test_losses_of_a_network_are_looked_at() -> None:
    z = bp.Dense(3, name="a")(bp.Input("x", (4,)))
    report = check_stability(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, bp.Target("y", classes=3))))
    assert report.passed and any("log(sum(exp" in f for f in report.formulas)


def test_where_there_is_no_derivative_nothing_fails() -> None:
    report = check_stability("sqrt(abs(z))")
    assert report.passed and [r.problem for r in report.rows] == ["undefined"]


def test_a_network_is_taken_equation_by_equation() -> None:
    layer = bp.Layer(["a[n,i] = exp(x[n,i]) - exp(W[i])", "l[n] = sum(a[n,i], i)"], inputs=("x",), output="l",
                     parameters={"W": ("i",)}, name="norm")  # fmt: skip
    report = check_stability(bp.Network(None, loss=layer(bp.Input("x", (3,)))))
    assert report.formulas == ("exp(x) - exp(W)",) and not report.passed
    assert report.to_dict()["passed"] is False


def test_the_equations_tell_what_is_never_negative() -> None:
    z = bp.BatchNormalization(name="norm")(bp.Dense(3, name="a")(bp.Input("x", (4,))))
    report = check_stability(bp.Network(z, loss=bp.MeanSquaredError(z, bp.Target("y", (3,)))))
    assert report.passed, str(report)
    assert any(v == "variance" and low == 0 for (_, v), (low, _) in report.ranges.items())


@pytest.mark.parametrize("formula", ["1 + 2", "a + b + c + d", "sqrt(", "foo(z)", "__import__('os')"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(BPCompileError):
        check_stability(formula)


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_rows_that_are_infinite_or_excluded(backend: str) -> None:
    """What docs/numerics.md promises: -inf and a derivative that is 0/0; the gradient 0 for what a condition excludes."""
    x, c = bp.Input("x", (3,)), bp.Input("c", (3,))

    def found(equation: str, value: float) -> tuple[float, np.ndarray]:
        layer = bp.Layer([equation], inputs=("x", "c"), output="l", name="row")(x, c)
        model = bp.compile(bp.Network(None, loss=layer), backend=backend, wrt=("x",))
        with np.errstate(all="ignore"):
            loss, grads = model.value_and_grad(model.init(), x=np.full((1, 3), value), c=np.zeros((1, 3)))
        return loss, grads["x"]

    loss, gradient = found("l[n] = log(sum(exp(x[n,i]), i)) + c[n,0]", -np.inf)
    assert loss == -np.inf
    assert np.isnan(gradient).all()
    loss, gradient = found("l[n] = log(sum(where(c[n,i] > 0, exp(x[n,i]), 0), i))", 1.0)
    assert loss == -np.inf
    assert not gradient.any()


def test_the_norm_over_an_axis_is_named_where_it_overflows() -> None:
    report = check_stability("sqrt(sum(x[n,i]**2, i))")
    assert {row.problem for row in report.rows} == {"overflow"}
    assert all(max(abs(v) for v in row.at.values()) > 1.8e19 for row in report.rows)
