"""A network as an importable package that needs only NumPy and cffi's runtime."""

from __future__ import annotations

import keyword
import math
import pprint
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bpcompile import __version__, build, standalone
from bpcompile.arrays import ArraySpec
from bpcompile.calculus.gradient import analyze
from bpcompile.commands.package_example import example_text
from bpcompile.commands.session import open_spec, optimizer_of
from bpcompile.commands.tables import seconds_text, shape_text
from bpcompile.driver import build_source, c_module, c_prefix, lower
from bpcompile.driver import compile as compile_network
from bpcompile.emit.c.source import Interface
from bpcompile.emit.templates import environment
from bpcompile.errors import BuildError
from bpcompile.language.initializers import Constant, Initializer, Normal, Orthogonal, Uniform, VarianceScaling, fans
from bpcompile.language.network import Network
from bpcompile.signature import Signature, signature_of
from bpcompile.training.optimizers import Optimizer

_MOST_CONSTANTS = 10_000  # numbers of an initial value that may stand in the text


def compile_spec(
    spec: Path, console: Console, *, out: Path, dtype: str | None, threads: int | None, tune: bool = False
) -> dict[str, Any]:
    """Write the network of a spec as a package into a folder."""
    session = open_spec(spec)
    with session.step("compile"):
        network, section = session.spec.network, session.spec.compile
        optimizer = optimizer_of(session.spec) if network.losses else None
        dtype, threads = dtype or section.dtype, threads or section.threads
        batch = session.spec.training.batch_size if tune else False
        path = write_network(network, optimizer, out, dtype, threads, tune=batch)
    took = seconds_text(session.seconds["compile"])
    console.print(f"package [bold]{path.name}[/] written to {path} in {took}", highlight=False)
    files = sorted(p.name for p in path.iterdir() if p.is_file())
    console.print("  " + "  ".join(files), highlight=False)
    return {
        "network": session.spec.network.name,
        "package": str(path),
        "files": files,
        "seconds": session.seconds,
        "warnings": session.warnings,
    }


def write_network(
    network: Network, optimizer: Optimizer | None, out: Path, dtype: str, threads: int = 1, *, tune: bool | int = False
) -> Path:
    """Compile a network and write its package; give the package's folder."""
    programs = lower(analyze(network), ("parameters",), optimizer)
    signature = signature_of(network, programs.predict, programs.gradient, dtype)
    limits = compile_network(network, dtype=dtype, optimizer=optimizer, tune=tune).cost.tuned if tune else {}
    module = c_module(programs, signature, c_prefix(network.name), limits)
    facts = facts_of(network, signature, module.interface, module.prefix, optimizer) | {"threads": threads}
    texts = {
        "__init__.py": init_text(facts, signature),
        "_runtime.py": Path(standalone.__file__).read_text(encoding="utf-8"),
        "example.c": example_text(facts, module.interface, signature),
    }
    name = package_name(network.name)
    return build.write_package(build_source(module, threads), out, name=name, files=texts, threads=threads)


def package_name(name: str) -> str:
    """A name that can be imported."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return f"{plain}_network" if keyword.iskeyword(plain) or not plain[:1].isalpha() else plain


def facts_of(
    network: Network, signature: Signature, face: Interface, prefix: str, optimizer: Optimizer | None
) -> dict[str, Any]:
    """Everything that the package's Python must know of its network, as plain data."""
    inputs = [t.name for t in face.inputs]
    size = signature.trainable
    has_step = optimizer is not None and signature.has_loss and size > 0
    return {
        "name": network.name,
        "prefix": prefix,
        "dtype": signature.dtype,
        "parameters": [
            (n, network.parameters[n].shape, recipe(n, network.parameters[n].shape, network.parameters[n].initializer))
            for n in signature.parameters.names
        ],
        "states": [
            (n, network.states[n].shape, recipe(n, network.states[n].shape, network.states[n].initializer))
            for n in signature.states.names
        ],
        "inputs": [_input_facts(s, inputs) for s in signature.arrays],
        "outputs": [(o.name, o.shape, o.integer) for o in signature.outputs],
        "input_gradients": list(signature.input_gradients),
        "optimizer": {
            "name": optimizer.name,
            "learning_rate": float(optimizer.learning_rate),
            "elements": len(optimizer.state) * size,
        }
        if has_step and optimizer is not None
        else None,
    }


def init_text(facts: dict[str, Any], signature: Signature) -> str:
    """The text of the package's ``__init__.py``."""
    exported = ["Parameters", "init", "init_state", "parameters", "predict"]
    exported += ["value_and_grad"] if signature.has_loss else []
    exported += ["train_epoch"] if facts["optimizer"] else []
    text: str = environment().get_template("package/init.py.j2").render(
        name=facts["name"],
        made_by=f"Generated by bpcompile {__version__}; do not edit.",
        prefix=facts["prefix"],
        inputs=[f"{s.name}=..." for s in signature.arrays if not s.target],
        arguments=[f"{s.name}=..." for s in signature.arrays],
        has_loss=signature.has_loss,
        has_optimizer=facts["optimizer"] is not None,
        shapes=[f"{s.name}: {shape_text((None, *s.shape))}{_kind(s)}" for s in signature.arrays],
        facts=pprint.pformat(facts, width=110, sort_dicts=False),
        exported=exported,
    )  # fmt: skip
    return text


def _kind(spec: ArraySpec) -> str:
    if not spec.integer:
        return ""
    return f", integers 0 .. {spec.classes - 1}" if spec.classes is not None else ", integers"


def _input_facts(spec: ArraySpec, order: list[str]) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": spec.shape,
        "integer": spec.integer,
        "classes": spec.classes,
        "exempt": spec.extra,
        "target": spec.target,
        "slot": order.index(spec.name) if spec.name in order else None,
    }


def recipe(name: str, shape: tuple[int, ...], initializer: Initializer) -> tuple[Any, ...]:
    """How the package makes the first values of a parameter: a distribution and its numbers."""
    if isinstance(initializer, VarianceScaling):
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": float(fan_in), "fan_out": float(fan_out), "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
        variance = initializer.scale / max(fan, 1.0)
        if initializer.distribution == "uniform":
            return ("uniform", -math.sqrt(3 * variance), math.sqrt(3 * variance))
        return ("normal", 0.0, math.sqrt(variance))
    if isinstance(initializer, Uniform):
        return ("uniform", initializer.low, initializer.high)
    if isinstance(initializer, Normal):
        return ("normal", initializer.mean, initializer.std)
    if isinstance(initializer, Orthogonal):
        return ("orthogonal", initializer.gain)
    values = np.asarray(initializer.value if isinstance(initializer, Constant) else _drawn(name, shape, initializer))
    if values.size > _MOST_CONSTANTS:
        raise BuildError(
            f"The initializer of '{name}' gives {values.size} numbers, too many to write into a package.",
            hint="Use one of the named initializers, and set the values after init().",
        )
    return ("constant", values.tolist())


def _drawn(name: str, shape: tuple[int, ...], initializer: Initializer) -> Any:
    """The values of a user's own initializer, as of seed 0."""
    fan_in, fan_out = fans(shape)
    return initializer.fill(np.random.default_rng([0, *name.encode()]), shape, fan_in, fan_out)
