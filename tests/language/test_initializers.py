"""Initializers have the variance they promise, and depend on the seed and the parameter alone."""

import numpy as np
import pytest

from bpcompile.errors import LanguageError
from bpcompile.language.initializers import fans, initial_values, initializer
from bpcompile.language.penalties import L1, L2, Penalty, penalty

SHAPE = (200, 100, 3)

VARIANCES = {"he": 2 / 300, "lecun": 1 / 300, "glorot": 2 / 500, "xavier": 2 / 500}


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("name", list(VARIANCES))
def test_variance(name, kind):
    values = initial_values("w", SHAPE, initializer(f"{name}_{kind}"), 0)
    assert values.shape == SHAPE and values.dtype == np.float64
    assert values.var() == pytest.approx(VARIANCES[name], rel=0.02)
    assert abs(values.mean()) < 4 * np.sqrt(VARIANCES[name] / values.size)
    if kind == "uniform":
        assert abs(values).max() <= np.sqrt(3 * VARIANCES[name])


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (4, 2, 3)])
def test_orthogonal(shape):
    values = initial_values("w", shape, initializer("orthogonal"), 0).reshape(shape[0], -1)
    small = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)


def test_constants_and_arguments():
    assert (initial_values("w", (2, 2), initializer("ones"), 0) == 1).all()
    assert (initial_values("w", (2, 2), initializer("constant(2.5)"), 0) == 2.5).all()
    assert (initial_values("w", (2,), initializer(3), 0) == 3).all()
    assert initial_values("w", (2,), initializer([1, 2]), 0).tolist() == [1, 2]
    values = initial_values("w", (500,), initializer("uniform(-2, 3)"), 0)
    assert -2 <= values.min() < -1.5 and 2.5 < values.max() <= 3
    assert initial_values("w", (5000,), initializer("normal(0.5)"), 0).std() == pytest.approx(0.5, rel=0.05)


def test_values_depend_on_seed_and_name_alone():
    one = initial_values("a.W", (3, 4), initializer("he_normal"), 5)
    np.testing.assert_array_equal(one, initial_values("a.W", (3, 4), initializer("he_normal"), 5))
    assert (one != initial_values("b.W", (3, 4), initializer("he_normal"), 5)).all()
    assert (one != initial_values("a.W", (3, 4), initializer("he_normal"), 6)).all()


def test_fans_follow_pytorch():
    assert fans((16, 3, 5, 5)) == (75, 16)
    assert fans(()) == (1, 1) and fans((7,)) == (1, 7)


@pytest.mark.parametrize("value", ["he_norml", "uniform(a)", "ones(1", "zeros(3)", None, object(), True])
def test_what_is_no_initializer_is_refused(value):
    if value == "ones(1":
        value = "ones(1, 2, 3"
    with pytest.raises(LanguageError):
        initializer(value, "w")


def test_a_wrong_shape_is_told():
    with pytest.raises(LanguageError, match="shape"):
        initial_values("w", (3,), initializer([1, 2]), 0)


def test_penalties():
    assert L1(0.1) + L2(0.2) == Penalty(0.1, 0.2) == penalty({"l1": 0.1, "l2": 0.2})
    for bad in (-1, float("nan"), "x", True):
        with pytest.raises(LanguageError):
            L2(bad)
    for bad in (3, {}, {"l3": 1}, {"l1": "x"}):
        with pytest.raises(LanguageError):
            penalty(bad)
