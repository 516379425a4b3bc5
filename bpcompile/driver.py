"""From a network to a model: the driver, which reads as the pipeline."""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from bpcompile import build
from bpcompile.backend import Backend
from bpcompile.calculus.gradient import analyze, prediction, shortened, training
from bpcompile.calculus.repeats import Repeats, find_repeats
from bpcompile.cost import Cost
from bpcompile.emit.c.limits import Limits
from bpcompile.emit.c.module import emit_module
from bpcompile.emit.c.source import ModuleSpec
from bpcompile.emit.c.source import Source as Module
from bpcompile.emit.numpy_module import emit_numpy
from bpcompile.errors import BPCompileError, BPCompileWarning, CompilerMissing, NetworkError, nearest
from bpcompile.language.network import Network
from bpcompile.model import Model
from bpcompile.model_c import CBackend
from bpcompile.model_numpy import NumpyBackend
from bpcompile.nodes.statements import Program
from bpcompile.parameters import Layout
from bpcompile.program.checkpoint import checkpoint as recompute
from bpcompile.program.dead import specialize, without_dead
from bpcompile.program.passes import improve
from bpcompile.program.schedule import flat_offsets, schedule
from bpcompile.program.unroll import unroll
from bpcompile.ready import ready_text
from bpcompile.signature import Signature, signature_of
from bpcompile.training.optimizers import SEEDS, Optimizer, optimizer_program

if TYPE_CHECKING:
    from bpcompile.calculus.gradient import Calculus
    from bpcompile.tune import Tuning

BACKENDS = ("c", "numpy")
DTYPES = ("float32", "float64")
MOST_ELEMENTS = 2**36
"""The largest tensor that is compiled for: half a terabyte in float64."""


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Leave the garbage collector out while programs are made: they hold hardly a cycle, and it would search them all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True)
class Programs:
    """The programs of a network, shared and factored; frozen parameters come last in them."""

    predict: Program
    gradient: Program | None
    update: Program | None

    @property
    def reference(self) -> Program:
        """The program whose tensors give the order of parameters, states and arrays."""
        return self.gradient or self.predict


