"""Written-out packages: each runs without the compiler that made it, and gives the very bits that the model gives."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.build import compiler_available
from bpcompile.commands.package import write_network
from tests.portable.targets import PLAIN, STRICT

pytestmark = pytest.mark.skipif(not compiler_available(), reason="there is no C compiler")

# Runs where bpcompile and everything that only it needs cannot be imported.
PROGRAM = """
import importlib, sys
for name in ("bpcompile", "sympy", "jinja2", "cffi", "typer", "rich", "filelock", "platformdirs", "safetensors"):
    sys.modules[name] = None
import numpy as np
folder, name, wrote, read = sys.argv[1:]
sys.path.insert(0, folder)
network = importlib.import_module(name)
data = dict(np.load(wrote))
targets = {k: v for k, v in data.items() if k.startswith("target_")}
inputs = {k: v for k, v in data.items() if k not in targets}
params, state = network.init(seed=3), network.init_state()
moved = {"state": state} if len(state) else {}
found = {"first": params.flat.copy()}
outputs = network.predict(params, key=7, **moved, **inputs)
for k, output in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
    found["output%d" % k] = output
loss, grads = network.value_and_grad(params, key=7, step=2, **moved, **data)
found.update(loss=loss, grads=grads.flat, state=state.flat.copy())
found["epochs"] = [network.train_epoch(params, batch_size=4, seed=s, **moved, **data) for s in range(2)]
found.update(params=params.flat, last_state=state.flat)
np.savez(read, **found)
"""


def frozen() -> bp.Network:
    """A first layer that does not move."""
    x, y = bp.Input("x", (5,)), bp.Target("target_y", classes=3)
    h = bp.Dense(6, activation="tanh", trainable=False, name="fixed")(x)
    z = bp.Dense(3, name="output")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="frozen")


def with_state() -> bp.Network:
    """Batch normalization (a state that moves on) and dropout (numbers that are drawn)."""
    x, y = bp.Input("x", (5,)), bp.Target("target_y", (2,))
    h = bp.Dropout(0.3, name="dropout")(bp.BatchNormalization(name="norm")(bp.Dense(8, activation="relu", name="hidden")(x)))
    z = bp.Dense(2, name="output")(h)
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name="with_state")


def sequences() -> bp.Network:
    """Sequences of different lengths through a recurrent layer."""
    x, length, y = bp.Input("x", (6, 3)), bp.Input("length", (), classes=7), bp.Target("target_y", (4,))
    z = bp.Dense(4, name="output")(bp.LSTM(5, return_sequences=False, name="lstm")(x, length))
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name="sequences")


def two_losses() -> bp.Network:
    """Two inputs, two outputs, two losses."""
    a, b = bp.Input("a", (3,)), bp.Input("b", (4,))
    label, amount = bp.Target("target_label", classes=3), bp.Target("target_amount", (1,))
    h = bp.Dense(6, activation="sigmoid", name="joined")(bp.Concatenate(name="both")(a, b))
    z, w = bp.Dense(3, name="label")(h), bp.Dense(1, name="amount")(h)
    losses = [bp.SoftmaxCrossEntropy(z, label), bp.MeanSquaredError(w, amount)]
    return bp.Network([z, w], loss=losses, loss_weights=[1, 0.3], name="two_losses")


def data_of(net: bp.Network, n: int = 11) -> dict[str, np.ndarray]:
    rng, made = np.random.default_rng(4), {}
    for name, value in {**net.inputs, **net.targets}.items():
        shape = (n, *(e for e in value.shape[1:] if e is not None))
        made[name] = rng.integers(0, value.classes, shape).astype(np.int32) if value.integer else rng.normal(size=shape)
    return made


def of_the_model(net: bp.Network, optimizer: bp.Optimizer, dtype: str, data: dict[str, np.ndarray]) -> dict[str, object]:
    model = bp.compile(net, dtype=dtype, optimizer=optimizer)
    params, state = model.init(seed=3), model.init_state()
    moved = {"state": state} if net.states else {}
    found: dict[str, object] = {"first": params.flat.copy()}
    outputs = model.predict(params, key=7, **moved, **{k: data[k] for k in net.inputs})
    for k, output in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
        found[f"output{k}"] = output
    loss, grads = model.value_and_grad(params, key=7, step=2, **moved, **data)
    found |= {"loss": loss, "grads": grads.flat, "state": state.flat.copy()}
    found["epochs"] = [model.train_epoch(params, batch_size=4, seed=s, **moved, **data) for s in range(2)]
    return found | {"params": params.flat, "last_state": state.flat}


NETWORKS = (frozen, with_state, sequences, two_losses)
CASES = [*itertools.product(NETWORKS, ("float32", "float64"), (1,)), (with_state, "float32", 2)]


@pytest.mark.parametrize(("make", "dtype", "threads"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_the_same_bits_without_the_compiler(make: Callable[[], bp.Network], dtype: str, threads: int, tmp_path: Path) -> None:
    net, optimizer = make(), bp.Adam(learning_rate=0.01)
    data = data_of(net)
    np.savez(tmp_path / "data.npz", **data)
    package = write_network(net, optimizer, tmp_path / "packages", dtype, threads)
    arguments = [str(package.parent), package.name, str(tmp_path / "data.npz"), str(tmp_path / "found.npz")]
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, wanted = np.load(tmp_path / "found.npz"), of_the_model(net, optimizer, dtype, data)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert np.any(found["params"] != found["first"])


@pytest.mark.parametrize("make", NETWORKS, ids=lambda f: f.__name__)
def test_the_example_in_c(make: Callable[[], bp.Network], tmp_path: Path) -> None:
    """With nothing but a C compiler: as its comment says, and as strict C with all warnings; the loss goes down."""
    package = write_network(make(), bp.Adam(learning_rate=0.02), tmp_path, "float32")
    text = (package / "example.c").read_text()
    command = next(line.split() for line in text.splitlines() if line.strip().startswith("cc "))
    strict = ["gcc", *PLAIN, *STRICT, *command[command.index("example.c") :]]
    losses = []
    for line in (command, strict):
        subprocess.run(line, cwd=package, check=True)
        done = subprocess.run(["./example"], cwd=package, check=True, capture_output=True, text=True)
        losses.append([float(row.split()[-1]) for row in done.stdout.splitlines()])
    assert losses[0][-1] < 0.95 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_the_example_of_a_network_without_a_loss(tmp_path: Path) -> None:
    z = bp.Dense(3, name="output")(bp.Input("x", (5,)))
    package = write_network(bp.Network(z, name="forward"), None, tmp_path, "float64")
    subprocess.run(["gcc", *PLAIN, *STRICT, "example.c", "bp_forward.c", "-lm", "-o", "example"], cwd=package, check=True)
    subprocess.run(["./example"], cwd=package, check=True)
