"""Random networks in generated C, built as plain shared libraries: one compiler call each, little optimization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bpcompile.calculus.gradient import analyze
from bpcompile.driver import c_module, lower
from bpcompile.emit.c.source import Source
from bpcompile.language.network import Network
from bpcompile.signature import signature_of
from tests.emit.c_module import NATIVE, Caller
from tests.random import checks
from tests.random.case import arrays_of
from tests.random.checks import Found


def c_source(net: Network, dtype: str = "float64") -> Source:
    """The module of a network with every gradient there is."""
    programs = lower(analyze(net), ("parameters", *_real_inputs(net)), None)
    return c_module(programs, signature_of(net, programs.predict, programs.reference, dtype), "net")


def c_result(
    net: Network,
    arrays: Mapping[str, np.ndarray],
    n: int,
    *,
    flags: Sequence[str] = NATIVE,
    dtype: str = "float64",
    optimize: str = "-O0",
    key: int = 0,
    training: bool = True,
    pool: bool = False,
) -> Found:
    """Loss, gradients and next states; the arena has a guard behind it."""
    caller = Caller(c_source(net, dtype), flags, optimize, pool=pool)
    if pool:
        caller.start_pool(2)
    found = caller.run("value_and_grad", arrays, n, key=key, training=int(training))
    if pool:
        caller.stop_pool()
    return _found(net, found)


def everywhere(net: Network, batches: Sequence[int], seed: int) -> list[str]:
    """C against NumPy at these batch sizes; one and two threads and a repeated call agree bit for bit."""
    caller = Caller(c_source(net), NATIVE, "-O0", pool=True)
    reference = checks.compiled(net, "numpy")
    wrong = []
    for n in batches:
        arrays = arrays_of(net, n, seed)
        found, same = repeated(caller, net, arrays, n, seed)
        wrong += [f"n = {n}: {d}" for d in checks.compared(found, reference, net, arrays, 1e-11, seed)]
        if not same:
            wrong.append(f"n = {n}: one thread, two threads and a repeated call do not agree bit for bit")
    return wrong


def repeated(caller: Caller, net: Network, arrays: Mapping[str, np.ndarray], n: int, key: int) -> tuple[Found, bool]:
    """A result, and whether repeated calls on one thread and on two give the same bits."""
    runs = [caller.run("value_and_grad", arrays, n, key=key) for _ in range(2)]
    caller.start_pool(2)
    runs += [caller.run("value_and_grad", arrays, n, key=key) for _ in range(2)]
    caller.stop_pool()
    first, *others = (_found(net, r) for r in runs)
    return first, all(_same(first, other) for other in others)


def _found(net: Network, results: Mapping[str, np.ndarray]) -> Found:
    grads = {k: np.asarray(results[f"{k}.grad"], np.float64) for k in (*net.parameters, *_real_inputs(net))}
    return Found(float(results["loss"]), grads, {k: np.asarray(results[k], np.float64) for k in net.states})


def _same(a: Found, b: Found) -> bool:
    pairs = [(a.loss, b.loss), *((a.grads[k], b.grads[k]) for k in a.grads), *((a.state[k], b.state[k]) for k in a.state)]
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def _real_inputs(net: Network) -> tuple[str, ...]:
    return tuple(name for name, value in net.inputs.items() if not value.integer)
