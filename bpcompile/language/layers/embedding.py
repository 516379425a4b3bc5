"""Embeddings of integers, and what tells a network where in a sequence it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, axes_of, number
from bpcompile.language.value import Value

__all__ = ["Embedding", "PositionalEmbedding", "RotaryEmbedding", "SinusoidalPositionalEncoding", "rotation"]


@dataclass(eq=False)
class Embedding(LibraryLayer):
    """``y[n,t,d] = weight[x[n,t],d]``: a row of a trained table for each integer.

    Parameters
    ----------
    input_dim : int
        The number of rows: the integers are ``0 .. input_dim - 1``.
    output_dim : int
        The extent of a row.
    padding_idx : int, optional
        An integer whose row is not trained.
    embeddings_initializer : optional
        How the table starts.
    """

    input_dim: int
    output_dim: int
    padding_idx: int | None = None
    embeddings_initializer: object = "uniform(-0.05, 0.05)"

    KIND: ClassVar[str] = "embedding"

    def check(self) -> None:
        """Positive extents."""
        self.positive(input_dim=self.input_dim, output_dim=self.output_dim)
        if self.padding_idx is not None and not 0 <= self.padding_idx < self.input_dim:
            self.refuse(f"'padding_idx' is {self.padding_idx}, and the rows are 0 to {self.input_dim - 1}.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equation for the rank of the input."""
        x = inputs[0]
        if not x.integer or (x.classes or 0) > self.input_dim:
            self.refuse(
                f"The layer has rows for the integers 0 to {self.input_dim - 1}, and is called on {x!r}"
                + (f" with {x.classes} classes." if x.classes else "."),
                'Declare the input as integers: bp.Input("token", (16,), classes=...).',
            )
        axes = axes_of(x)
        token = access("x", *axes)
        value = f"weight[{token},e]"
        if self.padding_idx is not None:
            k = self.padding_idx
            value = f"where({token} != {k}, {value}, stop_gradient(weight[{k},e]))"
        return self.layer(
            [f"{access('y', *axes, 'e')} = {value}"],
            parameters={"weight": ("v", "e")},
            sizes={"v": self.input_dim, "e": self.output_dim},
            initializers={"weight": self.embeddings_initializer},
        )


@dataclass(eq=False)
class PositionalEmbedding(LibraryLayer):
    """``y[n,t,d] = x[n,t,d] + weight[t,d]``: a trained vector for each place is added.

    Parameters
    ----------
    sequence_length : int, optional
        How many places there are vectors for; by default as many as the sequence has.
    embeddings_initializer : optional
        How the vectors start.
    """

    sequence_length: int | None = None
    embeddings_initializer: object = "normal(0.02)"

    KIND: ClassVar[str] = "positional_embedding"

    def build(self, *inputs: Value) -> Layer:
        """Return the equation."""
        steps, _ = self.shaped(inputs[0], "n, t, feature")
        places = self.sequence_length or steps
        if places < steps:
            self.refuse(f"There are vectors for {places} places, and {inputs[0]!r} has {steps}.")
        return self.layer(
            [f"y[n,t,d] = x[n,t,d] + weight[t{' + 0' if places > steps else ''},d]"],
            parameters={"weight": (places, "d")},
            initializers={"weight": self.embeddings_initializer},
        )


@dataclass(eq=False)
class SinusoidalPositionalEncoding(LibraryLayer):
    """Sines and cosines of the place are added (Vaswani et al. 2017, section 3.5).

    Parameters
    ----------
    max_wavelength : float
        Wavelengths are from ``2*pi`` to ``2*pi*max_wavelength``.
    """

    max_wavelength: float = 10000.0

    KIND: ClassVar[str] = "sinusoidal_positional_encoding"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations."""
        self.shaped(inputs[0], "n, t, feature")
        angle = f"t*{number(self.max_wavelength)}**(-2*(d//2)/size(d))"
        return self.layer(
            [
                f"angle[t,d] = {angle}",
                "encoding[t,d] = where(d%2 == 0, sin(angle[t,d]), cos(angle[t,d]))",
                "y[n,t,d] = x[n,t,d] + encoding[t,d]",
            ]
        )


def rotation(source: str, target: str, lead: tuple[str, ...], place: str, extent: int, base: float) -> list[str]:
    """Return the equations of a rotary embedding of ``source[n,...,d]`` along the index `place`.

    Features `d` and ``d + extent/2`` are turned together by an angle of ``place*base**(-2*d/extent)`` (Su et al. 2021).
    """
    half = extent // 2
    angle = f"{target}_angle"
    here = access(source, *lead, "d")
    after, before = access(source, *lead, f"d + {half}"), access(source, *lead, f"d - {half}")
    turn = access(angle, place, "d")
    other = f"where(d < {half}, -{after}, {before})"
    return [
        f"{turn} = {place}*{number(base)}**(-2*(d%{half})/{extent})",
        f"{access(target, *lead, 'd')} = {here}*cos({turn}) + {other}*sin({turn})",
    ]


@dataclass(eq=False)
class RotaryEmbedding(LibraryLayer):
    """Pairs of features turn by an angle that grows with the place (Su et al. 2021); the halves of the axis are paired.

    Parameters
    ----------
    max_wavelength : float
        The base of the angles.

    Notes
    -----
    For sequences ``[n, t, feature]`` and for heads ``[n, t, head, feature]``.
    """

    max_wavelength: float = 10000.0

    KIND: ClassVar[str] = "rotary_embedding"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        rank, extent = len(inputs[0].shape), inputs[0].shape[-1] or 0
        if rank not in (3, 4) or extent % 2:
            self.refuse(f"The layer is called on {inputs[0]!r}, and reads [n, t, ..., feature] with an even last axis.")
        lead = ("n", "t") if rank == 3 else ("n", "t", "h")
        return self.layer(rotation("x", "y", lead, "t", extent, self.max_wavelength))
