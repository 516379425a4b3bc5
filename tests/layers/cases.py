"""Settings of the layers, each with what PyTorch computes for the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bpcompile.language.value import LayerBase

Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class Integers:
    """An integer input: its shape for one example, and how many classes."""

    shape: tuple[int, ...]
    classes: int


Shape = tuple[int, ...] | Integers


@dataclass(frozen=True)
class Case:
    """A layer, what it is called on, and the reference.

    Attributes
    ----------
    name : str
        The setting, for messages.
    make : callable
        Takes the layer's name, and returns it.
    inputs : sequence of shapes
        One example's.
    reference : callable or None
        Takes the parameters (without the layer's name) and the inputs, and returns the outputs, all as PyTorch's tensors.
    scale : float
        The size of the random numbers.
    batch : int
        The number of examples.
    state : callable or None
        Takes what `reference` takes, and returns the states after a training step.
    linear : bool
        Whether the output is linear in the first input, with parameters named ``bias`` set to zero.
    stopped : bool
        Whether some gradient is stopped on purpose, so that slopes of the loss are others.
    """

    name: str
    make: Callable[[str], LayerBase]
    inputs: Sequence[Shape]
    reference: Callable[[Tensors, Sequence[Any]], Any] | None = None
    scale: float = 1.0
    batch: int = 3
    state: Callable[[Tensors, Sequence[Any]], Tensors] | None = None
    linear: bool = False
    stopped: bool = False
