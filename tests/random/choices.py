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


class Replayed:
    """Decisions read from a list, each brought into its range; the simplest one where the list has ended."""

    def __init__(self, values: Sequence[int]) -> None:
        self._values = list(values)
        self.used: list[int] = []

    def integer(self, low: int, high: int) -> int:
        place = len(self.used)
        value = self._values[place] if place < len(self._values) else 0
        self.used.append(min(max(value, 0), high - low))
        return low + self.used[-1]


class Noted:
    """Decisions of another source, written down (as distances from the simplest) for `Replayed`."""

    def __init__(self, source: Choices) -> None:
        self._source = source
        self.used: list[int] = []

    def integer(self, low: int, high: int) -> int:
        value = self._source.integer(low, high)
        self.used.append(value - low)
        return value


def shrunk(values: Sequence[int], fails: Callable[[Replayed], bool], tries: int = 400) -> list[int]:
    """A shorter and smaller list of decisions that still fails: parts are left out, set to zero, halved."""
    best = list(values)
    left = tries

    def attempt(candidate: list[int]) -> bool:
        nonlocal best, left
        if left <= 0 or candidate == best:
            return False
        left -= 1
        replay = Replayed(candidate)
        if not fails(replay):
            return False
        used = replay.used
        while used and used[-1] == 0:
            used.pop()
        if (len(used), used) >= (len(best), best):
            return False
        best = used
        return True

    changed = True
    while changed and left > 0:
        changed = False
        for width in (64, 32, 16, 8, 4, 2, 1):
            start = 0
            while start < len(best):
                if attempt(best[:start] + best[start + width :]) or attempt(
                    best[:start] + [0] * len(best[start : start + width]) + best[start + width :]
                ):
                    changed = True
                else:
                    start += width
        for k in range(len(best)):
            while k < len(best) and best[k] and attempt([*best[:k], best[k] // 2, *best[k + 1 :]]):
                changed = True
    return best
