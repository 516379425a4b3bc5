"""The user's own gradient check goes red for every mutant, and is green without."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.language.network import Network
from tests.mutation.mutants import C_TEXT, MUTANTS, Mutant
from tests.mutation.networks import CASES, FORMULAS, of_case, of_formula


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
        mutant.apply(patch)
        try:
            net = network_of(mutant)
            report = bp.check_gradients(net, backend=mutant.backend, **point(net))
        except Exception as error:
            return f"refused ({type(error).__name__})"
    return "survived" if report.passed else "red"


@cache
def green(name: str, backend: str) -> bool:
    mutant = Mutant("", name, lambda patch: None, backend)
    return verdict(mutant) == "survived"


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m not in C_TEXT], ids=lambda m: m.name)
def test_mutant_is_noticed(mutant: Mutant) -> None:
    assert green(mutant.network, mutant.backend)
    assert verdict(mutant) == "red"


@pytest.mark.slow
@pytest.mark.parametrize("mutant", C_TEXT, ids=lambda m: m.name)
def test_mutant_in_c_is_noticed(mutant: Mutant) -> None:
    assert green(mutant.network, mutant.backend)
    assert verdict(mutant) == "red"


@pytest.mark.parametrize("name", CASES)
def test_without_a_mutant_all_is_green(name: str) -> None:
    assert green(name, "numpy")
