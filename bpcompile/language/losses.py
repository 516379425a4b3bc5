"""Losses, as equations. ``Loss(prediction, target, **options)`` returns a value for `Network`.

A loss averages over the elements of an example; its tensor ``l[n]`` is averaged over the batch. Losses with class weights or
ignored labels divide by the sum of the weights, as PyTorch does, and so give a scalar ``l``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.layer import Layer
from bpcompile.language.standard_layers import axis_names
from bpcompile.language.value import Value

__all__ = [
    "LOSSES",
    "BinaryCrossentropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "NegativeLogLikelihood",
    "Poisson",
    "SoftmaxCrossEntropy",
]


def _shown(value: Value) -> str:
    return "[" + ", ".join("n" if extent is None else str(extent) for extent in value.shape) + "]"


def _elementwise(
    formula: str,
    kind: str,
    p: Value,
    y: Value,
    name: str | None,
    constants: Mapping[str, float] | None = None,
    summed: int = 0,
) -> Value:
    """The mean over an example's elements of a formula in ``{p}`` and ``{y}``; the last `summed` axes are summed."""
    _check_values(kind, p, y)
    p_axes, y_axes = list(p.shape[1:]), list(y.shape[1:])
    padding = {"p": "", "y": ""}
    if p_axes == [*y_axes, 1]:
        padding["p"] = "0"
    elif y_axes == [*p_axes, 1]:
        padding["y"] = "0"
    elif p_axes != y_axes:
        raise ShapeError(
            f"The loss '{kind}' compares '{p.name}' {_shown(p)} with '{y.name}' {_shown(y)}.",
            hint="Prediction and target need the same shape.",
        )
    count = min(len(p_axes), len(y_axes))
    indices = (*axis_names(count - 1), "i") if count else ()
    texts = {key: f"{key}[{','.join(['n', *indices, *padding[key]])}]" for key in ("p", "y")}
    body = formula.format(**texts)
    kept = indices[: count - summed] if summed else indices
    if summed and count:
        body = f"sum({body}, {', '.join(indices[count - summed :])})"
    right = f"mean({body}, {', '.join(kept)})" if kept else body
    return _apply(Layer([f"l[n] = {right}"], inputs=("p", "y"), kind=kind, name=name, constants=constants), p, y)


def _apply(layer: Layer, *values: Value) -> Value:
    result = layer(*values)
    return result if isinstance(result, Value) else result[0]


def _check_values(kind: str, p: object, y: object) -> None:
    for value in (p, y):
        if not isinstance(value, Value):
            raise LanguageError(
                f"The loss '{kind}' is called on {value!r}.",
                hint='Give the prediction and the target: Loss(z, y) with y = bp.Target("y", ...).',
            )
        if not value.shape or value.shape[0] is not None:
            raise ShapeError(f"The loss '{kind}' needs the batch as first axis; '{value.name}' has {_shown(value)}.")


def MeanSquaredError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``(p - y)**2``, averaged over an example's elements."""
    return _elementwise("({p} - {y})**2", "mean_squared_error", prediction, target, name)


def MeanAbsoluteError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``|p - y|``, averaged over an example's elements."""
    return _elementwise("abs({p} - {y})", "mean_absolute_error", prediction, target, name)


def Huber(prediction: Value, target: Value, delta: float = 1.0, name: str | None = None) -> Value:
    """Return ``(p - y)**2 / 2`` up to `delta`, and ``delta*(|p - y| - delta/2)`` beyond (Huber 1964)."""
    _positive_number(delta, "delta")
    formula = "where(abs({p} - {y}) <= delta, ({p} - {y})**2/2, delta*(abs({p} - {y}) - delta/2))"
    return _elementwise(formula, "huber", prediction, target, name, {"delta": delta})


