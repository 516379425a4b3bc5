"""Kernels from single statements: every kind of access, reduction and guard, at sizes around the vector widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.nodes.statements import Program, Tensor
from bpcompile.program.schedule import schedule
from tests.emit.c_module import NATIVE, PLAIN, STRICT, Caller
from tests.program.build import Builder
from tests.program.interpret import random_inputs, run_program

AXES = {"n": None, "i": 3, "j": 37, "k": 16, "w": 19, "b": 2, "p": 3}
INPUTS = {"x": (None, 37), "u": (None, 3, 37), "W": (37, 16), "c": (37,), "g": (None, 16), "h": (None, 3, 19, 16),
          "V": (16, 3)}  # fmt: skip
LINES = {
    "elementwise": "y[n,j] = exp(-x[n,j]*x[n,j]) + 0.5",
    "broadcast": "y[n,i,j] = u[n,i,j]*c[j] + x[n,j]",
    "collapsed": "y[n,i,j] = max(u[n,i,j], 0.0)*2",
    "transposed": "y[n,j,i] = u[n,i,j]*2",
    "sum of rows": "y[n] = sum(x[n,j]*x[n,j], j)",
    "sum of columns": "y[j] = sum(x[n,j] + 1, n)",
    "sum of all": "y = sum(u[n,i,j]*u[n,i,j], n, i, j)",
    "sum of planes": "y[i] = sum(u[n,i,j], n, j)",
    "mean": "y[n,i] = mean(u[n,i,j], j)",
    "mean of columns": "y[j] = mean(x[n,j], n)",
    "max of rows": "y[n] = max(x[n,j], j)",
    "max of columns": "y[j] = max(x[n,j], n)",
    "min": "y[n,i] = min(u[n,i,j], j)",
    "heavy sum": "y[n] = sum(exp(x[n,j])/(1 + exp(x[n,j])*exp(-c[j])), j)",
    "index values": "y[n,j] = where(j % 3 == 1, x[n,j]*j, -j//4) + size(n)",
    "index value in a sum": "y[n] = sum(x[n,j]*(j + 1), j)",
    "strided": "y[n,k] = x[n,2*k+1]",
    "reversed": "y[n,k] = x[n,36-2*k]",
    "turned": "y[n,j] = x[n,36-j]*c[j]",
    "turned and padded": "y[n,j] = where(30 - j >= 0, x[n,30-j], 0.5)",
    "integers of a temporary": "f[n,i] = argmax(u[n,i,j], j); y[n,i] = where(f[n,i] == 2*i + 3, u[n,i,f[n,i]], f[n,i])",
    "padded": "y[n,j] = where(0 <= j - 2 and j - 2 < 37, x[n,j-2], 7)",
    "padded by step": "y[n,j] = where(3*j - 5 >= 0 and 3*j - 5 < 16, g[n,3*j-5], 0.0)",
    "padded sum": "y[n,k] = sum(where(0 <= k + p - 1 and k + p - 1 < 16, g[n,k+p-1], 0.0)*V[k,p], p)",
    "divided": "y[n,j] = g[n,j//3]*c[j]",
    "repeated": "y[n,j] = g[n,j//4]*c[j]",
    "repeated in rows": "y[n,i,j] = u[n,i,j//2] - x[n,j]",
    "spread over neighbours": "z[n,2*k+b] = g[n,k]*c[k]",
    "spread by threes": "z[n,3*i+p] = where(i == p, g[n,i], V[i,1]*p)",
    "put where it was found": "f[n,k] = argmax(h[n,i,w,k], i); z[n,2*k+b] = where(b + 1 == f[n,k], g[n,k], 0)",
    "zero borders": "y[n,w] = where(0 <= w - 2 and w - 2 < 16, g[n,w-2], 0)",
    "zero frame": "y[n,i,w] = where(1 <= i, where(2 <= w, where(w < 18, 2*h[n,i-1,w-2,3], 0), 0), 0)",
    "window": "y[n,i,w] = max(h[n,i,w,k], k)",
    "gather": "y[n,k] = W[t[n],k]",
    "gather by lane": "y[n] = W[t[n],3]*2",
    "gather inside": "y[n,k] = c[r[k]] + g[n,k]",
    "integer values": "y[n,k] = where(t[n] == k, 1, 0) + r[k]*0.5",
    "labels left out": "y[n] = where(t[n] == 4, 0.0, log(abs(x[n,t[n]]) + 1))",
    "branch with NaN": "y[n,j] = where(x[n,j] > 0, log(x[n,j]), 0.25)",
    "powers": "y[n,j] = x[n,j]**2 + x[n,j]**3 + abs(x[n,j])**1.5 + 1/(2 + x[n,j])**2",
    "constants": "y[n,j] = x[n,j]*0.1 + 1e-30 - 12345678.9 + 1/3.0",
    "scatter": "y[t[n],k] += g[n,k]",
    "scatter by lane": "y[r[k]] += g[n,k]*c[3]",
    "spread": "z[n,2*k+1] += g[n,k]",
    "overlapping": "z[n,k+p] += g[n,k]*V[k,p]",
    "accumulated": "y[j] += sum(x[n,j], n)",
}
SHAPES = {"scatter": {"y": (37, 16)}, "scatter by lane": {"y": (37,)}, "spread": {"z": (None, 37)},
          **{key: {"z": (None, 37)} for key in ("spread over neighbours", "spread by threes", "put where it was found")},
          "overlapping": {"z": (None, 18)}}  # fmt: skip
FLAGS = {"native": NATIVE, "plain": (*PLAIN, *STRICT)}


def program_of(lines: str, shapes: dict[str, Any] | None = None, integers: tuple[str, ...] = ()) -> Program:
    b = Builder(AXES, ("t", "r", "f", *integers))
    steps = b.lines("\n".join(lines.split("; ")))
    extra = {name: Tensor(name, shape, "input") for name, shape in INPUTS.items()}
    extra |= {"t": Tensor("t", (None,), "input", "int", classes=37), "r": Tensor("r", (16,), "input", "int", classes=37)}
    extra |= {name: Tensor(name, shape, "output") for name, shape in (shapes or {}).items()}
    last = "z" if lines.startswith("z") else "y"
    return b.program(steps, {**dict.fromkeys(extra, "input"), last: "output"}, **extra)


def run(program: Program, arrays: dict[str, Any], n: int, flags: tuple[str, ...], dtype: str = "float64") -> dict[str, Any]:
    source = emit_module(ModuleSpec("one", "one", dtype, predict=schedule(program)))
    return Caller(source, flags).run("predict", arrays, n)


@pytest.mark.parametrize("target", FLAGS)
@pytest.mark.parametrize("name", LINES)
def test_statement(name: str, target: str) -> None:
    program = program_of(LINES[name], SHAPES.get(name))
    for n in (1, 21):
        arrays = random_inputs(program, n)
        expected = run_program(program, arrays, n)
        got = run(program, arrays, n, FLAGS[target])
        for out in program.outputs:
            np.testing.assert_allclose(got[out], expected[out], rtol=1e-12, atol=1e-12, err_msg=LINES[name])


SPECIAL = ("strided", "turned", "turned and padded", "padded", "padded by step", "integers of a temporary", "heavy sum")


@pytest.mark.parametrize("flags", [("-std=gnu11", "-mavx2", "-mfma"), ("-std=gnu11", "-msse2")], ids=["avx2", "sse2"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_accesses_on_other_targets(dtype: str, flags: tuple[str, ...]) -> None:
    """All in one module: the texts of these accesses differ from target to target."""
    text = "; ".join(LINES[name].replace("y[", f"y{k}[") for k, name in enumerate(SPECIAL))
    b = Builder(AXES, ("t", "r", "f"))
    extra = {name: Tensor(name, shape, "input") for name, shape in INPUTS.items()}
    outputs = {f"y{k}": "output" for k in range(len(SPECIAL))}
    program = b.program(b.lines("\n".join(text.split("; "))), dict.fromkeys(extra, "input") | outputs, **extra)
    arrays = random_inputs(program, 5)
    got = run(program, arrays, 5, flags, dtype)
    expected = run_program(program, arrays, 5)
    for out in outputs:
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        np.testing.assert_allclose(got[out], expected[out], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["heavy sum", "index values", "padded by step", "powers", "constants", "gather"])
def test_single_precision_compiles_without_doubles(name: str) -> None:
    program = program_of(LINES[name], SHAPES.get(name))
    arrays = random_inputs(program, 5)
    expected = run_program(program, arrays, 5)
    got = run(program, arrays, 5, (*PLAIN, *STRICT), "float32")
    for out in program.outputs:
        np.testing.assert_allclose(got[out], expected[out], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("target", FLAGS)
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
@pytest.mark.parametrize("line", ["y[n,i] = {}(u[n,i,j], j)", "y[n,j] = {}(u[n,i,j], i)", "y[n] = {}(u[n,i,j], i, j)"])
def test_first_extreme_element_wins(line: str, kind: str, target: str) -> None:
    program = program_of(line.format(kind), integers=("y",))
    arrays = random_inputs(program, 5)
    u = arrays["u"] = np.round(arrays["u"] * 2)  # many ties
    u[1, 2, 7] = u[1, 2, 9] = np.nan
    u[2] = -np.inf if kind == "argmax" else np.inf
    got = run(program, arrays, 5, FLAGS[target])["y"]
    assert (got == run_program(program, arrays, 5)["y"]).all()


@pytest.mark.parametrize("line", ["y[n] = max(x[n,j], j)", "y[j] = max(x[n,j], n)", "y[n,j] = max(x[n,j], c[j])"])
def test_nan_wins(line: str) -> None:
    program = program_of(line)
    arrays = random_inputs(program, 5)
    arrays["x"][3, 20] = np.nan
    got = run(program, arrays, 5, NATIVE)["y"]
    np.testing.assert_array_equal(got, run_program(program, arrays, 5)["y"])
    assert np.isnan(got).sum() == 1


def test_stores_outside_are_left_out() -> None:
    """A label out of range (an ignored one) neither reads nor writes memory that is not the tensor's."""
    program = program_of("y[t[n],k] += where(t[n] < 0, 0.0, W[t[n],k])", {"y": (37, 16)})
    arrays = random_inputs(program, 4)
    arrays["t"][:] = [3, -100, 3, 10**6]
    got = run(program, arrays, 4, NATIVE)["y"]
    assert set(np.flatnonzero(np.abs(got).sum(1))) == {3}
    np.testing.assert_allclose(got[3], 2 * arrays["W"][3])


