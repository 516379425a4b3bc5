"""An equation: a tensor element on the left, an expression on the right, a value for each combination of indices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy

from bpcompile.errors import LanguageError
from bpcompile.language.admit import admit
from bpcompile.language.rewrite import rebuild
from bpcompile.language.symbols import Access, Draw, Index, Reduction, SizeOf, Tensor, to_expression
from bpcompile.language.text import to_text

__all__ = ["Equation", "accesses", "free_indices", "index_names"]


@dataclass(frozen=True)
class Equation:
    """``lhs = rhs``, in index notation.

    Parameters
    ----------
    lhs : Access or Tensor
        The element that is defined, such as ``z[n, j]``; a bare tensor is a scalar. Its subscripts are distinct indices.
        An integer instead of an index gives the start of a recurrence: ``h[n, -1, j]``.
    rhs : expression
        Any expression over tensor elements, indices and SymPy's scalar functions.
    text : str, optional
        How the user typed it; by default the equation is printed.

    Attributes
    ----------
    extents : tuple of (str, int)
        The extents that the equation's own `Index` objects carried.
    """

    lhs: Access
    rhs: sympy.Expr
    text: str = ""
    extents: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        left: Any = self.lhs._sympy_() if isinstance(self.lhs, Tensor) else self.lhs
        if not isinstance(left, Access):
            raise LanguageError(
                f"The left side of an equation is an element of a tensor, not {left!r}.",
                hint='Write Equation(z[n, j], ...) with z = bp.Tensor("z"), or the whole equation as text in a Layer.',
            )
        extents = dict(self.extents)
        lhs = _own_names(admit(left), extents, {})
        rhs = _own_names(admit(to_expression(self.rhs, "the right side of an equation")), extents, {})
        object.__setattr__(self, "lhs", lhs)
        object.__setattr__(self, "rhs", rhs)
        object.__setattr__(self, "extents", tuple(sorted(extents.items())))
        if not self.text:
            object.__setattr__(self, "text", f"{to_text(lhs)} = {to_text(rhs)}")
        _check_indices(self)

    def __str__(self) -> str:
        return self.text

    @property
    def indices(self) -> tuple[str, ...]:
        """The names of the indices on the left, in order."""
        return tuple(s.name for s in self.lhs.subscripts if isinstance(s, Index))


def _own_names(expression: Any, extents: dict[str, int], draws: dict[int, int]) -> Any:
    """Take the extents out of the indices, and number the draws by their first place in the expression."""
    if isinstance(expression, Index):
        if expression.extent is None:
            return expression
        if extents.setdefault(expression.name, expression.extent) != expression.extent:
            raise LanguageError(
                f"Index '{expression.name}' has extent {extents[expression.name]} in one place"
                f" and {expression.extent} in another."
            )
        return Index(expression.name)
    if not expression.args:
        return expression
    if isinstance(expression, Draw):
        occurrence = draws.setdefault(expression.occurrence, len(draws))
        return Draw(expression.kind, [_own_names(p, extents, draws) for p in expression.parameters], occurrence)
    return rebuild(expression, [_own_names(a, extents, draws) for a in expression.args])


def accesses(expression: sympy.Basic) -> list[Access]:
    """Every tensor access in `expression`, those in subscripts included, in the order of the text."""
    found = [a for argument in expression.args for a in accesses(argument)]
    return [expression, *found] if isinstance(expression, Access) else found


def index_names(expression: sympy.Basic) -> list[str]:
    """The names of all indices in `expression`, free and bound, each once, in the order of the text."""
    found = [expression.name] if isinstance(expression, Index) else []
    for argument in expression.args:
        found += index_names(argument)
    return list(dict.fromkeys(found))


def free_indices(expression: sympy.Basic) -> list[str]:
    """The names of the indices in `expression` that no reduction binds, in the order of the text; ``size(i)`` uses no index."""
    if isinstance(expression, Index):
        return [expression.name]
    if isinstance(expression, SizeOf):
        return []
    found = [name for argument in expression.args for name in free_indices(argument)]
    bound = {i.name for i in expression.indices} if isinstance(expression, Reduction) else set()
    return [name for name in dict.fromkeys(found) if name not in bound]


def _check_indices(equation: Equation) -> None:
    where = f"Equation '{equation.text}'"
    left = equation.indices
    for subscript in equation.lhs.subscripts:
        if not isinstance(subscript, Index) and (free_indices(subscript) or accesses(subscript)):
            raise LanguageError(
                f"On the left stand plain indices, not '{to_text(subscript)}'.",
                where=where,
                hint="Move the arithmetic to the subscripts on the right.",
            )
    for name in left:
        if left.count(name) > 1:
            raise LanguageError(f"Index '{name}' stands on the left twice.", where=where)
    _check_bound(equation.rhs, left, where)
    loose = [name for name in free_indices(equation.rhs) if name not in left]
    if loose:
        raise LanguageError(
            f"Index '{loose[0]}' neither stands on the left nor is it reduced.",
            where=where,
            hint=f"Put '{loose[0]}' on the left, or reduce over it: sum(..., {loose[0]}).",
        )


def _check_bound(expression: sympy.Basic, taken: tuple[str, ...], where: str) -> None:
    """A reduction binds names of its own: none that stand on the left, none that a reduction around it binds."""
    if isinstance(expression, Reduction):
        for index in expression.indices:
            if index.name in taken:
                raise LanguageError(
                    f"'{expression.kind}' runs over '{index.name}', which already stands for something"
                    " on the left or in a reduction around it.",
                    where=where,
                    hint=f"Use another name for the index in '{to_text(expression)}'.",
                )
        taken = (*taken, *(i.name for i in expression.indices))
    for argument in expression.args:
        _check_bound(argument, taken, where)
