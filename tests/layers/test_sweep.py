"""Every layer: all settings on the NumPy backend, a seeded sample of the whole sweep in C.

The whole: ``python -m tests.layers.sweep --full``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.layers.cases import Case
from tests.layers.sweep import CASES, check_c, check_numpy, grouped, sample

GROUPS = grouped(CASES, 6)
SAMPLE = grouped(sorted(sample(seed=1, count=18), key=lambda case: case.batch), 9)


@pytest.mark.parametrize("group", GROUPS, ids=[group[0].name for group in GROUPS])
def test_numpy_against_slopes_adjoint_and_torch(group: Sequence[Case]) -> None:
    failed = [check for check in check_numpy(group) if check.failed]
    assert not failed


def test_torch_is_here() -> None:
    pytest.importorskip("torch", reason="its comparisons are left out: pip install 'bpcompile[oracles]'")


@pytest.mark.parametrize("group", SAMPLE, ids=[group[0].name for group in SAMPLE])
def test_c_against_numpy(group: Sequence[Case]) -> None:
    failed = [check for check in check_c(group) if check.failed]
    assert not failed
