"""The vector preamble of generated C against mpmath, its scalar twins, and the compilers' warnings."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from bpcompile.emit.c.vector import functions_in, real_literal, vector_preamble
from bpcompile.emit.c.vector_rows import ROWS

FLAGS = ("-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
WARNINGS = ("-Werror", "-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wshadow")
STATED = {row.name: row.ulp for row in ROWS if row.ulp is not None}
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Case:
    """A function of one number: its exact value, and the finite arguments of interest."""

    exact: Callable[[Any], Any]
    low: float = -inf
    high: float = inf
    absolute: bool = False  # the error is measured in units of max(1, |f|)


def _softplus(x: Any) -> Any:
    return max(x, mpf(0)) + mp.log1p(mp.exp(-abs(x)))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x))


CASES = {
    "exp": Case(mp.exp),
    "expm1": Case(mp.expm1),
    "log": Case(mp.log, 0),
    "log1p": Case(mp.log1p, -1),
    "log2": Case(lambda x: mp.log(x) / mp.ln2, 0),
    "log10": Case(mp.log10, 0),
    "tanh": Case(lambda x: mp.tanh(x) if abs(x) < 100 else mp.sign(x)),
    "sigmoid": Case(_sigmoid),
    "softplus": Case(_softplus),
    "sin": Case(mp.sin),
    "cos": Case(mp.cos),
    "erf": Case(mp.erf),
    "erfc": Case(lambda x: mp.erfc(min(x, mpf(40)))),
    "sqrt": Case(mp.sqrt, 0),
    "tan": Case(mp.tan),
    "asin": Case(mp.asin, -1, 1),
    "acos": Case(mp.acos, -1, 1),
    "atan": Case(mp.atan),
    "sinh": Case(mp.sinh),
    "cosh": Case(mp.cosh),
    "asinh": Case(mp.asinh),
    "acosh": Case(mp.acosh, 1),
    "atanh": Case(mp.atanh, -1, 1),
    "lgamma": Case(mp.loggamma, 0),
    "gamma": Case(mp.gamma, 0, 1000),
    "digamma": Case(mp.digamma, -1e4, absolute=True),
    "trigamma": Case(lambda x: mp.psi(1, x), -1e4),
}
EXACT = {
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
}


def compile_library(text: str, folder: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    source, library = folder / "preamble.c", folder / "preamble.so"
    source.write_text(text)
    subprocess.run(["gcc", *FLAGS, *flags, "-fPIC", "-shared", str(source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def map_function(name: str, arity: int = 1) -> str:
    arguments = ["a", "b"][:arity]
    vectors = ", ".join(f"v_load({a} + i)" for a in arguments)
    scalars = ", ".join(f"{a}[i]" for a in arguments)
    inputs = ", ".join(f"const real *{a}" for a in ("a", "b"))
    return f"""
