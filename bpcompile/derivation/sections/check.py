"""Section 8: the check. Every equation above, computed from the tree that was printed, with its error beside it."""

from __future__ import annotations

from bpcompile.derivation.document import Block, Paragraph, Section, Table, Text
from bpcompile.derivation.notation import Number, Operator, Script, row
from bpcompile.derivation.verify import TOLERANCE, Check, Row


def check_section(check: Check) -> Section:
    """A row for each equation."""
    rows = [_cells(r) for r in check.rows]
    words = (
        "Each line printed above was evaluated, as the tree that was laid out, on random data by an evaluator that shares no"
        " code with the generated programs. The right side was compared with the forward pass or with numeric derivatives"
        " (central differences, extrapolated; a sample of elements of large tensors), and the gradients also with what the"
        " generated code computed. Errors are relative to the largest value of each tensor."
    )
    if not check.rows:
        return Section("check", "The check of every equation", tuple(Paragraph((note,)) for note in check.notes))
    verdict = (
        f"All {len(check.rows)} equations hold."
        if check.passed
        else f"{sum(not r.passed for r in check.rows)} of {len(check.rows)} equations do not hold: the derivation is wrong."
    )
    blocks: list[Block] = [Paragraph((words,)), *(Paragraph((note,)) for note in check.notes), Paragraph((verdict,))]
    head: tuple[Text, ...] = (("equation",), ("lines",), ("largest",), ("error",), ("of the code",), ("holds",))
    blocks.append(Table(head, tuple(rows), right=(1, 2, 3, 4)))
    blocks.append(Paragraph((f"An equation holds if its errors are below {TOLERANCE:g}.",)))
    return Section("check", "The check of every equation", tuple(blocks))


def _cells(r: Row) -> tuple[Text, ...]:
    where = {"batch": " (batch)", "abstract": " (any network)"}.get(r.equation.world, "")
    return (
        (r.equation.left, where),
        (str(r.lines),),
        (_short(r.magnitude),) if r.magnitude else ("0",),
        _error(r.differences),
        _error(r.generated),
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
