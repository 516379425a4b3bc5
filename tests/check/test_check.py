"""The gradient check passes where gradients are right, and goes red for each thing that is broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile import check as check_module
from bpcompile.check import check_gradients
from bpcompile.check_numeric import extrapolated, gap_of_sides, one_sided, quick, rounding_noise
from bpcompile.check_plan import Plan, plan
from bpcompile.emit import numpy_module
from bpcompile.model_numpy import NumpyBackend
from bpcompile.program import schedule
from tests.model.networks import classifier, examples, regression, with_state


def test_right_gradients_pass_on_both_backends() -> None:
    report = check_gradients(classifier(), **examples())
    assert report.passed and report.worst < 1e-7
    assert {(r.name, r.backend) for r in report.rows} == {
        (name, b) for name in ("hidden.W", "hidden.b", "output.W", "output.b", "x") for b in ("c", "numpy")
    }
    assert all(r.verdict == "ok" and r.magnitude > 1e-3 for r in report.rows)
    assert [r.checked for r in report.rows if r.backend == "c"] == [20, 4, 12, 3, 30]
    assert "passed: worst relative error" in str(report) and "hidden.W" in str(report)
    data = json.loads(report.to_json())
    assert data["passed"] is True and data["worst"] == report.worst and len(data["rows"]) == 10


def test_nothing_is_changed_that_the_caller_owns() -> None:
    model = bp.compile(classifier(), backend="numpy")
    params, data = model.init(), {k: v.astype(float) for k, v in examples().items()}
    copies = {k: v.copy() for k, v in data.items()}, params.flat.copy()
    assert check_gradients(classifier(), params, backend="numpy", **data).passed
    np.testing.assert_array_equal(params.flat, copies[1])
    for name in data:
        np.testing.assert_array_equal(data[name], copies[0][name])


def test_states_and_draws_are_the_same_in_every_evaluation() -> None:
    report = check_gradients(with_state(), backend="numpy", key=5)
    assert report.passed, str(report)


def test_a_model_of_the_users_is_checked_in_its_own_precision() -> None:
    model = bp.compile(classifier(), dtype="float32")
    report = check_gradients(classifier(), model=model, **examples())
    assert report.passed
    mine = [r for r in report.rows if r.backend == "c float32"]
    assert len(mine) == 4 and all(1e-9 < r.error < 1e-3 for r in mine)


def test_what_is_read_before_it_is_written_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first call finds zeros where a later one finds what was left: both have to give the same."""
    token = bp.Input("token", (), classes=40)
    equations = ["e[n,d] = E[token[n],d]", "l[n] = sum(e[n,d]**3*(d + 1), d)"]
    layer = bp.Layer(equations, parameters={"E": ("v", "d")}, sizes={"v": 40, "d": 2}, inputs=("token",), output="l", name="net")
    net = bp.Network(None, loss=layer(token))
    assert check_gradients(net).stale == ()
    monkeypatch.setattr(schedule, "_with_clears", lambda program, steps: steps)
    report = check_gradients(net)
    assert all(r.passed for r in report.rows)
    assert report.stale == ("net.E (c)",)
    assert not report.passed
    assert "net.E (c): something is read before it is written" in str(report)
    assert json.loads(report.to_json())["stale"] == ["net.E (c)"]


def test_large_tensors_are_sampled_and_crossed_by_a_random_direction() -> None:
    x, y = bp.Input("x", (40,)), bp.Target("y", (50,))
    z = bp.Dense(50, name="d")(x)
    report = check_gradients(bp.Network(z, loss=bp.MeanSquaredError(z, y)), backend="numpy", samples=7)
    assert report.passed
    assert {r.name: r.checked for r in report.rows} == {"d.W": 8, "d.b": 8, "x": 8}