@dataclass
class _Clock:
    """How long each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def compile(  # noqa: A001
    net: Network,
    backend: str = "c",
    dtype: str = "float32",
    threads: int = 1,
    *,
    wrt: Sequence[str] = ("parameters",),
    optimizer: Optimizer | None = None,
    flags: Sequence[str] | None = None,
    check_finite: bool = False,
    checkpoint: int | None = None,
    tune: bool | int = False,
) -> Model:
    """Compile a network.

    Parameters
    ----------
    net : Network
        What to compile.
    backend : {"c", "numpy"}
        Generated C in an extension, or generated NumPy. Without a C compiler, NumPy is taken and a warning says so.
    dtype : {"float32", "float64"}
        The element type.
    threads : int
        How many threads work on one call. Results do not depend on it.
    wrt : sequence of str
        What to differentiate by: ``"parameters"``, and names of real inputs.
    optimizer : Optimizer, optional
        What `Model.train_epoch` does: ``bp.SGD()``, ``bp.Momentum()``, ``bp.Adam()``, ...
    flags : sequence of str, optional
        The C compiler's flags.
    checkpoint : int, optional
        Keep only what crosses the borders of every so many layer calls, and compute the rest again in the backward
        pass: less memory for about one more forward pass.
    check_finite : bool
        Refuse NaN and infinity in inputs, and raise when a loss or gradient is not finite.
    tune : bool or int
        Search for half a minute at most for the fastest way to compute each contraction on this processor, with batches of
        64 examples or of so many; what is found is remembered. Results change by rounding.

    Returns
    -------
    Model

    Raises
    ------
    BPCompileError
        If an option is unknown, or the network cannot be differentiated or built.
    """
    _check_options(net, backend, dtype, threads, optimizer)
    _check_sizes(net)
    if checkpoint is not None and (isinstance(checkpoint, bool) or not isinstance(checkpoint, int) or checkpoint < 1):
        raise BPCompileError(f"checkpoint must be a positive number of layer calls, not {checkpoint!r}.")
    _check_texts("wrt", (wrt,) if isinstance(wrt, str) else wrt, "parameters")
    _check_texts("flags", flags or (), "-O3")
    _check_tune(tune, net, backend)
    clock = _Clock()
    with clock.stage("derive"):
        calculus = analyze(net)
        programs = lower(calculus, wrt, optimizer, checkpoint)
    signature = signature_of(net, programs.predict, programs.reference if programs.gradient else None, dtype)
    moments = _moments(optimizer, signature)
    facts: dict[str, object] = {"backend": backend, "threads": threads}
    runner: Backend
    if backend == "c":
        try:
            runner = _c_backend(programs, signature, moments, threads, flags, clock, facts)
        except CompilerMissing as error:
            warnings.warn(f"{error}\n  The network runs on NumPy instead.", BPCompileWarning, stacklevel=2)
            facts["backend"] = backend = "numpy"
    if backend == "numpy":
        with clock.stage("emit"):
            text = emit_numpy(programs.predict, programs.gradient, programs.update, dtype)
        runner = NumpyBackend(signature, text, moments)

    def model(runner: Backend) -> Model:
        unshared = partial(_unshared, calculus, wrt)
        cost = Cost(programs.predict, programs.gradient, unshared, clock.seconds, facts, runner.arena_bytes)
        return Model(net, signature, runner, optimizer, cost, check_finite)

    if tune and backend == "c":
        with clock.stage("tune"):
            found = _tuned(model(runner), programs, tune, flags)
        facts |= {"tuned": found.limits, "tuned_gain": found.gain}
        if found.limits:
            runner = _c_backend(programs, signature, moments, threads, flags, clock, facts, found.limits)
    return model(runner)


def _tuned(model: Model, programs: Programs, tune: int, flags: Sequence[str] | None) -> Tuning:
    """Search for the fastest kernels, and show how far it is."""
    from rich.console import Console

    from bpcompile.tune import EXAMPLES, tuned

    def rewrite(limits: Mapping[int, Limits]) -> Module:
        return c_module(programs, model.signature, c_prefix(model.signature.name), limits)

    with Console(stderr=True).status(f"tuning '{model.signature.name}'") as status:
        return tuned(
            model, rewrite({}), rewrite, examples=EXAMPLES if tune is True else tune, flags=flags,
            progress=lambda text: status.update(f"tuning '{model.signature.name}': {text}"),
        )  # fmt: skip


@_collector_paused()
def lower(
    calculus: Calculus, wrt: Sequence[str], optimizer: Optimizer | None, checkpoint: int | None = None
) -> Programs:
    """Make the programs: each value once, sums of products in the cheapest order."""
    network = calculus.network
    single = any(name in network.parameters for name in ((wrt,) if isinstance(wrt, str) else wrt))
    repeats = None if single else find_repeats(calculus.forward, network)
    predict = _made(calculus, repeats, lambda c: improve(specialize(prediction(c), training=False)))
    if not network.losses:
        return Programs(predict, None, None)
    gradient = _made(calculus, repeats, lambda c: improve(without_dead(training(c, wrt, recorded=False))))
    if checkpoint is not None:
        gradient = recompute(gradient, checkpoint)
    size = sum(info.size for info in network.parameters.values() if info.trainable)
    update = optimizer_program(optimizer, size) if optimizer is not None and size else None
    return Programs(predict, gradient, update)


def _made(calculus: Calculus, repeats: Repeats | None, make: Callable[[Calculus], Program]) -> Program:
    """Make a program, of a layer that is repeated from three of its copies."""
    short = None if repeats is None else unroll(make(shortened(calculus, repeats)), repeats, calculus.forward)
    return _frozen_last(make(calculus) if short is None else short, calculus.network)


def _frozen_last(program: Program, network: Network) -> Program:
    """Order tensors so that what an optimizer moves is the beginning of the flat vector of parameters."""
    frozen = {name: program.tensors[name] for name, info in network.parameters.items() if not info.trainable}
    return replace(program, tensors={name: t for name, t in program.tensors.items() if name not in frozen} | frozen)


def _unshared(calculus: Calculus, wrt: Sequence[str]) -> Program | None:
    """Loss and gradients by the rule alone: each derivative is computed from scratch."""
    return without_dead(training(calculus, wrt, reuse=False)) if calculus.network.losses else None


def build_ahead(
    net: Network,
    dtype: str,
    wrt: Sequence[str] = ("parameters",),
    optimizer: Optimizer | None = None,
    threads: int = 1,
) -> Callable[[], None]:
    """Write the C of a network now; give what builds it, so that another thread can wait for the C compiler.

    `compile` with the same arguments then finds the extension built, or waits for it. Only the builder runs in that
    thread: nodes are interned without a lock.
    """
    programs = lower(analyze(net), wrt, optimizer)
    signature = signature_of(net, programs.predict, programs.gradient, dtype)
    source = build_source(c_module(programs, signature, c_prefix(net.name)), threads, signature)

    def run() -> None:
        with suppress(BPCompileError):  # the one who needs it will be told
            build.build(source, threads=threads)

    return run


@_collector_paused()
def c_module(
    programs: Programs, signature: Signature, prefix: str, limits: Mapping[int, Limits] = MappingProxyType({})
) -> Module:
    """Schedule the programs and write them as one C module; `limits` are those of single kernels, if not the default ones."""
    _check_batch_axes(programs.predict)
    if programs.gradient is not None:
        _check_batch_axes(programs.gradient)
    offsets = flat_offsets(programs.reference)
    spec = ModuleSpec(
        prefix=prefix,
        title=f"The network {signature.name}.",
        dtype=signature.dtype,  # type: ignore[arg-type]
        predict=schedule(programs.predict, offsets),
        value_and_grad=schedule(programs.gradient, offsets) if programs.gradient else None,
        update=schedule(programs.update) if programs.update else None,
        seeds=SEEDS if programs.update else (),
        limits=limits,
    )
    return emit_module(spec)


def _check_batch_axes(program: Program) -> None:
    """Refuse what generated C has no memory for: a value for every pair of examples."""
    for s in program.statements():
        if program.tensors[s.target].shape.count(None) > 1:
            pair = " and ".join(f"'{a.name}'" for a in s.axes if a.extent is None)
            raise NetworkError(
                f"'{s.body}' has the batch's extent along two indices, {pair}, and generated C keeps no such value.",
                where=f"Layer '{s.origin.call}', equation '{s.origin.equation}'",
                hint="Compile with backend='numpy', which keeps it.",
            )


def build_source(module: Module, threads: int, signature: Signature | None = None) -> build.Source:
    """What the builder takes: the module, the thread pool where there are threads, and for a model its calls with arrays."""
    pool = threads > 1
    wrapper_text, wrapper_cdef = ready_text(signature, module.interface, module.prefix) if signature else ("", "")
    return build.Source(
        prefix=module.prefix,
        c_text=module.c_text,
        cdef_text=module.cdef_text + (module.pool_cdef if pool else ""),
        header_text=module.header_text + (module.pool_cdef if pool else ""),
        dtype=module.dtype,
        extra_units=((f"{module.prefix}_pool.c", module.pool_text),) if pool else (),
        parts=module.parts,
        wrapper_text=wrapper_text,
        wrapper_cdef=wrapper_cdef,
    )


def _c_backend(
    programs: Programs,
    signature: Signature,
    moments: Layout,
    threads: int,
    flags: Sequence[str] | None,
    clock: _Clock,
    facts: dict[str, object],
    limits: Mapping[int, Limits] = MappingProxyType({}),
) -> CBackend:
    with clock.stage("emit"):
        module = c_module(programs, signature, c_prefix(signature.name), limits)
    with clock.stage("build"):
        extension = build.build(build_source(module, threads, signature), flags=flags, threads=threads)
    facts |= {
        "compiler": extension.compiler,
        "flags": list(extension.flags),
        "path": str(extension.path),
        "source_directory": str(extension.source_directory),
        "cached": extension.cached,
        "build_seconds": extension.seconds,
        "kernels": module.kernels,
    }
    face = module.interface
    return CBackend(signature, module.c_text, extension.lib, extension.ffi, module.prefix, moments, face, threads)


def c_prefix(name: str) -> str:
    """A C identifier for a network: what every external name of its module begins with."""
    letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")
    return f"bp_{letters}"[:48].rstrip("_") or "bp_network"


def _moments(optimizer: Optimizer | None, signature: Signature) -> Layout:
    names = optimizer.state if optimizer is not None else ()
    return Layout(tuple(names), ((signature.trainable,),) * len(names))


def _check_sizes(net: Network) -> None:
    """Refuse what no memory holds, before any is asked for."""
    for t in net.tensors.values():
        elements = math.prod(e for e in t.shape if e is not None)
        if elements > MOST_ELEMENTS:
            raise NetworkError(
                f"'{t.name}' has {elements:.3g} elements{' for each example' if None in t.shape else ''}; "
                f"at most {MOST_ELEMENTS:.3g} can be compiled for.",
                hint="Look for an extent that is too large.",
            )


def _check_tune(tune: object, net: Network, backend: str) -> None:
    if not isinstance(tune, (bool, int)) or tune < 0:
        raise BPCompileError(f"tune must be True, False or a number of examples, not {tune!r}.")
    if tune and backend != "c":
        raise BPCompileError("Only generated C can be tuned.", hint="Compile with backend='c'.")
    if tune and not net.losses:
        raise BPCompileError("tune measures training steps, and the network has no loss.", hint="bp.Network(z, loss=...)")


def _check_texts(what: str, values: object, example: str) -> None:
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
        raise BPCompileError(f"{what} must be a list of texts, not {values!r}.", hint=f"Write {what}=[{example!r}].")


def _check_options(net: object, backend: str, dtype: str, threads: int, optimizer: object) -> None:
    if not isinstance(net, Network):
        raise BPCompileError(f"compile takes a Network, not {type(net).__name__}.", hint="Write bp.Network(output, loss=...).")
    if backend not in BACKENDS:
        guess = nearest(str(backend), BACKENDS)
        raise BPCompileError(f"There is no backend {backend!r}; there are 'c' and 'numpy'.", hint=guess)
    if dtype not in DTYPES:
        raise BPCompileError(f"The element type must be 'float32' or 'float64', not {dtype!r}.")
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise BPCompileError(f"threads must be a positive integer, not {threads!r}.")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        hint = "Write bp.Adam(learning_rate=1e-3), bp.SGD(0.1), ..."
        raise BPCompileError(f"The optimizer must be an Optimizer, not {optimizer!r}.", hint=hint)
