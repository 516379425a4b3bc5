"""Contractions written in index notation, compiled and run on NumPy arrays: for tests and benchmarks."""

from __future__ import annotations

import ast
import ctypes
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bpcompile.emit.c.calls import KernelTable
from bpcompile.emit.c.contraction import emit_contraction
from bpcompile.emit.c.kernel_text import KernelText
from bpcompile.emit.c.vector import functions_in, vector_preamble
from bpcompile.nodes.expressions import Axis, Expr, axes_of, axis, const, load, node
from bpcompile.nodes.statements import Statement, Tensor
from bpcompile.program.schedule_types import Contraction, Place

NATIVE = ("-O2", "-march=native", "-ffp-contract=fast")


@dataclass(frozen=True)
class Case:
    """``equation`` as in ``"z[n,o] = x[n,i] * W[o,i]"``; ``sizes`` of all axes but the batch ``n``.

    ``shapes`` of tensors whose subscripts are not bare; ``orders`` of dimensions in memory, outermost first, where it is
    not that of the subscripts; ``epilogue`` statements as text; ``local`` tensors are not stored.
    """

    equation: str
    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    epilogue: Sequence[str] = ()
    local: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Built:
    """A case with its kernel, tensors and places."""

    case: Case
    kernel: Contraction
    tensors: dict[str, Tensor]
    places: dict[str, Place]


def parse(text: str, axes: Mapping[str, Axis]) -> Expr:
    """Read an expression over axes, loads, numbers, ``+ - *`` and function calls."""
    return _expression(ast.parse(text.strip(), mode="eval").body, axes)


_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}


def _expression(e: ast.expr, axes: Mapping[str, Axis]) -> Expr:
    if isinstance(e, ast.BinOp):
        return node(_BINARY[type(e.op)], (_expression(e.left, axes), _expression(e.right, axes)))
    if isinstance(e, ast.UnaryOp):
        return node("neg", (_expression(e.operand, axes),))
    if isinstance(e, ast.Constant):
        return const(e.value)
    if isinstance(e, ast.Name):
        return axis(axes[e.id])
    if isinstance(e, ast.Call):
        return node(e.func.id, tuple(_expression(a, axes) for a in e.args))
    assert isinstance(e, ast.Subscript)
    subscripts = e.slice.elts if isinstance(e.slice, ast.Tuple) else [e.slice]
    return load(e.value.id, [_expression(s, axes) for s in subscripts])


def build(case: Case) -> Built:
    """Make the contraction that a case describes."""
    axes = {name: Axis(name, size) for name, size in case.sizes.items()} | {"n": Axis("n", None)}
    accumulate = "+=" in case.equation
    left_text, right_text = case.equation.replace("+=", "=").split("=")
    target, body = parse(left_text, axes), parse(right_text, axes)
    first, second = body.args
    out = tuple(axes_of(target))
    over = tuple(a for a in axes_of(body) if a not in out)
    in_first, in_second = set(axes_of(first)), set(axes_of(second))
    statement = Statement(target.value[0], target.args, out, body, "sum", over, accumulate)
    epilogue = []
    for text in case.epilogue:
        plus = "+=" in text
        place, value = text.replace("+=", "=").split("=")
        written = parse(place, axes)
        epilogue.append(Statement(written.value[0], written.args, out, parse(value, axes), accumulate=plus))
    kernel = Contraction(
        statement, first, second,
        tuple(a for a in out if a in in_first and a in in_second),
        tuple(a for a in out if a in in_first and a not in in_second),
        tuple(a for a in out if a in in_second and a not in in_first),
        over, tuple(epilogue), case.local,
    )  # fmt: skip
    tensors: dict[str, Tensor] = {}
    places: dict[str, Place] = {}
    accesses: list[Expr] = [target, first, second]
    for s in epilogue:
        accesses += [load(s.target, s.subscripts), *_loads(s.body)]
    for e in accesses:
        name = e.value[0]
        shape = case.shapes.get(name) or tuple(s.value.extent for s in e.args)
        tensors[name] = Tensor(name, shape)
        places[name] = Place("input", 0, _strides(shape, case.orders.get(name)))
    return Built(case, kernel, tensors, places)


def _loads(e: Expr) -> list[Expr]:
    return [e] if e.op == "load" else [x for a in e.args for x in _loads(a)]


