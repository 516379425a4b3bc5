"""Parameters, gradients and states: names over views of one flat vector."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import ArrayError, nearest

Array = NDArray[Any]
_NONE: Final[Mapping[str, Array]] = MappingProxyType({})
_LINE: Final = 64  # bytes of a cache line, and of the widest vector
_RECYCLED: Final = 1 << 23  # bytes from which memory is used again


def aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Make an uninitialized vector that begins with a cache line: vectors that straddle two lines take twice as long."""
    memory = np.empty(size * dtype.itemsize + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Make a vector of zeros that begins with a cache line."""
    vector = aligned(size, dtype)
    vector.fill(0)
    return vector


class Recycled:
    """Makes vectors of one size, in memory that is used again when nobody holds it any more.

    The system hands out large vectors as pages that it clears one by one, for each call anew: a tenth of a large step.
    """

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._size, self._dtype = size, dtype
        self._free: list[Array] = []

    def __call__(self) -> Array:
        """Make a vector; what it holds is left over from earlier ones."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = aligned(self._size, self._dtype)
        held = _Held(memory)
        weakref.finalize(held, self._give_back, memory).atexit = False
        return np.asarray(held)

    def _give_back(self, memory: Array) -> None:
        if not self._free:
            self._free.append(memory)


class _Held:
    """What all views of a recycled vector refer to: it goes with the last of them."""

    def __init__(self, memory: Array) -> None:
        self.__array_interface__ = memory.__array_interface__


def vectors(layout: Layout, dtype: np.dtype[Any]) -> Callable[[], Array]:
    """How to make vectors of a layout, uninitialized, that begin with a cache line."""
    large = layout.size * dtype.itemsize >= _RECYCLED
    return Recycled(layout.size, dtype) if large else partial(aligned, layout.size, dtype)


@dataclass(frozen=True)
class Layout:
    """Where each tensor lies in a flat vector: one after the other, in row-major order.

    Parameters
    ----------
    names : tuple of str
        The names, in order.
    shapes : tuple of tuple of int
        Their shapes.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def places(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """For each name: where it begins, where it ends, its shape."""
        found: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        start = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            end = start + math.prod(shape)
            found[name] = (start, end, shape)
            start = end
        return found

    @cached_property
    def size(self) -> int:
        """The number of elements."""
        return sum(math.prod(shape) for shape in self.shapes)

    def check_names(self, given: Iterable[str], what: str) -> None:
        """Refuse names that are missing or that nobody knows.

        Raises
        ------
        ArrayError
            Naming the first of them.
        """
        given = list(given)
        extra = [name for name in given if name not in self.places]
        missing = [name for name in self.names if name not in given]
        if extra:
            guess = nearest(extra[0], missing or self.names)
            raise ArrayError(
                f"There is no {what} '{extra[0]}'; there are {', '.join(self.names) or 'none'}.",
                hint=guess,
            )
        if missing:
            raise ArrayError(f"The {what} '{missing[0]}' is missing.", hint=f"Give all of: {', '.join(self.names)}.")


class NamedArrays(Mapping[str, Array]):
    """Names over views of one flat vector; the views are made when they are asked for.

    Parameters
    ----------
    layout : Layout
        The names and shapes.
    flat : array
        The vector, of ``layout.size`` elements.
    """

    __slots__ = ("__weakref__", "_flat", "_views", "layout")
    what = "array"

    def __init__(self, layout: Layout, flat: Array) -> None:
        if flat.shape != (layout.size,) or not flat.flags.c_contiguous or not flat.flags.aligned:
            raise ArrayError(f"A contiguous flat vector of {layout.size} elements was expected, not shape {flat.shape}.")
        self.layout = layout
        self._flat = flat
        self._views: dict[str, Array] = {}

    @property
    def flat(self) -> Array:
        """The whole vector; what is written to it shows in the named views."""
        return self._flat

    def __getitem__(self, name: str) -> Array:
        view = self._views.get(name)
        if view is None:
            place = self.layout.places.get(name)
            if place is None:
                raise KeyError(f"There is no {self.what} '{name}'. {nearest(name, self.layout.names)}".rstrip())
            start, end, shape = place
            view = self._views[name] = self.flat[start:end].reshape(shape)
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.names)

    def __len__(self) -> int:
        return len(self.layout.names)

    # Arrays have no single truth value, so that two mappings of them are equal only if they are one.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[type, tuple[Layout, Array]]:
        return type(self), (self.layout, np.array(self.flat))

    def __repr__(self) -> str:
        rows = [f"  {name}: {'x'.join(map(str, shape)) or 'scalar'}" for name, (_, _, shape) in self.layout.places.items()]
        kind = f"{type(self).__name__}: {self.layout.size} elements, {self.flat.dtype}"
        return "\n".join([kind, *rows])


class Parameters(NamedArrays):
    """The parameters of a network: a mapping of names to writable arrays, views of the vector ``flat``.

    Assigning copies values into the vector: ``params["hidden.W"] = array``.
    """

    __slots__ = ("_pointer",)  # the C backend sets it when it first sees the vector
    _pointer: Any
    what = "parameter"

    def __setitem__(self, name: str, value: object) -> None:
        if name not in self.layout.places:
            raise KeyError(f"There is no {self.what} '{name}'. {nearest(name, self.layout.names)}".rstrip())
        self[name][...] = values_for(name, value, self.layout.places[name][2], self.flat.dtype, self.what)

    def copy(self) -> Parameters:
        """Give parameters of their own with the same values."""
        flat = aligned(self.layout.size, self.flat.dtype)
        flat[:] = self.flat
        return type(self)(self.layout, flat)


def check_writable(vector: Parameters) -> None:
    """Refuse a vector that generated code is to change and that must not be written to.

    Raises
    ------
    ArrayError
        If it is read-only.
    """
    if not vector.flat.flags.writeable:
        raise ArrayError(f"The {vector.what}s are read-only, and would be changed in place.", hint="Pass a copy: .copy().")


class State(Parameters):
    """The tensors that outlive a call, such as running means: names over views of one flat vector."""

    __slots__ = ()
    what = "state"


class Gradients(NamedArrays):
    """Gradients of the loss: the structure of the parameters, and the inputs that were asked for with ``wrt=``.

    ``flat`` holds those of the parameters, in the order of ``params.flat``; ``inputs`` those of the inputs.
    """

    __slots__ = ("inputs",)
    what = "gradient"

    def __init__(self, layout: Layout, flat: Array, inputs: Mapping[str, Array] = _NONE) -> None:
        super().__init__(layout, flat)
        self.inputs = inputs

    def __getitem__(self, name: str) -> Array:
        found = self.inputs.get(name)
        return super().__getitem__(name) if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from self.layout.names
        yield from self.inputs

    def __len__(self) -> int:
        return len(self.layout.names) + len(self.inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Gradients, (self.layout, np.array(self.flat), dict(self.inputs))


def fresh_gradients(layout: Layout) -> Callable[[Array], Gradients]:
    """Give a function that makes gradients of a flat vector, whose names are made when somebody looks.

    Making a full object for every call would take longer than computing the gradients of a small network.
    """

    class FreshGradients(Gradients):
        __slots__ = ()

        def __init__(self, flat: Array) -> None:
            self._flat = flat

        def __getattr__(self, name: str) -> Any:
            # Reached only for slots that are empty so far.
            if name not in ("_views", "inputs", "layout"):
                raise AttributeError(name)
            Gradients.__init__(self, layout, self._flat)
            return object.__getattribute__(self, name)

    FreshGradients.__name__ = FreshGradients.__qualname__ = "Gradients"
    return FreshGradients


def values_for(name: str, value: object, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> Array:
    """Read a value as an array of real numbers of one shape.

    Raises
    ------
    ArrayError
        If it has another shape, or elements that are no real numbers.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArrayError(f"The {what} '{name}' cannot be read as an array: {error}.") from error
    if array.dtype.kind not in "fiub":
        raise ArrayError(f"The {what} '{name}' must hold real numbers, and holds {array.dtype}.")
    if array.shape != shape:
        hint = "It has the elements, but not the shape: reshape or transpose it." if array.size == math.prod(shape) else ""
        raise ArrayError(f"The {what} '{name}' must have shape {shape}, and has {array.shape}.", hint=hint)
    return array.astype(dtype)


def gathered(layout: Layout, given: Mapping[str, Any], dtype: np.dtype[Any], what: str) -> Array:
    """Make one flat vector of the arrays of any mapping.

    Raises
    ------
    ArrayError
        If names are missing or unknown, or an array does not fit.
    """
    layout.check_names(given, what)
    flat = aligned(layout.size, dtype)
    for name, (start, end, shape) in layout.places.items():
        flat[start:end] = values_for(name, given[name], shape, dtype, what).reshape(-1)
    return flat
