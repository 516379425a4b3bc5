"""Expressions of the compiler: small, immutable, interned nodes.

At ``freeze`` SymPy ends and these nodes begin. Two nodes that are built alike are the same object, so identity is
equality, sharing is free and a pass may memoize on the node itself. Nothing here simplifies: what is built is what
stands there.

A node has an ``op``, ``args`` (nodes) and a ``value`` (what is not a node). The operations:

=============  ==========================  =====================================================================
op             value                       meaning
=============  ==========================  =====================================================================
``const``      float | int | bool          a number (exact), or a truth value
``axis``       `Axis`                      the value of a loop index
``size``       `Axis`                      the extent of an axis that is known only at run time (the batch)
``load``       (tensor name, kind)         ``tensor[args]``; kind is ``real`` or ``int``
``flag``       ``"training"``              a condition that the caller sets
``seed``       ``"learning_rate"``...      a real scalar that the caller passes at run time
``draw``       (kind, stream)              a random number; args: the parameters, then the logical element (one int)
``reduce``     (kind, axes)                a reduction inside an expression (before normal form only)
``where``                                  ``args[1]`` if ``args[0]`` else ``args[2]``
``stop``                                   its argument, a constant to the calculus
``unspecified``  (name, order)             a function that only has a name, differentiated so often: in derivations, not in code
others                                     arithmetic, comparisons, logic, scalar functions: see ``ARITY``
=============  ==========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from weakref import ref

Kind = Literal["real", "int", "bool"]


class Axis(NamedTuple):
    """A loop index: its name and its extent (``None`` for the batch, whose extent is known at run time)."""

    name: str
    extent: int | None

    def __str__(self) -> str:
        return self.name


UNARY_FUNCTIONS: Final = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "gamma", "lgamma", "digamma", "trigamma",
    "sigmoid", "softplus", "abs", "sign", "floor", "ceil", "round",
)  # fmt: skip
"""Scalar functions of one real argument; every emitter knows every one. (``relu(x)`` is ``max(x, 0)``.)"""

ARITHMETIC: Final = ("add", "sub", "mul", "div", "pow", "atan2", "floordiv", "mod", "min", "max")
COMPARISONS: Final = ("lt", "le", "eq", "ne")
LOGIC: Final = ("and", "or", "not")

ARITY: Final[dict[str, int]] = {
    **dict.fromkeys(UNARY_FUNCTIONS, 1),
    **dict.fromkeys(ARITHMETIC, 2),
    **dict.fromkeys(COMPARISONS, 2),
    "neg": 1, "and": 2, "or": 2, "not": 1, "where": 3, "stop": 1,
}  # fmt: skip


class Expr:
    """An interned node; build one with the functions below, never directly."""

    __slots__ = ("__weakref__", "_axes", "_below", "_kind", "_loads_below", "args", "op", "value")
    op: str
    args: tuple[Expr, ...]
    value: Any
    _kind: Kind
    _below: tuple[Expr, ...] | None
    _loads_below: tuple[Expr, ...] | None
    _axes: tuple[Axis, ...] | None

    @property
    def kind(self) -> Kind:
        """``real``, ``int`` or ``bool``."""
        return self._kind

    def __str__(self) -> str:
        from bpcompile.nodes.text import expression_text

        return expression_text(self)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __reduce__(self) -> tuple[Callable[..., Expr], tuple[Any, ...]]:
        return node, (self.op, self.args, self.value)


class _Reference(ref[Expr]):
    """A weak reference that knows its key: a `WeakValueDictionary` does the same, and takes three times as long."""

    __slots__ = ("key",)
    key: Hashable


_interned: dict[Hashable, _Reference] = {}


def _forget(reference: ref[Expr]) -> None:
    assert isinstance(reference, _Reference)
    if _interned.get(reference.key) is reference:
        del _interned[reference.key]


def node(op: str, args: tuple[Expr, ...] = (), value: Any = None) -> Expr:
    """Return the one node with this operation, these arguments and this value."""
    # 1, 1.0 and True are equal and hash alike, and 0.0 equals -0.0: the representation tells them apart.
    key = (op, args, (type(value), repr(value)) if op == "const" else value)
    known = _interned.get(key)
    found = known() if known is not None else None
    if found is not None:
        return found
    made = Expr()
    made.op, made.args, made.value = op, args, value
    made._below = made._loads_below = made._axes = None
    made._kind = _kind_of(op, args, value)
    reference = _Reference(made, _forget)
    reference.key = key
    _interned[key] = reference
    return made


def _kind_of(op: str, args: tuple[Expr, ...], value: Any) -> Kind:
    if op == "const":
        return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "real"
    if op in ("axis", "size"):
        return "int"
    if op == "load":
        kind: Kind = value[1]
        return kind
    if op in COMPARISONS or op in LOGIC or op == "flag":
        return "bool"
    if op in ("add", "sub", "mul", "neg", "min", "max", "floordiv", "mod", "abs", "sign", "stop"):
        return "int" if all(a._kind == "int" for a in args) else "real"
    if op == "where":
        return args[1]._kind if args[1]._kind == args[2]._kind else "real"
    if op == "reduce":
        return "int" if value[0] in ("argmax", "argmin") else "real" if value[0] == "mean" else args[0]._kind
    return "real"


def const(value: float | int | bool) -> Expr:
    """A number or a truth value."""
    return node("const", (), value)


@lru_cache(maxsize=4096)
def axis(a: Axis) -> Expr:
    """The value of a loop index."""
    return node("axis", (), a)


def size(a: Axis) -> Expr:
    """The extent of an axis: a constant, unless it is the batch."""
    return node("size", (), a) if a.extent is None else const(a.extent)


def load(tensor: str, subscripts: Iterable[Expr], kind: Kind = "real") -> Expr:
    """An element of a tensor."""
    return node("load", tuple(subscripts), (tensor, kind))


def reduce(kind: str, axes: Iterable[Axis], body: Expr) -> Expr:
    """A reduction inside an expression: ``sum``, ``mean``, ``max``, ``min``, ``argmax`` or ``argmin``."""
    return node("reduce", (body,), (kind, tuple(axes)))


ZERO: Final = const(0)
ONE: Final = const(1)


def children_first(root: Expr) -> list[Expr]:
    """Every distinct node below ``root``, arguments before their users, in a fixed order; ``root`` comes last."""
    below = root._below
    if below is None:
        args = root.args
        if not args:
            below = ()
        elif len(args) == 1 and args[0]._below is not None:
            below = (*args[0]._below, args[0])
        elif all(a._below is not None for a in args):
            below = tuple(dict.fromkeys(e for a in args for e in (*(a._below or ()), a)))
        else:
            below = tuple(_below(root))
        root._below = below
    return [*below, root]


def _below(root: Expr) -> list[Expr]:
    order: list[Expr] = []
    seen: set[Expr] = {root}
    stack: list[tuple[Expr, bool]] = [(a, False) for a in reversed(root.args)]
    while stack:
        current, done = stack.pop()
        if done:
            order.append(current)
        elif current not in seen:
            seen.add(current)
            stack.append((current, True))
            stack.extend((a, False) for a in reversed(current.args))
    return order


def rebuild(root: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Replace nodes bottom-up: ``change`` sees each node with its arguments already replaced; ``None`` keeps it."""
    done: dict[Expr, Expr] = {}
    for current in children_first(root):
        args = tuple(done[a] for a in current.args)
        fresh = current if args == current.args else node(current.op, args, current.value)
        replaced = change(fresh)
        done[current] = fresh if replaced is None else replaced
    return done[root]


