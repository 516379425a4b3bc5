"""A random network as plain data: it prints as what one would type, and builds."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpcompile.language.layer import Layer
from bpcompile.language.network import Network
from bpcompile.language.penalties import L1, L2
from bpcompile.language.value import Input, Value


@dataclass(frozen=True)
class LayerCase:
    """The arguments of a layer."""

    name: str
    equations: tuple[str, ...]
    inputs: tuple[str, ...]
    output: tuple[str, ...]
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    outside: dict[str, float] = field(default_factory=dict)
    state: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        options = {"parameters": self.parameters, "sizes": self.sizes, "outside": self.outside, "state": self.state,
                   "shared": self.shared}  # fmt: skip
        return {k: v for k, v in options.items() if v}


@dataclass(frozen=True)
class Case:
    """Inputs, layers and their calls: a call is (layer, names of arguments, names of results); weights of losses, penalties."""

    inputs: dict[str, tuple[tuple[int, ...], int | None]]
    layers: tuple[LayerCase, ...]
    calls: tuple[tuple[int, tuple[str, ...], tuple[str, ...]], ...]
    losses: tuple[tuple[float, str], ...]
    penalties: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = ["import bpcompile as bp"]
        for name, (shape, classes) in self.inputs.items():
            lines.append(f"{name} = bp.Input({name!r}, {shape}{'' if classes is None else f', classes={classes}'})")
        for layer in self.layers:
            lines.append(f"{layer.name} = bp.Layer([")
            lines += [f"    {e!r}," for e in layer.equations]
            output: Any = layer.output if len(layer.output) > 1 else layer.output[0]
            rest = "".join(f", {k}={v!r}" for k, v in layer.options().items())
            lines.append(f"], inputs={layer.inputs!r}, output={output!r}{rest}, name={layer.name!r})")
        for layer_number, arguments, results in self.calls:
            lines.append(f"{', '.join(results)} = {self.layers[layer_number].name}({', '.join(arguments)})")
        loss = " + ".join(name if weight == 1 else f"{weight}*{name}" for weight, name in self.losses)
        penalties = ", ".join(f"{name!r}: bp.{kind}({factor})" for name, (kind, factor) in self.penalties.items())
        lines.append(f"net = bp.Network(None, loss={loss}{f', penalties={{{penalties}}}' if penalties else ''})")
        return "\n".join(lines)

    def network(self) -> Network:
        values: dict[str, Value] = {}
        for name, (shape, classes) in self.inputs.items():
            values[name] = Input(name, shape) if classes is None else Input(name, shape, classes=classes)
        layers = [
            Layer(list(c.equations), inputs=c.inputs, output=c.output if len(c.output) > 1 else c.output[0], name=c.name,
                  **c.options())
            for c in self.layers
        ]  # fmt: skip
        for number, arguments, results in self.calls:
            made = layers[number](*(values[a] for a in arguments))
            values |= zip(results, made if isinstance(made, tuple) else (made,), strict=True)
        losses = [weight * values[name] for weight, name in self.losses]
        penalties = {name: {"L1": L1, "L2": L2}[kind](factor) for name, (kind, factor) in self.penalties.items()}
        return Network(None, loss=sum(losses[1:], losses[0]), penalties=penalties)


def arrays_of(net: Network, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random arrays for all parameters, states and inputs, away from zero."""
    shapes: dict[str, tuple[tuple[int, ...], int | None]] = {}
    for name, value in net.inputs.items():
        shapes[name] = ((n, *[e for e in value.shape[1:] if e is not None]), value.classes if value.integer else None)
    for group in (net.parameters, net.states):
        for name, info in group.items():
            shapes[name] = (tuple(info.shape), None)
    arrays = {}
    for name, (shape, classes) in shapes.items():
        rng = np.random.default_rng(zlib.crc32(f"{name}/{seed}".encode()))
        if classes is not None:
            arrays[name] = rng.integers(0, classes, shape)
        else:
            arrays[name] = np.asarray(rng.uniform(0.2, 0.9, shape) * rng.choice([-1.0, 1.0], shape))
    return arrays
