"""What is known of a network once its shapes are: plain, frozen records that every later stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpcompile.language.equation import Equation

if TYPE_CHECKING:
    from bpcompile.language.initializers import Initializer
    from bpcompile.language.layer import Layer

__all__ = ["Call", "ParameterInfo", "Shape", "StateInfo", "TensorInfo"]

#: Extents in order; None is the batch.
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the network.

    Attributes
    ----------
    name : str
        The global name: ``x``, ``hidden.W``, ``hidden.z``.
    shape : tuple of int or None
        The extents; None is the batch.
    role : str
        ``input``, ``target``, ``parameter``, ``state`` or ``intermediate``.
    integer : bool
        Whether the elements are integers: such a tensor may subscript, and has no gradient.
    classes : int or None
        If told, the integers are ``0 .. classes - 1``.
    outside : float or None
        What a read beyond the bounds gives; None where no such read is allowed.
    label : str
        The name in the user's equations.
    call : str
        The call that defines the tensor; empty for inputs and targets.
    exempt : tuple of int
        Integers beyond the classes that are allowed all the same: labels that a loss ignores.
    """

    name: str
    shape: Shape
    role: str
    integer: bool = False
    classes: int | None = None
    outside: float | None = None
    label: str = ""
    call: str = ""
    exempt: tuple[int, ...] = ()


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter: its name, its shape, how it starts, whether it trains, its penalty ``l1 sum |w| + l2 sum w^2``."""

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    trainable: bool = True
    penalty: tuple[float, float] = (0.0, 0.0)
    indices: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True)
class StateInfo:
    """One state: a tensor that outlives a call. It starts as its initializer says, by default at zero."""

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    indices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A layer applied to tensors, with every name and extent resolved.

    Attributes
    ----------
    name : str
        Unique in the network.
    owner : str
        The name of the layer: its parameters are ``<owner>.<parameter>``.
    layer : Layer
        What was called.
    extents : mapping of str to int or None
        The extent of every index of the equations; None for the batch index alone.
    resolve : mapping of str to str
        From a tensor's name in the equations to its global name.
    tensors : mapping of str to TensorInfo
        From a tensor's name in the equations to what is known of it.
    equations : tuple of Equation
        The equations, with constants substituted.
    """

    name: str
    owner: str
    layer: Layer
    extents: Mapping[str, int | None]
    resolve: Mapping[str, str]
    tensors: Mapping[str, TensorInfo]
    equations: tuple[Equation, ...]
