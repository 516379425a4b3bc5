"""What the kinds of layers of the library have in common: options, checks, and pieces of equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NoReturn

from bpcompile.errors import LanguageError
from bpcompile.language.activations import activate, is_identity
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.layers.hints import expected, fits, hints_of
from bpcompile.language.standard_layers import activation_equation
from bpcompile.language.symbols import Access, Index
from bpcompile.language.value import LayerBase, Value

__all__ = ["AXES", "LAYOUT", "PLACES", "TAPS", "LibraryLayer", "Spatial", "access", "activated", "axes_of", "extents_of",
           "number", "shifted", "whole"]  # fmt: skip

#: Names of the axes of a tensor after the batch, where they have no meaning of their own.
AXES = ("i", "j", "k", "l", "m", "o")
#: For sequences, images and volumes: how they lie, and the names of their places and of the places in a window.
LAYOUT = {1: "n, t, feature", 2: "n, channel, row, column", 3: "n, channel, depth, row, column"}
PLACES = {1: ("t",), 2: ("h", "w"), 3: ("d", "h", "w")}
TAPS = {1: ("p",), 2: ("p", "q"), 3: ("p", "q", "r")}


@dataclass(eq=False, kw_only=True)
class LibraryLayer(LayerBase):
    """A kind of layer: hyperparameters from which, with the shapes that come, equations are written.

    Parameters
    ----------
    name : str, optional
        The layer's name; its parameters are ``<name>.<parameter>``.
    trainable : bool
        Whether its parameters are trained.
    initializers : mapping
        How single parameters start, by their names; see `Layer`.
    penalties : mapping
        Penalties of single parameters, by their names.
    shared : mapping of str to str
        Parameters that are another layer's, such as ``{"weight": "embedding.weight"}``.
    """

    name: str | None = None
    trainable: bool = True
    initializers: Mapping[str, object] = field(default_factory=dict)
    penalties: Mapping[str, object] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    #: The name of the kind in spec files.
    KIND: ClassVar[str] = "layer"
    #: Whether a spec file can name the kind; those that are made of layer objects it cannot.
    IN_SPECS: ClassVar[bool] = True

    def __post_init__(self) -> None:
        LayerBase.__init__(self, self.name, self.KIND)
        hints = hints_of(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if not fits(value, hints[f.name]):
                self.refuse(f"'{f.name}' is {value!r}; {expected(hints[f.name])} was expected.")
        self.check()

    def check(self) -> None:
        """Refuse hyperparameters that mean nothing."""

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Raise an error that names the layer."""
        raise LanguageError(message, hint=hint, where=f"Layer '{self.label}'")

    def positive(self, **values: Any) -> None:
        """Refuse what is no positive integer."""
        for name, value in values.items():
            if not whole(value) or value < 1:
                self.refuse(f"'{name}' is {value!r}; a positive integer was expected.")

    def known_activation(self, **values: object) -> None:
        """Refuse what is no activation, where the layer is made and not only where it is called."""
        for value in values.values():
            if not is_identity(value):
                activate(value, Access("z", Index("n"), Index("j")))

    def probability(self, **values: float) -> None:
        """Refuse what is no probability below one."""
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
                self.refuse(f"'{name}' is {value!r}; a number at least 0 and below 1 was expected.")

    def one_of(self, known: Sequence[str], **values: object) -> None:
        """Refuse what is not among the known words."""
        for name, value in values.items():
            if value not in known:
                self.refuse(f"'{name}' is {value!r}.", f"It can be {', '.join(map(repr, known))}.")

    def shaped(self, x: Value, layout: str) -> tuple[int, ...]:
        """Return the extents after the batch, if there are as many as in `layout`, such as ``n, channel, row, column``."""
        if len(x.shape) != layout.count(",") + 1:
            self.refuse(f"The layer is called on {x!r}, and reads tensors [{layout}].")
        return extents_of(x)

    def place(self, axis: int, x: Value, what: str = "axis") -> int:
        """Return `axis` counted from the batch's axis 0, if the tensor has it and it is not the batch."""
        rank = len(x.shape)
        place = axis + rank if axis < 0 else axis
        if isinstance(axis, bool) or not isinstance(axis, int) or not 0 < place < rank:
            self.refuse(f"'{what}' is {axis!r}, and {x!r} has the axes 1 to {rank - 1} after the batch.")
        return place

    def layer(
        self,
        equations: Iterable[str | Equation],
        *,
        inputs: Sequence[str] = ("x",),
        output: str | Sequence[str] = "",
        parameters: Mapping[str, Sequence[str | int]] | None = None,
        sizes: Mapping[str, int] | None = None,
        outside: Mapping[str, float] | None = None,
        state: Mapping[str, Sequence[str | int]] | None = None,
        initializers: Mapping[str, object] | None = None,
        frozen: Sequence[str] = (),
        types: Mapping[str, str] | None = None,
    ) -> Layer:
        """Return the equations as a `Layer`, with the options that every kind takes."""
        return Layer(
            list(equations),
            parameters={key: tuple(dims) for key, dims in (parameters or {}).items()},
            sizes=sizes,
            inputs=inputs,
            output=output,
            outside=outside,
            state={key: tuple(dims) for key, dims in (state or {}).items()},
            name=self.name,
            initializers={**(initializers or {}), **self.initializers},
            frozen=tuple(frozen) if self.trainable else tuple(parameters or ()),
            penalties=self.penalties,
            shared=self.shared,
            kind=self.KIND,
            types=types,
        )


@dataclass(eq=False, kw_only=True)
class Spatial(LibraryLayer):
    """A layer of sequences ``[n, t, feature]``, images ``[n, channel, row, column]`` or volumes, by its rank."""

    RANK: ClassVar[int] = 2

    def read(self, x: Value) -> tuple[int, tuple[int, ...]]:
        """The number of channels and the other extents."""
        extents = self.shaped(x, LAYOUT[self.RANK])
        return (extents[-1], extents[:-1]) if self.RANK == 1 else (extents[0], extents[1:])

    def element(self, tensor: str, channel: str, places: Sequence[str]) -> str:
        """One element."""
        return access(tensor, "n", *places, channel) if self.RANK == 1 else access(tensor, "n", channel, *places)


def extents_of(x: Value) -> tuple[int, ...]:
    """The extents after the batch."""
    return tuple(extent for extent in x.shape[1:] if extent is not None)


def axes_of(x: Value) -> tuple[str, ...]:
    """Names for all axes, the batch's first."""
    return ("n", *AXES[: len(x.shape) - 1])


def access(tensor: str, *subscripts: str) -> str:
    """``x[n,i]``; a bare name where there are no subscripts."""
    return f"{tensor}[{','.join(subscripts)}]" if subscripts else tensor


def activated(equation: str, activation: object, *indices: str) -> list[str | Equation]:
    """Return the equation of ``z`` and, where there is an activation, the one of ``a``."""
    if is_identity(activation):
        return [equation]
    return [equation, activation_equation(activation, "a", "z", indices)]


def shifted(form: str, constant: int) -> str:
    """``form + constant``."""
    if constant == 0:
        return form
    return f"{form} {'+' if constant > 0 else '-'} {abs(constant)}"


def number(value: float) -> str:
    """A number as text that reads back as itself."""
    return repr(value) if isinstance(value, int) else repr(float(value))


def whole(value: object) -> bool:
    """Whether `value` is an integer, truth values left out."""
    return isinstance(value, int) and not isinstance(value, bool)
