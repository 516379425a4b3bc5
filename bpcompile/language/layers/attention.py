"""Attention (Vaswani et al. 2017): queries, keys and values as ``[n, t, head, feature]``, scores as ``[n, head, t, s]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.embedding import rotation
from bpcompile.language.layers.kind import LibraryLayer, number, shifted
from bpcompile.language.value import Value

__all__ = ["MultiHeadAttention"]


@dataclass(frozen=True)
class _Projection:
    """Queries, keys or values: rows of which weight, times which input, for how many heads."""

    target: str
    source: str
    place: str
    head: str
    feature: str
    weight: str
    bias: str
    weight_start: int
    bias_start: int

    def equation(self, width: int) -> str:
        """``query[n,t,h,d] = sum(weight[width*h + d,i]*x[n,t,i], i) + bias[width*h + d]``."""
        row, i = f"{width}*{self.head} + d", self.feature
        bias = f" + {self.bias}[{shifted(row, self.bias_start)}]" if self.bias else ""
        return (
            f"{self.target}[n,{self.place},{self.head},d] ="
            f" sum({self.weight}[{shifted(row, self.weight_start)},{i}]*{self.source}[n,{self.place},{i}], {i}){bias}"
        )


@dataclass(eq=False)
class MultiHeadAttention(LibraryLayer):
    """Attention with several heads: self-attention, attention to another sequence, causal, masked, with grouped queries.

    Parameters
    ----------
    num_heads : int
        The number of heads of the queries.
    key_dim : int, optional
        The extent of a head; by default the queries' features divided by the heads.
    num_key_value_heads : int, optional
        Fewer heads of keys and values, each for a group of queries (Ainslie et al. 2023).
    dropout : float
        What of the attention weights is dropped while training.
    use_bias : bool
        Whether the projections have biases.
    causal : bool
        Whether step `t` sees steps up to `t` alone.
    rotary : bool
        Whether queries and keys turn with their place (Su et al. 2021).
    max_wavelength : float
        The base of those angles.
    return_attention_scores : bool
        Whether the call also returns the weights ``[n, head, t, s]``.
    kernel_initializer : optional
        How the weights start.

    Notes
    -----
    Called on one sequence (self-attention), on queries and one sequence for keys and values, or on queries, keys and values;
    all are ``[n, t, feature]``. An integer input after them masks keys: lengths ``[n]``, or ``[n, s]`` or ``[n, t, s]`` with
    zero where nothing is to be seen. A query that sees nothing gives NaN.

    Parameters, as PyTorch's: ``in_proj_weight[(h + 2*g)*d, feature]`` (queries, keys, values), ``in_proj_bias``,
    ``out_proj_weight``, ``out_proj_bias``; where keys or values have other features than queries, ``q_proj_weight``,
    ``k_proj_weight``, ``v_proj_weight`` instead of the first.
    """

    num_heads: int
    key_dim: int | None = None
    num_key_value_heads: int | None = None
    dropout: float = 0.0
    use_bias: bool = True
    causal: bool = False
    rotary: bool = False
    max_wavelength: float = 10000.0
    return_attention_scores: bool = False
    kernel_initializer: object = "glorot_uniform"

    KIND: ClassVar[str] = "multi_head_attention"

    def check(self) -> None:
        """Positive numbers of heads that divide each other."""
        self.positive(num_heads=self.num_heads)
        self.probability(dropout=self.dropout)
        if self.num_key_value_heads is not None:
            self.positive(num_key_value_heads=self.num_key_value_heads)
            if self.num_heads % self.num_key_value_heads:
                self.refuse(f"{self.num_heads} heads cannot be divided among {self.num_key_value_heads}.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for what the layer is called on."""
        sequences = [x for x in inputs if not x.integer]
        masks = list(inputs[len(sequences) :])
        if not 1 <= len(sequences) <= 3 or len(masks) > 1 or any(not m.integer for m in masks):
            self.refuse(f"The layer is called on {', '.join(map(repr, inputs))}.", "Give queries, keys, values, a mask.")
        features = [self.shaped(x, "n, t, feature")[1] for x in sequences]
        width = self.key_dim or features[0] // self.num_heads
        if self.key_dim is None and features[0] % self.num_heads:
            self.refuse(f"{features[0]} features cannot be divided among {self.num_heads} heads; give key_dim.")
        if self.rotary and width % 2:
            self.refuse(f"The features of a head turn in pairs, and there are {width}.")
        names = {1: ("x",), 2: ("x", "memory"), 3: ("x", "keys", "values")}[len(sequences)]
        sources = (names[0], names[min(1, len(names) - 1)], names[-1])
        mask = ["length" if len(m.shape) == 1 else "mask" for m in masks]
        extents = (features[0], features[min(1, len(names) - 1)], features[-1])
        parameters, projections = self._projections(sources, extents, width)
        output, attending = self._attending(masks, width)
        return self.layer(
            [*(p.equation(width) for p in projections), *attending, self._out(width)],
            inputs=(*names, *mask),
            output=("y", output) if self.return_attention_scores else ("y",),
            parameters={**parameters, **self._out_parameters(features[0], width)},
            sizes={"h": self.num_heads, "d": width, **({"g": self._groups} if self._groups != self.num_heads else {})},
            initializers={
                name: self.kernel_initializer for name in (*parameters, "out_proj_weight") if name.endswith("weight")
            },
        )

    @property
    def _groups(self) -> int:
        return self.num_key_value_heads or self.num_heads

    @property
    def _members(self) -> int:
        return self.num_heads // self._groups

    def _projections(
        self, sources: Sequence[str], features: Sequence[int], width: int
    ) -> tuple[dict[str, tuple[int, ...]], list[_Projection]]:
        rows = (self.num_heads * width, self._groups * width, self._groups * width)
        starts = (0, rows[0], rows[0] + rows[1])
        bias = "in_proj_bias" if self.use_bias else ""
        joined = len(set(features)) == 1
        letters = ("q", "k", "v")
        weights = ["in_proj_weight" if joined else f"{letter}_proj_weight" for letter in letters]
        head = "h" if self._members == 1 else "g"
        projections = [
            _Projection("query", sources[0], "t", "h", "i", weights[0], bias, 0, 0),
            _Projection("key", sources[1], "s", head, "j", weights[1], bias, starts[1] if joined else 0, starts[1]),
            _Projection("value", sources[2], "s", head, "l", weights[2], bias, starts[2] if joined else 0, starts[2]),
        ]
        parameters: dict[str, tuple[int, ...]] = (
            {"in_proj_weight": (sum(rows), features[0])}
            if joined
            else {weight: (row, extent) for weight, row, extent in zip(weights, rows, features, strict=True)}
        )
        if self.use_bias:
            parameters["in_proj_bias"] = (sum(rows),)
        return parameters, projections

    def _attending(self, masks: Sequence[Value], width: int) -> tuple[str, list[str]]:
        """The equations from queries, keys and values to what each head sees, and the name of the weights."""
        head = "h" if self._members == 1 else "g"
        group = "h" if self._members == 1 else f"h//{self._members}"
        query, key, equations = "query", "key", []
        if self.rotary:
            equations += rotation("query", "turned_query", ("n", "t", "h"), "t", width, self.max_wavelength)
            equations += rotation("key", "turned_key", ("n", "s", head), "s", width, self.max_wavelength)
            query, key = "turned_query", "turned_key"
        score = f"sum({query}[n,t,h,d]*{key}[n,s,{group},d], d)/sqrt({width})"
        seen = ["s <= t"] if self.causal else []
        for mask in masks:
            subscripts = {1: "", 2: "mask[n,s] != 0", 3: "mask[n,t,s] != 0"}.get(len(mask.shape))
            if subscripts is None:
                self.refuse(f"The mask is {mask!r}; lengths [n], or [n, s] or [n, t, s] were expected.")
            seen.append(subscripts or "s < length[n]")
        if seen:
            score = f"where({' and '.join(seen)}, {score}, -inf)"
        equations += [
            f"score[n,h,t,s] = {score}",
            "attention[n,h,t,s] = exp(score[n,h,t,s])/sum(exp(score[n,h,t,r]), r)",
        ]
        used = "attention"
        if self.dropout:
            keep, used = number(1 - self.dropout), "kept"
            element = "attention[n,h,t,s]"
            equations.append(f"kept[n,h,t,s] = where(training, {element}*bernoulli({keep})/{keep}, {element})")
        equations.append(f"context[n,t,h,d] = sum({used}[n,h,t,s]*value[n,s,{group},d], s)")
        return "attention", equations

    def _out(self, width: int) -> str:
        bias = " + out_proj_bias[o]" if self.use_bias else ""
        return f"y[n,t,o] = sum(out_proj_weight[o,{width}*h + d]*context[n,t,h,d], h, d){bias}"

    def _out_parameters(self, features: int, width: int) -> dict[str, tuple[int | str, ...]]:
        parameters: dict[str, tuple[int | str, ...]] = {"out_proj_weight": (features, self.num_heads * width)}
        if self.use_bias:
            parameters["out_proj_bias"] = (features,)
        return parameters