void map_v_{name}({inputs}, real *out, long n) {{
    (void)b;
    for (long i = 0; i + LANES <= n; i += LANES) v_store(out + i, v_{name}({vectors}));
}}
void map_s_{name}({inputs}, real *out, long n) {{
    (void)b;
    for (long i = 0; i < n; i++) out[i] = s_{name}({scalars});
}}
"""


BINARY = ("pow", "max", "min", "mod", "atan2")
MEMORY = """
void part(const real *in, real *out, int count) { v_store_part(out, v_load_part(in, count), count); }
void whole_of_part(const real *in, real *out, int count) { v_store(out, v_load_part(in, count)); }
void strided(const real *in, real *out, long stride, int count) {
    v_store(out, count == LANES ? v_load_stride(in, stride) : v_load_stride_part(in, stride, count));
}
void gathered(const real *in, real *out, const int32_t *index, int count) { v_store(out, v_gather(in, index, count)); }
real sum(const real *in) { return v_sum(v_load(in)); }
real largest(const real *in) { return v_hmax(v_load(in)); }
real smallest(const real *in) { return v_hmin(v_load(in)); }
int lanes(void) { return LANES; }
"""


@cache
def program(dtype: str) -> str:
    body = "".join(map_function(name) for name in (*CASES, *EXACT))
    body += "".join(map_function(name, 2) for name in BINARY) + MEMORY
    return vector_preamble(dtype, functions_in(body)) + body


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    return {dtype: compile_library(program(dtype), tmp_path_factory.mktemp(dtype), ("-march=native",)) for dtype in DTYPES}


def apply(library: ctypes.CDLL, function: str, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    size = -(-a.size // 16) * 16
    padded = [np.ascontiguousarray(np.resize(x, size)) for x in (a, a if b is None else b)]
    out = np.empty_like(padded[0])
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*padded, out)]
    getattr(library, f"map_{function}")(*pointers, ctypes.c_long(size))
    return out[: a.size]


def samples(dtype: str, case: Case, count: int = 700) -> np.ndarray:
    """Numbers of every magnitude, numbers of moderate size, and the special ones, of the case's interval."""
    generator = np.random.default_rng(1)
    unsigned = {"float32": np.uint32, "float64": np.uint64}[dtype]
    everywhere = generator.integers(0, np.iinfo(unsigned).max, count, dtype=unsigned, endpoint=True).view(dtype)
    moderate = (generator.normal(size=count) * 5).astype(dtype)
    near_one = (1 + generator.normal(size=count // 4) * 0.1).astype(dtype)
    tiny = np.finfo(dtype)
    special = np.array(
        [0.0, 1, 0.5, 2, tiny.smallest_subnormal, tiny.tiny, tiny.max, tiny.eps, 88.7, 709.7, 103.9, 744.5], dtype
    )
    values = np.concatenate([everywhere, moderate, near_one, special, -special])
    return values[np.isfinite(values) & (values >= case.low) & (values <= case.high)]


def error_in_ulp(got: float, exact: Any, dtype: str, absolute: bool) -> float:
    digits, lowest, highest = {"float32": (24, -125, 128), "float64": (53, -1021, 1024)}[dtype]
    if isinstance(exact, mpmath.mpc) or mpmath.isnan(exact):
        return 0.0 if math.isnan(got) else inf
    size = max(abs(exact), 1) if absolute else abs(exact)
    if size >= mpf(2) ** highest:
        return 0.0 if got == math.copysign(inf, exact) else inf
    exponent = max(mp.frexp(size)[1], lowest)
    value = mpf(2) ** highest * (1 if got > 0 else -1) if math.isinf(got) else mpf(got)
    return float(abs(value - exact) * mpf(2) ** (digits - exponent))


NARROW = {"avx2": ("-mavx2", "-mfma"), "sse2": ("-march=x86-64",)}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], ctypes.CDLL]:
    """The same text for processors with less."""
    return {
        (target, dtype): compile_library(program(dtype), tmp_path_factory.mktemp(f"{target}-{dtype}"), (*flags, "-O1"))
        for target, flags in NARROW.items()
        for dtype in DTYPES
    }


