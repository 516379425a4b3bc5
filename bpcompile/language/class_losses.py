"""Losses over classes: labels or probabilities against logits, log probabilities or probabilities.

With class weights or ignored labels they divide by the sum of the weights, as PyTorch does, and so give a scalar ``l``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bpcompile.errors import LanguageError, ShapeError, named_options
from bpcompile.language.layer import Layer
from bpcompile.language.loss_parts import applied, check_classes, check_values, fraction, non_negative, positive_number, shown
from bpcompile.language.standard_layers import axis_names
from bpcompile.language.value import Value

__all__ = ["CategoricalCrossentropy", "CategoricalFocalCrossentropy", "NegativeLogLikelihood", "SoftmaxCrossEntropy"]


@named_options(LanguageError)
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
    smoothing = fraction(label_smoothing)
    return _over_classes(
        "softmax_cross_entropy", log_sum, prediction, target, smoothing, class_weights, ignore_index, name
    )


@named_options(LanguageError)
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


@named_options(LanguageError)
def CategoricalCrossentropy(
    prediction: Value,
    target: Value,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    ignore_index: int | None = None,
    name: str | None = None,
) -> Value:
    """Return ``-log(p[n, y[n]])`` for probabilities p, as a softmax in the last layer gives them.

    The logarithm of a softmax becomes one stable form, whichever layer the softmax stands in. Targets are labels or
    probabilities; from logits, and with the other options, it is `SoftmaxCrossEntropy`.
    """
    if from_logits:
        return SoftmaxCrossEntropy(prediction, target, label_smoothing, class_weights, ignore_index, name)
    check_values("categorical_crossentropy", prediction, target)
    axes = ",".join(["n", *axis_names(len(prediction.shape) - 2), "j"])
    log_p = Layer([f"log_p[{axes}] = log(p[{axes}])"], inputs=("p",), kind="log")
    return _over_classes(
        "categorical_crossentropy", "", applied(log_p, prediction), target, fraction(label_smoothing), class_weights,
        ignore_index, name,
    )  # fmt: skip


@named_options(LanguageError)
def CategoricalFocalCrossentropy(
    prediction: Value, target: Value, gamma: float = 2.0, alpha: float = 1.0, from_logits: bool = False, name: str | None = None
) -> Value:
    """Return ``alpha*(1 - p)**gamma * -log(p)`` for the probability p of the label (Lin et al. 2017, eq. 5).

    Parameters
    ----------
    prediction : Value
        Probabilities, or with `from_logits` logits, with the classes on the last axis.
    target : Value
        Integer labels, one axis fewer.
    gamma : float
        How much less an example counts that is right already.
    alpha : float
        A factor.
    """
    kind = "categorical_focal_crossentropy"
    positive_number(alpha, "alpha")
    non_negative(gamma, "gamma")
    check_values(kind, prediction, target)
    if not target.integer or target.shape != prediction.shape[:-1]:
        raise ShapeError(
            f"The loss '{kind}' compares '{prediction.name}' {shown(prediction)} with '{target.name}' {shown(target)}.",
            hint="It takes integer labels, with one axis fewer than the prediction.",
        )
    check_classes(kind, prediction, target)
    axes = axis_names(len(target.shape) - 1)
    at = ",".join(["n", *axes])
    hit = f"p[{at},y[{at}]]"
    log_p = f"{hit} - log(sum(exp(p[{at},j]), j))" if from_logits else f"log({hit})"
    cost = f"-alpha*(-expm1(log_p[{at}]))**gamma*log_p[{at}]"
    right = f"mean({cost}, {', '.join(axes)})" if axes else cost
    constants = {"alpha": alpha, "gamma": gamma}
    equations = [f"log_p[{at}] = {log_p}", f"l[n] = {right}"]
    layer = Layer(equations, inputs=("p", "y"), output="l", kind=kind, name=name, constants=constants)
    return applied(layer, prediction, target)


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
    check_values(kind, z, y)
    labels = y.integer and y.shape == z.shape[:-1]
    if len(z.shape) < 2 or not (labels or y.shape == z.shape):
        raise ShapeError(
            f"The loss '{kind}' compares '{z.name}' {shown(z)} with '{y.name}' {shown(y)}"
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
        return applied(Layer(equations, constants=constants, **options), z, y)
    check_classes(kind, z, y)
    hit = f"z[{at},y[{at}]]"
    if weights is None and ignore_index is None:
        body = f"{total} - {hit}" if total else f"-{hit}"
        if smoothing:
            body = f"{total} - (1 - smoothing)*{hit} - smoothing/classes*sum(z[{at},k], k)"
        right = f"mean({body}, {', '.join(axes)})" if axes else body
        return applied(Layer([f"l[n] = {right}"], constants=constants, **options), z, y)
    if ignore_index is not None:
        constants["ignored"] = int(ignore_index)
        options["exempt"] = {"y": (int(ignore_index),)}
    equations = _weighted_equations(total, hit, at, axes, smoothing, weights is not None, ignore_index is not None)
    return applied(Layer(equations, constants=constants, **options), z, y)


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
