"""Quotients in a product that are not to be taken apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bpcompile.nodes.expressions import Expr


def kept_quotients(e: Expr) -> frozenset[Expr]:
    """Quotients of a value by what the product is divided by more than once.

    Each of ``x/m * (x/m) / m`` is of the size of its value; of ``x*x / (m*m*m)`` both parts leave the range of floats long
    before the value does.
    """
    quotients = tuple(_quotients(e))
    times = Counter(q.args[1] for q in quotients)
    return frozenset(q for q in quotients if times[q.args[1]] > 1 and q.args[0].op not in ("mul", "div", "neg"))


def _quotients(e: Expr) -> Iterator[Expr]:
    """The quotients in a product, with repetitions."""
    if e.op == "div":
        yield e
        yield from _quotients(e.args[0])
    elif e.op in ("mul", "neg"):
        for a in e.args:
            yield from _quotients(a)
    elif e.op in ("where", "stop"):
        yield from _quotients(e.args[e.op == "where"])
