"""Section 8: the check. Every equation above, computed from the tree that was printed, with its error beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bpcompile.derivation.checks import TOLERANCE, Check, Row
from bpcompile.derivation.document import Block, Paragraph, Section, Table, Text
from bpcompile.derivation.folding import shown_by, signature
from bpcompile.derivation.notation import Number, Operator, Script, row

MOST_ROWS: Final = 120
"""So many equations have a row each."""


def check_section(check: Check) -> Section:
    """A row for each equation."""
    rows = [_cells(group) for group in _alike(check.rows)]
    words = (
        "Each line printed above was evaluated, as the tree that was laid out, on random data by an evaluator that shares no"
        " code with the generated programs. The right side was compared with the forward pass or with numeric derivatives"
        " (central differences, extrapolated; a sample of elements of large tensors), and the gradients also with what the"
        " generated code computed. Errors are relative to the largest value of each tensor."
    )
    if check.sampled:
        words += (
            " Equations of large tensors were evaluated at the number of elements that stands in the table, drawn at random,"
            " and their lines compared with each other at all of these. A numeric derivative was then found by moving one"
            " element in the equations that read its tensor, each weighted with the derivative of the cost by its own left"
            " side, which was checked in the same way; a partial derivative within a chain rule was taken from the local"
            " derivatives above."
        )
    verdict = (
        f"All {len(check.rows):,} equations hold."
        if check.passed or not check.rows
        else f"{sum(not r.passed for r in check.rows)} of {len(check.rows)} equations do not hold: the derivation is wrong."
    )
    if not check.rows:
        verdict = "No equation that could be checked was printed."
    blocks: list[Block] = [Paragraph((words,)), *(Paragraph((note,)) for note in check.notes), Paragraph((verdict,))]
    head: tuple[Text, ...] = (("equation",), ("lines",), ("elements",), ("largest",), ("error",), ("of the code",), ("holds",))
    blocks.append(Table(head, tuple(rows), right=(1, 2, 3, 4, 5)))
    blocks.append(Paragraph((f"An equation holds if its errors are below {TOLERANCE:g}.",)))
    return Section("check", "The check of every equation", tuple(blocks))


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of equations that differ in the names of layers alone, together; each by itself where there are few."""
    if len(rows) <= MOST_ROWS:
        return [[r] for r in rows]
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for r in rows:
        key, _ = signature(shown_by(r.equation))
        groups.setdefault((r.equation.world, key, r.passed), []).append(r)
    return list(groups.values())


def _worst(errors: Iterable[float | None]) -> float | None:
    return max((e for e in errors if e is not None), default=None)


def _cells(group: Sequence[Row]) -> tuple[Text, ...]:
    r = group[0]
    more = f" and {len(group) - 1} more like it" if len(group) > 1 else ""
    where = {"batch": " (batch)", "abstract": " (any network)"}.get(r.equation.world, "")
    return (
        (r.equation.left, where + more),
        (f"{r.lines} of {r.lines + r.skipped}" if r.skipped else str(r.lines),),
        (f"{r.elements:,} of {r.size:,}" if r.elements < r.size else "all",),
        (_short(max(x.magnitude for x in group)),),
        _error(_worst(x.differences for x in group)),
        _error(_worst(x.generated for x in group)),
        ("yes" if r.passed else "NO",),
    )


def _short(value: float) -> str:
    return f"{value:.3g}"


def _error(value: float | None) -> Text:
    if value is None:
        return ("",)
    if value == float("inf") or value != value:
        return ("no number",)
    if value == 0.0:
        return ("0",)
    digits, _, exponent = f"{value:.0e}".partition("e")
    power = int(exponent)
    sign = (Operator("−", "plain"),) if power < 0 else ()
    return (row(Number(digits), Operator("·"), Script(Number("10"), None, row(*sign, Number(str(abs(power)))))),)
