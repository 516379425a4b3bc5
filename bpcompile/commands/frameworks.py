"""A network in JAX and in PyTorch, for `bpcompile bench`: its equations as array operations, differentiated by the framework.

What is translated is the forward program in normal form. Sums of products become ``einsum``; what is read at a composite
subscript is gathered first. Recurrences and random draws are not translated: a framework then is left out, and why is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bpcompile.calculus.gradient import analyze, training
from bpcompile.errors import BPCompileError
from bpcompile.language.network import Network
from bpcompile.nodes.expressions import Axis, Expr, axes_of
from bpcompile.nodes.statements import Program, Statement, TimeLoop
from bpcompile.program.dead import restrict, specialize

Step = Callable[[], Any]
FRAMEWORKS: Final = ("PyTorch", "torch.compile", "JAX")

_INFIX: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b, "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
}  # fmt: skip
_NAMES: Final = {
    "acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh", "acos": "arccos", "asin": "arcsin", "atan": "arctan",
}  # fmt: skip


@dataclass(frozen=True)
class _Arrays:
    """What differs between the frameworks: the module of arrays, where special functions live, and reductions."""

    module: Any
    special: Any
    array: Callable[[Any], Any]
    real: Any

    def function(self, name: str) -> Callable[[Any], Any]:
        """A scalar function."""
        special = {"sigmoid": ("sigmoid", "expit"), "softplus": ("softplus",), "erf": ("erf",), "erfc": ("erfc",),
                   "lgamma": ("gammaln",), "digamma": ("digamma",)}.get(name, ())  # fmt: skip
        for place, names in ((self.special, special), (self.module, (name, _NAMES.get(name, name)))):
            for each in names:
                if hasattr(place, each):
                    found: Callable[[Any], Any] = getattr(place, each)
                    return found
        raise BPCompileError(f"The function '{name}' is not translated.")


@dataclass(frozen=True)
class _Scope:
    """The tensors so far and the number of examples."""

    arrays: _Arrays
    values: dict[str, Any]
    n: int

    def extent(self, a: Axis) -> int:
        return self.n if a.extent is None else a.extent


def loss_function(net: Network) -> Callable[[_Arrays, dict[str, Any], int], Any]:
    """The loss of a network as a function of arrays by name."""
    program = _forward(net)
    if any(isinstance(step, TimeLoop) for step in program.steps):
        raise BPCompileError("Recurrences are not translated.")

    def loss(arrays: _Arrays, given: dict[str, Any], n: int) -> Any:
        scope = _Scope(arrays, dict(given), n)
        for s in program.statements():
            scope.values[s.target] = _statement(scope, s)
        return scope.values[_loss_name(program)].reshape(())

    return loss


def _forward(net: Network) -> Program:
    program = specialize(training(analyze(net)), training=True)
    return restrict(program, [_loss_name(program)])


def _loss_name(program: Program) -> str:
    return next(t.name for t in program.tensors.values() if t.role == "loss")


def _statement(scope: _Scope, s: Statement) -> Any:
    if s.accumulate or any(e.op != "axis" for e in s.subscripts):
        raise BPCompileError(f"'{s}' is not translated.")
    if s.reduce == "sum":
        product = _einsum(scope, s)
        if product is not None:
            return product
    domain = (*s.axes, *s.over)
    shape = tuple(map(scope.extent, domain))
    value = scope.arrays.module.broadcast_to(_value(scope, s.body, domain), shape)
    if s.reduce is None:
        return value
    value = value.reshape((*shape[: len(s.axes)], -1))
    if s.reduce in ("argmax", "argmin"):
        return getattr(value, s.reduce)(-1)
    name = {"max": "amax", "min": "amin"}.get(s.reduce, s.reduce)
    reduced: Any = getattr(scope.arrays.module, name)(value, -1)
    return reduced


def _einsum(scope: _Scope, s: Statement) -> Any | None:
    """A sum of products of several factors."""
    factors = _factors(s.body)
    if len(factors) < 2:
        return None
    letters = {a: chr(ord("a") + k) for k, a in enumerate((*s.axes, *s.over))}
    operands, texts = [], []
    for f in factors:
        own = tuple(a for a in letters if a in axes_of(f))
        operands.append(scope.arrays.module.broadcast_to(_value(scope, f, own), tuple(map(scope.extent, own))))
        texts.append("".join(letters[a] for a in own))
    if {c for t in texts for c in t} != set(letters.values()):
        return None
    text = f"{','.join(texts)}->{''.join(letters[a] for a in s.axes)}"
    return scope.arrays.module.einsum(text, *operands)


def _factors(e: Expr) -> list[Expr]:
    return [*_factors(e.args[0]), *_factors(e.args[1])] if e.op == "mul" else [e]


def _value(scope: _Scope, e: Expr, domain: Sequence[Axis]) -> Any:
    """An expression as an array with an axis for each of the domain (of extent 1 where it does not depend on it)."""
    xp = scope.arrays
    if e.op == "const":
        return xp.array(np.asarray(e.value) if e.kind != "real" else np.asarray(e.value, xp.real)).reshape((1,) * len(domain))
    if e.op == "axis":
        shape = [1] * len(domain)
        shape[list(domain).index(e.value)] = -1
        return xp.array(np.arange(scope.extent(e.value))).reshape(shape)
    if e.op == "size":
        return xp.array(np.asarray(scope.extent(e.value), xp.real)).reshape((1,) * len(domain))
    if e.op == "load":
        return _load(scope, e, domain)
    args = [_value(scope, a, domain) for a in e.args]
    if e.op in _INFIX:
        return _INFIX[e.op](*args)
    if e.op in ("max", "min", "atan2"):
        return getattr(xp.module, {"max": "maximum", "min": "minimum", "atan2": "arctan2"}[e.op])(*args)
    if e.op == "where":
        return xp.module.where(*args)
    if e.op in ("neg", "not"):
        return -args[0] if e.op == "neg" else ~args[0]
    if e.op == "stop":
        return args[0].detach() if hasattr(args[0], "detach") else xp.special.stop_gradient(args[0])
    return xp.function(e.op)(args[0])


def _load(scope: _Scope, e: Expr, domain: Sequence[Axis]) -> Any:
    value = scope.values[e.value[0]]
    names: list[Axis] = [i.value for i in e.args if i.op == "axis"]
    if len(set(names)) == len(e.args):
        order = sorted(range(len(names)), key=lambda k: list(domain).index(names[k]))
        whole = [scope.extent(a) if a in names else 1 for a in domain]
        turned = value.permute(order) if hasattr(value, "permute") else value.transpose(order)
        return turned.reshape(whole)
    places = []
    for subscript, extent in zip(e.args, value.shape, strict=True):
        place = _value(scope, subscript, domain)
        places.append(scope.arrays.module.clip(place, 0, extent - 1))
    return value[tuple(places)]


# --- steps ----------------------------------------------------------------------------------------------------------------


def framework_step(name: str, net: Network, params: Mapping[str, Any], data: Mapping[str, Any], n: int, threads: int) -> Step:
    """A function that does one step: the loss and the gradients of all parameters.

    Raises
    ------
    ImportError
        If the framework is not installed.
    BPCompileError
        If the network is not translated.
    """
    loss = loss_function(net)
    return _jax_step(loss, params, data, n) if name == "JAX" else _torch_step(loss, params, data, n, threads, name != "PyTorch")


def _jax_step(loss: Any, params: Mapping[str, Any], data: Mapping[str, Any], n: int) -> Step:
    import jax
    import jax.numpy as jnp

    ready: Callable[[Any], Any] = jax.block_until_ready
    real = next(iter(params.values())).dtype
    if real == np.float64:
        vars(jax)["config"].update("jax_enable_x64", True)

    class Special:
        sigmoid, softplus, erf, erfc = jax.nn.sigmoid, jax.nn.softplus, jax.scipy.special.erf, jax.scipy.special.erfc
        gammaln, digamma, stop_gradient = jax.scipy.special.gammaln, jax.scipy.special.digamma, jax.lax.stop_gradient

    arrays = _Arrays(jnp, Special, jnp.asarray, real)
    given = {k: jnp.asarray(v) for k, v in params.items()}
    rest = {k: jnp.asarray(v) for k, v in data.items()}
    step = jax.jit(jax.value_and_grad(lambda p, d: loss(arrays, {**p, **d}, n)))
    return lambda: ready(step(given, rest))


def _torch_step(loss: Any, params: Mapping[str, Any], data: Mapping[str, Any], n: int, threads: int, compiled: bool) -> Step:
    import torch

    torch.set_num_threads(threads)
    real = next(iter(params.values())).dtype
    arrays = _Arrays(torch, torch.special, torch.as_tensor, real)
    given = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in params.items()}
    rest = {k: torch.tensor(v.astype(np.int64) if v.dtype.kind == "i" else v) for k, v in data.items()}
    leaves = list(given.values())

    def forward(given: dict[str, Any], rest: dict[str, Any]) -> Any:
        return loss(arrays, {**given, **rest}, n)

    run = forward
    if compiled:
        from torch.fx.experimental.proxy_tensor import make_fx

        run = torch.compile(make_fx(forward)(given, rest))

    def step() -> Any:
        for leaf in leaves:
            leaf.grad = None
        value = run(given, rest)
        value.backward()
        return value

    return step
