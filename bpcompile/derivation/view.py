"""What of a recorded tree is shown: one example instead of the batch, sums where they were typed, no shifts.

The record speaks of the batch, of hoisted sums and of maxima that are subtracted for the sake of floating point. A view
puts hoisted sums back, leaves the shifts out (their value cancels: that is the recorded rule), and for examples that do
not depend on each other takes a batch of one and drops its index. What remains is exactly what is printed and evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bpcompile.calculus.algebra import add, div, is_number, mul, neg, sub
from bpcompile.derivation.axes import apart, renamed
from bpcompile.program.nodes import Axis, Expr, axes_of, axis, children_first, const, load, node, reduce, substitute
from bpcompile.program.statements import Statement, Tensor

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

    def axes(self, axes: Collection[Axis]) -> tuple[Axis, ...]:
        """The axes that are shown."""
        return tuple(a for a in axes if not (self.single and is_batch(a)))

    def shape(self, tensor: str) -> tuple[int | None, ...]:
        """The shape that is shown."""
        shape = self.tensors[tensor].shape
        return shape[1:] if self.single and shape[:1] == (None,) else shape

    def tree(self, e: Expr) -> Expr:
        """What is shown of an expression."""
        done: dict[Expr, Expr] = {}
        for current in children_first(e):
            args = tuple(done[a] for a in current.args)
            done[current] = self._node(current, args)
        return done[e]

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


_ARITHMETIC = {"add": add, "sub": sub, "neg": neg, "mul": mul, "div": div}


def tidied(e: Expr) -> Expr:
    """The same with minus signs outside of selections, deltas in the order of their letters, numbers multiplied."""
    done: dict[Expr, Expr] = {}
    for current in children_first(e):
        args = tuple(done[a] for a in current.args)
        done[current] = _tidy(node(current.op, args, current.value))
    return done[e]


def _tidy(e: Expr) -> Expr:
    if e.op == "eq" and e.args[0].kind == "int" and str(e.args[1]) < str(e.args[0]) and e.args[1].op == "axis":
        return node("eq", e.args[::-1])
    if e.op == "where" and is_number(e.args[2], 0):
        negated = neg(e.args[1])
        if e.args[1].op == "neg" or (e.args[1].op == "const" and e.args[1].kind != "bool" and e.args[1].value < 0):
            return node("neg", (node("where", (e.args[0], negated, e.args[2])),))
    if e.op == "add" and e.args[1].op == "neg":
        return node("sub", (e.args[0], e.args[1].args[0]))
    if e.op == "sub" and e.args[1].op == "neg":
        return node("add", (e.args[0], e.args[1].args[0]))
    if e.op == "mul" and e.args[0].op == "const" and e.args[1].op == "mul" and e.args[1].args[0].op == "const":
        return mul(const(e.args[0].value * e.args[1].args[0].value), e.args[1].args[1])
    return e


def with_places(e: Expr, old: Collection[Axis], new: Collection[Axis]) -> Expr:
    """The expression over other places, its bound axes kept apart from them."""
    return renamed(apart(e, new), dict(zip(old, new, strict=True)))