@pytest.mark.parametrize("target", FLAGS)
def test_stores_to_every_second_element(target: str) -> None:
    program = program_of("z[n,2*k+1] = g[n,k]*2; z[n,2*w] = x[n,w]", {"z": (None, 38)})
    arrays = random_inputs(program, 5)
    got = run(program, arrays, 5, FLAGS[target], "float32")["z"]
    np.testing.assert_allclose(got[:, 1:32:2], arrays["g"] * 2, rtol=1e-6)
    np.testing.assert_allclose(got[:, ::2], arrays["x"][:, :19], rtol=1e-6)


def test_rows_share_one_nest_with_local_buffers() -> None:
    program = program_of("""a[n,j] = x[n,j]*c[j]
        m[n] = max(a[n,j], j)
        e[n,j] = exp(a[n,j] - m[n])
        s[n] = sum(e[n,j], j)
        y[n,j] = e[n,j]/s[n]""")
    scheduled = schedule(program)
    assert len(scheduled.steps) == 1
    for target in FLAGS.values():
        arrays = random_inputs(program, 3)
        got = run(program, arrays, 3, target)["y"]
        np.testing.assert_allclose(got, run_program(program, arrays, 3)["y"], rtol=1e-13)


def test_text_does_not_grow_with_extents() -> None:
    lengths = []
    for extent in (40, 400):
        b = Builder({"n": None, "j": extent})
        steps = b.lines("y[n,j] = sin(x[n,j])")
        program = b.program(steps, {"x": "input", "y": "output"})
        lengths.append(len(emit_module(ModuleSpec("one", "one", "float32", predict=schedule(program))).c_text))
    assert abs(lengths[0] - lengths[1]) < 200


