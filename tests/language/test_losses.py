"""Losses against their formulas in NumPy, and against PyTorch, values and the way they divide."""

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import LanguageError, ShapeError
from bpcompile.language.losses import LOSSES
from tests.oracle.interpreter import interpret

RNG = np.random.default_rng(7)
P = RNG.normal(size=(5, 4, 3))
R = RNG.normal(size=(5, 4, 3))
Q = RNG.uniform(0.1, 0.9, size=(5, 4, 3))
U = RNG.dirichlet(np.ones(3), size=(5, 4))
V = RNG.dirichlet(np.ones(3), size=(5, 4))
LABELS = RNG.integers(0, 3, size=(5, 4))
BITS = RNG.integers(0, 2, size=(5, 4, 3))


def value(loss, prediction, target, classes=None, **options):
    p = bp.Input("p", prediction.shape[1:])
    y = bp.Target("y", target.shape[1:], classes=classes)
    out = loss(p, y, name="loss", **options)
    net = bp.Network(loss=out)
    params = {name: info.initializer.fill(RNG, info.shape, 1, 1) for name, info in net.parameters.items()}
    return interpret(net, params, {"p": prediction, "y": target}).loss


def log_softmax(z):
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def focal(p, gamma):
    return -((1 - p) ** gamma) * np.log(p)


ELEMENTWISE = [
    (bp.MeanSquaredError, P, R, {}, lambda p, y: (p - y) ** 2),
    (bp.MeanAbsoluteError, P, R, {}, lambda p, y: abs(p - y)),
    (bp.Huber, P, R, {"delta": 0.7}, lambda p, y: np.where(abs(p - y) < 0.7, (p - y) ** 2 / 2, 0.7 * (abs(p - y) - 0.35))),
    (bp.LogCosh, P, R, {}, lambda p, y: np.log(np.cosh(p - y))),
    (bp.BinaryCrossentropy, Q, V, {}, lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p))),
    (bp.BinaryCrossentropy, P, V, {"from_logits": True}, lambda p, y: np.log1p(np.exp(p)) - y * p),
    (bp.Poisson, Q, V, {}, lambda p, y: p - y * np.log(p)),
    (bp.Poisson, P, V, {"log_input": True}, lambda p, y: np.exp(p) - y * p),
    (bp.Hinge, P, np.sign(R), {}, lambda p, y: np.maximum(0, 1 - y * p)),
    (bp.SquaredHinge, P, np.sign(R), {"margin": 2}, lambda p, y: np.maximum(0, 2 - y * p) ** 2),
    (bp.Quantile, P, R, {"quantile": 0.3}, lambda p, y: np.maximum(0.3 * (y - p), 0.7 * (p - y))),
    (bp.MeanSquaredLogarithmicError, Q, V, {}, lambda p, y: (np.log1p(p) - np.log1p(y)) ** 2),
    (bp.MeanAbsolutePercentageError, P, R, {}, lambda p, y: 100 * abs(p - y) / abs(y)),
    (bp.BinaryCrossentropy, Q, V, {"pos_weight": 3}, lambda p, y: -(3 * y * np.log(p) + (1 - y) * np.log(1 - p))),
    (bp.BinaryFocalCrossentropy, Q, 1.0 * BITS, {"gamma": 1.5}, lambda p, y: focal(np.where(y > 0, p, 1 - p), 1.5)),
    (bp.BinaryFocalCrossentropy, P, 1.0 * BITS, {"from_logits": True},
     lambda p, y: focal(1 / (1 + np.exp(np.where(y > 0, -p, p))), 2)),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "p", "y", "options", "formula"), ELEMENTWISE)
def test_elementwise_losses_average_over_an_examples_elements(loss, p, y, options, formula):
    assert value(loss, p, y, **options) == pytest.approx(formula(p, y).mean(), rel=1e-12)
    flat = (p[:, 0, 0], y[:, 0, 0])
    assert value(loss, *flat, **options) == pytest.approx(formula(*flat).mean(), rel=1e-12)


def test_a_trailing_axis_of_one_may_be_missing_in_the_target():
    expected = ((P[:, 0, :1] - R[:, :1, 0]) ** 2).mean()
    assert value(bp.MeanSquaredError, P[:, 0, :1], R[:, 0, 0]) == pytest.approx(expected)


