"""Numbers for the abstract network: three layers, a smooth activation and a cost that mixes its arguments."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.calculus.forward import LOSS
from bpcompile.derivation.context import Context
from bpcompile.derivation.evaluate import Evaluator
from bpcompile.derivation.numeric import STEP, World, extrapolated, offsets

Array = NDArray[Any]
LAYERS: Final = 3
WIDTH: Final = 3


def _activation(z: Any, order: int) -> Any:
    """sin(z) + z^2 / 5 and its derivative."""
    return np.sin(z) + 0.2 * z * z if order == 0 else np.cos(z) + 0.4 * z


class AbstractWorld(World):
    """Layers are numbered from 1; layer 0 is the input. Quantities that do not exist there are NaN."""

    def __init__(self, context: Context, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        shape = (LAYERS + 1, WIDTH)
        given = {
            "W": generator.uniform(-0.9, 0.9, (*shape, WIDTH)),
            "b": generator.uniform(-0.9, 0.9, shape),
            "x": generator.uniform(-0.9, 0.9, WIDTH),
            "L": np.asarray(LAYERS),
        }
        self.context, self.n, self.given = context, WIDTH, given
        self.jacobians: dict[tuple[str, str], Array] = {}
        self.weights = generator.uniform(0.5, 1.5, WIDTH)
        name = context.options.activation
        self.values = Evaluator(
            {}, {"n": WIDTH, "l": LAYERS + 1}, {name: _activation}, self.jacobian, self._gradient_of_cost
        )
        self.values.arrays = self.run()

    def _cost(self, a: Array) -> float:
        return float(np.sum(self.weights * np.sin(a)) + 0.5 * np.sum(a) ** 2)

    def _gradient_of_cost(self) -> Array:
        a = self.values.arrays["a"][LAYERS]
        moved = [extrapolated(STEP, *(np.asarray(self._cost(a + h * e)) for h in (*offsets(STEP), 0.0)))
                 for e in np.eye(WIDTH)]  # fmt: skip
        return np.array(moved, dtype=float)

    def run(self, bump: tuple[str, tuple[int, ...], float] | None = None) -> dict[str, Array]:
        """The forward pass; with ``bump`` one element of one tensor is moved."""
        arrays = {name: np.array(a, dtype=a.dtype) for name, a in self.given.items()}
        if bump is not None and bump[0] in arrays:
            arrays[bump[0]][bump[1]] += bump[2]
        z, a = np.full((LAYERS + 1, WIDTH), np.nan), np.full((LAYERS + 1, WIDTH), np.nan)
        a[0] = arrays["x"]
        for layer in range(1, LAYERS + 1):
            z[layer] = arrays["W"][layer] @ a[layer - 1] + arrays["b"][layer]
            _move(z, "z", layer, bump)
            a[layer] = _activation(z[layer], 0)
            _move(a, "a", layer, bump)
        return {**arrays, "z": z, "a": a, LOSS: np.asarray(self._cost(a[LAYERS]))}

    def adjoints(self) -> dict[str, Array]:
        """By differences, for every element of every layer."""
        found: dict[str, Array] = {}
        for tensor in ("a", "z", "b", "W"):
            value = np.full(self.values.arrays[tensor].shape, np.nan)
            for place in np.ndindex(value.shape):
                if place[0] > 0:
                    value[place] = self.slope(tensor, place)
            found[f"{tensor}.bar"] = value
        return found

    def _jacobian(self, upper: str, lower: str) -> Array:
        if upper != LOSS:
            return super()._jacobian(upper, lower)
        result = np.zeros((LAYERS + 1, WIDTH))
        result[LAYERS] = self._gradient_of_cost()
        return result

    def limits(self, label: str) -> range:
        """The layers in which one of the four equations holds."""
        if label.endswith("BP1"):
            return range(LAYERS, LAYERS + 1)
        return range(1, LAYERS if label.endswith("BP2") else LAYERS + 1)


def _move(array: Array, name: str, layer: int, bump: tuple[str, tuple[int, ...], float] | None) -> None:
    if bump is not None and bump[0] == name and bump[1][0] == layer:
        array[bump[1]] += bump[2]
