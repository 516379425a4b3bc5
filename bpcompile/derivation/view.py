"""What of a recorded tree is shown: one example instead of the batch, sums where they were typed, no shifts.

The record speaks of the batch, of hoisted sums and of maxima that are subtracted for the sake of floating point. A view
puts hoisted sums back, leaves the shifts out (their value cancels: that is the recorded rule), and for examples that do
not depend on each other takes a batch of one and drops its index. What remains is exactly what is printed and evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction as Ratio
from math import prod
from typing import Final

from bpcompile.calculus.algebra import add, div, is_number, mul, neg, sub
from bpcompile.derivation.axes import apart
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, children_first, const, load, node, reduce, substitute
from bpcompile.nodes.statements import Statement, Tensor

Definition = tuple[tuple[Axis, ...], Expr]


def is_batch(a: Axis) -> bool:
    """True for the batch index."""
    return a.name == "n" and a.extent is None


def whole(s: Statement) -> Expr:
    """The right side of a statement, its reduction included."""
    return reduce(s.reduce, s.over, s.body) if s.reduce else s.body


@dataclass
class View:
    """How recorded trees are shown.

    Attributes
    ----------
    tensors : mapping of str to Tensor
        All tensors, for their shapes.
    definitions : mapping of str to Definition
        Tensors of the compiler's own that are written out where they are read.
    shifts : collection of str
        Tensors that are subtracted for floating point alone.
    single : bool
        Whether one example is shown, without the batch index.
    """

    tensors: Mapping[str, Tensor]
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    shifts: Collection[str] = ()
    single: bool = True
    _known: dict[Expr, Expr] = field(default_factory=dict)

    def axes(self, axes: Collection[Axis]) -> tuple[Axis, ...]:
        """The axes that are shown."""
        return tuple(a for a in axes if not (self.single and is_batch(a)))

    def shape(self, tensor: str) -> tuple[int | None, ...]:
        """The shape that is shown."""
        shape = self.tensors[tensor].shape
        return shape[1:] if self.single and shape[:1] == (None,) else shape

    def tree(self, e: Expr) -> Expr:
        """What is shown of an expression."""
        if e not in self._known:
            done: dict[Expr, Expr] = {}
            for current in children_first(e):
                args = tuple(done[a] for a in current.args)
                done[current] = self._node(current, args)
            self._known[e] = done[e]
        return self._known[e]

    def _node(self, e: Expr, args: tuple[Expr, ...]) -> Expr:
        changed = args != e.args
        match e.op:
            case "load":
                return self._load(e, args)
            case "size" if self.single and is_batch(e.value):
                return const(1)
            case "axis" if self.single and is_batch(e.value):
                return const(0)
            case "reduce":
                return self._reduction(e, args)
            case "stop" if is_number(args[0], 0):
                return args[0]
            case "add" | "sub" | "neg" | "mul" | "div" if changed:
                return _ARITHMETIC[e.op](*args) if any(is_number(a, v) for a in args for v in (0, 1)) else node(e.op, args)
        return node(e.op, args, e.value) if changed else e

    def _load(self, e: Expr, args: tuple[Expr, ...]) -> Expr:
        tensor, kind = e.value
        if tensor in self.shifts:
            return const(0)
        if tensor in self.definitions:
            axes, value = self.definitions[tensor]
            value = apart(value, [a for s in args for a in axes_of(s)])
            swap = {axis(a): s for a, s in zip(axes, args, strict=True)}
            return self.tree(substitute(value, swap))
        shape = self.tensors[tensor.removesuffix(".bar") if tensor not in self.tensors else tensor].shape
        kept = tuple(s for s, extent in zip(args, shape, strict=False) if extent is not None) if self.single else args
        return load(tensor, kept, kind)

    def _reduction(self, e: Expr, args: tuple[Expr, ...]) -> Expr:
        kind, axes = e.value
        kept = self.axes(axes)
        return reduce(kind, kept, args[0]) if kept else args[0]


_ARITHMETIC: Final[dict[str, Callable[..., Expr]]] = {"add": add, "sub": sub, "neg": neg, "mul": mul, "div": div}


def tidied(e: Expr) -> Expr:
    """The same with minus signs outside of selections, deltas in the order of their letters, numbers multiplied."""
    done: dict[Expr, Expr] = {}
    for current in children_first(e):
        args = tuple(done[a] for a in current.args)
        done[current] = _tidy(node(current.op, args, current.value))
    return done[e]


def _tidy(e: Expr) -> Expr:
    match e.op:
        case "eq" if e.args[0].kind == "int" and str(e.args[1]) < str(e.args[0]) and e.args[1].op == "axis":
            return node("eq", e.args[::-1])
        case "where" if is_number(e.args[2], 0) and _is_negative(e.args[1]):
            return node("neg", (node("where", (e.args[0], neg(e.args[1]), e.args[2])),))
        case "reduce" if e.value[0] == "sum" and e.args[0].op == "neg":
            return node("neg", (node("reduce", e.args[0].args, e.value),))
        case "add" if e.args[1].op == "neg":
            return node("sub", (e.args[0], e.args[1].args[0]))
        case "add" if e.args[0].op == "neg":
            return node("sub", (e.args[1], e.args[0].args[0]))
        case "sub" if e.args[1].op == "neg":
            return node("add", (e.args[0], e.args[1].args[0]))
        case "mul":
            return _numbers_first(e)
        case "div" if e.args[1].op == "mul" and e.args[0].op == e.args[1].args[0].op == "const":
            return _reduced(e)
        case "div" if e.args[0].op == e.args[1].op == "const":
            ratio = _ratio(e)
            return e if ratio is None or ratio <= 0 else _rational(ratio)
    return e


def _is_negative(e: Expr) -> bool:
    return e.op == "neg" or (e.op == "const" and e.kind != "bool" and e.value < 0)


def _numbers_first(e: Expr) -> Expr:
    """A product with its rational numbers multiplied and in front, its sign outside."""
    parts = _factors(e)
    rational = [(f, ratio) for f in parts if (ratio := _ratio(f)) is not None]
    signs = sum(f.op == "neg" for f in parts)
    if len(rational) < 2 and not signs and not (rational and parts[0] is not rational[0][0]):
        return e
    total = prod((r for _, r in rational), start=Ratio(-1) ** signs)
    kept = [f.args[0] if f.op == "neg" else f for f in parts if _ratio(f) is None]
    size = abs(total)
    items = kept if size == 1 and kept else [_rational(size), *kept]
    result = items[0]
    for f in items[1:]:
        result = node("mul", (result, f))
    return node("neg", (result,)) if total < 0 else result


def _reduced(e: Expr) -> Expr:
    """``2 / (6 N)`` in lowest terms."""
    ratio = _ratio(node("div", (e.args[0], e.args[1].args[0])))
    if ratio is None or ratio <= 0:
        return e
    rest = e.args[1].args[1]
    below = rest if ratio.denominator == 1 else node("mul", (const(ratio.denominator), rest))
    return node("div", (const(ratio.numerator), below))


def _rational(value: Ratio) -> Expr:
    """A positive rational number, in lowest terms."""
    above, below = const(value.numerator), const(value.denominator)
    return above if value.denominator == 1 else node("div", (above, below))


def _factors(e: Expr) -> list[Expr]:
    return [*_factors(e.args[0]), *_factors(e.args[1])] if e.op == "mul" else [e]


def _ratio(e: Expr) -> Ratio | None:
    """The value of a simple rational number."""
    if e.op == "const" and e.kind in ("int", "real") and abs(e.value) < 1e9:
        value = Ratio(e.value)
        return value if value.denominator <= 64 and value else None
    if e.op == "div":
        above, below = _ratio(e.args[0]), _ratio(e.args[1])
        return None if above is None or below is None else above / below
    return None
