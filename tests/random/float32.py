"""Generated C in float32 against generated NumPy in float64, within what rounding explains.

How much rounding may move a result is measured: the float64 gradient is taken again where every number is off by a little
more than float32's rounding. Where a sum cancels or a function is steep, that moves the gradient as much as the rounding
inside does. A selection that falls the other way is no error; one network is wrong only if it is for several arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bpcompile.language.network import Network
from tests.emit.c_module import NATIVE, Caller
from tests.random import c_runs, checks
from tests.random.case import arrays_of

NUDGE = 2.0**-21
"""How far numbers are moved, relative to themselves: eight half units in the last place."""
STEADY = 2.0**-15
"""What is allowed beside that, relative to the largest gradient."""
TRIES = 3


def float32_everywhere(net: Network, batches: Sequence[int], seed: int) -> list[str]:
    """C against NumPy at these batch sizes; one and two threads and a repeated call agree bit for bit."""
    caller = Caller(c_runs.c_source(net, "float32"), NATIVE, "-O0", pool=True)
    reference = checks.compiled(net, "numpy")
    wrong = []
    for n in batches:
        found: list[str] = []
        for k in range(TRIES):
            arrays = {name: _rounded(a) for name, a in arrays_of(net, n, seed + 1000 * k).items()}
            got, same = c_runs.repeated(caller, net, arrays, n, seed)
            if not same:
                wrong.append(f"n = {n}: one thread, two threads and a repeated call do not agree bit for bit in float32")
            want = checks.run(reference, net, arrays, seed)
            found = checks.differences(got, want, STEADY, checks.movement(reference, net, arrays, NUDGE, seed))
            if not found:
                break
        wrong += [f"n = {n}, float32: {d}" for d in found]
    return wrong


def _rounded(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a
