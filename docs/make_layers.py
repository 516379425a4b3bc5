"""Write docs/layers.md: every layer of the library with its equations, read off the layers themselves.

Run it: python docs/make_layers.py [target]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpcompile as bp
from bpcompile.calculus.freeze import Name, Scope, freeze_equations
from bpcompile.derivation.formula import laid_out
from bpcompile.derivation.latex import latex
from bpcompile.derivation.names import Names, Printed
from bpcompile.derivation.render_markdown import display
from bpcompile.language.equation import accesses
from bpcompile.language.records import Call
from bpcompile.nodes.expressions import load

TARGET = Path(__file__).parent / "layers.md"


def x(*shape: int) -> bp.Value:
    """An input."""
    return bp.Input("x", shape)


def other(name: str, *shape: int, classes: int | None = None) -> bp.Value:
    """Another input."""
    return bp.Input(name, shape, classes=classes)


#: For each family, the settings to show: how they are typed, and what they are called on.
SHOWN: dict[str, list[tuple[str, Callable[[], Any]]]] = {
    "Dense layers and their relatives": [
        ("Dense(4)", lambda: bp.Dense(4)(x(3))),
        ("Bilinear(4)", lambda: bp.Bilinear(4)(x(3), other("u", 2))),
        ("Maxout(4, 2)", lambda: bp.Maxout(4, 2)(x(3))),
        ("GLU()", lambda: bp.GLU()(x(8))),
        ("PReLU()", lambda: bp.PReLU()(x(3))),
        ("RadialBasis(4)", lambda: bp.RadialBasis(4)(x(3))),
        ("LowRank(4, 2)", lambda: bp.LowRank(4, 2)(x(3))),
        ("WeightNormalization(Dense(4))", lambda: bp.WeightNormalization(bp.Dense(4))(x(3))),
    ],
    "Activations as layers": [
        ("Activation(\"swish\")", lambda: bp.Activation("swish")(x(3))),
        ("ReLU(6.0)", lambda: bp.ReLU(6.0)(x(3))),
        ("LeakyReLU()", lambda: bp.LeakyReLU()(x(3))),
        ("ELU(0.5)", lambda: bp.ELU(0.5)(x(3))),
        ("Softmax()", lambda: bp.Softmax()(x(3))),
    ],
    "Combining": [
        ("Add()", lambda: bp.Add()(x(3), other("u", 3))),
        ("Subtract()", lambda: bp.Subtract()(x(3), other("u", 3))),
        ("Multiply()", lambda: bp.Multiply()(x(3), other("u", 3))),
        ("Maximum()", lambda: bp.Maximum()(x(3), other("u", 3))),
        ("Minimum()", lambda: bp.Minimum()(x(3), other("u", 3))),
        ("Average()", lambda: bp.Average()(x(3), other("u", 3))),
        ("Concatenate()", lambda: bp.Concatenate()(x(3), other("u", 2))),
        ("Dot()", lambda: bp.Dot()(x(3), other("u", 3))),
    ],
    "Arranging": [
        ("Flatten()", lambda: bp.Flatten()(x(2, 3))),
        ("Reshape((2, 3))", lambda: bp.Reshape((2, 3))(x(6))),
        ("Permute((2, 1))", lambda: bp.Permute((2, 1))(x(3, 4))),
        ("RepeatVector(5)", lambda: bp.RepeatVector(5)(x(3))),
        ("Masking()", lambda: bp.Masking()(x(5, 2))),
        ("ZeroPadding1D(1)", lambda: bp.ZeroPadding1D(1)(x(5, 2))),
        ("ZeroPadding2D(1)", lambda: bp.ZeroPadding2D(1)(x(3, 8, 8))),
        ("ZeroPadding3D(1)", lambda: bp.ZeroPadding3D(1)(x(3, 4, 4, 4))),
        ("Cropping1D(1)", lambda: bp.Cropping1D(1)(x(5, 2))),
        ("Cropping2D(1)", lambda: bp.Cropping2D(1)(x(3, 8, 8))),
        ("Cropping3D(1)", lambda: bp.Cropping3D(1)(x(3, 4, 4, 4))),
        ("UpSampling1D(2)", lambda: bp.UpSampling1D(2)(x(5, 2))),
        ("UpSampling2D(2)", lambda: bp.UpSampling2D(2)(x(3, 8, 8))),
        ("UpSampling3D(2)", lambda: bp.UpSampling3D(2)(x(3, 4, 4, 4))),
    ],
    "Convolution": [
        ('Conv1D(8, 3, padding="causal")', lambda: bp.Conv1D(8, 3, padding="causal")(x(16, 4))),
        ("Conv2D(8, 3, strides=2, padding=1)", lambda: bp.Conv2D(8, 3, 2, 1)(x(3, 8, 8))),
        ("Conv2D(8, 3, groups=2)", lambda: bp.Conv2D(8, 3, groups=2)(x(4, 8, 8))),
        ("Conv3D(8, 3)", lambda: bp.Conv3D(8, 3)(x(2, 5, 5, 5))),
        ("DepthwiseConv1D(3)", lambda: bp.DepthwiseConv1D(3)(x(16, 4))),
        ("DepthwiseConv2D(3)", lambda: bp.DepthwiseConv2D(3)(x(3, 8, 8))),
        ("SeparableConv1D(8, 3)", lambda: bp.SeparableConv1D(8, 3)(x(16, 4))),
        ("SeparableConv2D(8, 3)", lambda: bp.SeparableConv2D(8, 3)(x(3, 8, 8))),
        ("Conv1DTranspose(8, 2, strides=2)", lambda: bp.Conv1DTranspose(8, 2, 2)(x(8, 3))),
        ("Conv2DTranspose(8, 2, strides=2)", lambda: bp.Conv2DTranspose(8, 2, 2)(x(3, 4, 4))),
        ("Conv3DTranspose(8, 2, strides=2)", lambda: bp.Conv3DTranspose(8, 2, 2)(x(3, 4, 4, 4))),
    ],
    "Pooling": [
        ("MaxPooling1D(2)", lambda: bp.MaxPooling1D(2)(x(8, 3))),
        ("MaxPooling2D(2)", lambda: bp.MaxPooling2D(2)(x(3, 8, 8))),
        ("MaxPooling3D(2)", lambda: bp.MaxPooling3D(2)(x(3, 4, 4, 4))),
        ("AveragePooling1D(2)", lambda: bp.AveragePooling1D(2)(x(8, 3))),
        ("AveragePooling2D(3, strides=2, padding=1)", lambda: bp.AveragePooling2D(3, 2, 1)(x(3, 8, 8))),
        ("AveragePooling3D(2)", lambda: bp.AveragePooling3D(2)(x(3, 4, 4, 4))),
        ("GlobalAveragePooling1D()", lambda: bp.GlobalAveragePooling1D()(x(8, 3))),
        ("GlobalAveragePooling2D()", lambda: bp.GlobalAveragePooling2D()(x(3, 8, 8))),
        ("GlobalAveragePooling3D()", lambda: bp.GlobalAveragePooling3D()(x(3, 4, 4, 4))),
        ("GlobalMaxPooling1D()", lambda: bp.GlobalMaxPooling1D()(x(8, 3))),
        ("GlobalMaxPooling2D()", lambda: bp.GlobalMaxPooling2D()(x(3, 8, 8))),
        ("GlobalMaxPooling3D()", lambda: bp.GlobalMaxPooling3D()(x(3, 4, 4, 4))),
        ("AdaptiveAveragePooling1D(3)", lambda: bp.AdaptiveAveragePooling1D(3)(x(8, 3))),
        ("AdaptiveAveragePooling2D(3)", lambda: bp.AdaptiveAveragePooling2D(3)(x(3, 8, 8))),
    ],
    "Normalization": [
        ("BatchNormalization()", lambda: bp.BatchNormalization()(x(3, 8, 8))),
        ("LayerNormalization()", lambda: bp.LayerNormalization()(x(8, 4))),
        ("RMSNormalization()", lambda: bp.RMSNormalization()(x(8, 4))),
        ("GroupNormalization(2)", lambda: bp.GroupNormalization(2)(x(4, 8, 8))),
        ("UnitNormalization()", lambda: bp.UnitNormalization()(x(8, 4))),
        ("InstanceNormalization()", lambda: bp.InstanceNormalization()(x(3, 8, 8))),
    ],
    "Noise while training": [
        ("Dropout(0.25)", lambda: bp.Dropout(0.25)(x(3))),
        ("SpatialDropout1D(0.25)", lambda: bp.SpatialDropout1D(0.25)(x(8, 3))),
        ("SpatialDropout2D(0.25)", lambda: bp.SpatialDropout2D(0.25)(x(3, 8, 8))),
        ("AlphaDropout(0.25)", lambda: bp.AlphaDropout(0.25)(x(3))),
        ("GaussianNoise(0.5)", lambda: bp.GaussianNoise(0.5)(x(3))),
        ("GaussianDropout(0.5)", lambda: bp.GaussianDropout(0.5)(x(3))),
    ],
    "Embeddings and places": [
        ("Embedding(50, 8)", lambda: bp.Embedding(50, 8)(other("x", 6, classes=50))),
        ("PositionalEmbedding()", lambda: bp.PositionalEmbedding()(x(6, 8))),
        ("SinusoidalPositionalEncoding()", lambda: bp.SinusoidalPositionalEncoding()(x(6, 8))),
        ("RotaryEmbedding()", lambda: bp.RotaryEmbedding()(x(6, 8))),
    ],
    "Recurrence": [
        ("SimpleRNN(4)", lambda: bp.SimpleRNN(4)(x(6, 3))),
        ("LSTM(4)", lambda: bp.LSTM(4)(x(6, 3))),
        ("GRU(4)", lambda: bp.GRU(4)(x(6, 3))),
    ],
    "Attention": [
        ("MultiHeadAttention(2, causal=True)", lambda: bp.MultiHeadAttention(2, causal=True)(x(6, 8))),
    ],
}

MADE_OF_LAYERS = ("Bidirectional", "Residual", "ResidualBlock", "Sequential", "TimeDistributed", "TransformerEncoderLayer",
                  "TransformerDecoderLayer")  # fmt: skip

HEAD = """# The layers

