"""What a table says of the machine: the processor, its vectors, the measured peak; never a name or a path."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

_PEAK = """
#include <stddef.h>
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define COUNT 12
typedef REAL vector __attribute__((vector_size(BYTES)));
int lanes(void) { return BYTES / (int)sizeof(REAL); }
double peak(ptrdiff_t count) {
    vector a[COUNT], x = {0}, y = {0};
    double sum = 0;
    x += (REAL)1.0000001; y += (REAL)1e-9;
    for (int i = 0; i < COUNT; i++) a[i] = x + (REAL)i;
    for (ptrdiff_t k = 0; k < count; k++) {
        _Pragma("GCC unroll 12")
        for (int i = 0; i < COUNT; i++) a[i] = a[i] * x + y;
    }
    for (int i = 0; i < COUNT; i++) sum += (double)a[i][0];
    return sum;
}
"""


@dataclass(frozen=True)
class Machine:
    """Where a table was measured."""

    processor: str
    cores: int
    vector_bits: int
    peak: float
    system: str
    versions: dict[str, str]


def pin(threads: int) -> list[int]:
    """Keep this process on as many cores as it may have threads; the last ones, which are the least disturbed."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """Let this process use every core meanwhile: what compiles is free to do so, side by side."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def set_environment(threads: int) -> None:
    """Tell the peers how many threads they have; before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def describe(dtype: str) -> Machine:
    """Measure and ask."""
    loop = peak_loop(dtype)
    bits, peak = (loop.vector_bits, loop.best()) if loop else (0, 0.0)
    names = ("numpy", "torch", "jax", "scikit-learn", "casadi")
    versions = {"Python": platform.python_version(), "gcc": _gcc()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Machine(_processor(), os.cpu_count() or 1, bits, peak, platform.system(), versions)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    text = found.group(1).strip() if found else platform.processor() or platform.machine()
    numbers = _family()
    return f"{text} ({numbers})" if numbers else text


def _family() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    family, model = (re.search(rf"^{name}\s*:\s*(\d+)$", text, re.M) for name in ("cpu family", "model"))
    return f"family {family.group(1)}, model {model.group(1)}" if family and model else ""


def _gcc() -> str:
    try:
        return subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


@dataclass(frozen=True)
class PeakLoop:
    """A loop of multiply-adds in registers: nothing on one core does more operations in a second (a multiply-add is two)."""

    call: Callable[[], Any]
    operations: float
    vector_bits: int

    def best(self) -> float:
        """Operations per second: the best of some calls."""
        times = []
        for _ in range(100):
            start = time.thread_time()
            self.call()
            times.append(time.thread_time() - start)
        return self.operations / min(times)


@cache
def peak_loop(dtype: str) -> PeakLoop | None:
    """Compile the loop, of some 0.6 milliseconds; None without gcc."""
    real = "float" if dtype == "float32" else "double"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
        source.write_text(_PEAK)
        flags = ["-O2", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast", "-shared", "-fPIC"]
        flags.append(f"-DREAL={real}")
        try:
            subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        c = ctypes.CDLL(str(library))
    c.peak.restype, c.peak.argtypes = ctypes.c_double, [ctypes.c_ssize_t]
    lanes, count = int(c.lanes()), 200_000
    return PeakLoop(partial(c.peak, count), 2.0 * 12 * lanes * count, 8 * (4 if dtype == "float32" else 8) * lanes)