def test_binary_labels_may_be_integers():
    smoothed = BITS * 0.9 + 0.05
    expected = (np.log1p(np.exp(P)) - smoothed * P).mean()
    assert value(bp.BinaryCrossentropy, P, BITS, 2, from_logits=True, label_smoothing=0.1) == pytest.approx(expected)
    assert value(bp.Hinge, P, BITS, 2) == pytest.approx(np.maximum(0, 1 - (2 * BITS - 1) * P).mean())


def test_log_cosh_does_not_overflow():
    loss = bp.LogCosh(bp.Input("p"), bp.Target("y"), name="loss")
    model = bp.compile(bp.Network(loss=loss), backend="numpy", dtype="float64")
    found, _ = model.value_and_grad(model.init(), p=np.array([1e3, -1e3]), y=np.zeros(2))
    assert found == pytest.approx(1e3 - np.log(2))


def test_kl_divergence_sums_over_classes_and_takes_zeros():
    expected = (V * (np.log(V) - np.log(U))).sum(-1).mean()
    assert value(bp.KLDivergence, U, V) == pytest.approx(expected)
    assert value(bp.KLDivergence, np.log(U), V, from_log=True) == pytest.approx(expected)
    hard = np.eye(3)[LABELS]
    assert value(bp.KLDivergence, U, hard) == pytest.approx(-(hard * np.log(U)).sum(-1).mean())


def test_softmax_cross_entropy_plain():
    picked = np.take_along_axis(log_softmax(P), LABELS[..., None], -1)
    assert value(bp.SoftmaxCrossEntropy, P, LABELS, 3) == pytest.approx(-picked.mean())
    assert value(bp.SoftmaxCrossEntropy, P[:, 0], LABELS[:, 0], 3) == pytest.approx(-picked[:, 0].mean())
    assert value(bp.SoftmaxCrossEntropy, P, V) == pytest.approx(-(V * log_softmax(P)).sum(-1).mean())
    assert value(bp.NegativeLogLikelihood, log_softmax(P), LABELS, 3) == pytest.approx(-picked.mean())


WEIGHTS = [0.2, 1.0, 3.0]
MASKED = np.where(np.arange(20).reshape(5, 4) % 3 == 0, -100, LABELS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("labels", [LABELS, MASKED, "probabilities"])
def test_softmax_cross_entropy_divides_as_pytorch_does(smoothing, weights, labels):
    torch = pytest.importorskip("torch", reason="needs the extra 'oracles'")
    target = V if isinstance(labels, str) else labels
    options = {"label_smoothing": smoothing, "class_weights": weights}
    if labels is MASKED:
        options["ignore_index"] = -100
    got = value(bp.SoftmaxCrossEntropy, P, target, 3 if target.ndim == 2 else None, **options)
    moved = torch.tensor(np.moveaxis(target, -1, 1) if target.ndim == 3 else target)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(np.moveaxis(P, -1, 1)),
        moved,
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        label_smoothing=smoothing,
    )
    assert got == pytest.approx(float(expected), rel=1e-12)


def test_weighted_and_masked_without_pytorch():
    picked = -np.take_along_axis(log_softmax(P), np.maximum(MASKED, 0)[..., None], -1)[..., 0]
    weight = np.where(MASKED >= 0, np.take(WEIGHTS, np.maximum(MASKED, 0)), 0)
    got = value(bp.SoftmaxCrossEntropy, P, MASKED, 3, class_weights=WEIGHTS, ignore_index=-100)
    assert got == pytest.approx((picked * weight).sum() / weight.sum())
    got = value(bp.NegativeLogLikelihood, log_softmax(P), MASKED, 3, ignore_index=-100)
    assert got == pytest.approx(picked[MASKED >= 0].mean())


