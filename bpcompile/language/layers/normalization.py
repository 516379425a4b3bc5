"""Normalization: what is subtracted and divided by, and over which axes it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bpcompile.language.layer import Layer
from bpcompile.language.layers.kind import LibraryLayer, access, axes_of, number
from bpcompile.language.value import LayerBase, Value

__all__ = ["BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
           "RMSNormalization", "UnitNormalization", "WeightNormalization"]  # fmt: skip


def _affine(scale: bool, center: bool, subscripts: Sequence[str]) -> tuple[str, str]:
    """What stands after the normalized element: ``*weight[...]`` and ``+ bias[...]``."""
    return (
        f"*{access('weight', *subscripts)}" if scale else "",
        f" + {access('bias', *subscripts)}" if center else "",
    )


def _parameters(scale: bool, center: bool, dims: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {**({"weight": tuple(dims)} if scale else {}), **({"bias": tuple(dims)} if center else {})}


def _starts(scale: bool, center: bool) -> dict[str, object]:
    return {**({"weight": "ones"} if scale else {}), **({"bias": "zeros"} if center else {})}


@dataclass(eq=False)
class BatchNormalization(LibraryLayer):
    """Each channel with mean 0 and variance 1 over the batch and all other axes (Ioffe and Szegedy 2015).

    While training, mean and variance are the batch's, and running ones follow them; otherwise the running ones are used.

    Parameters
    ----------
    axis : int
        The channels.
    momentum : float
        How far the running values move to the batch's at each step, as in PyTorch (Keras calls ``1 - momentum`` so).
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are a trained `bias` and `weight`.

    Notes
    -----
    Parameters ``weight``, ``bias``; states ``running_mean``, ``running_var`` (which gets the unbiased variance), as PyTorch's.
    """

    axis: int = 1
    momentum: float = 0.1
    epsilon: float = 1e-5
    center: bool = True
    scale: bool = True

    KIND: ClassVar[str] = "batch_normalization"

    def check(self) -> None:
        """A momentum between 0 and 1."""
        if not 0 <= self.momentum <= 1:
            self.refuse(f"'momentum' is {self.momentum!r}; a number from 0 to 1 was expected.")

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        place, axes = self.place(self.axis, inputs[0]), axes_of(inputs[0])
        c, over = axes[place], [a for a in axes if a != axes[place]]
        x, y, indices = access("x", *axes), access("y", *axes), ", ".join(over)
        count = "*".join(f"size({a})" for a in over)
        weight, bias = _affine(self.scale, self.center, (c,))
        m = number(self.momentum)
        return self.layer(
            [
                f"batch_mean[{c}] = mean({x}, {indices})",
                f"batch_variance[{c}] = mean(({x} - batch_mean[{c}])**2, {indices})",
                f"center[{c}] = where(training, batch_mean[{c}], running_mean[{c}])",
                f"variance[{c}] = where(training, batch_variance[{c}], running_var[{c}])",
                f"factor[{c}] = 1/sqrt(variance[{c}] + {number(self.epsilon)}){weight}",
                f"{y} = ({x} - center[{c}])*factor[{c}]{bias}",
                f"running_mean[{c}] = where(training, (1 - {m})*running_mean[{c}] + {m}*batch_mean[{c}], running_mean[{c}])",
                f"running_var[{c}] = where(training, (1 - {m})*running_var[{c}]"
                f" + {m}*batch_variance[{c}]*{count}/max({count} - 1, 1), running_var[{c}])",
            ],
            output="y",
            parameters=_parameters(self.scale, self.center, (c,)),
            state={"running_mean": (c,), "running_var": (c,)},
            initializers={**_starts(self.scale, self.center), "running_mean": "zeros", "running_var": "ones"},
        )


@dataclass(eq=False)
class LayerNormalization(LibraryLayer):
    """Each example with mean 0 and variance 1 over its last axes (Ba et al. 2016).

    Parameters
    ----------
    axis : int or sequence of int
        The axes; they are the last ones.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are a trained `bias` and `weight`, of the shape of the axes.
    """

    axis: int | Sequence[int] = -1
    epsilon: float = 1e-5
    center: bool = True
    scale: bool = True

    KIND: ClassVar[str] = "layer_normalization"

    def normalized(self, x: Value) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The axes before the normalized ones, and those."""
        listed = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        places = sorted(self.place(axis, x) for axis in listed)
        axes = axes_of(x)
        if not places or places != list(range(places[0], len(axes))):
            self.refuse(f"'axis' is {self.axis!r}, and these are not the last axes of {x!r}.")
        return axes[: places[0]], axes[places[0] :]

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        lead, over = self.normalized(inputs[0])
        x, y, indices = access("x", *lead, *over), access("y", *lead, *over), ", ".join(over)
        center, variance = access("center", *lead), access("variance", *lead)
        weight, bias = _affine(self.scale, self.center, over)
        return self.layer(
            [
                f"{center} = mean({x}, {indices})",
                f"{variance} = mean(({x} - {center})**2, {indices})",
                f"{y} = ({x} - {center})/sqrt({variance} + {number(self.epsilon)}){weight}{bias}",
            ],
            parameters=_parameters(self.scale, self.center, over),
            initializers=_starts(self.scale, self.center),
        )