def substitute(root: Expr, values: dict[Expr, Expr]) -> Expr:
    """Replace whole nodes, topmost first: what is put in is not searched again."""
    if not values:
        return root
    done: dict[Expr, Expr] = dict(values)
    for current in children_first(root):
        if current in done:
            continue
        args = tuple(done[a] for a in current.args)
        done[current] = current if args == current.args else node(current.op, args, current.value)
    return done[root]


def loads(root: Expr) -> list[Expr]:
    """The distinct tensor accesses of an expression, in order of first appearance (subscripts included)."""
    if root._loads_below is None:
        # The root itself is left out: a node that held itself would outlive its users.
        root._loads_below = tuple(e for e in children_first(root)[:-1] if e.op == "load")
    return [*root._loads_below, root] if root.op == "load" else list(root._loads_below)


def axes_of(root: Expr) -> tuple[Axis, ...]:
    """The distinct free axes whose value an expression uses (those bound by an inner reduction left out)."""
    if root._axes is None:
        below = children_first(root)
        bound = any(e.op == "reduce" for e in below)
        root._axes = _free_axes(root) if bound else tuple(e.value for e in below if e.op == "axis")
    return root._axes


def _free_axes(root: Expr) -> tuple[Axis, ...]:
    found: dict[Axis, None] = {}

    def walk(e: Expr, bound: frozenset[Axis], seen: set[tuple[Expr, frozenset[Axis]]]) -> None:
        if (e, bound) in seen:
            return
        seen.add((e, bound))
        if e.op == "axis" and e.value not in bound:
            found.setdefault(e.value)
        inner = bound | frozenset(e.value[1]) if e.op == "reduce" else bound
        for a in e.args:
            walk(a, inner, seen)

    walk(root, frozenset(), set())
    return tuple(found)


def walk_nodes(roots: Iterable[Expr]) -> Iterator[Expr]:
    """Every distinct node below several roots, arguments first."""
    seen: set[Expr] = set()
    for root in roots:
        for e in children_first(root):
            if e not in seen:
                seen.add(e)
                yield e
