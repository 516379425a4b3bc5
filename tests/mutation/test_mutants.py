"""The user's own gradient check goes red for every mutant, and is green without; a test of ours does for the rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.language.network import Network
from bpcompile.training.optimizers import Optimizer
from tests.mutation import noticed_by_tests
from tests.mutation.every import MUTANTS
from tests.mutation.mutants import Mutant
from tests.mutation.networks import CASES, FORMULAS, of_case, of_formula
from tests.mutation.noticed_by_tests import UNSEEN, UPDATES, Unseen
from tests.training import test_optimizers


def network_of(mutant: Mutant) -> Network:
    """The network that a mutant is tried on."""
    kind, _, operation = mutant.network.partition(" ")
    if kind == "formula":
        return of_formula(FORMULAS.get(operation, f"{operation}(z)"))
    return of_case(mutant.network)


def point(net: Network) -> dict[str, Any]:
    """Parameters and inputs between 0.2 and 0.9: every function is smooth there."""
    rng = np.random.default_rng(5)
    params = {name: rng.uniform(0.2, 0.9, info.shape) for name, info in net.parameters.items()}
    shapes = {k: (3, *(e for e in v.shape[1:] if e is not None)) for k, v in net.inputs.items()}
    arrays = {k: rng.integers(0, net.inputs[k].classes or 0, s) if net.inputs[k].integer else rng.uniform(0.2, 0.9, s)
              for k, s in shapes.items()}  # fmt: skip
    return {"params": params, **arrays}


def verdict(mutant: Mutant) -> str:
    """What the check says of the mutated generator."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        for setting in mutant.settings:
            patch.setattr(*setting)
        mutant.apply(patch)
        try:
            net = network_of(mutant)
            own = bp.compile(net, dtype="float64", threads=mutant.threads) if mutant.threads > 1 else None
            report = bp.check_gradients(net, model=own, backend=mutant.backend, **point(net))
        except Exception as error:
            return f"refused ({type(error).__name__})"
    return "survived" if report.passed else "red"


@cache
def green(name: str, backend: str, settings: tuple[Any, ...] = (), threads: int = 1) -> bool:
    mutant = Mutant("", name, lambda patch: None, backend, settings, threads)
    return verdict(mutant) == "survived"


def assert_noticed(mutant: Mutant) -> None:
    """Green without the mutant, red with it."""
    assert green(mutant.network, mutant.backend, mutant.settings, mutant.threads)
    assert verdict(mutant) == "red"


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.backend == "numpy"], ids=lambda m: m.name)
def test_mutant_is_noticed(mutant: Mutant) -> None:
    assert_noticed(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.backend == "c"], ids=lambda m: m.name)
def test_mutant_in_c_is_noticed(mutant: Mutant) -> None:
    assert_noticed(mutant)


@pytest.mark.parametrize("name", CASES)
def test_without_a_mutant_all_is_green(name: str) -> None:
    assert green(name, "numpy")


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, marks=pytest.mark.slow) if m.slow else m for m in UNSEEN], ids=lambda m: m.name
)
def test_a_test_notices(mutant: Unseen) -> None:
    assert noticed_by_tests.verdict(mutant) == "red"


@pytest.mark.parametrize(("optimizer", "step"), UPDATES, ids=lambda o: getattr(o, "name", ""))
def test_updates_without_a_mutant_are_right(optimizer: Optimizer, step: Callable[..., Any]) -> None:
    test_optimizers.test_epochs_are_the_steps_written_by_hand(optimizer, step)
