"""A C program with a main of its own around a generated module, and what it computed.

The program reads arrays from a file, calls predict, value_and_grad and train_epoch, and writes every array that they wrote.
Each array has memory of exactly its size: between two pages that cannot be touched, or from malloc, where the sanitizers
watch. Nothing of Python runs in it, so it can be built for any processor and run by any emulator.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bpcompile.emit.c.source import REAL, Source, TensorInfo

Array = np.ndarray[Any, Any]
Results = dict[str, Array]
KEY = 5
PLACES = {"malloc": 0, "end": 1, "start": 2}
"""Where an array lies: in memory from malloc; before, or behind, a page that cannot be touched."""

_MAIN = """\
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"
#ifndef BARE
#include <sys/mman.h>
#include <unistd.h>
#endif
@POOL

typedef @REAL real;
static FILE *in, *out;
static int place;

static void fail(const char *what) { fprintf(stderr, "%s\\n", what); exit(3); }

/* Memory of exactly so many bytes. Released by the end of the program, or by `discard`. */
static struct { void *memory, *base; size_t bytes; } blocks[256];
static int used;

static void *memory_of(size_t bytes) {
    if (used == 256) fail("too many arrays");
    blocks[used].bytes = 0;
#ifndef BARE
    if (place) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
        char *base = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED) fail("no memory");
        if (inner && mprotect(base + page, inner, PROT_READ | PROT_WRITE)) fail("no protection");
        blocks[used].base = base;
        blocks[used].bytes = inner + 2 * page;
        blocks[used].memory = place == 1 ? base + page + inner - bytes : base + page;
        if (place == 1) memset(base + page, 0x5a, inner - bytes);
        return blocks[used++].memory;
    }
#endif
    blocks[used].base = blocks[used].memory = malloc(bytes ? bytes : 1);
    if (blocks[used].memory == NULL) fail("no memory");
    return blocks[used++].memory;
}

/* Give everything back; before the end of a page, nobody may have written either. */
static void discard(void) {
    while (used) {
        used--;
#ifndef BARE
        if (blocks[used].bytes) {
            if (place == 1) {
                const size_t page = (size_t)sysconf(_SC_PAGESIZE);
                for (char *p = (char *)blocks[used].base + page; p < (char *)blocks[used].memory; p++)
                    if (*p != 0x5a) fail("an array was written before its beginning");
            }
            munmap(blocks[used].base, blocks[used].bytes);
            continue;
        }
#endif
        free(blocks[used].base);
    }
}

static void *given(size_t bytes) {
    void *memory = memory_of(bytes);
    if (bytes && fread(memory, 1, bytes, in) != bytes) fail("the file of arrays is too short");
    return memory;
}

/* NaN, all of it, so that what is not written shows; with malloc, left as it is, so that valgrind knows. */
static void *room(size_t bytes) {
    void *memory = memory_of(bytes);
    if (place) memset(memory, 0xff, bytes);
    return memory;
}

static void put(const void *memory, size_t bytes) {
    if (bytes && fwrite(memory, 1, bytes, out) != bytes) fail("cannot write");
}

static void once(ptrdiff_t n@PARALLEL_PARAMETER) {
    net_call call = {0};
    const ptrdiff_t batch = (2 * n + 2) / 3;
    const size_t params = @PARAMS * sizeof(real), states = @STATES * sizeof(real), moments = @MOMENTS * sizeof(real);
    real *const parameters = given(params);
    call.params = parameters;
    call.state = given(states);
    call.optimizer_state = given(moments);
    call.seeds = given(@SEEDS * sizeof(real));
@GIVEN    int32_t *const order = given((size_t)n * sizeof *order);
    call.n = n;
    call.key = @KEY;
@PARALLEL
    call.arena = room(net_arena_elements(n) * sizeof(real));
@ROOM    if (net_predict(&call)) fail("predict");
@PUT_OUTPUTS
    call.training = 1;
    call.grads = room(params);
    call.loss = room(sizeof(real));
    if (net_value_and_grad(&call)) fail("value_and_grad");
    put(call.loss, sizeof(real));
    put(call.grads, params);
@PUT_GRADS    put(call.state, states);
    call.arena = room(net_arena_elements(batch) * sizeof(real));
    real *const losses = room((size_t)((n + batch - 1) / batch) * sizeof(real));
    if (net_train_epoch(&call, n, batch, order, losses)) fail("train_epoch");
    put(losses, (size_t)((n + batch - 1) / batch) * sizeof(real));
    put(parameters, params);
    put(call.state, states);
    put(call.optimizer_state, moments);
    discard();
}

