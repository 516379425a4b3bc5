"""Matrix forms for row vectors: the mirror image of those for columns.

An example is a row. What was a column ``x`` is the transpose of the row ``x``, and a formula for a column is transposed as a
whole: ``W x + b`` becomes ``x W^T + b``, ``delta x^T`` becomes ``delta^T x``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bpcompile.nodes.expressions import UNARY_FUNCTIONS, Expr, children_first, node

_ELEMENTWISE: Final = frozenset({"add", "sub", "neg", "hadamard", "hadamard_quotient", "stop", "unspecified", "pow",
                                 "min", "max", "lt", "le", "eq", "ne", *UNARY_FUNCTIONS})  # fmt: skip
_LEAVES: Final = frozenset({"matrix", "onehot", "ones", "diagonal"})


Shape = Callable[[str], Sequence[int | None]]


def for_rows(e: Expr, vector: bool, shape: Shape | None) -> Expr:
    """A matrix form for columns, for rows.

    Parameters
    ----------
    e : Expr
        As `bpcompile.derivation.matrix` finds it.
    vector : bool
        Whether its value is a vector, so that it is transposed itself.
    shape : callable or None
        The shape of a tensor: what has one number for each example is a column of rows.
    """
    found = _with_rows(e, shape)
    return _turned(found) if vector else found


def _with_rows(e: Expr, shape: Shape | None) -> Expr:
    """The same value, its vectors written as transposed rows."""
    if not _has_vectors(e):
        return e
    match e.op:
        case "matrix":
            tensor, kind, how = e.value
            moving = [h for h in how if h != "f"]
            if len(moving) != 1 or (shape is not None and shape(tensor)[how.index("r")] is None):
                return e
            return _transposed(node("matrix", e.args, (tensor, kind, how.replace("r", "c"))))
        case "onehot":
            return _transposed(node("onehot_row", e.args, e.value))
        case "diagonal":
            return e
        case "transpose":
            return _turned(_with_rows(e.args[0], shape))
    args = tuple(_with_rows(a, shape) for a in e.args)
    own = [a for a in args if _has_vectors(a)]
    if e.op in _ELEMENTWISE and all(a.op == "transpose" and _is_row(a.args[0]) for a in own):
        return _transposed(node(e.op, tuple(a.args[0] if a in own else a for a in args), e.value))
    found = node(e.op, args, e.value)
    if e.op == "matmul" and _is_flat(args[0]) and _is_upright(args[1]):
        return min(found, _turned(found), key=_transposes)  # a number is its own transpose
    return found


def _is_flat(e: Expr) -> bool:
    """Whether a formula is one row."""
    return _is_row(e) or (e.op == "transpose" and _is_ones(e.args[0]))


def _is_upright(e: Expr) -> bool:
    """Whether a formula is one column."""
    return _is_ones(e) or (e.op == "transpose" and _is_row(e.args[0]))


def _is_ones(e: Expr) -> bool:
    return e.op == "ones" and e.value[1] is None


def _transposes(e: Expr) -> int:
    return sum(x.op == "transpose" for x in children_first(e))


def _turned(e: Expr) -> Expr:
    """The transpose, as far inside as it goes."""
    if not _has_vectors(e):
        return e
    match e.op:
        case "transpose":
            return e.args[0]
        case "matmul":
            return node("matmul", (_turned(e.args[1]), _turned(e.args[0])))
        case "diagonal":
            return e
        case "scaled":
            return node("scaled", (e.args[0], _turned(e.args[1])))
    if e.op in _ELEMENTWISE or e.op in ("where", "indicator", "sum_of"):
        return node(e.op, tuple(map(_turned, e.args)), e.value)
    return node("transpose", (e,))


def _transposed(e: Expr) -> Expr:
    return e.args[0] if e.op == "transpose" else node("transpose", (e,))


def _is_row(e: Expr) -> bool:
    """Whether a formula is a row by itself: no product of matrices, nothing transposed within."""
    if e.op == "matrix":
        return [h for h in e.value[2] if h != "f"] == ["c"]
    if e.op == "onehot_row":
        return True
    return e.op in _ELEMENTWISE and all(_is_row(a) for a in e.args if _has_vectors(a))


def _has_vectors(e: Expr) -> bool:
    """Whether there is anything but numbers in a formula."""
    return e.op in _LEAVES or e.op == "onehot_row" or any(_has_vectors(a) for a in e.args)
