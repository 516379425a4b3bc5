"""Lanes across examples: convolutions of small images, for batches of every size, against NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.driver import analyze, lower
from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.nodes.statements import Program
from bpcompile.program.schedule import schedule
from bpcompile.program.schedule_types import Across, Contraction
from tests.emit.c_module import NATIVE, PLAIN, STRICT, Caller
from tests.program.interpret import random_inputs, run_program, run_schedule

BATCHES = (1, 7, 11, 16, 17, 29, 32, 40)
AVX2 = ("-std=gnu11", "-mavx2", "-mfma", "-ffp-contract=fast")


def network(layers: list[Any], shape: tuple[int, ...]) -> bp.Network:
    x, y = bp.Input("x", shape), bp.Target("y", classes=3)
    h: Any = x
    for layer in layers:
        h = layer(h)
    z = bp.Dense(3)(bp.Flatten()(h))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))


NETWORKS = {
    "valid windows": lambda: network([bp.Conv2D(6, 5, activation="tanh"), bp.Conv2D(9, 5)], (4, 14, 14)),
    "padded": lambda: network([bp.Conv2D(12, 3, padding=1, activation="tanh"), bp.Conv2D(5, 3, padding=1)], (5, 7, 7)),
    "windows beside the image": lambda: network([bp.Conv2D(6, 3, padding=4), bp.Conv2D(5, 3, padding=3)], (6, 6, 4)),
    "one padded axis": lambda: network([bp.Conv2D(6, (3, 1), padding=(1, 0)), bp.Conv2D(6, (1, 3), padding=(0, 1))], (8, 6, 5)),
}


def program_of(name: str) -> Program:
    program = lower(analyze(NETWORKS[name]()), ("parameters", "x"), None).gradient
    assert program is not None
    return program


def across(program: Program) -> list[Across]:
    return [k.across for k in schedule(program).steps if isinstance(k, Contraction) and k.across]


def module(program: Program, dtype: str) -> Any:
    return emit_module(ModuleSpec("net", program.name, dtype, value_and_grad=schedule(program)))


@cache
def reference(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Loss and gradients by NumPy, from the arrays of a call."""
    model = bp.compile(NETWORKS[name](), backend="numpy", dtype="float64", wrt=("parameters", "x"))

    def call(arrays: dict[str, Any]) -> dict[str, Any]:
        params = {key: arrays[key] for key in model.init()}
        loss, grads = model.value_and_grad(params, x=arrays["x"], y=arrays["y"])
        return {"loss": loss, **{f"{key}.grad": value for key, value in grads.items()}}

    return call


def test_networks_hold_every_form() -> None:
    found = [a for name in NETWORKS for a in across(program_of(name))]
    assert {(a.along is None, a.beside is None) for a in found} == set(itertools.product((False, True), repeat=2))
    assert {a.copy is None for a in found} == {False, True}
    assert {h.sign for a in found for h in (a.along, a.beside) if h} == {-1, 1}
    assert any(not window for a in found for window in a.windows())  # a position that meets nothing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_agrees_with_the_reference(name: str, dtype: str) -> None:
    program = program_of(name)
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    callers = [Caller(module(program, dtype), flags) for flags in ((*NATIVE, "-Wall", "-Wextra", "-Werror"), AVX2)]
    for n in BATCHES:
        arrays = random_inputs(program, n)
        expected = reference(name)(arrays)
        for caller in callers:
            got = caller.run("value_and_grad", arrays, n)
            for key, value in expected.items():
                np.testing.assert_allclose(got[key], value, rtol=tolerance, atol=tolerance, err_msg=f"{key}, n = {n}")


@pytest.mark.parametrize("name", NETWORKS)
def test_strict_c_has_no_lanes(name: str) -> None:
    program = program_of(name)
    arrays = random_inputs(program, 16)
    got = Caller(module(program, "float64"), (*PLAIN, *STRICT)).run("value_and_grad", arrays, 16)
    for key, value in reference(name)(arrays).items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-12, err_msg=key)


def test_the_schedule_computes_the_program() -> None:
    program = lower(analyze(network([bp.Conv2D(4, 3, name="a"), bp.Conv2D(4, 3)], (4, 5, 5))), ("parameters", "x"), None).gradient
    assert program is not None and any(a.copy for a in across(program))
    arrays = random_inputs(program, 2)
    expected = run_program(program, arrays, 2)
    for name, value in run_schedule(schedule(program), arrays, 2).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_threads_give_the_same_bits() -> None:
    program = program_of("padded")
    arrays = random_inputs(program, 40)
    found = []
    for threads in (1, 2, 3):
        caller = Caller(module(program, "float32"), pool=True)
        caller.start_pool(threads)
        found.append(caller.run("value_and_grad", arrays, 40))
        caller.stop_pool()
    for key in reference("padded")(arrays):
        assert found[0][key].tobytes() == found[1][key].tobytes() == found[2][key].tobytes(), key


def test_an_example_does_not_see_the_others() -> None:
    """A NaN in one lane stays in it."""
    program = program_of("valid windows")
    caller = Caller(module(program, "float32"))
    arrays = random_inputs(program, 40)
    clean = caller.run("value_and_grad", arrays, 40)["x.grad"]
    arrays["x"][17] = np.nan
    got = caller.run("value_and_grad", arrays, 40)["x.grad"]
    assert np.isnan(got[17]).all()
    assert got[:17].tobytes() == clean[:17].tobytes() and got[18:].tobytes() == clean[18:].tobytes()


def test_padded_copies_leave_the_arena() -> None:
    program = program_of("valid windows")
    scheduled = schedule(program)
    copies = [a.copy.target for a in across(program) if a.copy]
    assert copies and all(scheduled.places[name].region == "local" for name in copies)


def test_large_padded_copies_stay_in_the_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel's own copy lies on the stack."""
    monkeypatch.setattr("bpcompile.program.across.MOST_COPIED", 700)
    program = program_of("valid windows")
    scheduled = schedule(program)
    regions = {p.region for name, p in scheduled.places.items() if "padded" in name}
    assert across(program) and not any(a.copy for a in across(program)) and regions == {"batch"}
    for n in (3, 17):
        arrays = random_inputs(program, n)
        got = Caller(module(program, "float64")).run("value_and_grad", arrays, n)
        for key, value in reference("valid windows")(arrays).items():
            np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-12, err_msg=key)


def test_large_images_keep_their_lanes() -> None:
    layers = [bp.Conv2D(16, 3, padding=1, activation="relu"), bp.Conv2D(16, 3, padding=1)]
    program = lower(analyze(network(layers, (3, 32, 32))), ("parameters",), None).gradient
    assert program is not None and not across(program)


