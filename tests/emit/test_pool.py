"""The pool of threads: each index once, whatever the number of threads and of tasks."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.program.schedule import schedule
from tests.emit.c_module import NATIVE, Caller
from tests.program import networks

Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t)
Run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Task, ctypes.c_void_p, ctypes.c_ssize_t)


class Parallel(ctypes.Structure):
    _fields_ = [("run", Run), ("pool", ctypes.c_void_p), ("threads", ctypes.c_int)]


@pytest.fixture(scope="module")
def caller() -> Caller:
    return Caller(emit_module(ModuleSpec("net", "dense", "float32", value_and_grad=schedule(networks.dense()))), pool=True)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 17])
def test_each_index_once(caller: Caller, threads: int) -> None:
    caller.start_pool(threads)
    parallel = Parallel.from_address(caller.parallel)
    assert parallel.threads == threads
    for count in (0, 1, 2, 3, 8, 33, 400, 65535, 65536):
        done = (ctypes.c_int * max(count, 1))()

        @Task
        def task(argument: int | None, index: int, done: ctypes.Array[ctypes.c_int] = done) -> None:
            done[index] += 1

        parallel.run(parallel.pool, task, None, count)
        assert list(done[:count]) == [1] * count, count
    caller.stop_pool()


@pytest.mark.parametrize(("flags", "divided"), [(NATIVE, True), ((*NATIVE, "-DBP_SERIAL"), False)])
def test_work_is_divided_unless_the_text_is_compiled_for_one_thread(flags: tuple[str, ...], divided: bool) -> None:
    program = networks.dense(64, 256, 32)
    caller = Caller(emit_module(ModuleSpec("net", "dense", "float32", value_and_grad=schedule(program))), flags)
    rng = np.random.default_rng(0)
    values = {t.name: rng.standard_normal([64 if e is None else e for e in t.shape]) for t in program.tensors.values()}
    values["y"] = rng.integers(0, 32, 64)
    alone = caller.run("value_and_grad", values, 64)
    asked: list[int] = []

    @Run
    def run(pool: int | None, task: Any, argument: int, count: int) -> None:
        asked.append(count)
        for index in reversed(range(count)):
            task(argument, index)

    parallel = Parallel(run, None, 2)
    caller.parallel = ctypes.addressof(parallel)
    together = caller.run("value_and_grad", values, 64)
    assert bool(asked) == divided
    assert np.array_equal(alone["grads"], together["grads"]) and alone["loss"] == together["loss"]


def test_a_task_may_use_the_pool_itself(caller: Caller) -> None:
    """A call inside a task runs on its own thread alone."""
    caller.start_pool(2)
    parallel = Parallel.from_address(caller.parallel)
    done: list[int] = []
    inner = Task(lambda argument, index: done.append(index))
    outer = Task(lambda argument, index: parallel.run(parallel.pool, inner, None, 3))
    parallel.run(parallel.pool, outer, None, 4)
    caller.stop_pool()
    assert sorted(done) == [0] * 4 + [1] * 4 + [2] * 4
