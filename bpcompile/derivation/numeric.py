"""The network computed by the evaluator, on random data; derivatives by differences."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.differentiate import adjoint_name
from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.evaluate import Evaluator
from bpcompile.derivation.steps import adjoint
from bpcompile.derivation.view import whole
from bpcompile.nodes.expressions import Axis, children_first, loads
from bpcompile.nodes.statements import Statement, TimeLoop

Array = NDArray[Any]
STEP: Final = 1e-3
"""The larger step of Richardson's extrapolation."""

GIVEN: Final = ("input", "target", "parameter", "state")


@dataclass
class World:
    """A network with values for all of its tensors.

    Attributes
    ----------
    context : Context
        Whose trees are evaluated.
    n : int
        The number of examples, where the batch index is shown.
    given : dict of str to array
        Inputs, targets, parameters, states and random draws, as the view shows them.
    """

    context: Context
    n: int
    given: dict[str, Array]
    values: Evaluator = field(init=False)
    jacobians: dict[tuple[str, str], Array] = field(default_factory=dict)
    _held: dict[Any, Array] = field(default_factory=dict)
    _moved: set[str] | None = None

    def __post_init__(self) -> None:
        self.values = Evaluator({}, {"n": self.n}, partial=self.jacobian, held=self._held)
        self.values.arrays = self.run()

    # --- the forward pass -------------------------------------------------------------------------------------------

    def run(self, bump: tuple[str, tuple[int, ...], float] | None = None) -> dict[str, Array]:
        """Every tensor of the forward pass; with ``bump`` one element of one tensor is moved once it is known."""
        base = self.values.arrays if bump is not None else self.given
        arrays = dict(base)
        machine = Evaluator(arrays, {"n": self.n}, held=self._held, moving=bump is not None)
        self._moved = None if bump is None else {bump[0]}
        if bump is not None and bump[0] in arrays:
            arrays[bump[0]] = _moved(arrays[bump[0]], bump[1], bump[2])
        self._steps(machine, "forward", bump)
        if bump is None:
            for name, s in self.context.stable.items():  # what the gradients do not need is printed all the same
                if name not in arrays and s.origin.phase == "forward" and not self.context.time:
                    self._statement(s, machine, None)
        return arrays

    def adjoints(self) -> dict[str, Array]:
        """Every adjoint, by the statements of the backward pass."""
        machine = Evaluator(dict(self.values.arrays), {"n": self.n}, held=self._held)
        self._steps(machine, "backward", None)
        for tensor in self.context.collected:
            found = None if adjoint_name(tensor) in machine.arrays else adjoint(self.context, tensor)
            if found is not None and found.simplified is not None and tensor in machine.arrays:
                machine.arrays[adjoint_name(tensor)] = machine.over(found.simplified, found.axes)
        return {name: a for name, a in machine.arrays.items() if name.endswith(".bar")}

    def _steps(self, machine: Evaluator, phase: str, bump: tuple[str, tuple[int, ...], float] | None) -> None:
        for step in self.context.program.steps:
            if isinstance(step, TimeLoop):
                if any(s.origin.phase == phase for s in step.body):
                    self._loop(step, machine, bump)
            elif step.origin.phase == phase:
                self._statement(step, machine, bump)

    def _shown(self, s: Statement) -> bool:
        return s.target not in self.context.view.definitions and s.target not in self.given

    def _statement(self, s: Statement, machine: Evaluator, bump: tuple[str, tuple[int, ...], float] | None) -> None:
        if not self._shown(s):
            return
        axes = self.context.view.axes(s.axes)
        if self._moved is not None and not self._depends(s):
            return
        if s.accumulate:
            self._scatter(s, machine, axes)
            return
        value = machine.over(self.context.view.tree(whole(s)), axes)
        if bump is not None and bump[0] == s.target:
            value = _moved(value, bump[1], bump[2])
        machine.arrays[s.target] = value

    def _depends(self, s: Statement) -> bool:
        """Whether a statement computes, or reads, what has moved; then its own tensor moves too."""
        assert self._moved is not None
        tree = self.context.view.tree(whole(s))
        if s.target not in self._moved and not any(e.value[0] in self._moved for e in loads(tree)):
            return False
        self._moved.add(s.target)
        return True

    def _scatter(self, s: Statement, machine: Evaluator, axes: tuple[Axis, ...]) -> None:
        shape = self.context.view.shape(s.target)
        target = machine.arrays.setdefault(s.target, np.zeros([self.n if e is None else e for e in shape]))
        shown = [i for i, e in zip(s.subscripts, self.context.tensor(s.target).shape, strict=True)
                 if not (self.context.single and e is None)]  # fmt: skip
        at = tuple(machine.over(self.context.view.tree(i), axes) for i in shown)
        np.add.at(target, at, machine.over(self.context.view.tree(whole(s)), axes))

    def _loop(self, loop: TimeLoop, machine: Evaluator, bump: tuple[str, tuple[int, ...], float] | None) -> None:
        body = [s for s in loop.body if self._shown(s)]
        if self._moved is not None:
            if not any(self._depends(s) for s in body):
                return
            self._moved.update(s.target for s in body)
        for s in body:
            shape = [machine.extent(a) for a in self.context.view.axes(self._axes(s))]
            machine.arrays[s.target] = np.full(shape, np.nan)
        times = range(machine.extent(loop.axis))
        for t in reversed(times) if loop.reverse else times:
            for s in body:
                axes = self.context.view.axes(self._axes(s))
                moving = [a for a in axes if a != loop.axis]
                value = machine.over(self.context.view.tree(whole(s)), moving, {loop.axis: np.asarray(t)})
                place = tuple(t if a == loop.axis else slice(None) for a in axes)
                machine.arrays[s.target][place] = value
                if bump is not None and bump[0] == s.target:
                    at = dict(zip(axes, bump[1], strict=True))
                    if at.get(loop.axis, t) == t:
                        machine.arrays[s.target][bump[1]] += bump[2]

    def _axes(self, s: Statement) -> tuple[Axis, ...]:
        return tuple(i.value for i in s.subscripts if i.op == "axis")

    # --- derivatives by differences ---------------------------------------------------------------------------------

    def slope(self, tensor: str, place: tuple[int, ...]) -> float:
        """The derivative of the cost by one element, by Richardson's extrapolation of central differences."""
        base = float(self.values.arrays[LOSS])
        step = step_for(self.values.arrays[tensor][place])
        costs = [float(self.run((tensor, place, h))[LOSS]) for h in offsets(step)]
        return float(extrapolated(step, *map(np.asarray, [*costs, base])))

    def jacobian(self, upper: str, lower: str) -> Array:
        """The derivatives of the equation of ``upper`` by every element of ``lower``, the rest held fixed."""
        key = (upper, lower)
        if key not in self.jacobians:
            self.jacobians[key] = self._jacobian(upper, lower)
        return self.jacobians[key]

    def _jacobian(self, upper: str, lower: str) -> Array:
        s = self.context.stable[upper]
        axes = self.context.view.axes(s.axes)
        tree = self.context.view.tree(whole(s))
        base = self.values.arrays
        shape = tuple(self.values.extent(a) for a in axes)
        result = np.zeros((*shape, *base[lower].shape))

        def at(place: tuple[int, ...], h: float) -> Array:
            arrays = {**base, lower: _moved(base[lower], place, h)}
            return replace(self.values, arrays=arrays, moving=True).over(tree, axes)

        for place in np.ndindex(base[lower].shape):
            step = step_for(base[lower][place])
            result[(..., *place)] = extrapolated(step, *(at(place, h) for h in (*offsets(step), 0.0)))
        return result


