"""`bpcompile bench`, the profile of a step, and the frameworks that a spec is translated to."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import bpcompile as bp
from bpcompile.commands.bench import bench_spec
from bpcompile.commands.frameworks import framework_step
from bpcompile.commands.timing import timed
from bpcompile.errors import BPCompileError
from bpcompile.profile import profile

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"


def small_network() -> bp.Network:
    x, y = bp.Input("x", (6, 8)), bp.Target("y", classes=3)
    h = bp.Conv1D(4, 3, padding="same", activation="tanh", name="conv")(x)
    z = bp.Dense(3, name="out")(bp.Flatten(name="flat")(h))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))


def test_bench_of_a_spec() -> None:
    text = io.StringIO()
    result = bench_spec(DIGITS, Console(file=text, width=200), batch=8, seconds=0.02, frameworks=False, profiled=True)
    names = [row["name"] for row in result["rows"]]
    assert names[-1] == "NumPy"
    assert all(row["seconds"] >= row["least_seconds"] > 0 for row in result["rows"])
    if "C" in names:
        assert any(k["kind"] == "contraction" and k["operations"] == 8 * 64 * 32 * 2 for k in result["profile"])
    assert "NumPy" in text.getvalue()


def test_profile_counts_and_times_each_kernel() -> None:
    model = bp.compile(small_network())
    if model.backend != "c":
        pytest.skip("there is no C compiler")
    rng = np.random.default_rng(0)
    found = profile(model, model.init(0), x=rng.standard_normal((5, 6, 8)), y=rng.integers(0, 3, 5), repeat=3)
    assert found.batch == 5
    assert all(np.isfinite(k.seconds) and k.calls == 1 for k in found.kernels)
    assert {"out.W.bar", "conv.weight.bar"} <= {e.split("[")[0] for k in found.kernels for e in k.equations}
    assert "us a step" in str(found)


def test_profile_needs_a_loss_in_c() -> None:
    model = bp.compile(small_network(), backend="numpy")
    with pytest.raises(BPCompileError, match="C backend"):
        profile(model, model.init(0))


@pytest.mark.parametrize("name", ["PyTorch", "JAX"])
def test_frameworks_compute_the_same(name: str) -> None:
    pytest.importorskip({"PyTorch": "torch", "JAX": "jax"}[name])
    net = small_network()
    model = bp.compile(net, backend="numpy", dtype="float32")
    params = model.init(0)
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((5, 6, 8)).astype(np.float32), "y": rng.integers(0, 3, 5).astype(np.int32)}
    step = framework_step(name, net, {k: np.asarray(v) for k, v in params.items()}, data, 5, 1)
    found = step()
    loss = float(found[0] if name == "JAX" else found.detach())
    assert loss == pytest.approx(model.value_and_grad(params, **data)[0], rel=1e-5)


def test_recurrences_are_refused_with_a_reason() -> None:
    pytest.importorskip("jax")
    x, y = bp.Input("x", (4, 2)), bp.Target("y", classes=3)
    z = bp.Dense(3, name="out")(bp.SimpleRNN(3, name="rnn")(x))
    net = bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))
    with pytest.raises(BPCompileError, match="Recurrences"):
        framework_step("JAX", net, {"out.b": np.zeros(3, np.float32)}, {}, 1, 1)()


def test_calls_are_timed_in_turn() -> None:
    order: list[str] = []
    found = timed({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0.001, rounds=3)
    assert found["a"].median >= found["a"].least > 0
    turns = "".join(order).lstrip("a").lstrip("b")
    assert turns.rfind("b") > turns.rfind("a") > turns.find("b") > turns.find("a") >= 0
