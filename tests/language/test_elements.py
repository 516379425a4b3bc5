"""Equations of single elements: merged into the one of their tensor, and refused where they mean nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import LanguageError, ShapeError

X = np.arange(15.0).reshape(1, 5, 3)


def predicted(equations: list[str], **options: Any) -> Any:
    out = bp.Layer(equations, name="f", **options)(bp.Input("x", (5, 3)))
    model = bp.compile(bp.Network(out), backend="numpy", dtype="float64")
    return model.predict(model.init(), x=X)[0]


def test_the_first_element_of_a_recurrence() -> None:
    found = predicted(["d[n,0,i] = 10*x[n,0,i]", "d[n,t,j] = d[n,t-1,j] + x[n,t,j]"])
    np.testing.assert_array_equal(found, np.cumsum(np.concatenate([10 * X[0, :1], X[0, 1:]]), 0))


def test_what_the_other_elements_read_is_guarded() -> None:
    found = predicted(["d[n,0,i] = x[n,0,i]", "d[n,t,j] = x[n,t,j] - x[n,t-1,j]"])
    np.testing.assert_array_equal(found, np.diff(X[0], axis=0, prepend=0))


def test_several_elements_and_several_axes() -> None:
    found = predicted(["d[n,t,j] = d[n,t-1,j] + x[n,t,j]", "d[n,4,j] = -1", "d[n,0,j] = 100", "d[n,t,2] = 7"])
    np.testing.assert_array_equal(found[:, 0], [100, 103, 109, 118, -1])
    np.testing.assert_array_equal(found[:, 2], 7)


def test_starts_stay_starts() -> None:
    layer = bp.Layer(["h[n,-1,j] = 5", "h[n,t,j] = h[n,t-1,j] + x[n,t,j]"])
    assert [str(e) for e in layer.equations] == ["h[n,-1,j] = 5", "h[n,t,j] = h[n,t-1,j] + x[n,t,j]"]
    found = predicted(["h[n,5,j] = 100", "h[n,t,j] = h[n,t+1,j] + x[n,t,j]"])
    np.testing.assert_array_equal(found[0], 100 + X[0].sum(0))


@pytest.mark.parametrize(
    ("equations", "words"),
    [
        (["d[n,0,j] = sum(x[n,t,j], t)", "d[n,t,j] = d[n,t-1,j] + x[n,t,j]"], "'t' stands for something else"),
        (["d[n,0] = 1", "d[n,t,j] = d[n,t-1,j] + x[n,t,j]"], "different numbers of subscripts"),
        (["d[n,0,j] = 1", "d[n,0,k] = 2", "d[n,t,j] = x[n,t,j]"], "defined twice"),
        (["d[n,5,j] = 1", "d[n,t,j] = x[n,t,j]"], "axis 2 of 'd' has extent 5"),
        (["d[n,0,j] = 1", "d[n,t,j] = d[n,t+1,j] + x[n,t,j]"], "start inside the tensor"),
    ],
)
def test_what_means_nothing_is_refused(equations: list[str], words: str) -> None:
    with pytest.raises((LanguageError, ShapeError)) as caught:
        predicted(equations)
    assert words in str(caught.value)


@pytest.mark.parametrize(("guard", "fits"), [("t != 0", True), ("not t == 0", True), ("t != 4", False), ("t != 1", False)])
def test_guards_by_inequality(guard: str, fits: bool) -> None:
    equation = [f"d[n,t,j] = where({guard}, x[n,t-1,j], 0)"]
    if fits:
        np.testing.assert_array_equal(predicted(equation, sizes={"t": 5})[1:], X[0, :-1])
        return
    with pytest.raises(ShapeError, match="can leave the tensor"):
        predicted(equation, sizes={"t": 5})