def test_an_expensive_loss_is_checked_with_fewer_elements_and_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = bp.Input("x", (40,)), bp.Target("y", (50,))
    net = bp.Network(z := bp.Dense(50, name="d")(x), loss=bp.MeanSquaredError(z, y))
    data = {"x": np.random.default_rng(0).normal(size=(16, 40)), "y": np.zeros((16, 50))}
    slow = {"seconds": 0.0}
    monkeypatch.setattr(check_module, "shortest", lambda _call: slow["seconds"])
    plenty = check_gradients(net, backend="numpy", **data)
    assert plenty.examples == 16 and [r.checked for r in plenty.rows] == [65, 50, 65]
    slow["seconds"] = 0.5
    few = check_gradients(net, backend="numpy", seconds=30, **data)
    assert few.passed and few.worst < 1e-6 and few.budget == 30
    assert few.examples == 2 and [r.checked for r in few.rows] == [2, 2, 2]
    assert all(r.magnitude > 1e-4 for r in few.rows)
    right = NumpyBackend.value_and_grad

    def wrong(self: NumpyBackend, *arguments: Any) -> Any:
        loss, grads = right(self, *arguments)
        grads["d.W"][3, 7] *= 1.01
        return loss, grads

    monkeypatch.setattr(NumpyBackend, "value_and_grad", wrong)
    assert [r.name for r in check_gradients(net, backend="numpy", seconds=30, **data).rows if not r.passed] == ["d.W"]


@pytest.mark.parametrize(
    ("sizes", "each", "expected"),
    [
        ([10, 20], 1e-6, Plan(True, None, 0)),
        ([10, 20], 0.03, Plan(False, None, 0)),
        ([10_000, 20], 1e-3, Plan(True, 64, 1)),
        ([10_000, 20], 8e-3, Plan(False, 64, 1)),
        ([10_000, 20], 0.1, Plan(False, 4, 2)),
        ([10_000, 20], 10.0, Plan(False, 0, 1)),
    ],
)
def test_the_plan_gives_up_care_then_elements_but_never_a_tensor(sizes: list[int], each: float, expected: Plan) -> None:
    assert plan(sizes, each, 10.0, 64) == expected


@pytest.mark.parametrize(
    ("f", "slope"), [(lambda h: np.exp(0.3 + h), np.exp(0.3)), (lambda h: 1e3 * np.sin(h), 1e3), (lambda h: (2 + h) ** 4, 32.0)]
)
def test_two_central_differences_are_right_where_the_function_is_smooth(f: Any, slope: float) -> None:
    estimate = quick(f, 1.0, rounding_noise(f(0.0)))
    assert abs(estimate.value - slope) <= estimate.uncertainty <= 1e-6 * slope


def test_two_central_differences_do_not_hide_a_kink() -> None:
    assert quick(lambda h: max(0.0, h), 1.0, 1e-15).uncertainty == float("inf")


Break = Callable[[dict[str, Any]], None]


def _sign(g: dict[str, Any]) -> None:
    g["hidden.W"][1, 1] *= -1


def _factor(g: dict[str, Any]) -> None:
    g["output.b"][...] *= 2


def _small_factor(g: dict[str, Any]) -> None:
    g["hidden.W"][...] *= 1 + 1e-4


def _dropped(g: dict[str, Any]) -> None:
    g["hidden.b"][...] = 0


def _transposed(g: dict[str, Any]) -> None:
    g["hidden.W"][...] = g["hidden.W"].T


def _neighbour(g: dict[str, Any]) -> None:
    g["output.W"][...] = np.roll(g["output.W"], 1, axis=1)


def _input(g: dict[str, Any]) -> None:
    g["x"][0, 0] += 1e-6


def _nan(g: dict[str, Any]) -> None:
    g["output.W"][0, 0] = np.nan


