"""What no gradient shows, broken on purpose: updates of optimizers, keys of the cache, guards; a test of ours must fail for each."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bpcompile import build, driver, model, nonfinite
from bpcompile.build import Source
from bpcompile.calculus import repeats
from bpcompile.emit.c import contraction
from bpcompile.errors import TrainingError
from bpcompile.program import schedule
from bpcompile.program.schedule_types import Across, Contraction, Halo
from bpcompile.toolchain import processor
from bpcompile.training import optimizers
from bpcompile.training.optimizers import Optimizer
from tests.emit import test_across
from tests.mutation.mutants import Patch
from tests.program import test_unroll
from tests.toolchain.test_build import TestBuild
from tests.training import test_nonfinite, test_optimizers
from tests.training.test_optimizers import LR


@dataclass(frozen=True)
class Unseen:
    """A way of breaking what gradients do not depend on, and the test of ours that must fail."""

    name: str
    test: Callable[[], None]
    said: str
    apply: Callable[[Patch], None] = lambda patch: None
    slow: bool = False


def verdict(mutant: Unseen) -> str:
    """Whether the test fails: ``red`` where one of its assertions does, or where training meets NaN that was not there."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        mutant.apply(patch)
        try:
            mutant.test()
        except (AssertionError, pytest.fail.Exception, TrainingError):
            return "red"
        except Exception as error:
            return f"refused ({type(error).__name__})"
    return "survived"


# --- optimizers -----------------------------------------------------------------------------------------------------------

SMALL = 1e-2  # an epsilon that shows
UPDATES: tuple[tuple[Optimizer, Callable[..., Any]], ...] = (
    (optimizers.SGD(LR), test_optimizers.sgd),
    (optimizers.Momentum(LR), test_optimizers.momentum),
    (optimizers.Momentum(LR, nesterov=True), test_optimizers.nesterov),
    (optimizers.Adam(LR, epsilon=SMALL), partial(test_optimizers.adam, epsilon=SMALL)),
    (optimizers.AdamW(LR, epsilon=SMALL), partial(test_optimizers.adamw, epsilon=SMALL)),
    (optimizers.RMSprop(LR, epsilon=SMALL), partial(test_optimizers.rmsprop, epsilon=SMALL)),
    (optimizers.Adagrad(LR, epsilon=SMALL), partial(test_optimizers.adagrad, epsilon=SMALL)),
)
OTHER = {"+": "-", "-": "+", "*": "/", "/": "*", "**": "*"}


def _changed_equations(optimizer: Optimizer) -> Iterator[tuple[str, Optimizer]]:
    """Each operator of each equation exchanged, each state kept as it was, each number a little off."""
    for k, equation in enumerate(optimizer.equations):
        left, _, right = equation.partition(" = ")

        def instead(text: str, k: int = k, left: str = left) -> Optimizer:
            lines = (*optimizer.equations[:k], f"{left} = {text}", *optimizer.equations[k + 1 :])
            return dataclasses.replace(optimizer, equations=lines)

        for found in re.finditer(r"\*\*|[-+*/]", right):
            unary = found[0] == "-" and right[: found.start()].rstrip()[-1:] in ("", "(")
            other = "" if unary else OTHER[found[0]]
            text = right[: found.start()] + other + right[found.end() :]
            yield f"{left} = {text}", instead(text)
        if left.removesuffix("[k]") in optimizer.state:
            yield f"{left} stays", instead(left)
    for name, value in optimizer.constants.items():
        yield f"{name} a hundredth off", dataclasses.replace(optimizer, constants={**optimizer.constants, name: 1.01 * value})


def _steps(optimizer: Optimizer, step: Callable[..., Any]) -> Unseen:
    return Unseen("", partial(test_optimizers.test_epochs_are_the_steps_written_by_hand, optimizer, step), "steps written by hand")


OPTIMIZERS = [
    dataclasses.replace(_steps(changed, step), name=f"{optimizer.name}: `{what}`")
    for optimizer, step in UPDATES
    for what, changed in _changed_equations(optimizer)
]


def _epoch(pattern: str, replacement: str) -> Callable[[Patch], None]:
    def apply(patch: Patch) -> None:
        original = driver.emit_module

        def changed(spec: Any) -> Any:
            made = original(spec)
            text, count = re.subn(pattern, replacement, made.c_text)
            if not count:
                raise LookupError(f"nothing to change: {pattern}")
            return dataclasses.replace(made, c_text=text)

        patch.setattr(driver, "emit_module", changed)

    return apply


ADAM_IN_C = partial(test_optimizers.test_c_and_numpy_train_alike, optimizers.Adam(LR), "float64")
EPOCHS = [
    Unseen("C: the number of the step stands still", ADAM_IN_C, "C and NumPy train alike", _epoch(r"batch\.step\+\+;", ""), True),
    Unseen("C: the last, smaller batch is left out", ADAM_IN_C, "C and NumPy train alike",
           _epoch(r"start < examples; start", "start + batch_size <= examples; start"), True),
    Unseen("C: examples in their own order", ADAM_IN_C, "C and NumPy train alike", _epoch(r"order\[start \+ i\]", "(start + i)"), True),
    Unseen("C: the first vector of parameters is left alone", ADAM_IN_C, "C and NumPy train alike",
           _epoch(r"for \(ptrdiff_t k_ = 0;", "for (ptrdiff_t k_ = LANES;"), True),
]  # fmt: skip


# --- lanes across examples ------------------------------------------------------------------------------------------------


