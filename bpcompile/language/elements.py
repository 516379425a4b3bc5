"""Equations for single elements: ``a[n,0,j] = e`` beside ``a[n,t,j] = f`` is ``a[n,t,j] = where(t == 0, e, f)``.

What lies before the first step of a recurrence (``h[n,-1,j]``) is no element: it stays a start of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy

from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.affine import NotAffineError, affine
from bpcompile.language.equation import Equation, accesses, index_names
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import Access, Index, Where

__all__ = ["check_elements", "merge_elements"]

#: Where equations of single elements stand: for a tensor, each (axis, position) with its equation.
Elements = dict[str, dict[tuple[int, int], Equation]]


def merge_elements(equations: Sequence[Equation]) -> tuple[tuple[Equation, ...], Elements]:
    """Return the equations with those of single elements merged into the one of their tensor, and where these stood.

    Raises
    ------
    LanguageError
        If an index of the element's equation means something else in the other one, or an element is defined twice.
    """
    general = {e.lhs.tensor: e for e in equations if e.lhs.subscripts == tuple(Index(i) for i in e.indices)}
    reads = [a for e in equations for a in accesses(e.rhs)]
    merged = dict(general)
    kept: list[Equation] = []
    elements: Elements = {}
    for equation in equations:
        name = equation.lhs.tensor
        if equation is general.get(name):
            kept.append(equation)
            continue
        place = _place(equation)
        if place is None or name not in general or not _is_inside(place, general[name], reads):
            kept.append(equation)
            continue
        before = elements.setdefault(name, {}).setdefault(place, equation)
        if before is not equation:
            raise LanguageError(f"'{name}' is defined twice: by '{before}' and by '{equation}'.")
        merged[name] = _merged(merged[name], equation, place)
    return tuple(merged[e.lhs.tensor] if e is general.get(e.lhs.tensor) else e for e in kept), elements


def check_elements(elements: Elements, shapes: Mapping[str, tuple[int | None, ...]], place: str) -> None:
    """Refuse equations of elements that are not there.

    Raises
    ------
    ShapeError
        If a position lies behind the last element.
    """
    for tensor, positions in elements.items():
        for (axis, position), equation in positions.items():
            extent = shapes[tensor][axis]
            if extent is not None and position >= extent:
                raise ShapeError(
                    f"'{equation.lhs}' is no element: axis {axis + 1} of '{tensor}' has extent {extent}.",
                    where=f"{place}, equation '{equation}'",
                )


def _place(equation: Equation) -> tuple[int, int] | None:
    """The axis and the position that the left side fixes, if it is one position and not before the first."""
    fixed = [(k, s) for k, s in enumerate(equation.lhs.subscripts) if not isinstance(s, Index)]
    if len(fixed) != 1 or not isinstance(fixed[0][1], sympy.Integer) or fixed[0][1] < 0:
        return None
    return fixed[0][0], int(fixed[0][1])


def _is_inside(place: tuple[int, int], general: Equation, reads: Sequence[Access]) -> bool:
    """Whether the position is an element; where later steps are read (``t+1``), it may lie behind the last one."""
    axis, _ = place
    if axis >= len(general.lhs.subscripts):
        return False
    index = general.lhs.subscripts[axis].name
    own = (a.subscripts[axis] for a in reads if a.tensor == general.lhs.tensor and axis < len(a.subscripts))
    return not any(_looks_ahead(subscript, index) for subscript in own)


def _looks_ahead(subscript: Any, index: str) -> bool:
    try:
        form = affine(subscript, {})
    except NotAffineError:
        return False
    return form.terms == ((index, 1),) and form.constant > 0


def _merged(general: Equation, element: Equation, place: tuple[int, int]) -> Equation:
    axis, position = place
    names = {
        s.name: g
        for s, g in zip(element.lhs.subscripts, general.lhs.subscripts, strict=True)
        if isinstance(s, Index)
    } if len(element.lhs.subscripts) == len(general.lhs.subscripts) else {}  # fmt: skip
    if len(names) != len(general.lhs.subscripts) - 1:
        raise LanguageError(
            f"'{element.lhs}' and '{general.lhs}' have different numbers of subscripts.", where=f"equation '{element}'"
        )
    new = {old: index for old, index in names.items() if old != index.name}
    bound = set(index_names(element.rhs)) - set(names)
    taken = sorted(bound & {s.name for s in general.lhs.subscripts})
    if taken:
        raise LanguageError(
            f"'{taken[0]}' stands for something else in '{general}'.",
            where=f"equation '{element}'",
            hint="Use another name for the index.",
        )
    value = rewrite(element.rhs, lambda node: new.get(node.name) if isinstance(node, Index) else None)
    condition = sympy.Eq(general.lhs.subscripts[axis], sympy.Integer(position), evaluate=False)
    extents = {**dict(general.extents), **{names[i].name: e for i, e in element.extents if i in names}}
    return Equation(general.lhs, Where(condition, value, general.rhs), extents=tuple(extents.items()))
