"""Spec files: a network, its data and its training as TOML. Nothing in such a file is executed."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from bpcompile.errors import BPCompileError, SpecError
from bpcompile.language.network import Network
from bpcompile.language.spec_lines import Source
from bpcompile.language.spec_network import read_network

__all__ = ["CompileSection", "DataSection", "SpecFile", "TrainingSection", "load_spec", "parse_spec"]


@dataclass(frozen=True)
class DataSection:
    """The table ``[data]``.

    Attributes
    ----------
    source : str
        ``sklearn:digits``, or a ``.npz`` or ``.csv`` file; relative paths are relative to the spec file.
    test_fraction : float
        The share of the examples that is held out.
    seed : int
        Decides which examples are held out.
    scale : str
        How real inputs are scaled.
    columns : mapping of str to str or list of str
        For CSV files: the columns of each input and target.
    """

    source: str
    test_fraction: float = 0.2
    seed: int = 0
    scale: str = "none"
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingSection:
    """The table ``[training]``; `options` are those of the optimizer."""

    optimizer: str = "adam"
    learning_rate: float | None = None
    batch_size: int = 32
    epochs: int = 10
    seed: int = 0
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CompileSection:
    """The table ``[compile]``."""

    backend: str = "c"
    dtype: str = "float32"
    threads: int = 1


@dataclass(frozen=True)
class SpecFile:
    """What a spec file says.

    Attributes
    ----------
    network : Network
    data : DataSection or None
    training : TrainingSection
    compile : CompileSection
    path : Path or None
        Where it came from; paths inside it are relative to its folder.
    text : str
        The file as it stands.
    """

    network: Network
    data: DataSection | None
    training: TrainingSection
    compile: CompileSection
    path: Path | None = None
    text: str = ""

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the spec start from."""
        return self.path.parent if self.path else Path()

    def fail(self, place: tuple[str, ...], error: BPCompileError) -> NoReturn:
        """Raise an error that came of what the file says at a place, with that place.

        Raises
        ------
        SpecError
            With the error's message.
        """
        Source(self.text, str(self.path or "the spec")).wrap(place, error)


MOST_CHARACTERS = 2**22
"""Longer files are none."""
MOST_PARTS = 32
"""The most parts of a dotted key: tomllib's time grows with their square."""
_LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]+[ \t]*\.[ \t]*)" + f"{{{MOST_PARTS}}}")

_TABLES = ("network", "inputs", "targets", "layers", "losses", "penalties", "data", "training", "compile")

_OPTIMIZER_OPTIONS = ("momentum", "nesterov", "beta1", "beta2", "epsilon", "rho", "weight_decay")


def load_spec(path: str | Path) -> SpecFile:
    """Read a spec file.

    Raises
    ------
    SpecError
        If the file cannot be read, or anything in it is wrong; the message names file and line.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig") as opened:  # some editors begin a file with a byte order mark
            text = opened.read(MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise SpecError(f"There is no file '{file}'.") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"The file '{file}' cannot be read: {error}") from None
    return parse_spec(text, file)


def parse_spec(text: str, path: str | Path | None = None) -> SpecFile:
    """Read a spec from text; `path` is for messages and for relative paths.

    Raises
    ------
    SpecError
        If anything in it is wrong.
    """
    file = Path(path) if path is not None else None
    name = str(file) if file else "the spec"
    if len(text) > MOST_CHARACTERS:
        raise SpecError(f"It has more than {MOST_CHARACTERS} characters.", hint="Is this a spec file?", file=name)
    long = _LONG_KEY.search(text)
    if long:
        line = text.count("\n", 0, long.start()) + 1
        raise SpecError(f"A key has more than {MOST_PARTS} parts.", hint="Write tables.", file=name, line=line)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        message = re.sub(r"\s*\(at .*\)$", "", str(error))
        where = f"column {found[2]}" if found else ""
        raise SpecError(
            f"This is not TOML: {message}.", file=name, line=int(found[1]) if found else 0, where=where
        ) from None
    except ValueError as error:  # an integer of thousands of digits
        raise SpecError(f"This is not TOML: {error}.", file=name) from None
    except RecursionError:  # tomllib reads brackets within brackets by recursion
        raise SpecError("Brackets are nested too deeply.", hint="Write the value flat.", file=name) from None
    source = Source(text, name)
    source.check_keys(tables, _TABLES)
    try:
        network = read_network(tables, source)
    except SpecError:
        raise
    except BPCompileError as error:
        source.wrap(("network",), error)
    return SpecFile(network, _data(tables, source), _training(tables, source), _compile(tables, source), file, text)


def _data(tables: Mapping[str, Any], source: Source) -> DataSection | None:
    if "data" not in tables:
        return None
    table = source.table(tables["data"], "data")
    source.check_keys(table, ("source", "test_fraction", "seed", "scale", "columns"), "data")
    if not isinstance(table.get("source"), str):
        source.fail(("data", "source"), "[data] needs a source.", 'Write source = "sklearn:digits", or a file.')
    fraction = _number(source, table, "test_fraction", 0.2, "data")
    if not 0 <= fraction < 1:
        source.fail(("data", "test_fraction"), f"'test_fraction' is from 0 up to 1, not {fraction!r}.")
    scale = table.get("scale", "none")
    if not isinstance(scale, str):
        source.fail(("data", "scale"), f"'scale' is a text, not {scale!r}.")
    columns = source.table(table.get("columns", {}), "data", "columns")
    return DataSection(table["source"], fraction, _count(source, table, "seed", 0, "data", 0), scale, columns)


def _training(tables: Mapping[str, Any], source: Source) -> TrainingSection:
    table = source.table(tables.get("training", {}), "training")
    own = ("optimizer", "learning_rate", "batch_size", "epochs", "seed")
    source.check_keys(table, (*own, *_OPTIMIZER_OPTIONS), "training")
    optimizer = table.get("optimizer", "adam")
    if not isinstance(optimizer, str):
        source.fail(("training", "optimizer"), f"'optimizer' is a name, not {optimizer!r}.")
    rate = _number(source, table, "learning_rate", None, "training") if "learning_rate" in table else None
    if rate is not None and not rate > 0:
        source.fail(("training", "learning_rate"), f"'learning_rate' is a positive number, not {rate!r}.")
    options = {key: value for key, value in table.items() if key in _OPTIMIZER_OPTIONS}
    for key, value in options.items():
        if key != "nesterov":
            _number(source, table, key, value, "training")
    return TrainingSection(
        optimizer,
        rate,
        _count(source, table, "batch_size", 32, "training"),
        _count(source, table, "epochs", 10, "training"),
        _count(source, table, "seed", 0, "training", 0),
        options,
    )


def _compile(tables: Mapping[str, Any], source: Source) -> CompileSection:
    table = source.table(tables.get("compile", {}), "compile")
    source.check_keys(table, ("backend", "dtype", "threads"), "compile")
    for key, known in (("backend", ("c", "numpy")), ("dtype", ("float32", "float64"))):
        if key in table and table[key] not in known:
            source.fail(("compile", key), f"'{key}' is one of {', '.join(known)}, not {table[key]!r}.")
    threads = _count(source, table, "threads", 1, "compile")
    return CompileSection(table.get("backend", "c"), table.get("dtype", "float32"), threads)


def _number(source: Source, table: Mapping[str, Any], key: str, default: Any, place: str) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        source.fail((place, key), f"'{key}' is a number, not {value!r}.")
    return float(value)


def _count(source: Source, table: Mapping[str, Any], key: str, default: int, place: str, least: int = 1) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        source.fail((place, key), f"'{key}' is an integer of at least {least}, not {value!r}.")
    return value
