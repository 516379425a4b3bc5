"""Builds generated C into a shared library and calls it, for tests."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bpcompile.emit.c.source import Source

NATIVE = ("-std=gnu11", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
PLAIN = ("-std=c11", "-DBP_PLAIN")
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror")
POINTER = ctypes.c_void_p
POOL_LINK = ("-pthread",)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bpcompile-test-")


def library(text: str, flags: Sequence[str] = NATIVE, optimize: str = "-O1") -> ctypes.CDLL:
    """Compile text (once) and load it."""
    command = ["gcc", *flags, optimize, "-fPIC", "-shared", "-pthread"]
    key = hashlib.sha256("\0".join([*command, text]).encode()).hexdigest()[:16]
    target = Path(_folder().name) / f"{key}.so"
    if not target.exists():
        source = target.with_suffix(".c")
        source.write_text(text)
        done = subprocess.run([*command, str(source), "-o", str(target), "-lm"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        assert not (set(STRICT) & set(flags)) or not done.stderr, done.stderr[:4000]
    return ctypes.CDLL(str(target))


def symbols(text: str) -> list[str]:
    """The external symbols that compiled text defines, and those that it needs."""
    library(text)
    newest = max(Path(_folder().name).glob("*.so"), key=lambda p: p.stat().st_mtime_ns)
    listed = subprocess.run(["nm", "-D", str(newest)], capture_output=True, text=True, check=True).stdout
    return [line.split(maxsplit=1)[-1].replace(" ", ":") if line[0] == " " else line[17:].replace(" ", ":")
            for line in listed.splitlines()]  # fmt: skip


class Caller:
    """Calls the functions of a module with NumPy arrays."""

    def __init__(self, source: Source, flags: Sequence[str] = NATIVE, optimize: str = "-O1", pool: bool = False) -> None:
        self.source = source
        self.library = library((source.pool_text if pool else "") + source.c_text, flags, optimize)
        self.dtype = np.dtype(source.dtype)
        self.integer = np.dtype("int32" if source.dtype == "float32" else "int64")
        self.parallel = None
        face = source.interface
        self.call_type = type("Call", (ctypes.Structure,), {"_fields_": [
            ("n", ctypes.c_ssize_t), ("params", POINTER), ("grads", POINTER), ("state", POINTER),
            ("inputs", POINTER * max(1, len(face.inputs))), ("outputs", POINTER * max(1, len(face.outputs))),
            ("input_grads", POINTER * max(1, len(face.input_grads))), ("loss", POINTER), ("arena", POINTER),
            ("key", ctypes.c_uint64), ("step", ctypes.c_uint64), ("training", ctypes.c_int),
            ("optimizer_state", POINTER), ("seeds", POINTER), ("parallel", POINTER),
        ]})  # fmt: skip

    def function(self, name: str) -> Any:
        return getattr(self.library, f"{self.source.prefix}_{name}")

    def elements(self, n: int) -> int:
        function = self.function("arena_elements")
        function.restype, function.argtypes = ctypes.c_size_t, [ctypes.c_ssize_t]
        return int(function(n))

    def start_pool(self, threads: int) -> None:
        new, get = self.function("pool_new"), self.function("pool_parallel")
        new.restype, new.argtypes, get.restype, get.argtypes = POINTER, [ctypes.c_int], POINTER, [POINTER]
        self.pool = new(threads)
        self.parallel = get(self.pool)

    def stop_pool(self) -> None:
        free = self.function("pool_free")
        free.argtypes = [POINTER]
        free(self.pool)
        self.parallel = None

    def arrays(self, values: Mapping[str, Any], n: int) -> dict[str, Any]:
        """All arrays of a call: those given, and room for results."""
        face = self.source.interface
        made: dict[str, Any] = {}
        for vector, infos in (("params", face.parameters), ("state", face.states), ("optimizer_state", face.optimizer_state)):
            flat = np.zeros(max((i.offset + i.elements for i in infos), default=0), self.dtype)
            for info in infos:
                if info.name in values:
                    flat[info.offset : info.offset + info.elements] = np.asarray(values[info.name]).ravel()
            made[vector] = flat
        made["grads"] = np.full_like(made["params"], np.nan)
        made["inputs"] = [
            np.ascontiguousarray(values[i.name], self.dtype if i.kind == "real" else np.int32) if i.name in values else None
            for i in face.inputs
        ]
        for name in ("outputs", "input_grads"):
            made[name] = [
                np.full([n if e is None else e for e in i.shape], np.nan if i.kind == "real" else -7,
                        self.dtype if i.kind == "real" else self.integer)
                for i in getattr(face, name)
            ]  # fmt: skip
        made["loss"] = np.full(1, np.nan, self.dtype)
        made["seeds"] = np.array([values[name] for name in face.seeds], self.dtype)
        made["arena"] = np.full(self.elements(n) + 1, np.nan, self.dtype)
        return made

    def pack(self, made: Mapping[str, Any], n: int, **numbers: int) -> Any:
        call = self.call_type(n=n, key=numbers.get("key", 0), step=numbers.get("step", 0),
                              training=numbers.get("training", 1), parallel=self.parallel)  # fmt: skip
        for name in ("params", "grads", "state", "loss", "arena", "optimizer_state", "seeds"):
            setattr(call, name, made[name].ctypes.data)
        for name in ("inputs", "outputs", "input_grads"):
            for slot, array in enumerate(made[name]):
                getattr(call, name)[slot] = None if array is None else array.ctypes.data
        return call

    def run(self, name: str, values: Mapping[str, Any], n: int, **numbers: int) -> dict[str, Any]:
        """Run a function; gives its arrays and, by tensor name, results (gradients as ``<name>.grad``)."""
        made = self.arrays(values, n)
        assert self.function(name)(ctypes.byref(self.pack(made, n, **numbers))) == 0
        assert np.isnan(made["arena"][-1])
        return {**made, **self.results(made)}

    def results(self, made: Mapping[str, Any]) -> dict[str, Any]:
        face = self.source.interface
        found = {"loss": made["loss"][0]}
        found |= {i.name: a for i, a in zip(face.outputs, made["outputs"], strict=True)}
        found |= {f"{i.name}.grad": a for i, a in zip(face.input_grads, made["input_grads"], strict=True)}
        for info in face.parameters:
            part = slice(info.offset, info.offset + info.elements)
            found[f"{info.name}.grad"] = made["grads"][part].reshape(info.shape)
            found[info.name] = made["params"][part].reshape(info.shape)
        for info in face.states:
            found[info.name] = made["state"][info.offset : info.offset + info.elements].reshape(info.shape)
        return found
