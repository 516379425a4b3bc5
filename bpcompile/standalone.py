"""The whole of Python that a written-out network needs: NumPy, cffi's runtime, and this file (as ``_runtime.py``).

`Runtime` stands for one compiled network. The package's ``__init__.py`` makes one from the facts of its network and offers its
methods as functions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

Array = Any
Places = dict[str, tuple[int, int, tuple[int, ...]]]


class Parameters(dict[str, Array]):
    """Named arrays that are views of one flat vector, ``flat``; the optimizer's own vectors ride along."""

    def __init__(self, flat: Array, places: Places) -> None:
        super().__init__({name: flat[start:end].reshape(shape) for name, (start, end, shape) in places.items()})
        self.flat = flat
        self.optimizer_state: Array = None
        self.step = 0

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise KeyError(f"there is no parameter '{name}'")
        self[name][...] = value

    def copy(self) -> Parameters:
        """Give parameters of their own with the same values."""
        places: Places = {}
        start = 0
        for name, view in self.items():
            places[name] = (start, start + view.size, view.shape)
            start += view.size
        made = Parameters(self.flat.copy(), places)
        made.step = self.step
        made.optimizer_state = None if self.optimizer_state is None else self.optimizer_state.copy()
        return made


class Runtime:
    """One compiled network: checks arrays, fills the struct that C takes, and calls it."""

    def __init__(self, lib: Any, ffi: Any, facts: Mapping[str, Any]) -> None:
        self.lib, self.ffi, self.facts = lib, ffi, facts
        self.prefix = facts["prefix"]
        missing = ffi.string(self._function("cpu_missing")()).decode()
        if missing:
            raise ImportError(f"{facts['name']} was compiled for a processor with {missing}, and this one does not have it")
        self.real = np.dtype(facts["dtype"])
        self._pointer = "float[]" if facts["dtype"] == "float32" else "double[]"
        self._places = _places(facts["parameters"])
        self._state_places = _places(facts["states"])
        self._inputs = facts["inputs"]
        # The pool lives as long as the process: its threads sleep while there is nothing to do.
        pool = self._function("pool_new")(facts["threads"]) if facts["threads"] > 1 else ffi.NULL
        self._parallel = self._function("pool_parallel")(pool) if pool else ffi.NULL

    def init(self, seed: int = 0) -> Parameters:
        """Make parameters; the same seed gives the same numbers."""
        return self._initial(self.facts["parameters"], self._places, seed)

    def init_state(self) -> Parameters:
        """Make the first state; empty where the network has none."""
        return self._initial(self.facts["states"], self._state_places, 0)

    def parameters(self, values: Mapping[str, Any]) -> Parameters:
        """Make parameters of any mapping of names to arrays."""
        params = Parameters(np.zeros(_end(self._places), self.real), self._places)
        _check_names(values, self._places, "parameter")
        for name, value in values.items():
            array = np.asarray(value)
            if array.shape != params[name].shape:
                raise ValueError(f"'{name}' must have shape {params[name].shape}, and has {array.shape}")
            params[name] = array
        return params

    def predict(
        self, params: Mapping[str, Any], *, state: Parameters | None = None, key: int = 0, step: int = 0, **data: Any
    ) -> Any:
        """Compute the outputs: one array, or a tuple of them."""
        inputs = {name: value for name, value in data.items() if not self._is_target(name)}
        call, n, keep = self._call(params, inputs, state, False)
        call.key, call.step, call.training = key, step, 0
        outputs = []
        for slot, (_, shape, integer) in enumerate(self.facts["outputs"]):
            kind = ("int32" if self.real.itemsize == 4 else "int64") if integer else self.real
            out = np.empty(tuple(n if extent is None else extent for extent in shape), kind)
            call.outputs[slot] = self.ffi.cast(self._pointer.replace("[]", " *"), self.ffi.from_buffer(out))
            outputs.append(out)
        self._run("predict", call, keep)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def value_and_grad(
        self,
        params: Mapping[str, Any],
        *,
        state: Parameters | None = None,
        key: int = 0,
        step: int = 0,
        training: bool = True,
        **data: Any,
    ) -> tuple[float, Parameters]:
        """Compute the loss and its gradients; a state moves on in place."""
        call, n, keep = self._call(params, data, state, True)
        call.key, call.step, call.training = key, step, int(training)
        grads, loss = self._gradients(call, n, keep)
        self._run("value_and_grad", call, keep)
        return float(loss[0]), grads

    def train_epoch(
        self,
        params: Parameters,
        *,
        batch_size: int = 32,
        seed: int = 0,
        shuffle: bool = True,
        learning_rate: float | None = None,
        state: Parameters | None = None,
        **data: Any,
    ) -> float:
        """Go through the examples once, the optimizer's step after each batch; gives the mean loss."""
        optimizer = self.facts["optimizer"]
        if optimizer is None:
            raise ValueError(f"{self.facts['name']} was compiled without an optimizer")
        if not isinstance(params, Parameters) or params.flat.dtype != self.real:
            raise TypeError("train_epoch changes parameters in place, and takes what init or parameters made")
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"the batch size must be a positive integer, and is {batch_size!r}")
        arrays, examples = self._arrays(data, True)
        size = min(int(batch_size), examples)
        call, _, keep = self._struct(params, arrays, size, state)
        self._gradients(call, size, keep)
        if params.optimizer_state is None:
            params.optimizer_state = np.zeros(optimizer["elements"], self.real)
        rate = optimizer["learning_rate"] if learning_rate is None else learning_rate
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"the learning rate must be a number that is not negative, and is {rate!r}")
        seeds = np.array([rate], self.real)
        order = np.random.default_rng([seed, examples]).permutation(examples) if shuffle else np.arange(examples)
        rows, losses = order.astype(np.int32), np.empty(-(-examples // size), self.real)
        call.optimizer_state = self._buffer(params.optimizer_state)
        call.seeds = self._buffer(seeds)
        call.key, call.step, call.training = seed, params.step, 1
        run = self._function("train_epoch")
        code = run(call, examples, size, self.ffi.from_buffer("int32_t[]", rows), self._buffer(losses))
        if code:
            raise RuntimeError(f"the generated code gave the error code {code}")
        params.step += len(losses)
        weights = np.full(len(losses), float(size))
        weights[-1] = examples - (len(losses) - 1) * size
        return float(np.average(losses.astype(np.float64), weights=weights))

    def _initial(self, rows: Sequence[Any], places: Places, seed: int) -> Parameters:
        params = Parameters(np.zeros(_end(places), self.real), places)
        for name, shape, recipe in rows:
            rng = np.random.default_rng([seed, *name.encode()])
            params[name] = _filled(rng, tuple(shape), *recipe)
        return params

    def _function(self, name: str) -> Any:
        return getattr(self.lib, f"{self.prefix}_{name}")

    def _buffer(self, array: Array) -> Any:
        return self.ffi.from_buffer(self._pointer, array)

    def _is_target(self, name: str) -> bool:
        return any(i["name"] == name and i["target"] for i in self._inputs)

    def _call(
        self, params: Any, data: Mapping[str, Any], state: Parameters | None, targets: bool
    ) -> tuple[Any, int, list[Any]]:
        arrays, n = self._arrays(data, targets)
        return self._struct(params, arrays, n, state)

    def _struct(self, params: Any, arrays: Mapping[str, Array], n: int, state: Parameters | None) -> tuple[Any, int, list[Any]]:
        """A struct that points to everything a call reads."""
        if not isinstance(params, Parameters) or params.flat.dtype != self.real:
            params = self.parameters(params)
        if self._state_places and state is None:
            raise TypeError(f"{self.facts['name']} has a state: pass state=init_state() and keep it")
        arena = np.empty(int(self._function("arena_elements")(n)), self.real)
        call = self.ffi.new(f"{self.prefix}_call *")
        call.n, call.params, call.arena = n, self._buffer(params.flat), self._buffer(arena)
        call.parallel = self._parallel
        keep: list[Any] = [params, arena, state]
        if state is not None and self._state_places:
            call.state = self._buffer(state.flat)
        for spec in self._inputs:
            if spec["slot"] is not None and spec["name"] in arrays:
                memory = self.ffi.from_buffer(arrays[spec["name"]])
                call.inputs[spec["slot"]] = memory
                keep.append((memory, arrays[spec["name"]]))
        return call, n, keep

    def _gradients(self, call: Any, n: int, keep: list[Any]) -> tuple[Parameters, Array]:
        flat, loss = np.zeros(_end(self._places), self.real), np.zeros(1, self.real)
        grads = Parameters(flat, self._places)
        call.grads, call.loss = self._buffer(flat), self._buffer(loss)
        keep += [flat, loss]
        for slot, name in enumerate(self.facts["input_gradients"]):
            shape = next(tuple(i["shape"]) for i in self._inputs if i["name"] == name)
            array = np.zeros((n, *shape), self.real)
            call.input_grads[slot] = self._buffer(array)
            dict.__setitem__(grads, name, array)
        return grads, loss

    def _run(self, name: str, call: Any, keep: list[Any]) -> None:
        code = self._function(name)(call)
        del keep  # until here, what the struct points to had to live
        if code:
            raise RuntimeError(f"the generated code gave the error code {code}")

    def _arrays(self, data: Mapping[str, Any], targets: bool) -> tuple[dict[str, Array], int]:
        _check_names(
            data, [i["name"] for i in self._inputs], "input", [i["name"] for i in self._inputs if i["target"] and not targets]
        )
        arrays = {i["name"]: self._array(i, data[i["name"]]) for i in self._inputs if i["name"] in data}
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) != 1 or 0 in sizes.values():
            raise ValueError(f"all arrays must hold as many examples, at least one; they hold {sizes}")
        return arrays, next(iter(sizes.values()))

    def _array(self, spec: Mapping[str, Any], value: Any) -> Array:
        name, array = spec["name"], np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"'{name}' must hold numbers, and holds {array.dtype}")
        if array.shape[1:] != tuple(spec["shape"]) or array.ndim != len(spec["shape"]) + 1:
            raise ValueError(f"'{name}' must have shape {('n', *spec['shape'])}, and has {array.shape}")
        if not spec["integer"]:
            return np.require(array, self.real, ("C", "A"))
        low, high = (0, spec["classes"] - 1) if spec["classes"] is not None else (-(2**31), 2**31 - 1)
        wrong = (array < low) | (array > high)
        for label in spec["exempt"]:
            wrong &= array != label
        if array.dtype.kind == "f":
            wrong |= array != np.floor(array)
        if wrong.any():
            raise ValueError(f"'{name}' must hold integers in {low} .. {high}, and holds {array[wrong][0]}")
        return np.require(array.astype(np.int32, copy=False), requirements=("C", "A"))


