"""A spec file on its way through the pipeline: what each command starts from."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpcompile.errors import BPCompileWarning, DataError, TrainingError
from bpcompile.language.spec import SpecFile, load_spec
from bpcompile.training.data import Field, load_data
from bpcompile.training.split import Split, scale_split, split_data

if TYPE_CHECKING:
    from bpcompile.check_report import CheckReport
    from bpcompile.model import Model
    from bpcompile.training.optimizers import Optimizer

Array = NDArray[Any]


@dataclass
class Session:
    """A spec file, how long each step took, and what was warned of on the way."""

    spec: SpecFile
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and keep its warnings for the report instead of printing them."""
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BPCompileWarning)
            yield
        self.warnings += [str(w.message) for w in caught if issubclass(w.category, BPCompileWarning)]
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def open_spec(path: Path) -> Session:
    """Read a spec file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BPCompileWarning)
        spec = load_spec(path)
    return Session(spec, warnings=[str(w.message) for w in caught if issubclass(w.category, BPCompileWarning)])


def optimizer_of(spec: SpecFile) -> Optimizer:
    """The optimizer that the spec names."""
    from bpcompile.training.optimizers import optimizer_named

    options: dict[str, float] = dict(spec.training.options)
    if spec.training.learning_rate is not None:
        options["learning_rate"] = spec.training.learning_rate
    try:
        return optimizer_named(spec.training.optimizer, **options)
    except TrainingError as error:
        named = next((name for name in options if f"'{name}'" in error.message or error.message.startswith(name)), "optimizer")
        spec.fail(("training", named), error)


def compiled(session: Session, **changes: Any) -> Model:
    """Compile the network as the spec says; `changes` win over the spec."""
    from bpcompile.driver import compile as compile_network

    options = compile_options(session, changes)
    optimizer = optimizer_of(session.spec) if session.spec.network.losses else None
    with session.step("compile"):
        return compile_network(session.spec.network, optimizer=optimizer, **options)


def compile_options(session: Session, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Backend, element type and threads: as the spec says, where `changes` say nothing."""
    section = session.spec.compile
    options: dict[str, Any] = {"backend": section.backend, "dtype": section.dtype, "threads": section.threads}
    return options | {name: value for name, value in changes.items() if value is not None}


def data_of(session: Session) -> Split:
    """Load, split and scale the data that the spec names."""
    section, network = session.spec.data, session.spec.network
    if section is None:
        raise DataError("The spec has no table [data].", hint='Add one: [data] with source = "sklearn:digits" or a file.')
    inputs = [_field(v) for v in network.inputs.values()]
    targets = [_field(v) for v in network.targets.values()]
    key = "source"
    with session.step("data"):
        try:
            dataset = load_data(section.source, session.spec.folder, inputs, targets, columns=section.columns or None)
            key = "test_fraction"
            split = split_data(dataset, targets, test_fraction=section.test_fraction, seed=section.seed)
            key = "scale"
            return scale_split(split, section.scale, inputs)
        except DataError as error:
            session.spec.fail(("data", key), error)


def checked(session: Session, data: Mapping[str, Array] | None, *, model: Model | None = None, **options: Any) -> CheckReport:
    """Check the gradients of the network of the spec."""
    from bpcompile.check import check_gradients

    with session.step("check"):
        few: dict[str, Any] = {name: np.asarray(array[:16]) for name, array in (data or {}).items()}
        return check_gradients(session.spec.network, model=model, **options, **few)


def derivation_texts(session: Session, kinds: Sequence[str]) -> dict[str, str]:
    """The derivation as LaTeX (``tex``) or Markdown (``md``), derived once."""
    from bpcompile.derivation.derive import derive

    with session.step("derive"):
        derivation = derive(session.spec.network)
        texts: dict[str, Callable[[], str]] = {"tex": derivation.latex, "md": derivation.markdown}
        return {kind: texts[kind]() for kind in kinds}


def _field(value: Any) -> Field:
    return Field(value.name, tuple(e for e in value.shape if e is not None), value.classes)
