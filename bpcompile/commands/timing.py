"""Calls timed in turn: each contender a short while, one after another, many times over.

What disturbs the machine for a moment then disturbs all of them, and the median over the rounds forgets it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median and the least over the rounds, and the median of the processor's time.

    The processor's time counts all threads of the process; it differs from the clock's where something else ran.
    """

    median: float
    least: float
    processor: float
    rounds: int
    calls: int


def timed(calls: Mapping[str, Call], seconds: float = 2.0, rounds: int = 15, rest: float = 0.0) -> dict[str, Timing]:
    """Time calls in turn.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time, by name.
    seconds : float
        How long each one runs in all; slow ones still get three rounds of a call.
    rounds : int
        Into how many turns that is divided.
    rest : float
        Seconds before each turn. Threads of a library keep spinning after its work, and would take the time of the next one.
    """
    each = {name: _first(call) for name, call in calls.items()}
    repeats = {name: max(1, round(seconds / rounds / one)) for name, one in each.items()}
    turns = {name: max(3, min(rounds, round(seconds / one))) for name, one in each.items()}
    clock: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            if turn >= turns[name]:
                continue
            if rest:
                time.sleep(rest)
            used, spent = _turn(call, repeats[name])
            clock[name].append(spent)
            processor[name].append(used)
    return {name: _timing(clock[name], processor[name], repeats[name]) for name in calls}


def _first(call: Call) -> float:
    """Warm up; about how long a call takes."""
    call()
    start = time.perf_counter()
    call()
    one = time.perf_counter() - start
    repeat = max(1, min(1000, round(0.02 / max(one, 1e-7))))
    return _turn(call, repeat)[1]


def _turn(call: Call, repeat: int) -> tuple[float, float]:
    start, used = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        call()
    return (time.process_time() - used) / repeat, (time.perf_counter() - start) / repeat


def _timing(clock: Sequence[float], processor: Sequence[float], repeat: int) -> Timing:
    return Timing(statistics.median(clock), min(clock), statistics.median(processor), len(clock), repeat)
