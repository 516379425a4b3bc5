"""Every float32 through the vector functions of generated C, against the C library in double precision.

Run as ``python tests/full/sweep_float32.py [function ...] [--every N] [--flags "..."]``; the exit status is 1 where a
function exceeds the error that its row in the table states.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bpcompile.emit.c.vector import vector_preamble
from bpcompile.emit.c.vector_rows import ROWS

REFERENCES = {
    "exp": "exp(x)",
    "expm1": "expm1(x)",
    "log": "log(x)",
    "log1p": "log1p(x)",
    "log2": "log2(x)",
    "log10": "log10(x)",
    "tanh": "tanh(x)",
    "sigmoid": "1 / (1 + exp(-x))",
    "softplus": "(x > 0 ? x : 0) + log1p(exp(-fabs(x)))",
    "sin": "sin(x)",
    "cos": "cos(x)",
    "erf": "erf(x)",
    "erfc": "erfc(x)",
    "lgamma": "lgamma(x)",
    "gamma": "tgamma(x)",
    **{f: f"{f}(x)" for f in ("sqrt", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")},
}
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")

DRIVER = """
#include <float.h>

/* Units in the last place of the exact value between a result and it; inf stands for 2^128. */
static double error_in_ulp(float got, double exact) {
    if (isnan(exact) || isnan(got)) return isnan(exact) && isnan(got) ? 0 : 1e30;
    if (got == (float)exact) return signbit(got) == signbit((float)exact) ? fabs(isinf(got) ? 0 : ulps(got, exact)) : 1e30;
    return fabs(ulps(isinf(got) ? copysign(0x1p128, got) : got, exact));
}

void sweep(uint64_t first, uint64_t end, uint64_t every, double *worst, float *at) {
    *worst = 0;
    *at = 0;
    for (uint64_t i = first; i < end; i += LANES * every) {
        float in[LANES], out[LANES];
        for (int l = 0; l < LANES; l++) {
            const uint32_t bits = (uint32_t)(i + (uint64_t)l * every);
            memcpy(in + l, &bits, sizeof bits);
        }
        v_store(out, v_NAME(v_load(in)));
        for (int l = 0; l < LANES; l++) {
            const double x = in[l];
            const double error = error_in_ulp(out[l], REFERENCE);
            if (error > *worst) {
                *worst = error;
                *at = in[l];
            }
        }
    }
}
"""
ULPS = """
static double ulps(double got, double exact) {
    uint64_t bits;
    memcpy(&bits, &exact, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    if (exponent < -126) exponent = -126;
    if (exponent > 127) exponent = 127;
    bits = (uint64_t)(1023 + 23 - exponent) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return (got - exact) * scale;
}
"""


@dataclass(frozen=True)
class Worst:
    """The largest error of a function, in units in the last place, and where it is."""

    function: str
    ulp: float
    at: float
    stated: float

    @property
    def passed(self) -> bool:
        return self.ulp <= self.stated


def sweep(function: str, every: int = 1, flags: tuple[str, ...] = FLAGS) -> Worst:
    """Measure one function over each float32 whose bit pattern is a multiple of `every`."""
    text = vector_preamble("float32", [function, "load", "store"]) + ULPS + DRIVER
    text = text.replace("v_NAME", f"v_{function}").replace("REFERENCE", REFERENCES[function])
    worst, at = ctypes.c_double(), ctypes.c_float()
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "sweep.c"), Path(folder, "sweep.so")
        source.write_text(text)
        subprocess.run(["gcc", *flags, "-fPIC", "-shared", str(source), "-o", str(library), "-lm"], check=True)
        run = ctypes.CDLL(str(library)).sweep
        run.argtypes = [ctypes.c_uint64] * 3 + [ctypes.c_void_p] * 2
        run(0, 1 << 32, every, ctypes.byref(worst), ctypes.byref(at))
    stated = next(row.ulp for row in ROWS if row.name == function)
    return Worst(function, worst.value, at.value, stated or 0.0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", default=list(REFERENCES))
    parser.add_argument("--every", type=int, default=1, help="look at one bit pattern in so many")
    parser.add_argument("--flags", default=" ".join(FLAGS), help="what gcc is called with")
    options = parser.parse_args(arguments)
    failed = False
    for function in options.functions:
        worst = sweep(function, options.every, tuple(options.flags.split()))
        failed = failed or not worst.passed
        verdict = "" if worst.passed else "  EXCEEDS"
        print(
            f"{function:10s} {worst.ulp:8.3f} ulp at {worst.at:.9g} ({worst.at.hex()}), stated {worst.stated}{verdict}",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