def step_for(value: Any) -> float:
    """A step in proportion to what is moved: a variance may be small, and its root curves there."""
    return STEP * min(1.0, max(abs(float(value)), 1e-2))


def offsets(step: float) -> tuple[float, float, float, float]:
    """Where a function is evaluated for its derivative."""
    return step, step / 2, -step / 2, -step


def extrapolated(step: float, up: Array, half_up: Array, half_down: Array, down: Array, base: Array) -> Array:
    """Richardson's extrapolation of central differences; NaN where a kink lies within the step.

    The slopes on both sides of a smooth point differ by the step times the second derivative; halving the step halves that
    difference, and leaves it as it is at a kink. A value that stays infinite does not move.

    Parameters
    ----------
    step : float
        The larger step.
    up, half_up, half_down, down, base : array
        The function at both steps to both sides, and unmoved.
    """
    with np.errstate(invalid="ignore"):
        return _extrapolated(step, up, half_up, half_down, down, base)


def _extrapolated(step: float, up: Array, half_up: Array, half_down: Array, down: Array, base: Array) -> Array:
    wide, near = (up - down) / (2 * step), (half_up - half_down) / step
    jump_wide = np.abs((up - base) - (base - down)) / step
    jump_near = np.abs((half_up - base) - (base - half_down)) / (step / 2)
    kink = (jump_near > 0.75 * jump_wide) & (jump_near > 1e-4 * (1.0 + np.abs(near)))
    still = np.isinf(base) & (up == base) & (half_up == base) & (half_down == base) & (down == base)
    return np.where(still, 0.0, np.where(kink, np.nan, (4 * near - wide) / 3))


