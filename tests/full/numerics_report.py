"""Measure every function, activation, loss and stable form over the whole range, and write docs/numerics.md.

Run as ``python -m tests.full.numerics_report [--points 400] [--sweep FILE]``. FILE is what ``tests.full.sweep_float32`` printed;
functions that it left out keep the figures of the last sweep.
"""

from __future__ import annotations

import argparse
import datetime
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bpcompile.language.functions import FUNCTIONS
from tests.full.dense_float64 import measured
from tests.numerics.cases import ACTIVATION_CASES, GROUPS, Case, formula
from tests.numerics.measure import Bundle, Found, Worst, survey

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = (("float32", "c"), ("float64", "c"), ("float32", "numpy"), ("float64", "numpy"))
SWEEP = "## Every float32"

HEAD = """\
# Numerics over the whole range

Written by `python -m tests.full.numerics_report`; the figures are those of {date}, with about {points} inputs for each formula.

Each formula is compiled as it is for a user — C and NumPy, float32 and float64, through the whole compiler, the value and the
derivatives — and compared with many digits (mpmath) at inputs of all magnitudes and both signs, from the smallest subnormal
number to the largest finite one, at 0, close to the kinks and to where functions saturate, and at moderate inputs. The exact
side computes the formula as it was typed, with derivatives of its own.

How errors are counted:

- A **value**: in units in the last place (ulp) of the exact value, except where the table says otherwise: a difference of terms
  counts in units of max(1, |f|).
- A **derivative**: in ulp of max(1, |f'|). Many derivatives pass through 0, and sigmoid' = a (1 - a) is exactly 0 where a rounds
  to 1: what is small against 1 is right absolutely, not relatively.
- A result below the smallest normal number counts in units of the smallest subnormal one, in a column of its own: subnormal
  numbers are kept, and never flushed to 0, but a factor that is subnormal has few digits left.
- What is exactly too large for the format has to be infinite, with the right sign. NaN where the exact result is a number is an
  infinite error. Points where the exact result is not known (poles, and digits that run out beyond 3000) are left out.

Where an error is more than a few units, the rounding of an argument is worth that much: `exp(u)` turns half a unit in the last
place of u into |u|/2 units of the result, `erfc(u)` into u^2.

What stays as it is typed:

- A norm over an axis, `sqrt(sum(x**2))`: its gradient at 0 is 0, but its squares overflow in float32 where an element is beyond
  1.8e19, and vanish below 1e-23 (1.3e154 and 1e-162 in float64). Scaling by the largest element would take a second pass over
  the data for numbers that networks hardly meet. `bpcompile check --stability` names the inputs. A norm of single terms,
  `sqrt(x*x + y*y)`, is scaled; and one that is scaled as it is typed, `m*sqrt(sum((x/m)**2))`, stays so in its gradient.
- A difference of two numbers that are both too large is NaN, as of `exp(z) - y*z`, the Poisson loss, where y*z overflows too.
- `z**a` by z, `a*z**(a - 1)`, where z is subnormal: the power may be infinite where a is small.
- The softmax, and the derivative of `log(sum(exp(x)))`, where all of x is -inf: 0/0 is NaN, as in PyTorch and JAX; the value of
  the logarithm is -inf. What a `where` excludes gets the gradient 0, in a row of which everything is excluded as well.
"""
SPECIAL = """\
## Infinities and NaN

What the compiled float32 code gives; C and NumPy agree{disagree}. The sign of zero is kept by the odd functions.

| formula | f(-inf) | f(inf) | f(NaN) | f'(-inf) | f'(inf) | f'(NaN) |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
"""
DENSE = """\
## The functions themselves, float64

The vector functions of generated C, called directly, at {count} inputs for each, drawn anew by each run: half of them random bit
patterns, half moderate.

| function | worst ulp | at | stated |
| --- | --- | --- | --- |
{rows}
"""
SWEPT = SWEEP + """

Each of the 2^32 float32 numbers through the vector functions of generated C (gcc -O3 -march=native, here {target}), against the C
library in double precision. `python -m tests.full.sweep_float32` takes about an hour.

| function | worst ulp | at | stated | date |
| --- | --- | --- | --- | --- |
{rows}
"""


def _number(x: float) -> str:
    if math.isinf(x):
        return "infinite"
    if x < 5e-4:
        return "0"
    return f"{x:.2g}" if x < 100 else f"{x:.0f}" if x < 1e5 else f"{x:.1e}"


def _worst(w: Worst) -> str:
    if not w.at or w.ulp < 5e-4:
        return "0"
    return f"{_number(w.ulp)} at {', '.join(f'{x:.4g}' for x in w.at)}"