def _other(change: Callable[[Across], Across]) -> Callable[[Patch], None]:
    """Contractions are told something else of what lanes across examples may leave out."""

    def apply(patch: Patch) -> None:
        original = schedule.across_examples

        def changed(program: Any, steps: Any) -> Any:
            made = original(program, steps)
            return tuple(
                dataclasses.replace(s, across=change(s.across)) if isinstance(s, Contraction) and s.across else s for s in made
            )

        patch.setattr(schedule, "across_examples", changed)

    return apply


def _shorter(halo: Halo | None) -> Halo | None:
    return halo and dataclasses.replace(halo, high=halo.high - 1)


EVERY_BATCH = partial(test_across.test_every_batch_agrees_with_the_reference, "padded", "float64")
ACROSS = [
    Unseen("along the line, a product left out that is not zero", EVERY_BATCH, "every batch agrees with NumPy",
           _other(lambda a: dataclasses.replace(a, along=_shorter(a.along)))),
    Unseen("beside the line, a product left out that is not zero", EVERY_BATCH, "every batch agrees with NumPy",
           _other(lambda a: dataclasses.replace(a, beside=_shorter(a.beside)))),
    Unseen("the positions on a line change places", EVERY_BATCH, "every batch agrees with NumPy",
           lambda patch: patch.setattr(Across, "windows", lambda self, old=Across.windows: old(self)[::-1])),
    Unseen("a padded copy is that of the example before", EVERY_BATCH, "every batch agrees with NumPy",
           lambda patch: patch.setattr(contraction, "copied_example", lambda *a, old=contraction.copied_example:
                                       dataclasses.replace(old(*a), example="n"))),
]  # fmt: skip


# --- the cache, guards, copies --------------------------------------------------------------------------------------------


def _forgetful(change: Callable[[Source, Any, Any, int], tuple[Source, Any, Any, int]]) -> Callable[[Patch], None]:
    """The key of the cache is that of something less."""

    def apply(patch: Patch) -> None:
        original = build._job

        def job(source: Source, compiler: Any, flags: Any, threads: int, time_limit: float) -> Any:
            made = original(source, compiler, flags, threads, time_limit)
            return dataclasses.replace(made, key=original(*change(source, compiler, flags, threads), time_limit).key)

        patch.setattr(build, "_job", job)

    return apply


def _any_processor(patch: Patch) -> None:
    original = build._job

    def job(*given: Any) -> Any:
        with pytest.MonkeyPatch.context() as same:
            same.setattr(processor, "processor_identity", lambda: "")
            return original(*given)

    patch.setattr(build, "_job", job)


def _key_is_complete() -> None:
    with pytest.MonkeyPatch.context() as patch:
        TestBuild().test_key_covers_flags_threads_compiler_and_text(None, patch)


KEY = "the key covers everything"
CACHE = [
    Unseen("key of the cache: without the text", _key_is_complete, KEY,
           _forgetful(lambda s, c, f, t: (dataclasses.replace(s, c_text=""), c, f, t))),
    Unseen("key of the cache: without the element type", _key_is_complete, KEY,
           _forgetful(lambda s, c, f, t: (dataclasses.replace(s, dtype="float64"), c, f, t))),
    Unseen("key of the cache: without the flags", _key_is_complete, KEY, _forgetful(lambda s, c, f, t: (s, c, ("-march=native",), t))),
    Unseen("key of the cache: without the threads", _key_is_complete, KEY, _forgetful(lambda s, c, f, t: (s, c, f, 1))),
    Unseen("key of the cache: without the compiler", _key_is_complete, KEY,
           _forgetful(lambda s, c, f, t: (s, dataclasses.replace(c, command=(), version=""), f, t))),
    Unseen("key of the cache: without the processor", _key_is_complete, KEY, _any_processor),
]  # fmt: skip


def _looks_at_sources_alone(self: Any, k: int) -> int:
    s = self._forward.statements[k]
    sources = tuple(self._source(name, k) for name in self._seen[k].tensors)
    return int(self._numbers.setdefault((sources, self._forward.tensors[s.target].shape), len(self._numbers)))


def _copies() -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_unroll.test_programs_are_those_of_all_copies(test_unroll.OTHERS["_unequal"], patch)


def _failing_step() -> None:
    test_nonfinite.test_the_step_and_the_equation_are_named_and_all_is_as_before_it("numpy", "a[n,i] = log(z[n,i])", -1.0, "")


def _one_step_further_back(run: Any, vectors: Any, order: Any, size: int) -> Any:
    losses, failed = nonfinite.guarded(run, vectors, order, size)
    return losses, None if failed is None else failed - 1


REST = [
    Unseen("repeats: layers of one shape taken for copies", _copies, "programs are those of all copies",
           lambda patch: patch.setattr(repeats._Descriptions, "code", _looks_at_sources_alone)),
    Unseen("training: NaN goes into the parameters", _failing_step, "all is as before the failing step",
           lambda patch: patch.setattr(model, "guarded", lambda run, vectors, order, size: (run(order), None))),
    Unseen("training: one step too many is undone", _failing_step, "all is as before the failing step",
           lambda patch: patch.setattr(model, "guarded", _one_step_further_back)),
]  # fmt: skip


PARTS: dict[str, list[Unseen]] = {
    "Lanes across examples": ACROSS,
    "Updates of optimizers": [*OPTIMIZERS, *EPOCHS],
    "The cache, copies of layers, guards": [*CACHE, *REST],
}
UNSEEN: list[Unseen] = [m for part in PARTS.values() for m in part]
