"""Transformer layers (Vaswani et al. 2017), in both orders of normalization, made of the library's layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from bpcompile.language.layers.attention import MultiHeadAttention
from bpcompile.language.layers.basic import Add
from bpcompile.language.layers.composite import Composite, only
from bpcompile.language.layers.noise import Dropout
from bpcompile.language.layers.normalization import LayerNormalization
from bpcompile.language.standard_layers import Dense
from bpcompile.language.value import LayerBase, Value

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer"]


@dataclass(eq=False)
class TransformerEncoderLayer(Composite):
    """Self-attention, then a dense layer to and from more features, each added to what it is applied to.

    Parameters
    ----------
    num_heads : int
        The number of heads.
    intermediate_dim : int
        The features between the two dense layers.
    dropout : float
        Of attention weights, of what is added and between the dense layers.
    activation : optional
        Between the dense layers.
    layer_norm_epsilon : float
        Added to the variances.
    norm_first : bool
        Whether normalization stands before each part, and not after the sum (Xiong et al. 2020).
    causal : bool
        Whether step `t` sees steps up to `t` alone.
    use_bias : bool
        Whether attention and dense layers have biases.

    Notes
    -----
    Called on a sequence ``[n, t, feature]`` and perhaps a mask; see `MultiHeadAttention`. Parts, as in PyTorch: ``self_attn``,
    ``linear1``, ``linear2``, ``norm1``, ``norm2``.
    """

    num_heads: int
    intermediate_dim: int
    dropout: float = 0.1
    activation: object = "relu"
    layer_norm_epsilon: float = 1e-5
    norm_first: bool = False
    causal: bool = False
    use_bias: bool = True
    parts: dict[str, LayerBase] = field(default_factory=dict, init=False, repr=False)

    KIND: ClassVar[str] = "transformer_encoder_layer"
    #: The attention parts, in order; the last sublayer is the dense one.
    ATTENTIONS: ClassVar[tuple[str, ...]] = ("self_attn",)

    def check(self) -> None:
        """Positive numbers, and the parts that need no shapes."""
        self.positive(num_heads=self.num_heads, intermediate_dim=self.intermediate_dim)
        self.probability(dropout=self.dropout)
        for name in self.ATTENTIONS:
            self.parts[name] = MultiHeadAttention(
                self.num_heads, dropout=self.dropout, causal=self.causal and name == "self_attn",
                use_bias=self.use_bias, **self.part(name),
            )  # fmt: skip
        self.parts["linear1"] = Dense(
            self.intermediate_dim, activation=self.activation, use_bias=self.use_bias, **self.part("linear1")
        )
        for k in range(1, len(self.ATTENTIONS) + 2):
            self.parts[f"norm{k}"] = LayerNormalization(epsilon=self.layer_norm_epsilon, **self.part(f"norm{k}"))
            self.parts[f"add{k}"] = Add(name=self.part(f"add{k}")["name"])

    def apply(self, *inputs: Value) -> Value:
        """Apply the parts to a sequence."""
        x, *mask = inputs
        x = self._around(1, x, lambda y: only(self.parts["self_attn"](y, *mask)))
        return self._around(2, x, self._dense)

    def _around(self, k: int, x: Value, sublayer: Callable[[Value], Value]) -> Value:
        """``norm(x + f(x))``, or ``x + f(norm(x))``."""
        norm, add = self.parts[f"norm{k}"], self.parts[f"add{k}"]
        y = self._dropped(f"dropout{k}", sublayer(only(norm(x)) if self.norm_first else x))
        total = only(add(x, y))
        return total if self.norm_first else only(norm(total))

    def _dense(self, x: Value) -> Value:
        if "linear2" not in self.parts:
            features = x.shape[-1] or 1
            self.parts["linear2"] = Dense(features, use_bias=self.use_bias, **self.part("linear2"))
        hidden = self._dropped("dropout", only(self.parts["linear1"](x)))
        return only(self.parts["linear2"](hidden))

    def _dropped(self, name: str, x: Value) -> Value:
        if not self.dropout:
            return x
        if name not in self.parts:
            self.parts[name] = Dropout(self.dropout, name=self.part(name)["name"])
        return only(self.parts[name](x))


@dataclass(eq=False)
class TransformerDecoderLayer(TransformerEncoderLayer):
    """Causal self-attention, attention to another sequence, then two dense layers, each added to what it is applied to.

    Parameters
    ----------
    num_heads, intermediate_dim, dropout, activation, layer_norm_epsilon, norm_first, causal, use_bias : optional
        As for `TransformerEncoderLayer`; `causal` is true by default.

    Notes
    -----
    Called on a sequence ``[n, t, feature]``, on what it attends to ``[n, s, feature]``, and perhaps on a mask of the latter.
    Parts, as in PyTorch: ``self_attn``, ``multihead_attn``, ``linear1``, ``linear2``, ``norm1``, ``norm2``, ``norm3``.
    """

    causal: bool = True

    KIND: ClassVar[str] = "transformer_decoder_layer"
    ATTENTIONS: ClassVar[tuple[str, ...]] = ("self_attn", "multihead_attn")

    def apply(self, *inputs: Value) -> Value:
        """Apply the parts to a sequence and what it attends to."""
        if len(inputs) < 2:
            self.refuse("The layer is called on a sequence and on what it attends to.")
        x, memory, *mask = inputs
        x = self._around(1, x, lambda y: only(self.parts["self_attn"](y)))
        x = self._around(2, x, lambda y: only(self.parts["multihead_attn"](y, memory, *mask)))
        return self._around(3, x, self._dense)

