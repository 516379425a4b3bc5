"""Loads and stores: addresses from subscripts, and the cheapest form of access along the lanes.

A subscript that provably stays inside its tensor is used as it is. Any other one is held within the tensor when it
loads (the value is not used then: a ``where`` selects it off), and its store is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bpcompile.emit.c.affine import Affine, affine, inside
from bpcompile.emit.c.loops import repeat_along
from bpcompile.emit.c.scope import Memory, Scope
from bpcompile.nodes.expressions import Expr

_SPECIAL_STORES: Final[dict[tuple[int | None, str], str]] = {
    (2, "real"): "bp_store_second", (1, "sint"): "bp_store_integers",
}  # fmt: skip
_SPECIAL_STRIDES: Final = {2: "bp_load_second", -1: "bp_load_backwards"}


@dataclass(frozen=True, slots=True)
class Address:
    """The element that an access touches in the first lane.

    ``index`` is C text; ``stride`` is the distance from lane to lane, ``None`` where it is not constant. ``loose``
    holds the subscripts that could leave the tensor, with their dimension.
    """

    memory: Memory
    index: str
    stride: int | None
    loose: tuple[tuple[Expr, int], ...]


def address(scope: Scope, tensor: str, subscripts: tuple[Expr, ...], *, clamp: bool) -> Address:
    """Find where an access goes; with ``clamp``, loose subscripts are held within the tensor."""
    memory = scope.writer.memory(tensor)
    total = Affine(0)
    loose: list[tuple[Expr, int]] = []
    clamped: list[tuple[str, int]] = []
    stride: int | None = 0
    for dimension, subscript in enumerate(subscripts):
        step = memory.strides[dimension]
        if inside(subscript, memory.extents[dimension]):
            total = total.plus(affine(subscript).scaled(step))
            continue
        loose.append((subscript, dimension))
        if scope.is_vector(subscript):
            stride = None
        elif clamp:
            extent = extent_text(scope, memory.extents[dimension])
            clamped.append((f"{scope.writer.helper('bp_clamp')}({integer(scope, subscript)}, {extent})", step))
        else:
            total = total.plus(affine(subscript).scaled(step))
    if scope.lane is not None and stride is not None:
        variable = any(scope.is_vector(t) and not (t.op == "axis" and t.value == scope.lane) for t, _ in total.terms)
        stride = None if variable else total.factor(scope.lane)
    index = "" if stride is None else index_text(scope, total, clamped)
    return Address(memory, index, stride, tuple(loose))


def extent_text(scope: Scope, extent: int | None) -> str:
    """C text of an extent."""
    return scope.writer.arguments.n() if extent is None else str(extent)


def integer(scope: Scope, e: Expr) -> str:
    """C text of a scalar integer expression as one affine sum."""
    return index_text(scope, affine(e), ())


def index_text(scope: Scope, form: Affine, more: list[tuple[str, int]] | tuple[()]) -> str:
    """C text of an affine form (of the first lane), plus other terms with their factors."""
    from bpcompile.emit.c.expressions import scalar

    terms = [(scope.axis(t.value) if t.op == "axis" else scalar(scope, t), c) for t, c in form.terms]
    text = ""
    for name, factor in (*terms, *more):
        if name == "0":
            continue
        part = name if abs(factor) == 1 else f"{abs(factor)} * {name}"
        sign = "-" if factor < 0 else "+"
        text = f"{text} {sign} {part}" if text else (f"-{part}" if factor < 0 else part)
    if form.constant or not text:
        sign = "-" if form.constant < 0 else "+"
        text = f"{text} {sign} {abs(form.constant)}" if text else str(form.constant)
    return text


def load_scalar(scope: Scope, e: Expr) -> str:
    """C text that loads one element (``real``, or ``ptrdiff_t`` for integer tensors)."""
    stays, found = _held(scope, e)
    text = f"{found.memory.pointer}[{found.index}]"
    if stays:
        text = f"({stays} ? {text} : 0)"
    return text if e.kind == "real" else f"(ptrdiff_t){text}"


def load_vector(scope: Scope, e: Expr) -> str | None:
    """C text that loads an element for each lane; ``None`` where only a loop over the lanes will do."""
    assert scope.lane is not None
    stays, found = _held(scope, e)
    if stays and e.kind != "real":
        return None
    text = _vector(scope, e, found)
    return f"{stays} ? {text} : v_zero()" if stays and text else text


def _held(scope: Scope, e: Expr) -> tuple[str, Address]:
    """Where a load goes, and C text of the condition under which it goes there; empty where that is always.

    A loose subscript is held within the tensor. One that changes meanwhile is not read at all then: the element there could
    be one that another thread is just writing. An array of the kernel's own has no other writer: it is read, for a load under
    a condition in the scalar loops of a window is one that gcc 12 gets wrong when it vectorizes them.
    """
    found = address(scope, e.value[0], e.args, clamp=True)
    loose = [(subscript, k) for subscript, k in found.loose if not scope.is_vector(subscript)]
    if not loose or e.value[0] in scope.writer.local or not scope.changes(e.value[0]):
        return "", found
    within = scope.writer.helper("bp_within")
    extents = found.memory.extents
    conditions = [f"{within}({integer(scope, s)}, {extent_text(scope, extents[k])})" for s, k in loose]
    return " && ".join(conditions), address(scope, e.value[0], e.args, clamp=False)


def _vector(scope: Scope, e: Expr, found: Address) -> str | None:
    """C text of the load itself."""
    assert scope.lane is not None
    if found.stride is None:
        if not found.loose:
            return _load_repeated(scope, e, found)
        return _load_inside(scope, e, found) if e.kind == "real" else None
    place = offset(found.memory.pointer, found.index)
    if e.kind != "real":
        if found.stride != 1 or found.memory.element != "sint":
            return None
        return f"{scope.writer.helper('bp_load_integers')}({place}, {scope.count or 'LANES'})"
    if found.stride == 1:
        return f"v_load_part({place}, {scope.count})" if scope.count else f"v_load({place})"
    if found.stride in _SPECIAL_STRIDES:
        return f"{scope.writer.helper(_SPECIAL_STRIDES[found.stride])}({place}, {scope.count or 'LANES'})"
    if scope.count:
        return f"v_load_stride_part({place}, {found.stride}, {scope.count})"
    return f"v_load_stride({place}, {found.stride})"


def _load_repeated(scope: Scope, e: Expr, found: Address) -> str | None:
    """A load along ``axis // r``: each element goes to ``r`` lanes."""
    assert scope.lane is not None
    total = Affine(0)
    for subscript, step in zip(e.args, found.memory.strides, strict=True):
        total = total.plus(affine(subscript).scaled(step))
    repeat = repeat_along(total, scope.lane)
    if repeat is None or (e.kind != "real" and found.memory.element != "sint"):
        return None
    term, times = repeat
    first = scope.axis(scope.lane)
    rest = Affine(total.constant, tuple((t, c) for t, c in total.terms if t is not term))
    place = offset(offset(found.memory.pointer, index_text(scope, rest, ())), f"{first} / {times}")
    helper = scope.writer.helper("bp_load_repeated" if e.kind == "real" else "bp_load_integers_repeated")
    return f"{helper}({place}, (int)({first} % {times}), {times}, {scope.count or 'LANES'})"


