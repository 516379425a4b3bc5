"""Reference interpreters of programs and schedules: scalar loops, slow and plain.

`run_program` follows the semantics in ``statements.py`` word by word. `run_schedule` runs the kernels in the flat memory
that the schedule lays out, with iterations of a nest in reverse order, so that a wrong place, lifetime or fusion shows.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from bpcompile.nodes.expressions import Axis, Expr
from bpcompile.nodes.statements import Program, Statement, Tensor, TimeLoop
from bpcompile.program.schedule_types import BatchLoop, Clear, Contraction, Kernel, KernelLoop, Nest, Pack, Place, Schedule

Number = Any
Env = dict[Axis, int]
Read = Callable[[str, tuple[int, ...]], Number]
Write = Callable[[str, tuple[int, ...], Number], None]


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Number) -> Number:
        with np.errstate(all="ignore"):
            return function(*(np.float64(a) for a in args)).item()

    return call


def _maximum(a: Number, b: Number) -> Number:
    return a if a != a or (b == b and a >= b) else b


def _minimum(a: Number, b: Number) -> Number:
    return a if a != a or (b == b and a <= b) else b


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _quiet(getattr(np, name)) for name in (
        "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "asin": _quiet(np.arcsin), "acos": _quiet(np.arccos), "atan": _quiet(np.arctan), "asinh": _quiet(np.arcsinh),
    "acosh": _quiet(np.arccosh), "atanh": _quiet(np.arctanh), "erf": _quiet(special.erf), "erfc": _quiet(special.erfc),
    "gamma": _quiet(special.gamma), "lgamma": _quiet(special.gammaln), "digamma": _quiet(special.digamma),
    "trigamma": _quiet(lambda x: special.polygamma(1, x)), "sigmoid": _quiet(special.expit),
    "softplus": _quiet(lambda x: np.logaddexp(0, x)), "abs": abs, "sign": lambda x: int(x > 0) - int(x < 0),
    "floor": _quiet(np.floor), "ceil": _quiet(np.ceil), "round": _quiet(np.round),
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "div": _quiet(np.divide), "pow": _quiet(np.power), "atan2": _quiet(np.arctan2),
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": _minimum, "max": _maximum,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "not": lambda a: not a, "stop": lambda a: a,
}  # fmt: skip


class Interpreter:
    """Evaluates statements with the given memory; ``n`` is the number of examples."""

    def __init__(self, n: int, read: Read, write: Write, training: bool = True, seeds: Mapping[str, float] = {}) -> None:
        self.n, self.read, self.write, self.training, self.seeds = n, read, write, training, seeds
        self.portion = n

    def extent(self, a: Axis) -> int:
        return self.portion if a.extent is None else a.extent

    def points(self, axes: Sequence[Axis], env: Env, backwards: bool = False) -> Iterator[Env]:
        ranges = [range(self.extent(a))[:: -1 if backwards else 1] for a in axes]
        for values in itertools.product(*ranges):
            yield {**env, **dict(zip(axes, values, strict=True))}

    def value(self, e: Expr, env: Env) -> Number:
        if e.op == "const":
            return e.value
        if e.op == "axis":
            return env[e.value]
        if e.op == "size":
            return self.n if e.value.extent is None else e.value.extent
        if e.op == "flag":
            return self.training
        if e.op == "seed":
            return self.seeds[e.value]
        if e.op == "where":
            return self.value(e.args[1 if self.value(e.args[0], env) else 2], env)
        if e.op == "and":
            return self.value(e.args[0], env) and self.value(e.args[1], env)
        if e.op == "or":
            return self.value(e.args[0], env) or self.value(e.args[1], env)
        if e.op == "load":
            return self.read(e.value[0], tuple(self.value(a, env) for a in e.args))
        if e.op == "reduce":
            kind, over = e.value
            return self.reduced(kind, over, e.args[0], env)
        args = [self.value(a, env) for a in e.args]
        if e.op == "draw":
            kind, stream = e.value
            generator = np.random.default_rng([zlib.crc32(str(stream).encode()), args[-1]])
            return float(generator.random() < args[0]) if kind == "bernoulli" else generator.normal()
        return FUNCTIONS[e.op](*args)

    def reduced(self, kind: str, over: Sequence[Axis], body: Expr, env: Env) -> Number:
        values = [self.value(body, point) for point in self.points(over, env)]
        if kind in ("sum", "mean"):
            return math.fsum(values) / (len(values) if kind == "mean" else 1) if all(map(math.isfinite, values)) else (
                sum(values) / (len(values) if kind == "mean" else 1))
        best, where = values[0], 0
        for k, v in enumerate(values):
            better = v > best if kind in ("max", "argmax") else v < best
            if best == best and (better or v != v):
                best, where = v, k
        return where if kind.startswith("arg") else best

    def element(self, s: Statement, env: Env) -> None:
        """Execute a statement at one point of its domain."""
        value = self.reduced(s.reduce, s.over, s.body, env) if s.reduce else self.value(s.body, env)
        index = tuple(self.value(e, env) for e in s.subscripts)
        self.write(s.target, index, self.read(s.target, index) + value if s.accumulate else value)

    def statement(self, s: Statement, env: Env) -> None:
        for point in self.points(s.axes, env):
            self.element(s, point)


def random_inputs(program: Program, n: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays for everything that a caller gives."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for t in program.tensors.values():
        if t.role in ("input", "target", "parameter", "state"):
            shape = tuple(n if e is None else e for e in t.shape)
            arrays[t.name] = (
                generator.integers(0, t.classes or 2, shape) if t.kind == "int" else generator.normal(size=shape) * 0.5
            )
    return arrays


def _checked(t: Tensor, index: tuple[int, ...], n: int) -> None:
    for i, e in zip(index, t.shape, strict=True):
        if not 0 <= i < (n if e is None else e):
            raise IndexError(f"{t.name}{list(index)} is outside {t.shape}")


def run_program(
    program: Program, arrays: Mapping[str, Any], n: int, training: bool = True, seeds: Mapping[str, float] = {}
) -> dict[str, Any]:
    """Every tensor of the program after a run."""
    accumulated = {s.target for s in program.statements() if s.accumulate}
    memory: dict[str, Any] = {}
    for t in program.tensors.values():
        shape = tuple(n if e is None else e for e in t.shape)
        memory[t.name] = np.array(arrays[t.name], dtype=object) if t.name in arrays else np.full(
            shape, 0.0 if t.name in accumulated else math.nan, dtype=object)  # fmt: skip

    def read(name: str, index: tuple[int, ...]) -> Number:
        _checked(program.tensors[name], index, n)
        return memory[name][index]

    def write(name: str, index: tuple[int, ...], value: Number) -> None:
        _checked(program.tensors[name], index, n)
        memory[name][index] = value

    machine = Interpreter(n, read, write, training, seeds)
    for step in program.steps:
        if isinstance(step, TimeLoop):
            times = range(machine.extent(step.axis))
            for around in machine.points(step.outer, {}):
                for t in reversed(times) if step.reverse else times:
                    for s in step.body:
                        machine.statement(s, {**around, step.axis: t})
        else:
            machine.statement(step, {})
    return {name: np.array(a.tolist()) for name, a in memory.items()}


def run_schedule(
    schedule: Schedule, arrays: Mapping[str, Any], n: int, training: bool = True, seeds: Mapping[str, float] = {}
) -> dict[str, Any]:
    """The tensors that lie in the caller's memory after a run of the kernels, and next states."""
    tensors = schedule.program.tensors
    arena: list[Number] = [math.nan] * schedule.arena_elements(n)
    caller: dict[str, dict[int, Number]] = {}
    local: dict[tuple[str, int], Number] = {}
    start = [0]  # the first example of a portion of the batch

    def slot(name: str, index: tuple[int, ...]) -> tuple[Any, Any]:
        place: Place = schedule.places[name]
        _checked(tensors[name], index, n)
        address = sum(i * stride for i, stride in zip(index, place.strides, strict=True))
        if place.region == "local":
            return local, (name, address)
        if None in tensors[name].shape and place.region != "fixed":
            address += start[0] * place.strides[tensors[name].shape.index(None)]
        if place.region == "fixed":
            return arena, place.offset + address
        if place.region == "batch":
            return arena, schedule.fixed_elements + place.offset * n + address
        key = place.region if place.region in ("params", "grads", "state") else f"{place.region}{place.slot}"
        return caller.setdefault(key, {}), place.offset + address

    def read(name: str, index: tuple[int, ...]) -> Number:
        memory, address = slot(name, index)
        return memory[address]

    def write(name: str, index: tuple[int, ...], value: Number) -> None:
        memory, address = slot(name, index)
        memory[address] = value

    machine = Interpreter(n, read, write, training, seeds)
    for name, array in arrays.items():
        if name in schedule.places:
            for index in np.ndindex(array.shape):
                write(name, index, array[index].item())
    for step in schedule.steps:
        if isinstance(step, KernelLoop):
            times = range(machine.extent(step.axis))
            for around in machine.points(step.outer, {}):
                for t in reversed(times) if step.reverse else times:
                    for kernel in step.body:
                        _run_kernel(machine, kernel, {**around, step.axis: t}, local, tensors)
        elif isinstance(step, BatchLoop):
            for start[0] in range(0, n, step.examples):
                machine.portion = min(step.examples, n - start[0])
                for kernel in step.body:
                    _run_kernel(machine, kernel, {}, local, tensors)
            start[0], machine.portion = 0, n
        else:
            _run_kernel(machine, step, {}, local, tensors)
    result = {}
    for t in tensors.values():
        if t.role in ("output", "loss", "gradient", "next_state") and t.name in schedule.places:
            shape = tuple(n if e is None else e for e in t.shape)
            values = [read(t.name, index) for index in np.ndindex(shape)]
            result[t.name] = np.array(values, dtype=np.float64).reshape(shape)
    return result


