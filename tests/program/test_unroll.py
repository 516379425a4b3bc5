"""What is made from three copies of a layer is what all copies give, to the last statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bpcompile as bp
from bpcompile import driver
from bpcompile.calculus.gradient import analyze
from bpcompile.calculus.repeats import find_repeats
from bpcompile.language.network import Network
from bpcompile.language.value import Value
from bpcompile.nodes.statements import Program
from bpcompile.program.unroll import unroll

DEPTH = 8


def _measured(z: Value) -> Network:
    return Network(z, loss=bp.MeanSquaredError(z, bp.Target("y", z.shape[1:])))


def _dense(frozen: int = -1) -> Network:
    h = bp.Input("x", 8)
    for k in range(DEPTH):
        h = bp.Dense(8, activation="tanh", trainable=k != frozen)(h)
    return _measured(bp.Dense(3)(h))


def _residual() -> Network:
    h = bp.Input("x", 8)
    for _ in range(DEPTH):
        h = bp.Add()(h, bp.Dense(8)(bp.Dropout(0.3)(bp.Dense(6, activation="relu")(bp.LayerNormalization()(h)))))
    return _measured(bp.Dense(1)(h))


def _transformer() -> Network:
    h = bp.Input("x", (6, 8))
    for _ in range(DEPTH):
        h = bp.TransformerEncoderLayer(2, 12, dropout=0.1, activation="gelu")(h)
    return _measured(h)


def _decoder() -> Network:
    h, memory = bp.Input("x", (5, 8)), bp.Input("memory", (4, 8))
    m = bp.Dense(8)(memory)
    for _ in range(DEPTH):
        h = bp.TransformerDecoderLayer(2, 12)(h, m)
    return _measured(h)


def _convolutions() -> Network:
    h = bp.Input("x", (3, 6, 6))
    for _ in range(DEPTH):
        h = bp.Activation("relu")(bp.BatchNormalization()(bp.Conv2D(3, 3, padding="same")(h)))
    return _measured(bp.Dense(2)(bp.Flatten()(h)))


def _recurrent() -> Network:
    h = bp.Input("x", (5, 4))
    for _ in range(DEPTH):
        h = bp.LSTM(4, return_sequences=True)(h)
    return _measured(bp.Dense(2)(h))


def _shared() -> Network:
    h = bp.Input("x", 8)
    layer = bp.Dense(8, activation="sigmoid")
    for _ in range(DEPTH):
        h = layer(h)
    return _measured(h)


def _frozen() -> Network:
    return _dense(frozen=3)


def _read_in_the_middle() -> Network:
    h = bp.Input("x", 8)
    values = [h := bp.Dense(8, activation="tanh")(h) for _ in range(DEPTH)]
    return Network([values[3], h], loss=bp.MeanSquaredError(h, bp.Target("y", 8)))


def _unequal() -> Network:
    h = bp.Input("x", 8)
    for k in range(DEPTH):
        h = bp.Dense(8, activation="tanh" if k != 4 else "sigmoid")(h)
    return _measured(h)


REPEATING = {f.__name__: f for f in (_dense, _residual, _transformer, _convolutions, _recurrent)}
OTHERS = {f.__name__: f for f in (_decoder, _shared, _frozen, _read_in_the_middle, _unequal)}


def _program(p: Program) -> tuple[object, ...]:
    of_the_caller = [t.name for t in p.tensors.values() if t.role != "temporary"]
    return p.steps, [s.origin for s in p.statements()], p.outputs, dict(p.tensors), of_the_caller


def _made(net: Network, monkeypatch: pytest.MonkeyPatch, wrt: tuple[str, ...]) -> tuple[driver.Programs, driver.Programs]:
    short = driver.lower(analyze(net), wrt, None)
    with monkeypatch.context() as m:
        m.setattr(driver, "find_repeats", lambda *_: None)
        return short, driver.lower(analyze(net), wrt, None)


@pytest.mark.parametrize("make", [*REPEATING.values(), *OTHERS.values()], ids=[*REPEATING, *OTHERS])
def test_programs_are_those_of_all_copies(make: Callable[[], Network], monkeypatch: pytest.MonkeyPatch) -> None:
    net = make()
    for wrt in (("parameters",), ("parameters", next(iter(net.inputs)))):
        short, whole = _made(net, monkeypatch, wrt)
        assert short.gradient is not None
        assert whole.gradient is not None
        assert _program(short.gradient) == _program(whole.gradient)
        assert _program(short.predict) == _program(whole.predict)


@pytest.mark.parametrize("make", REPEATING.values(), ids=REPEATING)
def test_repetitions_are_found(make: Callable[[], Network], monkeypatch: pytest.MonkeyPatch) -> None:
    net = make()
    unrolled: list[Program | None] = []

    def noted(*given: Any) -> Program | None:
        unrolled.append(unroll(*given))
        return unrolled[-1]

    monkeypatch.setattr(driver, "unroll", noted)
    driver.lower(analyze(net), ("parameters",), None)
    assert len(unrolled) == 2
    assert None not in unrolled
    forward = analyze(net).forward
    found = find_repeats(forward, net)
    assert found is not None
    assert len(found.periods) in (DEPTH - 2, DEPTH - 1, DEPTH)
    assert len(found.short.statements) < len(forward.statements)


def test_a_single_parameter_of_a_copy_keeps_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    net = _dense()
    name = [name for name in net.parameters if name.endswith(".W")][3]
    short, whole = _made(net, monkeypatch, (name,))
    assert short.gradient is not None
    assert whole.gradient is not None
    assert _program(short.gradient) == _program(whole.gradient)
    assert f"{name}.bar" in short.gradient.outputs
