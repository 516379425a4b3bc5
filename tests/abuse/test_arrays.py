"""Arrays as they should not be: right or refused, and never a crash."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bpcompile as bp
from bpcompile.errors import BPCompileError
from tests.model.networks import with_state


def model(backend: str, **options: Any) -> bp.Model:
    x, y = bp.Input("x", (4,)), bp.Target("y", classes=3)
    z = bp.Dense(3, activation="tanh", name="a")(x)
    net = bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y))
    return bp.compile(net, backend=backend, dtype="float64", flags=["-O1"], **options)


X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.array([0, 1, 2, 0, 1, 2])


class Cuda:
    """An array of another device: its memory is not to be touched."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: object) -> Any:
        shape = (ctypes.c_int64 * 2)(6, 4)
        # DLManagedTensor: data, device (CUDA, 0), axes, element type (float, 64 bits, 1 lane), shape, strides, offset, owner
        fields = struct.pack("PiiiBBHPPQPP", 0xDEAD0000, 2, 0, 2, 2, 64, 1, ctypes.addressof(shape), 0, 0, 0, 0)
        self.kept = shape, ctypes.create_string_buffer(fields, len(fields))
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return capsule(ctypes.addressof(self.kept[1]), b"dltensor", None)


class Subclass(np.ndarray[Any, Any]):
    """An array of a class of its own."""


def _misaligned(a: np.ndarray) -> np.ndarray:
    room = np.zeros(a.nbytes + 1, np.uint8)
    view = room[1:].view(a.dtype).reshape(a.shape)
    view[:] = a
    return view


def _read_only(a: np.ndarray) -> np.ndarray:
    b = a.copy()
    b.flags.writeable = False
    return b


SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "column order": np.asfortranarray,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "negative strides in all axes": lambda a: np.flip(np.flip(a).copy()),
    "misaligned": _misaligned,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": _read_only,
    "a subclass": lambda a: a.view(Subclass),
    "a list": lambda a: a.tolist(),
    "a masked array without masks": np.ma.masked_array,
    "a view of bytes": lambda a: memoryview(np.ascontiguousarray(a)),
    "more digits": lambda a: a.astype(np.longdouble) if a.dtype.kind == "f" else a.astype(np.uint64),
    "broadcast in memory": lambda a: np.broadcast_to(a[None], (1, *a.shape))[0],
}


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("form", SAME)
def test_the_same_numbers_in_another_form(form: str, backend: str) -> None:
    m = model(backend)
    params = m.init(seed=0)
    want, grads = m.value_and_grad(params, x=X, y=Y)
    want_grad = np.array(grads["a.W"])
    got, found = m.value_and_grad(params, x=SAME[form](X), y=SAME[form](Y))
    assert got == want and np.array_equal(found["a.W"], want_grad)
    step = m.bind(params, x=SAME[form](X), y=SAME[form](Y))
    assert step()[0] == want
    changed = {k: SAME[form](v) for k, v in m.init(seed=0).items()}
    assert m.value_and_grad(changed, x=X, y=Y)[0] == want


REFUSED: dict[str, tuple[Any, Any]] = {
    "no examples": (X[:0], Y[:0]),
    "too few columns": (X[:, :3], Y),
    "one axis more": (X[..., None], Y),
    "a number": (1.0, Y),
    "objects": (np.array([[None] * 4] * 6, object), Y),
    "complex": (X + 1j, Y),
    "text": (np.full((6, 4), "a"), Y),
    "ragged": ([[1.0], [1.0, 2.0]], Y),
    "dates": (np.zeros((6, 4), "datetime64[s]"), Y),
    "a record": (np.zeros((6, 4), [("a", "f8")]), Y),
    "a label too large": (X, Y + 1),
    "a negative label": (X, Y - 1),
    "a label that is no integer": (X, Y + 0.5),
    "a label that is NaN": (X, np.full(6, np.nan)),
    "a huge label": (X, Y + 2**40),
    "another number of examples": (X, Y[:5]),
    "nothing": (None, Y),
    "a dictionary": ({"x": 1}, Y),
    "of another device": (Cuda(), Y),
    "with masked elements": (np.ma.masked_array(X, X > 0), Y),
    "bytes": (b"abc", Y),
    "an iterator": (iter(X), Y),
    "no axes": (np.float64(1), Y),
    "no columns": (X[:, :0], Y),
    "lists in lists": ([[[[[1.0]]]]], Y),
    "labels in a column": (X, Y[:, None]),
}


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_a_sentence(what: str, backend: str) -> None:
    m = model(backend)
    x, y = REFUSED[what]
    with pytest.raises(BPCompileError) as caught:
        m.value_and_grad(m.init(), x=x, y=y)
    assert len(str(caught.value)) > 20


