"""Run the sweeps and write what they found into docs: ``python -m tests.full.trust_report [--networks 3000] [--c 300]``.

Writes docs/trust.md (promises, how each is tested, the figures of this run) and docs/mutants.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import time
from collections import Counter
from pathlib import Path

from bpcompile.stability import check_stability
from tests.abuse.test_spec_fuzz import mutated, survives
from tests.mutation import table
from tests.mutation.mutants import MUTANTS
from tests.mutation.test_mutants import verdict
from tests.numerics.test_stability import STABLE
from tests.random.regressions import FOUND
from tests.random.sweep import Sweep, sweep

DOCS = Path(__file__).parents[2] / "docs"
PROMISES = """\
# What is promised, and how it is tested

Written by `python -m tests.full.trust_report`; the figures are those of {date}.

| promise | how it is tested | last run |
| --- | --- | --- |
| gradients are those of the equations | random networks and random equations (products, nested reductions, affine \
subscripts, gathers, recurrences, batch statistics, state, shared layers) against PyTorch's automatic \
differentiation of an independent translation; float64, five batch sizes | {numpy} |
| generated C computes what generated NumPy computes | the same, with random draws, the difference at most 1e-11 of the \
largest gradient; the arena has a guard behind it | {c} |
| results do not depend on the number of threads | one and two threads, bit for bit (`tests/random`, slow) | with the tests |
| the user's own check notices a wrong gradient | the generator broken on purpose, a line each in [mutants](mutants.md) | {mutants} |
| formulas hold over the whole range | stable forms and activations at all magnitudes beside exact values, \
`bpcompile.stability.check_stability` | {stability} |
| generated C is clean | gcc with -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wdouble-promotion -Wshadow as errors; \
address and undefined-behaviour sanitizers on random networks (slow) | with the tests |
| the text is the same in every process | three hash seeds | with the tests |
| wrong input gets a sentence | spec files changed at random; arrays in every form; hostile names; endless numbers; huge extents | {fuzz} |

What random networks have found is kept, a test each: `tests/random/regressions.py` has {found} of them.

## The largest relative errors of stable forms

A derivative's error counts in units of max(1, |f'|).

| formula | float32 | float64 |
| --- | --- | --- |
{errors}
"""


def _figures(run: Sweep) -> str:
    return f"{run.compared} networks in {run.seconds:.0f} s, {run.failures} wrong ({run.refused} more refused)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=3000)
    parser.add_argument("--c", type=int, default=300)
    parser.add_argument("--specs", type=int, default=3000)
    options = parser.parse_args()
    numpy = sweep(100_000, options.networks, "numpy")
    c = sweep(200_000, options.c, "c")
    verdicts = Counter(verdict(m) for m in MUTANTS)
    reports = {f: [check_stability(f, dtype=d) for d in ("float32", "float64")] for f in STABLE}
    start = time.perf_counter()
    for seed in range(options.specs):
        survives(mutated(100_000 + seed))
    fuzzed = time.perf_counter() - start
    unstable = sum(not r.passed for pair in reports.values() for r in pair)
    text = PROMISES.format(
        date=datetime.date.today().isoformat(),
        numpy=_figures(numpy),
        c=_figures(c),
        mutants=f"{verdicts['red']} of {len(MUTANTS)} noticed",
        stability=f"{len(STABLE)} formulas in two element types, {unstable} with findings",
        fuzz=f"{options.specs} spec files in {fuzzed:.0f} s",
        found=len(FOUND),
        errors="\n".join(f"| `{f}` | {a.worst:.2g} | {b.worst:.2g} |" for f, (a, b) in reports.items()),
    )
    (DOCS / "trust.md").write_text(text)
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        table.main()
    (DOCS / "mutants.md").write_text(page.getvalue())
    return int(numpy.failures + c.failures + unstable > 0 or verdicts["red"] < len(MUTANTS))


if __name__ == "__main__":
    raise SystemExit(main())
