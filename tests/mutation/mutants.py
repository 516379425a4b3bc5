"""The generator broken on purpose, one line a mutant: what is replaced, and the network that must notice."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bpcompile import driver
from bpcompile.calculus import derivatives, differentiate, gather
from bpcompile.calculus.algebra import ZERO, mul, neg
from bpcompile.nodes import recurrence
from bpcompile.nodes.expressions import Expr, const, load, loads, node, substitute
from bpcompile.nodes.statements import Statement, TimeLoop

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A way of breaking the generator.

    ``backend`` says whose code the check runs, ``settings`` which limits of the passes are others (owner, name, value), so that
    small networks meet what large ones do, and ``threads`` how many work on a call.
    """

    name: str
    network: str
    apply: Callable[[Patch], None]
    backend: str = "numpy"
    settings: tuple[tuple[Any, str, Any], ...] = ()
    threads: int = 1


# --- derivative rows ------------------------------------------------------------------------------------------------------


def _row(operation: str, change: Callable[[Expr | None], Expr | None]) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        row = derivatives.ROWS[operation]
        patch.setitem(derivatives.ROWS, operation, lambda g, y, a: tuple(change(e) for e in row(g, y, a)))

    return apply


def _operand(operation: str, k: int, change: Callable[[Expr | None], Expr | None]) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        row = derivatives.ROWS[operation]
        patch.setitem(
            derivatives.ROWS, operation, lambda g, y, a: tuple(change(e) if i == k else e for i, e in enumerate(row(g, y, a)))
        )

    return apply


