"""The loop over epochs: what it reports, and what it does when training goes wrong or is stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.model import Model
from bpcompile.training.loop import Epoch, History, evaluate, fit
from tests.model.networks import classifier, clusters, regression, with_state


def part(data: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: array[rows] for name, array in data.items()}


@pytest.fixture(scope="module")
def model() -> Model:
    return bp.compile(classifier(), optimizer=bp.Adam(1e-2))


def test_training_learns_and_reports(model: Model) -> None:
    data = clusters(400)
    seen: list[Epoch] = []
    params = model.init()
    history = fit(
        model, params, part(data, slice(0, 300)), epochs=15, held_out=part(data, slice(300, None)),
        report=lambda epoch, _history: seen.append(epoch),
    )  # fmt: skip
    assert [e.number for e in history.epochs] == list(range(1, 16)) and history.epochs == seen
    assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss
    score = history.epochs[-1].held_out
    assert score is not None and score.accuracy is not None and score.accuracy > 0.95
    assert score == evaluate(model, params, part(data, slice(300, None)))
    assert history.examples == 15 * 300 and history.examples_per_second > 0
    again = model.init()
    fit(model, again, part(data, slice(0, 300)), epochs=15)
    np.testing.assert_array_equal(params.flat, again.flat)


def test_an_interruption_keeps_the_parameters(model: Model) -> None:
    params = model.init()
    kept: list[Any] = []

    def stop(epoch: Epoch, _history: History) -> None:
        if epoch.number == 2:
            kept.append(params.flat.copy())
            raise KeyboardInterrupt

    history = fit(model, params, clusters(60), epochs=10, report=stop)
    assert history.interrupted and len(history.epochs) == 2
    np.testing.assert_array_equal(params.flat, kept[0])


def test_a_loss_that_is_not_finite_ends_training_with_the_last_good_parameters() -> None:
    wild = bp.compile(regression(), optimizer=bp.SGD(1e30))
    params = wild.init()
    data = {"x": np.ones((64, 2)), "y": np.full((64, 2), 3.0)}
    with pytest.raises(bp.TrainingError, match=r"ended in epoch \d+\. Step \d+ gave NaN or infinity"):
        fit(wild, params, data, epochs=20, batch_size=4)
    assert np.isfinite(params.flat).all()


def test_regression_has_no_accuracy_and_states_stay_in_evaluation() -> None:
    stateful = bp.compile(with_state(), backend="numpy", optimizer=bp.SGD(1e-2))
    params, state = stateful.init(), stateful.init_state()
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(20, 3)), "y": rng.normal(size=(20, 2))}
    fit(stateful, params, data, epochs=2, state=state, batch_size=5)
    assert state.flat.any()
    before = state.flat.copy()
    score = evaluate(stateful, params, data, state=state)
    assert score.accuracy is None and np.isfinite(score.loss)
    np.testing.assert_array_equal(state.flat, before)
