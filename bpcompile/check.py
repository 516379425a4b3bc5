"""Generated gradients against numeric ones: the check that a user runs, on the generated code itself.

The gradient that generated code gives in float64 is compared, element by element, with differences of the loss that the
same code gives (see `check_numeric`). The losses of the backends are compared as well, so that a forward pass that is
wrong in one of them shows; and everything is computed into memory full of zeros and into memory full of NaN, so that what
is read before it is written shows. An element agrees if ``|a - n| <= tolerance * max(|a| + |n|, floor)``; both numbers are
part of the report.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.arrays import ArraySpec, conform, whole_number
from bpcompile.build import find_compiler
from bpcompile.check_numeric import Estimate, extrapolated, gap_of_sides, one_sided, quick, rounding_noise
from bpcompile.check_plan import Plan, affordable_examples, plan, shortest
from bpcompile.check_report import CheckReport, CheckRow, finite
from bpcompile.driver import build_ahead
from bpcompile.driver import compile as compile_network
from bpcompile.errors import BuildError, CheckError
from bpcompile.language.network import Network
from bpcompile.parameters import Gradients, Parameters, State

if TYPE_CHECKING:
    from bpcompile.model import Model

Array = NDArray[Any]
_Place = Array | int
"""What is moved: a whole tensor along a direction, or one element."""

TOLERANCE: Final = {"float64": 1e-6, "float32": 1e-3}
"""Relative errors that count as agreement, by the element type of the gradient that is checked."""
FLOOR: Final = 1e-4
"""Gradients below this, times the loss where it exceeds one, are compared absolutely."""
SECONDS: Final = 30.0
"""How long a check may take, building left out, unless it is told."""
_EXAMPLES: Final = 16
_LATE: Final = 0.8  # of the time, after which a tensor gets no more than one direction


def check_gradients(
    net: Network,
    params: Mapping[str, Any] | None = None,
    *,
    model: Model | None = None,
    backend: str | Sequence[str] | None = None,
    samples: int = 64,
    examples: int = _EXAMPLES,
    seed: int = 0,
    seconds: float = SECONDS,
    tolerance: float | None = None,
    state: Mapping[str, Any] | None = None,
    key: int = 0,
    **data: Any,
) -> CheckReport:
    """Compare the gradients of generated code with numeric ones, for all trainable parameters and all real inputs.

    Parameters
    ----------
    net : Network
        What to check.
    params : mapping, optional
        Where to check; by default at random parameters, none of them zero.
    model : Model, optional
        A model of this network whose own gradient of the parameters is checked, in its own precision.
    backend : str or sequence of str, optional
        ``"c"``, ``"numpy"`` or both; by default both, and NumPy alone without a C compiler.
    samples : int
        How many elements of each tensor are compared in networks with many; random directions cover the rest.
    examples : int
        At most so many examples are used.
    seed : int
        Of the sample, and of whatever is not given.
    seconds : float
        How long it may take, compiling left out: where the loss is expensive, fewer elements and fewer examples are
        used. Every tensor is crossed by a random direction in any case.
    tolerance : float, optional
        The relative error that counts as agreement; by default 1e-6, and 1e-3 for a float32 model.
    state : mapping, optional
        The network's state; by default the first one.
    key : int
        What random draws depend on; they are the same in every evaluation.
    **data
        Inputs and targets by name; what is not given is drawn at random.

    Returns
    -------
    CheckReport

    Raises
    ------
    CheckError
        If the network has no loss.
    ArrayError
        If arrays or parameters do not fit.
    """
    if not isinstance(net, Network):
        raise CheckError(f"check_gradients takes a Network, not {type(net).__name__}.", hint="Write bp.Network(z, loss=...).")
    whole_number("samples", samples, 1), whole_number("examples", examples, 1)
    if not seconds > 0:
        raise CheckError(f"'seconds' must be a positive number, and is {seconds!r}.")
    if not net.losses:
        raise CheckError("The network has no loss, so that it has no gradient to check.", hint="Network(z, loss=...)")
    names, unchecked = _backends(backend, model)
    inputs = _real_inputs(net)
    models = {b: compile_network(net, backend=b, dtype="float64", wrt=("parameters", *inputs)) for b in names}
    first = models[names[0]]
    rng = np.random.default_rng(seed)
    vector = _random_parameters(first, seed, rng) if params is None else first.parameters(params)
    everything = _arrays(first, data, examples, rng)
    start_state = first.init_state() if state is None else first.intake.state(state)
    start = time.perf_counter()
    point, each = _affordable_point(first, vector, everything, start_state, key, inputs, seconds)
    found = {b: _gradients(m, point) for b, m in models.items()}
    stale = [f"{name} ({b})" for b, m in models.items() for name in _stale(m, point)]
    if model is not None:
        own = f"{model.backend} {model.signature.dtype}"
        found = {own: _own_gradients(model, point)} | found
        stale += [f"{name} ({own})" for name in _stale(model, point)]
    dtype = "float64" if model is None else model.signature.dtype
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    losses = {b: loss for b, (loss, _) in found.items()}
    floor = FLOOR * max(1.0, abs(losses[names[0]]))
    rows: list[CheckRow] = []
    memories = _memories(net, point, inputs)
    left = seconds - (time.perf_counter() - start)
    chosen = plan([m.size for m in memories.values()], each, max(left, seconds / 4), samples)
    deadline = start + max(seconds, time.perf_counter() - start + seconds / 4)
    for number, tensor in enumerate(_tensors(memories, chosen, rng)):
        share = start + (deadline - start) * max(_LATE, (number + 1) / len(memories))
        estimates = point.estimates(tensor, floor, chosen.thorough, share)
        for b, (_, grads) in found.items():
            if tensor.name in grads:
                allowed = limit if b not in names else min(limit, TOLERANCE["float64"] if tolerance is None else limit)
                rows.append(_row(tensor, b, np.asarray(grads[tensor.name], np.float64), estimates, allowed, floor))
    shown = {b: finite(loss) for b, loss in losses.items()}
    n = point.examples
    took = time.perf_counter() - start
    return CheckReport(net.name, tuple(rows), shown, limit, floor, n, took, seconds, tuple(stale), unchecked)


def prepare(net: Network) -> Callable[[], None]:
    """Give what builds the extension that `check_gradients` will want, for a thread to run meanwhile."""
    return build_ahead(net, "float64", ("parameters", *_real_inputs(net)))


def _real_inputs(net: Network) -> tuple[str, ...]:
    return tuple(name for name, value in net.inputs.items() if not value.integer)


# --- the point --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tensor:
    """A parameter or input whose elements are moved; `memory` is what the bound code reads."""

    name: str
    memory: Array
    chosen: tuple[int, ...]
    directions: tuple[Array, ...]

    def places(self) -> Iterator[Array | int]:
        """The directions to move along, then the elements to move."""
        yield from self.directions
        yield from self.chosen


class _Point:
    """Parameters, arrays and state in float64, and the loss as a function of any of their elements."""

    def __init__(self, model: Model, params: Parameters, arrays: dict[str, Any], state: State, key: int) -> None:
        self.params, self.arrays, self.state, self.key = params, arrays, state, key
        self._first_state = state.flat.copy()
        self._step = model.bind(params, state=state, **arrays)
        self.examples = len(next(iter(arrays.values())))
        self.noise = rounding_noise(self.loss())

    def loss(self) -> float:
        """The loss here."""
        self.state.flat[:] = self._first_state
        return float(self._step(key=self.key)[0])

    def restore_state(self) -> State:
        """The state as it was at first."""
        self.state.flat[:] = self._first_state
        return self.state

    def estimates(self, tensor: _Tensor, floor: float, thorough: bool, deadline: float) -> list[tuple[_Place, Estimate]]:
        """The numeric derivatives that there is time for: one at least, all if the deadline is not reached."""
        made: list[tuple[_Place, Estimate]] = []
        for place in tensor.places():
            if made and time.perf_counter() > deadline:
                break
            made.append((place, self.estimate(tensor, place, floor, thorough)))
        return made

    def estimate(self, tensor: _Tensor, direction: _Place, floor: float, thorough: bool) -> Estimate:
        """The numeric derivative along one element or one direction."""
        flat = tensor.memory.reshape(-1)
        moved: Any = slice(None) if isinstance(direction, np.ndarray) else direction
        vector: Any = direction if isinstance(direction, np.ndarray) else 1.0
        here = np.array(flat[moved])

        def f(distance: float) -> float:
            flat[moved] = here + distance * vector
            return self.loss()

        try:
            settle = _settled if thorough else _settled_quickly
            return settle(f, _scale(here), self.noise, floor)
        finally:
            flat[moved] = here


def _settled(f: Callable[[float], float], scale: float, noise: float, floor: float) -> Estimate:
    estimate = extrapolated(f, 1e-2 * scale, noise)
    size = max(abs(estimate.value), floor)
    # Central differences settle on the mean of both sides where a kink lies just here, so that the sides are compared too.
    if estimate.uncertainty <= 1e-8 * size and gap_of_sides(f, scale, noise) <= 1e-3 * size:
        return estimate
    close = one_sided(f, scale, noise)
    if close.kink or not estimate.uncertainty <= close.uncertainty:
        return close
    return estimate


def _settled_quickly(f: Callable[[float], float], scale: float, noise: float, floor: float) -> Estimate:
    estimate = quick(f, scale, noise)
    if estimate.uncertainty <= 1e-6 * max(abs(estimate.value), floor):
        return estimate
    close = one_sided(f, scale, noise)
    return close if close.kink or not estimate.uncertainty <= close.uncertainty else estimate


def _scale(here: Array) -> float:
    size = float(np.max(np.abs(here))) if here.size else 1.0
    return min(max(size, 0.1), 1e6)


def _affordable_point(
    model: Model, params: Parameters, arrays: dict[str, Any], state: State, key: int, inputs: Sequence[str], seconds: float
) -> tuple[_Point, float]:
    """The point with as many of the examples as there is time for, and the seconds that its loss takes."""

    def timed(n: int) -> float:
        few = {name: array[:n].copy() for name, array in arrays.items()}
        points[n] = _Point(model, params, few, state, key)
        each = shortest(points[n].loss)
        points[n].restore_state()
        return each

    points: dict[int, _Point] = {}
    most = len(next(iter(arrays.values())))
    n, each = affordable_examples(timed, most, len(params) + len(inputs), seconds)
    return points[n], each


def _memories(net: Network, point: _Point, inputs: Sequence[str]) -> dict[str, Array]:
    """What is moved, by name: trainable parameters and real inputs."""
    memories = {name: point.params[name] for name, info in net.parameters.items() if info.trainable}
    return memories | {name: point.arrays[name] for name in inputs}


def _tensors(memories: Mapping[str, Array], chosen: Plan, rng: np.random.Generator) -> Iterator[_Tensor]:
    for name, memory in memories.items():
        if chosen.elements is None or memory.size <= chosen.elements:
            yield _Tensor(name, memory, tuple(range(memory.size)), ())
            continue
        elements = rng.choice(memory.size, chosen.elements, replace=False)
        directions = tuple(rng.normal(size=memory.size) / math.sqrt(memory.size) for _ in range(chosen.directions))
        yield _Tensor(name, memory, tuple(int(k) for k in elements), directions)


def _row(
    tensor: _Tensor,
    backend: str,
    gradient: Array,
    estimates: list[tuple[_Place, Estimate]],
    tolerance: float,
    floor: float,
) -> CheckRow:
    flat = gradient.reshape(-1)
    worst = (-1.0, None, 0.0, 0.0)
    magnitude, kinks, wrong = 0.0, 0, False
    for place, e in estimates:
        position = place if isinstance(place, int) else None
        analytic = float(flat[place] if isinstance(place, int) else flat @ place)
        numeric = e.value
        if e.kink:
            kinks += 1
            numeric = min(max(analytic, e.low), e.high)
        difference = abs(analytic - numeric)
        size = abs(analytic) + abs(numeric)
        error = difference / max(size, floor) if math.isfinite(difference) else math.inf
        magnitude = max(magnitude, abs(analytic), abs(numeric)) if math.isfinite(size) else math.inf
        wrong |= not difference <= tolerance * max(size, floor) + min(e.uncertainty, 1e-3 * max(size, floor))
        if error > worst[0]:
            worst = (error, position, analytic, numeric)  # type: ignore[assignment]
    error, where, analytic, numeric = worst
    element = () if where is None else tuple(int(k) for k in np.unravel_index(where, gradient.shape))
    verdict = "wrong" if wrong else "zero" if magnitude == 0.0 else "kinks" if kinks == len(estimates) else "ok"
    return CheckRow(
        tensor.name, backend, gradient.shape, len(estimates), kinks, max(error, 0.0), element, analytic, numeric,
        magnitude, verdict,
    )  # fmt: skip


# --- what is compared -------------------------------------------------------------------------------------------------


def _backends(backend: str | Sequence[str] | None, model: Model | None) -> tuple[tuple[str, ...], str]:
    """The backends to check, and why generated C is not among them where it should be."""
    if backend is not None:
        return ((backend,) if isinstance(backend, str) else tuple(backend)), ""
    if model is not None and model.backend == "numpy":
        return ("numpy",), ""
    try:
        find_compiler()
    except BuildError as error:
        return ("numpy",), error.message
    return ("c", "numpy"), ""


def _gradients(model: Model, point: _Point) -> tuple[float, Gradients]:
    return model.value_and_grad(point.params, state=_given(point), key=point.key, **point.arrays)


def _own_gradients(model: Model, point: _Point) -> tuple[float, Gradients]:
    params = model.parameters(point.params)
    given = _given(point)
    state = None if given is None else model.intake.state(dict(given))
    return model.value_and_grad(params, state=state, key=point.key, **point.arrays)


def _stale(model: Model, point: _Point) -> list[str]:
    """The results that depend, if only in a bit, on whether the memory of the call held zeros or NaN before."""
    before, after = (_into(model, point, filling) for filling in (0.0, np.nan))
    return [name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)]


def _into(model: Model, point: _Point, filling: float) -> dict[str, Any]:
    """Loss, gradients and next state, computed into memory full of one number; nothing where a backend keeps no memory."""
    given = _given(point)
    state = None if given is None else model.intake.state(dict(given))
    step = model.bind(model.parameters(point.params), state=state, **point.arrays)
    scratch = getattr(step, "scratch", ())
    for memory in scratch:
        memory.fill(filling)
    if not scratch:
        return {}
    loss, grads = step(key=point.key)
    return {"loss": loss, **grads, **(state or {})}


def _given(point: _Point) -> State | None:
    state = point.restore_state()
    return state if state.layout.names else None


def _random_parameters(model: Model, seed: int, rng: np.random.Generator) -> Parameters:
    params = model.init(seed)
    params.flat[:] += 0.1 * rng.normal(size=params.flat.shape)
    return params


def _arrays(model: Model, data: Mapping[str, Any], examples: int, rng: np.random.Generator) -> dict[str, Any]:
    specs = {s.name: s for s in model.signature.arrays}
    unknown = [name for name in data if name not in specs]
    if unknown:
        model.intake.arrays(data, targets=False)  # says which name is meant
    given = {name: conform(specs[name], value, model.signature.real) for name, value in data.items()}
    n = min([examples, *(len(a) for a in given.values())]) if given else min(examples, 4)
    # Copies: their elements are moved, and the caller's arrays must not be.
    return {name: given[name][:n].copy() if name in given else drawn_array(s, n, rng) for name, s in specs.items()}


def drawn_array(spec: ArraySpec, n: int, rng: np.random.Generator) -> Array:
    """Arrays that any loss can take: labels, positive targets that add up to one, normal inputs."""
    shape = (n, *spec.shape)
    if spec.integer:
        return rng.integers(0, spec.classes or 2, shape).astype(np.int32)
    if not spec.target:
        return rng.normal(size=shape)
    positive = rng.uniform(0.1, 0.9, shape)
    return positive / positive.sum(axis=-1, keepdims=True) if spec.shape and spec.shape[-1] > 1 else positive
