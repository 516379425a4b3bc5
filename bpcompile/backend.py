"""What runs generated code, as the model sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from bpcompile.parameters import Gradients, Layout, Parameters, State

Array = NDArray[Any]


class Backend(Protocol):
    """What runs generated code; arrays come checked, in the order of the signature."""

    name: str
    source: str
    moments: Layout

    def shortcuts(self, long_ways: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
        """Give those of a model's methods, by name, that have a short way before their long one."""

    def predict(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int
    ) -> list[Array]:
        """Compute the outputs."""

    def value_and_grad(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int, training: bool
    ) -> tuple[float, Gradients]:
        """Compute loss and gradients."""

    def bind(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, training: bool
    ) -> Callable[..., tuple[float, Gradients]]:
        """Give a function that computes loss and gradients of these arrays.

        Where it writes into memory that it keeps, its attribute ``scratch`` holds these arrays: what stood in them before a
        call must not matter.
        """

    def train_epoch(
        self,
        params: Parameters,
        arrays: Sequence[Array],
        n: int,
        batch_size: int,
        order: Array,
        state: State,
        moments: State,
        seeds: Mapping[str, float],
        key: int,
        step: int,
    ) -> Array:
        """Run an epoch in place."""

    def arena_bytes(self, n: int) -> int:
        """Bytes of scratch memory for `n` examples."""


@dataclass
class OptimizerState:
    """What an optimizer keeps of one set of parameters: its vectors, and the updates made so far."""

    moments: State
    step: int = 0
