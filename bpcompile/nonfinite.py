"""Where NaN or infinity comes from: the step of training, and the equation in which it first appears.

An epoch that went wrong is run again from where it began, only as far as the last parameters that are finite: training repeats
itself to the bit. Then the step after that is computed once more with every intermediate value kept, by generated NumPy in
the model's own element type, and the first value that is not finite is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.gradient import analyze, training
from bpcompile.emit.numpy_module import emit_numpy
from bpcompile.nodes.expressions import loads, walk_nodes
from bpcompile.nodes.statements import Program, Statement

if TYPE_CHECKING:
    from bpcompile.language.network import Network
    from bpcompile.parameters import State

Array = NDArray[Any]
_KEPT: Final = ("temporary", "output", "next_state")


def guarded(
    run: Callable[[Array], Array], vectors: Sequence[Array], order: Array, batch_size: int
) -> tuple[Array, int | None]:
    """Run an epoch; if anything in it is not finite, go back to the last moment at which all was well.

    Parameters
    ----------
    run : callable
        Trains on the examples of the given numbers, in place; gives the loss of each batch.
    vectors : sequence of array
        All that `run` changes.
    order : array
        The numbers of the examples.
    batch_size : int
        Examples in a step.

    Returns
    -------
    array
        The losses.
    int or None
        The step (from 0) that fails next, if one does; `vectors` are then as they were before it.
    """
    before = [v.copy() for v in vectors]

    def again(steps: int) -> bool:
        """Train for so many steps from the beginning; whether all is finite then."""
        for vector, old in zip(vectors, before, strict=True):
            vector[:] = old
        if steps:
            run(order[: steps * batch_size])
        return finite()

    def finite() -> bool:
        return all(bool(np.isfinite(v).all()) for v in vectors)

    losses = run(order)
    bad = np.flatnonzero(~np.isfinite(losses))
    if not bad.size and finite():
        return losses, None
    # Before step `low` all is well (or as it was given); after step `high - 1` it is not.
    low, high = 0, int(bad[0]) if bad.size else len(losses)
    if again(high):
        return losses, high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if again(middle) else (low, middle)
    again(low)
    return losses, low


def origin(
    network: Network, params: Mapping[str, Array], data: Mapping[str, Array], state: State, key: int, step: int, dtype: str
) -> str:
    """Say where a step that fails first has a value that is not finite, as a sentence; empty if nowhere.

    Parameters
    ----------
    network : Network
        With a loss.
    params, data, state : mapping of str to array
        What the step was given.
    key, step : int
        What its random draws depend on.
    dtype : str
        The element type in which it was computed.
    """
    for what, arrays in (("parameter", params), ("array", data), ("state", state)):
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                return f"The {what} '{name}' itself is {_first(array)}."
    program = training(analyze(network))
    values = _values(program, params, data, state, key, step, dtype)
    endless: set[str] = set()  # tensors in which infinity is meant: somebody wrote inf there, or before
    for s in program.statements():
        value = values.get(s.target)
        if value is None:
            continue
        if np.isinf(value).any() and _means_infinity(s, endless):
            endless.add(s.target)
        wrong = np.isnan(value) if s.target in endless else ~np.isfinite(value)
        if wrong.any():
            return _sentence(s, value, wrong)
    return ""


def _values(
    program: Program, params: Any, data: Any, state: State, key: int, step: int, dtype: str
) -> dict[str, Array]:
    """Every tensor that a step computes."""
    gradients = {name: t.of for name, t in program.tensors.items() if t.role == "gradient"}
    shown = {
        name: replace(t, role="next_state", of=name) if t.role in _KEPT else t for name, t in program.tensors.items()
    }
    text = emit_numpy(program, replace(program, tensors=shown), None, dtype)
    namespace: dict[str, Any] = {"__name__": "bpcompile_generated"}
    exec(compile(text, "<bpcompile numpy>", "exec"), namespace)  # text of our own, from checked expressions
    with np.errstate(all="ignore"):
        _, found, kept = namespace["value_and_grad"](params, data, state.copy(), key, step, True)
    values = {name: np.asarray(value) for name, value in kept.items()}
    return values | {name: np.asarray(found[of]) for name, of in gradients.items() if of in found}


def _means_infinity(s: Statement, endless: set[str]) -> bool:
    written = any(e.op == "const" and isinstance(e.value, float) and math.isinf(e.value) for e in walk_nodes((s.body,)))
    return written or any(e.value[0] in endless for e in loads(s.body))


def _sentence(s: Statement, value: Array, wrong: Array) -> str:
    what = "derivative" if s.origin.phase == "backward" else "value"
    place = tuple(int(k) for k in np.argwhere(wrong)[0])
    at = f" at {list(place)}" if place else ""
    layer = f"in the layer '{s.origin.call}'" if s.origin.call else "in the loss"
    equation = f", of the equation {s.origin.equation}" if "=" in s.origin.equation else ""
    return f"It begins {layer}{equation}: a {what} of '{s.target}' is {value[place]}{at}."


def _first(array: Array) -> str:
    place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
    return f"{array[place]} at {list(place)}" if place else f"{array[()]}"
