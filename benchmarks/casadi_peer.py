"""A step of 64-32-10 in float64 against the C that CasADi generates, both called from one loop in C."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import bpcompile as bp
from benchmarks.machine import all_cores
from benchmarks.networks import dense_network
from bpcompile.commands.timing import Timing, timed

SIZES = (64, 32, 10)
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
_COUNT = 1000
_LOOPS = """
typedef int (*ours_function)(const void *);
typedef int (*theirs_function)(const double **, double **, long long *, double *, int);
void repeat_ours(ours_function f, const void *call, long count) { for (long i = 0; i < count; i++) f(call); }
void repeat_theirs(theirs_function f, const double **in, double **out, long long *iw, double *w, long count) {
    for (long i = 0; i < count; i++) f(in, out, iw, w, 0);
}
void repeat_traffic(const double *from, double *to, long elements, long count) {
    for (long i = 0; i < count; i++) {
        double sums[64] = {0};
        for (long k = 0; k + 64 <= elements; k += 64) for (int j = 0; j < 64; j++) sums[j] += from[k + j];
        for (long k = 0; k + 64 <= elements; k += 64) for (int j = 0; j < 64; j++) to[k + j] = sums[j];
    }
}
"""


@dataclass(frozen=True)
class CasadiResult:
    """Seconds of a step, and of going from the network to a loaded function, on each side.

    `traffic` is how long it takes to read as many numbers as there are parameters, and to write as many gradients: no step
    takes less where both together are more than the first-level cache holds.
    """

    steps: dict[str, Timing]
    compile_seconds: dict[str, float]
    traffic: Timing

    def as_json(self) -> dict[str, Any]:
        """As the pages read it."""
        timings = {k: vars(t) for k, t in self.steps.items()}
        return {"timings": timings, "compile": self.compile_seconds, "traffic": vars(self.traffic)}


def measure_casadi(seconds: float, rounds: int) -> CasadiResult:
    """Measure one step on both sides, after checking that they agree."""
    own_seconds = []
    for hidden in (SIZES[1] - 8, SIZES[1] + 8, SIZES[1]):  # what is built before is in the cache; whole vectors in each
        with all_cores():
            start = time.perf_counter()
            model: Any = bp.compile(dense_network((SIZES[0], hidden, SIZES[2]), "relu"), dtype="float64")
            own_seconds.append(time.perf_counter() - start)
    rng = np.random.default_rng(0)
    params = model.parameters({k: v + 0.01 * rng.standard_normal(v.shape) for k, v in model.init(seed=0).items()})
    x, y = rng.standard_normal((1, SIZES[0])), np.array([3], np.int32)
    loss, grads = model.value_and_grad(params, x=x, y=y)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        their_seconds = []
        for k in range(len(own_seconds)):
            (folder / str(k)).mkdir()
            with all_cores():
                start = time.perf_counter()
                function, work = _generated(folder / str(k))
                their_seconds.append(time.perf_counter() - start)
        loops = _compiled(folder, "loops", _LOOPS)
        out = [np.empty(1), np.empty(params.flat.size)]
        arrays = [params.flat, np.ascontiguousarray(x[0]), np.eye(SIZES[-1])[3]]
        pointers = [(ctypes.c_void_p * len(g))(*(a.ctypes.data for a in g)) for g in (arrays, out)]
        integers, reals = np.empty(max(1, work[0]), np.int64), np.empty(max(1, work[1]))

        def theirs() -> None:
            loops.repeat_theirs(function, *pointers, integers.ctypes.data_as(ctypes.c_void_p),
                                reals.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(_COUNT))  # fmt: skip

        theirs()
        if abs(out[0][0] - loss) > 1e-10 or np.abs(out[1] - grads.flat).max() > 1e-10:
            raise AssertionError("CasADi and bpcompile disagree")
        step = model.bind(params, x=x, y=y)
        call, run = _address(model, step)
        read, written = (ctypes.c_void_p(a.ctypes.data) for a in (params.flat, grads.flat))
        size, count = ctypes.c_long(params.flat.size), ctypes.c_long(_COUNT)
        found = timed(
            {
                "bpcompile": lambda: loops.repeat_ours(run, call, count),
                "CasADi": theirs,
                "traffic": lambda: loops.repeat_traffic(read, written, size, count),
            },
            seconds,
            rounds,
        )
    steps = {
        k: Timing(t.median / _COUNT, t.least / _COUNT, t.processor / _COUNT, t.rounds, t.calls * _COUNT)
        for k, t in found.items()
    }
    traffic = steps.pop("traffic")
    compile_seconds = {"bpcompile": median(own_seconds), "CasADi": median(their_seconds)}
    return CasadiResult(steps, compile_seconds, traffic)


def _generated(folder: Path) -> tuple[Any, tuple[int, int]]:
    """The network in CasADi's scalar graphs, as compiled C."""
    import casadi as ca

    inputs, hidden, classes = SIZES
    count = hidden * inputs + hidden + classes * hidden + classes
    p, x, y = ca.SX.sym("p", count), ca.SX.sym("x", inputs), ca.SX.sym("y", classes)
    cuts = np.cumsum([hidden * inputs, hidden, classes * hidden])
    w1, b1, w2, b2 = p[: cuts[0]], p[cuts[0] : cuts[1]], p[cuts[1] : cuts[2]], p[cuts[2] :]
    h = ca.fmax(ca.reshape(w1, inputs, hidden).T @ x + b1, 0)
    z = ca.reshape(w2, hidden, classes).T @ h + b2
    loss = ca.log(ca.sum1(ca.exp(z - ca.mmax(z)))) + ca.mmax(z) - ca.dot(y, z)
    step = ca.Function("step", [p, x, y], [loss, ca.gradient(loss, p)])
    generator = ca.CodeGenerator("step.c")
    generator.add(step)
    generator.generate(f"{folder}/")
    library = _compiled(folder, "step")
    return library.step, (step.sz_iw(), step.sz_w())


def _compiled(folder: Path, name: str, text: str | None = None) -> Any:
    if text is not None:
        (folder / f"{name}.c").write_text(text)
    target = folder / f"lib{name}.so"
    subprocess.run(["gcc", *FLAGS, str(folder / f"{name}.c"), "-o", str(target), "-lm"], check=True)
    return ctypes.CDLL(str(target))


def _address(model: Any, step: Any) -> tuple[Any, Any]:
    """The struct of a bound step and the function that takes it, as ctypes sees them."""
    backend = model._backend
    workspace = step.keep[0]
    ffi = backend.ffi
    run = ffi.addressof(backend.lib, f"{backend.prefix}_value_and_grad")
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", workspace.call))), ctypes.c_void_p(int(ffi.cast("uintptr_t", run)))
