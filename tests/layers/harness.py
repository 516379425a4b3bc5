"""Compare layers: generated NumPy, generated C, PyTorch, numeric slopes, and the adjoint's dot product."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import bpcompile as bp
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import access
from bpcompile.language.value import Input, Target, Value
from tests.layers.cases import Case, Integers

Arrays = dict[str, np.ndarray[Any, Any]]

#: Relative tolerances, of the largest element of each tensor.
BACKENDS = 1e-12
TORCH = 1e-9
TORCH_FLOAT32 = 1e-4
NUMERIC = 2e-6
ADJOINT = 1e-12


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, how far it is off, and what is allowed."""

    name: str
    error: float
    tolerance: float

    @property
    def failed(self) -> bool:
        """Whether it is off too far; NaN is."""
        return not self.error <= self.tolerance


@dataclass(frozen=True)
class Built:
    """Several cases in one network, each with its own layer, inputs and cotangents."""

    cases: Sequence[Case]
    network: bp.Network
    outputs: Sequence[Sequence[Value]]


def build(cases: Sequence[Case]) -> Built:
    """One network: the loss is the inner product of every output with its cotangent."""
    losses: list[Any] = []
    outputs: list[list[Value]] = []
    for k, case in enumerate(cases):
        inputs = [_input(f"x{k}_{i}", shape) for i, shape in enumerate(case.inputs)]
        result: Any = case.make(f"layer{k}")(*inputs)
        values = list(result) if isinstance(result, tuple) else [result]
        outputs.append(values)
        losses += [_product(value, f"w{k}_{i}") for i, value in enumerate(values)]
    total = losses[0] * 1.0
    for loss in losses[1:]:
        total = total + loss
    flat = [value for values in outputs for value in values]
    return Built(cases, bp.Network(flat, loss=total), outputs)


def _input(name: str, shape: Any) -> Value:
    return Input(name, shape.shape, classes=shape.classes) if isinstance(shape, Integers) else Input(name, shape)


def _product(value: Value, name: str) -> Value:
    axes = [f"a{k}" for k in range(len(value.shape) - 1)]
    y, w = access("y", "n", *axes), access("w", "n", *axes)
    right = f"sum({y}*{w}, {', '.join(axes)})" if axes else f"{y}*{w}"
    cotangent = Target(name, tuple(e or 1 for e in value.shape[1:]))
    result = Layer([f"l[n] = {right}"], inputs=("y", "w"), kind="product")(value, cotangent)
    assert isinstance(result, Value)
    return result


def wrt(built: Built) -> tuple[str, ...]:
    """The parameters and every real input."""
    return ("parameters", *(n for n, v in built.network.inputs.items() if not v.integer))


def model_of(built: Built, backend: str, dtype: str = "float64") -> bp.Model:
    """The compiled network."""
    return bp.compile(built.network, backend=backend, dtype=dtype, wrt=wrt(built))


def draw(built: Built, seed: int = 0) -> tuple[Arrays, Arrays, Arrays]:
    """Numbers for parameters, data and states; those of a tensor depend on its name and the seed alone."""
    net = built.network
    params = {name: _real(name, seed, info.shape, 0.5 * _case_of(built, name).scale) for name, info in net.parameters.items()}
    data: Arrays = {}
    for name, value in {**net.inputs, **net.targets}.items():
        case = built.cases[int(name[1:].partition("_")[0])]
        shape = (built.cases[0].batch, *(e or 1 for e in value.shape[1:]))
        if value.integer:
            data[name] = _rng(name, seed).integers(0, value.classes or 2, shape)
        else:
            data[name] = _real(name, seed, shape, case.scale if name.startswith("x") else 1.0)
    states = {name: np.abs(_real(name, seed, info.shape, 1.0)) + 0.5 for name, info in net.states.items()}
    return params, data, states


def _case_of(built: Built, name: str) -> Case:
    """The case that a parameter ``layer3.weight`` or an input ``x3_0`` belongs to."""
    digits = name.removeprefix("layer").removeprefix("x").partition(".")[0].partition("_")[0]
    return built.cases[int(digits)]


def _rng(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), seed])


def _real(name: str, seed: int, shape: tuple[int, ...], scale: float) -> np.ndarray[Any, Any]:
    return np.asarray(_rng(name, seed).normal(0.0, scale, shape))


@dataclass
class Results:
    """What one backend computes."""

    outputs: list[np.ndarray[Any, Any]]
    loss: float
    gradients: Arrays
    states: Arrays


def run(built: Built, model: bp.Model, arrays: tuple[Arrays, Arrays, Arrays], training: bool = True) -> Results:
    """Predict, and differentiate."""
    params, data, states = arrays
    inputs = {k: v for k, v in data.items() if k.startswith("x")}
    state = model.init_state()
    for name, value in states.items():
        state[name][...] = value
    found = model.predict(params, state=state, **inputs) if states else model.predict(params, **inputs)
    outputs = list(found) if isinstance(found, tuple) else [found]
    options = {"state": state} if states else {}
    loss, grads = model.value_and_grad(params, training=training, key=7, step=3, **options, **data)
    gradients = {name: np.array(grads[name]) for name in grads}
    return Results([np.array(o) for o in outputs], loss, gradients, {k: np.array(state[k]) for k in states})


