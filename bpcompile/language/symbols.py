"""The SymPy objects of index notation: indices, tensor accesses, reductions, draws, selections.

Nothing here evaluates, flattens or sorts itself: an expression is what was typed. Only SymPy's own operators do that, where a
user applies them to these objects in Python.
"""

# ruff: noqa: D102 -- a class documents what its __new__ takes

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy
from sympy.core.symbol import Str
from sympy.logic.boolalg import Boolean, BooleanFunction

from bpcompile.errors import LanguageError

__all__ = [
    "BATCH",
    "DRAW_KINDS",
    "REDUCTION_KINDS",
    "TRAINING",
    "Access",
    "Draw",
    "FloorDivide",
    "Index",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "Maximum",
    "Minimum",
    "Modulo",
    "Reduction",
    "SizeOf",
    "StopGradient",
    "Tensor",
    "Where",
    "to_expression",
]

REDUCTION_KINDS = ("sum", "mean", "max", "min", "argmax", "argmin")
DRAW_KINDS = ("bernoulli", "normal")

#: The name of the batch index, whose extent is known only at run time.
BATCH = "n"


class Index(sympy.Symbol):  # type: ignore[misc]
    """An index: a name and, where it is told, an extent. It runs over ``0 .. extent - 1``.

    Parameters
    ----------
    name : str
        The name, as it is typed in subscripts.
    extent : int, optional
        How many values the index takes. Without it, the extent comes from the tensors that it subscripts.
        The index ``n`` is the batch; its extent is known only at run time.
    """

    __slots__ = ("extent",)
    extent: int | None

    def __new__(cls, name: str, extent: int | None = None) -> Index:
        if not isinstance(name, str) or not name.isidentifier():
            raise LanguageError(f"An index needs a name that is an identifier; {name!r} is none.")
        if extent is not None:
            if isinstance(extent, bool) or int(extent) != extent or extent < 1:
                raise LanguageError(f"Index '{name}' needs an extent that is a positive integer, not {extent!r}.")
            if name == BATCH:
                raise LanguageError(f"Index '{BATCH}' is the batch: its extent is known only at run time.")
        index: Index = sympy.Symbol.__xnew__(cls, name, integer=True, nonnegative=True)
        index.extent = None if extent is None else int(extent)
        return index

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self.name, self.extent or 0)

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.name, self.extent), {}

    def __getstate__(self) -> None:
        return None


def to_expression(value: object, where: str = "an expression") -> sympy.Expr:
    """Return `value` as a SymPy expression; numbers and bare tensors are taken, text is not.

    Raises
    ------
    LanguageError
        If `value` is text (SymPy would execute it), or no expression.
    """
    if isinstance(value, str):
        raise LanguageError(
            f"Text {value!r} stands where {where} was expected.", hint="Write the whole equation as text, or none of it."
        )
    if isinstance(value, float):
        return sympy.Float(value)
    try:
        result = sympy.sympify(value, strict=True)
    except (sympy.SympifyError, TypeError, ValueError):
        result = None
    if not isinstance(result, sympy.Expr):
        raise LanguageError(f"{value!r} stands where {where} was expected.")
    return result


def _to_condition(value: object) -> Boolean:
    if isinstance(value, bool):
        return sympy.true if value else sympy.false
    if not isinstance(value, Boolean) or isinstance(value, Index):
        raise LanguageError(
            f"A condition was expected, and {value!r} is none.",
            hint="Compare with < <= > >=, or with sympy.Eq and sympy.Ne.",
        )
    return value


class _Opaque(sympy.Expr):  # type: ignore[misc]
    """An expression that SymPy carries without looking inside: real, commutative, never rewritten."""

    __slots__ = ()
    is_commutative = True
    is_extended_real = True

    def _sympystr(self, _printer: object) -> str:
        from bpcompile.language.text import to_text

        return to_text(self)


