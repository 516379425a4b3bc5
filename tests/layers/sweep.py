"""The sweep of the layer library: every layer, many settings, all comparisons.

``python -m tests.layers.sweep`` runs a seeded sample, ``--full`` everything; the figures are printed at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.layers import cases_basic, cases_images, cases_sequences, cases_typed
from tests.layers.cases import Case
from tests.layers.harness import (
    BACKENDS,
    NUMERIC,
    TORCH,
    TORCH_FLOAT32,
    Check,
    against_adjoint,
    against_slopes,
    against_torch,
    build,
    draw,
    model_of,
    run,
    same,
)

#: The settings that every run of the tests goes through, on the NumPy backend.
CASES: tuple[Case, ...] = (*cases_basic.CASES, *cases_images.CASES, *cases_sequences.CASES, *cases_typed.CASES)

try:
    import torch
except ImportError:
    torch = None


MEANINGS = {
    BACKENDS: "C against NumPy in float64, and the dot-product test of the adjoint",
    TORCH: "NumPy against PyTorch in float64",
    NUMERIC: "gradients against slopes of the loss",
    TORCH_FLOAT32: "C in float32 against float64",
}

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sweep.md"
TEXT = """# The sweep of the layer library

Every layer in many settings: padding, stride, dilation, groups, odd sizes, batches of one and five. Written by
`python -m tests.layers.sweep --full` on {date}. Errors are in units of the largest element of each tensor.

| what is compared | comparisons | worst error | allowed |
| --- | ---: | ---: | ---: |
{rows}

{summary}.
"""


def every_case() -> list[Case]:
    """All settings, with the grids and with batches of one and five."""
    grids = [*cases_images.more_convolutions(), *cases_images.more_transposed(), *cases_images.more_pooling()]
    others = [dataclasses.replace(c, batch=batch, name=f"{c.name}, batch {batch}") for batch in (1, 5) for c in CASES]
    # A batch of one number has no statistics: PyTorch refuses it, ours gives the bias, and the gradient cancels to nothing.
    return [*CASES, *grids, *(c for c in others if not _single(c))]


def _single(case: Case) -> bool:
    return case.batch == 1 and case.state is not None and case.inputs == ((3,),)


def grouped(cases: Sequence[Case], size: int) -> list[list[Case]]:
    """Groups for one network each; a network has one batch."""
    groups: list[list[Case]] = []
    for case in cases:
        if not groups or len(groups[-1]) == size or groups[-1][0].batch != case.batch:
            groups.append([])
        groups[-1].append(case)
    return groups


def check_numpy(cases: Sequence[Case], seed: int = 0) -> list[Check]:
    """The NumPy backend against PyTorch, slopes and the adjoint's dot product."""
    built = build(cases)
    model, arrays = model_of(built, "numpy"), draw(built, seed)
    results = run(built, model, arrays)
    checks = [*against_slopes(built, model, arrays, results, seed), *against_adjoint(built, model, arrays)]
    return [*checks, *against_torch(built, results, arrays)] if torch is not None else checks


def check_c(cases: Sequence[Case], seed: int = 0, float32: bool = False) -> list[Check]:
    """The C backend against NumPy's, and in float32 against PyTorch's float64."""
    built = build(cases)
    arrays = draw(built, seed)
    expected = run(built, model_of(built, "numpy"), arrays)
    checks = same(built, run(built, model_of(built, "c"), arrays), expected, BACKENDS)
    if float32:
        single = run(built, model_of(built, "c", "float32"), arrays)
        checks += [dataclasses.replace(c, name=f"{c.name} in float32") for c in same(built, single, expected, TORCH_FLOAT32)]
    return checks


def sample(seed: int, count: int) -> list[Case]:
    """A seeded choice of settings."""
    return random.Random(seed).sample(every_case(), count)


def main(arguments: Iterable[str] | None = None) -> int:
    """Run the sweep; 1 where a comparison fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything, and not a sample of 32 settings")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    if torch is None:
        print("PyTorch is not installed: its comparisons are skipped. pip install 'bpcompile[oracles]'")
    chosen = every_case() if options.full else sample(options.seed, 32)
    chosen.sort(key=lambda case: case.batch)
    start, checks = time.time(), []
    for group in grouped(chosen, 8):
        found = [*check_numpy(group, options.seed), *check_c(group, options.seed, float32=True)]
        checks += found
        for check in found:
            if check.failed:
                print(f"FAILED {check.name}: {check.error:.3g}, allowed {check.tolerance:g}", flush=True)
    failed = sum(check.failed for check in checks)
    rows = []
    for tolerance in sorted({check.tolerance for check in checks}):
        errors = [check.error for check in checks if check.tolerance == tolerance]
        rows.append(f"| {MEANINGS[tolerance]} | {len(errors)} | {max(errors):.2e} | {tolerance:g} |")
    summary = f"{len(chosen)} settings, {len(checks)} comparisons, {failed} failed, {time.time() - start:.0f} s"
    print("\n".join([*rows, summary]))
    if options.full:
        PAGE.write_text(TEXT.format(date=datetime.date.today(), rows="\n".join(rows), summary=summary), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