int main(int count, char **words) {
    if (count < 5) fail("usage: PLACE THREADS IN OUT N...");
    place = atoi(words[1]);
    in = fopen(words[3], "rb");
    out = fopen(words[4], "wb");
    if (in == NULL || out == NULL) fail("a file cannot be opened");
@POOL_NEW    for (int i = 5; i < count; i++) once(atoi(words[i])@PARALLEL_ARGUMENT);
@POOL_FREE    return fclose(out) != 0;
}
"""


def driver_text(source: Source, threads: int) -> str:
    """The main program."""
    face = source.interface
    pool = threads > 1
    replaced = {
        "@REAL": REAL[source.dtype],
        "@PARAMS": str(_flat(face.parameters)),
        "@STATES": str(_flat(face.states)),
        "@MOMENTS": str(_flat(face.optimizer_state)),
        "@SEEDS": str(len(face.seeds)),
        "@KEY": str(KEY),
        "@GIVEN": _lines(f"call.inputs[{k}] = given({_count(t)} * {_element(t)});" for k, t in enumerate(face.inputs)),
        "@ROOM": _lines(
            [f"call.outputs[{k}] = room({_count(t)} * sizeof(real));" for k, t in enumerate(face.outputs)]
            + [f"call.input_grads[{k}] = room({_count(t)} * sizeof(real));" for k, t in enumerate(face.input_grads)]
        ),
        "@PUT_OUTPUTS": _lines(f"put(call.outputs[{k}], {_count(t)} * sizeof(real));" for k, t in enumerate(face.outputs)),
        "@PUT_GRADS": _lines(
            f"put(call.input_grads[{k}], {_count(t)} * sizeof(real));" for k, t in enumerate(face.input_grads)
        ),
        "@POOL_NEW": _lines(["net_pool *pool = net_pool_new(atoi(words[2]));", 'if (pool == NULL) fail("no pool");'] * pool),
        "@POOL_FREE": "    net_pool_free(pool);\n" * pool,
        "@POOL": source.pool_cdef * pool,
        "@PARALLEL_PARAMETER": ", const net_parallel *parallel" * pool,
        "@PARALLEL_ARGUMENT": ", net_pool_parallel(pool)" * pool,
        "@PARALLEL": "    call.parallel = parallel;" * pool,
    }
    text = _MAIN
    for mark in sorted(replaced, key=len, reverse=True):
        text = text.replace(mark, replaced[mark])
    return text


@dataclass(frozen=True)
class Built:
    """A program that was built: how it is started, and the module inside."""

    path: Path
    source: Source
    threads: int


def build(source: Source, folder: Path, command: Sequence[str], threads: int = 1, main: str | None = None) -> Built:
    """Compile the module, the pool where there are threads, and the main program around them (or another one)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(source, threads).items():
        (folder / name).write_text(text)
    (folder / "main.c").write_text(main or driver_text(source, threads))
    units = ["net.c", *(["net_pool.c"] if threads > 1 else []), "main.c"]
    full = [*command, *units, "-o", "program", *(["-pthread"] if threads > 1 else []), "-lm"]
    done = subprocess.run(full, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(full)}\n{done.stderr[:4000]}"
    return Built(folder / "program", source, threads)


