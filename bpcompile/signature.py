"""The face of a program: what it takes and gives, by the user's names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bpcompile.arrays import ArraySpec
from bpcompile.parameters import Layout
from bpcompile.program.nodes import Expr, walk_nodes
from bpcompile.program.statements import Program, Tensor


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


def signature_of(program: Program, dtype: str) -> Signature:
    """Read the face of a program from its tensors."""
    tensors = list(program.tensors.values())
    labels = compared_integers(program)
    arrays = [_array_spec(t, labels.get(t.name, ())) for t in tensors if t.role in ("input", "target")]
    inputs = {a.name for a in arrays}
    return Signature(
        name=program.name,
        dtype=dtype,
        parameters=_layout(t for t in tensors if t.role == "parameter"),
        states=_layout(t for t in tensors if t.role == "state"),
        arrays=tuple(arrays),
        outputs=tuple(OutputSpec(t.name, t.shape, t.kind == "int") for t in tensors if t.role == "output"),
        input_gradients=tuple(t.of for t in tensors if t.role == "gradient" and t.of in inputs),
        has_loss=any(t.role == "loss" for t in tensors),
    )


def with_dtype(signature: Signature, dtype: str) -> Signature:
    """The same face with another element type."""
    return replace(signature, dtype=dtype)


def _array_spec(t: Tensor, extra: tuple[int, ...]) -> ArraySpec:
    shape = tuple(e for e in t.shape if e is not None)
    outside = tuple(v for v in extra if t.classes is None or not 0 <= v < t.classes)
    return ArraySpec(t.name, shape, t.kind == "int", t.classes, outside, t.role == "target")


def _layout(tensors: Any) -> Layout:
    chosen = list(tensors)
    return Layout(tuple(t.name for t in chosen), tuple(t.shape for t in chosen))


def compared_integers(program: Program) -> dict[str, tuple[int, ...]]:
    """For each integer tensor, the constants that the equations compare it with by ``==`` and ``!=``.

    Such a value is one that the equations know how to treat: the ignored label of ``where(y[n] == -100, 0, ...)``.
    """
    found: dict[str, dict[int, None]] = {}
    for e in walk_nodes(root for s in program.statements() for root in (*s.subscripts, s.body)):
        if e.op not in ("eq", "ne"):
            continue
        for tensor, number in (e.args, e.args[::-1]):
            value = _integer(number)
            if tensor.op == "load" and tensor.kind == "int" and value is not None:
                found.setdefault(tensor.value[0], {}).setdefault(value)
    return {name: tuple(values) for name, values in found.items()}


def _integer(e: Expr) -> int | None:
    if e.op == "neg":
        inner = _integer(e.args[0])
        return None if inner is None else -inner
    if e.op != "const" or isinstance(e.value, bool) or e.value != e.value or abs(e.value) == float("inf"):
        return None
    return int(e.value) if e.value == int(e.value) else None
