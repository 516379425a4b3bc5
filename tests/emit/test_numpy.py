"""Generated NumPy computes what the program says, stays in its element type, and can be read."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from bpcompile.emit.numpy_module import emit_numpy
from bpcompile.emit.numpy_names import Names
from bpcompile.nodes.expressions import ARITY, UNARY_FUNCTIONS, Axis, Expr, axis, const, load, node, size
from bpcompile.nodes.statements import Program, Statement, Tensor, TimeLoop
from bpcompile.program.passes import improve
from tests.program import networks
from tests.program.interpret import random_inputs, run_program

N, I, J, T = Axis("n", None), Axis("i", 4), Axis("j", 3), Axis("t", 5)  # noqa: E741
X = Tensor("x", (None, 4), "input")
W = Tensor("W", (3, 4), "parameter")


def functions(text: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(text, "<generated>", "exec"), namespace)
    return namespace


def run(program: Program, arrays: dict[str, Any], dtype: str = "float64", training: bool = True) -> dict[str, Any]:
    """What `value_and_grad` of the generated module computes, by tensor name."""
    roles = {"input": "data", "target": "data", "parameter": "params", "state": "state"}
    given: dict[str, dict[str, Any]] = {"data": {}, "params": {}, "state": {}}
    for t in program.tensors.values():
        if t.role in roles:
            kind = np.int32 if t.kind == "int" else np.dtype(dtype)
            given[roles[t.role]][t.name] = arrays[t.name].astype(kind)
    module = functions(emit_numpy(None, program, dtype=dtype))
    loss, gradients, states = module["value_and_grad"](**given, training=training)
    names = {(t.role, t.of): t.name for t in program.tensors.values()}
    found = {names["gradient", of]: v for of, v in gradients.items()}
    found |= {names["next_state", of]: v for of, v in states.items()}
    loss_name = [t.name for t in program.tensors.values() if t.role == "loss"]
    return {**found, **({loss_name[0]: loss} if loss_name else {})}


@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("name", networks.ALL)
def test_networks_match_the_interpreter(name: str, improved: bool) -> None:
    program = networks.ALL[name]()
    arrays = random_inputs(program, 3)
    expected = run_program(program, arrays, 3)
    got = run(improve(program) if improved else program, arrays)
    assert len(got) > 1
    for tensor, value in got.items():
        assert np.isfinite(expected[tensor]).all()
        np.testing.assert_allclose(value, expected[tensor], rtol=1e-9, atol=1e-12, err_msg=tensor)


@pytest.mark.parametrize("name", networks.ALL)
def test_float32_stays_float32(name: str) -> None:
    program = networks.ALL[name]()
    for tensor, value in run(program, random_inputs(program, 2), "float32").items():
        assert value.dtype == np.float32, tensor


def one(statement: Statement, *tensors: Tensor) -> Program:
    """A program of one statement, whose target is taken for a gradient so that it is given back."""
    shape = tuple(a.extent for a in statement.axes) if statement.plain else None
    known = {t.name: t for t in (X, W, *tensors)}
    if statement.target not in known:
        assert shape is not None
        known[statement.target] = Tensor(statement.target, shape, "gradient", of="x")
    return Program("one", known, (statement,), (statement.target,))


def check(program: Program, n: int = 3, seed: int = 0) -> None:
    arrays = random_inputs(program, n, seed)
    expected = run_program(program, arrays, n)
    for tensor, value in run(program, arrays).items():
        np.testing.assert_allclose(value, expected[tensor], rtol=1e-10, atol=1e-13, err_msg=str(program))


def plain(axes: tuple[Axis, ...], body: Expr, reduce: str | None = None, over: tuple[Axis, ...] = ()) -> Program:
    return one(Statement("g", tuple(axis(a) for a in axes), axes, body, reduce, over))


x_ni, w_ji = load("x", (axis(N), axis(I))), load("W", (axis(J), axis(I)))


@pytest.mark.parametrize("order", list(itertools.permutations((N, J))))
@pytest.mark.parametrize("over", [(I,), (I, N)[:1]])
def test_products_in_any_order(order: tuple[Axis, ...], over: tuple[Axis, ...]) -> None:
    check(plain(order, node("mul", (w_ji, x_ni)), "sum", over))


@pytest.mark.parametrize("kind", ["sum", "max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("axes", [(N,), (I,), (J, N), (N, J)])
def test_reductions_where_the_body_lacks_axes(kind: str, axes: tuple[Axis, ...]) -> None:
    over = tuple(a for a in (N, I, J) if a not in axes)
    for body in (x_ni, w_ji, node("mul", (x_ni, w_ji)), node("exp", (load("W", (const(1), axis(I))),)), const(2.5)):
        program = plain(axes, body, kind, over)
        check(program)


def test_argmax_gives_the_first_and_nan_wins() -> None:
    program = plain((N,), x_ni, "argmax", (I,))
    arrays = {"x": np.array([[1.0, 3, 3, 0], [0, np.nan, 9, np.nan]]), "W": np.zeros((3, 4))}
    np.testing.assert_array_equal(run(program, arrays)["g"], [1, 1])
    np.testing.assert_array_equal(np.isnan(run(plain((N,), x_ni, "max", (I,)), arrays)["g"]), [False, True])


def test_subscripts_slices_flips_steps_and_windows() -> None:
    half = Axis("h", 2)
    flipped = load("x", (axis(N), node("sub", (const(3), axis(I)))))
    stepped = load("x", (axis(N), node("add", (node("mul", (const(2), axis(half))), const(1)))))
    diagonal = load("W", (axis(J), axis(J)))
    check(plain((N, I), flipped))
    check(plain((N, half), stepped))
    check(plain((J,), diagonal))
    check(plain((half, N), stepped))
    inside = node("and", (node("le", (const(0), node("sub", (axis(I), axis(J))))), node("lt", (axis(I), const(9)))))
    window = load("x", (axis(N), node("sub", (axis(I), axis(J)))))
    check(plain((N, I), node("mul", (node("where", (inside, window, const(0.0))), load("W", (axis(J), axis(I))))), "sum", (J,)))


def test_a_guarded_label_outside_reads_nothing() -> None:
    label = Tensor("y", (None,), "target", "int", classes=4)
    y = load("y", (axis(N),), "int")
    masked = node("where", (node("eq", (y, const(-100))), const(0.0), load("x", (axis(N), y))))
    program = one(Statement("g", (axis(N),), (N,), masked), label)
    arrays = {"x": np.arange(8.0).reshape(2, 4), "W": np.zeros((3, 4)), "y": np.array([-100, 2])}
    np.testing.assert_array_equal(run(program, arrays)["g"], [0.0, 6.0])


def test_scatters_add_up() -> None:
    label = Tensor("y", (None,), "target", "int", classes=3)
    y = load("y", (axis(N),), "int")
    gradient = Tensor("g", (3, 4), "gradient", of="W")
    program = one(Statement("g", (y, axis(I)), (N, I), x_ni, accumulate=True), label, gradient)
    check(program, n=7)
    shifted = Tensor("g", (None, 7), "gradient", of="x")
    place = node("add", (axis(I), axis(J)))
    check(one(Statement("g", (axis(N), place), (N, I, J), node("mul", (x_ni, w_ji)), accumulate=True), shifted))


def test_accumulation_over_unseen_axes_is_a_sum() -> None:
    bias = Tensor("g", (4,), "gradient", of="x")
    for reduce, over in ((None, ()), ("max", (J,)), ("sum", (J,))):
        body = node("mul", (x_ni, w_ji)) if over else x_ni
        check(one(Statement("g", (axis(I),), (N, I), body, reduce, over, accumulate=True), bias))


@pytest.mark.parametrize("reverse", [False, True])
def test_time_loops(reverse: bool) -> None:
    s = Tensor("s", (None, 5, 4), "input")
    other = node("add" if reverse else "sub", (axis(T), const(1)))
    inside = node("lt", (other, const(5))) if reverse else node("le", (const(0), other))
    before = node("where", (inside, load("g", (axis(N), other, axis(I))), const(0.0)))
    body = node("tanh", (node("add", (load("s", (axis(N), axis(T), axis(I))), before)),))
    step = Statement("g", (axis(N), axis(T), axis(I)), (N, T, I), body)
    tensors = {"s": s, "g": Tensor("g", (None, 5, 4), "gradient", of="s")}
    check(Program("loop", tensors, (TimeLoop(T, reverse, (step,)),), ("g",)))


@pytest.mark.parametrize("op", sorted(ARITY))
def test_every_operation(op: str) -> None:
    if op in ("and", "or", "not", "where"):
        truth = node("lt", (x_ni, const(0.1)))
        other = node("le", (const(-0.3), x_ni))
        condition = truth if op == "where" else node(op, (truth, other)[: ARITY[op]])
        body = node("where", (condition, x_ni, const(7.0)))
    elif op in ("lt", "le", "eq", "ne"):
        body = node("where", (node(op, (x_ni, const(0.0))), const(1), const(0)))
    elif op in ("gamma", "lgamma", "digamma", "trigamma", "log", "log2", "log10", "sqrt", "acosh", "pow"):
        positive = node("add", (node("abs", (x_ni,)), const(1.25)))
        body = node(op, (positive, load("x", (axis(N), const(0))))[: ARITY[op]])
    elif op in ("asin", "acos", "atanh", "log1p"):
        body = node(op, (node("tanh", (x_ni,)),))
    else:
        body = node(op, (x_ni, const(0.7))[: ARITY[op]])
    check(plain((N, I), body))


def test_python_numbers_never_raise_and_never_widen() -> None:
    zero = node("sub", (size(N), size(N)))
    quotient = node("div", (const(1), zero))
    scaled = node("mul", (x_ni, node("sqrt", (const(2),))))
    program = plain((N, I), node("where", (node("lt", (const(0), zero)), quotient, scaled)))
    arrays = random_inputs(program, 2)
    value = run(program, arrays, "float32")["g"]
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, arrays["x"] * np.sqrt(2), rtol=1e-6)


def test_shared_parts_are_written_once() -> None:
    body: Expr = x_ni
    for _ in range(60):  # as a tree this has 2**60 leaves
        body = node("sin", (node("mul", (body, body)),))
    program = plain((N, I), body)
    assert len(emit_numpy(None, program).splitlines()) < 400
    arrays = random_inputs(program, 2)
    expected = arrays["x"]
    for _ in range(60):
        expected = np.sin(expected * expected)
    np.testing.assert_allclose(run(program, arrays)["g"], expected, rtol=1e-12)


def test_text_is_readable_and_the_same_each_time() -> None:
    program = networks.dense()
    text = emit_numpy(None, improve(program))
    assert text == emit_numpy(None, improve(program))
    assert "s1 = x @ W1.T" in text and "W1_bar = z1_bar.T @ x" in text and "b1_bar = z1_bar.sum(axis=0)" in text
    assert "# s1[n, j] = sum(W1[j, i]*x[n, i], i)" in text


def test_names_are_valid_and_distinct() -> None:
    names = Names()
    given = ["np", "lambda", "a.b", "a_b", "n", "match", "1x", "é", "x", "real", "exp(x)", "gamma"]
    found = [names.of(name) for name in given]
    assert all(name.isidentifier() and name.isascii() for name in found) and len(set(found)) == len(found)
    assert "np" not in found and "lambda" not in found and names.of("a.b") == found[2]


@pytest.mark.parametrize("name", ["erf", "erfc", "lgamma", "gamma", "digamma", "trigamma", "sigmoid", "softplus"])
def test_runtime_functions_over_their_range(name: str) -> None:
    from mpmath import mp

    from bpcompile.emit import numpy_runtime

    exact = {
        "erf": mp.erf, "erfc": mp.erfc, "gamma": mp.gamma, "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
        "digamma": mp.digamma, "trigamma": lambda x: mp.psi(1, x), "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
        "softplus": lambda x: mp.log1p(mp.exp(x)),
    }[name]  # fmt: skip
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-8, 25, 120), rng.normal(size=40) * 1e-3, [0.999999, 1.0000001, 2.0000001, 26.0]])
    function = getattr(numpy_runtime, name)
    with mp.workdps(40):
        for point, value in zip(points, function(points), strict=True):
            true = exact(mp.mpf(float(point)))
            assert abs(value - true) <= 2e-14 * max(abs(true), mp.mpf(1e-300), 1 if name == "digamma" else 0), point
    assert np.isnan(function(np.array([np.nan])))[0]
    assert function(np.float32(0.5)).dtype == np.float32
    assert set(numpy_runtime.__dict__) >= set(UNARY_FUNCTIONS) & {name}
