"""Stable forms: recognized in formulas and across layers, right over the whole range in value and derivative."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from bpcompile.calculus.gradient import analyze, training
from bpcompile.calculus.record import Rewriting
from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.value import Input, Target
from tests.calculus.harness import network
from tests.program.interpret import run_program

mpmath.mp.prec = 4000

FORMULAS = {
    "log(1 + exp(z[n]))": ("softplus", lambda z: mpmath.log(1 + mpmath.exp(z))),
    "log(exp(z[n]) + 1)": ("softplus", lambda z: mpmath.log(1 + mpmath.exp(z))),
    "1/(1 + exp(-z[n]))": ("sigmoid", lambda z: 1 / (1 + mpmath.exp(-z))),
    "exp(z[n])/(1 + exp(z[n]))": ("sigmoid of exp", lambda z: 1 / (1 + mpmath.exp(-z))),
    "log(1/(1 + exp(-z[n])))": ("log sigmoid", lambda z: -mpmath.log(1 + mpmath.exp(-z))),
    "log(1 - 1/(1 + exp(-z[n])))": ("log one minus sigmoid", lambda z: -mpmath.log(1 + mpmath.exp(z))),
    "(exp(z[n]) - exp(-z[n]))/(exp(z[n]) + exp(-z[n]))": ("tanh", mpmath.tanh),
    "(exp(2*z[n]) - 1)/(exp(2*z[n]) + 1)": ("tanh", mpmath.tanh),
    "log(cosh(z[n]))": ("log cosh", lambda z: mpmath.log(mpmath.cosh(z))),
    "log(exp(z[n]))": ("log of exp", lambda z: z),
    "log(1 + z[n]*z[n])": ("log of one and a square", lambda z: mpmath.log(1 + mpmath.mpf(z) ** 2)),
    "z[n]/(1 + exp(-z[n]))": ("sigmoid", lambda z: z / (1 + mpmath.exp(-z))),
}


@pytest.mark.parametrize("formula", list(FORMULAS))
def test_value_and_derivative_over_the_whole_range(formula: str) -> None:
    rule, exact = FORMULAS[formula]
    net = network([f"f[n] = {formula}", "l = sum(f[n], n)"], {"z": ()}, loss="l")
    calculus = analyze(net)
    program = training(calculus, ("z",))
    assert rule in [s.rule for s in calculus.record.steps if isinstance(s, Rewriting)]
    points = [-1e4, -800.0, -90.0, -1.5, -1e-3, -1e-9, 1e-9, 1e-3, 0.7, 20.0, 90.0, 800.0, 1e4]
    values = run_program(program, {"z": np.array(points)}, len(points))
    for k, z in enumerate(points):
        expected = exact(mpmath.mpf(z))
        assert abs(values["net.f"][k] - expected) <= 4e-15 * abs(expected) + 1e-300
        slope = mpmath.diff(exact, mpmath.mpf(z))
        assert abs(values["z.bar"][k] - slope) <= 4e-15 * max(1, abs(slope))


def test_softmax_and_cross_entropy_of_different_layers_cancel() -> None:
    z, y = Input("z", (4,)), Target("y", classes=4)
    p = Layer(["p[n,j] = exp(z[n,j])/sum(exp(z[n,i]), i)"], inputs=("z",), output="p", name="soft")(z)
    loss = Layer(["l[n] = -log(q[n,y[n]])"], inputs=("q", "y"), output="l", name="cost")(p, y)
    program = training(analyze(Network(p, loss=loss)), ("z",))
    last = [str(s) for s in program.statements()][-1]
    assert last == "z.bar[n, i] = 1/size(n)*(soft.p[n, i] - where(i == y[n], 1, 0))"
    logits = np.array([[1e4, 0.0, -1e4, 5.0], [0.0, 0.0, 0.0, 0.0]])
    values = run_program(program, {"z": logits, "y": np.array([1, 2])}, 2)
    assert values["loss"] == pytest.approx((1e4 + np.log(4)) / 2)
    np.testing.assert_allclose(values["z.bar"][0], [0.5, -0.5, 0, 0], atol=1e-16)


def test_binary_cross_entropy_from_a_sigmoid_gives_the_difference() -> None:
    net = network(["a[n,j] = 1/(1 + exp(-z[n,j]))", "l[n] = -sum(y[n,j]*log(a[n,j]) + (1 - y[n,j])*log(1 - a[n,j]), j)"],
                  {"z": (2,), "y": (2,)}, loss="l")  # fmt: skip
    program = training(analyze(net), ("z",))
    assert str(list(program.statements())[-1]) == "z.bar[n, j] = 1/size(n)*(sigmoid(z[n, j]) - y[n, j])"


def test_log_sum_exp_of_infinities() -> None:
    net = network(["l[n] = log(sum(exp(z[n,s]), s))"], {"z": (3,)}, loss="l")  # fmt: skip
    program = training(analyze(net), ("z",))
    values = run_program(program, {"z": np.array([[-np.inf] * 3, [np.inf, 0.0, 1.0]])}, 2)
    assert values["net.l"][0] == -np.inf
    assert values["net.l"][1] == np.inf


def test_what_was_typed_is_what_is_computed() -> None:
    net = network(["f[n] = (1 + z[n]) - 1", "g[n] = (a*z[n])**2 + 0*z[n]", "l = sum(f[n] + g[n], n)"], {"z": ()}, loss="l",
                  parameters={"a": ()})  # fmt: skip
    values = run_program(training(analyze(net)), {"z": np.array([1e-20]), "net.a": np.array(2.0)}, 1)
    assert values["net.f"][0] == 0.0
    values = run_program(training(analyze(net)), {"z": np.array([np.inf]), "net.a": np.array(2.0)}, 1)
    assert np.isnan(values["net.g"][0])


VALUES = [0.0, 1e-30, -1e-30, 1e-8, 0.3, -0.7, 3.0, 1e8, -1e8, 1e30, -1e30, 1e200]


@pytest.mark.parametrize(
    ("formula", "rule", "exact"),
    [
        ("sqrt(z[n]*z[n] + a[n]*a[n])", "norm", lambda z, a: mpmath.sqrt(z * z + a * a)),
        ("log(exp(z[n]) + exp(a[n]))", "log-sum-exp", lambda z, a: mpmath.log(mpmath.exp(z) + mpmath.exp(a))),
        ("exp(z[n])/(exp(z[n]) + exp(a[n]))", "sigmoid of exp", lambda z, a: 1 / (1 + mpmath.exp(a - z))),
    ],
)
def test_two_variables(formula: str, rule: str, exact: object) -> None:
    net = network([f"f[n] = {formula}", "l = sum(f[n], n)"], {"z": (), "a": ()}, loss="l")
    calculus = analyze(net)
    assert rule in [s.rule for s in calculus.record.steps if isinstance(s, Rewriting)]
    pairs = [(z, a) for z in VALUES for a in VALUES[::3] if rule == "norm" or (abs(z) < 1e20 and abs(a) < 1e20)]
    arrays = {"z": np.array([p[0] for p in pairs]), "a": np.array([p[1] for p in pairs])}
    values = run_program(training(calculus, ("z", "a")), arrays, len(pairs))
    for k, (z, a) in enumerate(pairs):
        true = exact(mpmath.mpf(z), mpmath.mpf(a))  # type: ignore[operator]
        assert abs(values["net.f"][k] - true) <= 1e-15 * max(1e-300, abs(true) if rule != "log-sum-exp" else max(1, abs(true)))
        assert np.isfinite(values["z.bar"][k]) and np.isfinite(values["a.bar"][k])
        if rule == "norm":
            assert values["z.bar"][k] == (0 if true == 0 else pytest.approx(float(z / true), rel=1e-14, abs=1e-300))


def test_equal_exponents_share_the_gradient() -> None:
    net = network(["f[n] = log(exp(z[n]) + exp(a[n]))", "l = sum(f[n], n)"], {"z": (), "a": ()}, loss="l")
    values = run_program(training(analyze(net), ("z", "a")), {"z": np.array([2.0, -np.inf]), "a": np.array([2.0, -np.inf])}, 2)
    assert values["z.bar"].tolist() == values["a.bar"].tolist() == [0.5, 0.5] and values["net.f"][1] == -np.inf


def test_variance_does_not_cancel() -> None:
    net = network(["v[n] = mean(x[n,i]**2, i) - mean(x[n,i], i)**2", "l = sum(v[n], n)"], {"x": (3,)}, loss="l")
    calculus = analyze(net)
    assert "variance" in [s.rule for s in calculus.record.steps if isinstance(s, Rewriting)]
    x = np.array([[1e9 + 1, 1e9 + 2, 1e9 + 3]])
    values = run_program(training(calculus, ("x",)), {"x": x}, 1)
    assert values["net.v"][0] == pytest.approx(2 / 3, rel=1e-12)
    np.testing.assert_allclose(values["x.bar"][0], [-2 / 3, 0, 2 / 3], atol=1e-12)


@pytest.mark.parametrize("formula", ["exp(-exp(z[n]))", "tanh(z[n]**3)", "exp(-1/z[n])", "z[n]**2*exp(-z[n])", "1/(1 + z[n]**4)"])
def test_what_has_vanished_times_what_overflows_is_nothing(formula: str) -> None:
    net = network([f"f[n] = {formula}", "l = sum(f[n], n)"], {"z": ()}, loss="l")
    z = np.array([1e-200, 1e3, 1e120, 1e300])
    with np.errstate(all="ignore"):
        values = run_program(training(analyze(net), ("z",)), {"z": z}, len(z))
    assert not np.isnan(values["net.f"]).any() and not np.isnan(values["z.bar"]).any()


def test_comparisons_of_reals_are_not_turned_round() -> None:
    """Both ``z >= 3`` and ``z < 3`` fail at NaN."""
    net = network(["f[n] = where(z[n] >= 3, 1, z[n])", "l = sum(f[n], n)"], {"z": ()}, loss="l")
    assert np.isnan(run_program(training(analyze(net), ("z",)), {"z": np.array([np.nan])}, 1)["net.f"][0])
