"""Windows that slide along an axis: where convolutions and pooling read, and how many outputs that gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bpcompile.language.layers.kind import LibraryLayer, shifted, whole

__all__ = ["Extents", "Padding", "Window", "per_axis", "windows_of"]

#: One number for all axes, or one for each.
Extents = int | Sequence[int]
#: "valid", "same", "causal", a number for all borders, a number for each axis, or a pair (before, after) for each.
Padding = str | int | Sequence[int | Sequence[int]]


@dataclass(frozen=True)
class Window:
    """``x[stride*i + dilation*p - before]`` for output `i` and place `p` in the window.

    Attributes
    ----------
    extent : int
        How many elements are read from.
    size, stride, dilation : int
        The window.
    before, after : int
        How many elements of padding stand at the two ends.
    """

    extent: int
    size: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def span(self) -> int:
        """How many elements there are from the first to the last that the window reads."""
        return self.dilation * (self.size - 1) + 1

    @property
    def outputs(self) -> int:
        """How often the window fits."""
        return (self.extent + self.before + self.after - self.span) // self.stride + 1

    def rounded_up(self) -> Window:
        """The window with one more place, where it starts inside and reaches beyond the end."""
        left = self.extent + self.before + self.after - self.span
        more = self.stride * -(-left // self.stride) - left
        if not more or (self.outputs * self.stride) >= self.extent + self.before:
            return self
        return replace(self, after=self.after + more)

    def start(self, i: str) -> str:
        """The subscript of the first element, which may lie in the padding."""
        return shifted(_times(self.stride, i), -self.before)

    def subscript(self, i: str, p: str) -> str:
        """The subscript of element `p` of window `i`."""
        if self.size == self.extent and self.outputs == 1 and not self.before and not self.after and self.dilation == 1:
            return p
        terms = [_times(self.stride, i), *([_times(self.dilation, p)] if self.size > 1 else [])]
        return shifted(" + ".join(terms), -self.before)


def _times(factor: int, index: str) -> str:
    return index if factor == 1 else f"{factor}*{index}"


def per_axis(layer: LibraryLayer, what: str, value: Extents, count: int, least: int = 1) -> tuple[int, ...]:
    """Return one integer for each axis.

    Raises
    ------
    LanguageError
        If `value` is neither an integer nor a sequence of as many integers as there are axes.
    """
    listed = (value,) * count if isinstance(value, int) else tuple(value)
    if len(listed) != count or not all(whole(v) and v >= least for v in listed):
        layer.refuse(
            f"'{what}' is {value!r}.", f"Give an integer of at least {least}, or one for each of the {count} axes."
        )
    return listed


def _ends(layer: LibraryLayer, padding: Padding, extents: Sequence[int], windows: Sequence[Window]) -> list[tuple[int, int]]:
    """How much padding stands before and after each axis."""
    if padding == "valid":
        return [(0, 0)] * len(extents)
    if padding == "causal" and len(extents) == 1:
        return [(windows[0].span - 1, 0)]
    if padding == "same":
        totals = [max((-(-w.extent // w.stride) - 1) * w.stride + w.span - w.extent, 0) for w in windows]
        return [(total // 2, total - total // 2) for total in totals]
    hint = "Padding is 'valid', 'same', an integer, an integer for each axis, or a pair (before, after) for each."
    if isinstance(padding, str):
        layer.refuse(f"'padding' is {padding!r}.", hint)
    listed: list[object] = [padding] * len(extents) if isinstance(padding, int) else list(padding)
    pairs = [tuple(p) if isinstance(p, Sequence) else (p, p) for p in listed]
    if len(pairs) != len(extents) or not all(len(p) == 2 and all(whole(v) and v >= 0 for v in p) for p in pairs):
        layer.refuse(f"'padding' is {padding!r}.", hint)
    return [(p[0], p[1]) for p in pairs]


def windows_of(
    layer: LibraryLayer,
    extents: Sequence[int],
    size: Extents,
    strides: Extents,
    padding: Padding,
    dilation: Extents = 1,
    size_name: str = "kernel_size",
) -> tuple[Window, ...]:
    """Return the windows of a layer, one for each axis that they slide along.

    Raises
    ------
    LanguageError
        If a hyperparameter means nothing, or a window is larger than what it reads.
    """
    count = len(extents)
    sizes = per_axis(layer, size_name, size, count)
    steps = per_axis(layer, "strides", strides, count)
    dilations = per_axis(layer, "dilation_rate", dilation, count)
    bare = [Window(*row) for row in zip(extents, sizes, steps, dilations, strict=True)]
    ends = _ends(layer, padding, extents, bare)
    found = tuple(
        Window(w.extent, w.size, w.stride, w.dilation, before, after)
        for w, (before, after) in zip(bare, ends, strict=True)
    )
    for w in found:
        if w.outputs < 1:
            layer.refuse(
                f"A window over {w.span} elements does not fit into {w.extent} with a padding of {w.before} and {w.after}.",
                "Make the kernel smaller, or pad: padding='same'.",
            )
    return found
