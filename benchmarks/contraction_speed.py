"""Contraction kernels on one thread, in per cent of the processor's measured multiply-add peak, beside NumPy's BLAS.

Run from the root of a checkout, pinned to one core: ``taskset -c 1 python -m benchmarks.contraction_speed [words]``; words
select the rows whose name contains one of them.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import peak_loop
from tests.emit.contraction_harness import Case, arrange, build, compile_cases, random_arrays


def dense(name: str, n: int, i: int, o: int) -> list[tuple[str, Case, int]]:
    """The three products of a dense layer with n examples, i inputs and o outputs."""
    sizes = {"i": i, "o": o}
    return [
        (f"{name} forward NT", Case("z[n,o] = x[n,i] * W[o,i]", sizes), n),
        (f"{name} input-grad NN", Case("dx[n,i] = dz[n,o] * W[o,i]", sizes), n),
        (f"{name} weight-grad TN", Case("dW[o,i] = dz[n,o] * x[n,i]", sizes), n),
    ]


def convolution(name: str, n: int, c: int, o: int, k: int, size: int) -> list[tuple[str, Case, int]]:
    """The three products of a convolution without stride, channels last, over padded tensors."""
    sizes = {"c": c, "o": o, "p": k, "q": k, "h": size, "w": size}
    padded = (None, size + k - 1, size + k - 1, c)
    inner = {"x": padded}
    outer = {"dy": (None, size + k - 1, size + k - 1, o)}
    first = {"x": (None, c, size + k - 1, size + k - 1)}
    last = k - 1
    return [
        (f"{name} forward nhwc", Case("y[n,h,w,o] = K[o,c,p,q] * x[n,h+p,w+q,c]", sizes, inner), n),
        (f"{name} input-grad nhwc",
         Case(f"dx[n,h,w,c] = dy[n,h-p+{last},w-q+{last},o] * K[o,c,p,q]", sizes, outer), n),
        (f"{name} weight-grad nhwc", Case("dK[o,c,p,q] = dy[n,h,w,o] * x[n,h+p,w+q,c]", sizes, inner), n),
        (f"{name} forward nchw", Case("y[n,o,h,w] = K[o,c,p,q] * x[n,c,h+p,w+q]", sizes, first), n),
        (f"{name} weight-grad nchw", Case("dK[o,c,p,q] = dy[n,o,h,w] * x[n,c,h+p,w+q]", sizes, first), n),
    ]  # fmt: skip


ROWS = [
    *dense("64-32 b1", 1, 64, 32), *dense("32-10 b1", 1, 32, 10), *dense("784-30 b10", 10, 784, 30),
    *dense("784-128 b64", 64, 784, 128), *dense("64-256 b256", 256, 64, 256), *dense("256-256 b256", 256, 256, 256),
    *dense("784-512 b128", 128, 784, 512), *dense("512-512 b128", 128, 512, 512), *dense("512-10 b128", 128, 512, 10),
    *dense("1024-2048 b256", 256, 1024, 2048), *dense("2048-2048 b256", 256, 2048, 2048),
    *dense("2048-1000 b256", 256, 2048, 1000), *dense("768-3072 b256", 256, 768, 3072),
    *dense("lstm 128-512 b16", 16, 128, 512), *dense("vocabulary 768-50257 b256", 256, 768, 50257),
    *convolution("lenet 1-6", 32, 1, 6, 5, 24), *convolution("lenet 6-16", 32, 6, 16, 5, 8),
    *convolution("conv 3-32", 32, 3, 32, 3, 32), *convolution("conv 32-32", 32, 32, 32, 3, 32),
    *convolution("conv 32-64", 32, 32, 64, 3, 16), *convolution("conv 64-64", 32, 64, 64, 3, 16),
    ("attention scores", Case("s[n,k,t,u] = q[n,t,k,d] * r[n,u,k,d]", {"k": 4, "t": 64, "u": 64, "d": 32}), 8),
    ("attention values", Case("y[n,t,k,d] = a[n,k,t,u] * v[n,u,k,d]", {"k": 4, "t": 64, "u": 64, "d": 32}), 8),
    ("attention dvalues", Case("dv[n,u,k,d] = a[n,k,t,u] * dy[n,t,k,d]", {"k": 4, "t": 64, "u": 64, "d": 32}), 8),
]  # fmt: skip


def seconds(call: Callable[[], object], least: float = 0.05) -> float:
    """Give the best time of a call on its processor, over runs that take at least the given time each."""
    repeat, best = 1, float("inf")
    call()
    while True:
        start = time.thread_time()
        for _ in range(repeat):
            call()
        spent = time.thread_time() - start
        best = min(best, spent / repeat)
        if spent > least:
            break
        repeat = max(repeat * 2, int(repeat * least / max(spent, 1e-9)))
    for _ in range(3):
        start = time.thread_time()
        for _ in range(repeat):
            call()
        best = min(best, (time.thread_time() - start) / repeat)
    return best


def main() -> None:
    """Print the table."""
    words = [w for w in sys.argv[1:] if not w.startswith("float")]
    dtype = next((w for w in sys.argv[1:] if w.startswith("float")), "float32")
    chosen = [r for r in ROWS if not words or any(w in r[0] for w in words)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        kernels = compile_cases([case for _, case, _ in chosen], dtype, folder)
        print(f"{len(kernels)} kernels written and compiled in {time.perf_counter() - start:.2f} s")
        loop = peak_loop(dtype)
        peak = loop.best() / 2 if loop else float("nan")
        print(f"peak {peak * 1e-9:.1f} G multiply-adds/s, {dtype}")
        for (title, case, n), kernel in zip(chosen, kernels, strict=True):
            built = build(case)
            arrays = arrange(built, random_arrays(built, n, dtype))
            products = float(n) * np.prod([float(v) for v in case.sizes.values()])
            pointers = [arrays[a.tensor].ctypes.data for a in kernel.text.arguments if a.source == "tensor"]
            table = (ctypes.c_void_p * len(pointers))(*pointers)
            own = seconds(lambda kernel=kernel, table=table, n=n: kernel.function(table, n, 1))
            line = f"{title:36s} {own * 1e6:10.2f} us {100 * products / own / peak:6.1f} %"
            if "-grad N" in title or "forward N" in title or "TN" in title:
                x, y = (arrays[e.value[0]] for e in (built.kernel.left, built.kernel.right))
                x = x.T if "TN" in title else x
                y = y.T if "NT" in title else y
                out = np.empty((x.shape[0], y.shape[1]), dtype)
                blas = seconds(lambda x=x, y=y, out=out: np.matmul(x, y, out=out))
                line += f"   BLAS {blas * 1e6:10.2f} us {100 * products / blas / peak:6.1f} %"
            print(line, flush=True)


if __name__ == "__main__":
    main()
