"""Losses, as equations. ``Loss(prediction, target, **options)`` returns a value for `Network`.

A loss averages over the elements of an example; its tensor ``l[n]`` is averaged over the batch. Losses with class weights or
ignored labels divide by the sum of the weights, as PyTorch does, and so give a scalar ``l``.
"""

from __future__ import annotations

from collections.abc import Callable

from bpcompile.errors import LanguageError, named_options
from bpcompile.language.class_losses import (
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    NegativeLogLikelihood,
    SoftmaxCrossEntropy,
)
from bpcompile.language.layer import Layer
from bpcompile.language.loss_parts import (
    applied,
    check_classes,
    check_values,
    elementwise,
    fraction,
    non_negative,
    positive_number,
)
from bpcompile.language.standard_layers import axis_names
from bpcompile.language.value import Value

__all__ = [
    "LOSSES",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "NegativeLogLikelihood",
    "Poisson",
    "Quantile",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
]


@named_options(LanguageError)
def MeanSquaredError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``(p - y)**2``, averaged over an example's elements."""
    return elementwise("({p} - {y})**2", "mean_squared_error", prediction, target, name)


@named_options(LanguageError)
def MeanAbsoluteError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``|p - y|``, averaged over an example's elements."""
    return elementwise("abs({p} - {y})", "mean_absolute_error", prediction, target, name)


@named_options(LanguageError)
def Huber(prediction: Value, target: Value, delta: float = 1.0, name: str | None = None) -> Value:
    """Return ``(p - y)**2 / 2`` up to `delta`, and ``delta*(|p - y| - delta/2)`` beyond (Huber 1964)."""
    positive_number(delta, "delta")
    formula = "where(abs({p} - {y}) <= delta, ({p} - {y})**2/2, delta*(abs({p} - {y}) - delta/2))"
    return elementwise(formula, "huber", prediction, target, name, {"delta": delta})


