"""Hyperparameters that mean nothing: every option of every kind of layer gets every hostile value."""

from __future__ import annotations

import inspect
import itertools
import warnings
from typing import Any

import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from bpcompile.language.kinds import KINDS, options_of

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 7, 2**31, 10**30, 0.0, -0.5, 0.5, 2.5, 1e308, float("inf"), float("nan"), "", "a", "relu", "same", "é",
    "a b", "$(x)", "9**9**9", [], [0], [-1], [2.5], ["a"], [1, 2, 3, 4, 5, 6, 7], [[1, 2], [3]], [None], (), {}, {"a": 1}, {"": {}}, {1: 2},
    object, b"x",
)  # fmt: skip
SHAPES: tuple[Any, ...] = ((6,), (4, 6), (2, 6, 6), (2, 4, 4, 4), (32, 2, 2), "tokens", ((6,), (6,)), ((4, 6), (4, 6)), ((6,), (6,), (6,)))
VALUES = (2, 1, 0.5, -1, "relu", (1,), (2, 1), (1, 2))


def inputs(shape: Any) -> list[Any]:
    if shape == "tokens":
        return [bp.Input("x0", (4,), classes=2)]
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    return [bp.Input(f"x{k}", s) for k, s in enumerate(shapes)]


def good(kind: str) -> tuple[dict[str, Any], Any] | None:
    """Options and inputs with which a kind works."""
    _, required = options_of(KINDS[kind])
    for values in itertools.product(VALUES, repeat=len(required)):
        for shape in SHAPES:
            given = dict(zip(required, values, strict=True))
            try:
                KINDS[kind](**given, name="layer")(*inputs(shape))
            except BPCompileError:
                continue
            return given, shape
    return None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_options_that_mean_nothing(kind: str) -> None:
    """Refused with an error of ours where the layer is made or called, or understood."""
    found = good(kind)
    if found is None:
        pytest.skip("takes layers")
    given, shape = found
    for option in inspect.signature(KINDS[kind]).parameters:
        for value in HOSTILE:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    KINDS[kind](**{"name": "layer", **given, option: value})(*inputs(shape))
            except BPCompileError as error:
                assert len(str(error)) > 20, f"{kind}: {option} = {value!r}: {error}"
            except Exception as error:
                raise AssertionError(f"{kind}: {option} = {value!r}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_calls_on_anything(kind: str) -> None:
    """Nothing, inputs of any rank, too many of them, texts and arrays: refused with an error of ours, or understood."""
    found = good(kind)
    if found is None:
        pytest.skip("takes layers")
    given, shape = found
    wanted = inputs(shape)
    calls: list[Any] = [(), ([],), ("x",), (None,), (3,), *(tuple(inputs(s)) for s in SHAPES), (*wanted, *wanted), (*wanted, "y")]
    calls += [(bp.Input("x0", ()),), (wanted[0], bp.Target("y", classes=3)), (bp.Target("y", classes=3),)]
    for arguments in calls:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                KINDS[kind](**{"name": "layer", **given})(*arguments)
        except BPCompileError as error:
            assert len(str(error)) > 20, f"{kind}{arguments}: {error}"
        except Exception as error:
            raise AssertionError(f"{kind}{arguments}: {type(error).__name__}: {error}") from error
