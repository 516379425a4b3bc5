"""The face of a program: what it takes and gives, by the user's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bpcompile.arrays import ArraySpec
from bpcompile.nodes.statements import Program, Tensor
from bpcompile.parameters import Layout

if TYPE_CHECKING:
    from bpcompile.language.network import Network
    from bpcompile.language.records import TensorInfo


@dataclass(frozen=True)
class OutputSpec:
    """A prediction: its name and the shape of one example (None: not one for each example)."""

    name: str
    shape: tuple[int | None, ...]
    integer: bool = False


@dataclass(frozen=True)
class Signature:
    """What a compiled network takes and gives.

    Attributes
    ----------
    name : str
        The network.
    dtype : str
        ``float32`` or ``float64``.
    parameters, states : Layout
        The flat vectors.
    trainable : int
        How many elements an optimizer moves: the first of the parameters, for frozen ones come last.
    arrays : tuple of ArraySpec
        Inputs and targets, in the order in which generated code takes them.
    outputs : tuple of OutputSpec
        Predictions.
    input_gradients : tuple of str
        The inputs whose gradients are computed.
    has_loss : bool
        Whether there is anything to differentiate.
    """

    name: str
    dtype: str
    parameters: Layout
    states: Layout
    trainable: int
    arrays: tuple[ArraySpec, ...]
    outputs: tuple[OutputSpec, ...]
    input_gradients: tuple[str, ...]
    has_loss: bool

    @cached_property
    def real(self) -> np.dtype[Any]:
        """The real element type."""
        return np.dtype(self.dtype)

    @cached_property
    def output_integer(self) -> np.dtype[Any]:
        """The element type of integer predictions: as wide as a real one."""
        return np.dtype(np.int32 if self.dtype == "float32" else np.int64)

    def spec(self, name: str) -> ArraySpec:
        """The input or target of a name."""
        return next(s for s in self.arrays if s.name == name)


def signature_of(network: Network, predict: Program, training: Program | None, dtype: str) -> Signature:
    """Read the face of a network's programs from their tensors, in the order of generated code."""
    tensors = list((training or predict).tensors.values())
    outputs = {t.of or t.name: t for t in (predict.tensors[name] for name in predict.outputs)}
    arrays = tuple(_array_spec(t, network.tensors[t.name]) for t in tensors if t.role in ("input", "target"))
    names = {a.name for a in arrays}
    return Signature(
        name=network.name,
        dtype=dtype,
        parameters=_layout(t for t in tensors if t.role == "parameter"),
        states=_layout(t for t in tensors if t.role == "state"),
        trainable=sum(info.size for info in network.parameters.values() if info.trainable),
        arrays=arrays,
        outputs=tuple(OutputSpec(name, t.shape, t.kind == "int") for name, t in outputs.items()),
        input_gradients=tuple(t.of for t in tensors if t.role == "gradient" and t.of in names),
        has_loss=training is not None,
    )


def _array_spec(t: Tensor, info: TensorInfo) -> ArraySpec:
    shape = tuple(e for e in t.shape if e is not None)
    return ArraySpec(t.name, shape, t.kind == "int", t.classes, tuple(info.exempt), t.role == "target")


def _layout(tensors: Iterable[Tensor]) -> Layout:
    chosen = list(tensors)
    return Layout(tuple(t.name for t in chosen), tuple(tuple(e or 0 for e in t.shape) for t in chosen))
