"""What layers are called on and what they return, and the record of such calls from which a network is read off."""

from __future__ import annotations

import inspect
import keyword
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from bpcompile.errors import LanguageError, NetworkError, check_arguments, named_options
from bpcompile.language.records import Shape, TensorInfo
from bpcompile.language.shapes import infer

if TYPE_CHECKING:
    from bpcompile.language.layer import Layer

__all__ = ["Application", "Input", "LayerBase", "Target", "Value", "WeightedLoss"]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the network that is being built.

    Attributes
    ----------
    name : str
        The global name; before a `Network` is built, unnamed layers stand in it by their kind.
    shape : tuple of int or None
        The extents; None is the batch, which comes first.
    integer : bool
        Whether the elements are integers.
    classes : int or None
        If told, they are ``0 .. classes - 1``.
    call : Application or None
        The layer call that gives the value; None for inputs and targets.
    """

    name: str
    shape: Shape
    role: str = "intermediate"
    integer: bool = False
    classes: int | None = None
    call: Application | None = None
    label: str = ""

    def __mul__(self, weight: float) -> WeightedLoss:
        return WeightedLoss(((_weight(weight), self),))

    __rmul__ = __mul__

    def __add__(self, other: Value | WeightedLoss) -> WeightedLoss:
        return WeightedLoss(((1.0, self),)) + other

    def __repr__(self) -> str:
        shape = ", ".join("n" if extent is None else str(extent) for extent in self.shape)
        return f"<{self.role} '{self.name}' [{shape}]{' integer' if self.integer else ''}>"


@dataclass(frozen=True)
class WeightedLoss:
    """A weighted sum of losses, as in ``0.3*auxiliary + main``."""

    terms: tuple[tuple[float, Value], ...]

    def __mul__(self, weight: float) -> WeightedLoss:
        factor = _weight(weight)
        return WeightedLoss(tuple((factor * w, value) for w, value in self.terms))

    __rmul__ = __mul__

    def __add__(self, other: Value | WeightedLoss) -> WeightedLoss:
        if isinstance(other, Value):
            other = WeightedLoss(((1.0, other),))
        if not isinstance(other, WeightedLoss):
            raise LanguageError(f"A loss adds to losses, not to {other!r}.")
        return WeightedLoss(self.terms + other.terms)


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise LanguageError(
            f"The weight of a loss is a number, not {value!r}.",
            hint="To multiply tensors, use a layer: bp.Layer(['y[n,i] = a[n,i]*b[n,i]'])(a, b).",
        )
    return float(value)


@dataclass(frozen=True, eq=False)
class Application:
    """One call of a layer: which equations on which values, with the extents that follow."""

    owner: LayerBase
    layer: Layer
    inputs: tuple[Value, ...]
    extents: Mapping[str, int | None]
    tensors: Mapping[str, TensorInfo]


@cache
def _options(kind: type) -> inspect.Signature:
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name != "self"])


class _Kind(ABCMeta):
    """What makes layers: options that a kind does not have are refused with a sentence, and not with Python's own error."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """The options of the kind, for `help` and for editors."""
        return _options(cls)

    if not TYPE_CHECKING:  # to type checkers, a kind takes what its own __init__ takes

        def __call__(cls, *positional: Any, **named: Any) -> Any:
            check_arguments(cls.__signature__, positional, named, cls.__name__, LanguageError)
            return super().__call__(*positional, **named)


