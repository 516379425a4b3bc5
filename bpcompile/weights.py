"""Parameters from elsewhere: safetensors files, and the names and tensors of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import DataError

Array = NDArray[Any]


_UNUSED = ("num_batches_tracked",)
"""What PyTorch keeps beside parameters and has no counterpart here."""


def matched(
    values: Mapping[str, Any], known: Iterable[str], others: Iterable[str], rename: Mapping[str, str]
) -> dict[str, Array]:
    """The values of a ``state_dict`` by our names.

    ``encoder.layers.0.linear1.weight`` is ``encoder_layers_0_linear1.W``: dots and underscores are the same, ``weight`` is
    ``W`` and ``bias`` is ``b``, where such a name is there. A name that matches nothing stays as it is.

    Parameters
    ----------
    values : mapping
        By PyTorch's names.
    known : iterable of str
        Our names.
    others : iterable of str
        Our names of what the ``state_dict`` holds too and is not asked for; it is left out.
    rename : mapping of str to str
        From their names to ours; also from a module's name to a layer's.
    """
    if not isinstance(values, Mapping):
        raise DataError(f"Weights are a mapping of names to arrays, not {type(values).__name__}.", hint="Give a state_dict().")
    ours = {_canonical(name): name for name in known}
    left_out = {_canonical(name) for name in others}
    found: dict[str, Array] = {}
    for theirs, value in values.items():
        name = _renamed(theirs, rename)
        key = _canonical(name)
        if key in ours:
            found[ours[key]] = _on_host(value)
        elif key not in left_out and theirs.rpartition(".")[2] not in _UNUSED:
            found[name] = _on_host(value)
    return found


def _canonical(name: str) -> str:
    layer, _, last = name.rpartition(".")
    last = {"W": "weight", "b": "bias"}.get(last, last)
    return f"{layer}.{last}".replace(".", "_")


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    """The name, with the longest part in front that is renamed put in its new form."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        front = ".".join(parts[:count])
        if front in rename:
            return ".".join([rename[front], *parts[count:]])
    return name


def _on_host(value: Any) -> Array:
    """A tensor of any framework as an array."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def write_safetensors(path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays to a safetensors file.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path, metadata=dict(metadata))
    except (OSError, SafetensorError) as error:
        raise DataError(f"'{path}' cannot be written: {error}.") from error


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
    except (TypeError, AttributeError) as error:  # what NumPy makes of bfloat16 and its relatives
        raise DataError(
            f"'{path}' has tensors of a type that NumPy lacks: {error}.", hint="Convert them to float32 before they are saved."
        ) from error
