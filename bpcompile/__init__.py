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
    "language.spec": ("load_spec",),
    "driver": ("compile",),
    "check": ("check_gradients",),
    "derive": ("derive",),
    "training.optimizers": ("SGD", "Adam", "Momentum"),
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
