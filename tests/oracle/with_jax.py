"""Gradients of a network by JAX, which traces the equations and differentiates the trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from bpcompile.language.network import Network
from tests.oracle.translation import Library, Result, loss_of

__all__ = ["value_and_grad"]


def _real(x: Any) -> Any:
    return x if x.dtype == jnp.float64 else x.astype(jnp.float64)


def _put(array: Any, axis: int, place: int, value: Any) -> Any:
    return jnp.asarray(array).at[(slice(None),) * axis + (place,)].set(value)


LIBRARY = Library(
    namespace=jnp,
    constant=np.asarray,  # what does not depend on an argument is not traced
    real=_real,
    is_real=lambda x: bool(x.dtype == jnp.float64),
    read=lambda array, places: jnp.asarray(array)[places],
    stop=jax.lax.stop_gradient,
    floor_divide=lambda x, y: x // y,
    put=_put,
    first=lambda flat, largest: (jnp.argmax if largest else jnp.argmin)(flat, axis=-1),
    at=lambda flat, first: jnp.take_along_axis(flat, first[..., None], -1)[..., 0],
    functions={
        "sigmoid": jax.nn.sigmoid,
        "softplus": jax.nn.softplus,
        "relu": lambda x: jnp.where(x > 0, x, 0.0 * jax.lax.stop_gradient(x)),
        "asin": jnp.arcsin, "acos": jnp.arccos, "atan": jnp.arctan, "atan2": jnp.arctan2,
        "asinh": jnp.arcsinh, "acosh": jnp.arccosh, "atanh": jnp.arctanh,
        "erf": jax.scipy.special.erf, "erfc": jax.scipy.special.erfc,
        "lgamma": jax.scipy.special.gammaln, "digamma": jax.scipy.special.digamma,
        "gamma": lambda x: jnp.exp(jax.scipy.special.gammaln(x)),
    },
)  # fmt: skip


def value_and_grad(net: Network, arrays: Mapping[str, np.ndarray], n: int, training: bool = True) -> Result:
    """Loss and gradients with respect to every parameter and real input."""
    leaves = {k: v for k, v in arrays.items() if v.dtype.kind == "f" and k not in net.states}
    rest = {k: v for k, v in arrays.items() if k not in leaves}

    def loss(real: Any, other: Any) -> Any:
        return loss_of(LIBRARY, net, {**other, **real}, n, training)

    with jax.enable_x64(True):
        (total, after), grads = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=OPTIONS)(leaves, rest)
        return Result(float(total), {k: np.asarray(g) for k, g in grads.items()}, {k: np.asarray(v) for k, v in after.items()})


OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""A network runs once: what counts is how long it takes to compile."""
