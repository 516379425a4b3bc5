"""What a gradient check can afford: how many examples, how many elements of each tensor, and how carefully.

Two evaluations of the loss give a slope, some twenty-five give one that is right to ten digits. Where the loss is expensive,
first the care goes, then elements, then examples; a random direction through the whole of each tensor always stays. It meets
every element: an error in any of them shows in the slope along it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

THOROUGH: Final = 25
"""Evaluations of the loss that an extrapolated derivative takes."""
QUICK: Final = 5
"""Evaluations that a derivative by two central differences takes, most often."""
ALL_UP_TO: Final = 1500
"""Elements in all up to which every one is compared."""
FEWEST_EXAMPLES: Final = 2  # with one, a layer that normalizes over the batch has nothing to do
_DIRECTIONS: Final = 2  # where no element can be afforded
_SHARE: Final = 0.6  # of the budget, for the differences; the rest is for what cannot be foreseen


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes
    ----------
    thorough : bool
        Extrapolate every derivative.
    elements : int or None
        At most so many of each tensor, beside random directions; all of them and no direction for None.
    directions : int
        Random directions through each tensor.
    """

    thorough: bool
    elements: int | None
    directions: int


def plan(sizes: Sequence[int], each: float, budget: float, samples: int) -> Plan:
    """Choose what is compared.

    Parameters
    ----------
    sizes : sequence of int
        The elements of each tensor.
    each : float
        Seconds of one evaluation of the loss.
    budget : float
        Seconds for all.
    samples : int
        Elements of a large tensor that are compared if they can be afforded.
    """
    affordable = _SHARE * budget / max(each, 1e-9)
    sampled = sum(min(size, samples) + 1 for size in sizes)
    if sum(sizes) <= ALL_UP_TO and sum(sizes) * QUICK <= affordable:
        return Plan(sum(sizes) * THOROUGH <= affordable, None, 0)
    if sampled * QUICK <= affordable:
        return Plan(sampled * THOROUGH <= affordable, samples, 1)
    per_tensor = int(affordable / QUICK / max(len(sizes), 1))
    return Plan(False, max(0, min(samples, per_tensor - _DIRECTIONS)), max(1, min(_DIRECTIONS, per_tensor)))


def affordable_examples(timed: Callable[[int], float], most: int, tensors: int, budget: float) -> tuple[int, float]:
    """Choose the number of examples: as many as leave time for a few derivatives of every tensor.

    Parameters
    ----------
    timed : callable
        Seconds of one evaluation of the loss with so many examples.
    most : int
        At most so many.
    tensors : int
        How many tensors are checked.
    budget : float
        Seconds for all.

    Returns
    -------
    int
        The number of examples.
    float
        Seconds of one evaluation with them.
    """
    n = min(most, FEWEST_EXAMPLES)
    each = timed(n)
    limit = _SHARE * budget / (QUICK * (_DIRECTIONS + 2) * max(tensors, 1))
    while n < most:
        more = min(2 * n, most)
        if each * more / n > limit:
            break
        n, each = more, timed(more)
    return n, each


def shortest(call: Callable[[], object], times: int = 3, enough: float = 0.05) -> float:
    """Seconds of the fastest of some calls; one that takes long is not repeated."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        if best > enough:
            break
    return best
