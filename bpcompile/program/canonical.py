"""Expressions without the names of their axes: equal computations become one key.

Axes are numbered by first use, arguments of commutative operations put in an order that does not depend on names.
"""

from __future__ import annotations

from typing import Final

from bpcompile.nodes.expressions import Axis, Expr, axis, children_first, node

COMMUTATIVE: Final = ("add", "mul", "eq", "ne", "and", "or")


class Canonical:
    """Makes keys; one object for the passes over one program, since it remembers what it has seen."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[object, ...], int] = {}
        self._shape_of: dict[Expr, int] = {}
        self._keys: dict[Expr, tuple[Expr, tuple[Axis, ...]]] = {}

    def key(self, e: Expr) -> tuple[Expr, tuple[Axis, ...]]:
        """The nameless expression, and the axes that its numbers stand for.

        Two expressions have the same first part if one is the other with its axes renamed.
        """
        found = self._keys.get(e)
        if found is None:
            found = self._keys[e] = self._built(e)
        return found

    def _built(self, root: Expr) -> tuple[Expr, tuple[Axis, ...]]:
        numbers: dict[Axis, Expr] = {}
        done: dict[Expr, Expr] = {}
        self.shape(root)

        def build(e: Expr) -> Expr:
            found = done.get(e)
            if found is None:
                if e.op == "axis":
                    found = numbers.get(e.value)
                    if found is None:
                        found = numbers[e.value] = axis(Axis(f"${len(numbers)}", e.value.extent))
                else:
                    args = e.args
                    if e.op in COMMUTATIVE:
                        args = tuple(sorted(args, key=self._shape_of.__getitem__))
                    found = node(e.op, tuple(build(a) for a in args), e.value) if args else e
                done[e] = found
            return found

        return build(root), tuple(numbers)

    def shape(self, root: Expr) -> int:
        """A number that expressions share which differ in the names of their axes, or in the order of arguments.

        It says less than the key, and costs less.
        """
        if root in self._shape_of:
            return self._shape_of[root]
        for e in children_first(root):
            if e in self._shape_of:
                continue
            below = [self._shape_of[a] for a in e.args]
            value = e.value.extent if e.op == "axis" else repr(e.value)
            shape = (e.op, value, *(sorted(below) if e.op in COMMUTATIVE else below))
            self._shape_of[e] = self._shapes.setdefault(shape, len(self._shapes))
        return self._shape_of[root]
