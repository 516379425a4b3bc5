"""Adapters: small trained additions to layers that are kept as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.basic import leading
from bpcompile.language.layers.kind import LibraryLayer, access, activated, number
from bpcompile.language.value import Value

__all__ = ["LowRank"]


@dataclass(eq=False)
class LowRank(LibraryLayer):
    """A frozen dense layer and a trained product of two thin matrices: ``z = W x + b + alpha/rank * B A x`` (Hu et al. 2021).

    Parameters
    ----------
    units : int
        The number of output features.
    rank : int
        The inner extent of the product.
    alpha : float, optional
        The factor of the product, by default `rank`.
    activation, use_bias : optional
        As for `Dense`.

    Notes
    -----
    Parameters: ``W`` and ``b``, frozen; ``A[rank, inputs]`` and ``B[units, rank]``, which starts at zero.
    """

    units: int
    rank: int = 4
    alpha: float | None = None
    activation: object = None
    use_bias: bool = True

    KIND: ClassVar[str] = "low_rank"

    def check(self) -> None:
        """Positive extents."""
        self.positive(units=self.units, rank=self.rank)
        self.known_activation(activation=self.activation)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations; they work on the last axis."""
        lead = leading(inputs[0])
        factor = number((self.rank if self.alpha is None else self.alpha) / self.rank)
        x = access("x", *lead, "i")
        adapted = f"{factor}*sum(B[j,r]*{access('low', *lead, 'r')}, r)"
        bias = " + b[j]" if self.use_bias else ""
        fan_in = inputs[0].shape[-1] or 1
        limit = number(1 / math.sqrt(fan_in))
        return self.layer(
            [
                f"{access('low', *lead, 'r')} = sum(A[r,i]*{x}, i)",
                *activated(
                    f"{access('z', *lead, 'j')} = sum(W[j,i]*{x}, i){bias} + {adapted}", self.activation, *lead, "j"
                ),
            ],
            parameters={"W": ("j", "i"), **({"b": ("j",)} if self.use_bias else {}), "A": ("r", "i"), "B": ("j", "r")},
            sizes={"j": self.units, "r": self.rank},
            initializers={"A": f"uniform(-{limit}, {limit})", "B": "zeros"},
            frozen=("W", "b") if self.use_bias else ("W",),
        )