def _row_instead(operation: str, row: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(derivatives.ROWS, operation, row)


def _negative(e: Expr | None) -> Expr | None:
    return None if e is None else neg(e)


def _doubled(e: Expr | None) -> Expr | None:
    return None if e is None else mul(const(1.001), e)


def _dropped(e: Expr | None) -> Expr | None:
    return None


NO_DERIVATIVE = ("floordiv", "stop", "unspecified", "sign", "floor", "ceil", "round")
"""Rows that give no gradient: there is nothing to be wrong about."""
BINARY = ("add", "sub", "mul", "div", "pow", "atan2")
ROWS = [op for op in derivatives.ROWS if op not in NO_DERIVATIVE]



def _formula(operation: str) -> str:
    return "formula quotient" if operation == "div" else f"formula {operation}"


DERIVATIVES = [
    *(Mutant(f"{op}: sign of the derivative", f"formula {op}", _row(op, _negative)) for op in ROWS),
    *(Mutant(f"{op}: a factor of 1.001", f"formula {op}", _row(op, _doubled)) for op in ROWS),
    *(Mutant(f"{op}: second argument's contribution dropped", _formula(op), _operand(op, 1, _dropped)) for op in BINARY),
    *(Mutant(f"{op}: sign of the second argument's contribution", _formula(op), _operand(op, 1, _negative)) for op in BINARY),
    Mutant("where: branches exchanged", "selection", _row_instead("where", lambda g, y, a: (
        None, derivatives.select(a[0], ZERO, g), derivatives.select(a[0], g, ZERO)))),
]  # fmt: skip


# --- the one rule ---------------------------------------------------------------------------------------------------------


def _second_path_dropped(p: Patch) -> None:
    p.setattr(differentiate, "add", lambda a, b: a)


def _transposed(p: Patch) -> None:
    def exchanged(tensor: str, subscripts: Any, *rest: Any) -> Expr:
        found = list(subscripts)
        if len(found) == 3 and tensor.endswith(".bar"):
            found[1], found[2] = found[2], found[1]
        return load(tensor, found, *rest)

    p.setattr(differentiate, "load", exchanged)


def _weights_transposed(p: Patch) -> None:
    original = gather.gather

    def exchanged(body: Expr, subscripts: Any, *rest: Any, **options: Any) -> Any:
        square = len(subscripts) == 2 and all(s.op == "axis" and s.value.extent == 3 for s in subscripts)
        return original(body, tuple(reversed(subscripts)) if square else subscripts, *rest, **options)

    p.setattr(gather, "gather", exchanged)


def _off_by_one(p: Patch) -> None:
    original = gather._affine_difference

    def shifted(right: Expr, rest: Any, sign: int) -> Expr:
        return original(right, dataclasses.replace(rest, constant=rest.constant + 1), sign)

    p.setattr(gather, "_affine_difference", shifted)


def _no_remainder_guard(p: Patch) -> None:
    original = gather.simplify_integer
    p.setattr(gather, "simplify_integer", lambda e, *r: gather.ZERO if e.op == "mod" else original(e, *r))


def _no_bounds(p: Patch) -> None:
    p.setattr(gather._System, "guard_bounds", lambda self, value, extent: None)


def _scatter_missing(p: Patch) -> None:
    original = differentiate._Backward._finish

    def without(self: Any, t: str, a: str, places: Any, total: Any, _scatters: Any, wanted: bool) -> None:
        original(self, t, a, places, total or ZERO, [], wanted)

    p.setattr(differentiate._Backward, "_finish", without)


def _wrong_extreme(p: Patch) -> None:
    p.setattr(differentiate, "_position", lambda over: node("sub", (const(1), differentiate.axis(over[0]))))


def _gradient_to_all(p: Patch) -> None:
    original = differentiate._Backward._seed
    p.setattr(differentiate._Backward, "_seed", lambda self, s: original(self, dataclasses.replace(s, reduce="sum")))


def _time_runs_forward(p: Patch) -> None:
    original = recurrence._Cycle.loop

    def forward(self: Any) -> TimeLoop:
        return dataclasses.replace(original(self), reverse=False)

    p.setattr(recurrence._Cycle, "loop", forward)


def _mean_of_the_batch_missing(p: Patch) -> None:
    original = differentiate._Backward._seed
    p.setattr(differentiate._Backward, "_seed",
              lambda self, s: mul(const(2.0), original(self, s)) if s.target == "loss" else original(self, s))  # fmt: skip


RULE = [
    Mutant("contributions of the second and later paths dropped", "recurrence", _second_path_dropped),
    Mutant("an adjoint read with its last two subscripts exchanged", "recurrence", _transposed),
    Mutant("a weight's gradient transposed", "dense", _weights_transposed),
    Mutant("an affine subscript solved one off", "convolution", _off_by_one),
    Mutant("a stride's divisibility not asked for", "convolution", _no_remainder_guard),
    Mutant("the bounds of a solved index not asked for", "shifted uses", _no_bounds),
    Mutant("scatters missing", "embedding", _scatter_missing),
    Mutant("a maximum's gradient to the other element", "pooling", _wrong_extreme),
    Mutant("a maximum's gradient to all elements", "pooling", _gradient_to_all),
    Mutant("backpropagation through time in the wrong direction", "recurrence", _time_runs_forward),
    Mutant("the mean over the batch counted twice", "dense", _mean_of_the_batch_missing),
]


# --- passes ---------------------------------------------------------------------------------------------------------------


def _shares_what_differs(p: Patch) -> None:
    """A backward statement reads another tensor of the same shape, one that was written before: a stale value."""
    original = driver.improve

    def mistaken(program: Any) -> Any:
        improved = original(program)
        written: list[str] = []
        steps = list(improved.steps)
        for k, s in enumerate(steps):
            if not isinstance(s, Statement):
                continue
            for access in loads(s.body) if s.origin.phase == "backward" else ():
                shape = improved.tensors[access.value[0]].shape
                others = [t for t in written if improved.tensors[t].shape == shape and t != access.value[0]]
                if access.value[0] in written and others and access.kind == "real" and shape:
                    wrong = load(others[-1], access.args)
                    steps[k] = dataclasses.replace(s, body=substitute(s.body, {access: wrong}))
                    return improved.with_steps(tuple(steps))
            if improved.tensors[s.target].kind == "real":
                written.append(s.target)
        return improved

    p.setattr(driver, "improve", mistaken)


def _late_shares(p: Patch) -> None:
    """Values and their adjoints are mixed up in the backward statements."""
    original = driver.improve

    def stale(program: Any) -> Any:
        improved = original(program)
        steps = list(improved.steps)
        for k, s in enumerate(steps):
            if getattr(s, "origin", None) is not None and s.origin.phase == "backward" and not s.accumulate:
                steps[k] = dataclasses.replace(s, body=mul(const(0.5), s.body))
                break
        return improved.with_steps(tuple(steps))

    p.setattr(driver, "improve", stale)


PASSES = [
    Mutant("a stale value shared by mistake", "dense", _shares_what_differs),
    Mutant("half of a backward value", "dense", _late_shares),
]


# --- generated C ----------------------------------------------------------------------------------------------------------


def _text(pattern: str, replacement: str, count: int = 1, after: str = "_bar") -> Callable[[Patch], None]:
    """Change the text of generated C, in the kernels of gradients."""

    def apply(p: Patch) -> None:
        original = driver.emit_module

        def changed(spec: Any) -> Any:
            module = original(spec)
            head, mark, tail = module.c_text.partition("static void k_")
            kernels = re.split(r"(?=^static void k_)", mark + tail, flags=re.M)
            done = 0
            for k, kernel in enumerate(kernels):
                if after in kernel.split("(", 1)[0] and done < count:
                    kernels[k], made = re.subn(pattern, replacement, kernel, count=1)
                    done += made
            assert done, f"nothing to change: {pattern}"
            return dataclasses.replace(module, c_text=head + "".join(kernels))

        p.setattr(driver, "emit_module", changed)

    return apply


C_TEXT = [
    Mutant("C: a loop stops one early", "two paths", _text(r"(\w+) < (\d+|n|end)(;)", r"\1 < \2 - 1\3"), "c"),
    Mutant("C: a sum over one block too few", "wide", _text(r"(\w+) < (\d+|n|end)(;)", r"\1 < \2 - 1\3"), "c"),
    Mutant("C: a sum that starts anew", "recurrence", _text(r"\+= |= (\w+) \+ ", "= "), "c"),
    Mutant("C: products lose a factor", "wide", _text(r"= (\w+) \* (\w+);", r"= \1;"), "c"),
    Mutant("C: the last vector of a tile holds one element", "wide",
           _text(r"last = \(int\)\(here - \(vectors - 1\) \* LANES\)", "last = 1"), "c"),
    Mutant("C: the first strip of columns alone", "wide", _text(r"unit < end; unit\+\+", "unit < 1; unit++"), "c"),
    Mutant("C: a tile's rows one element further", "wide", _text(r"left \+ row \* (\d+)", r"left + row * \1 + 1", after="W_bar"), "c"),
    Mutant("C: an adjoint stored one element further", "two paths", _text(r"(\w+_bar)\[(\w+)\] =", r"\1[\2 + 1] ="), "c"),
    Mutant("C: a scatter that overwrites", "repeated tokens", _text(r"(net_E_bar\[[^\]]+\]) \+= ", r"\1 = "), "c"),
    Mutant("C: a kernel that reads another value's place in the arena", "wide",
           _text(r"batch \+ n \* \d+, \(const real \*\)call", "batch, (const real *)call", after=""), "c"),
]
