"""The C backend: calls the compiled extension through cffi, with as little between Python and C as can be.

Generated code takes one struct of pointers. Each thread has its own (with its own arena), kept from call to call: the long
way fills it here, the short way (`bpcompile.ready`) in C. cffi releases the global interpreter lock while C runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpcompile.emit.c.source import Interface
from bpcompile.errors import BPCompileError
from bpcompile.parameters import Gradients, Layout, Parameters, State, aligned, vectors
from bpcompile.ready import shortcuts
from bpcompile.signature import Signature

Array = NDArray[Any]
_POINTERS: Final = {"float32": "float[]", "float64": "double[]"}


class _Workspace:
    """What one thread needs to call C: the struct, its arena, and the most examples that the arena is for."""

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
        self.most = 0
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
    face : Interface
        The order of arrays and run-time numbers in the struct.
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
        face: Interface,
        threads: int = 1,
    ) -> None:
        self.signature, self.source, self.lib, self.ffi = signature, source, lib, ffi
        self.prefix, self.moments, self.seeds, self._face = prefix, moments, face.seeds, face
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
        self._slot = {t.name: k for k, t in enumerate(face.inputs)}
        self._output_slot = {t.name: k for k, t in enumerate(face.outputs)}
        self._grad_slot = {t.name: k for k, t in enumerate(face.input_grads)}
        self._layout, self._vector = signature.parameters, vectors(signature.parameters, signature.real)

    def shortcuts(self, long_ways: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
        """Give those of a model's methods, by name, that have a short way for arrays which need no conversion."""
        names = {"_local": self._local, "_fail": self._fail}
        return shortcuts(self.signature, self._face, self.prefix, self.lib, names, long_ways)

    def predict(
        self, params: Parameters, arrays: Sequence[Array | None], n: int, state: State, key: int, step: int
    ) -> list[Array]:
        """Compute the outputs."""
        w, _keep = self._prepared(params, arrays, n, state)
        self._set(w, key, step, True)  # what `training` means to predict stands in its text
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
        step.scratch = (w.arena, grads.flat, *grads.inputs.values())  # type: ignore[attr-defined]
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
        if n > w.most:
            w.arena = aligned(int(getattr(self.lib, f"{self.prefix}_arena_elements")(n)), self.signature.real)
            w.call.arena = self.ffi.from_buffer(self.pointer_type, w.arena)
            w.most = n
        return keep

    def _pointer(self, vector: Parameters) -> Any:
        if not hasattr(vector, "_pointer"):
            vector._pointer = self.ffi.from_buffer(self.pointer_type, vector.flat)
        return vector._pointer

    def _new_gradients(self, w: _Workspace, n: int) -> Gradients:
        flat = self._vector()
        flat.fill(0)
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

    def _fail(self, code: int) -> None:
        raise BPCompileError(f"The generated code of '{self.signature.name}' gave the error code {code}.")