@pytest.mark.parametrize("broken", [_sign, _factor, _small_factor, _dropped, _transposed, _neighbour, _input, _nan])
def test_a_broken_gradient_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    right = NumpyBackend.value_and_grad

    def wrong(self: NumpyBackend, *arguments: Any) -> Any:
        loss, grads = right(self, *arguments)
        broken(grads)  # type: ignore[arg-type]
        return loss, grads

    monkeypatch.setattr(NumpyBackend, "value_and_grad", wrong)
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(3, 2)), "y": rng.normal(size=(3, 2))}
    report = check_gradients(regression(), backend="numpy", **data)
    assert not report.passed
    assert sum(not r.passed for r in report.rows) == 1
    assert "FAILED" in str(report) and "generated" in str(report)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("= output_z_bar @ ", "= 2 * output_z_bar @ "),
        ("hidden_a * hidden_a", "hidden_a"),
        (".sum(axis=0)", ".mean(axis=0)"),
        ("(1 - hidden_a", "(1 + hidden_a"),
        ("hidden_z_bar.T @ x", "output_z_bar.T[[0, 1, 2, 0]] @ x"),
    ],
)
def test_a_broken_emitter_is_found(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    emit = numpy_module.emit_numpy

    def mutated(*arguments: Any) -> str:
        text = emit(*arguments)
        head, backward = text.split("# --- backward", 1)
        assert right in backward
        return head + "# --- backward" + backward.replace(right, wrong, 1)

    monkeypatch.setattr("bpcompile.driver.emit_numpy", mutated)
    assert not check_gradients(classifier(), backend="numpy", **examples()).passed


def test_a_wrong_forward_pass_shows_as_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    emit = numpy_module.emit_numpy
    monkeypatch.setattr("bpcompile.driver.emit_numpy", lambda *a: emit(*a).replace("np.tanh(", "1.01*np.tanh("))
    report = check_gradients(classifier(), **examples())
    assert not report.passed and not report.losses_agree
    assert "the backends disagree about the loss" in str(report)


def test_kinks_are_reported_apart_and_zero_proves_nothing() -> None:
    x, y = bp.Input("x", (3,)), bp.Target("y", (2,))
    z = bp.Dense(2, activation="relu", name="d")(x)
    net = bp.Network(z, loss=bp.MeanAbsoluteError(z, y))
    zeros = {"d.W": np.zeros((2, 3)), "d.b": np.zeros(2)}
    report = check_gradients(net, zeros, backend="numpy")
    rows = {r.name: r for r in report.rows}
    assert rows["d.W"].kinks == 6 and rows["d.b"].kinks == 2 and rows["d.W"].passed
    assert not report.passed  # nothing but zeros was compared
    assert "proves nothing" in str(report)
    assert check_gradients(net, backend="numpy").passed


def test_a_gradient_outside_the_two_sides_of_a_kink_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    x = bp.Input("x", (1,))
    layer = bp.Layer(["l[n] = abs(w*x[n,0])"], parameters={"w": ()}, inputs=("x",), output="l", name="k")
    loss = layer(x)
    net = bp.Network(loss, loss=loss)
    ones = np.ones((1, 1))
    assert check_gradients(net, {"k.w": 0.0}, backend="numpy", x=ones).rows[0].kinks == 1
    right = check_module._gradients

    def wrong(*arguments: Any) -> Any:
        value, grads = right(*arguments)
        grads["k.w"][...] = 1.5
        return value, grads

    monkeypatch.setattr(check_module, "_gradients", wrong)
    assert check_gradients(net, {"k.w": 0.0}, backend="numpy", x=ones).rows[0].verdict == "wrong"


def test_bad_input_to_the_check() -> None:
    x = bp.Input("x", (2,))
    with pytest.raises(bp.CheckError, match="no loss"):
        check_gradients(bp.Network(bp.Dense(1)(x)))
    with pytest.raises(bp.ArrayError, match="no input or target 'z'"):
        check_gradients(classifier(), z=1)
    with pytest.raises(bp.ArrayError, match=r"'x' must have shape"):
        check_gradients(classifier(), x=np.zeros((2, 2)))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_differences_are_accurate_over_scales(scale: float) -> None:
    for f, slope in ((np.sin, 1.0), (lambda t: np.exp(3 * t), 3.0), (lambda t: 1 / (2 - t), 0.25)):
        estimate = extrapolated(lambda t, f=f: float(f(t * scale)), 1e-2 / scale, 4e-16)
        assert estimate.value == pytest.approx(slope * scale, rel=1e-9)
        assert abs(estimate.value - slope * scale) <= 10 * estimate.uncertainty


def test_kinks_and_jumps_are_told_from_smooth_curves() -> None:
    assert one_sided(abs, 1.0, 1e-16).kink
    assert one_sided(lambda t: max(t, 0.0), 1.0, 1e-16).kink
    assert one_sided(lambda t: float(t > 0), 1.0, 1e-16).kink
    assert not one_sided(lambda t: float(np.sin(t) + 50 * t * t), 1.0, 1e-16).kink
    assert gap_of_sides(abs, 1.0, 1e-16) == pytest.approx(2)
    assert gap_of_sides(np.sin, 1.0, 1e-16) < 1e-9
