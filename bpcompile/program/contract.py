"""Recognize contractions: sums of products of two loads, with their axes in groups.

``out[b, m, n] (= | +=) sum(left[b, m, k] * right[b, n, k], k)``: dense layers, convolutions over padded tensors,
attention and every weight gradient are this one form. Sums too small to be worth a tiled kernel are left to plain loops.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpcompile.nodes.access import extent, injective, inside, is_affine, volume
from bpcompile.nodes.affine import affine
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis
from bpcompile.nodes.statements import Statement, Tensor
from bpcompile.program.schedule_types import Contraction

MINIMUM_PRODUCTS = 4096
"""Scalar products (with a typical batch) below which a plain loop is as good as a tiled kernel."""

MINIMUM_SIDE = 4
"""The least number of rows, and of columns."""


def as_contraction(s: Statement, tensors: Mapping[str, Tensor]) -> Contraction | None:
    """The statement as a contraction, or nothing if it is not one or is too small.

    Parameters
    ----------
    s : Statement
        A statement in normal form.
    tensors : mapping of str to Tensor
        The tensors of the program.
    """
    if s.reduce != "sum" or s.body.op != "mul" or not injective(s):
        return None
    first, second = s.body.args
    if not (_operand(first, tensors) and _operand(second, tensors)):
        return None
    in_first, in_second = set(axes_of(first)), set(axes_of(second))
    if any(a.extent != 1 and (a not in in_first or a not in in_second) for a in s.over):
        return None
    if any(a.extent != 1 and a not in in_first and a not in in_second for a in s.axes):
        return None
    batch = tuple(a for a in s.axes if a in in_first and a in in_second)
    second_only = tuple(a for a in s.axes if a in in_second and a not in in_first)
    first_only = tuple(a for a in s.axes if a not in in_second)
    if min(volume(first_only), volume(second_only)) < MINIMUM_SIDE:
        return None
    if volume((*s.axes, *s.over)) < MINIMUM_PRODUCTS:
        return None
    depth = s.over
    if _columns_are_second(s, first_only, second_only, first, second):
        return Contraction(s, first, second, batch, first_only, second_only, depth)
    return Contraction(s, second, first, batch, second_only, first_only, depth)


def _operand(e: Expr, tensors: Mapping[str, Tensor]) -> bool:
    """True for a load of reals at affine subscripts that stay inside."""
    return (
        e.op == "load"
        and e.kind == "real"
        and is_affine(e.args)
        and inside(e.args, tensors[e.value[0]].shape)
        and tensors[e.value[0]].kind == "real"
    )


def _columns_are_second(
    s: Statement, first_only: tuple[Axis, ...], second_only: tuple[Axis, ...], first: Expr, second: Expr
) -> bool:
    """True if the second operand should be the right one: its axes hold the one that is contiguous in the target."""
    for e in reversed(s.subscripts):
        digits = sorted((abs(c), t.value) for t, c in affine(e).terms if t.op == "axis" and t.value.extent != 1)
        # A short digit says little: single elements of it are stored as well as pairs.
        inner = next((d for d in digits if extent(d[1]) >= MINIMUM_SIDE), digits[0] if digits else None)
        if inner is None:
            continue
        if inner[1] in second_only:
            return True
        if inner[1] in first_only:
            return False
        # The contiguous axis is a batch axis: prefer the side that is contiguous in its operand.
        break
    return not (_contiguous(first, first_only) and not _contiguous(second, second_only))


def _contiguous(operand: Expr, axes: tuple[Axis, ...]) -> bool:
    """True if one of the axes runs along the operand's last subscript by single elements."""
    return bool(operand.args) and any(affine(operand.args[-1]).coefficient(axis(a)) == 1 for a in axes)