Written by `docs/make_layers.py` from the layers themselves: what stands here is what the compiler reads. `n` is the
example. Images are `[n, channel, row, column]`, sequences `[n, t, feature]`; reads outside a padded tensor give the number
that is told. Settings and parameters are in the docstrings (`help(bp.Conv2D)`).
"""


def equations(call: Call) -> list[str]:
    """The equations of a call as LaTeX."""
    names = Names(tensors={local: Printed(local) for local in call.tensors})
    scope = Scope(
        {local: Name(info.shape, "int" if info.integer else "real") for local, info in call.tensors.items()}, call.extents
    )
    lines = []
    for s in freeze_equations(call.equations, scope):
        left = load(s.target, s.subscripts)
        lines.append(f"{latex(laid_out(left, names))} = {latex(laid_out(s.body, names))}")
    return lines


def entry(title: str, make: Callable[[], Any]) -> str:
    """One layer: how it is made, what it does, its parameters and its equations."""
    kind = getattr(bp, title.partition("(")[0])
    result = make()
    value = result[0] if isinstance(result, tuple) else result
    (call,) = bp.Network(value).calls
    summary = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
    held = {**call.layer.parameters, **call.layer.state}
    shapes = [f"`{name}[{', '.join(str(d) for d in call.tensors[name].shape)}]`" for name in held]
    outside = [f"`{name}` is {value:g} outside" for name, value in call.layer.outside.items()]
    read = {a.tensor for e in call.equations for a in accesses(e.rhs)}
    facts = [*([f"Parameters: {', '.join(shapes)}"] if shapes else []), *(o for o in outside if o.split("`")[1] in read)]
    body = " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in equations(call))
    lines = [f"### `{title}`", "", summary, "", *([f"{'; '.join(facts)}.", ""] if facts else [])]
    return "\n".join([*lines, display(f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"), ""])


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for family, rows in SHOWN.items():
        parts += [f"## {family}\n", *(entry(title, make) for title, make in rows)]
    parts.append("## Layers made of layers\n")
    for name in MADE_OF_LAYERS:
        summary = " ".join((inspect.getdoc(getattr(bp, name)) or "").partition("\n\n")[0].split())
        parts.append(f"- `{name}`: {summary}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(page(), encoding="utf-8")
