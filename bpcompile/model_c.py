"""The C backend: calls the compiled extension through cffi, with as little between Python and C as can be.

Generated code takes one struct of pointers. Each thread has its own (with its own arena), filled once and kept: an ordinary
call only exchanges the pointers to arrays. cffi releases the global interpreter lock while C runs.
"""

from __future__ import annotations

import keyword
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.arrays import INDEX, label_test
from bpcompile.emit.templates import environment
from bpcompile.errors import BPCompileError
from bpcompile.parameters import Gradients, Layout, Parameters, State, fresh_gradients
from bpcompile.signature import Signature

Array = NDArray[Any]
_POINTERS: Final = {"float32": "float[]", "float64": "double[]"}


_SMALL: Final = 1 << 20  # bytes up to which arrays are remembered; with larger ones, microseconds do not count
_FEW: Final = 4096  # gradients up to which clearing memory costs less than not clearing it
_TAKEN: Final = ("params", "state", "key", "step", "training", "self")


class _Workspace:
    """What one thread needs to call C: the struct, its arena, and the number of examples that the arena is for."""

    def __init__(self, backend: CBackend) -> None:
        ffi = backend.ffi
        self.call = ffi.new(f"{backend.prefix}_call *")
        self.loss = ffi.new(backend.pointer_type, 1)
        self.call.loss = self.loss
        self.call.training = 1
        if backend.parallel is not None:
            self.call.parallel = backend.parallel
        self.inputs, self.outputs, self.input_grads = self.call.inputs, self.call.outputs, self.call.input_grads
        self.arena: Array | None = None
        self.n = -1
        self.plain = True  # key 0, step 0, training on: as an ordinary call wants them


