"""Loops as C text around scopes: plain ones, and ones that step a vector at a time with a part at the end.

Every function here takes the scopes of one place in the text, one for each copy of the body that runs there side by side
(several vectors of one loop); the copies share their lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.emit.c.loops import TINY, Loop
from bpcompile.emit.c.scope import Scope

Body = Callable[[Sequence[Scope]], None]
UNROLLED_LINES: Final = 64
WIDEST: Final = 16
"""The most lanes of any target: an extent that it divides has no part at the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """The values that a loop's variable takes, where they are not 0 to the extent."""

    first: str
    last: str


def indented(lines: Sequence[str]) -> list[str]:
    """Lines of a block, one step to the right."""
    return ["    " + line for line in lines]


def write_loops(
    scopes: Sequence[Scope], loops: Sequence[Loop], body: Body, writes: frozenset[str], span: Span | None = None
) -> None:
    """Write nested loops around a body; the first runs over ``span`` if one is given."""
    if not loops:
        body(scopes)
        return
    loop, writer = loops[0], scopes[0].writer
    variable = writer.variable(loop.axis)
    if loop.batch and span is None:
        writer.arguments.n()
    axes = {**dict.fromkeys(loop.collapsed, "0"), loop.axis: variable}
    inner = siblings([s.child(axes, writes) for s in scopes])
    write_loops(inner, loops[1:], body, writes)
    first, last = (span.first, span.last) if span else ("0", loop.text)
    if span is None and _unrolls(loop, inner[0].lines):
        scopes[0].lines.append("BP_UNROLL")
    scopes[0].lines.append(f"for (ptrdiff_t {variable} = {first}; {variable} < {last}; {variable}++) {{")
    scopes[0].lines.extend([*indented(inner[0].lines), "}"])


def _unrolls(loop: Loop, lines: Sequence[str]) -> bool:
    """True if a loop is so small that it should leave nothing but straight-line code."""
    loops = sum(line.lstrip().startswith("for (") for line in lines)
    unrolled = sum(line.lstrip() == "BP_UNROLL" for line in lines)
    return not loop.batch and loop.size <= TINY and loops == unrolled and loop.size * len(lines) <= UNROLLED_LINES


def write_lanes(
    scope: Scope, loop: Loop, body: Body, writes: frozenset[str], *, copies: int = 1, once: bool = False,
    span: Span | None = None,
) -> None:  # fmt: skip
    """Write a loop whose axis runs along the lanes.

    ``copies`` vectors run at once while so many are left, then one, then a part of one. With ``once`` the body stands in
    the text a single time: a loop in which every vector may be a part.
    """
    writer = scope.writer
    if loop.batch:
        writer.arguments.n()
    variable = writer.variable(loop.axis)
    first, last = (span.first, span.last) if span else ("0", loop.text)
    fixed = span is None and not loop.batch
    if once and not (fixed and loop.size % WIDEST == 0):
        _write_parts(scope, loop, body, writes, variable, first, last)
        return
    done = first
    for number in (copies, 1) if copies > 1 else (1,):
        step = "LANES" if number == 1 else f"({number} * LANES)"
        if fixed and loop.size % (number * WIDEST) == 0:
            _write_whole(scope, loop, body, writes, variable, (done, last, step, number))
            return
        length = last if first == "0" else f"({last} - {first})"
        length = f"({length})" if " " in length and not length.startswith("(") else length
        end = f"{last} - {length} % {step}"
        _write_whole(scope, loop, body, writes, variable, (done, end, step, number))
        done = end
    block = _lane_scopes(scope, loop, writes, variable, 1, count="count")
    body(block)
    length = last if first == "0" else f"{last} - {first}"
    length = f"({length})" if " " in length else length
    scope.lines.append(f"if ({length} % LANES) {{")
    if any(re.search(rf"\b{variable}\b", line) for line in block[0].lines):  # a sum of what does not vary along it
        scope.lines.append(f"    const ptrdiff_t {variable} = {done};")
    scope.lines.append(f"    const int count = (int)({length} % LANES);")
    scope.lines.extend([*indented(block[0].lines), "}"])


def _write_whole(
    scope: Scope, loop: Loop, body: Body, writes: frozenset[str], variable: str, bounds: tuple[str, str, str, int]
) -> None:
    first, last, step, number = bounds
    block = _lane_scopes(scope, loop, writes, variable, number, count="")
    body(block)
    scope.lines.append(f"for (ptrdiff_t {variable} = {first}; {variable} < {last}; {variable} += {step}) {{")
    scope.lines.extend([*indented(block[0].lines), "}"])


def _write_parts(
    scope: Scope, loop: Loop, body: Body, writes: frozenset[str], variable: str, first: str, last: str
) -> None:
    block = _lane_scopes(scope, loop, writes, variable, 1, count="count")
    body(block)
    scope.lines.append(f"for (ptrdiff_t {variable} = {first}; {variable} < {last}; {variable} += LANES) {{")
    left = f"{last} - {variable}"
    scope.lines.append(f"    const int count = {left} < LANES ? (int)({left}) : LANES;")
    scope.lines.extend([*indented(block[0].lines), "}"])


def _lane_scopes(
    scope: Scope, loop: Loop, writes: frozenset[str], variable: str, number: int, *, count: str
) -> list[Scope]:
    collapsed = dict.fromkeys(loop.collapsed, "0")
    starts = [variable, *(f"({variable} + {k} * LANES)" for k in range(1, number))]
    return siblings([
        scope.child({**collapsed, loop.axis: start}, writes, lane=loop.axis, count=count) for start in starts
    ])  # fmt: skip


def siblings(scopes: list[Scope]) -> list[Scope]:
    """Make scopes share one block of lines."""
    for s in scopes[1:]:
        s.lines = scopes[0].lines
    return scopes
