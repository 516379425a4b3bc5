"""Gather what the sweeps found into docs: ``python -m tests.full.trust_report FOLDER``.

Writes docs/trust.md (promises, how each is tested, the figures of the last run) and docs/mutants.md. FOLDER has what the long
runs of ``.ci/full`` wrote: ``<check>.json`` for each check of random networks, and ``specs.json``.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from bpcompile.stability import check_stability
from tests.mutation import table
from tests.numerics.test_stability import STABLE
from tests.random.regressions import FOUND

DOCS = Path(__file__).parents[2] / "docs"
RANDOM = ("pytorch", "jax", "interpreter", "everywhere", "float32")
"""The checks of random networks on the page."""
PROMISES = """\
# What is promised, and how it is tested

Written by `python -m tests.full.trust_report`, the last part of `.ci/full`; the figures are those of {date}. Seconds are the
processor's.

| promise | how it is tested | last run |
| --- | --- | --- |
| gradients are those of the equations | random networks of random equations (products, nested reductions, affine subscripts, \
gathers, recurrences in both directions and together, batch statistics, state, shared layers and parameters, several losses, \
penalties), float64, five batch sizes, against PyTorch's automatic differentiation of an independent translation | {pytorch} |
| | the same against JAX | {jax} |
| | the same against scalar loops over the equations as typed, one gradient by differences in forty digits | {interpreter} |
| generated C computes what generated NumPy computes, whatever the number of threads | the same with random draws, batch sizes \
1, 2, 3, 7 and 17: at most 1e-11 of the largest gradient, or what one unit in the last place of the inputs moves; one thread, \
two threads and a repeated call bit for bit; a guard behind the arena | {everywhere} |
| float32 is as good as float32 can be | generated C in float32 against NumPy in float64, within 2^-15 of the largest gradient \
and what eight half units in the last place of the inputs move; threads and repeated calls bit for bit | {float32} |
| the user's own check notices a wrong gradient, and a test of ours what no gradient shows | the generator broken on purpose, a \
line each in [mutants](mutants.md) | {mutants} |
| formulas hold over the whole range | stable forms and activations at all magnitudes beside exact values, \
`bpcompile.stability.check_stability`; every function, activation and loss in [numerics](numerics.md) | {stability} |
| generated C is clean | gcc with -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wdouble-promotion -Wshadow as errors; \
gcc and clang, sanitizers, valgrind, guard pages and five processors in [generated C](generated_c.md) | with the tests |
| the text is the same in every process | three hash seeds | with the tests |
| wrong spec files get a sentence, soon | files changed as trees, as equations and as bytes; read, compiled and derived in 3 GiB, \
20 s each | {specs} |
| wrong arrays, options and files get a sentence | every option of every kind of layer with every hostile value; arrays in every \
form and of other devices; damaged .npz, .csv and safetensors; hostile names; endless numbers; huge extents (`tests/abuse`) | with \
the tests |

What random networks have found is kept, a test each: `tests/random/regressions.py` has {kept} of them.

## The largest relative errors of stable forms

A derivative's error counts in units of max(1, |f'|).

| formula | float32 | float64 |
| --- | --- | --- |
{errors}
"""


def _random(figures: dict[str, Any]) -> str:
    run = f"{figures['compared']} networks in {figures['seconds']:.0f} s, {figures['failures']} wrong"
    return f"{run} ({figures['refused']} more refused)" if figures["refused"] else run


def _specs(figures: dict[str, Any]) -> str:
    return (
        f"{figures['files']} files in {figures['seconds']:.0f} s: {figures['refused']} refused, {figures['read']} read, "
        f"{figures['compiled']} compiled, {figures['derived']} derived, {figures['failures']} failures"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summaries", type=Path, help="the folder with the summaries of the long runs")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {
        name: json.loads((options.summaries / f"{name}.json").read_text()) for name in (*RANDOM, "specs")
    }
    mutants, noticed = table.page()
    reports = {f: [check_stability(f, dtype=d) for d in ("float32", "float64")] for f in STABLE}
    unstable = sum(not r.passed for pair in reports.values() for r in pair)
    text = PROMISES.format(
        date=datetime.date.today().isoformat(),
        **{check: _random(found[check]) for check in RANDOM},
        specs=_specs(found["specs"]),
        mutants=f"{noticed} of {table.MUTANTS} noticed",
        stability=f"{len(STABLE)} formulas in two element types, {unstable} with findings",
        kept=len(FOUND),
        errors="\n".join(f"| `{f}` | {a.worst:.2g} | {b.worst:.2g} |" for f, (a, b) in reports.items()),
    )
    (DOCS / "trust.md").write_text(text)
    (DOCS / "mutants.md").write_text(mutants)
    failures = sum(figures["failures"] for figures in found.values())
    return int(failures + unstable > 0 or noticed < table.MUTANTS)


if __name__ == "__main__":
    raise SystemExit(main())
