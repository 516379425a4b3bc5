"""What the user holds: a compiled network that predicts, differentiates and trains.

Every array and name is checked before generated code runs. Ready arrays (right type, shape and order, the same number of
examples as last time) take a short way of some hundred nanoseconds; everything else is converted, or refused with a
sentence.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bpcompile.arrays import whole_number
from bpcompile.backend import Backend, OptimizerState
from bpcompile.errors import ArrayError, BPCompileError, TrainingError
from bpcompile.intake import Intake
from bpcompile.language.initializers import initial_values
from bpcompile.nonfinite import guarded, origin
from bpcompile.parameters import Gradients, Parameters, State, aligned_zeros, check_writable
from bpcompile.signature import Signature
from bpcompile.weights import matched, read_safetensors, write_safetensors

if TYPE_CHECKING:
    from bpcompile.cost import Cost
    from bpcompile.language.network import Network
    from bpcompile.training.optimizers import Optimizer

Array = NDArray[Any]
_WORD = 1 << 64
_ADVICE = "Lower the learning rate, look at the data, or guard the equation with where(...)."


class Model:
    """A compiled network.

    Made by `compile`. One model may be called by several threads at a time.

    Parameters
    ----------
    network : Network
        What was compiled.
    signature : Signature
        What it takes and gives.
    backend : Backend
        What runs it.
    optimizer : Optimizer, optional
        What `train_epoch` does with gradients.
    cost : Cost
        Operation counts, memory, and what was compiled.
    check_finite : bool
        Refuse NaN and infinity in inputs, and notice them in losses and gradients.
    """

    def __init__(
        self,
        network: Network,
        signature: Signature,
        backend: Backend,
        optimizer: Optimizer | None,
        cost: Cost,
        check_finite: bool = False,
    ) -> None:
        self.network = network
        self.signature = signature
        self.optimizer = optimizer
        self.cost = cost
        self.check_finite = check_finite
        self.intake = Intake(signature, check_finite)
        self._backend = backend
        if not check_finite:
            # These shadow the methods: the backend may know a shorter way for arrays that need no conversion.
            vars(self).update(backend.shortcuts({"predict": self.predict, "value_and_grad": self.value_and_grad}))
        self._optimizer_states: weakref.WeakKeyDictionary[Parameters, OptimizerState] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        s = self.signature
        return f"<Model '{s.name}': {s.parameters.size} parameters, {s.dtype}, backend {self.backend}>"

    def __copy__(self) -> Model:
        """Give the model itself: what it computes is in its parameters, and it never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Model:
        """Give the model itself."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise BPCompileError(
            f"{self!r} holds compiled code, which is not pickled.",
            hint="Pickle its parameters, and compile again where they are read: the extension is then found in the cache.",
        )

    @property
    def backend(self) -> str:
        """``c`` or ``numpy``."""
        return self._backend.name

    @property
    def source(self) -> str:
        """The generated text."""
        return self._backend.source

    # --- parameters -----------------------------------------------------------------------------------------------

    def init(self, seed: int = 0) -> Parameters:
        """Make parameters as the layers' initializers say.

        Parameters
        ----------
        seed : int
            The same seed gives the same numbers; a parameter's depend on its name and the seed alone.
        """
        seed = whole_number("seed", seed, 0)
        params = self.intake.empty_parameters()
        for name, info in self.network.parameters.items():
            params[name][...] = initial_values(name, info.shape, info.initializer, seed)
        return params

    def init_state(self) -> State:
        """Make the first state; empty where the network has none."""
        state = self.intake.empty_state()
        for name, info in self.network.states.items():
            state[name][...] = initial_values(name, info.shape, info.initializer, 0)
        return state

    def parameters(self, values: Mapping[str, Any]) -> Parameters:
        """Make parameters of any mapping of names to arrays; all names must be there.

        Raises
        ------
        ArrayError
            If names are missing or unknown, or an array does not fit.
        """
        return self.intake.new_parameters(values)

    def load_state_dict(self, values: Mapping[str, Any], rename: Mapping[str, str] | None = None) -> Parameters:
        """Make parameters of a PyTorch ``state_dict``: shapes are PyTorch's, so that only names change.

        Parameters
        ----------
        values : mapping of str to tensor
            The state dict; tensors on the host. What it holds of states is for `load_buffers`.
        rename : mapping of str to str, optional
            From their names to ours, of parameters or of whole modules: ``{"0": "hidden"}``. What is not in it keeps its
            name or follows the custom: ``hidden.weight`` is ``hidden.W``, ``encoder.linear1.bias`` is ``encoder_linear1.b``.

        Raises
        ------
        ArrayError
            If names are missing or unknown, or a tensor does not fit.
        """
        known, others = self.signature.parameters.names, self.signature.states.names
        return self.parameters(matched(values, known, others, rename or {}))

    def load_buffers(self, values: Mapping[str, Any], rename: Mapping[str, str] | None = None) -> State:
        """Make a state of the buffers in a PyTorch ``state_dict``, such as running means; see `load_state_dict`."""
        found = matched(values, self.signature.states.names, self.signature.parameters.names, rename or {})
        return self.intake.new_state(found)

    def save(self, path: str | os.PathLike[str], params: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> None:
        """Write parameters (and a state) to a safetensors file."""
        arrays: dict[str, Array] = dict(self.intake.parameters(params))
        if state is not None:
            arrays |= {f"state/{name}": v for name, v in self.intake.state(state).items()}
        write_safetensors(path, arrays, {"network": self.signature.name, "made_by": "bpcompile"})

    def load(self, path: str | os.PathLike[str]) -> Parameters:
        """Read parameters from a safetensors file.

        Raises
        ------
        DataError
            If the file cannot be read.
        ArrayError
            If what it holds does not fit this network.
        """
        return self.parameters({k: v for k, v in read_safetensors(path).items() if not k.startswith("state/")})

    def load_state(self, path: str | os.PathLike[str]) -> State:
        """Read the state from a safetensors file."""
        found = {k.removeprefix("state/"): v for k, v in read_safetensors(path).items() if k.startswith("state/")}
        return self.intake.new_state(found)

    # --- calls ----------------------------------------------------------------------------------------------------

    def predict(
        self, params: Mapping[str, Any], *, state: Mapping[str, Any] | None = None, key: int = 0, step: int = 0, **data: Any
    ) -> Any:
        """Compute the network's outputs; no targets are needed, and ``training`` is off.

        Parameters
        ----------
        params : Parameters or mapping
            The parameters.
        state : State, optional
            Needed where the network has a state; it is read, not changed.
        key, step : int
            What random draws depend on.
        **data
            The inputs by name, batch first.

        Returns
        -------
        array or tuple of arrays
            One array for each output of the network; the array itself where there is one.
        """
        vector = self.intake.parameters(params)
        arrays, n = self.intake.inputs(data)
        outputs = self._backend.predict(vector, arrays, n, self.intake.state(state), *_draw_numbers(key, step))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def value_and_grad(
        self,
        params: Mapping[str, Any],
        *,
        state: Mapping[str, Any] | None = None,
        key: int = 0,
        step: int = 0,
        training: bool = True,
        **data: Any,
    ) -> tuple[float, Gradients]:
        """Compute the loss and its gradients.

        Parameters
        ----------
        params : Parameters or mapping
            The parameters.
        state : State, optional
            Needed where the network has a state, which moves on in place.
        key, step : int
            What random draws depend on: the same numbers give the same draws.
        training : bool
            The condition ``training`` of the equations.
        **data
            Inputs and targets by name, batch first.

        Returns
        -------
        float
            The loss.
        Gradients
            The structure of `params`, and the inputs named by ``wrt``.

        Raises
        ------
        ArrayError
            If an array or a name is not what the network takes.
        """
        self._needs_loss()
        vector = self.intake.parameters(params)
        arrays, n = self.intake.arrays(data, targets=True)
        numbers = _draw_numbers(key, step)
        moving = self.intake.moving_state(state)
        before = moving.flat.copy() if self.check_finite else None
        loss, grads = self._backend.value_and_grad(vector, arrays, n, moving, *numbers, bool(training))
        if before is not None:
            trouble = _not_finite(loss, grads)
            if trouble:
                moving.flat[:] = before
                given = {s.name: a for s, a in zip(self.signature.arrays, arrays, strict=True) if a is not None}
                where = origin(self.network, vector, given, moving, *numbers, self.signature.dtype)
                raise TrainingError(f"{trouble} {where}".rstrip(), hint=_ADVICE)
        return loss, grads

    def bind(
        self, params: Parameters, *, state: State | None = None, training: bool = True, **data: Any
    ) -> Callable[..., tuple[float, Gradients]]:
        """Check once, call often: give ``step(key=0, step=0)``, which computes loss and gradients of these very arrays.

        The gradients are the same object each time, overwritten by the next call. What is written to ``params.flat``
        and to the arrays is seen, where they did not have to be converted. A step belongs to one thread at a time.
        """
        self._needs_loss()
        if not isinstance(params, Parameters):
            raise ArrayError("bind takes the Parameters of this model.", hint="Make them with model.parameters(mapping).")
        arrays, n = self.intake.arrays(data, targets=True)
        return self._backend.bind(self.intake.parameters(params), arrays, n, self.intake.moving_state(state), training)

    def train_epoch(
        self,
        params: Parameters,
        *,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        learning_rate: float | None = None,
        state: State | None = None,
        check_finite: bool = True,
        **data: Any,
    ) -> float:
        """Go through the examples once, with an update after each batch; a smaller last batch counts too.

        The loop runs in C, the optimizer included. `params` changes in place. The optimizer's own vectors belong to
        `params` and live as long: a second epoch goes on where the first one ended.

        Parameters
        ----------
        params : Parameters
            Made by `init`, `load` or `parameters`.
        batch_size : int
            Examples for each update.
        seed : int
            Of the order of the examples and of random draws; give each epoch its own.
        shuffle : bool
            Whether to shuffle at all.
        learning_rate : float, optional
            Instead of the optimizer's.
        state : State, optional
            Needed where the network has a state, which moves on in place.
        check_finite : bool
            Notice a loss, gradient or parameter that is no longer finite.
        **data
            All examples: inputs and targets by name.

        Returns
        -------
        float
            The mean loss over the examples, each batch taken with the parameters of its time.

        Raises
        ------
        TrainingError
            If something was not finite: parameters, state and the optimizer's vectors are then those of before the step
            that failed, and the step and the equation are named.
        """
        self._needs_loss()
        if self.optimizer is None:
            raise TrainingError("The network was compiled without an optimizer.", hint="compile(net, optimizer=bp.Adam())")
        if not isinstance(params, Parameters) or self.intake.parameters(params) is not params:
            raise ArrayError(
                f"train_epoch changes parameters in place, and takes Parameters in {self.signature.dtype}.",
                hint="Make them with model.init() or model.parameters(mapping).",
            )
        check_writable(params)
        batch_size, seed = whole_number("batch_size", batch_size, 1), whole_number("seed", seed, 0)
        rate = self.optimizer.learning_rate if learning_rate is None else learning_rate
        if not (isinstance(rate, (int, float, np.floating)) and math.isfinite(rate) and rate >= 0):
            raise TrainingError(f"A learning rate must be a number that is not negative, not {learning_rate!r}.")
        arrays, n = self.intake.arrays(data, targets=True)
        ready = [a.copy() if np.may_share_memory(a, params.flat) else a for a in arrays if a is not None]
        order = np.random.default_rng([seed, n]).permutation(n) if shuffle else np.arange(n)
        size, order = min(batch_size, n), order.astype(np.int32)
        own, moving, key = self.optimizer_state(params), self.intake.moving_state(state), seed % _WORD

        def run(rows: Array) -> Array:
            numbers = {"learning_rate": float(rate)}
            return self._backend.train_epoch(
                params, ready, len(rows), size, rows, moving, own.moments, numbers, key, own.step
            )

        if not check_finite:
            losses = run(order)
        else:
            losses, failed = guarded(run, (params.flat, moving.flat, own.moments.flat), order, size)
            if failed is not None:
                own.step += failed
                batch = order[failed * size : (failed + 1) * size]
                raise self._trouble(params, [a[batch] for a in ready], moving, key, own.step)
        own.step += len(losses)
        weights = np.full(len(losses), size, np.float64)
        weights[-1] = n - (len(losses) - 1) * size
        return float(np.average(losses.astype(np.float64), weights=weights))

    def _trouble(self, params: Parameters, batch: list[Array], state: State, key: int, step: int) -> TrainingError:
        """The error that names a step which gave something that is not finite, and where it began."""
        data = {s.name: a for s, a in zip(self.signature.arrays, batch, strict=True)}
        found = origin(self.network, params, data, state, key, step, self.signature.dtype)
        where = found or "Loss and gradients are finite, but the update of the parameters is not."
        return TrainingError(
            f"Step {step + 1} gave NaN or infinity. {where} The parameters are those of before that step.",
            hint=_ADVICE,
        )

    def optimizer_state(self, params: Parameters) -> OptimizerState:
        """Give what the optimizer keeps of these parameters."""
        own = self._optimizer_states.get(params)
        if own is None:
            moments = State(self._backend.moments, aligned_zeros(self._backend.moments.size, self.signature.real))
            own = self._optimizer_states[params] = OptimizerState(moments)
        return own

    def _needs_loss(self) -> None:
        if not self.signature.has_loss:
            raise TrainingError("The network has no loss, so that it has no gradient.", hint="bp.Network(z, loss=...)")


def _draw_numbers(key: int, step: int) -> tuple[int, int]:
    """What random draws depend on, as 64-bit numbers."""
    return whole_number("key", key) % _WORD, whole_number("step", step) % _WORD


def _not_finite(loss: float, grads: Gradients) -> str:
    if not math.isfinite(loss):
        return f"The loss is {loss}."
    for name, array in grads.items():
        if not np.isfinite(array).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
            return f"The gradient of '{name}' is {array[place]} at {place}; the loss is {loss:g}."
    return ""
