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
        "AdaptiveAveragePooling1D",
        "AdaptiveAveragePooling2D",
        "Add",
        "AlphaDropout",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "AveragePooling3D",
        "BatchNormalization",
        "Bidirectional",
        "Bilinear",
        "Concatenate",
        "Conv1D",
        "Conv1DTranspose",
        "Conv2D",
        "Conv2DTranspose",
        "Conv3D",
        "Conv3DTranspose",
        "Cropping1D",
        "Cropping2D",
        "Cropping3D",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "ELU",
        "Embedding",
        "GLU",
        "GRU",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalAveragePooling3D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "GlobalMaxPooling3D",
        "GroupNormalization",
        "InstanceNormalization",
        "LSTM",
        "LayerNormalization",
        "LeakyReLU",
        "LibraryLayer",
        "LowRank",
        "Masking",
        "MaxPooling1D",
        "MaxPooling2D",
        "MaxPooling3D",
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
        "ReLU",
        "RepeatVector",
        "Reshape",
        "Residual",
        "ResidualBlock",
        "RotaryEmbedding",
        "SeparableConv1D",
        "SeparableConv2D",
        "Sequential",
        "SimpleRNN",
        "SinusoidalPositionalEncoding",
        "Softmax",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "Subtract",
        "TimeDistributed",
        "TransformerDecoderLayer",
        "TransformerEncoderLayer",
        "UnitNormalization",
        "UpSampling1D",
        "UpSampling2D",
        "UpSampling3D",
        "WeightNormalization",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "ZeroPadding3D",
    ),
    "language.losses": (
        "BinaryCrossentropy",
        "BinaryFocalCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
        "CosineSimilarity",
        "Dice",
        "Hinge",
        "Huber",
        "KLDivergence",
        "LogCosh",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredError",
        "MeanSquaredLogarithmicError",
        "NegativeLogLikelihood",
        "Poisson",
        "Quantile",
        "SoftmaxCrossEntropy",
        "SquaredHinge",
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
        from bpcompile.errors import nearest

        raise AttributeError(f"module 'bpcompile' has no attribute '{name}'. {nearest(name, __all__)}".rstrip())
    globals()[name] = value  # also hides a module of the same name, as of derive
    return value


def __dir__() -> list[str]:
    return list(__all__)
