"""Kernels as C functions, each distinct one once, and the calls that run them in order."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from bpcompile.emit.c.clear import emit_clear
from bpcompile.emit.c.contraction import emit_contraction, emit_pack
from bpcompile.emit.c.contraction_tiles import WITH_KERNELS, Tiles, instances, joined
from bpcompile.emit.c.equations import Pattern, comments, patterns
from bpcompile.emit.c.kernel_text import Argument, KernelText, canonical_key, element_type, mangled
from bpcompile.emit.c.likeness import kernel_shape
from bpcompile.emit.c.limits import DEFAULTS, Limits
from bpcompile.emit.c.nests import emit_nest
from bpcompile.emit.c.source import Interface
from bpcompile.nodes.access import elements
from bpcompile.nodes.expressions import Axis
from bpcompile.nodes.statements import Tensor
from bpcompile.program.schedule_types import BatchLoop, Clear, Contraction, Kernel, KernelLoop, Pack, Place, Schedule


@dataclass(frozen=True, slots=True)
class PhaseFunction:
    """A phase as the template prints it."""

    name: str
    parameters: str
    body: str
    units: str
    work: str
    attributes: str
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel as the template prints it: its phases, and the function that runs them."""

    name: str
    parameters: str
    equations: tuple[str, ...]
    phases: tuple[PhaseFunction, ...]
    arguments: tuple[str, ...]
    leading: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Callee:
    """A kernel as a call needs it; ``tensors`` are those of the kernel whose text it is, by their numbers."""

    name: str
    tensors: tuple[str, ...]
    arguments: tuple[Argument, ...]
    scratch: str
    leading: tuple[str, ...]
    patterns: tuple[Pattern, ...]