@pytest.mark.parametrize("target", ["native", *NARROW])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", CASES)
def test_error_is_at_most_what_the_table_states(
    function: str, dtype: str, target: str, libraries: dict[str, ctypes.CDLL], narrow: dict[tuple[str, str], ctypes.CDLL]
) -> None:
    case = CASES[function]
    x = samples(dtype, case, 700 if target == "native" else 150)
    library = libraries[dtype] if target == "native" else narrow[target, dtype]
    got = apply(library, f"v_{function}", x)
    with mp.workprec(140):
        errors = []
        for value, result in zip(x.tolist(), got.tolist(), strict=True):
            try:
                exact = case.exact(mpf(value))
            except (ValueError, ZeroDivisionError):  # a pole
                assert not math.isfinite(result)
                continue
            errors.append((error_in_ulp(result, exact, dtype, case.absolute), value, result))
    worst = max(errors)
    print(f"{function} {dtype}: {worst[0]:.3f} ulp at {worst[1]!r}, of {len(errors)}")
    assert worst[0] <= STATED[function], worst


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*CASES, *EXACT])
def test_scalar_functions_give_the_same_bits(function: str, dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    x = np.concatenate([samples(dtype, Case(mp.exp)), np.array([np.inf, -np.inf, np.nan], dtype)])
    vector, scalar = (apply(libraries[dtype], f"{prefix}_{function}", x) for prefix in "vs")
    nan = np.isnan(vector)
    assert np.array_equal(nan, np.isnan(scalar))
    assert vector[~nan].tobytes() == scalar[~nan].tobytes()


SPECIAL = {
    "exp": [(inf, inf), (-inf, 0.0), (-0.0, 1.0)],
    "expm1": [(inf, inf), (-inf, -1.0), (-0.0, -0.0), (0.0, 0.0)],
    "log": [(inf, inf), (-inf, nan), (-1.0, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0)],
    "log1p": [(inf, inf), (-inf, nan), (-1.0, -inf), (-2.0, nan), (-0.0, -0.0), (0.0, 0.0)],
    "log2": [(inf, inf), (-1.0, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0), (1024.0, 10.0)],
    "log10": [(inf, inf), (-1.0, nan), (0.0, -inf), (-0.0, -inf), (1.0, 0.0)],
    "tanh": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (0.0, 0.0)],
    "sigmoid": [(inf, 1.0), (-inf, 0.0), (0.0, 0.5)],
    "softplus": [(inf, inf), (-inf, 0.0)],
    "sin": [(inf, nan), (-inf, nan), (-0.0, -0.0), (0.0, 0.0)],
    "cos": [(inf, nan), (-inf, nan), (-0.0, 1.0)],
    "erf": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (0.0, 0.0)],
    "erfc": [(inf, 0.0), (-inf, 2.0), (0.0, 1.0)],
    "digamma": [(inf, inf), (-inf, nan), (0.0, -inf), (-0.0, inf), (-3.0, nan)],
    "trigamma": [(inf, 0.0), (0.0, inf), (-3.0, inf)],
    "sign": [(inf, 1.0), (-inf, -1.0), (-0.0, 0.0)],
    "floor": [(-0.0, -0.0), (-0.5, -1.0), (2.5, 2.0), (inf, inf)],
    "ceil": [(-0.5, -0.0), (2.5, 3.0), (-inf, -inf)],
    "round": [(-0.5, -0.0), (0.5, 0.0), (1.5, 2.0), (2.5, 2.0)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", SPECIAL)
def test_special_values(function: str, dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    table = [*SPECIAL[function], (nan, nan)]
    got = apply(libraries[dtype], f"v_{function}", np.array([x for x, _ in table], dtype))
    for (x, expected), result in zip(table, got.tolist(), strict=True):
        same = math.isnan(result) if math.isnan(expected) else result == expected
        assert same and (math.isnan(expected) or math.copysign(1, result) == math.copysign(1, expected)), (x, result)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", EXACT)
def test_exact_functions(function: str, dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    x = np.concatenate([samples(dtype, Case(mp.exp)), np.arange(-20, 20, dtype=dtype) / 4])
    assert np.array_equal(apply(libraries[dtype], f"v_{function}", x), EXACT[function](x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pow(dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    generator = np.random.default_rng(2)
    range_of_exponents = {"float32": 150, "float64": 1074}[dtype]
    log2_x = generator.normal(size=1500) * np.repeat([0.01, 3, 40], 500)
    log2_result = generator.uniform(-range_of_exponents, range_of_exponents * 0.95, 1500)
    x, y = np.exp2(log2_x).astype(dtype), (log2_result / log2_x).astype(dtype)
    with mp.workprec(140):
        pairs = zip(x.tolist(), y.tolist(), apply(libraries[dtype], "v_pow", x, y).tolist(), strict=True)
        errors = [(error_in_ulp(got, mpf(a) ** mpf(b), dtype, False), a, b) for a, b, got in pairs]
    assert max(errors)[0] <= STATED["pow"], max(errors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", BINARY)
def test_binary_functions_on_special_pairs(function: str, dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    values = [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 2.5, -2.5, 1e30, -1e30, 16777215, 16777217, np.inf, -np.inf, np.nan]
    a, b = (grid.ravel() for grid in np.meshgrid(np.array(values, dtype), np.array(values, dtype)))
    with np.errstate(all="ignore"):
        reference = {"pow": np.power, "max": np.maximum, "min": np.minimum, "mod": np.mod, "atan2": np.arctan2}[function](a, b)
    vector, scalar = (apply(libraries[dtype], f"{prefix}_{function}", a, b) for prefix in "vs")
    np.testing.assert_allclose(vector, reference, rtol=1e-6 if dtype == "float32" else 1e-15)
    zero = (vector == 0) & (a != b)
    if function != "mod":
        assert np.array_equal(np.signbit(vector[zero]), np.signbit(reference[zero])) or function in ("max", "min")
    nan = np.isnan(vector)
    assert vector[~nan].tobytes() == scalar[~nan].tobytes() and np.array_equal(nan, np.isnan(scalar))


def test_of_equal_values_the_first_wins(libraries: dict[str, ctypes.CDLL]) -> None:
    a, b = np.array([0.0, -0.0], "float32"), np.array([-0.0, 0.0], "float32")
    for function in ("v_max", "s_max", "v_min", "s_min"):
        assert apply(libraries["float32"], function, a, b).tobytes() == a.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory(dtype: str, libraries: dict[str, ctypes.CDLL]) -> None:
    library = libraries[dtype]
    lanes = library.lanes()
    real = {"float32": ctypes.c_float, "float64": ctypes.c_double}[dtype]
    source = np.arange(1, 4 * 64 + 1, dtype=dtype)
    index = np.array([7, 3, 3, 0, 9, 100, 2, 1, 5, 8, 11, 64, 63, 62, 61, 60], np.int32)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    for count in range(lanes + 1):
        out = np.full(lanes, -1, dtype)
        library.part(pointer(source), pointer(out), count)
        assert np.array_equal(out, np.where(np.arange(lanes) < count, source[:lanes], -1))
        library.whole_of_part(pointer(source), pointer(out), count)
        assert np.array_equal(out, np.where(np.arange(lanes) < count, source[:lanes], 0))
        library.strided(pointer(source), pointer(out), ctypes.c_long(3), count)
        assert np.array_equal(out, np.where(np.arange(lanes) < count, source[: 3 * lanes : 3], 0))
        library.gathered(pointer(source), pointer(out), pointer(index), count)
        assert np.array_equal(out, np.where(np.arange(lanes) < count, source[index[:lanes]], 0))
    for function in ("sum", "largest", "smallest"):
        getattr(library, function).restype = real
    values = np.random.default_rng(3).normal(size=lanes).astype(dtype)
    tree = values
    while tree.size > 1:
        tree = tree[: tree.size // 2] + tree[tree.size // 2 :]
    assert library.sum(pointer(values)) == tree[0]
    assert (library.largest(pointer(values)), library.smallest(pointer(values))) == (values.max(), values.min())
    values[lanes // 2] = np.nan
    assert math.isnan(library.largest(pointer(values))) and math.isnan(library.smallest(pointer(values)))


TARGETS = ("-march=native", "-mavx2 -mfma", "-march=x86-64", "-march=x86-64 -DBP_PLAIN -Wpedantic")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_compiles_without_warnings(target: str, dtype: str, tmp_path: Path) -> None:
    source = tmp_path / "all.c"
    source.write_text(vector_preamble(dtype, [row.name for row in ROWS]))
    subprocess.run(["gcc", *FLAGS, *WARNINGS, *target.split(), "-O1", "-c", str(source), "-o", "/dev/null"], check=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flags", ["-march=x86-64", "-march=x86-64 -DBP_PLAIN"])
def test_other_targets_agree_within_rounding(flags: str, dtype: str, libraries: dict[str, ctypes.CDLL], tmp_path: Path) -> None:
    other = compile_library(program(dtype), tmp_path, (*flags.split(), "-O1"))
    for function in (*CASES, *EXACT):
        x = samples(dtype, Case(mp.exp), 300)
        wide, narrow = (apply(library, f"v_{function}", x) for library in (libraries[dtype], other))
        tolerance = 2 * STATED.get(function, 0) * np.finfo(dtype).eps
        np.testing.assert_allclose(narrow, wide, rtol=tolerance, atol=4 * np.finfo(dtype).smallest_subnormal, err_msg=function)


def test_float32_text_has_no_double() -> None:
    text = vector_preamble("float32", [row.name for row in ROWS])
    assert "double" not in text


def test_only_what_is_used_is_printed() -> None:
    text = vector_preamble("float32", ["max"])
    assert "v_max(" in text and "v_select(" in text and "v_exp" not in text
    assert text == vector_preamble("float32", ["max", "select", "max"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, 1.0, -2.5, 1e-310, 3e38, 1 / 3])
def test_literals_read_back(value: float, dtype: str) -> None:
    exact = float(np.dtype(dtype).type(value))
    text = real_literal(exact, dtype).removesuffix("f")
    assert (float.fromhex(text) if "0x" in text else float(text)) == exact