class Access(_Opaque):
    """One element of a tensor, ``W[j, i]``; a scalar tensor has no subscripts."""

    __slots__ = ()

    def __new__(cls, tensor: str | Str, *subscripts: object) -> Access:
        name = tensor if isinstance(tensor, Str) else Str(tensor)
        access: Access = sympy.Expr.__new__(cls, name, *(to_expression(s, "a subscript") for s in subscripts))
        return access

    @property
    def tensor(self) -> str:
        """The tensor's local name."""
        return str(self.args[0].name)

    @property
    def subscripts(self) -> tuple[sympy.Expr, ...]:
        """The subscripts, in order."""
        return tuple(self.args[1:])


class Tensor:
    """A tensor's name, for writing equations as objects: ``W[j, i]`` is an element, bare ``b`` a scalar.

    Parameters
    ----------
    name : str
        The name within its layer.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise LanguageError(f"A tensor needs a name that is an identifier; {name!r} is none.")
        self.name = name

    def __getitem__(self, subscripts: object) -> Access:
        return Access(self.name, *(subscripts if isinstance(subscripts, tuple) else (subscripts,)))

    def _sympy_(self) -> Access:
        return Access(self.name)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r})"

    def __add__(self, other: Any) -> sympy.Expr:
        return self._sympy_() + other

    def __radd__(self, other: Any) -> sympy.Expr:
        return other + self._sympy_()

    def __sub__(self, other: Any) -> sympy.Expr:
        return self._sympy_() - other

    def __rsub__(self, other: Any) -> sympy.Expr:
        return other - self._sympy_()

    def __mul__(self, other: Any) -> sympy.Expr:
        return self._sympy_() * other

    def __rmul__(self, other: Any) -> sympy.Expr:
        return other * self._sympy_()

    def __truediv__(self, other: Any) -> sympy.Expr:
        return self._sympy_() / other

    def __rtruediv__(self, other: Any) -> sympy.Expr:
        return other / self._sympy_()

    def __pow__(self, other: Any) -> sympy.Expr:
        return self._sympy_() ** other

    def __rpow__(self, other: Any) -> sympy.Expr:
        return other ** self._sympy_()

    def __neg__(self) -> sympy.Expr:
        return -self._sympy_()

    def __lt__(self, other: Any) -> Boolean:
        return self._sympy_() < other

    def __le__(self, other: Any) -> Boolean:
        return self._sympy_() <= other

    def __gt__(self, other: Any) -> Boolean:
        return self._sympy_() > other

    def __ge__(self, other: Any) -> Boolean:
        return self._sympy_() >= other


class Reduction(_Opaque):
    """``kind(body, i, ...)``: a sum, mean, maximum, minimum, or the place of one, over bound indices."""

    __slots__ = ()

    def __new__(cls, kind: str | Str, body: object, indices: Iterable[Index] | sympy.Tuple) -> Reduction:
        name = str(kind.name if isinstance(kind, Str) else kind)
        bound = tuple(indices)
        if name not in REDUCTION_KINDS:
            raise LanguageError(f"There is no reduction '{name}'; there are {', '.join(REDUCTION_KINDS)}.")
        if not bound:
            raise LanguageError(f"'{name}' needs at least one index to run over.", hint=f"Write {name}(x[n,i], i).")
        for index in bound:
            if not isinstance(index, Index):
                raise LanguageError(f"'{name}' runs over indices, and {index!r} is none.")
        if len({index.name for index in bound}) < len(bound):
            raise LanguageError(f"'{name}' names one index twice.")
        if name in ("argmax", "argmin") and len(bound) > 1:
            raise LanguageError(f"'{name}' runs over one index, not {len(bound)}.")
        reduction: Reduction = sympy.Expr.__new__(cls, Str(name), to_expression(body), sympy.Tuple(*bound))
        return reduction

    @property
    def kind(self) -> str:
        """One of `REDUCTION_KINDS`."""
        return str(self.args[0].name)

    @property
    def body(self) -> sympy.Expr:
        """What is reduced."""
        return self.args[1]

    @property
    def indices(self) -> tuple[Index, ...]:
        """The bound indices, as typed."""
        return tuple(self.args[2].args)


class SizeOf(_Opaque):
    """``size(i)``: the extent of an index, as a number."""

    __slots__ = ()
    is_integer = True
    is_positive = True

    def __new__(cls, index: Index) -> SizeOf:
        if not isinstance(index, Index):
            raise LanguageError(f"'size' takes an index, and {index!r} is none.")
        size: SizeOf = sympy.Expr.__new__(cls, index)
        return size

    @property
    def index(self) -> Index:
        """The index whose extent this is."""
        index: Index = self.args[0]
        return index


class Draw(_Opaque):
    """A random number for each element: ``bernoulli(p)`` is 1 with probability p, else 0; ``normal()`` has mean 0, variance 1.

    `occurrence` tells one draw from another: each place in the text, and each call from Python, draws its own numbers.
    """

    __slots__ = ()

    def __new__(cls, kind: str | Str, parameters: Iterable[object], occurrence: int | sympy.Integer) -> Draw:
        name = str(kind.name if isinstance(kind, Str) else kind)
        values = sympy.Tuple(*(to_expression(p, f"a parameter of '{name}'") for p in parameters))
        draw: Draw = sympy.Expr.__new__(cls, Str(name), values, sympy.Integer(occurrence))
        return draw

    @property
    def kind(self) -> str:
        """One of `DRAW_KINDS`."""
        return str(self.args[0].name)

    @property
    def parameters(self) -> tuple[sympy.Expr, ...]:
        """The parameters of the distribution: ``(p,)`` for bernoulli, none for normal."""
        return tuple(self.args[1].args)

    @property
    def occurrence(self) -> int:
        """Which draw of its equation this is, from 0."""
        return int(self.args[2])


class Where(_Opaque):
    """``where(condition, a, b)``: the branch not taken gives neither value nor gradient."""

    __slots__ = ()

    def __new__(cls, condition: object, a: object, b: object) -> Where:
        where: Where = sympy.Expr.__new__(cls, _to_condition(condition), to_expression(a), to_expression(b))
        return where


class StopGradient(_Opaque):
    """``stop_gradient(x)``: the value of x, through which no gradient flows."""

    __slots__ = ()

    def __new__(cls, x: object) -> StopGradient:
        stopped: StopGradient = sympy.Expr.__new__(cls, to_expression(x))
        return stopped


class _Binary(_Opaque):
    __slots__ = ()

    def __new__(cls, a: object, b: object) -> Any:
        return sympy.Expr.__new__(cls, to_expression(a), to_expression(b))


class FloorDivide(_Binary):
    """``a // b``: the quotient rounded down, as in Python."""

    __slots__ = ()