def _moved(array: Array, place: tuple[int, ...], h: float) -> Array:
    copy = np.array(array, dtype=float)
    copy[place] += h
    return copy


def random_world(context: Context, seed: int = 0, n: int = 3, given: Mapping[str, Array] | None = None) -> World:
    """Random values for everything that is given, away from zero, so that no agreement is one of zeros."""
    data = random_data(context, seed, n)
    data |= {k: np.asarray(v) for k, v in (given or {}).items()}
    return World(context, n, {name: shown_array(context, name, a) for name, a in data.items()})


def random_data(context: Context, seed: int, n: int) -> dict[str, Array]:
    """Arrays with the batch first, of one example where one is shown."""
    count = 1 if context.single else n
    data: dict[str, Array] = {}
    for t in context.view.tensors.values():
        drawn = t.name.rpartition(".")[2].startswith("draw") and t.name in context.stable
        if t.role not in GIVEN and not drawn:
            continue
        generator = np.random.default_rng([seed, zlib.crc32(t.name.encode())])
        shape = tuple(count if e is None else e for e in t.shape)
        if t.kind == "int":
            data[t.name] = generator.integers(0, t.classes or 2, shape)
        elif drawn:
            data[t.name] = _draw(context.stable[t.name], generator, shape)
        elif t.role == "target":
            data[t.name] = generator.uniform(0.1, 0.9, shape)
        elif t.role == "state":
            data[t.name] = generator.uniform(0.5, 1.5, shape)
        else:
            size = generator.uniform(0.2, 0.9, shape) * generator.choice([-1.0, 1.0], shape)
            data[t.name] = size * (scale_of(shape) if t.role == "parameter" else 1.0)
    return data


def scale_of(shape: Sequence[int]) -> float:
    """How much smaller a weight is that many are summed with: no unit is to be saturated."""
    return min(1.0, 3.0 / math.sqrt(max(1, math.prod(shape[1:]))))


def _draw(s: Statement, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    kinds = [e.value[0] for e in children_first(s.body) if e.op == "draw"]
    if kinds[0] == "normal":
        return generator.normal(size=shape)
    return (generator.uniform(size=shape) < 0.5).astype(float)


def shown_array(context: Context, name: str, array: Array) -> Array:
    """An array as the view shows it: the only example without its batch axis."""
    shape = context.tensor(name).shape
    return array[0] if context.single and shape[:1] == (None,) else array