def _positive_number(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise LanguageError(f"'{what}' is a positive number, not {value!r}.")


def LogCosh(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``log(cosh(p - y))``, as ``e + softplus(-2*e) - log(2)``, which does not overflow."""
    formula = "({p} - {y}) + softplus(-2*({p} - {y})) - log(2)"
    return _elementwise(formula, "log_cosh", prediction, target, name)


def BinaryCrossentropy(
    prediction: Value, target: Value, from_logits: bool = False, label_smoothing: float = 0.0, name: str | None = None
) -> Value:
    """Return ``-(y*log(p) + (1 - y)*log(1 - p))``; from logits, ``log(1 + exp(z)) - y*z``.

    Parameters
    ----------
    prediction : Value
        Probabilities, or with `from_logits` what a sigmoid would make into them. Logits are right over the whole range.
    target : Value
        Numbers between 0 and 1, or integer labels with ``classes=2``.
    label_smoothing : float
        Draws the labels towards 1/2 by this much.
    """
    smoothing = _fraction(label_smoothing)
    y = "{y}" if not smoothing else "({y}*(1 - smoothing) + smoothing/2)"
    formula = f"log(1 + exp({{p}})) - {y}*{{p}}" if from_logits else f"-({y}*log({{p}}) + (1 - {y})*log(1 - {{p}}))"
    constants = {"smoothing": smoothing} if smoothing else {}
    return _elementwise(formula, "binary_crossentropy", prediction, target, name, constants)


def _fraction(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise LanguageError(f"'label_smoothing' is a number from 0 up to 1, not {value!r}.")
    return float(value)


def KLDivergence(prediction: Value, target: Value, from_log: bool = False, name: str | None = None) -> Value:
    """Return ``sum(y*(log(y) - log(p)))`` over the last axis; with `from_log` the prediction is ``log(p)`` already."""
    log_p = "{p}" if from_log else "log({p})"
    formula = f"where({{y}} > 0, {{y}}*(log({{y}}) - {log_p}), 0)"
    return _elementwise(formula, "kl_divergence", prediction, target, name, summed=1)


def Poisson(prediction: Value, target: Value, log_input: bool = False, name: str | None = None) -> Value:
    """Return ``p - y*log(p)``; with `log_input` the prediction is ``log(p)``: ``exp(p) - y*p``."""
    formula = "exp({p}) - {y}*{p}" if log_input else "{p} - {y}*log({p})"
    return _elementwise(formula, "poisson", prediction, target, name)


def Hinge(prediction: Value, target: Value, margin: float = 1.0, name: str | None = None) -> Value:
    """Return ``relu(margin - y*p)`` for labels -1 and 1 (integer labels 0 and 1 are taken for them).

    With integer labels and one score a class, it is ``sum(relu(margin + z[j] - z[y]), j != y) / classes``.
    """
    _positive_number(margin, "margin")
    _check_values("hinge", prediction, target)
    if target.integer and len(target.shape) == len(prediction.shape) - 1 and prediction.shape[-1] != 1:
        lead = ",".join(["n", *axis_names(len(target.shape) - 1)])
        over = ", ".join(["j", *axis_names(len(target.shape) - 1)])
        body = f"where(j == y[{lead}], 0, relu(margin + z[{lead},j] - z[{lead},y[{lead}]]))"
        layer = Layer(
            [f"l[n] = mean({body}, {over})"], inputs=("z", "y"), kind="hinge", name=name, constants={"margin": margin}
        )
        _check_classes("hinge", prediction, target)
        return _apply(layer, prediction, target)
    sign = "(2*{y} - 1)" if target.integer else "{y}"
    return _elementwise(f"relu(margin - {sign}*{{p}})", "hinge", prediction, target, name, {"margin": margin})


def SoftmaxCrossEntropy(
    prediction: Value,
    target: Value,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    ignore_index: int | None = None,
    name: str | None = None,
) -> Value:
    """Return the cross-entropy of a softmax over the last axis of the logits.

    Parameters
    ----------
    prediction : Value
        Logits, with the classes on the last axis.
    target : Value
        Integer labels, one axis fewer: ``log(sum(exp(z[n,j]), j)) - z[n,y[n]]``; or probabilities of the same shape.
    label_smoothing : float
        Mixes the labels with the uniform distribution (Szegedy et al. 2016, section 7).
    class_weights : sequence of float, optional
        One weight a class. With integer labels, the mean divides by the sum of the weights of the labels.
    ignore_index : int, optional
        A label that does not count, such as -100.
    """
    log_sum = "log(sum(exp(z[{at},j]), j))"
    smoothing = _fraction(label_smoothing)
    return _over_classes(
        "softmax_cross_entropy", log_sum, prediction, target, smoothing, class_weights, ignore_index, name
    )


def NegativeLogLikelihood(
    prediction: Value,
    target: Value,
    class_weights: Sequence[float] | None = None,
    ignore_index: int | None = None,
    name: str | None = None,
) -> Value:
    """Return ``-z[n, y[n]]`` for log probabilities z; options as in `SoftmaxCrossEntropy`."""
    return _over_classes(
        "negative_log_likelihood", "", prediction, target, 0.0, class_weights, ignore_index, name
    )  # fmt: skip


def _check_classes(kind: str, z: Value, y: Value) -> None:
    if y.classes is not None and isinstance(z.shape[-1], int) and y.classes > z.shape[-1]:
        raise ShapeError(
            f"The loss '{kind}' has labels with {y.classes} classes in '{y.name}', and '{z.name}' has the shape"
            f" {_shown(z)}: {z.shape[-1]} classes on its last axis.",
            hint="Give the last layer as many units as there are classes.",
        )


def _over_classes(
    kind: str,
    log_sum: str,
    z: Value,
    y: Value,
    smoothing: float,
    class_weights: Sequence[float] | None,
    ignore_index: int | None,
    name: str | None,
) -> Value:
    _check_values(kind, z, y)
    labels = y.integer and y.shape == z.shape[:-1]
    if len(z.shape) < 2 or not (labels or y.shape == z.shape):
        raise ShapeError(
            f"The loss '{kind}' compares '{z.name}' {_shown(z)} with '{y.name}' {_shown(y)}"
            f"{'' if y.integer else ', which is real'}.",
            hint=f'It takes integer labels, bp.Target("{y.name}", {z.shape[1:-1]!r}, classes=...), or probabilities of the'
            " prediction's shape.",
        )
    extent = z.shape[-1] or 1
    weights = _class_weights(class_weights, extent)
    axes = axis_names(len(z.shape) - 2)
    at = ",".join(["n", *axes])
    options: dict[str, Any] = {"inputs": ("z", "y"), "kind": kind, "name": name, "output": "l"}
    if weights is not None:
        options |= {"parameters": {"w": ("j",)}, "initializers": {"w": weights}, "frozen": ("w",)}
    constants = {"smoothing": smoothing, "classes": extent} if smoothing else {}
    total = log_sum.format(at=at)
    if not labels:
        equations = _probability_equations(total, at, axes, smoothing, weights is not None)
        if ignore_index is not None:
            raise LanguageError(f"The loss '{kind}' ignores labels; its target '{y.name}' holds probabilities.")
        return _apply(Layer(equations, constants=constants, **options), z, y)
    _check_classes(kind, z, y)
    hit = f"z[{at},y[{at}]]"
    if weights is None and ignore_index is None:
        body = f"{total} - {hit}" if total else f"-{hit}"
        if smoothing:
            body = f"{total} - (1 - smoothing)*{hit} - smoothing/classes*sum(z[{at},k], k)"
        right = f"mean({body}, {', '.join(axes)})" if axes else body
        return _apply(Layer([f"l[n] = {right}"], constants=constants, **options), z, y)
    if ignore_index is not None:
        constants["ignored"] = int(ignore_index)
        options["exempt"] = {"y": (int(ignore_index),)}
    equations = _weighted_equations(total, hit, at, axes, smoothing, weights is not None, ignore_index is not None)
    return _apply(Layer(equations, constants=constants, **options), z, y)


def _probability_equations(total: str, at: str, axes: Sequence[str], smoothing: float, weighted: bool) -> list[str]:
    share = f"((1 - smoothing)*y[{at},k] + smoothing/classes)" if smoothing else f"y[{at},k]"
    factor = "w[k]*" if weighted else ""
    if not total:
        body = f"-sum({factor}{share}*z[{at},k], k)"
        return [f"l[n] = mean({body}, {', '.join(axes)})" if axes else f"l[n] = {body}"]
    body = f"sum({factor}{share}*(s[{at}] - z[{at},k]), k)"
    return [f"s[{at}] = {total}", f"l[n] = mean({body}, {', '.join(axes)})" if axes else f"l[n] = {body}"]


def _weighted_equations(
    total: str, hit: str, at: str, axes: Sequence[str], smoothing: float, weighted: bool, masked: bool
) -> list[str]:
    """``c`` is the cost and ``v`` the weight of each label; ``l = sum c / sum v`` over the whole batch."""
    label = f"y[{at}]"
    weight = f"w[{label}]" if weighted else "1"
    cost = f"(s[{at}] - {hit})" if total else f"(-{hit})"
    cost = f"{weight}*{cost}" if weighted else cost[1:-1]
    if smoothing:
        factor = "w[k]*" if weighted else ""
        cost = f"(1 - smoothing)*({cost}) + smoothing/classes*sum({factor}(s[{at}] - z[{at},k]), k)"
    guard = f"where({label} != ignored, {{}}, 0)" if masked else "{}"
    over = ", ".join(["n", *axes])
    shared = [f"s[{at}] = {total}"] if total else []
    return [
        *shared,
        f"c[{at}] = {guard.format(cost)}",
        f"v[{at}] = {guard.format(weight)}",
        f"l = sum(c[{at}], {over})/sum(v[{at}], {over})",
    ]


def _class_weights(weights: Sequence[float] | None, extent: int) -> list[float] | None:
    if weights is None:
        return None
    try:
        values = [float(w) for w in weights]
    except (TypeError, ValueError):
        values = []
    if len(values) != extent or any(not value >= 0 for value in values):
        raise LanguageError(f"'class_weights' needs {extent} numbers >= 0, one for each class, not {weights!r}.")
    return values


#: Losses by the names that spec files use.
LOSSES: dict[str, Callable[..., Value]] = {
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "binary_crossentropy": BinaryCrossentropy,
    "binary_cross_entropy": BinaryCrossentropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "hinge": Hinge,
    "kl_divergence": KLDivergence,
    "poisson": Poisson,
    "negative_log_likelihood": NegativeLogLikelihood,
    "nll": NegativeLogLikelihood,
}