def _strides(shape: tuple[int | None, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    strides = [0] * len(shape)
    step = 1
    for k in reversed(order or range(len(shape))):
        strides[k] = step
        step *= shape[k] or 1
    return tuple(strides)


@dataclass(frozen=True)
class Compiled:
    """A kernel that can be called."""

    built: Built
    text: KernelText
    function: object
    dtype: str

    def __call__(self, arrays: Mapping[str, np.ndarray], n: int = 1, parts: int = 1) -> None:
        """Run on arrays in memory order (see `arrange`), in as many calls as ``parts``."""
        pointers = [arrays[a.tensor].ctypes.data for a in self.text.arguments if a.source == "tensor"]
        self.function((ctypes.c_void_p * len(pointers))(*pointers), n, parts)


def source(texts: Iterable[KernelText], dtype: str) -> str:
    """Give a C file with the kernels, each with an exported function ``NAME_run``."""
    texts = list(texts)
    table = KernelTable(dtype)
    body = []
    for text in texts:
        table.add(text)
        (phase,) = text.phases
        declared = ", ".join([*(a.declaration for a in text.arguments), "ptrdiff_t begin", "ptrdiff_t end"])
        passed, pointer = [], 0
        for a in text.arguments:
            if a.source == "tensor":
                passed.append(f"p[{pointer}]")
                pointer += 1
            else:
                assert a.source == "n"
                passed.append("n")
        call = ", ".join([*passed, "count * k / parts", "count * (k + 1) / parts"])
        body.append(
            f"{phase.attributes} void {text.name}({declared}) {{\n{phase.body}}}\n"
            f"void {text.name}_run(void **p, ptrdiff_t n, ptrdiff_t parts) {{\n"
            f"    (void)n;\n    const ptrdiff_t count = {phase.units or '1'};\n"
            f"    for (ptrdiff_t k = 0; k < parts; k++) {text.name}({call});\n}}\n"
        )
    whole = "\n".join([*table.shared_text(), *body])
    return vector_preamble(dtype, functions_in(whole)) + "\n" + whole


def compile_cases(
    cases: Sequence[Case], dtype: str, folder: Path, flags: Sequence[str] = NATIVE, name: str = "kernels"
) -> list[Compiled]:
    """Write, compile and load the kernels of some cases."""
    builts = [build(c) for c in cases]
    texts = [emit_contraction(b.kernel, b.places, b.tensors, dtype, f"kernel{k}") for k, b in enumerate(builts)]
    c_file, library = folder / f"{name}.c", folder / f"{name}.so"
    c_file.write_text(source(texts, dtype))
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *flags, str(c_file), "-o", str(library)]
    done = subprocess.run([*command, "-lm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    loaded = ctypes.CDLL(str(library))
    found = []
    for b, t in zip(builts, texts, strict=True):
        function = getattr(loaded, f"{t.name}_run")
        function.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t]
        function.restype = None
        found.append(Compiled(b, t, function, dtype))
    return found


def random_arrays(built: Built, n: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Make an array for each tensor, in the order of its subscripts."""
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal([n if e is None else e for e in t.shape]).astype(dtype)
        for name, t in sorted(built.tensors.items())
    }


def arrange(built: Built, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy arrays into the memory order of their places, at the beginning of cache lines."""
    orders = built.case.orders
    return {name: _aligned(a.transpose(orders[name]) if name in orders else a) for name, a in arrays.items()}


def _aligned(a: np.ndarray) -> np.ndarray:
    room = np.empty(a.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    made = room[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    made[...] = a
    return made


def restore(built: Built, name: str, array: np.ndarray) -> np.ndarray:
    """Give an array in memory order back in the order of its subscripts."""
    order = built.case.orders.get(name)
    return array if order is None else array.transpose(np.argsort(order))


_FUNCTIONS = {"tanh": np.tanh, "exp": np.exp, "max": np.maximum}
_OPERATORS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def expected(built: Built, arrays: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Compute what the kernel should, with NumPy in double precision; arrays in the order of their subscripts."""
    kernel = built.kernel
    values = {name: a.astype("float64") for name, a in arrays.items()}
    axes = [*kernel.statement.axes, *kernel.statement.over]
    letters = {a: chr(ord("a") + k) for k, a in enumerate(axes)}

    def gathered(e: Expr) -> tuple[np.ndarray, str]:
        own = [a for a in axes if a in axes_of(e)]
        grid = np.meshgrid(*(np.arange(n if a.extent is None else a.extent) for a in own), indexing="ij", sparse=True)
        index = tuple(_evaluate(s, dict(zip(own, grid, strict=True)), values) for s in e.args)
        return values[e.value[0]][np.broadcast_arrays(*index)] if len(index) else values[e.value[0]], "".join(
            letters[a] for a in own
        )

    (x, x_letters), (y, y_letters) = gathered(kernel.left), gathered(kernel.right)
    out_letters = "".join(letters[a] for a in kernel.statement.axes)
    x, y = (v.reshape([(n if a.extent is None else a.extent) for a in axes if letters[a] in t]) for v, t in
            ((x, x_letters), (y, y_letters)))  # fmt: skip
    total = np.einsum(f"{x_letters},{y_letters}->{out_letters}", x, y, optimize=True)
    target = kernel.statement.target
    values[target] = values[target] + total if kernel.statement.accumulate else total
    grid = np.meshgrid(
        *(np.arange(n if a.extent is None else a.extent) for a in kernel.statement.axes), indexing="ij", sparse=True
    )
    at = dict(zip(kernel.statement.axes, grid, strict=True))
    for s in kernel.epilogue:
        result = np.broadcast_to(_evaluate(s.body, at, values), total.shape)
        values[s.target] = values[s.target] + result if s.accumulate else np.array(result)
    return values


def _evaluate(e: Expr, at: Mapping[Axis, np.ndarray], values: Mapping[str, np.ndarray]) -> np.ndarray:
    if e.op == "const":
        return np.asarray(e.value)
    if e.op == "axis":
        return at[e.value]
    args = [_evaluate(a, at, values) for a in e.args]
    if e.op == "load":
        return values[e.value[0]][tuple(args)]
    if e.op == "neg":
        return -args[0]
    return (_OPERATORS.get(e.op) or _FUNCTIONS[e.op])(*args)
