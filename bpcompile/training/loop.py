"""The training loop: epochs in C, what was held out after each, and an interruption that keeps the parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import TrainingError
from bpcompile.parameters import Parameters, State

if TYPE_CHECKING:
    from bpcompile.model import Model

Array = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """How a model does on some examples: the loss, and the accuracy where there are labels."""

    loss: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Epoch:
    """One epoch: its number from 1, the mean training loss, the score on what was held out, and the time it took."""

    number: int
    loss: float
    held_out: Score | None
    seconds: float


@dataclass
class History:
    """What training did.

    Attributes
    ----------
    epochs : list of Epoch
        One entry for each epoch that was finished.
    interrupted : bool
        Whether the user stopped it; the parameters are those of that moment.
    training_seconds : float
        Time spent in epochs, evaluation left out.
    examples : int
        Examples seen.
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    training_seconds: float = 0.0
    examples: int = 0

    @property
    def examples_per_second(self) -> float:
        """The speed of training."""
        return self.examples / self.training_seconds if self.training_seconds > 0 else 0.0


def fit(
    model: Model,
    params: Parameters,
    data: Mapping[str, Array],
    *,
    epochs: int,
    batch_size: int = 32,
    seed: int = 0,
    held_out: Mapping[str, Array] | None = None,
    state: State | None = None,
    report: Callable[[Epoch, History], None] | None = None,
) -> History:
    """Train for some epochs; `params` and `state` change in place.

    Parameters
    ----------
    model : Model
        Compiled with an optimizer.
    params : Parameters
        Where to start.
    data, held_out : mapping of str to array
        The examples to learn from, and those to score after each epoch.
    epochs, batch_size, seed : int
        Epoch ``k`` shuffles with a seed made of `seed` and ``k``.
    state : State, optional
        Needed where the network has a state.
    report : callable, optional
        Called after each epoch.

    Returns
    -------
    History
        Control-C ends training early, and is no error.

    Raises
    ------
    TrainingError
        If loss, gradients or parameters are no longer finite; all is then as it was before the step that failed.
    """
    history = History()
    ready = _ready(model, data)
    scored = _ready(model, held_out) if held_out and len(next(iter(held_out.values()))) else None
    size = len(next(iter(ready.values())))
    try:
        for number in range(1, epochs + 1):
            start = time.perf_counter()
            try:
                loss = model.train_epoch(
                    params, batch_size=batch_size, seed=_epoch_seed(seed, number), state=state, **ready
                )
            except TrainingError as error:
                raise TrainingError(f"Training ended in epoch {number}. {error.message}", hint=error.hint) from error
            seconds = time.perf_counter() - start
            history.training_seconds += seconds
            history.examples += size
            score = evaluate(model, params, scored, state=state) if scored else None
            history.epochs.append(Epoch(number, loss, score, seconds))
            if report is not None:
                report(history.epochs[-1], history)
    except KeyboardInterrupt:
        history.interrupted = True
    return history


def evaluate(model: Model, params: Parameters, data: Mapping[str, Array], *, state: State | None = None) -> Score:
    """Score a model: the loss with ``training`` off, and the share of right labels where the network classifies."""
    ready = _ready(model, data)
    kept = None if state is None else state.copy()
    loss, _ = model.value_and_grad(params, state=kept, training=False, **ready)
    target = _label_target(model)
    if target is None:
        return Score(float(loss))
    inputs = {s.name: ready[s.name] for s in model.signature.arrays if not s.target}
    outputs = model.predict(params, state=state, **inputs)
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    right = np.argmax(first, axis=-1) == ready[target]
    return Score(float(loss), float(np.mean(right)))


def _label_target(model: Model) -> str | None:
    """The target that holds the labels, if the first output has a number for each class."""
    signature = model.signature
    if not signature.outputs:
        return None
    shape = signature.outputs[0].shape
    for spec in signature.arrays:
        if spec.target and spec.integer and shape[1:] == (*spec.shape, spec.classes):
            return spec.name
    return None


def _ready(model: Model, data: Mapping[str, Array]) -> dict[str, Any]:
    """Convert once, so that each epoch finds arrays as C takes them."""
    arrays, _ = model.intake.arrays(data, targets=True)
    return {s.name: a for s, a in zip(model.signature.arrays, arrays, strict=True) if a is not None}


def _epoch_seed(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number) % (1 << 63)
