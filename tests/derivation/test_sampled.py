"""The check of networks too large for differences of the cost: samples, differences of readers, and mutants of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.calculus.gradient import analyze, training
from bpcompile.calculus.record import Collected, Contribution, Step
from bpcompile.derivation import verify as verification
from bpcompile.derivation.checks import Check
from bpcompile.derivation.context import Options, context_of, prepared
from bpcompile.derivation.contraction import TooManyTerms, summed
from bpcompile.derivation.derive import derivation
from bpcompile.derivation.drawn import Drawn
from bpcompile.derivation.evaluate import Evaluator
from bpcompile.derivation.moving import readers, slope
from bpcompile.derivation.numeric import random_world
from bpcompile.nodes.expressions import Axis, Expr, axis, const, load, node, rebuild, reduce
from tests.derivation.networks import NETWORKS

SECTIONS = ("network", "chain", "layers", "general", "batch")


def classifier() -> bp.Network:
    """Dense layers whose forward pass alone is past the limit of the small check."""
    x, y = bp.Input("x", (300,)), bp.Target("y", classes=20)
    h = bp.Dense(200, activation="relu", name="hidden")(x)
    z = bp.Dense(20, name="output")(h)
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="classifier")


def images() -> bp.Network:
    """A convolution, pooling and a dense layer."""
    x, y = bp.Input("x", (3, 16, 16)), bp.Target("y", classes=5)
    c = bp.Conv2D(8, 5, padding=2, activation="tanh", name="conv")(x)
    z = bp.Dense(5, name="output")(bp.Flatten(name="flat")(bp.MaxPooling2D(name="pool")(c)))
    return bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="images")


def sequences() -> bp.Network:
    """A recurrent layer over many times."""
    x, y = bp.Input("x", (40, 24)), bp.Target("y", (4,))
    h = bp.SimpleRNN(32, name="cell")(x)
    z = bp.Dense(4, name="output")(h)
    return bp.Network(z, loss=bp.MeanSquaredError(z, y), name="sequences")


LARGE = {f.__name__: f for f in (classifier, images, sequences)}


def checked(network: bp.Network, change: Callable[[Step], Step] | None = None) -> Check:
    """The check of a derivation, perhaps of one whose record was tampered with."""
    calculus = analyze(network)
    program = training(calculus)
    if change is not None:
        before = list(calculus.record.steps)
        calculus.record.steps[:] = [change(step) for step in before]
        assert calculus.record.steps != before, "nothing was changed"
    return derivation(prepared(calculus, program, Options()), SECTIONS).check()


def red(check: Check) -> set[str]:
    return {r.equation.label for r in check.rows if not r.passed}


@pytest.mark.parametrize("name", list(LARGE))
def test_every_equation_of_a_large_network_holds(name: str) -> None:
    check = checked(LARGE[name]())
    assert red(check) == set()
    assert check.passed
    assert check.sampled
    assert all(r.elements <= 64 or r.elements == r.size for r in check.rows)
    gradients = [r for r in check.rows if r.equation.claim.kind == "gradient"]
    assert all(r.moved > 0 for r in check.rows)
    assert any(r.generated is not None for r in gradients)
    assert all(r.magnitude > 0 for r in gradients)


@pytest.mark.parametrize("name", list(LARGE))
def test_every_equation_holds_for_drawn_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MOST_FORWARD", 0)
    check = checked(LARGE[name]())
    assert red(check) == set()
    assert check.passed
    assert any("values drawn" in note for note in check.notes)


def negated(e: Expr | None) -> Expr | None:
    return None if e is None else node("neg", (e,))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("classifier", "hidden.a"),
        ("classifier", "hidden.W"),
        ("classifier", "output.b"),
        ("images", "conv.weight"),
        ("images", "conv.bias"),
        ("sequences", "cell.weight_hh_l0"),
        ("sequences", "cell.hidden_l0"),
    ],
)
@pytest.mark.parametrize("drawn", [False, True])
def test_a_flipped_sign_goes_red(name: str, tensor: str, drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if drawn:
        monkeypatch.setattr(verification, "MOST_FORWARD", 0)

    def change(step: Step) -> Step:
        if isinstance(step, Collected) and step.tensor == tensor:
            return replace(step, simplified=negated(step.simplified))
        return step

    assert f"gradient.{tensor}" in red(checked(LARGE[name](), change))


def turned(e: Expr | None) -> Expr | None:
    """The recurrent weight with its indices the other way round."""
    if e is None:
        return None
    return rebuild(e, lambda x: load(x.value[0], x.args[::-1]) if x.op == "load" and x.value[0] == "square.W" else None)


def test_a_dropped_transpose_goes_red() -> None:
    x, y = bp.Input("x", (200,)), bp.Target("y", (200,))
    h = bp.Dense(200, activation="tanh", name="hidden")(x)
    z = bp.Dense(200, name="square")(h)
    network = bp.Network(z, loss=bp.MeanSquaredError(z, y), name="large")

    def change(step: Step) -> Step:
        if isinstance(step, Collected) and step.tensor == "hidden.a":
            return replace(step, summed=turned(step.summed), simplified=turned(step.simplified))
        if isinstance(step, Contribution) and step.tensor == "hidden.a":
            return replace(step, gather=turned(step.gather))
        return step

    assert "gradient.hidden.a" in red(checked(network, change))


def test_a_wrong_local_derivative_goes_red() -> None:
    def change(step: Step) -> Step:
        if isinstance(step, Contribution) and step.tensor == "hidden.z":
            return replace(step, derivative=node("add", (step.derivative, const(0.5))))
        return step

    assert "local.hidden.a.hidden.z" in red(checked(classifier(), change))


def test_an_equation_that_cannot_be_evaluated_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpcompile.derivation.sampled.LIMIT", 10)
    check = checked(classifier())
    assert not check.passed
    assert any(r.lines == 0 and r.skipped for r in check.rows)


@pytest.mark.parametrize("name", ["logits", "convolution", "attention", "normalization", "embedding", "batch_statistics"])
def test_moving_the_readers_is_moving_the_cost(name: str) -> None:
    context = context_of(NETWORKS[name](), Options())
    world = random_world(context)
    world.values.arrays |= world.adjoints()
    read_by = readers(context)
    generator = np.random.default_rng(0)
    for tensor in context.collected:
        array = world.values.arrays.get(tensor)
        if array is None or tensor in context.view.definitions or tensor not in read_by:
            continue
        place = tuple(int(generator.integers(0, n)) for n in array.shape)
        found, _ = slope(context, world.values, read_by, tensor, place)
        assert found == pytest.approx(world.slope(tensor, place), abs=1e-7), tensor


def test_sums_are_what_they_say() -> None:
    i, j, k = Axis("i", 4), Axis("j", 5), Axis("k", 4)
    generator = np.random.default_rng(0)
    arrays = {"a": generator.normal(size=(4, 5)), "b": generator.normal(size=(5,)), "c": generator.normal(size=(4,))}
    values = Evaluator(arrays)
    delta = node("eq", (axis(i), node("sub", (axis(k), const(1)))))
    body = node("where", (delta, node("mul", (load("a", (axis(i), axis(j))), load("b", (axis(j),)))), const(0)))
    found = values.over(reduce("sum", (i, j), body), (k,))
    assert found == pytest.approx(np.array([0.0, *(arrays["a"] @ arrays["b"])[:3]]))
    two = node("sub", (reduce("sum", (j,), load("b", (axis(j),))), load("c", (axis(i),))))
    whole = values.over(reduce("sum", (i,), node("mul", (load("c", (axis(i),)), two))), ())
    assert float(whole) == pytest.approx(float(arrays["c"] @ (arrays["b"].sum() - arrays["c"])))


def test_a_missing_guard_shows() -> None:
    i, k = Axis("i", 4), Axis("k", 4)
    values = Evaluator({"a": np.ones(4)})
    shifted = load("a", (node("add", (axis(i), axis(k))),))
    assert np.isnan(values.over(reduce("sum", (i,), shifted), (k,))).tolist() == [False, True, True, True]


def test_too_many_terms_are_refused() -> None:
    big = Axis("i", 1000)
    with pytest.raises(TooManyTerms):
        summed(load("a", (axis(big),)), (big,), {}, Evaluator({"a": np.ones(1000)}).value, lambda _: 1000, 10)


def test_drawn_numbers_depend_on_their_place_alone() -> None:
    drawn = Drawn((50, 60), 7)
    rows, columns = np.arange(50).reshape(-1, 1), np.arange(60)
    whole = drawn.read([rows, columns])
    assert whole[3, 4] == drawn.read([np.asarray(3), np.asarray(4)])
    assert np.isnan(drawn.read([np.asarray(50), np.asarray(0)]))
    assert 0.2 <= np.abs(whole).min() < np.abs(whole).max() <= 0.9
    assert abs(whole.mean()) < 0.05
    assert np.unique(whole).size == whole.size
    assert set(np.unique(Drawn((500,), 1, 7).read([np.arange(500)]))) == set(range(7))


def test_ten_million_units_take_no_memory() -> None:
    x, y = bp.Input("x", (48,)), bp.Target("y", classes=10_000_000)
    z = bp.Dense(10_000_000, name="wide")(x)
    check = bp.derive(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="wide")).check()
    assert not check.passed and "480,000,000 elements" in check.notes[0]


def test_a_picture_of_a_million_places_is_checked() -> None:
    x, y = bp.Input("x", (1024, 1024)), bp.Target("y", classes=10)
    z = bp.Dense(10, name="wide")(bp.Flatten(name="flat")(x))
    assert bp.derive(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y), name="picture")).check().passed