class Modulo(_Binary):
    """``a % b``: the remainder with the sign of b, as in Python."""

    __slots__ = ()


class Maximum(_Binary):
    """``max(a, b)`` element by element; NaN wins, and of equal values the first."""

    __slots__ = ()


class Minimum(_Binary):
    """``min(a, b)`` element by element; NaN wins, and of equal values the first."""

    __slots__ = ()


# SymPy's And, Or and Not rewrite themselves (`x < 1 or x >= 1` becomes true, which it is not for NaN), so these stand in.


class _Logical(BooleanFunction):  # type: ignore[misc]
    __slots__ = ()

    def __new__(cls, *args: object) -> Any:
        return sympy.Basic.__new__(cls, *(_to_condition(a) for a in args))


class LogicalAnd(_Logical):
    """``a and b``."""

    __slots__ = ()


class LogicalOr(_Logical):
    """``a or b``."""

    __slots__ = ()


class LogicalNot(_Logical):
    """``not a``."""

    __slots__ = ()


class _Training(sympy.Symbol):  # type: ignore[misc]
    """The condition ``training``: true while fitting, false in `predict`."""

    __slots__ = ()

    def __new__(cls) -> _Training:
        flag: _Training = sympy.Symbol.__xnew__(cls, "training")
        return flag

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {}


#: The condition ``training``.
TRAINING = _Training()
