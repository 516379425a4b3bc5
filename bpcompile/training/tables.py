"""Tables in .csv files: which columns belong to which input or target, and their numbers."""

from __future__ import annotations

import contextlib
import csv
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from bpcompile.errors import DataError, nearest
from bpcompile.training.fields import Array, Dataset, Wanted, fit_all, listed

__all__ = ["read_csv"]


def read_csv(
    path: Path, inputs: Sequence[Wanted], targets: Sequence[Wanted], columns: Mapping[str, Sequence[str] | str]
) -> Dataset:
    """Read a table with a header row; see `bpcompile.training.data` for the rules.

    Raises
    ------
    DataError
        If it cannot be read, or does not fit.
    """
    wanted = [*inputs, *targets]
    header, delimiter = _header(path)
    chosen = _chosen_columns(path, header, inputs, targets, columns)
    table = _numbers(path, delimiter, len(header))
    words: dict[str, tuple[str, ...]] = {}
    arrays: dict[str, Array] = {}
    if table is not None:
        for name, positions in chosen.items():
            arrays[name] = table[:, positions]
    else:
        rows = list(_rows(path, delimiter, header))
        for want in wanted:
            cells = [[row[position] for position in chosen[want.name]] for _, row in rows]
            names = _words(cells) if want.classes else ()
            if names:
                words[want.name] = names
                arrays[want.name] = np.array([[names.index(cell.strip()) for cell in row] for row in cells])
            else:
                arrays[want.name] = _converted(path, header, chosen[want.name], rows)
    for want in targets:
        # A column of whole numbers for a real target of several elements stands for labels.
        array = arrays[want.name]
        if array.shape[1:] == (1,) and len(want.shape) == 1 and want.shape[0] > 1 and np.all(array == np.rint(array)):
            arrays[want.name] = array.astype(np.int64)
    return Dataset(path.name, fit_all(path.name, arrays, wanted), label_names=words)


def _header(path: Path) -> tuple[list[str], str]:
    with _opened(path) as lines:
        first = next(lines, "")
    delimiter = "," if "," in first else ";" if ";" in first else "\t" if "\t" in first else ","
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not header or not first.strip():
        raise DataError(f"'{path}' is empty; a header row is expected.")
    numbers = [name for name in header if _is_number(name)]
    if len(numbers) == len(header):
        raise DataError(f"'{path}' begins with numbers; its first row has to name the columns.")
    doubled = next((name for position, name in enumerate(header) if name in header[:position]), None)
    if doubled is not None:
        raise DataError(f"'{path}' has two columns named '{doubled}'.")
    return header, delimiter


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file; trouble with reading it becomes a `DataError`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not text in UTF-8.") from error
    except (csv.Error, OSError) as error:
        raise DataError(f"'{path}' cannot be read as .csv: {error}.") from error


def _chosen_columns(
    path: Path,
    header: Sequence[str],
    inputs: Sequence[Wanted],
    targets: Sequence[Wanted],
    columns: Mapping[str, Sequence[str] | str],
) -> dict[str, list[int]]:
    """Map each input and target to the positions of its columns."""
    wanted = [*inputs, *targets]
    unknown = next((name for name in columns if name not in {want.name for want in wanted}), None)
    if unknown is not None:
        hint = nearest(unknown, [want.name for want in wanted])
        raise DataError(f"columns names '{unknown}', which is no input or target.", hint=hint)
    chosen: dict[str, list[int]] = {}
    for want in wanted:
        if want.name in columns:
            given = columns[want.name]
            chosen[want.name] = [
                _position(path, header, name) for name in ([given] if isinstance(given, str) else given)
            ]
        else:
            positions = _named_columns(header, want.name)
            if positions:
                chosen[want.name] = positions
    left = [want for want in wanted if want.name not in chosen]
    if not left:
        return chosen
    if len(inputs) != 1 or len(targets) > 1:
        raise DataError(
            f"'{path}' does not name the columns of '{left[0].name}'.",
            hint=f"Name them '{left[0].name}' or '{left[0].name}_0', '{left[0].name}_1', ..., or list them in columns.",
        )
    for want in reversed(left):  # the target first: it takes the last columns, and the input what remains
        taken = {position for positions in chosen.values() for position in positions}
        free = [position for position in range(len(header)) if position not in taken]
        chosen[want.name] = free if want in inputs else free[-_target_width(want, inputs, len(free)) :]
    return chosen


def _target_width(target: Wanted, inputs: Sequence[Wanted], free: int) -> int:
    """Return how many of the last columns the target takes.

    As many as it has elements; but one column of labels may stand for a row with an element for each class, and does if
    that leaves as many columns as the input has elements.
    """
    size, rest = _size(target), _size(inputs[0])
    return 1 if free - size != rest and free - 1 == rest else size


def _size(want: Wanted) -> int:
    return math.prod(want.shape)


def _named_columns(header: Sequence[str], name: str) -> list[int]:
    if name in header:
        return [header.index(name)]
    pattern = re.compile(re.escape(name) + r"_?\[?(\d{1,9})\]?\Z")
    numbered = sorted((int(match[1]), k) for k, column in enumerate(header) if (match := pattern.match(column)))
    return [position for _, position in numbered]


def _position(path: Path, header: Sequence[str], name: str) -> int:
    if name not in header:
        hint = nearest(name, header) or f"It has {listed(header)}."
        raise DataError(f"'{path}' has no column '{name}'.", hint=hint)
    return list(header).index(name)


def _numbers(path: Path, delimiter: str, width: int) -> Array | None:
    """Return the table if it is all numbers, and None where a slower and more patient look is needed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there are no rows is said by `_rows`
            table = np.loadtxt(
                path, delimiter=delimiter, skiprows=1, ndmin=2, comments=None, quotechar='"', encoding="utf-8-sig"
            )
    except (ValueError, OSError):
        return None
    return table if len(table) and table.shape[1] == width else None


def _rows(path: Path, delimiter: str, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each example."""
    empty = True
    with _opened(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"'{path}', line {reader.line_num}: {len(row)} cells, where the header has {len(header)} columns."
                )
            empty = False
            yield reader.line_num, row
    if empty:
        raise DataError(f"'{path}' has a header and no examples.")


def _words(cells: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the distinct labels in order if none of them is a number, else nothing."""
    distinct = sorted({cell.strip() for row in cells for cell in row})
    return () if any(not cell or _is_number(cell) for cell in distinct) else tuple(distinct)


def _converted(
    path: Path, header: Sequence[str], positions: Sequence[int], rows: Sequence[tuple[int, list[str]]]
) -> Array:
    array = np.empty((len(rows), len(positions)))
    for example, (line, row) in enumerate(rows):
        for element, position in enumerate(positions):
            cell = row[position].strip()
            if not _is_number(cell):
                what = f"'{cell[:40]}', which is no number" if cell else "empty"
                raise DataError(f"'{path}', line {line}: the column '{header[position]}' is {what}.")
            array[example, element] = float(cell)
    return array


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
