"""A long seeded run: ``python -m tests.random.sweep --first 0 --count 5000 [--backend c]``.

Prints each failure as the text one would type, shrunk, and the seed. NumPy is compared with PyTorch's gradients of an
independent translation; C with NumPy, on all batch sizes in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from bpcompile.errors import BPCompileError, NetworkError
from tests.random import checks
from tests.random.c_runs import c_result
from tests.random.choices import Choices, Noted, Replayed, Seeded, shrunk
from tests.random.networks import network


@dataclass
class Sweep:
    """The figures of a run."""

    networks: int = 0
    compared: int = 0
    refused: int = 0
    failures: int = 0
    seconds: float = 0.0


def wrong(choices: Choices, seed: int, backend: str) -> str | None:
    """What is wrong with a network; None if nothing is, empty if it was refused with a sentence."""
    case = network(choices, draws=backend == "c")
    try:
        net, arrays, n = checks.case_arrays(case, seed)
    except BPCompileError:
        return ""
    training = seed % 7 != 0
    try:
        if backend == "numpy":
            found = checks.against_torch(net, arrays, n, training)
        else:
            want = checks.run(checks.compiled(net, "numpy"), net, arrays, seed, training)
            found = checks.differences(c_result(net, arrays, n, key=seed, training=training), want, 1e-11)
    except NetworkError:  # a recurrence that cannot be put in order over time
        return ""
    except Exception as error:  # whatever it is, it is a finding
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "\n".join(found) or None


def sweep(first: int, count: int, backend: str, *, shrink: bool = True) -> Sweep:
    """Run seeds one after another."""
    figures = Sweep()
    start = time.perf_counter()
    for seed in range(first, first + count):
        noted = Noted(Seeded(seed))
        found = wrong(noted, seed, backend)
        figures.networks += 1
        figures.refused += found == ""
        figures.compared += found != ""
        if found:
            figures.failures += 1
            small = shrunk(noted.used, lambda c, k=seed: bool(wrong(c, k, backend)), 300) if shrink else noted.used
            print(f"seed {seed}: {found}\n{network(Replayed(small), backend == 'c')}\n", flush=True)
    figures.seconds = time.perf_counter() - start
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--backend", choices=("numpy", "c"), default="numpy")
    options = parser.parse_args()
    figures = sweep(options.first, options.count, options.backend)
    print(figures)
    return int(figures.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
