"""What losses have in common: how prediction and target are compared, and how a loss averages."""

from __future__ import annotations

from collections.abc import Mapping

from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.layer import Layer
from bpcompile.language.standard_layers import axis_names
from bpcompile.language.value import Value

__all__ = ["applied", "check_classes", "check_values", "elementwise", "fraction", "non_negative",
           "positive_number", "shown"]  # fmt: skip


def shown(value: Value) -> str:
    """The shape of a value, for messages."""
    return "[" + ", ".join("n" if extent is None else str(extent) for extent in value.shape) + "]"


def elementwise(
    formula: str,
    kind: str,
    p: Value,
    y: Value,
    name: str | None,
    constants: Mapping[str, float] | None = None,
    summed: int = 0,
) -> Value:
    """The mean over an example's elements of a formula in ``{p}`` and ``{y}``; the last `summed` axes are summed.

    A formula that names ``{last}`` reduces over the last axis itself.
    """
    check_values(kind, p, y)
    p_axes, y_axes = list(p.shape[1:]), list(y.shape[1:])
    padding = {"p": "", "y": ""}
    if p_axes == [*y_axes, 1]:
        padding["p"] = "0"
    elif y_axes == [*p_axes, 1]:
        padding["y"] = "0"
    elif p_axes != y_axes:
        raise ShapeError(
            f"The loss '{kind}' compares '{p.name}' {shown(p)} with '{y.name}' {shown(y)}.",
            hint="Prediction and target need the same shape.",
        )
    count = min(len(p_axes), len(y_axes))
    indices = (*axis_names(count - 1), "i") if count else ()
    texts = {key: f"{key}[{','.join(['n', *indices, *padding[key]])}]" for key in ("p", "y")}
    own = "{last}" in formula
    if own and not count:
        raise ShapeError(f"The loss '{kind}' compares vectors, and '{p.name}' is {shown(p)}.")
    body = formula.format(**texts, last=indices[-1] if indices else "")
    kept = indices[: count - max(summed, own)]
    if summed and count:
        body = f"sum({body}, {', '.join(indices[count - summed :])})"
    right = f"mean({body}, {', '.join(kept)})" if kept else body
    return applied(Layer([f"l[n] = {right}"], inputs=("p", "y"), kind=kind, name=name, constants=constants), p, y)


def applied(layer: Layer, *values: Value) -> Value:
    """What a layer with one output returns."""
    result = layer(*values)
    return result if isinstance(result, Value) else result[0]


def check_values(kind: str, p: object, y: object) -> None:
    """Refuse what is no prediction or target with the batch in front."""
    for value in (p, y):
        if not isinstance(value, Value):
            raise LanguageError(
                f"The loss '{kind}' is called on {value!r}.",
                hint='Give the prediction and the target: Loss(z, y) with y = bp.Target("y", ...).',
            )
        if not value.shape or value.shape[0] is not None:
            raise ShapeError(f"The loss '{kind}' needs the batch as first axis; '{value.name}' has {shown(value)}.")


def positive_number(value: object, what: str) -> None:
    """Refuse what is no positive number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise LanguageError(f"'{what}' is a positive number, not {value!r}.")


def non_negative(value: object, what: str) -> None:
    """Refuse what is no number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise LanguageError(f"'{what}' is a number of at least 0, not {value!r}.")


def fraction(value: object, what: str = "label_smoothing") -> float:
    """Return a number from 0 up to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise LanguageError(f"'{what}' is a number from 0 up to 1, not {value!r}.")
    return float(value)


def check_classes(kind: str, z: Value, y: Value) -> None:
    """Refuse labels with more classes than there are scores."""
    if y.classes is not None and isinstance(z.shape[-1], int) and y.classes > z.shape[-1]:
        raise ShapeError(
            f"The loss '{kind}' has labels with {y.classes} classes in '{y.name}', and '{z.name}' has the shape"
            f" {shown(z)}: {z.shape[-1]} classes on its last axis.",
            hint="Give the last layer as many units as there are classes.",
        )
