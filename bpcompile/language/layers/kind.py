"""What the kinds of layers of the library have in common: options, checks, and pieces of equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

from bpcompile.errors import LanguageError
from bpcompile.language.activations import activate, is_identity
from bpcompile.language.equation import Equation
from bpcompile.language.layer import Layer
from bpcompile.language.standard_layers import activation_equation
from bpcompile.language.symbols import Access, Index
from bpcompile.language.value import LayerBase, Value

__all__ = ["AXES", "LibraryLayer", "access", "activated", "axes_of", "extents_of", "number", "shifted", "whole"]

#: Names of the axes of a tensor after the batch, where they have no meaning of their own.
AXES = ("i", "j", "k", "l", "m", "o")


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

    def __post_init__(self) -> None:
        LayerBase.__init__(self, self.name, self.KIND)
        self.check()

    def check(self) -> None:
        """Refuse hyperparameters that mean nothing."""

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Raise an error that names the layer."""
        raise LanguageError(message, hint=hint, where=f"Layer '{self.label}'")

    def positive(self, **values: object) -> None:
        """Refuse what is no positive integer."""
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
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
        )


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