def test_multi_class_hinge():
    z, y = P[:, 0], LABELS[:, 0]
    margins = np.maximum(0, 1 + z - np.take_along_axis(z, y[:, None], 1))
    margins[np.arange(5), y] = 0
    assert value(bp.Hinge, z, y, 3) == pytest.approx(margins.mean())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p, y: bp.MeanSquaredError(p, y), "same shape"),
        (lambda p, y: bp.MeanSquaredError(p, 3.0), "called on 3.0"),
        (lambda p, y: bp.Huber(p, p, delta=0), "positive number"),
        (lambda p, y: bp.SoftmaxCrossEntropy(p, bp.Target("t", (3,))), "integer labels"),
        (lambda p, y: bp.SoftmaxCrossEntropy(p, bp.Target("t", classes=5)), "5 classes"),
        (lambda p, y: bp.SoftmaxCrossEntropy(p, y, class_weights=[1, 2]), "4 numbers"),
        (lambda p, y: bp.SoftmaxCrossEntropy(p, y, label_smoothing=1.0), "label_smoothing"),
        (lambda p, y: bp.SoftmaxCrossEntropy(p, p, ignore_index=1), "probabilities"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises((LanguageError, ShapeError)) as caught:
        make(bp.Input("p", (4,)), bp.Target("y", classes=4))
    assert words in str(caught.value)


def test_spec_names():
    assert LOSSES["mse"] is bp.MeanSquaredError and LOSSES["softmax_cross_entropy"] is bp.SoftmaxCrossEntropy


def test_losses_of_whole_vectors():
    dot, lengths = (P * R).sum(-1), np.linalg.norm(P, axis=-1) * np.linalg.norm(R, axis=-1)
    assert value(bp.CosineSimilarity, P, R) == pytest.approx((1 - dot / lengths).mean())
    assert value(bp.CosineSimilarity, 0 * P, R) == 1
    dice = 1 - (2 * (Q * U).sum(-1) + 0.5) / (Q.sum(-1) + U.sum(-1) + 0.5)
    assert value(bp.Dice, Q, U, smooth=0.5) == pytest.approx(dice.mean())
    with pytest.raises(ShapeError, match="compares vectors"):
        bp.CosineSimilarity(bp.Input("p"), bp.Target("y"))


def test_classes_from_probabilities():
    hit = np.take_along_axis(U, LABELS[..., None], -1)[..., 0]
    assert value(bp.CategoricalCrossentropy, U, LABELS, 3) == pytest.approx(-np.log(hit).mean())
    assert value(bp.CategoricalCrossentropy, U, V) == pytest.approx(-(V * np.log(U)).sum(-1).mean())
    assert value(bp.CategoricalFocalCrossentropy, U, LABELS, 3, gamma=3.0) == pytest.approx(focal(hit, 3).mean())
    logits = np.take_along_axis(log_softmax(P), LABELS[..., None], -1)[..., 0]
    found = value(bp.CategoricalFocalCrossentropy, P, LABELS, 3, gamma=3.0, from_logits=True)
    assert found == pytest.approx(focal(np.exp(logits), 3).mean())
    found = value(bp.CategoricalCrossentropy, P, LABELS, 3, from_logits=True)
    assert found == pytest.approx(-logits.mean())


def test_a_softmax_in_another_layer_does_not_underflow():
    z, y = bp.Input("z", (3,)), bp.Target("y", classes=3)
    loss = bp.CategoricalCrossentropy(bp.Activation("softmax", name="p")(z), y)
    model = bp.compile(bp.Network(loss=loss), backend="numpy", dtype="float32", wrt=("z",))
    found, grads = model.value_and_grad(model.init(), z=np.array([[0.0, 300.0, 0.0]]), y=np.array([0]))
    assert found == pytest.approx(300)
    np.testing.assert_allclose(grads["z"], [[-1, 1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "p", "y"),
    [
        (bp.CosineSimilarity, P, R), (bp.Dice, Q, U), (bp.Quantile, P, R), (bp.SquaredHinge, P, np.sign(R)),
        (bp.BinaryFocalCrossentropy, Q, 1.0 * BITS), (bp.MeanSquaredLogarithmicError, Q, V),
        (bp.MeanAbsolutePercentageError, P, R), (bp.CategoricalCrossentropy, U, LABELS),
        (bp.CategoricalFocalCrossentropy, U, LABELS),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_gradients(loss, p, y):
    classes = 3 if y is LABELS else None
    out = loss(bp.Input("p", p.shape[1:]), bp.Target("y", y.shape[1:], classes=classes))
    assert bp.check_gradients(bp.Network(loss=out), None, p=p, y=y).passed


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_unknown_options_are_refused(loss):
    with pytest.raises(LanguageError, match="has no option 'naem'"):
        LOSSES[loss](bp.Input("p"), bp.Target("y"), naem="l")
