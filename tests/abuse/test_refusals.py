"""Networks that cannot be compiled: a sentence that names layer, equation and index, and no assertion."""

from __future__ import annotations

import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError


@pytest.mark.parametrize("equation", ["l[n] = log(sum(exp(sum(x[n,i]*x[m,i], i)), m))", "l[n] = sum(max(x[n,i]*x[m,i], i), m)"])
def test_a_value_for_every_pair_of_examples(equation: str) -> None:
    """Generated NumPy keeps it; generated C says that it does not."""
    net = bp.Network(None, loss=bp.Layer([equation], inputs=("x",), output="l", name="pairs")(bp.Input("x", (4,))))
    bp.compile(net, backend="numpy")
    with pytest.raises(BPCompileError, match=r"'pairs'.*'n' and 'm'"):
        bp.compile(net, backend="c")


@pytest.mark.parametrize("equations", [
    ["z[n,i,p] = tanh(z[n,i-1,p] + z[n,i,p-1] + x[n,i])", "l[n] = sum(z[n,i,p], i, p)"],
    ["z[n,i] = tanh(z[n,i-1] + c[n,i,i-1])", "c[n,i,p] = z[n,i-1]*z[n,p-1]", "l[n] = sum(z[n,i], i) + c[n,0,0]"],
    ["z[n,i] = tanh(z[n,i-1] + sum(c[n,p], p))", "c[n,p] = z[n,p-1]", "l[n] = sum(z[n,i], i)"],
    ["g[n,n] = x[n,0]", "l[n] = g[n,n]"],
    ["l[n] = x[n,n]"],
    ["z[i,n] = x[n,i]", "l[n] = sum(z[i,n], i)"],
])  # fmt: skip
def test_recurrences_and_batches_that_are_none(equations: list[str]) -> None:
    with pytest.raises(BPCompileError) as caught:
        bp.Layer(equations, inputs=("x",), output="l", sizes={"p": 4}, name="odd")(bp.Input("x", (4,)))
    assert "z" in str(caught.value) or "n" in str(caught.value)


def test_a_derivation_with_numbers_that_no_memory_holds() -> None:
    x, y = bp.Input("x", (6,)), bp.Target("y", shape=(6442450944,))
    z = bp.Dense(6442450944, name="wide")(x)
    with pytest.raises(BPCompileError, match="smaller extents"):
        bp.derive(bp.Network(z, loss=bp.MeanSquaredError(z, y)))


@pytest.mark.parametrize("name", ["loss", "params", "key", "training", "lambda"])
def test_names_that_are_taken(name: str) -> None:
    for leaf in (bp.Input, bp.Target):
        with pytest.raises(BPCompileError, match="taken"):
            leaf(name, (3,))