def files(source: Source, threads: int) -> dict[str, str]:
    """The generated files: module, header, and the pool where there are threads."""
    made = {"net.c": source.c_text, "net.h": source.header_text}
    return {**made, "net_pool.c": source.pool_text} if threads > 1 else made


def run(
    built: Built,
    cases: Mapping[int, Mapping[str, Array]],
    place: str = "malloc",
    emulator: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[int, Results]:
    """Run the program on the arrays of some batch sizes."""
    source = built.source
    wrote, read = built.path.with_suffix(".in"), built.path.with_suffix(".out")
    wrote.write_bytes(b"".join(_packed(source, arrays, n) for n, arrays in cases.items()))
    command = [*emulator, str(built.path), str(PLACES[place]), str(built.threads), str(wrote), str(read), *map(str, cases)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    assert done.returncode == 0, f"status {done.returncode} of {' '.join(command)}\n{done.stderr[:6000]}"
    content, found, start = read.read_bytes(), {}, 0
    for n in cases:
        found[n], start = _unpacked(source, content, start, n)
    assert start == len(content)
    wrote.unlink()
    read.unlink()
    return found


def epoch_order(n: int) -> Array:
    """The order of the examples in the epoch: from the last to the first."""
    return np.arange(n, dtype=np.int32)[::-1].copy()


def epoch_batch(n: int) -> int:
    """Examples for each update: two thirds, so that the last batch is smaller."""
    return (2 * n + 2) // 3


def _packed(source: Source, arrays: Mapping[str, Array], n: int) -> bytes:
    face, real = source.interface, np.dtype(source.dtype)
    parts = [_vector(face.parameters, arrays, real), _vector(face.states, arrays, real)]
    parts.append(np.zeros(_flat(face.optimizer_state), real))
    parts.append(np.array([arrays[name] for name in face.seeds], real))
    parts += [np.ascontiguousarray(arrays[t.name], real if t.kind == "real" else np.int32) for t in face.inputs]
    return b"".join(p.tobytes() for p in (*parts, epoch_order(n)))


def _unpacked(source: Source, content: bytes, start: int, n: int) -> tuple[Results, int]:
    face, real = source.interface, np.dtype(source.dtype)
    integer = np.dtype(f"int{8 * real.itemsize}")
    found: Results = {}

    def take(name: str, count: int, dtype: np.dtype[Any] = real) -> None:
        nonlocal start
        found[name] = np.frombuffer(content, dtype, count, start)
        start += count * dtype.itemsize

    for t in face.outputs:
        take(f"output {t.name}", _elements(t, n), real if t.kind == "real" else integer)
    take("loss", 1)
    take("gradients", _flat(face.parameters))
    for t in face.input_grads:
        take(f"gradient {t.name}", _elements(t, n))
    take("state", _flat(face.states))
    take("epoch losses", -(-n // epoch_batch(n)))
    take("epoch parameters", _flat(face.parameters))
    take("epoch state", _flat(face.states))
    take("epoch optimizer", _flat(face.optimizer_state))
    return found, start


def _vector(infos: Sequence[TensorInfo], arrays: Mapping[str, Array], real: np.dtype[Any]) -> Array:
    flat = np.zeros(_flat(infos), real)
    for info in infos:
        flat[info.offset : info.offset + info.elements] = np.asarray(arrays[info.name]).ravel()
    return flat


def _flat(infos: Sequence[TensorInfo]) -> int:
    return max((t.offset + t.elements for t in infos), default=0)


def _elements(t: TensorInfo, n: int) -> int:
    return t.elements * (n if None in t.shape else 1)


def _count(t: TensorInfo) -> str:
    return f"{t.elements} * (size_t)n" if None in t.shape else str(t.elements)


def _element(t: TensorInfo) -> str:
    return "sizeof(real)" if t.kind == "real" else "sizeof(int32_t)"


def _lines(lines: Any) -> str:
    return "".join(f"    {line}\n" for line in lines)