def _run_kernel(
    machine: Interpreter, kernel: Kernel, env: Env, local: dict[Any, Number], tensors: Mapping[str, Tensor]
) -> None:
    if isinstance(kernel, Clear):
        for index in np.ndindex(tuple(machine.portion if e is None else e for e in tensors[kernel.tensor].shape)):
            machine.write(kernel.tensor, index, 0.0)
    elif isinstance(kernel, Pack):  # contractions read the operand itself here; this shows whether panels lie on anything
        for index in np.ndindex(tensors[kernel.panels].shape):
            machine.write(kernel.panels, index, math.nan)
    elif isinstance(kernel, Contraction):
        assert set(kernel.batch + kernel.rows + kernel.columns) == set(kernel.statement.axes)
        copied = _copied(machine, kernel, local)
        for point in machine.points(kernel.statement.axes, env, backwards=True):
            local.clear()
            local.update(copied(point))
            machine.element(kernel.statement, point)
            for s in kernel.epilogue:
                assert s.axes == kernel.statement.axes or set(s.axes) == set(kernel.statement.axes)
                machine.element(s, point)
    else:
        _run_nest(machine, kernel, env, local)


def _copied(machine: Interpreter, kernel: Contraction, local: dict[Any, Number]) -> Callable[[Env], Mapping[Any, Number]]:
    """The padded copy of the example at which a contraction is: it has room for one."""
    copy = kernel.copy
    batch = next((a for a in kernel.statement.axes if a.extent is None), None)
    kept: dict[int, dict[Any, Number]] = {}

    def at(point: Env) -> Mapping[Any, Number]:
        if copy is None or batch is None:
            return {}
        if point[batch] not in kept:
            kept.clear()
            own = next(a for a in copy.axes if a.extent is None)
            for place in machine.points(tuple(a for a in copy.axes if a is not own), {own: point[batch]}):
                machine.element(copy, place)
            kept[point[batch]] = dict(local)
        return kept[point[batch]]

    return at


def _run_nest(machine: Interpreter, nest: Nest, env: Env, local: dict[Any, Number]) -> None:
    assert len(nest.joined) == len(nest.statements)
    for point in machine.points(nest.axes, env, backwards=not nest.sequential):
        local.clear()
        for _, members in itertools.groupby(range(len(nest.statements)), key=lambda k: nest.joined[k]):
            group = [nest.statements[k] for k in members]
            assert all(s.axes[: len(nest.axes)] == nest.axes and s.axes == group[0].axes for s in group)
            for inner in machine.points(group[0].axes[len(nest.axes) :], point):
                for s in group:
                    machine.element(s, inner)
