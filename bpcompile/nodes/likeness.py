"""What a computation is apart from the names of its tensors: equal layers give equal shapes.

Tensors are numbered by first use. The shape of a statement holds its structure, its axes and those numbers; it is hashable,
and two statements have the same shape exactly if one is the other with its tensors renamed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from bpcompile.nodes.expressions import Expr, children_first
from bpcompile.nodes.statements import Statement


@dataclass(eq=False)
class Shapes:
    """Makes the shapes of expressions and statements that belong together.

    ``tensors`` are the names met so far: the number of a tensor is its place there. ``streams`` of random numbers stand
    for themselves, unless they are numbered too.
    """

    tensors: dict[str, int] = field(default_factory=dict)
    streams: dict[int, int] | None = None
    _nodes: dict[Expr, int] = field(default_factory=dict)
    _parts: list[Hashable] = field(default_factory=list)

    def tensor(self, name: str) -> int:
        """The number of a tensor."""
        return self.tensors.setdefault(name, len(self.tensors))

    def expression(self, root: Expr) -> int:
        """Take in an expression; gives its number. What several roots have in common is taken in once."""
        nodes = self._nodes
        if root not in nodes:
            for e in children_first(root):
                if e in nodes:
                    continue
                if not e.args and e.op != "load":
                    self._parts.append(e)  # axes, numbers, flags: interned, they stand for themselves
                else:
                    value = e.value
                    if e.op == "load":
                        value = (self.tensor(value[0]), value[1])
                    elif e.op == "draw" and self.streams is not None:
                        value = (value[0], self.streams.setdefault(value[1], len(self.streams)))
                    self._parts.append((e.op, value, *[nodes[a] for a in e.args]))
                nodes[e] = len(nodes)
        return nodes[root]

    def statement(self, s: Statement) -> None:
        """Take in a statement; where it comes from does not matter."""
        subscripts = tuple([self.expression(e) for e in s.subscripts])
        body = self.expression(s.body)
        self._parts.append((self.tensor(s.target), subscripts, s.axes, body, s.reduce, s.over, s.accumulate))

    def shape(self, *more: Hashable) -> Hashable:
        """The shape of all that was taken in."""
        return (*self._parts, *more)
