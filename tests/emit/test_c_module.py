"""Whole modules: states, draws, optimizers, epochs, threads, and what the text promises."""

from __future__ import annotations

import ctypes
import mmap
import re
import threading
from typing import Any

import numpy as np
import pytest

from bpcompile.emit import draws
from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.emit.c.source import Source
from bpcompile.nodes.expressions import Axis, axis, const, load, node
from bpcompile.nodes.statements import Program, Statement, Tensor
from bpcompile.program.schedule import schedule
from tests.emit.c_module import NATIVE, PLAIN, STRICT, Caller, symbols
from tests.program import networks
from tests.program.build import Builder
from tests.program.interpret import random_inputs, run_program


def momentum(size: int) -> Program:
    """``m = 0.9 m + g;  w = w - rate m`` over the flat vectors."""
    i = Axis("i", size)
    w, g, m = (load(name, (axis(i),)) for name in ("params", "grads", "m"))
    rate = node("seed", (), "learning_rate")
    steps = (
        Statement("m", (axis(i),), (i,), node("add", (node("mul", (const(0.9), m)), g))),
        Statement("params", (axis(i),), (i,), node("sub", (w, node("mul", (rate, m))))),
    )
    tensors = {
        "params": Tensor("params", (size,), "parameter"),
        "grads": Tensor("grads", (size,), "gradient", of="params"),
        "m": Tensor("m", (size,), "state"),
    }
    return Program("momentum", tensors, steps)


def training_module(dtype: str = "float64", **sizes: int) -> Source:
    program = networks.dense(**sizes)
    count = sum(int(np.prod(t.shape)) for t in program.tensors.values() if t.role == "parameter")
    return emit_module(
        ModuleSpec("net", "dense", dtype, value_and_grad=schedule(program), update=schedule(momentum(count)),
                   seeds=("learning_rate",))
    )  # fmt: skip


def data(n: int, inputs: int = 5, classes: int = 3) -> dict[str, Any]:
    generator = np.random.default_rng(5)
    return {"x": generator.normal(size=(n, inputs)), "y": generator.integers(0, classes, n), "learning_rate": 0.25}


def test_training_step_updates_parameters_and_optimizer_state() -> None:
    caller = Caller(training_module())
    arrays = random_inputs(networks.dense(), 4) | data(4)
    before = caller.run("value_and_grad", arrays, 4)
    after = caller.run("train_step", arrays | {"m": np.arange(39.0)}, 4)
    m = 0.9 * np.arange(39.0) + before["grads"]
    np.testing.assert_allclose(after["optimizer_state"], m, rtol=1e-14)
    np.testing.assert_allclose(after["params"], before["params"] - 0.25 * m, rtol=1e-13)


@pytest.mark.parametrize("shuffled", [True, False])
def test_epoch_is_its_steps(shuffled: bool) -> None:
    caller = Caller(training_module())
    examples, batch_size = 10, 4
    arrays = random_inputs(networks.dense(), examples) | data(examples)
    order = np.random.default_rng(1).permutation(examples).astype(np.int32) if shuffled else np.arange(examples)
    expected_losses = []
    step = caller.arrays(arrays, batch_size)
    for start in range(0, examples, batch_size):
        rows = order[start : start + batch_size]
        step["inputs"] = [np.ascontiguousarray(arrays["x"][rows]), arrays["y"][rows].astype(np.int32)]
        assert caller.function("train_step")(ctypes.byref(caller.pack(step, len(rows)))) == 0
        expected_losses.append(step["loss"][0])
    made = caller.arrays(arrays, batch_size)
    losses = np.full(4, np.nan)
    pointer = ctypes.c_void_p(order.astype(np.int32).ctypes.data) if shuffled else None
    kept = order.astype(np.int32)
    pointer = ctypes.c_void_p(kept.ctypes.data) if shuffled else None
    code = caller.function("train_epoch")(
        ctypes.byref(caller.pack(made, 0)), ctypes.c_ssize_t(examples), ctypes.c_ssize_t(batch_size), pointer,
        ctypes.c_void_p(losses.ctypes.data),
    )  # fmt: skip
    assert code == 0
    assert losses[:3].tolist() == expected_losses and np.isnan(losses[3])
    assert (made["params"] == step["params"]).all()
    assert np.isnan(made["arena"][-1])


def test_states_take_their_next_values_once() -> None:
    b = Builder({"n": None, "j": 20})
    steps = b.lines("""
        mean[j] = sum(x[n,j]/size(n), n)
        next[j] = 0.9*old[j] + 0.1*mean[j]
        y[n,j] = x[n,j] - old[j]
    """)
    program = b.program(steps, {"x": "input", "old": "state", "y": "output", "next": "next_state:old"})
    source = emit_module(ModuleSpec("net", "state", "float64", value_and_grad=schedule(program)))
    arrays = random_inputs(program, 3)
    got = Caller(source).run("value_and_grad", arrays, 3)
    np.testing.assert_allclose(got["y"], arrays["x"] - arrays["old"], rtol=1e-14)
    np.testing.assert_allclose(got["old"], 0.9 * arrays["old"] + 0.1 * arrays["x"].mean(0), rtol=1e-13)


