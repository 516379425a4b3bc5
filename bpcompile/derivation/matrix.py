"""The matrix form of an index formula, recognized from where the indices stand.

A sum over an index that two factors share is a product of matrices; each factor is transposed if its own order of indices
asks for it. Nothing else decides where a transpose goes. The nodes besides those of the program:

================== ==================== ==========================================================================
op                 value                meaning
================== ==================== ==========================================================================
``matrix``         (tensor, kind, how)  a tensor as a matrix; ``how`` has a letter for each of its axes: ``r`` for that
                                        of the rows, ``c`` for that of the columns, ``f`` for one that has a fixed
                                        subscript; args: the fixed subscripts
``transpose``                           its argument transposed
``matmul``                              the product of matrices
``hadamard``                            the product element by element
``hadamard_quotient``                   the quotient element by element
``scaled``                              a number times a matrix
``onehot_row``     Axis                 the row with a 1 at the place of its argument
``ones``           (Axis, Axis | None)  a column or matrix of ones
``onehot``         Axis                 the column with a 1 at the place of its argument
``diagonal``                            the diagonal matrix of a column
``indicator``                           1 where a condition holds, else 0
``sum_of``         Axis                 the sum of matrices, one for each value of an axis
================== ==================== ==========================================================================

Scalar functions, sums and differences stand for themselves, element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpcompile.derivation.products import is_zero
from bpcompile.derivation.rows import for_rows
from bpcompile.nodes.expressions import (
    UNARY_FUNCTIONS,
    ZERO,
    Axis,
    Expr,
    axes_of,
    axis,
    children_first,
    const,
    node,
    substitute,
)

_COMPARISONS: Final = ("lt", "le", "eq", "ne")


@dataclass(frozen=True)
class Layout:
    """How tensors become matrices.

    Attributes
    ----------
    columns : bool
        Whether an example is a column, and a batch a matrix of columns; else they are rows.
    fixed : collection of Axis
        Axes that stay subscripts: time, the layer number.
    time : collection of str
        Names of axes over which matrices are added up one by one: sums over time.
    shape : callable, optional
        The shape of a tensor: an index that runs over a part of it alone makes no matrix.
    batched : bool
        Whether the batch index is shown.
    """

    columns: bool = True
    fixed: Collection[Axis] = ()
    time: Collection[str] = ()
    shape: Callable[[str], Sequence[int | None]] | None = None
    batched: bool = False


def orientation(axes: Sequence[Axis], layout: Layout) -> tuple[Axis | None, Axis | None] | None:
    """Rows and columns of a tensor with these axes; None if it is no matrix."""
    free = [a for a in axes if a not in layout.fixed]
    if len(free) > 2:
        return None
    if len(free) == 2 and layout.columns and free[0].name == "n" and free[0].extent is None:
        free.reverse()
    return (*free, None, None)[0], (*free, None, None)[1]


def matrix_form(e: Expr, axes: Sequence[Axis], layout: Layout) -> Expr | None:
    """The matrix form of ``e`` for a tensor over ``axes``; None where there is none."""
    shape = orientation(axes, layout)
    found = None if shape is None else _Recognizer(layout).matrix(e, *shape)
    if found is None or shape is None or layout.columns:
        return found
    row, column = shape
    vector = row is not None and column is None and not (row.name == "n" and row.extent is None)
    return for_rows(found, vector, layout.shape if layout.batched else None)


def jacobian_form(e: Expr, upper: Sequence[Axis], lower: Sequence[Axis], layout: Layout, turned: bool) -> Expr | None:
    """The matrix of derivatives of a column or number by a column: a row for each upper index, unless ``turned``."""
    if len(upper) > 1 or len(lower) != 1:
        return None
    rows, columns = (upper[0] if upper else None), lower[0]
    found = _Recognizer(layout).matrix(e, *((columns, rows) if turned else (rows, columns)))
    if found is None or found.op == "ones":
        return None
    return found if layout.columns else for_rows(found, False, layout.shape if layout.batched else None)


def _both(op: str, a: Expr | None, b: Expr | None) -> Expr | None:
    return None if a is None or b is None else node(op, (a, b))


def _transposed(e: Expr | None) -> Expr | None:
    if e is None:
        return None
    return e.args[0] if e.op == "transpose" else node("transpose", (e,))


class _Recognizer:
    """Builds matrices with given rows and columns from index formulas."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def free(self, e: Expr) -> set[Axis]:
        return {a for a in axes_of(e) if a not in self.layout.fixed}

    def matrix(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        """``e`` as a matrix of ``r`` rows and ``c`` columns (None: one)."""
        free = self.free(e)
        wanted = {a for a in (r, c) if a is not None}
        if not free <= wanted:
            return None
        if r is None and c is not None:
            return _transposed(self.matrix(e, c, None))
        if free < wanted:
            return self.spread(e, free, r, c)
        return self.full(e, r, c)

    def spread(self, e: Expr, free: set[Axis], r: Axis | None, c: Axis | None) -> Expr | None:
        """A value that does not depend on all of the indices, repeated along the others."""
        if not free:
            ones = node("ones", (), (r, c))
            if e.op == "const" and e.value == 1:
                return ones
            inner = self.full(e, None, None)
            return None if inner is None else node("scaled", (inner, ones))
        if r in free:
            return _both("matmul", self.matrix(e, r, None), _transposed(node("ones", (), (c, None))))
        return _both("matmul", node("ones", (), (r, None)), self.matrix(e, None, c))

    def full(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        """``e`` that depends on exactly ``r`` and ``c``."""
        if e.op == "load":
            return self.load(e, r, c)
        if e.op in ("add", "sub"):
            return _both(e.op, self.matrix(e.args[0], r, c), self.matrix(e.args[1], r, c))
        if e.op == "neg":
            inner = self.matrix(e.args[0], r, c)
            return None if inner is None else node("neg", (inner,))
        if e.op in ("mul", "div"):
            return self.product(e, r, c)
        if e.op == "pow" and e.args[1].op == "const":
            inner = self.matrix(e.args[0], r, c)
            if inner is not None and e.args[1].value == 2 and r is not None:
                return node("hadamard", (inner, inner))
            return None if inner is None or r is not None else node("pow", (inner, e.args[1]))
        if e.op in UNARY_FUNCTIONS or e.op in ("stop", "unspecified"):
            inner = self.matrix(e.args[0], r, c)
            return None if inner is None else node(e.op, (inner,), e.value)
        if e.op in ("max", "min"):
            return self.extreme(e, r, c)
        if e.op == "where":
            return self.selection(e, r, c)
        if e.op == "reduce":
            return self.reduction(e, r, c)
        return e if r is None and e.op in ("const", "size", "seed", "axis", "flag") else None

    def load(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        tensor, kind = e.value
        moving = [s for s in e.args if self.free(s)]
        fixed = tuple(s for s in e.args if not self.free(s))
        if any(s.op != "axis" for s in moving):
            return None
        own = [s.value for s in moving]
        if self.layout.shape is not None and not self.is_whole(e):
            return None
        shape = orientation(own, self.layout)
        if shape is None or len(set(own)) < len(own) or (kind != "real" and own):
            return None
        how = "".join("r" if s in moving and s.value == shape[0] else "c" if s in moving else "f" for s in e.args)
        symbol = node("matrix", fixed, (tensor, kind, how))
        return symbol if shape == (r, c) else node("transpose", (symbol,)) if shape == (c, r) else None

    def is_whole(self, e: Expr) -> bool:
        """Whether the indices run over the whole of the tensor."""
        assert self.layout.shape is not None
        shape = self.layout.shape(e.value[0])
        pairs = zip(e.args, shape, strict=True)
        return all(s.op != "axis" or s.value.extent is None or s.value.extent == extent for s, extent in pairs)

    def product(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        """Numbers first, then what depends on the rows, the columns and both."""
        above, below = _split(e)
        if r is None:
            return self.scalar_product(e)
        numbers = [f for f in above if not self.free(f)]
        divisors = [f for f in below if not self.free(f)]
        moving = [f for f in above if self.free(f)]
        under = [f for f in below if self.free(f)]
        result = self.moving_product(moving, r, c)
        if result is None:
            return None
        if under:
            result = _both("hadamard_quotient", result, self.moving_product(under, r, c))
        return self.scaled(numbers, divisors, result)

    def scalar_product(self, e: Expr) -> Expr | None:
        left, right = (self.matrix(a, None, None) for a in e.args)
        return _both(e.op, left, right)

    def scaled(self, numbers: Sequence[Expr], divisors: Sequence[Expr], result: Expr | None) -> Expr | None:
        signs = [f for f in numbers if f is const(-1)]
        numbers = [f for f in numbers if f.op != "const" or abs(f.value) != 1]
        if len(signs) % 2 and result is not None:
            result = node("neg", (result,))
        if not numbers and not divisors:
            return result
        by = _times(numbers)
        if divisors:
            by = node("div", (by, _times(divisors)))
        number = self.matrix(by, None, None)
        return _both("scaled", number, result)

    def moving_product(self, parts: Sequence[Expr], r: Axis, c: Axis | None) -> Expr | None:
        """The product of factors that depend on rows, columns or both."""
        if c is None:
            return self.hadamard(parts, r, None)
        by_row = [f for f in parts if self.free(f) == {r}]
        by_column = [f for f in parts if self.free(f) == {c}]
        full = [f for f in parts if len(self.free(f)) == 2]
        if not full:
            left = self.hadamard(by_row, r, None) if by_row else node("ones", (), (r, None))
            right = self.hadamard(by_column, c, None) if by_column else node("ones", (), (c, None))
            return _both("matmul", left, _transposed(right))
        result = self.hadamard(full, r, c)
        if by_row:
            left = self.hadamard(by_row, r, None)
            result = _both("matmul", None if left is None else node("diagonal", (left,)), result)
        if by_column:
            right = self.hadamard(by_column, c, None)
            result = _both("matmul", result, None if right is None else node("diagonal", (right,)))
        return result

    def hadamard(self, parts: Sequence[Expr], r: Axis | None, c: Axis | None) -> Expr | None:
        result: Expr | None = None
        for k, f in enumerate(parts):
            m = self.matrix(f, r, c)
            result = m if k == 0 else _both("hadamard", result, m)
        return result

    def extreme(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        """Max and min of an element and a number."""
        a, b = e.args
        if self.free(b):
            return None
        return _both(e.op, self.matrix(a, r, c), self.matrix(b, None, None))

    def selection(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        condition, a, b = e.args
        if r is None:
            return None
        if is_zero(b):
            return self.selected(condition, a, r, c)
        if is_zero(a):
            return self.selected(node("not", (condition,)), b, r, c)
        return _both("add", self.selected(condition, a, r, c), self.selected(node("not", (condition,)), b, r, c))

    def selected(self, condition: Expr, value: Expr, r: Axis, c: Axis | None) -> Expr | None:
        """``value`` where the condition holds, else 0."""
        if condition.op == "eq" and c is not None and r.extent == c.extent and set(condition.args) == {axis(r), axis(c)}:
            along = self.matrix(substitute(value, {axis(c): axis(r)}), r, None)
            return None if along is None else node("diagonal", (along,))
        if not self.free(condition):
            inner = self.matrix(value, r, c)
            return None if inner is None else node("where", (condition, inner, ZERO))
        mark = self.indicator(condition, r, c)
        if mark is None or (value.op == "const" and value.value == 1):
            return mark
        if not self.free(value):
            return self.scaled([value], [], mark)
        return _both("hadamard", self.matrix(value, r, c), mark)

    def indicator(self, condition: Expr, r: Axis, c: Axis | None) -> Expr | None:
        if condition.op == "eq" and c is None:
            for index, place in (condition.args, condition.args[::-1]):
                if index.op == "axis" and index.value == r and not self.free(place):
                    return node("onehot", (place,), r)
        if condition.op == "not" and condition.args[0].op in ("lt", "le"):
            a, b = condition.args[0].args
            condition = node("le" if condition.args[0].op == "lt" else "lt", (b, a))
        if condition.op not in _COMPARISONS or all(a.kind == "int" for a in condition.args):
            return None
        sides = []
        for side in condition.args:
            sides.append(self.matrix(side, r, c) if self.free(side) else self.matrix(side, None, None))
        if sides[0] is None or sides[1] is None:
            return None
        return node("indicator", (node(condition.op, (sides[0], sides[1])),))

    def reduction(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        kind, over = e.value
        if kind == "sum" and len(over) > 1:
            return self.sums(e, r, c)
        if kind not in ("sum", "mean") or len(over) != 1:
            return None
        if kind == "sum" and over[0].name in self.layout.time:
            each = _Recognizer(replace(self.layout, fixed=(*self.layout.fixed, over[0]))).matrix(e.args[0], r, c)
            return None if each is None else node("sum_of", (each,), over[0])
        result = self.contracted(e.args[0], over[0], r, c)
        if kind == "mean" and result is not None:
            return node("scaled", (node("div", (const(1), node("size", (), over[0]) if over[0].extent is None
                                                else const(over[0].extent))), result))  # fmt: skip
        return result

    def sums(self, e: Expr, r: Axis | None, c: Axis | None) -> Expr | None:
        """A sum over several axes: over one of them a product of matrices, over the others a sum of these."""
        over = e.value[1]
        for s in over:
            others = tuple(a for a in over if a is not s)
            inside = _Recognizer(replace(self.layout, fixed=(*self.layout.fixed, *others)))
            found = inside.matrix(node("reduce", e.args, ("sum", (s,))), r, c)
            if found is not None and any(x.op == "matmul" for x in children_first(found)):
                for a in reversed(others):
                    found = node("sum_of", (found,), a)
                return found
        return None

    def contracted(self, body: Expr, s: Axis, r: Axis | None, c: Axis | None) -> Expr | None:
        """The sum of ``body`` over ``s``."""
        if body.op in ("add", "sub"):
            return _both(body.op, *(self.contracted(a, s, r, c) for a in body.args))
        if body.op == "neg":
            inner = self.contracted(body.args[0], s, r, c)
            return None if inner is None else node("neg", (inner,))
        if body.op == "where" and is_zero(body.args[2]) and not self.free(body.args[0]):
            inner = self.contracted(body.args[1], s, r, c)
            return None if inner is None else node("where", (body.args[0], inner, ZERO))
        if body.op == "pow" and body.args[1].op == "const" and body.args[1].value == 2 and r is None:
            m = self.matrix(body.args[0], s, None)
            return _both("matmul", _transposed(m), m)
        above, below = _split(body)
        if any(self.free(f) for f in below):
            return None
        numbers = [f for f in above if not self.free(f)]
        left = [f for f in above if r is not None and r in self.free(f)]
        right = [f for f in above if c is not None and c in self.free(f)]
        alone = [f for f in above if self.free(f) == {s}]
        if any(f in right for f in left) or len(left) + len(right) + len(alone) + len(numbers) != len(above):
            return None
        if any(s not in self.free(f) for f in (*left, *right)):
            return None
        product = self.paired(left, alone, right, s, r, c)
        return self.scaled(numbers, below, product)

    def paired(
        self, left: list[Expr], alone: list[Expr], right: list[Expr], s: Axis, r: Axis | None, c: Axis | None
    ) -> Expr | None:
        """(rows x s) times (s x columns)."""
        if r is None and c is None:
            if len(alone) < 2:
                first: Expr | None = node("ones", (), (s, None))
                rest = alone
            else:
                first, rest = self.matrix(alone[0], s, None), alone[1:]
            return _both("matmul", _transposed(first), self.hadamard(rest, s, None))
        if r is None and c is not None:
            return _transposed(self.paired(right, alone, [], s, c, None))
        rows = self.hadamard(left, r, s) if left else None
        if c is None:
            column = self.hadamard(alone, s, None) if alone else node("ones", (), (s, None))
            return _both("matmul", rows, column)
        columns = self.hadamard(right, s, c)
        if alone:
            middle = self.hadamard(alone, s, None)
            rows = _both("matmul", rows, None if middle is None else node("diagonal", (middle,)))
        return _both("matmul", rows, columns)


def _split(e: Expr) -> tuple[list[Expr], list[Expr]]:
    """What stands above and below the line of a product of quotients."""
    if e.op == "mul":
        (a, b), (p, q) = _split(e.args[0]), _split(e.args[1])
        return [*a, *p], [*b, *q]
    if e.op == "div":
        (a, b), (p, q) = _split(e.args[0]), _split(e.args[1])
        return [*a, *q], [*b, *p]
    if e.op == "neg":
        above, below = _split(e.args[0])
        return [const(-1), *above], below
    return [e], []


def _times(parts: Sequence[Expr]) -> Expr:
    total: Expr | None = None
    for p in parts:
        total = p if total is None else node("mul", (total, p))
    return const(1) if total is None else total


