"""Generated C computes what the program says: whole networks against the reference interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bpcompile.emit.c.module import ModuleSpec, emit_module
from bpcompile.nodes.statements import Program
from bpcompile.program import contract
from bpcompile.program.schedule import schedule
from tests.emit.c_module import NATIVE, PLAIN, STRICT, Caller
from tests.program import networks
from tests.program.interpret import random_inputs, run_program

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@pytest.fixture(params=[False, True], ids=["nests", "contractions"])
def contractions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setattr(contract, "MINIMUM_PRODUCTS", 1)
        monkeypatch.setattr(contract, "MINIMUM_SIDE", 1)
    return bool(request.param)


def module(program: Program, dtype: str = "float64") -> Any:
    return emit_module(ModuleSpec("net", program.name, dtype, value_and_grad=schedule(program)))


def assert_computes(program: Program, caller: Caller, n: int, dtype: str) -> None:
    arrays = random_inputs(program, n)
    expected = run_program(program, arrays, n)
    got = caller.run("value_and_grad", arrays, n)
    compared = 0
    for t in program.tensors.values():
        name = f"{t.of}.grad" if t.role == "gradient" else t.name
        if t.role in ("gradient", "output", "loss"):
            tolerance = TOLERANCE[dtype]
            np.testing.assert_allclose(got[name], expected[t.name], rtol=tolerance, atol=tolerance, err_msg=name)
            compared += 1
    assert compared > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", networks.ALL)
def test_network(name: str, dtype: str, contractions: bool) -> None:
    program = networks.ALL[name]()
    caller = Caller(module(program, dtype))
    for n in (1, 3, 5):
        assert_computes(program, caller, n, dtype)


@pytest.mark.parametrize("flags", [(*PLAIN, *STRICT), ("-std=gnu11", "-msse2"), ("-std=gnu11", "-mavx2", "-mfma"),
                                   (*NATIVE, "-Wall", "-Wextra", "-Werror")],
                         ids=["plain", "sse2", "avx2", "native"])  # fmt: skip
@pytest.mark.parametrize("name", networks.ALL)
def test_targets(name: str, flags: tuple[str, ...]) -> None:
    program = networks.ALL[name]()
    assert_computes(program, Caller(module(program), flags), 2, "float64")
