"""Random draws: known answers of the generator, C against NumPy bit for bit, and their statistics."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bpcompile.emit import draws
from bpcompile.emit.c.vector import functions_in, vector_preamble

BODY = """
void draw(uint64_t key, uint64_t step, uint32_t stream, uint64_t element, uint64_t stride, real p, long n, uint32_t *bits,
          real *ones, real *normals) {
    for (long i = 0; i + LANES <= n; i += LANES) {
        const uint64_t first = element + (uint64_t)i * stride;
        v_store(ones + i, v_draw_bernoulli(key, step, stream, first, stride, v_splat(p)));
        v_store(normals + i, v_draw_normal(key, step, stream, first, stride));
    }
    for (long i = 0; i < n; i++) bits[i] = bp_bits(key, step, stream, element + (uint64_t)i * stride);
}
void draw_scalars(uint64_t key, uint64_t step, uint32_t stream, uint64_t element, uint64_t stride, real p, long n,
                  real *ones, real *normals) {
    for (long i = 0; i < n; i++) {
        ones[i] = s_draw_bernoulli(key, step, stream, element + (uint64_t)i * stride, p);
        normals[i] = s_draw_normal(key, step, stream, element + (uint64_t)i * stride);
    }
}
"""
KNOWN_ANSWERS = (  # from the Random123 distribution: key, counter, result
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
)
FLAGS = ("-std=c11", "-O2", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_known_answers(key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tuple(int(word) for word in draws.threefry(key, *counter)) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["-march=native", "-march=x86-64", "-DBP_PLAIN"])
def test_c_draws_equal_those_of_numpy(target: str, dtype: str, tmp_path: Path) -> None:
    source, path = tmp_path / "draws.c", tmp_path / "draws.so"
    source.write_text(vector_preamble(dtype, functions_in(BODY)) + BODY)
    subprocess.run(["gcc", *FLAGS, target, "-fPIC", "-shared", str(source), "-o", str(path), "-lm"], check=True)
    library = ctypes.CDLL(str(path))
    real = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    key, step, stream, first, stride, p, n = 0x123456789ABCDEF0, 2**33 + 5, 7, 2**32 - 100, 3, 0.3, 1024
    bits, ones, normals = np.empty(n, np.uint32), np.empty(n, dtype), np.empty(n, dtype)
    scalar_ones, scalar_normals = np.empty(n, dtype), np.empty(n, dtype)
    identity = (
        ctypes.c_uint64(key),
        ctypes.c_uint64(step),
        ctypes.c_uint32(stream),
        ctypes.c_uint64(first),
        ctypes.c_uint64(stride),
    )
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (bits, ones, normals, scalar_ones, scalar_normals)]
    library.draw(*identity, real(p), ctypes.c_long(n), *pointers[:3])
    library.draw_scalars(*identity, real(p), ctypes.c_long(n), *pointers[3:])

    elements = first + stride * np.arange(n, dtype=np.uint64)
    assert np.array_equal(bits, draws.bits(key, step, stream, elements))
    expected = draws.bernoulli(key, step, stream, elements, p, dtype)
    assert np.array_equal(ones, expected) and np.array_equal(
        expected, draws.bernoulli(key, step, stream, elements, p, "float64")
    )
    expected = draws.normal(key, step, stream, elements, dtype)
    assert np.allclose(normals, expected, rtol=0, atol=8 * np.finfo(dtype).eps)
    assert scalar_ones.tobytes() == ones.tobytes() and scalar_normals.tobytes() == normals.tobytes()


def test_statistics() -> None:
    elements = np.arange(200_000)
    for p in (0.0, 0.1, 0.5, 1.0):
        mean = draws.bernoulli(1, 2, 3, elements, p, "float32").mean(dtype=np.float64)
        assert abs(mean - p) <= 5 * np.sqrt(p * (1 - p) / elements.size)
    normal = draws.normal(1, 2, 3, elements, "float64")
    assert abs(normal.mean()) < 5 / np.sqrt(elements.size) and abs(normal.var() - 1) < 0.02
    assert abs((normal**4).mean() - 3) < 0.15 and abs((normal**3).mean()) < 0.05


def test_each_part_of_the_identity_matters() -> None:
    elements = np.arange(64)
    base = draws.bits(1, 2, 3, elements)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1 + 2**32, 2, 3), (1, 2 + 2**32, 3), (2, 1, 3)):
        assert not (draws.bits(*other, elements) == base).any()
