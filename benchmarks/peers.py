"""What is compared: a network as each framework's users write it, as functions without arguments that do one call.

A framework is imported here and nowhere else, and only when it is asked for: the environment must be set before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Call = Callable[[], Any]
PEERS = ("PyTorch", "torch.compile", "JAX", "NumPy")


@dataclass(frozen=True)
class Contender:
    """One call, and how to read what it gave.

    Attributes
    ----------
    name : str
        As the table prints it.
    call : callable
        Does the whole work, and waits for it.
    read : callable
        The result as NumPy arrays by name: ``loss`` and the gradients, or ``output``.
    seconds : float
        What preparing and the first call took.
    """

    name: str
    call: Call
    read: Callable[[Any], dict[str, Array]]
    seconds: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Arrays of one row: parameters by name, inputs and targets, and whether the targets are labels."""

    params: Mapping[str, Array]
    x: Array
    y: Array
    forward_only: bool = False
    threads: int = 1

    @property
    def labels(self) -> bool:
        """Whether the loss is softmax cross-entropy; it is the mean squared error otherwise."""
        return self.y.dtype.kind == "i"


def torch_eager(output: Callable[..., Any], problem: Problem) -> Contender:
    """PyTorch as it is: a forward pass, ``backward()``, gradients in ``.grad``."""
    import torch

    params, x, y = _torch_arrays(problem)
    if problem.forward_only:
        with torch.no_grad():
            return Contender("PyTorch", _without_grad(lambda: output(params, x)), _torch_output)
    leaves = list(params.values())
    loss_of = _torch_loss(output, problem)

    def call() -> Any:
        for leaf in leaves:
            leaf.grad = None
        loss = loss_of(params, x, y)
        loss.backward()
        return loss

    def read(loss: Any) -> dict[str, Array]:
        return {"loss": loss.detach().numpy(), **{k: v.grad.numpy() for k, v in params.items()}}

    return Contender("PyTorch", call, read)


def torch_compiled(output: Callable[..., Any], problem: Problem) -> Contender:
    """``torch.compile`` of the loss; its backward pass is compiled with it."""
    import torch

    params, x, y = _torch_arrays(problem)
    if problem.forward_only:
        compiled = torch.compile(output, fullgraph=True, dynamic=False)
        return Contender("torch.compile", _without_grad(lambda: compiled(params, x)), _torch_output)
    leaves = list(params.values())
    loss_of = torch.compile(_torch_loss(output, problem), fullgraph=True, dynamic=False)

    def call() -> Any:
        for leaf in leaves:
            leaf.grad = None
        loss = loss_of(params, x, y)
        loss.backward()
        return loss

    def read(loss: Any) -> dict[str, Array]:
        return {"loss": loss.detach().numpy(), **{k: v.grad.numpy() for k, v in params.items()}}

    return Contender("torch.compile", call, read)


def jax_jit(output: Callable[..., Any], problem: Problem) -> Contender:
    """``jax.jit(jax.value_and_grad(loss))``, arrays on the device already."""
    import jax
    import jax.numpy as jnp

    params = {k: jnp.asarray(v) for k, v in problem.params.items()}
    x, y = jnp.asarray(problem.x), jnp.asarray(problem.y)
    if problem.forward_only:
        forward = jax.jit(output)
        return Contender("JAX", lambda: forward(params, x).block_until_ready(), lambda out: {"output": np.asarray(out)})

    def loss(params: Any, x: Any, y: Any) -> Any:
        z = output(params, x)
        if not problem.labels:
            return jnp.mean((z - y) ** 2)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1)
        return -jnp.mean(chosen)

    step = jax.jit(jax.value_and_grad(loss))

    def call() -> Any:
        result = step(params, x, y)
        jax.block_until_ready(result)
        return result

    def read(result: Any) -> dict[str, Array]:
        return {"loss": np.asarray(result[0]), **{k: np.asarray(v) for k, v in result[1].items()}}

    return Contender("JAX", call, read)


def _torch_arrays(problem: Problem) -> tuple[dict[str, Any], Any, Any]:
    import torch

    params = {k: torch.tensor(v, requires_grad=not problem.forward_only) for k, v in problem.params.items()}
    y = torch.tensor(problem.y.astype(np.int64) if problem.labels else problem.y)
    return params, torch.tensor(problem.x), y


def _torch_loss(output: Callable[..., Any], problem: Problem) -> Callable[..., Any]:
    import torch.nn.functional as nn

    measure = nn.cross_entropy if problem.labels else nn.mse_loss
    return lambda params, x, y: measure(output(params, x), y)


def _torch_output(out: Any) -> dict[str, Array]:
    return {"output": out.numpy()}


def _without_grad(call: Call) -> Call:
    import torch

    def quiet() -> Any:
        with torch.inference_mode():
            return call()

    return quiet
