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
    names = [*net.parameters, *_real_inputs(net)]
    grads = {k: np.asarray(found[f"{k}.grad"], np.float64) for k in names}
    return Found(float(found["loss"]), grads, {k: np.asarray(found[k], np.float64) for k in net.states})


def _real_inputs(net: Network) -> tuple[str, ...]:
    return tuple(name for name, value in net.inputs.items() if not value.integer)
