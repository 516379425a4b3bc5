"""Parameters from elsewhere: safetensors files, and the names and tensors of PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import DataError

Array = NDArray[Any]


def customary(name: str) -> str:
    """Our name of a parameter that PyTorch calls `name`."""
    layer, _, last = name.rpartition(".")
    ours = {"weight": "W", "bias": "b"}.get(last, last)
    return f"{layer}.{ours}" if layer else ours


def on_host(value: Any) -> Array:
    """A tensor of any framework as an array."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read the arrays of a safetensors file.

    Raises
    ------
    DataError
        If there is none, or it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not Path(path).is_file():
        raise DataError(f"There is no file '{path}'.")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as safetensors: {error}.") from error
