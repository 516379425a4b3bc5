"""A layer: equations in order, with their inputs, parameters, states and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sympy

from bpcompile.errors import LanguageError, nearest
from bpcompile.language.elements import merge_elements
from bpcompile.language.equation import Equation, accesses, index_names
from bpcompile.language.initializers import Initializer, initializer
from bpcompile.language.parser import parse_equation
from bpcompile.language.penalties import Penalty, penalty
from bpcompile.language.recurrence import is_start
from bpcompile.language.rewrite import rewrite
from bpcompile.language.symbols import BATCH, Access
from bpcompile.language.syntax import Names, Scan, scan_names
from bpcompile.language.value import LayerBase, Value

__all__ = ["Layer"]

Dimensions = tuple[str | int, ...]


class Layer(LayerBase):
    """A layer by its equations.

    Parameters
    ----------
    equations : sequence of str or Equation
        In order, as text or as SymPy objects.
    parameters : mapping of str to tuple
        The trained tensors: for each, the names of its indices (or integers).
    sizes : mapping of str to int
        Extents of indices that no input tells.
    inputs : sequence of str
        The names under which the equations read what the layer is called on, in order. Without it, these are the tensors
        that are read and nowhere defined, in the order of the text.
    output : str or sequence of str
        The tensor or tensors that a call returns; by default the last one defined.
    outside : mapping of str to number
        What a read beyond the bounds of a tensor gives. Without it, such a read is an error.
    state : mapping of str to tuple
        Tensors that outlive a call; their equation gives the next value.
    name : str, optional
        The layer's name; its parameters are ``<name>.<parameter>``.
    initializers : mapping
        How parameters and states start: a name, a number or an object. By default ``glorot_uniform`` for tensors with two
        axes or more, zeros for the rest.
    constants : mapping of str to number
        Numbers to put in the place of names.
    frozen : sequence of str
        Parameters that are not trained.
    penalties : mapping of str to Penalty
        `L1` and `L2` penalties of parameters.
    shared : mapping of str to str
        Parameters that are another layer's, such as ``{"W": "embedding.E"}``.
    kind : str
        The stem of the names of unnamed layers.
    types : mapping of str to str
        ``"integer"`` or ``"real"`` for tensors where that is not told by their equation.
    exempt : mapping of str to tuple of int
        Integers that an input may hold beyond its classes, because the equations mask them: labels to ignore.

    Raises
    ------
    LanguageError
        If the equations do not make sense on their own; extents are checked when the layer is called.

    Examples
    --------
    >>> swish = Layer(["a[n,j] = z[n,j] / (1 + exp(-z[n,j]))"], name="swish")
    >>> swish.inputs, swish.outputs
    (('z',), ('a',))
    """

    reads_something = False

    def __init__(
        self,
        equations: str | Equation | Sequence[str | Equation],
        parameters: Mapping[str, Iterable[str | int] | str] | None = None,
        sizes: Mapping[str, int] | None = None,
        inputs: Sequence[str] | str = (),
        output: Sequence[str] | str = "",
        outside: Mapping[str, float] | None = None,
        state: Mapping[str, Iterable[str | int] | str] | None = None,
        name: str | None = None,
        initializers: Mapping[str, object] | None = None,
        constants: Mapping[str, float] | None = None,
        frozen: Sequence[str] | str = (),
        penalties: Mapping[str, object] | None = None,
        shared: Mapping[str, str] | None = None,
        kind: str = "layer",
        types: Mapping[str, str] | None = None,
        exempt: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__(name, kind)
        listed = [equations] if isinstance(equations, (str, Equation)) else list(equations)
        if not listed:
            raise self.error("A layer needs at least one equation.")
        self.parameters = {key: self._dimensions(key, dims) for key, dims in dict(parameters or {}).items()}
        self.state = {key: self._dimensions(key, dims) for key, dims in dict(state or {}).items()}
        self.constants = {key: self._number(key, value) for key, value in dict(constants or {}).items()}
        declared = _names(inputs)
        self.equations, self.inputs = self._read(listed, declared)
        self.sizes = self._sizes(dict(sizes or {}))
        self._check_definitions()
        self.outputs = self._outputs(_names(output))
        tensors = (*self.inputs, *self.parameters, *self.state, *self.defined)
        self.outside = {k: self._number(k, v) for k, v in self._known("outside", outside, tensors).items()}
        self.types = {k: self._type(k, v) for k, v in self._known("types", types, self.defined).items()}
        known = (*self.parameters, *self.state)
        self.initializers: dict[str, Initializer] = {
            key: initializer(value, f"Layer '{self.label}', '{key}'")
            for key, value in self._known("initializers", initializers, known).items()
        }
        self.frozen = tuple(self._known("frozen", dict.fromkeys(_names(frozen)), self.parameters))
        self.penalties: dict[str, Penalty] = {
            key: penalty(value, f"Layer '{self.label}', '{key}'")
            for key, value in self._known("penalties", penalties, self.parameters).items()
        }
        self.shared = self._known("shared", shared, self.parameters)
        self.exempt = {
            key: tuple(int(v) for v in values) for key, values in self._known("exempt", exempt, self.inputs).items()
        }

    def build(self, *inputs: Value) -> Layer:  # noqa: ARG002
        """Return the layer itself: its equations do not depend on what it is called on."""
        return self

    @property
    def defined(self) -> tuple[str, ...]:
        """The tensors that the equations define, state left out, in order."""
        names = dict.fromkeys(e.lhs.tensor for e in self.equations)
        return tuple(name for name in names if name not in self.state)

    def error(self, message: str, hint: str = "", where: str = "") -> LanguageError:
        """Return an error that names the layer."""
        place = f"Layer '{self.label}'"
        return LanguageError(message, hint=hint, where=f"{place}, {where}" if where else place)

    # Reading the arguments.

    def _dimensions(self, name: str, dims: Iterable[str | int] | str) -> Dimensions:
        if not isinstance(name, str) or not name.isidentifier():
            raise self.error(f"{name!r} is no name for a tensor.")
        listed: tuple[Any, ...] = (dims,) if isinstance(dims, str) else tuple(dims)
        for extent in listed:
            whole = isinstance(extent, int) and not isinstance(extent, bool) and extent > 0
            if not whole and not (isinstance(extent, str) and extent.isidentifier()):
                raise self.error(
                    f"The shape of '{name}' holds {extent!r}.", "A shape is a tuple of index names or positive integers."
                )
            if extent == BATCH:
                raise self.error(
                    f"'{name}' cannot depend on the batch index '{BATCH}'.", "Parameters and states have fixed shapes."
                )
        return listed

    def _number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, sympy.Integer, sympy.Float)):
            raise self.error(f"'{name}' is given {value!r} where a number was expected.")
        return value if isinstance(value, (int, float)) else int(value) if value.is_Integer else float(value)

    def _type(self, name: str, value: str) -> str:
        if value not in ("integer", "real"):
            raise self.error(f"The type of '{name}' is {value!r}.", "Types are 'integer' and 'real'.")
        return value

    def _known(self, what: str, given: Mapping[str, Any] | None, known: Iterable[str]) -> dict[str, Any]:
        names = list(known)
        for key in given or {}:
            if key not in names:
                guess = nearest(str(key), names)
                raise self.error(
                    f"'{what}' names '{key}', which is not there.",
                    guess or f"There are: {', '.join(names) or 'none'}.",
                )
        return dict(given or {})

    def _sizes(self, sizes: dict[str, Any]) -> dict[str, int]:
        for equation in self.equations:
            for index, extent in equation.extents:
                if sizes.setdefault(index, extent) != extent:
                    raise self.error(f"Index '{index}' has extent {sizes[index]} in one place and {extent} in another.")
        shapes = [*self.parameters.values(), *self.state.values()]
        known = {*self.indices, *(d for dims in shapes for d in dims if isinstance(d, str))}
        self._known("sizes", sizes, sorted(known))
        for index, extent in sizes.items():
            if isinstance(extent, bool) or not isinstance(extent, (int, sympy.Integer)) or extent < 1:
                raise self.error(f"Index '{index}' needs an extent that is a positive integer, not {extent!r}.")
            if index == BATCH:
                raise self.error(f"Index '{BATCH}' is the batch; its extent is known only at run time.")
        return {index: int(extent) for index, extent in sizes.items()}

    def _outputs(self, names: tuple[str, ...]) -> tuple[str, ...]:
        defined = self.defined
        if not names and not defined:
            raise self.error("No equation defines an output.")
        self._known("output", dict.fromkeys(names), defined)
        return names or (defined[-1],)

    # Reading the equations.

    def _read(
        self, listed: Sequence[str | Equation], inputs: tuple[str, ...]
    ) -> tuple[tuple[Equation, ...], tuple[str, ...]]:
        scans = [self._scan(e) for e in listed]
        defined = dict.fromkeys(scan.left for scan in scans)
        given = {*defined, *self.parameters, *self.state}
        if not inputs:
            read = dict.fromkeys(name for scan in scans for name in scan.tensors)
            inputs = tuple(name for name in read if name not in given and name not in self.constants)
        tensors = frozenset({*given, *inputs})
        indices = dict.fromkeys(name for scan in scans for name in scan.indices if name not in tensors)
        on_the_left = (name for scan in scans for name in scan.left_indices)
        self._check_scope(inputs, defined, dict.fromkeys([*indices, *on_the_left]))
        equations = []
        for entry in listed:
            if isinstance(entry, Equation):
                equations.append(self._substituted(entry, tensors))
                continue
            try:
                equations.append(_parsed(entry, tensors, tuple(indices), _hashable(self.constants)))
            except LanguageError as error:
                place = f"Layer '{self.label}'" + (f", {error.where}" if error.where else "")
                raise type(error)(error.message, hint=error.hint, where=place) from None
        self.indices = tuple(dict.fromkeys([*indices, *(i for e in equations for i in e.indices)]))
        try:
            merged, self.elements = merge_elements(equations)
        except LanguageError as error:
            raise self.error(error.message, error.hint, error.where) from None
        return merged, inputs

    def _scan(self, entry: str | Equation) -> Scan:
        if isinstance(entry, Equation):
            read = dict.fromkeys(a.tensor for a in accesses(entry.rhs))
            indices = dict.fromkeys([*entry.indices, *index_names(entry.rhs)])
            return Scan(tuple(read), tuple(indices), entry.lhs.tensor, entry.indices)
        if not isinstance(entry, str):
            return scan_names(entry, Names())
        return _scanned(entry, frozenset({*self.parameters, *self.state}), _hashable(self.constants))

    def _substituted(self, equation: Equation, tensors: frozenset[str]) -> Equation:
        def change(node: Any) -> Any | None:
            if isinstance(node, Access) and not node.subscripts and node.tensor in self.constants:
                return sympy.sympify(self.constants[node.tensor], strict=True)
            return None

        for access in accesses(equation.rhs):
            if access.tensor not in tensors and access.tensor not in self.constants:
                known = ", ".join(sorted(tensors))
                raise self.error(
                    f"There is no tensor '{access.tensor}'.", f"Known are {known}.", f"equation '{equation}'"
                )
        if not self.constants:
            return equation
        return Equation(equation.lhs, rewrite(equation.rhs, change), extents=equation.extents)

    def _check_scope(self, inputs: tuple[str, ...], defined: Iterable[str], indices: Iterable[str]) -> None:
        """Within a layer, a name is one thing."""
        meanings: dict[str, str] = {}
        roles = (
            ("an input", inputs),
            ("a parameter", self.parameters),
            ("a state", self.state),
            ("a constant", self.constants),
            ("defined by an equation", (d for d in defined if d not in self.state)),
            ("an index", indices),
        )
        for role, names in roles:
            for name in names:
                if name in meanings:
                    raise self.error(f"The name '{name}' is used twice: it is {meanings[name]} and {role}.")
                if name == "training":
                    raise self.error("'training' is a condition of the language and cannot name anything else.")
                meanings[name] = role

    def _check_definitions(self) -> None:
        seen: dict[tuple[Any, ...], Equation] = {}
        for equation in self.equations:
            starts = equation.lhs.subscripts if is_start(equation) else ()
            key = (equation.lhs.tensor, *starts)
            if key in seen:
                raise self.error(f"'{equation.lhs.tensor}' is defined twice: by '{seen[key]}' and by '{equation}'.")
            seen[key] = equation
        for name in self.state:
            if (name,) not in seen:
                raise self.error(f"No equation gives the next value of state '{name}'.", f"Write {name}[...] = ... .")


def _names(value: Sequence[str] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else tuple(value)


Constants = tuple[tuple[str, str, float], ...]
"""Names, exact texts and values: 1 and 1.0 are equal, and yet different constants."""


def _hashable(constants: Mapping[str, float]) -> Constants:
    return tuple((name, repr(value), value) for name, value in constants.items())


@lru_cache(maxsize=1024)
def _scanned(text: str, tensors: frozenset[str], constants: Constants) -> Scan:
    return scan_names(text, Names(tensors, (), {name: value for name, _, value in constants}))


@lru_cache(maxsize=1024)
def _parsed(text: str, tensors: frozenset[str], indices: tuple[str, ...], constants: Constants) -> Equation:
    """The equation of a text, read once however many layers state it: equations do not change."""
    return parse_equation(text, Names(tensors, indices, {name: value for name, _, value in constants}))
