"""Names that are words of C, Python or LaTeX or symbols of libc; sizes beyond all bounds; numbers that never end."""

from __future__ import annotations

import time

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from tests.random import checks
from tests.random.c_runs import c_result
from tests.random.case import arrays_of

HOSTILE = [
    "int",
    "float",
    "double",
    "auto",
    "restrict",
    "main",
    "step",
    "exp",
    "memcpy",
    "malloc",
    "printf",
    "errno",
    "signal",
    "abort",
    "free",
    "call",
    "arena",
    "params",
    "real",
    "n_",
    "LANES",
    "NULL",
    "ptrdiff_t",
    "_Bool",
    "np",
    "self",
    "data",
    "state",
    "key",
    "alpha",
    "frac",
    "end",
    "begin",
    "input",
    "begin",
    "lambda_",
    "x__bar",
    "loss",
    "v_exp",
    "y0",
    "j0",
    "i1",
    "gamma_",
    "I",
    "E",
    "S",
    "N",
    "O",
    "Q",
    "pi_",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_identifier_is_a_good_name(name: str) -> None:
    """As a tensor, as an index and as a layer, at once."""
    x = bp.Input(f"{name}x", (3,))
    i, w = f"{name}_i", f"{name}W"
    layer = bp.Layer([f"{name}[n,{i}] = {w}[{i}]*{name}x[n,{i}]", f"l[n] = sum({name}[n,{i}]**2, {i})"], inputs=(f"{name}x",),
                     output="l", parameters={w: (i,)}, name=name)  # fmt: skip
    net = bp.Network(None, loss=layer(x), name=name)
    arrays = arrays_of(net, 2)
    want = checks.run(checks.compiled(net, "numpy"), net, arrays)
    assert want.grads[f"{name}.{w}"].any()


@pytest.mark.parametrize("name", ["step", "memcpy", "double", "errno"])
def test_hostile_names_in_c(name: str) -> None:
    x = bp.Input(f"{name}_", (3,))
    layer = bp.Layer([f"l[n] = sum(W[{name}i]*{name}_[n,{name}i], {name}i)"], inputs=(f"{name}_",), output="l",
                     parameters={"W": (f"{name}i",)}, name=name)  # fmt: skip
    net = bp.Network(None, loss=layer(x), name=name)
    arrays = arrays_of(net, 2)
    want = checks.run(checks.compiled(net, "numpy"), net, arrays)
    assert not checks.differences(c_result(net, arrays, 2), want, 1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "l[n] = x[n,0]**9**9**9",
        "l[n] = x[n,0]*9**9**9**9",
        "l[n] = 1e999999999*x[n,0]",
        "l[n] = x[n,0] + " + "9" * 5000,
        "l[n] = " + "(" * 3000 + "x[n,0]" + ")" * 3000,
        "l[n] = " + "-" * 5000 + "x[n,0]",
        "l[n] = " + "sin(" * 2000 + "x[n,0]" + ")" * 2000,
        "l[n] = __import__('os').system('true')",
        "l[n] = x[n,0].__class__",
        "l[n] = (lambda: x[n,0])()",
        "l[n] = [x[n,0] for n in x]",
        "l[n] = x[n,0] if x else 0",
        "l[n] = 'a'*10**9",
        "l[n] = x[n,9**9**9]",
        "l[n] = x[n,0]; import os",
        "l[n] = \x00x[n,0]",
        "l[n] = x[n,0] @ x[n,0]",
        "l[n] = f'{x}'",
        "l[n] = x[n,...]",
        "l[n] = x[n,0:1]",
        "l[n] = yield",
        "l[n] = ",
        "= x[n,0]",
        "l[n]",
        "",
        "l[n] = х[n,0]",
        "l[n] = x[n,0] # comment\n + 1",
        "l[n] = sum(x[n,i], i, i)",
        "l[n] = sum(x[n,i], n)",
        "n[n] = x[n,0]",
        "l[n] = size(x)",
        "l[n] = where(x[n,0])",
        "l[n] = sum()",
        "l[n] = bernoulli()",
        "l[n,n] = x[n,0]",
        "l[n] = l[n] + x[n,0]",
    ],
)
def test_text_that_is_no_equation_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    try:
        layer = bp.Layer([text], inputs=("x",), output="l")
        bp.compile(bp.Network(None, loss=layer(bp.Input("x", (2,)))), backend="numpy")
    except BPCompileError:
        pass
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("shape", [(2**40,), (2**31, 2**31), (10**18, 10**18), (10**30,)])
def test_huge_extents_are_refused_before_memory_is_touched(shape: tuple[int, ...]) -> None:
    with pytest.raises(BPCompileError):  # noqa: PT012
        x = bp.Input("x", shape)
        indices = ",".join("ij"[: len(shape)])
        layer = bp.Layer([f"l[n] = sum(W[{indices}]*x[n,{indices}], {indices})"], inputs=("x",), output="l",
                         parameters={"W": tuple("ij"[: len(shape)])})  # fmt: skip
        m = bp.compile(bp.Network(None, loss=layer(x)), backend="numpy")
        m.init()


@pytest.mark.parametrize("extent", [0, -1, 2.5, "3", None, True, np.nan])
def test_extents_that_are_none(extent: object) -> None:
    with pytest.raises(BPCompileError):  # noqa: PT012
        layer = bp.Layer(["l[n] = sum(x[n,i], i)"], inputs=("x",), output="l")
        bp.Network(None, loss=layer(bp.Input("x", (extent,))))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", "a b", "a;b", "a\nb", "a.b", "../a", "a\\input{x}", "a$", "é", "ｘ", "x\u200b", "1x",
                                  "a" * 5000, "class"])  # fmt: skip
def test_names_that_are_no_identifiers(name: str) -> None:
    """Refused, or mangled everywhere: no document and no path takes them as they are."""
    try:
        layer = bp.Layer(["l[n] = sum(x[n,i], i)"], inputs=("x",), output="l", name=name)
        net = bp.Network(None, loss=layer(bp.Input("x", (2,))))
        bp.compile(net, backend="numpy")
    except BPCompileError:
        return
    assert name.isidentifier()
