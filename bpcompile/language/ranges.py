"""Every read of a tensor stays inside it: bare subscripts have the axis' extent, composite ones are bounded by intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.affine import Affine, Gather, NotAffineError, Quotient, Ranges, Remainder, facts_of, interval
from bpcompile.language.affine import affine as affine_form
from bpcompile.language.equation import Equation
from bpcompile.language.records import Shape
from bpcompile.language.recurrence import Cycle, is_start
from bpcompile.language.symbols import BATCH, Access, Index, Where
from bpcompile.language.text import to_text

if TYPE_CHECKING:
    from bpcompile.language.layer import Layer

__all__ = ["check_reads"]


@dataclass(frozen=True)
class _Site:
    """Where an access stands: the equation, and everything that its check needs."""

    layer: Layer
    shapes: Mapping[str, Shape]
    ranges: Ranges
    cycles: Sequence[Cycle]
    equation: Equation
    place: str

    def under(self, facts: tuple[Affine, ...]) -> _Site:
        ranges = Ranges(self.ranges.extents, self.ranges.tensors, self.ranges.facts + facts)
        return _Site(self.layer, self.shapes, ranges, self.cycles, self.equation, self.place)

    @property
    def where(self) -> str:
        return f"{self.place}, equation '{self.equation}'"


def check_reads(
    layer: Layer, shapes: Mapping[str, Shape], ranges: Ranges, cycles: Sequence[Cycle], place: str
) -> None:
    """Check every access of every equation of a layer.

    Raises
    ------
    ShapeError
        If a subscript can leave its tensor.
    LanguageError
        If a subscript is no affine form of integers.
    """
    for equation in layer.equations:
        site = _Site(layer, shapes, ranges, cycles, equation, place)
        for axis, subscript in enumerate(equation.lhs.subscripts):
            if isinstance(subscript, Index):
                _check_bare(equation.lhs, axis, subscript, site)
            else:
                _check_start(axis, subscript, site)
        _check(equation.rhs, site)


def _check(expression: Any, site: _Site) -> None:
    if isinstance(expression, Where):
        condition, a, b = expression.args
        _check(condition, site)
        _check(a, site.under(facts_of(condition, site.ranges.extents)))
        _check(b, site.under(facts_of(condition, site.ranges.extents, holds=False)))
        return
    if isinstance(expression, Access):
        for axis, subscript in enumerate(expression.subscripts):
            if isinstance(subscript, Index):
                _check_bare(expression, axis, subscript, site)
            else:
                _check_composite(expression, axis, subscript, site)
    for argument in expression.args:
        _check(argument, site)


def _check_bare(access: Access, axis: int, index: Index, site: _Site) -> None:
    extent = site.ranges.extents[index.name]
    dimension = site.shapes[access.tensor][axis]
    if extent == dimension:
        return
    guarded = extent is not None and dimension is not None and extent > dimension
    if guarded and _inside(access, axis, index, site, ()):
        return
    if dimension is None or extent is None:
        known = extent if dimension is None else dimension
        owner = f"index '{index.name}'" if dimension is None else f"that axis of '{access.tensor}'"
        raise ShapeError(
            f"'{access}' subscripts axis {axis + 1} of '{access.tensor}' with '{index.name}': the batch, whose index is"
            f" '{BATCH}', meets {owner} of extent {known}.",
            where=site.where,
            hint=f"The first axis of inputs and of what is computed from them is subscripted by '{BATCH}' alone.",
        )
    raise ShapeError(
        f"Index '{index.name}' has extent {extent}, and axis {axis + 1} of '{access.tensor}' in '{access}' has"
        f" extent {dimension}.",
        where=site.where,
        hint="Use another index, or mend the sizes; a larger index needs a guard such as"
        f" where({index.name} < {dimension}, ...).",
    )


def _check_start(axis: int, subscript: Any, site: _Site) -> None:
    form = _form(site.equation.lhs, subscript, site)
    extent = site.shapes[site.equation.lhs.tensor][axis]
    cycle = next(c for c in site.cycles if site.equation.lhs.tensor in c.tensors)
    name = site.equation.lhs.tensor
    outside = form.constant < 0 if cycle.direction > 0 else extent is not None and form.constant >= extent
    if cycle.axes[name] != axis or not outside:
        border = "-1, -2, ..." if cycle.direction > 0 else f"{extent}, ..."
        raise LanguageError(
            f"'{site.equation.lhs}' gives a start inside the tensor, or along another index than '{cycle.index}'.",
            where=site.where,
            hint=f"A start stands at {border} along '{cycle.index}'.",
        )


def _form(access: Access, subscript: Any, site: _Site) -> Affine:
    try:
        return affine_form(subscript, site.ranges.extents)
    except NotAffineError as error:
        raise LanguageError(
            f"The subscript '{to_text(subscript)}' of '{access.tensor}' cannot be used: {error}.",
            where=site.where,
            hint="A subscript adds multiples of indices, of integer tensors and integers, with // and % by positive constants.",
        ) from None


def _check_composite(access: Access, axis: int, subscript: Any, site: _Site) -> None:
    form = _form(access, subscript, site)
    for gather in _gathers(form):
        if gather.tensor not in site.ranges.tensors:
            raise LanguageError(
                f"'{gather}' is real and cannot be a subscript of '{access.tensor}'.",
                where=site.where,
                hint="Integer tensors can: bp.Input(..., classes=...), bp.Target(..., classes=...), argmax.",
            )
    dimension = site.shapes[access.tensor][axis]
    if dimension is None:
        raise ShapeError(
            f"'{access}' subscripts the batch with '{to_text(subscript)}'.",
            where=site.where,
            hint=f"The batch is subscripted by '{BATCH}' alone.",
        )
    declared = site.layer.outside.get(access.tensor) is not None
    if declared or _inside(access, axis, subscript, site, _allowed(access, axis, site)):
        return
    low, high = interval(form, site.ranges)
    reach = f"can be {'anything' if low is None else low} to {'anything' if high is None else high}"
    if low is not None and low == high:
        reach = f"is {low}"
    told = all(site.ranges.tensors.get(g.tensor, (None, None))[1] is not None for g in _gathers(form))
    raise ShapeError(
        f"The subscript '{to_text(subscript)}' in '{access}' {reach}, and axis {axis + 1} of '{access.tensor}' has extent"
        f" {dimension}: the read can leave the tensor.",
        where=site.where,
        hint=f'Declare what such reads give: outside={{"{access.tensor}": 0}}; or guard them: where(0 <= ..., ..., 0).'
        if told
        else "Tell how many classes the integers have: classes=...",
    )


def _gathers(form: Affine) -> list[Access]:
    found: list[Access] = []
    for atom, _ in form.terms:
        if isinstance(atom, Gather):
            found.append(atom.access)
        elif isinstance(atom, (Quotient, Remainder)):
            found += _gathers(atom.form)
    return found


def _allowed(access: Access, axis: int, site: _Site) -> tuple[int, ...]:
    """The direction in which reads along a recurrence may leave the tensor: there they give the start, or zero."""
    cycle = next((c for c in site.cycles if access.tensor in c.tensors and c.axes[access.tensor] == axis), None)
    if cycle is None or is_start(site.equation):
        return ()
    return (cycle.direction,)


def _inside(access: Access, axis: int, subscript: Any, site: _Site, allowed: tuple[int, ...]) -> bool:
    dimension = site.shapes[access.tensor][axis]
    form = affine_form(subscript, site.ranges.extents)
    low, high = interval(form, site.ranges)
    single = len(form.terms) == 1 and isinstance(form.terms[0][0], str) and form.terms[0][1] == 1
    above = (low is not None and low >= 0) or (1 in allowed and single)
    below = (high is not None and dimension is not None and high < dimension) or (-1 in allowed and single)
    return above and below