def test_missing_and_extra_names() -> None:
    m = model("numpy")
    for data in ({"x": X}, {"x": X, "y": Y, "z": X}, {}):
        with pytest.raises(BPCompileError):
            m.value_and_grad(m.init(), **data)


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_one_array_as_input_and_parameter(backend: str) -> None:
    """Memory that overlaps: an input that is a view of the parameters."""
    m = model(backend)
    params = m.init(seed=0)
    shared = params["a.W"].reshape(3, 4)
    want = m.value_and_grad(params, x=shared.copy(), y=Y[:3])[0]
    assert m.value_and_grad(params, x=shared, y=Y[:3])[0] == want


def test_nan_is_noticed_where_asked() -> None:
    x, y = bp.Input("x", (4,)), bp.Target("y", classes=3)
    z = bp.Dense(3, name="a")(x)
    m = bp.compile(bp.Network(z, loss=bp.SoftmaxCrossEntropy(z, y)), backend="numpy", check_finite=True)
    bad = X.copy()
    bad[1, 2] = np.nan
    with pytest.raises(BPCompileError):
        m.value_and_grad(m.init(), x=bad, y=Y)


WRONG_PARAMETERS: dict[str, Any] = {
    "another shape": np.zeros((2, 2)), "the axes exchanged": np.zeros((4, 3)), "a number": 0.5, "nothing": None, "text": "a",
    "complex": np.zeros((3, 4)) * 1j, "objects": np.full((3, 4), None), "dates": np.zeros((3, 4), "datetime64[s]"),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "c"])
@pytest.mark.parametrize("what", WRONG_PARAMETERS)
def test_parameters_that_do_not_fit(what: str, backend: str) -> None:
    m = model(backend)
    params = m.init(seed=0)
    want = m.value_and_grad(params, x=X, y=Y)[0]
    with pytest.raises(BPCompileError):
        params["a.W"] = WRONG_PARAMETERS[what]
    with pytest.raises(BPCompileError):
        m.value_and_grad({**params, "a.W": WRONG_PARAMETERS[what]}, x=X, y=Y)
    assert m.value_and_grad(params, x=X, y=Y)[0] == want


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_copies_of_models_and_parameters(backend: str) -> None:
    m = model(backend)
    params = m.init(seed=0)
    want = m.value_and_grad(params, x=X, y=Y)[0]
    assert copy.copy(m) is m and copy.deepcopy({"model": m})["model"] is m
    with pytest.raises(BPCompileError, match="not pickled"):
        pickle.dumps(m)
    for made in (pickle.loads(pickle.dumps(params)), copy.deepcopy(params)):
        assert m.value_and_grad(made, x=X, y=Y)[0] == want


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_bound_arrays_live_as_long_as_they_are_bound(backend: str) -> None:
    m = model(backend)
    want = m.value_and_grad(m.init(seed=0), x=X, y=Y)[0]
    step = model(backend).bind(m.init(seed=0), x=X.copy(), y=Y.copy())
    gc.collect()
    filled = [np.full(X.shape, np.nan) for _ in range(100)]
    assert step()[0] == want and len(filled) == 100


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_one_model_in_several_threads(backend: str) -> None:
    m = model(backend)
    params = m.init(seed=0)
    wanted = [(loss, np.array(grads["a.W"])) for loss, grads in (m.value_and_grad(params, x=X * k, y=Y) for k in range(1, 5))]
    wrong: list[object] = []

    def work(k: int) -> None:
        for _ in range(50):
            loss, grads = m.value_and_grad(params, x=X * (k + 1), y=Y)
            if loss != wanted[k][0] or not np.array_equal(grads["a.W"], wanted[k][1]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("options", [{"wrt": 3}, {"wrt": [1]}, {"flags": "-O1"}, {"flags": [1]}, {"threads": 10**9}, {"dtype": "float16"},
                                     {"checkpoint": -1}, {"optimizer": "adam"}])  # fmt: skip
def test_options_of_compile(options: dict[str, Any]) -> None:
    with pytest.raises(BPCompileError):
        bp.compile(model("numpy").network, backend="numpy", **options)


@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_what_is_read_only_is_not_trained(backend: str, tmp_path: Path) -> None:
    """A file that is mapped into memory read-only ends a process that writes to it."""
    m = model(backend, optimizer=bp.SGD())
    frozen = m.init()
    np.save(tmp_path / "flat.npy", frozen.flat)
    frozen.flat.flags.writeable = False
    mapped = type(frozen)(frozen.layout, np.load(tmp_path / "flat.npy", mmap_mode="r"))
    for params in (frozen, mapped):
        with pytest.raises(BPCompileError, match="read-only"):
            m.train_epoch(params, x=X, y=Y)
        assert np.isfinite(m.value_and_grad(params, x=X, y=Y)[0])
        m.train_epoch(params.copy(), x=X, y=Y)
    averaging = bp.compile(with_state(), backend=backend)
    state = averaging.init_state()
    state.flat.flags.writeable = False
    inputs = {k: np.ones((4, *v.shape[1:])) for k, v in (averaging.network.inputs | averaging.network.targets).items()}
    with pytest.raises(BPCompileError, match="state"):
        averaging.value_and_grad(averaging.init(), state=state, **inputs)
    with pytest.raises(BPCompileError, match="state"):
        averaging.bind(averaging.init(), state=state, **inputs)
