"""The judgements on a network's generated C; each gives what is wrong, or nothing."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from bpcompile.emit.c.module import THRESHOLD
from bpcompile.emit.c.source import Source
from tests.portable import driver
from tests.portable.driver import Array, Results
from tests.portable.networks import OPTIMIZERS, Judged, arrays, source
from tests.portable.reference import MOST, TOLERANCE, apart, movement, reference, same
from tests.portable.targets import NATIVE, PLAIN, STRICT, WARNINGS, Target

COMPILERS = ("gcc", "clang")
DIALECTS: tuple[tuple[str, ...], ...] = (
    (*PLAIN, *STRICT),
    ("-std=gnu11", *WARNINGS),
    ("-std=gnu11", "-march=native", "-DBP_SERIAL", *WARNINGS),
)
"""Strict C11; and the GNU extensions, for the least processor, and for this one with one thread."""


def warnings(judged: Judged, dtype: str, compiler: str, optimizers: Sequence[int], folder: Path) -> list[str]:
    """What a compiler says about the module, the header, the pool and the updates of optimizers."""
    wrong = []
    for number in optimizers:
        texts = driver.files(source(judged, dtype, OPTIMIZERS[number]), 2)
        for name, text in texts.items():
            (folder / name).write_text(text)
        units = [name for name in texts if name.endswith(".c")]
        for dialect in DIALECTS:
            # Warnings of clang come from its front end; some of gcc need what optimization finds out.
            how = ["-fsyntax-only"] if compiler == "clang" else ["-O1", "-c"]
            done = subprocess.run([compiler, *dialect, *how, *units], cwd=folder, capture_output=True, text=True)
            if done.returncode or done.stderr:
                wrong.append(f"{judged.name}, {dtype}, {compiler} {' '.join(dialect[:2])}: {done.stderr[:2000]}")
    return wrong


MATHEMATICS = frozenset([
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "copysign", "cos", "cosh", "erf",
    "erfc", "exp", "exp2", "expm1", "fabs", "floor", "fma", "fmax", "fmin", "fmod", "lgamma", "log", "log10", "log1p",
    "log2", "nearbyint", "pow", "rint", "round", "sin", "sincos", "sinh", "sqrt", "tan", "tanh", "tgamma", "trunc",
])  # fmt: skip
MEMORY = frozenset(["memcpy", "memmove", "memset", "memcmp"])
"""What a compiler takes for granted, even with -ffreestanding."""
SMALL = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", *PLAIN)
"""A processor for devices, with 32-bit floats alone and no operating system."""


def needs(judged: Judged, dtype: str, command: Sequence[str], folder: Path) -> list[str]:
    """What the compiled module needs from outside, beyond the mathematics of the C library."""
    for name, text in driver.files(source(judged, dtype), 1).items():
        (folder / name).write_text(text)
    subprocess.run([*command, "-c", "net.c"], cwd=folder, check=True, capture_output=True)
    listed = subprocess.run(["nm", "-u", "net.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1] for line in listed.splitlines())
    allowed = MATHEMATICS | MEMORY | {f"{name}f" for name in MATHEMATICS} | {"lgamma_r", "lgammaf_r"}
    # Names that begin with two underscores are the compiler's own, for arithmetic that the processor does not have.
    return sorted(n for n in names if n not in allowed and not n.startswith("__") and n != "_GLOBAL_OFFSET_TABLE_")


@cache
def cases(judged: Judged, batches: tuple[int, ...]) -> Mapping[int, Mapping[str, Array]]:
    """The arrays for some batch sizes, as far as the network's tests go."""
    rate = np.float64(judged.optimizer.learning_rate)
    return {n: {**arrays(judged, n), "learning_rate": rate} for n in batches if n <= judged.largest}


@cache
def _expected(judged: Judged, batches: tuple[int, ...]) -> dict[int, Results]:
    return reference(judged, cases(judged, batches))


def _wrong(judged: Judged, dtype: str, batches: tuple[int, ...], got: Mapping[int, Results]) -> list[str]:
    """Where results differ from the reference by more than rounding explains."""
    want, most = _expected(judged, batches), MOST if judged.random else math.inf
    wrong = apart(got, want, TOLERANCE[dtype], most)
    return wrong and apart(got, want, TOLERANCE[dtype], most, movement(judged, cases(judged, batches), want, dtype))


def eager(text: Source) -> Source:
    """The module with threads for every kernel that can be divided, however small: ordinarily most have too little work."""
    return replace(text, c_text=text.c_text.replace(f" < {THRESHOLD})", " < 0)"))


def computes(judged: Judged, dtype: str, target: Target, batches: tuple[int, ...], folder: Path) -> list[str]:
    """Whether what a target computes is what NumPy computes in float64."""
    text = source(judged, dtype)
    built = driver.build(eager(text) if target.threads > 1 else text, folder, target.command, target.threads)
    place = "malloc" if target.slower > 1 else "end"
    try:
        got = driver.run(built, cases(judged, batches), place, target.emulator, target.environment)
    except AssertionError as error:
        return [f"{judged.name}, {dtype}, {target.name}: {error}"]
    return [f"{judged.name}, {dtype}, {target.name}: {w}" for w in _wrong(judged, dtype, batches, got)]


def stays_inside(judged: Judged, dtype: str, batches: tuple[int, ...], folder: Path) -> list[str]:
    """Every array between two pages that cannot be touched, one thread and two: no crash, and the same bits everywhere."""
    text, runs = source(judged, dtype), {}
    for threads in (1, 2):
        built = driver.build(eager(text) if threads > 1 else text, folder, NATIVE.command, threads)
        for place in ("end", "start"):
            try:
                runs[threads, place] = driver.run(built, cases(judged, batches), place)
            except AssertionError as error:
                return [f"{judged.name}, {dtype}, {threads} threads, {place}: {error}"]
    first = runs[1, "end"]
    return [
        f"{judged.name}, {dtype}, {threads} threads, {place}: not the same bits"
        for (threads, place), other in runs.items()
        if not same(first, other)
    ] + [f"{judged.name}, {dtype}: {w}" for w in _wrong(judged, dtype, batches, first)]
