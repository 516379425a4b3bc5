"""Random networks: generated NumPy against PyTorch's gradients, generated C against generated NumPy."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.calculus.harness import network as one_layer
from tests.random import checks
from tests.random.c_runs import c_result
from tests.random.case import Case, arrays_of
from tests.random.choices import Drawn, Noted, Replayed, Seeded, shrunk
from tests.random.networks import network
from tests.random.regressions import FOUND
from tests.random.sweep import wrong

SEEDS = range(40)
C_SEEDS = range(5)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return network(Drawn(draw))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases(), st.integers(0, 4))
def test_gradients_are_those_of_pytorch(case: Case, seed: int) -> None:
    note(str(case))
    net, arrays, n = checks.case_arrays(case, seed)
    assert not checks.against_torch(net, arrays, n)


@pytest.mark.parametrize("seed", SEEDS)
def test_seeded(seed: int) -> None:
    case = network(Seeded(seed))
    net, arrays, n = checks.case_arrays(case, seed)
    assert not checks.against_torch(net, arrays, n, training=seed % 7 != 0), str(case)


@pytest.mark.parametrize("seed", range(50, 54))
def test_gradients_are_those_of_jax(seed: int) -> None:
    pytest.importorskip("jax")
    assert not wrong(Seeded(seed), seed, "jax")


@pytest.mark.parametrize("seed", range(60, 63))
@pytest.mark.parametrize("check", ["everywhere", "float32"])
def test_c_at_all_batch_sizes_and_threads(check: str, seed: int) -> None:
    assert not wrong(Seeded(seed), seed, check)


@pytest.mark.parametrize("seed", C_SEEDS)
def test_c_agrees(seed: int) -> None:
    case = network(Seeded(seed), draws=True)
    net, arrays, n = checks.case_arrays(case, seed)
    want = checks.run(checks.compiled(net, "numpy"), net, arrays, key=seed)
    assert not checks.differences(c_result(net, arrays, n, key=seed), want, 1e-11), str(case)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_c_agrees_on_many(seed: int) -> None:
    assert not wrong(Seeded(seed), seed, "everywhere")


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("n", [1, 3])
def test_regression(name: str, n: int) -> None:
    equations, inputs, options = FOUND[name]
    net = one_layer(equations, inputs, loss="l", **options)
    assert not checks.against_torch(net, arrays_of(net, n), n)


@pytest.mark.parametrize("name", ["a sum of ones", "a sum of an index", "the step of a recurrence that data choose",
                                  "place of a minimum over the batch, which does not come first",
                                  "a condition over lanes in the place of a scatter"])  # fmt: skip
def test_regression_in_c(name: str) -> None:
    equations, inputs, options = FOUND[name]
    net = one_layer(equations, inputs, loss="l", **options)
    arrays = arrays_of(net, 3)
    want = checks.run(checks.compiled(net, "numpy"), net, arrays)
    assert not checks.differences(c_result(net, arrays, 3), want, 1e-11)


def test_a_state_moves_in_training_alone() -> None:
    equations = ["s[i] = 0.5*s[i] + mean(x[n,i], n)", "l[n] = sum(x[n,i]*s[i], i)"]
    net = one_layer(equations, {"x": (2,)}, loss="l", state={"s": ("i",)})
    arrays = arrays_of(net, 3)
    for training in (True, False):
        assert not checks.against_torch(net, arrays, 3, training)
        moved = c_result(net, arrays, 3, training=training).state["net.s"]
        assert (moved == arrays["net.s"]).all() != training


def test_shrinking_finds_a_small_network() -> None:
    """A network that has a maximum in it shrinks to one equation or two."""
    noted = Noted(Seeded(3))
    assert "max(" in str(network(noted))
    small = network(Replayed(shrunk(noted.used, lambda c: "max(" in str(network(c)), 300)))
    assert "max(" in str(small) and len(str(small)) < 1200


def test_a_wrong_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpcompile.calculus import derivatives

    monkeypatch.setitem(derivatives.ROWS, "sin", lambda g, y, a: (g,))
    equations, inputs, options = FOUND["two copies of one value"]
    net = one_layer(equations, inputs, loss="l", **options)
    assert checks.against_torch(net, arrays_of(net, 3), 3)
    assert checks.against_jax(net, arrays_of(net, 3), 3)


def test_a_broken_rule_shrinks_to_what_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative of cos gets a wrong sign: what is left of a large network is a cosine and little else."""
    from bpcompile.calculus import derivatives

    row = derivatives.ROWS["cos"]
    monkeypatch.setitem(derivatives.ROWS, "cos", lambda g, y, a: tuple(-d for d in row(g, y, a)))
    seed = next(s for s in range(100) if wrong(noted := Noted(Seeded(s)), s, "pytorch"))
    small = str(network(Replayed(shrunk(noted.used, lambda c: bool(wrong(c, seed, "pytorch")), 300))))
    assert "cos(" in small and len(small.splitlines()) <= 12, small