def close(name: str, got: Any, expected: Any, tolerance: float, floor: float = 1e-3) -> Check:
    """The largest difference, in units of the largest element of the expected tensor."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    if got.shape != expected.shape:
        return Check(f"{name}: shape {got.shape} instead of {expected.shape}", np.inf, tolerance)
    scale = max(float(np.max(np.abs(expected), initial=0.0)), floor)
    return Check(name, float(np.max(np.abs(got - expected), initial=0.0)) / scale, tolerance)


def same(built: Built, a: Results, b: Results, tolerance: float) -> list[Check]:
    """Where two backends differ."""
    checks = [close("loss", a.loss, b.loss, tolerance, floor=1.0)]
    for k, (x, y) in enumerate(zip(a.outputs, b.outputs, strict=True)):
        checks.append(close(f"output {k}", x, y, tolerance))
    for name in b.gradients:
        title = f"{_case_of(built, name).name}: gradient of {name}"
        checks.append(close(title, a.gradients[name], b.gradients[name], tolerance))
    for name in b.states:
        checks.append(close(f"state {name}", a.states[name], b.states[name], tolerance))
    return checks


def against_torch(
    built: Built, results: Results, arrays: tuple[Arrays, Arrays, Arrays], tolerance: float = TORCH
) -> list[Check]:
    """Where PyTorch differs: outputs (in inference), gradients and states (in training)."""
    import torch

    params, data, states = arrays
    checks: list[Check] = []
    place = 0
    for k, case in enumerate(built.cases):
        count = len(built.outputs[k])
        if case.reference is None:
            place += count
            continue
        own = f"layer{k}"
        leaves = {name: torch.tensor(v, requires_grad=True) for name, v in params.items() if _is_of(name, own)}
        fixed = {name: torch.tensor(v) for name, v in states.items() if _is_of(name, own)}
        inputs = [torch.tensor(data[f"x{k}_{i}"]) for i in range(len(case.inputs))]
        for x in inputs:
            x.requires_grad_(x.is_floating_point())
        local = {name.removeprefix(own).lstrip("._"): v for name, v in {**leaves, **fixed}.items()}
        with torch.no_grad():
            outputs = _listed(case.reference({**local, "training": False}, inputs))
        for i, (got, o) in enumerate(zip(results.outputs[place : place + count], outputs, strict=True)):
            checks.append(close(f"{case.name}: output {i}", got, o.detach().numpy(), tolerance))
        place += count
        outputs = _listed(case.reference({**local, "training": True}, inputs))
        loss = sum((o * torch.tensor(data[f"w{k}_{i}"])).sum() for i, o in enumerate(outputs)) / case.batch
        loss.backward()
        for name, leaf in {**leaves, **{f"x{k}_{i}": x for i, x in enumerate(inputs) if x.requires_grad}}.items():
            expected = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            if name in results.gradients:
                checks.append(close(f"{case.name}: gradient of {name}", results.gradients[name], expected, tolerance))
        if case.state:
            for name, expected in case.state(local, inputs).items():
                found = results.states[f"{own}.{name}"]
                checks.append(close(f"{case.name}: state {name}", found, expected.detach(), tolerance))
    return checks


def _is_of(name: str, own: str) -> bool:
    return name.startswith((f"{own}.", f"{own}_"))


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def against_slopes(
    built: Built, model: bp.Model, arrays: tuple[Arrays, Arrays, Arrays], results: Results, seed: int = 0
) -> list[Check]:
    """Where the gradients' inner products with random directions are not the slopes of the loss, tensor by tensor."""
    params, data, states = arrays
    checks = []
    for name, gradient in results.gradients.items():
        frozen = name in built.network.parameters and not built.network.parameters[name].trainable
        if frozen or _case_of(built, name).stopped:
            continue
        direction = _real(f"{name}/direction", seed, gradient.shape, 1.0)
        given = params if name in params else data

        def loss_at(h: float, name: str = name, given: Mapping[str, Any] = given, direction: Any = direction) -> float:
            moved = {**given, name: given[name] + h * direction}
            both = (moved, data) if given is params else (params, moved)
            state: dict[str, Any] = {"state": _state(model, states)} if states else {}
            value, _ = model.value_and_grad(both[0], training=True, key=7, step=3, **state, **both[1])
            return float(value)

        exact = float(np.sum(gradient * direction))
        errors = []
        for h in (1e-4, 3e-6):  # a kink that lies within the longer step lies outside the shorter one
            slopes = [(loss_at(step) - loss_at(-step)) / (2 * step) for step in (h / 2, h)]
            numeric = (4 * slopes[0] - slopes[1]) / 3
            scale = max(float(np.sum(np.abs(gradient * direction))), abs(numeric), 1e-3)
            errors.append(abs(numeric - exact) / scale)
            if errors[-1] < NUMERIC:
                break
        checks.append(Check(f"{_case_of(built, name).name}: slope along {name}", min(errors), NUMERIC))
    return checks


def against_adjoint(built: Built, model: bp.Model, arrays: tuple[Arrays, Arrays, Arrays]) -> list[Check]:
    """``<F x, w>`` and ``<x, F' w>`` of layers that are linear in their input: the loss, and what the gradient gives."""
    params = {name: np.zeros_like(v) if name.endswith("bias") else v for name, v in arrays[0].items()}
    _, data, states = arrays
    checks = []
    for k, case in enumerate(built.cases):
        if not case.linear:
            continue
        alone = {name: v if name.startswith((f"x{k}_", "x", f"w{k}_")) else np.zeros_like(v) for name, v in data.items()}
        state: dict[str, Any] = {"state": _state(model, states)} if states else {}
        loss, grads = model.value_and_grad(params, training=True, key=7, step=3, **state, **alone)
        products = np.asarray(grads[f"x{k}_0"]) * data[f"x{k}_0"]
        error = abs(loss - float(np.sum(products))) / max(float(np.sum(np.abs(products))), 1e-3)
        checks.append(Check(f"{case.name}: dot product", error, ADJOINT))
    return checks


def _state(model: bp.Model, states: Arrays) -> Any:
    state = model.init_state()
    for name, value in states.items():
        state[name][...] = value
    return state
