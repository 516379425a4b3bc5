"""An interpreter of networks that is slow and obviously right: scalar loops over the equations as they are typed.

It knows nothing of the compiler: no normal form, no rewriting, no arrays but for storage. Numbers are Python floats, or
mpmath's with as many digits as wanted. Every element is computed when it is first asked for, so the order of equations and
the direction of recurrences need no thought.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from bpcompile.language import symbols
from bpcompile.language.network import Network
from bpcompile.language.records import Call
from tests.oracle.closures import Machine, closure
from tests.oracle.scalars import Number

__all__ = ["Result", "interpret", "loss_gradient"]

#: kind, call, equation's position, occurrence, values of all indices in scope, parameters -> the number drawn
DrawFunction = Callable[[str, str, int, int, Mapping[str, int], tuple[Number, ...]], Number]


@dataclass
class Result:
    """Every tensor by its global name, the states after the call, the loss."""

    values: dict[str, np.ndarray[Any, Any]]
    state: dict[str, np.ndarray[Any, Any]]
    loss: Number


def interpret(
    network: Network,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, Any],
    *,
    state: Mapping[str, Any] | None = None,
    draw: DrawFunction | None = None,
    training: bool = True,
    exact: bool = False,
) -> Result:
    """Compute every tensor of `network` for small arrays.

    `parameters` and `state` are by full name, `arrays` by the names of inputs and targets. With `exact`, numbers are mpmath's
    at its current precision. Targets may be missing if no loss is wanted.
    """
    batch = len(next(iter(arrays.values())))
    convert: Any = mpmath.mpf if exact else float
    values: dict[str, np.ndarray[Any, Any]] = {}
    for source in (parameters, state or {}, arrays):
        for name, array in source.items():
            integer = name in network.tensors and network.tensors[name].integer
            values[name] = _converted(array, int if integer else convert)
    after: dict[str, np.ndarray[Any, Any]] = {}
    for call in network.calls:
        if all(call.resolve[name] in values for name in call.layer.inputs):
            _run_call(call, values, after, batch, draw, training, exact)
    return Result(values, after, _loss(network, values, convert))


def loss_gradient(
    network: Network,
    parameters: Mapping[str, Any],
    arrays: Mapping[str, Any],
    wrt: str,
    *,
    digits: int = 40,
    **options: Any,
) -> np.ndarray[Any, Any]:
    """The gradient of the loss by one parameter or real input, by central differences in many digits."""
    with mpmath.workdps(digits):
        step = mpmath.mpf(10) ** (-digits // 3)
        start = parameters if wrt in parameters else arrays
        base = _converted(start[wrt], mpmath.mpf)
        gradient = np.zeros(base.shape)
        for place in np.ndindex(base.shape):
            ends = []
            for sign in (1, -1):
                moved = base.copy()
                moved[place] = base[place] + sign * step
                given = {**start, wrt: moved}
                pair = (given, arrays) if wrt in parameters else (parameters, given)
                ends.append(interpret(network, *pair, exact=True, **options).loss)
            gradient[place] = float((ends[0] - ends[1]) / (2 * step))
        return gradient


def _converted(array: Any, convert: Any) -> np.ndarray[Any, Any]:
    source = np.asarray(array)
    result = np.empty(source.shape, dtype=object)
    for place in np.ndindex(source.shape):
        item = source[place]
        result[place] = item if isinstance(item, mpmath.mpf) else convert(item)
    return result


def _loss(network: Network, values: Mapping[str, Any], convert: Any) -> Number:
    if not network.losses or any(value.name not in values for _, value in network.losses):
        return None
    total = convert(0)
    for weight, value in network.losses:
        elements = values[value.name].ravel().tolist()
        total += convert(weight) * (sum(elements, convert(0)) / len(elements))
    for info in network.parameters.values():
        l1, l2 = info.penalty
        for w in values[info.name].ravel().tolist():
            total += convert(l1) * abs(w) + convert(l2) * w * w
    return total


def _run_call(
    call: Call,
    values: dict[str, Any],
    after: dict[str, Any],
    batch: int,
    draw: DrawFunction | None,
    training: bool,
    exact: bool,
) -> None:
    extents = {name: batch if extent is None else extent for name, extent in call.extents.items()}
    known: dict[tuple[str, tuple[int, ...]], Number] = {}
    closures = [closure(e.rhs) for e in call.equations]
    left = [[closure(s) for s in e.lhs.subscripts] for e in call.equations]
    defined = set(call.layer.defined)

    def machine(position: int, indices: dict[str, int]) -> Machine:
        def drawn(kind: str, occurrence: int, scope: Mapping[str, int], numbers: tuple[Number, ...]) -> Number:
            assert draw is not None, "the network draws random numbers; give draw="
            return draw(kind, call.name, position, occurrence, scope, numbers)

        return Machine(extents, read, drawn, training, exact, indices)

    def shape_of(name: str) -> tuple[int, ...]:
        return tuple(batch if extent is None else extent for extent in call.tensors[name].shape)

    def matching(name: str, place: tuple[int, ...]) -> tuple[int, dict[str, int]] | None:
        """The equation that defines an element; one with an integer on the left defines that step alone."""
        found = None
        for position, equation in enumerate(call.equations):
            if equation.lhs.tensor != name:
                continue
            indices: dict[str, int] = {}
            fits = True
            for subscript, compute, value in zip(equation.lhs.subscripts, left[position], place, strict=True):
                if isinstance(subscript, symbols.Index):
                    indices[subscript.name] = value
                    fits = fits and 0 <= value < extents[subscript.name]
                else:
                    fits = fits and compute(machine(position, {})) == value
            if fits:
                found = (position, indices)
        return found

    def element(name: str, place: tuple[int, ...]) -> Number:
        key = (name, place)
        if key not in known:
            match = matching(name, place)
            known[key] = 0 if match is None else closures[match[0]](machine(match[0], match[1]))
        return known[key]

    def read(name: str, place: tuple[int, ...]) -> Number:
        inside = all(0 <= k < extent for k, extent in zip(place, shape_of(name), strict=True))
        if not inside and call.tensors[name].outside is not None:
            return call.tensors[name].outside
        if name in defined:
            return element(name, place)
        assert inside, f"{name}{list(place)} is outside of {shape_of(name)} in call {call.name}"
        return values[call.resolve[name]][place]

    for name in call.layer.defined:
        array = np.empty(shape_of(name), dtype=object)
        for place in np.ndindex(array.shape):
            array[place] = element(name, place)
        values[call.resolve[name]] = array
    for name in call.layer.state:
        array = np.empty(shape_of(name), dtype=object)
        for place in np.ndindex(array.shape):
            array[place] = element(name, place)
        after[call.resolve[name]] = array
