"""Groups of axes as one running index: how its value becomes addresses.

A contraction runs over four groups of axes. Each group is counted by a single index; neighbouring axes that lie one
after the other in an operand are one axis to that operand (a `Span`), so that the usual case is ``index * stride``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bpcompile.emit.c.affine import Affine, affine
from bpcompile.nodes.expressions import Axis, Expr


@dataclass(frozen=True, slots=True)
class Span:
    """Axes that some operands see as one: ``size`` positions (times n if ``batch``), and the stride in each operand."""

    size: int
    batch: bool
    strides: tuple[int, ...]


def address_form(e: Expr, strides: Sequence[int]) -> Affine:
    """Give the address of an access, in elements, as an affine form of the axes."""
    total = Affine(0)
    for subscript, stride in zip(e.args, strides, strict=True):
        total = total.plus(affine(subscript).scaled(stride))
    return total


def ordered(axes: Iterable[Axis], keys: Sequence[Affine]) -> tuple[Axis, ...]:
    """Put axes in the order of memory, outermost first: by their strides in the first form, then in the others."""
    wanted = [a for a in axes if a.extent != 1]
    return tuple(sorted(wanted, key=lambda a: (a.extent is not None, *(-abs(form.factor(a)) for form in keys))))


def spans(axes: Sequence[Axis], forms: Sequence[Affine]) -> tuple[Span, ...]:
    """Merge axes (outermost first) that are neighbours in every one of the forms."""
    found: list[Span] = []
    for a in axes:
        strides = tuple(form.factor(a) for form in forms)
        last = found[-1] if found else None
        if last is not None and a.extent is not None and last.strides == tuple(a.extent * s for s in strides):
            found[-1] = Span(last.size * a.extent, last.batch, strides)
        else:
            found.append(Span(a.extent or 1, a.extent is None, strides))
    return tuple(found)


def count_text(axes: Iterable[Axis]) -> str:
    """C text of the number of positions of a group."""
    size, batch = count(axes)
    if not batch:
        return str(size)
    return "n" if size == 1 else f"n * {size}"


def count(axes: Iterable[Axis]) -> tuple[int, bool]:
    """Give the number of positions of a group: a constant, and whether it is to be multiplied by n."""
    size, batch = 1, False
    for a in axes:
        size *= a.extent or 1
        batch = batch or a.extent is None
    return size, batch


def digits(sizes: Sequence[int], index: str) -> list[str]:
    """C texts of the positions along several axes, outermost first, that a running index stands for."""
    found: list[str] = []
    inner = 1
    for k in range(len(sizes) - 1, -1, -1):
        text = index if inner == 1 else f"{index} / {inner}"
        if k > 0:
            text = f"{text} % {sizes[k]}"
        found.append(text)
        inner *= sizes[k]
    return found[::-1]


def offset_text(found: Sequence[Span], index: str, operand: int = 0) -> str:
    """C text of the address that a running index stands for; empty where it is always 0."""
    parts = []
    for span, digit in zip(found, digits([s.size for s in found], index), strict=True):
        stride = span.strides[operand]
        if stride == 0:
            continue
        digit = digit if digit.isidentifier() else f"({digit})"
        parts.append(digit if stride == 1 else f"{digit} * {stride}")
    return " + ".join(parts)


def single_stride(found: Sequence[Span], operand: int = 0) -> int | None:
    """Give the stride of a group that is one axis to an operand (0 for a group of one position); else nothing."""
    if not found:
        return 0
    return found[0].strides[operand] if len(found) == 1 else None


def odometer(
    found: Sequence[Span], names: Mapping[int, str], digit: str, first: str
) -> tuple[list[str], list[str]]:
    """C statements that start counters of a group at position ``first``, and that move them on by one position.

    ``names`` are the addresses that run along, by the operand whose strides they take; ``digit`` begins the counters' names.
    """
    start: list[str] = []
    inner_positions = digits([s.size for s in found], first)
    counters = [f"{digit}{k}" for k in range(len(found))]
    for counter, text in zip(counters[1:], inner_positions[1:], strict=True):
        start.append(f"ptrdiff_t {counter} = {text};")
    for operand, name in names.items():
        start.append(f"ptrdiff_t {name} = {offset_text(found, first, operand) or '0'};")
    return start, _advance(found, names, counters, len(found) - 1)


def _advance(found: Sequence[Span], names: Mapping[int, str], counters: Sequence[str], level: int) -> list[str]:
    """Move on along one axis; where it is at its end, go back to its start and move on along the next outer one."""
    if level < 0:
        return []
    steps = [(name, found[level].strides[operand]) for operand, name in names.items() if found[level].strides[operand]]
    lines = [f"{name} += {s};" for name, s in steps]
    if level == 0:
        return lines
    size = found[level].size
    back = [f"{name} -= {size * s};" for name, s in steps]
    outer = [f"{counters[level]} = 0;", *back, *_advance(found, names, counters, level - 1)]
    return [*lines, f"if (++{counters[level]} == {size}) {{", *("    " + line for line in outer), "}"]