def _load_inside(scope: Scope, e: Expr, found: Address) -> str | None:
    """A load along one affine subscript that may leave the tensor, all others being fixed."""
    assert scope.lane is not None
    wide = [k for k, s in enumerate(e.args) if scope.is_vector(s)]
    loose = {k for _, k in found.loose}
    if len(wide) != 1 or wide[0] not in loose:
        return None
    form = affine(e.args[wide[0]])
    if any(scope.is_vector(t) and t.op != "axis" for t, _ in form.terms):
        return None
    memory = found.memory
    rest = Affine(0)
    clamped: list[tuple[str, int]] = []
    for k, subscript in enumerate(e.args):
        if k in loose and k != wide[0]:
            extent = extent_text(scope, memory.extents[k])
            clamped.append((f"{scope.writer.helper('bp_clamp')}({integer(scope, subscript)}, {extent})", memory.strides[k]))
        elif k != wide[0]:
            rest = rest.plus(affine(subscript).scaled(memory.strides[k]))
    place = offset(memory.pointer, index_text(scope, rest, clamped))
    extent = extent_text(scope, memory.extents[wide[0]])
    start = index_text(scope, form, ())
    helper = scope.writer.helper("bp_load_inside")
    step, stride = form.factor(scope.lane), memory.strides[wide[0]]
    return f"{helper}({place}, {start}, {step}, {extent}, {stride}, {scope.count or 'LANES'})"


