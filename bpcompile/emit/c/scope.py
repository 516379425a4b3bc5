"""Where generated expressions live: memory of tensors, and nested blocks of C text with the values known in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bpcompile.emit.c.helpers import HELPERS
from bpcompile.emit.c.kernel_text import Arguments, ElementType, element_type, mangled
from bpcompile.emit.c.vector import real_literal
from bpcompile.nodes.expressions import Axis, Expr


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a kernel finds a tensor: ``pointer[sum(subscript * stride)]``."""

    pointer: str
    strides: tuple[int, ...]
    extents: tuple[int | None, ...]
    element: ElementType


@dataclass
class ExpressionWriter:
    """What all blocks of one kernel share: arguments, memory, fresh names, helpers in use.

    Parameters
    ----------
    dtype : str
        ``float32`` or ``float64``.
    arguments : Arguments
    local : mapping of str to Memory
        Tensors that live inside the kernel, in an array of its own.
    """

    dtype: str
    arguments: Arguments
    local: dict[str, Memory] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    helpers: dict[str, None] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    _variables: dict[Axis, str] = field(default_factory=dict)
    _needs: dict[Expr, frozenset[Axis | str]] = field(default_factory=dict)

    def memory(self, tensor: str) -> Memory:
        """Give the memory of a tensor, which becomes an argument unless it is local."""
        if tensor in self.local:
            return self.local[tensor]
        described, place = self.arguments.tensors[tensor], self.arguments.places[tensor]
        kind = element_type(described, place)
        return Memory(self.arguments.pointer(tensor), place.strides, described.shape, kind)

    def layout(self, tensor: str) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
        """Strides and extents of a tensor, which does not become an argument by this."""
        extents = self.arguments.tensors[tensor].shape
        return (self.local[tensor] if tensor in self.local else self.arguments.places[tensor]).strides, extents

    def fresh(self, letter: str) -> str:
        """Give a new short name: ``x`` for reals, ``i`` for integers, ``m`` for masks."""
        number = self._numbers.get(letter, 0)
        self._numbers[letter] = number + 1
        return f"{letter}{number}"

    def named(self, stem: str) -> str:
        """Give a new name that a user's name inspired."""
        name = self.arguments.local(mangled(stem))
        self.names[name] = None
        return name

    def variable(self, axis: Axis) -> str:
        """Give the C name of the variable of every loop over an axis."""
        if axis not in self._variables:
            self._variables[axis] = self.named(axis.name)
        return self._variables[axis]

    def helper(self, name: str) -> str:
        """Note that a helper function is called; gives its name."""
        for needed in (*HELPERS[name].needs, name):
            self.helpers[HELPERS[needed].text] = None
        return name

    def literal(self, value: float) -> str:
        """Print a real constant."""
        if value != value:
            return "(real)NAN"
        if value in (float("inf"), float("-inf")):
            return "(real)INFINITY" if value > 0 else "-(real)INFINITY"
        text = real_literal(value, self.dtype)
        return f"({text})" if text.startswith("-") else text

    def needs(self, e: Expr) -> frozenset[Axis | str]:
        """The axes and the tensors on which the value of an expression depends."""
        found = self._needs.get(e)
        if found is None:
            own: frozenset[Axis | str] = frozenset()
            if e.op == "axis":
                own = frozenset((e.value,))
            elif e.op == "load":
                own = frozenset((e.value[0],))
            found = own.union(*(self.needs(a) for a in e.args)) if e.args else own
            self._needs[e] = found
        return found


@dataclass
class Scope:
    """A block of C text. What is written here is seen by the scopes inside it.

    Parameters
    ----------
    writer : ExpressionWriter
    parent : Scope, optional
    axes : mapping of Axis to str
        The axes bound here, as C expressions of type ptrdiff_t. The lane axis is bound to the first lane's value.
    writes : frozenset of str
        Tensors that change while this block runs: their loads stay inside it.
    lane : Axis, optional
        The axis that runs along the lanes; values that depend on it are vectors. ``None`` in a scalar block.
    count : str
        A C expression: how many lanes are in use; empty: all.
    """

    writer: ExpressionWriter
    parent: Scope | None = None
    axes: Mapping[Axis, str] = field(default_factory=dict)
    writes: frozenset[str] = frozenset()
    lane: Axis | None = None
    count: str = ""
    lane_index: str = ""
    lines: list[str] = field(default_factory=list)
    values: dict[tuple[Expr, bool], str] = field(default_factory=dict)

    def child(
        self, axes: Mapping[Axis, str] | None = None, writes: frozenset[str] = frozenset(), *, lane: Axis | None = None,
        count: str | None = None,
    ) -> Scope:  # fmt: skip
        """A block inside this one, with the same lanes unless told otherwise."""
        return Scope(
            self.writer,
            self,
            axes or {},
            writes,
            lane if lane is not None else self.lane,
            self.count if count is None else count,
        )

    def one_lane(self, index: str) -> Scope:
        """A scalar block inside this one that computes for the lane with this number."""
        assert self.lane is not None
        first = self.axis(self.lane)
        inner = Scope(self.writer, self, {self.lane: f"({first} + {index})"})
        inner.lane_index = index
        return inner

    def axis(self, axis: Axis) -> str:
        """The C text of the value of an axis (of the first lane, for the lane axis)."""
        scope: Scope | None = self
        while scope is not None:
            if axis in scope.axes:
                return scope.axes[axis]
            scope = scope.parent
        return self.writer.arguments.time(axis)

    def changes(self, tensor: str) -> bool:
        """True if this block, or one around it, writes to a tensor."""
        scope: Scope | None = self
        while scope is not None:
            if tensor in scope.writes:
                return True
            scope = scope.parent
        return False

    def is_vector(self, e: Expr) -> bool:
        """True if the value of an expression differs among the lanes of this block."""
        return self.lane is not None and self.lane in self.writer.needs(e)

    def home(self, e: Expr) -> Scope:
        """The outermost block in which an expression has the value that it has here."""
        needs = self.writer.needs(e)
        scope = self
        while scope.parent is not None:
            if any(a in needs for a in scope.axes) or not needs.isdisjoint(scope.writes):
                break
            scope = scope.parent
        return scope

    def find(self, e: Expr, vector: bool) -> str | None:
        """The C text that holds the value of an expression, if some enclosing block has it."""
        scope: Scope | None = self
        lane = ""
        while scope is not None:
            found = scope.values.get((e, vector))
            if found is not None:
                return found
            if lane and not vector and e.kind != "bool":  # a mask has no lanes that C could read: it is compared anew
                wide = scope.values.get((e, True))
                if wide is not None:
                    return f"{'(ptrdiff_t)' if e.kind == 'int' else ''}v_lane({wide}, {lane})"
            lane = lane or scope.lane_index
            scope = scope.parent
        return None

    def keep(self, e: Expr, vector: bool, text: str) -> str:
        """Remember the C text of a value in this block."""
        self.values[e, vector] = text
        return text

    def forget(self, tensor: str) -> None:
        """Drop what was loaded from a tensor that has changed."""
        scope: Scope | None = self
        while scope is not None:
            stale = [key for key in scope.values if tensor in self.writer.needs(key[0])]
            for key in stale:
                del scope.values[key]
            scope = scope.parent
