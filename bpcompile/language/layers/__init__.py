"""The layer library: each layer is its equations, its initializers and its hyperparameters, and nothing else."""

from __future__ import annotations

from bpcompile.language.layers.activation_layers import *
from bpcompile.language.layers.adapters import *
from bpcompile.language.layers.arrangement import *
from bpcompile.language.layers.attention import *
from bpcompile.language.layers.basic import *
from bpcompile.language.layers.borders import *
from bpcompile.language.layers.convolution import *
from bpcompile.language.layers.depthwise import *
from bpcompile.language.layers.distributed import *
from bpcompile.language.layers.embedding import *
from bpcompile.language.layers.kind import LibraryLayer
from bpcompile.language.layers.noise import *
from bpcompile.language.layers.normalization import *
from bpcompile.language.layers.pooling import *
from bpcompile.language.layers.recurrent import *
from bpcompile.language.layers.sequential import *
from bpcompile.language.layers.transformer import *
from bpcompile.language.layers.transposed import *

_NAMES = [name for name, value in globals().items() if getattr(value, "__module__", "").startswith(f"{__name__}.")]
__all__ = ["SPEC_KINDS", *sorted(name for name in _NAMES if name[0].isupper())]

#: The kinds that a spec file can name, by their names there.
SPEC_KINDS: dict[str, type[LibraryLayer]] = {
    kind.KIND: kind
    for kind in map(globals().__getitem__, __all__[1:])
    if isinstance(kind, type) and issubclass(kind, LibraryLayer) and kind.IN_SPECS and kind is not LibraryLayer
}
