"""Extents: inferred from the inputs of a call, checked at every access.

An extent comes from ``sizes`` and from bare subscripts of tensors whose shape is known; composite subscripts are only
checked, by interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpcompile.errors import ShapeError
from bpcompile.language.affine import Interval, Ranges
from bpcompile.language.elements import check_elements
from bpcompile.language.equation import Equation, accesses, index_names
from bpcompile.language.integers import bounds, has_integer_source, is_integer
from bpcompile.language.ranges import check_reads
from bpcompile.language.records import Shape, TensorInfo
from bpcompile.language.recurrence import find_cycles, is_start
from bpcompile.language.symbols import BATCH, Access, Index

if TYPE_CHECKING:
    from bpcompile.language.layer import Layer
    from bpcompile.language.value import Value

__all__ = ["infer"]

#: One axis before extents are known: an extent, the batch, or the name of the index that tells it.
Slot = int | str | None


@dataclass(frozen=True)
class _Tie:
    """An index that subscripts an axis, and so has its extent."""

    index: str
    slot: Slot
    access: Access
    axis: int
    equation: Equation


def infer(
    layer: Layer, inputs: Sequence[Value], label: str
) -> tuple[dict[str, int | None], dict[str, TensorInfo]]:
    """Return the extents of all indices and what is known of every tensor of a layer that is called on `inputs`.

    Raises
    ------
    ShapeError
        If extents disagree, or nothing tells one; the message names equation, tensor, index and both extents.
    LanguageError
        If a read can leave its tensor, or a tensor depends on itself.
    """
    place = f"Layer '{label}'"
    given = dict(zip(layer.inputs, inputs, strict=True))
    slots = _slots(layer, given, place)
    ties = [tie for equation in layer.equations for tie in _ties(equation, slots, place)]
    extents = _solve(layer, slots, ties, place)
    shapes = {name: tuple(extents[s] if isinstance(s, str) else s for s in axes) for name, axes in slots.items()}
    _check_batch_first(layer, shapes, place)
    check_elements(layer.elements, shapes, place)
    cycles = find_cycles(layer.equations, layer.state, extents)
    integers, ranges = _integers(layer, given, extents)
    check_reads(layer, shapes, Ranges(extents, ranges), cycles, place)
    return extents, {name: _info(layer, given, name, shapes[name], name in integers, ranges) for name in shapes}


def _slots(layer: Layer, given: Mapping[str, Value], place: str) -> dict[str, tuple[Slot, ...]]:
    slots: dict[str, tuple[Slot, ...]] = {name: value.shape for name, value in given.items()}
    slots.update(layer.parameters)
    slots.update(layer.state)
    for equation in layer.equations:
        name = equation.lhs.tensor
        if name not in slots and not is_start(equation):
            slots[name] = equation.indices
    for equation in layer.equations:
        if equation.lhs.tensor not in slots:
            raise ShapeError(
                f"Only a start is given for '{equation.lhs.tensor}'.",
                where=f"{place}, equation '{equation}'",
                hint="An equation with plain indices on the left has to give the other steps.",
            )
    return slots


def _ties(equation: Equation, slots: Mapping[str, tuple[Slot, ...]], place: str) -> list[_Tie]:
    ties = []
    for access in (equation.lhs, *accesses(equation.rhs)):
        axes = slots[access.tensor]
        if len(axes) != len(access.subscripts):
            shape = ", ".join("n" if a is None else str(a) for a in axes)
            raise ShapeError(
                f"'{access}' has {len(access.subscripts)} subscripts, and '{access.tensor}' has {len(axes)} axes:"
                f" [{shape}].",
                where=f"{place}, equation '{equation}'",
            )
        for axis, (subscript, slot) in enumerate(zip(access.subscripts, axes, strict=True)):
            if isinstance(subscript, Index) and subscript.name != slot:
                ties.append(_Tie(subscript.name, slot, access, axis, equation))
    return ties


def _solve(
    layer: Layer, slots: Mapping[str, tuple[Slot, ...]], ties: Sequence[_Tie], place: str
) -> dict[str, int | None]:
    extents: dict[str, int | None] = {BATCH: None, **layer.sizes}
    changed = True
    while changed:
        changed = False
        for tie in ties:
            told = not isinstance(tie.slot, str) or tie.slot in extents
            if told and tie.index not in extents:
                extents[tie.index] = extents[tie.slot] if isinstance(tie.slot, str) else tie.slot
                changed = True
            elif isinstance(tie.slot, str) and not told and tie.index in extents:
                extents[tie.slot] = extents[tie.index]
                changed = True
    for equation in layer.equations:
        for index in _mentioned(equation):
            if index not in extents:
                raise _unknown(index, f"{place}, equation '{equation}'")
    for name, axes in slots.items():
        for slot in axes:
            if isinstance(slot, str) and slot not in extents:
                raise _unknown(slot, f"{place}, tensor '{name}'")
    return extents


def _mentioned(equation: Equation) -> list[str]:
    return [*equation.indices, *index_names(equation.rhs)]


def _unknown(index: str, where: str) -> ShapeError:
    return ShapeError(
        f"Nothing tells the extent of index '{index}'.",
        where=where,
        hint=f'Give it: sizes={{"{index}": ...}}. Extents also come from bare subscripts of tensors with known shapes.',
    )


def _check_batch_first(layer: Layer, shapes: Mapping[str, Shape], place: str) -> None:
    for name in layer.defined:
        if None in shapes[name][1:]:
            raise ShapeError(
                f"The batch index '{BATCH}' stands first, and '{name}' has it elsewhere.",
                where=place,
                hint=f"Write {name}[{BATCH},...] on the left.",
            )


def _integers(
    layer: Layer, given: Mapping[str, Value], extents: Mapping[str, int | None]
) -> tuple[set[str], dict[str, Interval]]:
    """The names of the integer tensors, and the interval of each."""
    integers = {name for name, value in given.items() if value.integer}
    ranges: dict[str, Interval] = {}
    for name in integers:
        classes = given[name].classes
        ranges[name] = (0, None) if classes is None else (0, classes - 1)
    for equation in layer.equations:
        name = equation.lhs.tensor
        told = layer.types.get(name)
        found = is_integer(equation.rhs, integers) and has_integer_source(equation.rhs, integers)
        if name in layer.state or told == "real" or not (found or told == "integer"):
            continue
        integers.add(name)
        ranges[name] = bounds(equation.rhs, Ranges(extents, ranges))
    return integers, ranges


def _info(
    layer: Layer,
    given: Mapping[str, Value],
    name: str,
    shape: Shape,
    integer: bool,
    ranges: Mapping[str, Interval],
) -> TensorInfo:
    role = "input" if name in given else "parameter" if name in layer.parameters else "intermediate"
    role = "state" if name in layer.state else role
    low, high = ranges.get(name, (None, None))
    classes = high + 1 if integer and low is not None and high is not None and low >= 0 else None
    return TensorInfo(
        name=name,
        shape=shape,
        role=role,
        integer=integer,
        classes=classes,
        outside=layer.outside.get(name),
        label=name,
        exempt=layer.exempt.get(name, ()),
    )