@dataclass
class KernelTable:
    """The distinct kernels of a module: alike ones share their text, and equal texts are one function.

    ``limits`` are those of single kernels, by the order in which unlike ones are met.
    """

    dtype: str
    limits: Mapping[int, Limits] = field(default_factory=dict)
    callees: dict[Hashable, Callee] = field(default_factory=dict)
    functions: list[KernelFunction] = field(default_factory=list)
    helpers: dict[str, None] = field(default_factory=dict)
    families: set[str] = field(default_factory=set)
    tiles: Tiles = ()
    dot_depth: int = 0
    _found: dict[str, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def add(self, kernel: KernelText) -> str:
        """Give the name of the C function that runs a kernel."""
        key = canonical_key(kernel)
        if key not in self._found:
            name = self._unique(kernel.name)
            self._found[key] = name
            self.helpers.update(dict.fromkeys(kernel.helpers))
            self.families.update(kernel.families)
            self.tiles = joined(self.tiles, kernel.tiles)
            self.dot_depth = math.gcd(self.dot_depth, kernel.dot_depth)
            self.functions.append(_function(replace(kernel, name=name)))
        return self._found[key]

    def shared_text(self) -> list[str]:
        """The functions and macros at file scope that kernels call, each after what it needs."""
        depth = [f"#define BP_DOT_DEPTH {self.dot_depth} /* divides the depth of every dot */\n"] if self.dot_depth else []
        return [*depth, *self.helpers, *instances(self.tiles, self.families)]

    @property
    def apart(self) -> bool:
        """True if there are tiles that can be compiled apart from the kernels."""
        return bool(self.families - WITH_KERNELS)

    def leading(self, name: str) -> tuple[str, ...]:
        """What a function takes before the kernel's own arguments: ``parallel``, ``n``."""
        return next(f.leading for f in self.functions if f.name == name)

    def _unique(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        return f"k_{name}"


@dataclass
class CallWriter:
    """Writes the calls of one schedule.

    Parameters
    ----------
    name : str
        The function that runs them.
    schedule : Schedule
    interface : Interface
    table : KernelTable

    Attributes
    ----------
    parts : dict of str to list of str
        Functions that run loops for some examples, by their names: they work on ``count`` ones from number ``first``.
    """

    name: str
    schedule: Schedule
    interface: Interface
    table: KernelTable
    parts: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    scratch: dict[str, None] = field(default_factory=dict)
    _times: dict[Axis, str] = field(default_factory=dict)
    _inside: bool = False

    def write(self) -> list[str]:
        """The statements that run all kernels in order, and then, in training, copy the states' next values over them."""
        for step in self.schedule.steps:
            if isinstance(step, KernelLoop) and step.examples:
                self._part(step)
            elif isinstance(step, KernelLoop):
                self._loop(step)
            elif isinstance(step, BatchLoop):
                self._portions(step)
            else:
                self.lines.extend(self._call(step))
        self.lines.extend(self._next_states())
        return self.lines

    def _part(self, loop: KernelLoop) -> None:
        """A loop in a function of its own, called for ``examples`` examples at a time."""
        name = f"{self.name}_part{len(self.parts) + 1}"
        outside, self.lines, self._inside = self.lines, [], True
        self._loop(loop)
        self.parts[name], self.lines, self._inside = self.lines, outside, False
        self.lines.append(f"bp_in_parts({name}, call, {loop.examples});")

    def _loop(self, loop: KernelLoop) -> None:
        spans = [self._span(a, reverse=False) for a in loop.outer] + [self._span(loop.axis, loop.reverse)]
        for depth, span in enumerate(spans):
            self.lines.append("    " * depth + f"for (ptrdiff_t {span}) {{")
        for kernel in loop.body:
            self.lines.extend("    " * len(spans) + line for line in self._call(kernel))
        self.lines.extend("    " * depth + "}" for depth in range(len(spans) - 1, -1, -1))

    def _span(self, axis: Axis, reverse: bool) -> str:
        """The head of a loop over an axis, under a name of its own."""
        name, extent = mangled(axis.name), "n" if axis.extent is None else axis.extent
        name = f"{name}_{len(self._times)}" if name in self._times.values() else name
        self._times[axis] = name
        return f"{name} = {extent} - 1; {name} >= 0; {name}--" if reverse else f"{name} = 0; {name} < {extent}; {name}++"

    def _portions(self, loop: BatchLoop) -> None:
        """A loop whose calls work on ``count`` examples, beginning with number ``first``."""
        self.lines.append(f"for (ptrdiff_t first = 0; first < n; first += {loop.examples}) {{")
        self.lines.append(f"    const ptrdiff_t count = n - first < {loop.examples} ? n - first : {loop.examples};")
        self._inside = True
        for kernel in loop.body:
            self.lines.extend("    " + line for line in self._call(kernel))
        self._inside = False
        self.lines.append("}")

    def _call(self, kernel: Kernel) -> list[str]:
        shape, tensors = kernel_shape(kernel, self.schedule.places, self.schedule.program.tensors)
        callee = self.table.callees.get(shape)
        if callee is None:
            text = self._text(kernel)
            name = self.table.add(text)
            callee = Callee(
                name, tensors, text.arguments, text.scratch, self.table.leading(name), patterns(kernel, tensors)
            )
            self.table.callees[shape] = callee
        if callee.scratch:
            self.scratch[callee.scratch] = None
        actual = dict(zip(callee.tensors, tensors, strict=True))
        passed = [self._passed(a) for a in callee.leading]
        passed += [self._argument(a, actual.get(a.tensor, "")) for a in callee.arguments]
        said = [f"/* {_plain(e)} */" for e in comments(callee.patterns, kernel, tensors)]
        return [*said, f"{callee.name}({', '.join(passed)});"]

    def _text(self, kernel: Kernel) -> KernelText:
        places, tensors, dtype = self.schedule.places, self.schedule.program.tensors, self.table.dtype
        if isinstance(kernel, Clear):
            return emit_clear(kernel, places, tensors)
        if isinstance(kernel, Pack):
            return emit_pack(kernel, places, tensors, dtype)
        if isinstance(kernel, Contraction):
            limits = self.table.limits.get(len(self.table.callees), DEFAULTS)
            return emit_contraction(kernel, places, tensors, dtype, mangled(kernel.statement.target).rstrip("_"), limits)
        return emit_nest(kernel, places, tensors, dtype, mangled(kernel.statements[-1].target).rstrip("_"))

    def _argument(self, argument: Argument, tensor: str) -> str:
        """What a call passes for an argument; for a pointer, to which tensor."""
        if argument.source == "tensor":
            return self.pointer(tensor, argument.c_type)
        if argument.source == "time":
            assert argument.axis is not None
            return self._times[argument.axis]
        if argument.source == "seed" and argument.seed == "step":  # it counts up during an epoch
            return "(real)call->step"
        if argument.source == "seed":
            return f"call->seeds[{self.interface.seeds.index(argument.seed)}]"
        return self._passed(argument.source)

    def _passed(self, source: str) -> str:
        return "count" if source == "n" and self._inside else _PASSED[source]

    def pointer(self, tensor: str, c_type: str) -> str:
        """C text of a pointer to a tensor's first element."""
        place, described = self.schedule.places[tensor], self.schedule.program.tensors[tensor]
        text = self._address(place, described)
        if self._inside and None in described.shape and place.region != "fixed":
            text = f"{text} + first * {elements(described)}"
        kind = element_type(described, place)
        return f"({c_type})(void *)({text})" if kind == "sint" else text

    def _address(self, place: Place, tensor: Tensor) -> str:
        region, offset = place.region, place.offset
        if region in ("input", "output", "input_grad"):
            slot = self.interface.slot(tensor, region)
            pointer = f"call->{region}s[{slot}]"
            return f"(const {element_type(tensor, place)} *){pointer}" if region == "input" else pointer
        if region == "loss":
            return "call->loss"
        if region == "batch":
            return f"batch + n * {offset}" if offset else "batch"
        return f"{region} + {offset}" if offset else region

    def _next_states(self) -> Iterable[str]:
        tensors, places = self.schedule.program.tensors, self.schedule.places
        for tensor in tensors.values():
            if tensor.role != "next_state" or tensor.name not in places:
                continue
            target, source = places[tensor.of], places[tensor.name]
            if (target.region, target.offset) == (source.region, source.offset):
                continue
            count = 1
            for extent in tensor.shape:
                count *= extent or 1
            to, from_ = self._address(target, tensors[tensor.of]), self._address(source, tensor)
            yield f"/* {_plain(tensor.of)} takes its next value */"
            yield f"if (call->training) memcpy({to}, {from_}, sizeof(real) * {count});"


_PASSED: Mapping[str, str] = {
    "parallel": "parallel", "n": "n", "examples": "n", "key": "call->key", "step": "call->step", "training": "training",
    "scratch": "scratch",
}  # fmt: skip
_LEADING: Mapping[str, str] = {"parallel": "const P_parallel *parallel", "n": "ptrdiff_t n"}


def _plain(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def _function(kernel: KernelText) -> KernelFunction:
    declarations = [a.declaration for a in kernel.arguments]
    members = tuple((a.member, a.c_name) for a in kernel.arguments)
    phases = []
    for number, phase in enumerate(kernel.phases):
        name = f"run_{kernel.name}" if len(kernel.phases) == 1 else f"run{number}_{kernel.name}"
        parameters = [*declarations, *(("ptrdiff_t begin", "ptrdiff_t end") if phase.units else ())]
        phases.append(
            PhaseFunction(
                name, ", ".join(parameters) or "void", phase.body, phase.units, phase.work, phase.attributes, members
            )
        )
    leading: tuple[str, ...] = ()
    if any(p.units for p in phases):
        sizes = " ".join(f"{p.units} {p.work}" for p in phases if p.units)
        own_n = any(a.source == "n" for a in kernel.arguments) or not re.search(r"\bn\b", sizes)
        leading = ("parallel",) if own_n else ("parallel", "n")
    elif len(phases) == 1:
        phases = [replace(phases[0], name=kernel.name)]
    outer = [_LEADING[a] for a in leading]
    return KernelFunction(
        kernel.name,
        ", ".join([*outer, *declarations]) or "void",
        kernel.equations,
        tuple(phases),
        tuple(a.c_name for a in kernel.arguments),
        leading,
    )
