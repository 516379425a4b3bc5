"""Reductions as C text, with several accumulators in a fixed order.

Three forms: one accumulator in scalar code; a vector of accumulators, one for each lane, where the lanes run along an axis
that is kept; and vectors of partial results that meet in a fixed tree, where the lanes run along a reduced axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.emit.c.expressions import numeric, scalar
from bpcompile.emit.c.loops import Loop, heavy
from bpcompile.emit.c.scope import Scope
from bpcompile.nodes.expressions import Axis, Expr, axis, const, node, size
from bpcompile.nodes.statements import Statement

COPIES: Final = 4
"""Accumulators that run at once where a body is small: they hide the latency of an addition."""
_EXTREMES: Final = {"max": "max", "argmax": "max", "min": "min", "argmin": "min"}


@dataclass(frozen=True, slots=True)
class Accumulator:
    """The C variables of a running result: its value, and for ``argmax`` and ``argmin`` where it was found."""

    value: str
    position: str = ""


def position(over: Sequence[Axis]) -> Expr:
    """The row-major position within the reduced axes."""
    total = const(0)
    for a in over:
        step = node("mul", (total, size(a)))
        total = axis(a) if total is const(0) else node("add", (step, axis(a)))
    return total


def begin(scope: Scope, kind: str, vector: bool) -> Accumulator:
    """Declare an accumulator and set it to the neutral element."""
    found = scope.writer.fresh("a")
    infinity = {"max": "-(real)INFINITY", "min": "(real)INFINITY"}
    start = infinity["max" if kind.startswith("arg") else kind] if kind in _EXTREMES else scope.writer.literal(0.0)
    scope.lines.append(f"vreal {found} = v_splat({start});" if vector else f"real {found} = {start};")
    if not kind.startswith("arg"):
        return Accumulator(found)
    where = scope.writer.fresh("at")
    scope.lines.append(f"vreal {where} = v_zero();" if vector else f"ptrdiff_t {where} = 0;")
    return Accumulator(found, where)


def update(scope: Scope, s: Statement, total: Accumulator, mask: str = "") -> None:
    """Take the body's value into an accumulator, in a scope with lanes or without; ``mask`` tells the lanes in use."""
    kind = s.reduce or ""
    x = numeric(scope, s.body)
    wide = scope.lane is not None
    prefix = "v" if wide else "s"
    a = total.value
    if kind in ("sum", "mean"):
        x = f"v_select({mask}, {x}, v_zero())" if mask else x
        scope.lines.append(f"{a} = {a} + {x};")
    elif kind in ("max", "min"):
        best = f"{prefix}_{kind}({a}, {x})"
        scope.lines.append(f"{a} = v_select({mask}, {best}, {a});" if mask else f"{a} = {best};")
    else:
        _update_position(scope, s, total, x, mask)


def _update_position(scope: Scope, s: Statement, total: Accumulator, x: str, mask: str) -> None:
    a, at = total.value, total.position
    better, name = scope.writer.fresh("m"), scope.writer.fresh("x")
    prefix, types = ("v", ("vreal", "vmask")) if scope.lane is not None else ("s", ("real", "smask"))
    sign = "-" if s.reduce == "argmin" else ""
    scope.lines.append(f"const {types[0]} {name} = {sign}{x};")
    nan = f"{prefix}_and({prefix}_ne({name}, {name}), {prefix}_eq({a}, {a}))"
    test = f"{prefix}_or({prefix}_lt({a}, {name}), {nan})"
    if mask:
        test = f"v_and({mask}, {test})"
    scope.lines.append(f"const {types[1]} {better} = {test};")
    scope.lines.append(f"{a} = {prefix}_select({better}, {name}, {a});")
    where = position(s.over)
    if scope.lane is not None:
        scope.lines.append(f"{at} = v_select({better}, {numeric(scope, where)}, {at});")
    else:
        scope.lines.append(f"{at} = {better} ? {scalar(scope, where)} : {at};")


def result(s: Statement, total: Accumulator) -> str:
    """The C text of the finished result: of type ``ptrdiff_t`` for a scalar position, else ``real`` or ``vreal``."""
    if s.reduce == "mean":
        return f"{total.value} / (real)({' * '.join('n' if a.extent is None else str(a.extent) for a in s.over)})"
    return total.position or total.value


def across_lanes(scope: Scope, s: Statement, totals: Sequence[Accumulator]) -> Accumulator:
    """One scalar from several vectors of partial results."""
    kind = s.reduce or ""
    if kind.startswith("arg"):
        return Accumulator("", f"(ptrdiff_t){scope.writer.helper('bp_argmax_lanes')}({totals[0].value}, {totals[0].position})")
    texts = [t.value for t in totals]
    while len(texts) > 1:
        texts = [_pair(kind, *texts[i : i + 2]) if i + 1 < len(texts) else texts[i] for i in range(0, len(texts), 2)]
    name = scope.writer.fresh("x")
    inner = {"max": "v_hmax", "min": "v_hmin"}.get(kind, "v_sum")
    scope.lines.append(f"const real {name} = {inner}({texts[0]});")
    return Accumulator(name)


def _pair(kind: str, a: str, b: str) -> str:
    return f"v_{kind}({a}, {b})" if kind in _EXTREMES else f"({a} + {b})"


def copies(s: Statement, extent: Loop) -> int:
    """How many vectors of accumulators a reduction keeps at once along a loop."""
    return 1 if (s.reduce or "").startswith("arg") or heavy((s,)) or extent.usual < COPIES * 8 else COPIES
