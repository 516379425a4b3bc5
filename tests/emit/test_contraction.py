"""Contraction kernels against NumPy: forms, sizes, layouts, epilogues, element types and targets."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from bpcompile.emit.c.contraction import emit_contraction
from tests.emit.contraction_harness import (
    NATIVE,
    Case,
    Compiled,
    arrange,
    build,
    compile_cases,
    expected,
    random_arrays,
    restore,
    source,
)

BATCHES = (1, 2, 7, 10, 40)
TARGETS = {
    "native": NATIVE,
    "avx2": ("-O2", "-mavx2", "-mfma", "-ffp-contract=fast"),
    "sse2": ("-O2",),
    "plain": ("-O2", "-DBP_PLAIN", "-Wpedantic"),
}


def dense(inputs: int, outputs: int) -> list[Case]:
    sizes = {"i": inputs, "o": outputs}
    return [
        Case("z[n,o] = x[n,i] * W[o,i]", sizes, epilogue=("a[n,o] = max(z[n,o] + b[o], 0.0)",)),
        Case("dx[n,i] += dz[n,o] * W[o,i]", sizes),
        Case("dW[o,i] = dz[n,o] * x[n,i]", sizes),
        Case("dW[o,i] += x[n,i] * dz[n,o]", sizes),
    ]


def convolution(c: int, o: int, k: int, size: int, stride: int = 1, dilation: int = 1) -> list[Case]:
    reach = stride * (size - 1) + dilation * (k - 1) + 1
    sizes = {"c": c, "o": o, "p": k, "q": k, "h": size, "w": size}
    x = f"x[n,c,{stride}*h+{dilation}*p,{stride}*w+{dilation}*q]"
    shapes = {"x": (None, c, reach, reach)}
    last = k - 1
    padded = {"dy": (None, o, size + last, size + last)}
    return [
        Case(f"y[n,o,h,w] = K[o,c,p,q] * {x}", sizes, shapes, epilogue=("a[n,o,h,w] = tanh(y[n,o,h,w] + b[o])",)),
        Case(f"y[n,o,h,w] = {x} * K[o,c,p,q]", sizes, shapes, {"x": (0, 2, 3, 1), "y": (0, 2, 3, 1)}),
        Case(f"dK[o,c,p,q] = dy[n,o,h,w] * {x}", sizes, shapes),
        Case(f"dK[o,c,p,q] += dy[n,o,h,w] * {x}", sizes, shapes, {"x": (0, 2, 3, 1), "dy": (0, 2, 3, 1)}),
        Case(f"dx[n,c,h,w] = dy[n,o,h-p+{last},w-q+{last}] * K[o,c,p,q]", sizes, padded),
    ]


# Columns in stretches that do not fill their vectors, windows whose gradient is summed over turned squares, and windows whose
# sums are turned before they are stored: over one block of depth, and over several with a rest of rows and columns.
IMAGE = [*convolution(3, 16, 5, 10), *convolution(1, 33, 7, 11), convolution(15, 29, 5, 6)[0]]

ATTENTION = [
    Case("s[n,k,t,u] = q[n,t,k,d] * r[n,u,k,d]", {"k": 3, "t": 9, "u": 19, "d": 20}),
    Case("y[n,t,k,d] = a[n,k,t,u] * v[n,u,k,d]", {"k": 3, "t": 9, "u": 19, "d": 20}),
    Case("dv[n,u,k,d] += a[n,k,t,u] * dy[n,t,k,d]", {"k": 3, "t": 9, "u": 19, "d": 20}),
    Case("z[n,t,j] = x[n,t,i] * W[j,i]", {"t": 6, "i": 24, "j": 50}, epilogue=("a[n,t,j] = exp(-z[n,t,j]) + b[j]",)),
    Case("dW[j,i] = dz[n,t,j] * x[n,t,i]", {"t": 30, "i": 24, "j": 50}),
]

OTHERS = [
    # Sums that are not stored, over one block of depth and over several.
    Case("z[n,o] = x[n,i] * W[o,i]", {"i": 70, "o": 50}, epilogue=("a[n,o] = tanh(z[n,o])", "e[n,o] += a[n,o] * z[n,o]"),
         local=frozenset({"z"})),
    Case("z[n,o] = x[n,i] * W[o,i]", {"i": 700, "o": 70}, epilogue=("z1[n,o] = z[n,o] + b[o]", "a[n,o] = max(z1[n,o], 0.0)",
         "c[n,o] = a[n,o] * z1[n,o]"), local=frozenset({"z", "z1"})),
    Case("z[n,o] = x[n,i] * W[i,o]", {"i": 700, "o": 50}, epilogue=("a[n,o] = z[n,o] + c[n]",), local=frozenset({"z"})),
    # The target's contiguous axis belongs to the rows, or to neither side.
    Case("z[o,i] = x[n,i] * W[n,o]", {"i": 20, "o": 50}),
    Case("z[n,o] = x[n,i] * W[o,i]", {"i": 40, "o": 13}, orders={"W": (1, 0)}),
    Case("g[o,i] = d[n,o] * x[n,i]", {"i": 40, "o": 13}, orders={"g": (1, 0)}),
    Case("y[n,a,b,c] = x[n,a,k] * W[b,c,k]", {"a": 3, "b": 5, "c": 7, "k": 11}, orders={"y": (0, 3, 1, 2)},
         epilogue=("z[n,a,b,c] = y[n,a,b,c] * b1[b] + c1[c]",)),
    # The batch in the columns, and everywhere.
    Case("y[n,i,t] = W[i,j] * x[n,j,t]", {"i": 12, "j": 9, "t": 21}, epilogue=("z[n,i,t] = y[n,i,t] + b[i]",)),
    Case("y[n,k,i,t] = W[k,i,j] * x[n,k,j,t]", {"k": 3, "i": 6, "j": 9, "t": 5}),
    Case("y[n,i,j] = a[n,i] * b[n,j]", {"i": 33, "j": 18}),
    # Axes of extent one, and one column.
    Case("z[n,o,e] = x[n,i,e] * W[o,i]", {"i": 5, "o": 1, "e": 1}),
    Case("z[n,o] = x[n,i] * W[o,i]", {"i": 129, "o": 1}, epilogue=("a[n,o] = z[n,o] + b[o]",)),
    # A batch that is summed over in several blocks.
    Case("g[o,i] = d[n,t,o] * x[n,t,i]", {"t": 50, "i": 20, "o": 13}, epilogue=("h[o,i] = g[o,i] * 0.5",)),
]  # fmt: skip


def check(kernel: Compiled, n: int, parts: int = 1) -> dict[str, np.ndarray]:
    built = kernel.built
    arrays = random_arrays(built, n, kernel.dtype, seed=n)
    wanted = expected(built, arrays, n)
    memory = arrange(built, arrays)
    kernel(memory, n, parts)
    tolerance = 3e-5 if kernel.dtype == "float32" else 1e-13
    for s in (built.kernel.statement, *built.kernel.epilogue):
        if s.target in built.kernel.local:
            continue
        got, scale = restore(built, s.target, memory[s.target]), np.abs(wanted[s.target]).max() + 0.1
        error = np.abs(got - wanted[s.target]).max() / scale
        assert error < tolerance, f"{built.case.equation}: {s.target} is off by {error:.1e} for n = {n}, {parts} parts"
    return memory


GROUPS = {
    "dense": [c for i, o in ((1, 1), (5, 3), (64, 32), (17, 50), (400, 97)) for c in dense(i, o)],
    "convolution": [*convolution(3, 6, 3, 8), *convolution(8, 5, 5, 16), *convolution(2, 9, 3, 7, stride=2),
                    *convolution(4, 4, 2, 5, stride=3, dilation=2)],
    "image": [*IMAGE, *convolution(4, 20, 3, 14), *convolution(2, 6, 5, 28)],
    "attention": ATTENTION,
    "others": OTHERS,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", GROUPS)
def test_native_kernels_agree_with_numpy(group: str, dtype: str, tmp_path: Path) -> None:
    for kernel in compile_cases(GROUPS[group], dtype, tmp_path):
        for n, parts in itertools.product(BATCHES, (1, 3)):
            check(kernel, n, parts)


@pytest.mark.parametrize("target", ["avx2", "sse2", "plain"])
def test_other_targets_agree_with_numpy(target: str, tmp_path: Path) -> None:
    cases = [*dense(70, 50), *convolution(3, 6, 3, 16), *IMAGE, *ATTENTION, *OTHERS]
    for kernel in compile_cases(cases, "float32", tmp_path, TARGETS[target]):
        for n in (1, 11, 40):
            check(kernel, n, parts=2)


@pytest.mark.parametrize("group", ["convolution", "image", "attention", "others"])
def test_results_do_not_depend_on_the_division_of_work(group: str, tmp_path: Path) -> None:
    for kernel in compile_cases(GROUPS[group], "float32", tmp_path):
        whole, parts = check(kernel, 40), check(kernel, 40, parts=5)
        for name, array in whole.items():
            np.testing.assert_array_equal(array, parts[name])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process of its own to fail in")
def test_memory_behind_the_arrays_is_not_touched(tmp_path: Path) -> None:
    cases = [*dense(17, 50), *dense(96, 48), *convolution(3, 6, 3, 8), *convolution(2, 5, 3, 16), *IMAGE, *ATTENTION, *OTHERS]
    kernels = compile_cases(cases, "float32", tmp_path)
    child = os.fork()
    if child == 0:
        try:
            for kernel in kernels:
                for n in (1, 3, 40):
                    arrays = arrange(kernel.built, random_arrays(kernel.built, n, "float32"))
                    kernel({name: guarded(a) for name, a in arrays.items()}, n)
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0, "a kernel touched memory behind the end of an array"


def guarded(a: np.ndarray) -> np.ndarray:
    """Copy an array to the end of memory whose next page cannot be touched."""
    pages = -(-a.nbytes // mmap.PAGESIZE) + 1
    room = np.frombuffer(mmap.mmap(-1, pages * mmap.PAGESIZE), np.uint8)
    edge = room.ctypes.data + (pages - 1) * mmap.PAGESIZE
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(edge), mmap.PAGESIZE, 0) == 0
    start = (pages - 1) * mmap.PAGESIZE - a.nbytes
    made = room[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    made[...] = a
    return made


def test_text_is_deterministic_and_does_not_grow_with_sizes() -> None:
    def text(case: Case) -> str:
        made = build(case)
        return source([emit_contraction(made.kernel, made.places, made.tensors, "float32", "kernel")], "float32")

    small, large = (convolution(3, 6, 3, size)[0] for size in (8, 80))
    assert text(small) == text(small)
    assert abs(len(text(large)) - len(text(small))) < 150