class CBackend:
    """Runs a compiled extension.

    Parameters
    ----------
    signature : Signature
        What the network takes and gives.
    source : str
        The C text.
    lib, ffi : Any
        cffi's library and its ``ffi``.
    prefix : str
        What every name of the library begins with.
    moments : Layout
        The optimizer's state.
    seeds : tuple of str
        The run-time numbers, in the order of ``call->seeds``.
    slots : mapping
        The order of ``inputs``, ``outputs`` and ``input_grads`` in the struct, by name.
    threads : int
        How many threads work on one call.
    """

    name = "c"

    def __init__(
        self,
        signature: Signature,
        source: str,
        lib: Any,
        ffi: Any,
        prefix: str,
        moments: Layout,
        seeds: tuple[str, ...] = (),
        slots: Mapping[str, tuple[str, ...]] | None = None,
        threads: int = 1,
    ) -> None:
        self.signature, self.source, self.lib, self.ffi = signature, source, lib, ffi
        self.prefix, self.moments, self.seeds = prefix, moments, seeds
        self.pointer_type = ffi.typeof(_POINTERS[signature.dtype])
        self._bytes = ffi.typeof("char[]")
        self._local = threading.local()
        self._pool = None
        self.parallel = None
        if threads > 1 and hasattr(lib, f"{prefix}_pool_new"):
            free = getattr(lib, f"{prefix}_pool_free")
            self._pool = ffi.gc(getattr(lib, f"{prefix}_pool_new")(threads), free)
            self.parallel = getattr(lib, f"{prefix}_pool_parallel")(self._pool)
        self._run_predict: Any = getattr(lib, f"{prefix}_predict", None)
        self._run: Any = getattr(lib, f"{prefix}_value_and_grad", None)
        order = slots or {}
        arrays = order.get("inputs", tuple(a.name for a in signature.arrays))
        self._slot = {name: k for k, name in enumerate(arrays)}
        self._output_slot = {n: k for k, n in enumerate(order.get("outputs", tuple(o.name for o in signature.outputs)))}
        self._grad_slot = {n: k for k, n in enumerate(order.get("input_grads", signature.input_gradients))}
        # Memory as malloc gives it: every gradient is written by every call.
        self._allocate = ffi.new_allocator(should_clear_after_alloc=False)
        self._layout, self._size = signature.parameters, signature.parameters.size

    # --- the short way --------------------------------------------------------------------------------------------

    def shortcut(self, long_way: Callable[..., tuple[float, Gradients]]) -> Callable[..., tuple[float, Gradients]]:
        """Give `Model.value_and_grad` with a short way for arrays that this thread passed before.

        Their pointers are in the struct already; what may have changed since (shape, element type, labels) is looked at.
        Everything else, and every doubt, goes the long way. The function is written for the names of this network: here,
        tens of nanoseconds count.
        """
        arrays = self.signature.arrays
        odd = any(keyword.iskeyword(a.name) or a.name in _TAKEN or a.name.startswith("_") for a in arrays)
        if odd or self._run is None or self.signature.states.size or self.signature.input_gradients:
            return long_way
        size, real = self.signature.parameters.size, self.signature.real
        small = size <= _FEW
        names: dict[str, Any] = {
            "_local": self._local,
            "_layout": self.signature.parameters,
            "_missing": object(),
            "_new": self.ffi.new if small else self._allocate,
            "_type": self.ffi.typeof(f"{self._real_name}[{max(size, 1)}]"),
            "_run": self._run,
            "_fail": self._fail,
            "_gradients": fresh_gradients(self.signature.parameters, self._as_array),
            "_long_way": long_way,
            **{f"_dtype{k}": INDEX if a.integer else real for k, a in enumerate(arrays)},
            **{f"_allowed{k}": label_test(a) for k, a in enumerate(arrays) if a.integer},
        }
        text = environment().get_template("package/shortcut.py.j2").render(arrays=arrays)
        exec(compile(text, "<bpcompile shortcut>", "exec"), names)  # our text; the names in it are checked identifiers
        value_and_grad: Callable[..., tuple[float, Gradients]] = names["value_and_grad"]
        value_and_grad.__doc__ = long_way.__doc__
        return value_and_grad

    # --- the long way ---------------------------------------------------------------------------------------------

    def predict(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int
    ) -> list[Array]:
        """Compute the outputs."""
        w, _keep = self._prepared(params, arrays, n, state)
        self._set(w, key, step, False)
        outputs = []
        for spec in self.signature.outputs:
            kind = self.signature.output_integer if spec.integer else self.signature.real
            out = np.empty(tuple(n if e is None else e for e in spec.shape), kind)
            w.outputs[self._output_slot[spec.name]] = self.ffi.cast(
                f"{self._real_name} *", self.ffi.from_buffer(self._bytes, out)
            )
            outputs.append(out)
        code = self._run_predict(w.call)
        if code:
            self._fail(code)
        return outputs

    def value_and_grad(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int, training: bool
    ) -> tuple[float, Gradients]:
        """Compute the loss and its gradients; the state moves on."""
        w, _keep = self._prepared(params, arrays, n, state)
        grads = self._new_gradients(w, n)
        self._set(w, key, step, training)
        code = self._run(w.call)
        if code:
            self._fail(code)
        return float(w.loss[0]), grads

    def bind(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, training: bool
    ) -> Callable[..., tuple[float, Gradients]]:
        """Give a function of `key` and `step` that computes loss and gradients into the same arrays each time."""
        w = _Workspace(self)
        keep = self._fill(w, params, arrays, n, state)
        grads = self._new_gradients(w, n)
        self._set(w, 0, 0, training)
        call, loss, run = w.call, w.loss, self._run

        def step(key: int = 0, step: int = 0) -> tuple[float, Gradients]:
            if key or step:
                call.key, call.step = key, step
            code = run(call)
            if key or step:
                call.key = call.step = 0
            if code:
                self._fail(code)
            return loss[0], grads

        step.keep = (w, keep, params, state)  # type: ignore[attr-defined]
        return step

    def train_epoch(
        self,
        params: Parameters,
        arrays: Sequence[Array],
        n: int,
        batch_size: int,
        order: Array,
        state: State,
        moments: State,
        seeds: Mapping[str, float],
        key: int,
        step: int,
    ) -> Array:
        """Run an epoch in place, in C; give the loss of each batch."""
        batch_size = min(n, batch_size)
        w = _Workspace(self)
        keep = [self._fill(w, params, arrays, batch_size, state), self._new_gradients(w, batch_size)]
        self._set(w, key, step, True)
        numbers = np.array([seeds[name] for name in self.seeds] or [0.0], self.signature.real)
        losses = np.empty(-(-n // batch_size), self.signature.real)
        buffer = self.ffi.from_buffer
        w.call.optimizer_state = buffer(self.pointer_type, moments.flat)
        w.call.seeds = buffer(self.pointer_type, numbers)
        run = getattr(self.lib, f"{self.prefix}_train_epoch")
        rows = buffer(self.ffi.typeof("int32_t[]"), order)
        code = run(w.call, n, batch_size, rows, buffer(self.pointer_type, losses))
        del keep  # until here, its arrays had to live
        if code:
            self._fail(code)
        return losses

    def arena_bytes(self, n: int) -> int:
        """Bytes of scratch memory for `n` examples."""
        return int(getattr(self.lib, f"{self.prefix}_arena_elements")(n)) * self.signature.real.itemsize

    # --- the struct -----------------------------------------------------------------------------------------------

    @property
    def _real_name(self) -> str:
        return "float" if self.signature.dtype == "float32" else "double"

    def _prepared(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State
    ) -> tuple[_Workspace, list[Any]]:
        w: _Workspace | None = getattr(self._local, "workspace", None)
        if w is None:
            w = self._local.workspace = _Workspace(self)
        return w, self._fill(w, params, arrays, n, state)

    def _fill(self, w: _Workspace, params: Parameters, arrays: Sequence[Array | None], n: int, state: State) -> list[Any]:
        """Point the struct at arrays and at an arena that is large enough; give what must stay alive."""
        keep: list[Any] = []
        for spec, array in zip(self.signature.arrays, arrays, strict=True):
            slot = self._slot.get(spec.name, -1)
            if slot >= 0:
                memory = self.ffi.NULL if array is None else self.ffi.from_buffer(self._bytes, array)
                w.inputs[slot] = memory
                keep.append((memory, array))
        w.call.params = self._pointer(params)
        w.call.state = self._pointer(state)
        w.call.n = n
        if n != w.n:
            needed = int(getattr(self.lib, f"{self.prefix}_arena_elements")(n))
            if w.arena is None or w.arena.size < needed:
                w.arena = _aligned(needed, self.signature.real)
            w.call.arena = self.ffi.from_buffer(self.pointer_type, w.arena)
            w.n = n
        self._remember(w, arrays)
        return keep

    def _remember(self, w: _Workspace, arrays: Sequence[Array | None]) -> None:
        """Keep the arrays that the struct points to, so that the short way knows them again."""
        ready = all(a is not None for a in arrays) and sum(a.nbytes for a in arrays if a is not None) <= _SMALL
        for k, array in enumerate(arrays):
            setattr(w, f"array{k}", array if ready else None)
            setattr(w, f"shape{k}", array.shape if ready and array is not None else None)

    def _pointer(self, vector: Parameters) -> Any:
        if not hasattr(vector, "_pointer"):
            vector._pointer = self.ffi.from_buffer(self.pointer_type, vector.flat)
        return vector._pointer

    def _new_gradients(self, w: _Workspace, n: int) -> Gradients:
        flat = np.zeros(self._size, self.signature.real)
        w.call.grads = self.ffi.from_buffer(self.pointer_type, flat)
        inputs = {}
        for name in self.signature.input_gradients:
            array = inputs[name] = np.zeros((n, *self.signature.spec(name).shape), self.signature.real)
            w.input_grads[self._grad_slot[name]] = self.ffi.from_buffer(self.pointer_type, array)
        return Gradients(self._layout, flat, inputs)

    @staticmethod
    def _set(w: _Workspace, key: int, step: int, training: bool) -> None:
        call = w.call
        call.key, call.step, call.training = key, step, training
        w.plain = training and not key and not step

    def _as_array(self, memory: Any) -> Array:
        return np.frombuffer(self.ffi.buffer(memory), self.signature.real)

    def _fail(self, code: int) -> None:
        raise BPCompileError(f"The generated code of '{self.signature.name}' gave the error code {code}.")


_LINE: Final = 64  # bytes of a cache line, and of the widest vector


def _aligned(count: int, real: np.dtype[Any]) -> Array:
    """Uninitialized memory that begins with a cache line."""
    memory = np.empty(count * real.itemsize + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + count * real.itemsize].view(real)