def _places(rows: Sequence[Any]) -> Places:
    found: Places = {}
    start = 0
    for name, shape, _ in rows:
        end = start + math.prod(shape)
        found[name] = (start, end, tuple(shape))
        start = end
    return found


def _end(places: Places) -> int:
    return max((end for _, end, _ in places.values()), default=0)


def _check_names(given: Collection[str], known: Collection[str], what: str, optional: Collection[str] = ()) -> None:
    for name in given:
        if name not in known:
            raise TypeError(f"there is no {what} '{name}'; there are {', '.join(known)}")
    for name in known:
        if name not in given and name not in optional:
            raise TypeError(f"the {what} '{name}' is missing")


def _filled(rng: np.random.Generator, shape: tuple[int, ...], kind: str, *numbers: Any) -> Array:
    if kind == "uniform":
        return rng.uniform(numbers[0], numbers[1], shape)
    if kind == "normal":
        return rng.normal(numbers[0], numbers[1], shape)
    if kind == "orthogonal":
        fan_out = shape[0] if shape else 1
        fan_in = math.prod(shape[1:])
        q, r = np.linalg.qr(rng.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
        return (numbers[0] * (q if fan_out >= fan_in else q.T)).reshape(shape)
    return np.broadcast_to(np.asarray(numbers[0]), shape)
