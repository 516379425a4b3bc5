"""The NumPy backend: runs the generated NumPy text. For reading, for teaching, and where there is no C compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpcompile.parameters import Gradients, Layout, Parameters, State
from bpcompile.signature import Signature

Array = NDArray[Any]


class NumpyBackend:
    """Runs a generated NumPy module.

    Parameters
    ----------
    signature : Signature
        What the network takes and gives.
    source : str
        The module's text, as `emit_numpy` wrote it.
    moments : Layout
        The optimizer's state.
    """

    name = "numpy"

    def __init__(self, signature: Signature, source: str, moments: Layout) -> None:
        self.signature = signature
        self.source = source
        self.moments = moments
        namespace: dict[str, Any] = {"__name__": "bpcompile_generated"}
        exec(compile(source, "<bpcompile numpy>", "exec"), namespace)  # text of our own, from checked expressions
        self._functions = namespace

    def shortcuts(self, long_ways: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:  # noqa: ARG002
        """Give nothing: there are no shorter ways."""
        return {}

    def predict(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int  # noqa: ARG002
    ) -> list[Array]:
        """Compute the outputs."""
        found = self._functions["predict"](params, self._data(arrays), state, key, step)
        return [
            np.ascontiguousarray(found[o.name], self.signature.output_integer if o.integer else self.signature.real)
            for o in self.signature.outputs
        ]

    def value_and_grad(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int, training: bool  # noqa: ARG002
    ) -> tuple[float, Gradients]:
        """Compute the loss and its gradients; the state moves on."""
        data = self._data(arrays)
        loss, found, moved = self._functions["value_and_grad"](params, data, state, key, step, training)
        layout, real = self.signature.parameters, self.signature.real
        flat = np.zeros(layout.size, real)
        for name, (start, end, _) in layout.places.items():
            if name in found:
                flat[start:end] = np.asarray(found[name]).reshape(-1)
        inputs = {name: np.ascontiguousarray(found[name], real) for name in self.signature.input_gradients}
        for name, value in moved.items():
            state[name] = value
        return float(loss), Gradients(layout, flat, inputs)

    def bind(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, training: bool
    ) -> Callable[..., tuple[float, Gradients]]:
        """Give a function of `key` and `step` that computes loss and gradients."""

        def step(key: int = 0, step: int = 0) -> tuple[float, Gradients]:
            return self.value_and_grad(params, arrays, n, state, key, step, training)

        return step

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
        """Run an epoch in place; give the loss of each batch."""
        losses = []
        for start in range(0, n, batch_size):
            rows = order[start : start + batch_size]
            batch = [array[rows] for array in arrays]
            loss, grads = self.value_and_grad(params, batch, len(rows), state, key, step, True)
            if "update" in self._functions:
                moved = slice(0, self.signature.trainable)
                vectors = {"p": params.flat[moved]}
                self._functions["update"](vectors, {"g": grads.flat[moved]}, moments, seeds, step)
            losses.append(loss)
            step += 1
        return np.array(losses, self.signature.real)

    def arena_bytes(self, n: int) -> int:  # noqa: ARG002
        """NumPy allocates as it goes."""
        return 0

    def _data(self, arrays: Sequence[Array | None]) -> dict[str, Array]:
        pairs = zip(self.signature.arrays, arrays, strict=True)
        return {spec.name: array for spec, array in pairs if array is not None}