@pytest.mark.parametrize("target", FLAGS)
def test_division_by_one_number_for_all_lanes_keeps_the_special_values(target: str) -> None:
    program = program_of("y[n,j] = x[n,j]/g[n,0]")
    below = np.array([3, -0.1, 0.0, -0.0, np.inf, np.nan, 1e-40, 3e38, -(2.0**-100), 2.0**100, 2.0**-126], np.float32)
    arrays = random_inputs(program, len(below))
    arrays = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
    arrays["x"][:, :6] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40]
    arrays["x"][:, 6:9] = [3e38, 2.0**-126, -(2.0**100)]
    arrays["g"][:, 0] = below
    got = run(program, arrays, len(below), FLAGS[target], "float32")["y"]
    with np.errstate(all="ignore"):
        expected = arrays["x"] / below[:, None]
    np.testing.assert_allclose(got, expected, rtol=2.4e-7, atol=3e-45)
    assert (np.signbit(got) == np.signbit(expected))[~np.isnan(expected)].all()


def test_windows_over_an_array_of_the_kernel_itself() -> None:
    """Its elements are read under no condition: where the compiler vectorizes such loads, it may read others."""
    x = bp.Input("x", (8, 3))
    z = bp.AveragePooling1D(3, strides=1)(x)
    loss = bp.Layer(["l[n] = sum(z[n,t,c]*w[n,t,c], t, c)"], inputs=("z", "w"), output="l")
    net = bp.Network(z, loss=loss(z, bp.Input("w", (6, 3))))
    rng = np.random.default_rng(1)
    data = {"x": rng.normal(size=(3, 8, 3)), "w": rng.normal(size=(3, 6, 3))}
    found = []
    for dtype, backend in (("float32", "c"), ("float64", "numpy")):
        model = bp.compile(net, dtype=dtype, backend=backend, wrt=("x",))
        assert "bp_within" not in model.source
        found.append(model.value_and_grad(model.init(), **{k: a.astype(dtype) for k, a in data.items()})[1]["x"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
