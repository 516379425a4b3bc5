"""Layers that are made of layers: a call of one is calls of its parts, which keep their own names and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bpcompile.errors import LanguageError
from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer
from bpcompile.language.value import LayerBase, Value

__all__ = ["Composite", "only", "part_name"]


@dataclass(eq=False)
class Composite(LibraryLayer):
    """A layer that is made of layers. Parts are named ``<name>_<part>``; called twice, they share their parameters."""

    def __call__(self, *inputs: Value | Sequence[Value]) -> Value | tuple[Value, ...]:
        """Apply the parts."""
        return self.apply(*self.values(inputs))

    def apply(self, *inputs: Value) -> Value | tuple[Value, ...]:
        """Apply the parts to values."""
        raise NotImplementedError

    def build(self, *inputs: Value) -> Layer:  # noqa: ARG002
        """Refuse: what is made of layers has no equations of its own."""
        raise LanguageError(f"'{self.label}' is made of layers and has no equations of its own; call it.")

    def one(self, inputs: Sequence[Value]) -> Value:
        """The one value that the layer is called on."""
        if len(inputs) != 1:
            self.refuse(f"The layer reads 1 input, and is called on {len(inputs)}.")
        return inputs[0]

    def part(self, name: str) -> dict[str, Any]:
        """The options of a part: its name and whether it is trained."""
        return {"name": part_name(self, name), "trainable": self.trainable}


def part_name(layer: LayerBase, part: str) -> str | None:
    """The name of a part, if the whole has one."""
    return None if layer.name is None else f"{layer.name}_{part}"


def only(result: Value | tuple[Value, ...]) -> Value:
    """The one value that a layer returned.

    Raises
    ------
    LanguageError
        If there are several.
    """
    if not isinstance(result, Value):
        raise LanguageError(f"A layer that returns {len(result)} tensors cannot stand in a chain of layers.")
    return result