class LayerBase(metaclass=_Kind):
    """What can be called on values: a `Layer`, or a kind of layer whose equations depend on the shapes that come.

    A kind of the library derives from it and writes `build`, which returns a `Layer`. Calling one object twice shares its
    parameters.
    """

    reads_something: ClassVar[bool] = True
    """Whether `build` looks at what the layer is called on."""

    def __init__(self, name: str | None = None, kind: str = "layer") -> None:
        self.name = None if name is None else check_name(name, f"A layer of kind '{kind}'")
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.label}'>"

    @property
    def label(self) -> str:
        """How error messages call the layer."""
        return self.name or self.kind

    @abstractmethod
    def build(self, *inputs: Value) -> Layer:
        """Return the equations for these inputs."""

    def values(self, inputs: Sequence[Any]) -> tuple[Value, ...]:
        """Give what the layer is called on, one list of them spread out.

        Raises
        ------
        NetworkError
            If these are no values, or none where the layer reads one.
        """
        values = _spread(inputs)
        for value in values:
            if not isinstance(value, Value):
                raise NetworkError(
                    f"Layer '{self.label}' is called on {value!r}.",
                    hint=(
                        "A sum of values is a loss; bp.Add()(a, b) adds them element by element."
                        if isinstance(value, WeightedLoss)
                        else "Layers are called on bp.Input, bp.Target and what other layers return."
                    ),
                )
        if self.reads_something and not values:
            raise NetworkError(f"Layer '{self.label}' is called on nothing.", hint="Call it on what it is to read: layer(x).")
        return values

    def __call__(self, *inputs: Value) -> Value | tuple[Value, ...]:
        """Apply the layer to values, in the order of its inputs."""
        values = self.values(inputs)
        layer = self.build(*values)
        if len(values) != len(layer.inputs):
            raise NetworkError(
                f"Layer '{self.label}' reads {len(layer.inputs)} inputs ({', '.join(layer.inputs) or 'none'}),"
                f" and is called on {len(values)}.",
                hint="Without inputs=, every tensor that is read and nowhere defined counts as an input.",
            )
        extents, tensors = infer(layer, values, self.label)
        application = Application(self, layer, values, extents, tensors)
        results = tuple(_result(application, label, self.label) for label in layer.outputs)
        return results[0] if len(results) == 1 else results


def _result(application: Application, label: str, owner: str) -> Value:
    info = application.tensors[label]
    name = f"{owner}.{label}"
    return Value(name, info.shape, "intermediate", info.integer, info.classes, application, label)


def _spread(inputs: Sequence[Value | Sequence[Value]]) -> tuple[Value, ...]:
    if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
        return tuple(inputs[0])
    return tuple(inputs)  # type: ignore[arg-type]


def check_name(name: object, what: str) -> str:
    """Return `name` if it can name a layer, an input or a target.

    Raises
    ------
    NetworkError
        If it is no identifier.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise NetworkError(f"{what} is named {name!r}.", hint="A name is made of letters, digits and _.")
    return name


_RESERVED = ("params", "state", "key", "step", "training", "self", "loss")


def _leaf(role: str, name: str, shape: Sequence[int] | int, classes: int | None) -> Value:
    check_name(name, f"An {role}" if role == "input" else f"A {role}")
    if name in _RESERVED or keyword.iskeyword(name):
        raise NetworkError(
            f"The {role} cannot be called '{name}': calls take and give arrays by name, and that one is taken.",
            hint=f"Call it '{name}_'.",
        )
    extents = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    for extent in extents:
        if isinstance(extent, bool) or not isinstance(extent, int) or extent < 1:
            raise NetworkError(
                f"The {role} '{name}' has the shape {extents!r}.",
                hint="A shape is a tuple of positive integers; the batch is implied and left out.",
            )
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise NetworkError(f"The {role} '{name}' has {classes!r} classes.", hint="Their number is a positive integer.")
    return Value(name, (None, *extents), role, classes is not None, classes, None, name)


@named_options(NetworkError)
def Input(name: str, shape: Sequence[int] | int = (), classes: int | None = None) -> Value:
    """Return an input of the network.

    Parameters
    ----------
    name : str
        The name under which data is passed.
    shape : tuple of int
        The shape of one example; the batch index is implied, and first.
    classes : int, optional
        For integers ``0 .. classes - 1``, usable as a subscript: ``E[token[n,t], d]``.

    Examples
    --------
    >>> Input("x", (64,))
    <input 'x' [n, 64]>
    """
    return _leaf("input", name, shape, classes)


@named_options(NetworkError)
def Target(name: str, shape: Sequence[int] | int = (), classes: int | None = None) -> Value:
    """Return a target: what a loss compares with. Not needed to predict.

    Parameters
    ----------
    name : str
        The name under which data is passed.
    shape : tuple of int
        The shape for one example, for real targets and for several labels an example.
    classes : int, optional
        For integer labels ``0 .. classes - 1``.
    """
    return _leaf("target", name, shape, classes)
