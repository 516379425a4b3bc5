"""Sums into places that data choose are divided among threads by destination: the same bits for any number of them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import bpcompile as bp

WIDTH = 200


def table(width: int) -> tuple[bp.Network, dict[str, Any]]:
    """The gradient of an embedding: rows that tokens choose, whole columns."""
    x, y = bp.Input("x", (16,), classes=30), bp.Target("y", (16, width))
    z = bp.Embedding(30, width, name="e")(x)
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, 30, (20, 16)), "y": rng.normal(size=(20, 16, width))}
    return bp.Network(z, loss=bp.MeanSquaredError(z, y)), data


def picked(width: int) -> tuple[bp.Network, dict[str, Any]]:
    """The gradient of elements that indices choose within each example."""
    z, c, y = bp.Input("z", (width,)), bp.Input("c", (40,), classes=width), bp.Target("y", (40,))
    a = bp.Layer(["s[n,i] = w[i]*z[n,i]", "a[n,k] = s[n,c[n,k]]"], parameters={"w": ("i",)}, inputs=("z", "c"), output="a",
                 name="pick")(z, c)  # fmt: skip
    rng = np.random.default_rng(0)
    data = {"z": rng.normal(size=(64, width)), "c": rng.integers(0, width, (64, 40)), "y": rng.normal(size=(64, 40))}
    return bp.Network(a, loss=bp.MeanSquaredError(a, y)), data


@pytest.mark.parametrize(("make", "dtype"), [(table, "float32"), (table, "float64"), (picked, "float64")])
def test_threads_do_not_change_a_bit(make: Any, dtype: str) -> None:
    net, data = make(WIDTH)
    results = []
    for threads in (1, 2):
        model = bp.compile(net, dtype=dtype, threads=threads)
        params = model.init(seed=0)
        results.append(model.value_and_grad(params, **data)[1].flat.copy())
    expected = bp.compile(net, dtype="float64", backend="numpy").value_and_grad(params, **data)[1].flat
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], expected, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-7)


def test_the_scatter_is_divided_along_the_columns_by_vectors() -> None:
    net, _ = table(WIDTH)
    body = re.search(r"void run_k_e_weight_bar\w*\(.*?\n}\n", bp.compile(net).source, re.S)
    assert body is not None
    assert "begin * 64" in body.group()
    assert "lanes0" not in body.group()  # no loop over the lanes: a row's columns are contiguous


def test_a_scatter_within_examples_is_divided_by_examples() -> None:
    net, _ = picked(WIDTH)
    source = bp.compile(net).source
    body = next(b for b in re.findall(r"void run_k_\w+\(.*?\n}\n", source, re.S) if "+=" in b and "c_[" in b)
    assert re.search(r"for \(ptrdiff_t (\w+) = begin; \1 < end; \1\+\+\)", body)
