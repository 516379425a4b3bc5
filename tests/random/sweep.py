"""A long seeded run: ``python -m tests.random.sweep --check pytorch --first 0 --count 5000``, or ``--seconds 3600``.

Prints each failure as the text one would type, shrunk, and the seed. Generated NumPy is compared with the gradients of
independent translations; generated C with NumPy, at all batch sizes and numbers of threads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bpcompile.errors import BPCompileError, NetworkError
from bpcompile.language.network import Network
from tests.random import c_runs, checks
from tests.random.choices import Choices, Noted, Replayed, Seeded, shrunk
from tests.random.float32 import float32_everywhere
from tests.random.networks import network

BATCHES = (1, 2, 3, 7, 17)
EVERY = 50
"""After so many networks the figures so far are written."""


@dataclass
class Sweep:
    """The figures of a run; seconds are the processor's, the C compiler's among them."""

    check: str
    first: int
    networks: int = 0
    compared: int = 0
    refused: int = 0
    failures: int = 0
    seconds: float = 0.0


def _pytorch(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    return checks.against_torch(net, arrays, n, training=seed % 7 != 0)


def _jax(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    return checks.against_jax(net, arrays, n, training=seed % 7 != 0)


def _interpreter(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    few = min(n, 3)  # scalar loops are slow
    return checks.against_interpreter(net, checks.arrays_of(net, few, seed), training=seed % 7 != 0)


def _c(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    training = seed % 7 != 0
    found = c_runs.c_result(net, arrays, n, key=seed, training=training)
    return checks.compared(found, checks.compiled(net, "numpy"), net, arrays, 1e-11, seed, training)


def _everywhere(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    return c_runs.everywhere(net, BATCHES, seed)


def _float32(net: Network, arrays: Mapping[str, np.ndarray], n: int, seed: int) -> list[str]:
    return float32_everywhere(net, BATCHES, seed)


CHECKS = {"pytorch": _pytorch, "jax": _jax, "interpreter": _interpreter, "c": _c, "everywhere": _everywhere, "float32": _float32}
DRAWS = ("c", "everywhere")
"""Checks whose networks draw random numbers: both sides know the generator."""


def wrong(choices: Choices, seed: int, check: str) -> str | None:
    """What is wrong with a network; None if nothing is, empty if it was refused with a sentence."""
    case = network(choices, draws=check in DRAWS)
    try:
        net, arrays, n = checks.case_arrays(case, seed)
    except BPCompileError:
        return ""
    try:
        found = CHECKS[check](net, arrays, n, seed)
    except NetworkError:  # a recurrence that cannot be put in order over time
        return ""
    except Exception as error:  # whatever it is, it is a finding
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "\n".join(found) or None


def processor_seconds() -> float:
    """Of this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def sweep(
    first: int, count: int | None, check: str, *, seconds: float = float("inf"), summary: Path | None = None, shrink: bool = True
) -> Sweep:
    """Run seeds one after another, until there were so many or the processor's time is used up."""
    figures = Sweep(check, first)
    start = processor_seconds()
    for seed in itertools.count(first) if count is None else range(first, first + count):
        noted = Noted(Seeded(seed))
        found = wrong(noted, seed, check)
        figures.networks += 1
        figures.refused += found == ""
        figures.compared += found != ""
        if found:
            figures.failures += 1
            small = shrunk(noted.used, lambda c, k=seed: bool(wrong(c, k, check)), 300) if shrink else noted.used
            print(f"seed {seed}: {found}\n{network(Replayed(small), check in DRAWS)}\n", flush=True)
        figures.seconds = processor_seconds() - start
        done = figures.seconds >= seconds
        if summary is not None and (done or figures.networks % EVERY == 0):
            summary.write_text(json.dumps(asdict(figures)) + "\n")
        if done:
            break
    if summary is not None:
        summary.write_text(json.dumps(asdict(figures)) + "\n")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of processor time")
    parser.add_argument("--check", choices=tuple(CHECKS), default="pytorch")
    parser.add_argument("--summary", type=Path, help="where the figures are written, as JSON")
    options = parser.parse_args()
    if options.count is None and options.seconds == float("inf"):
        parser.error("give --count or --seconds: the run has no end")
    figures = sweep(options.first, options.count, options.check, seconds=options.seconds, summary=options.summary)
    print(figures)
    return int(figures.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
