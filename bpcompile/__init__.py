"""bpcompile: symbolic networks compiled to dependency-free C, with every gradient derived from one rule.

The public names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Where each public name lives.
_HOMES: dict[str, tuple[str, ...]] = {
    "language.symbols": ("Index", "Tensor"),
    "language.functions": (
        "argmax",
        "argmin",
        "bernoulli",
        "max",
        "mean",
        "min",
        "normal",
        "size",
        "stop_gradient",
        "sum",
        "where",
    ),
    "language.equation": ("Equation",),
    "language.layer": ("Layer",),
    "language.value": ("Input", "LayerBase", "Target", "Value"),
    "language.network": ("Network",),
    "language.penalties": ("L1", "L2", "Penalty"),
    "language.standard_layers": ("Activation", "Dense", "Flatten"),
    "language.layers": (
        "GLU",
        "GRU",
        "LSTM",
        "AdaptiveAveragePooling2D",
        "Add",
        "AlphaDropout",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "BatchNormalization",
        "Bidirectional",
        "Bilinear",
        "Concatenate",
        "Conv1D",
        "Conv2D",
        "Conv2DTranspose",
        "Conv3D",
        "Cropping2D",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "Embedding",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LibraryLayer",
        "LowRank",
        "MaxPooling1D",
        "MaxPooling2D",
        "Maximum",
        "Maxout",
        "Minimum",
        "MultiHeadAttention",
        "Multiply",
        "PReLU",
        "Permute",
        "PositionalEmbedding",
        "RMSNormalization",
        "RadialBasis",
        "RepeatVector",
        "Reshape",
        "Residual",
        "ResidualBlock",
        "RotaryEmbedding",
        "SeparableConv2D",
        "Sequential",
        "SimpleRNN",
        "SinusoidalPositionalEncoding",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "Subtract",
        "TransformerDecoderLayer",
        "TransformerEncoderLayer",
        "UpSampling1D",
        "UpSampling2D",
        "WeightNormalization",
        "ZeroPadding1D",
        "ZeroPadding2D",
    ),
    "language.losses": (
        "BinaryCrossentropy",
        "Hinge",
        "Huber",
        "KLDivergence",
        "LogCosh",
        "MeanAbsoluteError",
        "MeanSquaredError",
        "NegativeLogLikelihood",
        "Poisson",
        "SoftmaxCrossEntropy",
    ),
    "language.spec": ("load_spec", "parse_spec"),
    "driver": ("compile",),
    "check": ("check_gradients",),
    "derivation.derive": ("derive",),
    "training.optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "Momentum", "RMSprop"),
    "errors": (
        "ArrayError",
        "BPCompileError",
        "BPCompileWarning",
        "BuildError",
        "CheckError",
        "CompilerMissing",
        "DataError",
        "LanguageError",
        "NetworkError",
        "ParseError",
        "ShapeError",
        "SpecError",
        "TrainingError",
    ),
}

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = {"losses": "language.losses", "activations": "language.activations", "initializers": "language.initializers"}

__all__ = ["__version__", *sorted(_MODULE_OF), *sorted(_SUBMODULES)]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        value: Any = importlib.import_module(f"bpcompile.{_SUBMODULES[name]}")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"bpcompile.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'bpcompile' has no attribute '{name}'")
    globals()[name] = value  # also hides a module of the same name, as of derive
    return value


def __dir__() -> list[str]:
    return list(__all__)