@dataclass(eq=False)
class RMSNormalization(LayerNormalization):
    """Each example divided by its root mean square over its last axes (Zhang and Sennrich 2019).

    Parameters
    ----------
    axis : int or sequence of int
        The axes; they are the last ones.
    epsilon : float
        Added to the mean square.
    center, scale : bool
        Whether there are a trained `bias` (by default not) and `weight`, of the shape of the axes.
    """

    epsilon: float = 1e-6
    center: bool = False

    KIND: ClassVar[str] = "rms_normalization"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        lead, over = self.normalized(inputs[0])
        x, y, square = access("x", *lead, *over), access("y", *lead, *over), access("square", *lead)
        weight, bias = _affine(self.scale, self.center, over)
        return self.layer(
            [
                f"{square} = mean({x}**2, {', '.join(over)})",
                f"{y} = {x}/sqrt({square} + {number(self.epsilon)}){weight}{bias}",
            ],
            parameters=_parameters(self.scale, self.center, over),
            initializers=_starts(self.scale, self.center),
        )


@dataclass(eq=False)
class GroupNormalization(LibraryLayer):
    """Each group of channels (axis 1) of an example with mean 0 and variance 1 (Wu and He 2018).

    Parameters
    ----------
    groups : int
        The number of groups.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are a trained `bias` and `weight`, one for each channel.
    """

    groups: int = 32
    epsilon: float = 1e-5
    center: bool = True
    scale: bool = True

    KIND: ClassVar[str] = "group_normalization"

    def check(self) -> None:
        """A positive number of groups."""
        self.positive(groups=self.groups)

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        axes, channels = axes_of(inputs[0]), (*inputs[0].shape[1:], 1)[0] or 1
        if len(axes) < 2 or channels % self.groups:
            self.refuse(f"The channels of {inputs[0]!r} cannot be divided into {self.groups} groups.")
        return self.normalized(inputs[0], channels // self.groups)

    def normalized(self, value: Value, members: int) -> Layer:
        """The equations for groups of so many channels."""
        n, c, *rest = axes_of(value)
        grouped = "g" if members == 1 else f"{members}*g + m"
        group = c if members == 1 else f"{c}//{members}"
        over = [*(["m"] if members > 1 else []), *rest]
        if not over:
            self.refuse(f"In {value!r} each group has one element, and its variance is 0.")
        member, x = access("x", n, grouped if members > 1 else c, *rest), access("x", n, c, *rest)
        g = "g" if members > 1 else c
        weight, bias = _affine(self.scale, self.center, (c,))
        sizes = {"g": (value.shape[1] or 0) // members, "m": members} if members > 1 else {}
        return self.layer(
            [
                f"center[n,{g}] = mean({member}, {', '.join(over)})",
                f"variance[n,{g}] = mean(({member} - center[n,{g}])**2, {', '.join(over)})",
                f"{access('y', n, c, *rest)} = ({x} - center[n,{group}])"
                f"/sqrt(variance[n,{group}] + {number(self.epsilon)}){weight}{bias}",
            ],
            parameters=_parameters(self.scale, self.center, (c,)),
            sizes=sizes,
            initializers=_starts(self.scale, self.center),
        )


@dataclass(eq=False)
class InstanceNormalization(GroupNormalization):
    """Each channel (axis 1) of an example with mean 0 and variance 1 (Ulyanov et al. 2016).

    Parameters
    ----------
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are a trained `bias` and `weight`, one for each channel; by default not, as in PyTorch.
    """

    groups: int = 1
    center: bool = False
    scale: bool = False

    KIND: ClassVar[str] = "instance_normalization"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        if len(inputs[0].shape) < 3:
            self.refuse(f"The layer is called on {inputs[0]!r}, and reads tensors [n, channel, ...].")
        return self.normalized(inputs[0], 1)


@dataclass(eq=False)
class UnitNormalization(LibraryLayer):
    """Each example divided by its Euclidean length along an axis: ``y = x/sqrt(max(sum(x**2), epsilon**2))``.

    Parameters
    ----------
    axis : int
        The axis; the first after the batch is 1.
    epsilon : float
        The least length that is divided by.
    """

    axis: int = -1
    epsilon: float = 1e-12

    KIND: ClassVar[str] = "unit_normalization"

    def build(self, *inputs: Value) -> Layer:
        """Return the equations for the rank of the input."""
        place, axes = self.place(self.axis, inputs[0]), axes_of(inputs[0])
        square = access("square", *axes[:place], *axes[place + 1 :])
        x = access("x", *axes)
        least = number(self.epsilon * self.epsilon)
        return self.layer(
            [f"{square} = sum({x}**2, {axes[place]})", f"{access('y', *axes)} = {x}/sqrt(max({square}, {least}))"]
        )


@dataclass(eq=False)
class WeightNormalization(LibraryLayer):
    """Another layer, whose weight is a direction times a trained length (Salimans and Kingma 2016).

    ``weight[o,...] = weight_g[o,...]*weight_v[o,...]/|weight_v[o]|``

    Parameters
    ----------
    inner : layer
        The layer whose weight is replaced.
    parameter : str, optional
        Which of its parameters; by default ``weight`` or ``W``.

    Notes
    -----
    Parameters ``<parameter>_v`` of the weight's shape and ``<parameter>_g`` with extents 1 after the first, as of PyTorch's
    ``weight_norm``.
    """

    inner: LayerBase
    parameter: str = ""

    KIND: ClassVar[str] = "weight_normalization"
    IN_SPECS: ClassVar[bool] = False

    def build(self, *inputs: Value) -> Layer:
        """Return the inner layer's equations and those of its weight."""
        inner = self.inner.build(*inputs)
        known = [self.parameter] if self.parameter else ["weight", "W"]
        weight = next((name for name in known if name in inner.parameters), None)
        if weight is None:
            self.refuse(f"Layer '{self.inner.label}' has no parameter {' or '.join(map(repr, known))}.")
        axes = [f"v{k}" for k in range(len(inner.parameters[weight]))]
        dims = inner.parameters[weight]
        sizes = {a: d for a, d in zip(axes, dims, strict=True) if isinstance(d, int)}
        slots = tuple(a if isinstance(d, int) else d for a, d in zip(axes, dims, strict=True))
        first, rest = str(slots[0]), [str(s) for s in slots[1:]]
        over = ", ".join(axes[1:])
        direction = access(f"{weight}_v", first, *axes[1:])
        length = access(f"{weight}_g", first, *("0" for _ in rest))
        starts = {k: v for k, v in inner.initializers.items() if k != weight}
        if weight in inner.initializers:
            starts[f"{weight}_v"] = inner.initializers[weight]
        return Layer(
            [
                f"{weight}_norm[{first}] = sqrt(sum({direction}**2, {over}))",
                f"{access(weight, first, *rest)} = {length}*{access(f'{weight}_v', first, *rest)}/{weight}_norm[{first}]",
                *inner.equations,
            ],
            parameters={
                f"{weight}_g": (first, *(1 for _ in rest)),
                f"{weight}_v": slots,
                **{k: v for k, v in inner.parameters.items() if k != weight},
            },
            sizes={**inner.sizes, **sizes},
            inputs=inner.inputs,
            output=inner.outputs,
            outside=inner.outside,
            state=inner.state,
            name=self.name,
            initializers={f"{weight}_g": "ones", **starts, **self.initializers},
            constants=inner.constants,
            penalties=self.penalties,
            shared=self.shared,
            frozen=() if self.trainable else (f"{weight}_g", f"{weight}_v"),
            kind=self.KIND,
            types=inner.types,
        )