def offset(pointer: str, index: str) -> str:
    """C text of a pointer moved by an index."""
    return pointer if index == "0" else f"{pointer} + {index}"


def store(scope: Scope, tensor: str, subscripts: tuple[Expr, ...], text: str, *, accumulate: bool, vector: bool) -> None:
    """Write (or add) a real value to a tensor: ``text`` is a vector if ``vector``, else a scalar.

    A scalar goes to every lane's element where the target depends on the lane axis.
    """
    found = address(scope, tensor, subscripts, clamp=False)
    wide = any(scope.is_vector(s) for s in subscripts)
    if not wide:
        _store_one(scope, found, text, accumulate)
    elif found.stride == 1 and found.memory.element == "real":  # what may leave the tensor is the same for all lanes
        place = offset(found.memory.pointer, found.index)
        part = f", {scope.count}" if scope.count else ""
        name = "_part" if scope.count else ""
        if not vector:
            text = f"v_splat({text})"
        if accumulate:
            text = f"v_load{name}({place}{part}) + {text}"
        scope.lines.append(f"{_guard(scope, found)}v_store{name}({place}, {text}{part});")
    elif vector and not accumulate and not found.loose and (found.stride, found.memory.element) in _SPECIAL_STORES:
        helper = scope.writer.helper(_SPECIAL_STORES[found.stride, found.memory.element])
        place = offset(found.memory.pointer, found.index)
        scope.lines.append(f"{helper}({place}, {text}, {scope.count or 'LANES'});")
    else:
        _store_lanes(scope, tensor, subscripts, text, accumulate, vector)
    scope.forget(tensor)


def _guard(scope: Scope, found: Address) -> str:
    """C text of the condition under which a store stays inside its tensor; empty where it always does."""
    tests = []
    for subscript, dimension in found.loose:
        i = integer(scope, subscript)
        tests.append(f"{i} >= 0 && {i} < {extent_text(scope, found.memory.extents[dimension])}")
    return f"if ({' && '.join(tests)}) " if tests else ""


def _store_one(scope: Scope, found: Address, text: str, accumulate: bool) -> None:
    place = f"{found.memory.pointer}[{found.index}]"
    if found.memory.element != "real":
        text = f"({found.memory.element})({text})"
    scope.lines.append(f"{_guard(scope, found)}{place} {'+=' if accumulate else '='} {text};")


def _store_lanes(
    scope: Scope, tensor: str, subscripts: tuple[Expr, ...], text: str, accumulate: bool, vector: bool
) -> None:
    index = scope.writer.fresh("l")
    inner = scope.one_lane(index)
    if vector:
        lanes = scope.writer.fresh("lanes")
        scope.lines.append(f"real {lanes}[LANES];")
        scope.lines.append(f"v_store({lanes}, {text});")
        text = f"{lanes}[{index}]"
    _store_one(inner, address(inner, tensor, subscripts, clamp=False), text, accumulate)
    scope.lines.append(f"for (int {index} = 0; {index} < {scope.count or 'LANES'}; {index}++) {{")
    scope.lines.extend("    " + line for line in inner.lines)
    scope.lines.append("}")
