"""What a comparison of random networks takes for a difference."""

from __future__ import annotations

import numpy as np

from tests.random.checks import Found, differences


def test_an_oracle_that_overflows_says_nothing() -> None:
    """``log(sum(exp(x)))`` as typed is infinite beyond 709, and its slope NaN: ours is the stable form, and finite."""
    finite, nan = (Found(1.0, {"A": np.ones(2), "B": np.array([value])}) for value in (2.0, np.nan))
    assert differences(finite, nan, 1e-9) == []


def test_nan_where_the_oracle_is_finite_is_wrong() -> None:
    finite, nan = (Found(1.0, {"A": np.ones(2), "B": np.array([value])}) for value in (2.0, np.nan))
    assert len(differences(nan, finite, 1e-9)) == 1
