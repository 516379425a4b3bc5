"""Where a generator's decisions come from: a seed, or hypothesis, which shrinks towards the first of every choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Choices(Protocol):
    """Decisions; the smaller the number, the simpler the network."""

    def integer(self, low: int, high: int) -> int: ...


class Seeded:
    """Decisions of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Drawn:
    """Decisions of hypothesis."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))


def pick(choices: Choices, options: Sequence[T]) -> T:
    """One of the options."""
    return options[choices.integer(0, len(options) - 1)]


def chance(choices: Choices, percent: int) -> bool:
    """True in so many of a hundred cases; the simplest is False."""
    return choices.integer(0, 99) >= 100 - percent
