"""Python names for the tensors of a program: readable, valid, and no two alike."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import Final

_RESERVED: Final = (
    "np", "real", "n", "params", "data", "state", "key", "step", "training", "seeds", "gradients", "outputs",
    "erf", "erfc", "gamma", "lgamma", "digamma", "trigamma", "sigmoid", "softplus", "bernoulli", "normal",
    "float", "int", "min", "max", "range", "reversed", "predict", "value_and_grad", "update",
)  # fmt: skip


@dataclass
class Names:
    """The names of one generated function.

    Attributes
    ----------
    functions : set of str
        The runtime functions that the text calls; sorted before they are printed.
    """

    functions: set[str] = field(default_factory=set)
    _given: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=lambda: set(_RESERVED))

    def of(self, tensor: str) -> str:
        """The name of a tensor or of a seed, the same each time."""
        if tensor not in self._given:
            self._given[tensor] = self.fresh(tensor)
        return self._given[tensor]

    def fresh(self, wanted: str) -> str:
        """A new name as close as possible to what is wanted."""
        base = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "_"
        if base[0].isdigit() or keyword.iskeyword(base) or keyword.issoftkeyword(base):
            base = f"{base}_" if not base[0].isdigit() else f"_{base}"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}{number}" if not base[-1].isdigit() else f"{base}_{number}"
        self._taken.add(name)
        return name
