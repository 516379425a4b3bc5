"""The networks whose generated C is judged: the examples, and random ones; with an optimizer, and arrays to run them on."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import bpcompile as bp
from bpcompile.calculus.gradient import analyze
from bpcompile.driver import c_module, lower
from bpcompile.emit.c.source import Source
from bpcompile.language.spec import load_spec
from bpcompile.signature import signature_of
from bpcompile.training.optimizers import Optimizer
from tests.random.case import arrays_of
from tests.random.choices import Seeded
from tests.random.networks import network as random_network

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PREFIX = "net"


@dataclass(frozen=True, eq=False)
class Judged:
    """A network, its optimizer, and the largest batch that its tests need."""

    name: str
    make: Callable[[], bp.Network]
    optimizer: Optimizer
    largest: int = 20
    seed: int | None = None

    @property
    def random(self) -> bool:
        """Whether the network was drawn, and not written."""
        return self.seed is not None


@contextmanager
def _scripts() -> Iterator[None]:
    before = set(sys.modules)
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in set(sys.modules) - before:
            if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]


def _script(name: str, *arguments: object, **options: object) -> Callable[[], bp.Network]:
    def make() -> bp.Network:
        with _scripts():
            net: bp.Network = importlib.import_module(name).network(*arguments, **options)
            return net

    return make


def _spec(name: str) -> Callable[[], bp.Network]:
    return lambda: load_spec(EXAMPLES / f"{name}.toml").network


# Momentum where results are compared: Adam divides small gradients by themselves, and what is rounding becomes a step.
_MOMENTUM = bp.Momentum(learning_rate=0.01)
WRITTEN = {
    j.name: j
    for j in (
        Judged("xor", _script("rumelhart", 2, 2, "xor"), _MOMENTUM),
        Judged("symmetry", _script("rumelhart", 6, 2, "symmetry"), bp.SGD(learning_rate=0.1)),
        Judged("digits", _spec("digits"), _MOMENTUM),
        Judged("autoencoder", _spec("autoencoder"), _MOMENTUM),
        Judged("two_inputs", _spec("two_inputs"), _MOMENTUM),
        Judged("siamese", _script("siamese"), _MOMENTUM),
        Judged("lenet5", _spec("lenet5"), _MOMENTUM),
        Judged("resnet20", _spec("resnet20"), _MOMENTUM, largest=5),
        Judged("character_lstm", _script("character_lstm", 61), _MOMENTUM, largest=7),
        Judged("character_transformer", _script("character_transformer", 61), _MOMENTUM, largest=7),
        Judged("gpt2", _script("gpt2", layers=2, width=48, heads=3, tokens=211, steps=19), _MOMENTUM, largest=7),
    )
}
OPTIMIZERS = (bp.Adam(), bp.AdamW(), bp.RMSprop(), bp.Adagrad(), bp.Momentum(nesterov=True))


@cache
def drawn(seed: int) -> Judged:
    """A random network."""
    def make() -> bp.Network:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return random_network(Seeded(seed), draws=True).network()

    return Judged(f"random{seed}", make, _MOMENTUM, seed=seed)


def judged(name: str) -> Judged:
    """The network of a name: an example's, or ``random`` and a seed."""
    return WRITTEN[name] if name in WRITTEN else drawn(int(name.removeprefix("random")))


@cache
def made(judged: Judged) -> bp.Network:
    """The network itself."""
    return judged.make()


def wanted(net: bp.Network) -> tuple[str, ...]:
    """All that a network can be differentiated by."""
    return ("parameters", *(name for name, value in net.inputs.items() if not value.integer))


def numpy_model(judged: Judged) -> bp.Model:
    """The network as generated NumPy in float64, with every gradient there is."""
    net = made(judged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bp.compile(net, backend="numpy", dtype="float64", wrt=wanted(net), optimizer=judged.optimizer)


def source(judged: Judged, dtype: str, optimizer: Optimizer | None = None) -> Source:
    """The generated C: outputs, every gradient there is, and an epoch."""
    net = made(judged)
    programs = lower(analyze(net), wanted(net), optimizer or judged.optimizer)
    return c_module(programs, signature_of(net, programs.predict, programs.gradient, dtype), PREFIX)


def arrays(judged: Judged, n: int) -> dict[str, np.ndarray[Any, Any]]:
    """Parameters, states, inputs and targets for n examples: those of training, with no zero among them."""
    net = made(judged)
    if judged.random:
        return arrays_of(net, n, judged.seed or 0)
    rng = np.random.default_rng([n, len(net.calls)])
    found = {name: np.asarray(value, np.float64) for name, value in _start(judged).items()}
    for name, value in {**net.inputs, **net.targets}.items():
        shape = (n, *[extent for extent in value.shape[1:] if extent is not None])
        found[name] = rng.integers(0, value.classes, shape) if value.integer else rng.uniform(0.05, 1, shape)
    return found


@cache
def _start(judged: Judged) -> Mapping[str, np.ndarray[Any, Any]]:
    model = numpy_model(judged)
    rng = np.random.default_rng(2)
    moved = {k: v + rng.normal(0, 0.05, np.shape(v)) for k, v in model.init(seed=1).items()}
    return {**moved, **model.init_state()}
