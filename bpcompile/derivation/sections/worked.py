"""Section 7: the example with numbers. Every quantity of the forward and the backward pass, then the update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.document import Block, Equation, Line, Paragraph, Section, Together
from bpcompile.derivation.matrix import orientation
from bpcompile.derivation.notation import Grid, Notation, Number, Operator, Script, Symbol, row
from bpcompile.derivation.numerals import number
from bpcompile.derivation.numeric import World, random_data, random_world
from bpcompile.derivation.places import tensor_axes
from bpcompile.derivation.sections.layers import trivial
from bpcompile.derivation.steps import adjoint
from bpcompile.derivation.writing import symbol, text
from bpcompile.errors import BPCompileError, nearest
from bpcompile.nodes.expressions import loads

Array = NDArray[Any]
MOST: Final = 64
"""How many numbers one tensor of a worked example may have."""


def worked_section(context: Context) -> Section | None:
    """The numbers of one example; nothing for networks whose tensors are too large to be read."""
    if not context.single or context.network is None or _too_large(context):
        return None
    world = example_world(context)
    names, eta = context.names, context.options.learning_rate
    blocks: list[Block] = [Paragraph(("Given are, for one example and with parameters as they stand before the step:",))]
    given = [n for n in world.given if n in context.own]
    blocks.append(
        Together(tuple(_numbers(context, symbol(context, n, bold=_is_matrix(world, n)), world.given[n], n) for n in given))
    )
    blocks.append(Paragraph(("The forward pass:",)))
    arrays = world.values.arrays
    computed = [n for n in context.stable if n in context.own and n in arrays]
    blocks.append(
        Together(tuple(_numbers(context, symbol(context, n, bold=_is_matrix(world, n)), arrays[n], n) for n in computed))
    )
    blocks.append(Paragraph(("The backward pass:",)))
    gradients: dict[str, Array] = {}
    arrays |= world.adjoints()
    backward: list[Equation] = []
    for tensor in context.collected:
        found = None if tensor in context.view.definitions or tensor == LOSS else adjoint(context, tensor)
        if found is None or found.simplified is None or trivial(context, found):
            continue
        backward += _compiler_values(context, world, tensor)
        value = world.values.over(found.simplified, found.axes)
        gradients[tensor] = arrays[f"{tensor}.bar"] = value
        left = names.adjoint(tensor, (), "bold" if _is_matrix(world, tensor) else "italic")
        backward.append(_numbers(context, left, value, tensor))
    blocks += [Together(tuple(backward))] if backward else []
    if not any(name in gradients for name in context.network.parameters):
        return Section("worked", "The same with numbers", tuple(blocks))
    step = row(Symbol("η"), Operator("=", "relation"), Number(f"{eta:g}"))
    blocks.append(Paragraph(text("One step of gradient descent with learning rate ", step, ":")))
    updates: list[Equation] = []
    for name, info in context.network.parameters.items():
        if name in gradients and info.trainable:
            left = symbol(context, name, bold=_is_matrix(world, name))
            gradient = names.adjoint(name, (), "bold" if _is_matrix(world, name) else "italic")
            change = row(left, Operator("−"), Symbol("η"), gradient)
            after = world.given[name] - eta * gradients[name]
            lines = (Line(change, relation="←"), Line(numbers(context, after, name)))
            updates.append(Equation(left, lines))
    blocks.append(Together(tuple(updates)))
    return Section("worked", "The same with numbers", tuple(blocks))


def _too_large(context: Context) -> bool:
    shapes = [context.view.shape(n) for n in context.own]
    return any(np.prod([e or 1 for e in s], dtype=int) > MOST or len(s) > 2 for s in shapes)


def _is_matrix(world: World, name: str) -> bool:
    return np.ndim(world.values.arrays[name]) > 0


def example_world(context: Context) -> World:
    """The example that was given; what is missing is drawn, with one decimal."""
    known = [n for n, t in context.view.tensors.items() if t.role in ("input", "target", "parameter", "state")]
    example: Mapping[str, Any] = context.options.example or {}
    for name in example:
        if name not in known:
            guess = nearest(name, known)
            raise BPCompileError(
                f"The example names '{name}', which is no input, target or parameter.",
                hint=guess or f"There are {', '.join(known)}.",
            )
    drawn = {n: a if a.dtype.kind != "f" else np.round(a, 1) for n, a in random_data(context, context.options.seed, 1).items()}
    data = {n: _fitting(context, n, example[n], drawn[n]) if n in example else a for n, a in drawn.items()}
    return random_world(context, context.options.seed, 1, data)


def _fitting(context: Context, name: str, value: Any, like: Array) -> Array:
    """A given array in the shape of one example, the batch axis being optional."""
    try:
        array = np.asarray(value, dtype=like.dtype)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape in (like.shape, context.view.shape(name)):
        return array.reshape(like.shape)
    shape = " × ".join(map(str, context.view.shape(name))) or "a number"
    raise BPCompileError(f"The example gives '{name}' in the shape {np.shape(value)}; it is {shape}.")


def _compiler_values(context: Context, world: World, tensor: str) -> list[Equation]:
    """Values of the compiler's own that the next line reads, such as a softmax."""
    found = adjoint(context, tensor)
    blocks: list[Equation] = []
    if found is None or found.simplified is None:
        return blocks
    for name in context.stable:
        if name in context.own or name in context.shown_numbers or name not in world.values.arrays:
            continue
        if any(x.value[0] == name for x in loads(found.simplified)):
            context.shown_numbers[name] = None
            blocks.append(_numbers(context, symbol(context, name, bold=True), world.values.arrays[name], name))
    return blocks


def _numbers(context: Context, left: Notation, value: Array, tensor: str) -> Equation:
    return Equation(left, (Line(numbers(context, value, tensor)),))


def numbers(context: Context, value: Array, tensor: str) -> Notation:
    """An array as a column, a matrix or a number, six digits."""
    array = np.asarray(value)
    if array.ndim == 0:
        return _digits(float(array), array.dtype.kind == "i")
    axes = context.view.axes(tensor_axes(context, tensor))
    shape = orientation(axes, context.layout()) if len(axes) == array.ndim else None
    if array.ndim == 1:
        numbers_ = Grid((tuple(_digits(float(v)) for v in array),))
        return Script(numbers_, None, Symbol("⊤", "upright")) if context.layout().columns else numbers_
    flipped = shape is not None and shape[0] != axes[0]
    return Grid(tuple(tuple(_digits(float(v)) for v in r) for r in (array.T if flipped else array)))


def _digits(value: float, integer: bool = False) -> Notation:
    text_ = f"{value:.0f}" if integer else f"{value + 0.0:.6g}"
    mantissa, _, exponent = text_.partition("e")
    minus = mantissa.startswith("-")
    body: Notation = Number(mantissa.lstrip("-"))
    if exponent:
        power = number(int(exponent))[0]
        body = row(body, Operator("·"), Script(Number("10"), None, power))
    return row(Operator("−", "plain"), body) if minus else body