@named_options(LanguageError)
def LogCosh(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``log(cosh(p - y))``, which the compiler makes stable."""
    return elementwise("log(cosh({p} - {y}))", "log_cosh", prediction, target, name)


@named_options(LanguageError)
def BinaryCrossentropy(
    prediction: Value,
    target: Value,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    pos_weight: float = 1.0,
    name: str | None = None,
) -> Value:
    """Return ``-(y*log(p) + (1 - y)*log(1 - p))``; from logits, ``y*log(1 + exp(-z)) + (1 - y)*log(1 + exp(z))``.

    Parameters
    ----------
    prediction : Value
        Probabilities, or with `from_logits` what a sigmoid would make into them. Logits are right over the whole range.
    target : Value
        Numbers between 0 and 1, or integer labels with ``classes=2``.
    label_smoothing : float
        Draws the labels towards 1/2 by this much.
    pos_weight : float
        How much more the first term counts.
    """
    smoothing = fraction(label_smoothing)
    positive_number(pos_weight, "pos_weight")
    y = "{y}" if not smoothing else "({y}*(1 - smoothing) + smoothing/2)"
    # From logits log(1 + exp(z)) - y*z is shorter, but cancels where y is 1.
    hit = y if pos_weight == 1 else f"pos_weight*{y}"
    formula = f"-({hit}*log({{p}}) + (1 - {y})*log(1 - {{p}}))"
    if from_logits:
        formula = f"{hit}*log(1 + exp(-{{p}})) + (1 - {y})*log(1 + exp({{p}}))"
    constants = {"smoothing": smoothing} if smoothing else {}
    if pos_weight != 1:
        constants["pos_weight"] = pos_weight
    return elementwise(formula, "binary_crossentropy", prediction, target, name, constants)


@named_options(LanguageError)
def BinaryFocalCrossentropy(
    prediction: Value, target: Value, gamma: float = 2.0, from_logits: bool = False, name: str | None = None
) -> Value:
    """Return the binary cross-entropy times ``(1 - q)**gamma``, q the probability of the label (Lin et al. 2017, eq. 4).

    Parameters
    ----------
    prediction : Value
        Probabilities, or with `from_logits` what a sigmoid would make into them.
    target : Value
        Labels 0 and 1.
    gamma : float
        How much less an element counts that is right already.
    """
    non_negative(gamma, "gamma")
    hit, miss = ("1/(1 + exp(-{p}))", "1/(1 + exp({p}))") if from_logits else ("{p}", "(1 - {p})")
    log_hit, log_miss = ("-log(1 + exp(-{p}))", "-log(1 + exp({p}))") if from_logits else ("log({p})", "log(1 - {p})")
    formula = f"where({{y}} > 0.5, -({miss})**gamma*({log_hit}), -({hit})**gamma*({log_miss}))"
    return elementwise(formula, "binary_focal_crossentropy", prediction, target, name, {"gamma": gamma})


@named_options(LanguageError)
def KLDivergence(prediction: Value, target: Value, from_log: bool = False, name: str | None = None) -> Value:
    """Return ``sum(y*(log(y) - log(p)))`` over the last axis; with `from_log` the prediction is ``log(p)`` already."""
    log_p = "{p}" if from_log else "log({p})"
    formula = f"where({{y}} > 0, {{y}}*(log({{y}}) - {log_p}), 0)"
    return elementwise(formula, "kl_divergence", prediction, target, name, summed=1)


@named_options(LanguageError)
def CosineSimilarity(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return one minus the cosine of the angle between prediction and target along the last axis; 1 where one is zero."""
    squares = "sum({p}**2, {last})*sum({y}**2, {last})"
    formula = f"1 - sum({{p}}*{{y}}, {{last}})/sqrt(max({squares}, 1e-16))"
    return elementwise(formula, "cosine_similarity", prediction, target, name)


@named_options(LanguageError)
def Dice(prediction: Value, target: Value, smooth: float = 1.0, name: str | None = None) -> Value:
    """Return ``1 - (2*sum(p*y) + smooth)/(sum(p) + sum(y) + smooth)`` along the last axis (Milletari et al. 2016)."""
    non_negative(smooth, "smooth")
    formula = "1 - (2*sum({p}*{y}, {last}) + smooth)/(sum({p}, {last}) + sum({y}, {last}) + smooth)"
    return elementwise(formula, "dice", prediction, target, name, {"smooth": smooth})


@named_options(LanguageError)
def MeanSquaredLogarithmicError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``(log(1 + p) - log(1 + y))**2``, for numbers above -1."""
    return elementwise("(log1p({p}) - log1p({y}))**2", "mean_squared_logarithmic_error", prediction, target, name)


@named_options(LanguageError)
def MeanAbsolutePercentageError(prediction: Value, target: Value, name: str | None = None) -> Value:
    """Return ``100*|p - y|/max(|y|, 1e-7)``, as Keras has it."""
    formula = "100*abs({p} - {y})/max(abs({y}), 1e-7)"
    return elementwise(formula, "mean_absolute_percentage_error", prediction, target, name)


@named_options(LanguageError)
def Quantile(prediction: Value, target: Value, quantile: float = 0.5, name: str | None = None) -> Value:
    """Return ``q*(y - p)`` where the target lies above and ``(1 - q)*(p - y)`` below (Koenker and Bassett 1978)."""
    q = fraction(quantile, "quantile")
    formula = "where({y} > {p}, q*({y} - {p}), (1 - q)*({p} - {y}))"
    return elementwise(formula, "quantile", prediction, target, name, {"q": q})


@named_options(LanguageError)
def Poisson(prediction: Value, target: Value, log_input: bool = False, name: str | None = None) -> Value:
    """Return ``p - y*log(p)``; with `log_input` the prediction is ``log(p)``: ``exp(p) - y*p``."""
    formula = "exp({p}) - {y}*{p}" if log_input else "{p} - {y}*log({p})"
    return elementwise(formula, "poisson", prediction, target, name)


@named_options(LanguageError)
def Hinge(prediction: Value, target: Value, margin: float = 1.0, name: str | None = None) -> Value:
    """Return ``relu(margin - y*p)`` for labels -1 and 1 (integer labels 0 and 1 are taken for them).

    With integer labels and one score a class, it is ``sum(relu(margin + z[j] - z[y]), j != y) / classes``.
    """
    positive_number(margin, "margin")
    check_values("hinge", prediction, target)
    if target.integer and len(target.shape) == len(prediction.shape) - 1 and prediction.shape[-1] != 1:
        lead = ",".join(["n", *axis_names(len(target.shape) - 1)])
        over = ", ".join(["j", *axis_names(len(target.shape) - 1)])
        body = f"where(j == y[{lead}], 0, relu(margin + z[{lead},j] - z[{lead},y[{lead}]]))"
        layer = Layer(
            [f"l[n] = mean({body}, {over})"], inputs=("z", "y"), kind="hinge", name=name, constants={"margin": margin}
        )
        check_classes("hinge", prediction, target)
        return applied(layer, prediction, target)
    sign = "(2*{y} - 1)" if target.integer else "{y}"
    return elementwise(f"relu(margin - {sign}*{{p}})", "hinge", prediction, target, name, {"margin": margin})


@named_options(LanguageError)
def SquaredHinge(prediction: Value, target: Value, margin: float = 1.0, name: str | None = None) -> Value:
    """Return ``relu(margin - y*p)**2`` for labels -1 and 1 (integer labels 0 and 1 are taken for them)."""
    positive_number(margin, "margin")
    check_values("squared_hinge", prediction, target)
    sign = "(2*{y} - 1)" if target.integer else "{y}"
    formula = f"relu(margin - {sign}*{{p}})**2"
    return elementwise(formula, "squared_hinge", prediction, target, name, {"margin": margin})


#: Losses by the names that spec files use.
LOSSES: dict[str, Callable[..., Value]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "binary_cross_entropy": BinaryCrossentropy,
    "bce": BinaryCrossentropy,
    "binary_focal_crossentropy": BinaryFocalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": CategoricalCrossentropy,
    "categorical_focal_crossentropy": CategoricalFocalCrossentropy,
    "cosine_similarity": CosineSimilarity,
    "dice": Dice,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "log_cosh": LogCosh,
    "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
    "msle": MeanSquaredLogarithmicError,
    "mean_absolute_percentage_error": MeanAbsolutePercentageError,
    "mape": MeanAbsolutePercentageError,
    "quantile": Quantile,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "cross_entropy": SoftmaxCrossEntropy,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "kl_divergence": KLDivergence,
    "poisson": Poisson,
    "negative_log_likelihood": NegativeLogLikelihood,
    "nll": NegativeLogLikelihood,
}
