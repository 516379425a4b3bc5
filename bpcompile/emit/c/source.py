"""What goes into a C module and what comes out: plain data, with the names by which a caller knows its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bpcompile.emit.c.limits import Limits
from bpcompile.nodes.statements import Tensor
from bpcompile.program.schedule_types import Region, Schedule

Dtype = Literal["float32", "float64"]
REAL: Final[Mapping[str, str]] = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class ModuleSpec:
    """The schedules of a module.

    Parameters
    ----------
    prefix : str
        A C identifier: every external symbol begins with it and an underscore.
    title : str
        The network, for people.
    dtype : str
        ``float32`` or ``float64``.
    predict : Schedule, optional
        From inputs to outputs; training is off.
    value_and_grad : Schedule, optional
        From inputs and targets to the loss and the gradients.
    update : Schedule, optional
        The optimizer's step: its ``params`` region is the parameters (which it writes), ``grads`` the gradients, ``state``
        the optimizer's own vector.
    seeds : tuple of str
        Names of run-time scalars, in the order of ``call->seeds``.
    notes : tuple of str
        Lines for the comment at the top: operation counts and the like.
    maker : str
        What made the file, with its version.
    limits : mapping of int to Limits
        Where the variants of single kernels part, by the kernel's number (see `Source.unlike`).
    """

    prefix: str
    title: str
    dtype: Dtype
    predict: Schedule | None = None
    value_and_grad: Schedule | None = None
    update: Schedule | None = None
    seeds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    maker: str = "bpcompile"
    limits: Mapping[int, Limits] = field(default_factory=dict)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules that are there, by the name of their function."""
        found = {"predict": self.predict, "value_and_grad": self.value_and_grad, "update": self.update}
        return {name: schedule for name, schedule in found.items() if schedule is not None}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor that a caller passes or reads: its shape (``None``: the batch) and place."""

    name: str
    shape: tuple[int | None, ...]
    kind: str
    offset: int = 0
    classes: int | None = None

    @property
    def elements(self) -> int:
        """Elements, for one example if there is a batch axis."""
        total = 1
        for extent in self.shape:
            total *= extent or 1
        return total


@dataclass(frozen=True)
class Interface:
    """The arrays of a module in the order in which a call lists them.

    ``inputs``, ``outputs`` and ``input_grads`` are the slots of the call's pointer tables; ``parameters`` and ``states`` lie
    in the flat vectors at their offsets; ``optimizer_state`` in the optimizer's own.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    input_grads: tuple[TensorInfo, ...]
    parameters: tuple[TensorInfo, ...]
    states: tuple[TensorInfo, ...]
    optimizer_state: tuple[TensorInfo, ...]
    seeds: tuple[str, ...]

    def slot(self, tensor: Tensor, region: Region) -> int:
        """The number of a tensor in the pointer table of its region."""
        table = {"input": self.inputs, "output": self.outputs, "input_grad": self.input_grads}[region]
        return next(i for i, info in enumerate(table) if info.name == _caller_name(tensor))


@dataclass(frozen=True)
class Source:
    """A generated module.

    ``c_text`` stands alone; ``header_text`` declares it; ``cdef_text`` declares it for cffi. ``pool_text`` and ``pool_cdef``
    are the thread pool that only the extension brings. ``unlike`` names the C function of each unlike kernel, in order.
    ``parts``: how many compilers can take ``c_text`` side by side, each told its number as ``BP_PART``.
    """

    prefix: str
    dtype: Dtype
    c_text: str
    header_text: str
    cdef_text: str
    pool_text: str
    pool_cdef: str
    functions: tuple[str, ...]
    interface: Interface
    kernels: int
    unlike: tuple[str, ...] = ()
    parts: int = 1


def interface_of(spec: ModuleSpec) -> Interface:
    """Collect the arrays of all functions of a module; those of training come first."""
    steps = [s for s in (spec.value_and_grad, spec.predict) if s is not None]
    update = [spec.update] if spec.update is not None else []
    return Interface(
        _collect(steps, "input"),
        _collect(steps, "output"),
        _collect(steps, "input_grad"),
        tuple(sorted(_collect(steps or update, "params"), key=lambda t: t.offset)),
        tuple(sorted(_collect(steps, "state"), key=lambda t: t.offset)),
        tuple(sorted(_collect(update, "state"), key=lambda t: t.offset)),
        spec.seeds,
    )


def _caller_name(tensor: Tensor) -> str:
    return tensor.of if tensor.role == "gradient" else tensor.name


def _collect(schedules: list[Schedule], region: Region) -> tuple[TensorInfo, ...]:
    found: dict[str, TensorInfo] = {}
    for schedule in schedules:
        tensors = [t for t in schedule.program.tensors.values() if t.name in schedule.places]
        inside = [t for t in tensors if schedule.places[t.name].region == region]
        for t in sorted(inside, key=lambda t: schedule.places[t.name].slot):
            name = _caller_name(t)
            found.setdefault(name, TensorInfo(name, t.shape, t.kind, schedule.places[t.name].offset, t.classes))
    return tuple(found.values())