@pytest.mark.parametrize("flags", [NATIVE, (*PLAIN, *STRICT)], ids=["native", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_those_of_numpy(dtype: str, flags: tuple[str, ...]) -> None:
    n, i, j = Axis("n", None), Axis("i", 3), Axis("j", 37)
    position = node("add", (node("mul", (node("add", (node("mul", (axis(n), const(3))), axis(i))), const(37))), axis(j)))
    ones = node("draw", (const(0.25), position), ("bernoulli", 77))
    at = tuple(axis(a) for a in (n, i, j))
    steps = (
        Statement("y", at, (n, i, j), node("mul", (ones, load("x", at)))),
        Statement("z", at, (n, i, j), node("draw", (position,), ("normal", 4_000_000_000))),
    )
    tensors = {name: Tensor(name, (None, 3, 37), role) for name, role in (("x", "input"), ("y", "output"), ("z", "output"))}
    source = emit_module(ModuleSpec("net", "draws", dtype, value_and_grad=schedule(Program("draws", tensors, steps))))
    key, step = 2**40 + 3, 9
    got = Caller(source, flags).run("value_and_grad", {"x": np.ones((2, 3, 37))}, 2, key=key, step=step)
    elements = np.arange(2 * 3 * 37).reshape(2, 3, 37)
    assert (got["y"] == draws.bernoulli(key, step, 77, elements, 0.25, dtype)).all()
    assert 0 < got["y"].mean() < 1
    np.testing.assert_allclose(got["z"], draws.normal(key, step, 4_000_000_000, elements, dtype), rtol=1e-5, atol=1e-6)


def test_training_flag_is_off_in_prediction() -> None:
    b = Builder({"n": None, "j": 20})
    program = b.program(b.lines("y[n,j] = where(training, x[n,j], -x[n,j])"), {"x": "input", "y": "output"})
    scheduled = schedule(program)
    caller = Caller(emit_module(ModuleSpec("net", "flag", "float64", predict=scheduled, value_and_grad=scheduled)))
    x = np.ones((2, 20))
    assert (caller.run("predict", {"x": x}, 2)["y"] == -1).all()
    assert (caller.run("value_and_grad", {"x": x}, 2, training=1)["y"] == 1).all()
    assert (caller.run("value_and_grad", {"x": x}, 2, training=0)["y"] == -1).all()


def test_inputs_have_one_slot_in_all_functions() -> None:
    """The prediction has no targets, and its tensors come in another order; the slots are those of training."""
    b = Builder({"n": None, "j": 20})
    full = b.program(b.lines("""
        y[n,j] = x[n,j]*u[n,j]
        l[n] = sum(t[n,j]*y[n,j], j)
        loss = sum(l[n], n)
    """), {"t": "target", "x": "input", "u": "input", "y": "output", "loss": "loss"})  # fmt: skip
    part = b.program(b.lines("y[n,j] = x[n,j]*u[n,j]"), {"u": "input", "x": "input", "y": "output"})
    source = emit_module(ModuleSpec("net", "two", "float64", predict=schedule(part), value_and_grad=schedule(full)))
    assert [i.name for i in source.interface.inputs] == ["t", "x", "u"]
    arrays = random_inputs(full, 3)
    for name in ("predict", "value_and_grad"):
        np.testing.assert_allclose(Caller(source).run(name, arrays, 3)["y"], arrays["x"] * arrays["u"])


def test_equal_kernels_are_emitted_once() -> None:
    b = Builder({"n": None, "j": 40, "k": 40})
    lines = []
    for layer in range(6):
        lines += [f"s{layer}[n,k] = sum(W{layer}[k,j]*x{layer}[n,j], j)", f"x{layer + 1}[n,k] = tanh(s{layer}[n,k])"]
        if layer < 5:  # the next layer reads it under the name of its own axis
            lines.append(f"m{layer}[k] = max(x{layer + 1}[n,k], n)")
    text = "\n".join(line.replace("[n,k] = tanh", "[n,k] = tanh") for line in lines)
    program = b.program(b.lines(text), {"x0": "input", **{f"W{k}": "parameter" for k in range(6)}, "x6": "output"})
    source = emit_module(ModuleSpec("net", "deep", "float32", predict=schedule(program)))
    assert source.kernels <= 4
    for layer in range(6):  # each is still to be found by its equation
        assert f"x{layer + 1}[n, k] = tanh(" in source.c_text


def test_external_symbols_have_the_prefix_and_only_libm_is_needed() -> None:
    found = symbols(training_module().c_text)
    defined = [s for s in found if s[:2] in ("T:", "D:", "R:", "B:")]
    assert len(defined) >= 8
    assert all(s.split(":")[1].startswith("net_") for s in defined), defined
    # Constant tables of names need relocation, and are read-only after it: the linker calls them data.
    tables = {"net_inputs", "net_outputs", "net_parameters", "net_states"}
    assert {s.split(":")[1] for s in defined if s[0] in "BD"} <= tables, "no state that a call could change"
    needed = {s.split(":")[1].split("@")[0] for s in found if s.startswith("U:")}
    assert needed <= {"memcpy", "memset", "exp", "log", "log1p", "tanh", "fmod", "nearbyint"}, needed


def test_no_double_in_single_precision_text() -> None:
    text = re.sub(r"/\*.*?\*/", "", training_module("float32").c_text, flags=re.S)
    assert "double" not in text
    assert not re.search(r"(?<![\w.])\d+\.\d+(?![\dfx.p])", text)


@pytest.mark.parametrize("flags", [NATIVE, (*PLAIN, *STRICT)], ids=["native", "plain"])
def test_strict_text_with_an_optimizer(flags: tuple[str, ...]) -> None:
    Caller(training_module("float32"), flags).run("train_step", random_inputs(networks.dense(), 4) | data(4), 4)


@pytest.mark.parametrize("name", ["dense", "attention", "convolution"])
def test_threads_give_the_same_bits(name: str) -> None:
    sizes = {"dense": {"inputs": 70, "hidden": 90, "classes": 10}, "attention": {"time": 24, "heads": 3, "size": 8},
             "convolution": {"channels": 3, "filters": 8, "rows": 12, "columns": 12}}[name]  # fmt: skip
    program = networks.ALL[name](**sizes)
    caller = Caller(emit_module(ModuleSpec("net", name, "float32", value_and_grad=schedule(program))), pool=True)
    arrays = random_inputs(program, 33)
    alone = caller.run("value_and_grad", arrays, 33)
    for threads in (2, 3):
        caller.start_pool(threads)
        together = caller.run("value_and_grad", arrays, 33)
        caller.stop_pool()
        assert np.isfinite(alone["loss"]) and alone["loss"] == together["loss"]
        for key in ("grads", "outputs", "input_grads"):
            assert all(np.array_equal(a, b) for a, b in zip(list(alone[key]), list(together[key]), strict=True)), key


def test_several_threads_call_one_module_with_one_pool() -> None:
    program = networks.dense(inputs=70, hidden=90, classes=10)
    caller = Caller(emit_module(ModuleSpec("net", "dense", "float32", value_and_grad=schedule(program))), pool=True)
    arrays = random_inputs(program, 64)
    expected = caller.run("value_and_grad", arrays, 64)["grads"]
    caller.start_pool(2)
    wrong: list[int] = []

    def work(number: int) -> None:
        made = caller.arrays(arrays, 64)
        call = caller.pack(made, 64)
        for _ in range(50):
            caller.function("value_and_grad")(ctypes.byref(call))
            if not np.array_equal(made["grads"], expected):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    caller.stop_pool()
    assert not wrong


class Guarded:
    """An array that ends where a page begins that must not be touched."""

    def __init__(self, array: np.ndarray[Any, Any], front: bool) -> None:
        page = mmap.PAGESIZE
        pages = -(-array.nbytes // page) + 2
        self.memory = mmap.mmap(-1, pages * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None)
        for guard in (address, address + (pages - 1) * page):
            assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
        start = page if front else (pages - 1) * page - array.nbytes
        self.array = np.frombuffer(self.memory, array.dtype, array.size, start).reshape(array.shape)
        self.array[...] = array


@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("name", networks.ALL)
def test_nothing_outside_an_array_is_touched(name: str, front: bool) -> None:
    program = networks.ALL[name]()
    caller = Caller(emit_module(ModuleSpec("net", name, "float32", value_and_grad=schedule(program))))
    arrays = random_inputs(program, 3)
    made = caller.arrays(arrays, 3)
    made["arena"] = made["arena"][:-1]
    kept = []

    def guarded(array: Any) -> Any:
        if array is None or not array.size:
            return array
        kept.append(Guarded(array, front))
        return kept[-1].array

    made = {k: [guarded(a) for a in v] if isinstance(v, list) else guarded(v) for k, v in made.items()}
    assert caller.function("value_and_grad")(ctypes.byref(caller.pack(made, 3))) == 0
    expected = run_program(program, arrays, 3)["loss"]
    np.testing.assert_allclose(made["loss"][0], expected, rtol=1e-4)
