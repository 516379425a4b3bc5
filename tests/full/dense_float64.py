"""The float64 vector functions of generated C beside mpmath, on many inputs."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mpmath import mp, mpf

from tests.emit.test_vector_math import CASES, STATED, Case, apply, compile_library, error_in_ulp, program, samples
from tests.full.sweep_float32 import Worst


def measured(count: int, dtype: str = "float64", flags: tuple[str, ...] = ("-march=native",)) -> Iterator[Worst]:
    """The largest error of each function at about `count` inputs."""
    with tempfile.TemporaryDirectory() as folder:
        library = compile_library(program(dtype), Path(folder), flags)
        for function, case in CASES.items():
            yield _worst(function, case, library, count, dtype)


def _worst(function: str, case: Case, library: ctypes.CDLL, count: int, dtype: str) -> Worst:
    x = samples(dtype, case, count)
    worst = (0.0, 0.0)
    with mp.workprec(140):
        for value, result in zip(x.tolist(), apply(library, f"v_{function}", x).tolist(), strict=True):
            try:
                exact = case.exact(mpf(value))
            except (ValueError, ZeroDivisionError):  # a pole
                continue
            worst = max(worst, (error_in_ulp(result, exact, dtype, case.absolute), value))
    return Worst(function, *worst, STATED[function])