def _row(case: Case, found: dict[tuple[str, str], Found]) -> str:
    unit = " (of max(1, abs f))" if case.value_unit else ""
    cells = [f"`{case.name}`{unit}" if "(" in case.name or "*" in case.name or "/" in case.name else f"{case.name}{unit}"]
    for key in COLUMNS[:2]:
        cells += [_worst(found[key].value), _worst(found[key].slope)]
    cells += [f"{_number(found[key].value.ulp)}, {_number(found[key].slope.ulp)}" for key in COLUMNS[2:]]
    cells.append(_number(max(found[key].value.subnormal for key in COLUMNS[:2])))
    return f"| {' | '.join(cells)} |"


def tables(points: int) -> tuple[str, list[str]]:
    """The tables, and what exceeds its bound."""
    parts, wrong = [], []
    for name, cases in GROUPS.items():
        merged: list[dict[tuple[str, str], Found]] = [{} for _ in cases]
        for dtype in ("float32", "float64"):
            for entry, found in zip(merged, survey(cases, dtype, ("c", "numpy"), points), strict=True):
                entry.update({(dtype, backend): f for backend, f in found.items()})
        for case, entry in zip(cases, merged, strict=True):
            for key, f in entry.items():
                if f.value.ulp > 2 * case.most[0] or f.slope.ulp > 2 * case.most[1]:
                    wrong.append(f"{case.name} {key}: {f}")
        parts.append(
            f"## {name}\n\n| formula | C float32: value | derivative | C float64: value | derivative"
            " | NumPy float32 | NumPy float64 | subnormal results |\n" + "| --- " * 8 + "|\n"
            + "\n".join(_row(case, entry) for case, entry in zip(cases, merged, strict=True)) + "\n"
        )  # fmt: skip
    return "\n".join(parts), wrong


def special_values() -> str:
    """The table of infinities and NaN."""
    names = [f"{f}(z)" for f, row in FUNCTIONS.items() if row.arity == 1 and f not in ("trigamma",)]
    cases = [*map(formula, names), *(c for c in ACTIVATION_CASES if list(c.variables) == ["z"])]
    bundle = Bundle(cases, "float32", ("c", "numpy"))
    inputs = (-math.inf, math.inf, math.nan)
    results = {b: [bundle.run(b, [(x,)] * len(cases)) for x in inputs] for b in ("c", "numpy")}
    rows, differing = [], []
    for k, case in enumerate(cases):
        place = bundle.elements(k)[0]
        both = {b: [*(v[k] for v, _ in r), *(s[place] for _, s in r)] for b, r in results.items()}
        if not np.array_equal(both["c"], both["numpy"], equal_nan=True):
            differing.append(case.name)
        rows.append(f"| `{case.name}` | {' | '.join(f'{x:.5g}' for x in both['c'])} |")
    disagree = f", but for {', '.join(f'`{d}`' for d in differing)}" if differing else ""
    return SPECIAL.format(rows="\n".join(rows), disagree=disagree)


def dense(count: int) -> str:
    """The table of the functions in float64."""
    rows = [f"| {w.function} | {w.ulp:.3f} | {w.at:.17g} | {w.stated} |" for w in measured(count)]
    return DENSE.format(count=count, rows="\n".join(rows))


def swept(file: Path | None) -> str:
    """The table of the sweep: what it printed, and the functions on the page that it left out."""
    page = DOCS / "numerics.md"
    text = page.read_text() if page.exists() else ""
    rows = _swept_before(text)
    if file is not None:
        date = datetime.date.fromtimestamp(file.stat().st_mtime).isoformat()
        for line in file.read_text().splitlines():
            function, ulp, _, _, at, _, _, stated = line.split()[:8]
            rows[function] = f"| {function} | {ulp} | {at} | {stated.rstrip(',')} | {date} |"
    return SWEPT.format(rows="\n".join(rows.values()), target="AVX-512") if rows else ""


def _swept_before(text: str) -> dict[str, str]:
    """The rows of the table on the page, by function."""
    lines = text[text.index(SWEEP) :].splitlines() if SWEEP in text else []
    rows = [line for line in lines if line.startswith("| ")][2:]
    return {row.split()[1]: row for row in rows}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--dense", type=int, default=4000)
    parser.add_argument("--sweep", type=Path)
    options = parser.parse_args(arguments)
    sweep = swept(options.sweep)
    body, wrong = tables(options.points)
    head = HEAD.format(date=datetime.date.today().isoformat(), points=3 * options.points)
    parts = [head, body, special_values(), dense(options.dense), *([sweep] if sweep else [])]
    (DOCS / "numerics.md").write_text("\n".join(p.strip() + "\n" for p in parts))
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
