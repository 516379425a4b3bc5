"""A whole C module from the schedules of a network: kernels, the functions that call them, and what describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bpcompile.emit.c.calls import CallWriter, KernelTable
from bpcompile.emit.c.source import REAL, Interface, ModuleSpec, Source, TensorInfo, interface_of
from bpcompile.emit.c.vector import functions_in, vector_preamble
from bpcompile.emit.templates import environment
from bpcompile.program.schedule_types import Schedule

THRESHOLD: Final = 100_000
"""Scalar operations below which a kernel runs on one thread."""
SPINS: Final = 1000
"""How often a thread of the pool looks for work, or for the end of the others' work, before it lets others have the core."""
PATIENCE: Final = 100 * SPINS
"""How often an idle thread of the pool looks for work before it sleeps: waking takes long, where idle cores rest deeply."""
_COMMENTS: Final = {
    "predict": "Inputs to outputs; training is off.",
    "value_and_grad": "The loss and the gradients; in training, the states take their next values.",
    "train_step": "value_and_grad, then the optimizer's step on params (written) and optimizer_state.",
}
_PRELUDE: Final = (
    ("parallel", "const P_parallel *const parallel = call->parallel;"),
    ("params", "const real *const params = call->params;"),
    ("grads", "real *const grads = call->grads;"),
    ("state", "real *const state = call->state;"),
    ("fixed", "real *const fixed = call->arena;"),
    ("batch", "real *const batch = call->arena + {fixed};"),
    ("scratch", "real *const scratch = call->arena + {fixed} + n * {batch};"),
)


@dataclass(frozen=True, slots=True)
class FunctionText:
    """A function that calls kernels, as the template prints it."""

    head: str
    lines: tuple[str, ...]


def emit_module(spec: ModuleSpec) -> Source:
    """Write a module.

    Parameters
    ----------
    spec : ModuleSpec

    Returns
    -------
    Source
        The C text, its declarations, and the arrays that a caller passes.
    """
    interface = interface_of(spec)
    table = KernelTable(spec.dtype, spec.limits)
    functions: list[FunctionText] = []
    needs: list[str] = []
    sizes: list[str] = []
    parts = False
    for name, schedule in spec.schedules.items():
        calls = CallWriter(name, schedule, interface, table)
        lines = calls.write()
        functions.extend(_part(part, body, schedule) for part, body in calls.parts.items())
        functions.append(_function(spec, name, lines, schedule))
        parts |= bool(calls.parts)
        own = f"{schedule.fixed_elements} + {schedule.batch_elements} * (size_t)n"
        needs.extend(f"{own} + (size_t)({scratch})" for scratch in calls.scratch)
        if not calls.scratch:
            needs.append(own)
        sizes.append(f"{name}: an arena of {schedule.fixed_elements} + {schedule.batch_elements} n elements.")
    epoch = spec.value_and_grad is not None
    rows, staged = _staging(spec, interface) if epoch else ([], [])
    declarations = _declarations(spec, interface)
    body = _kernels_text(table) + "".join(line for f in functions for line in f.lines)
    text = environment().get_template("c/module.j2").render(
        title=_comment(spec.title), maker=_comment(spec.maker), notes=[_comment(n) for n in (*spec.notes, *sizes)],
        prefix=spec.prefix,
        real=REAL[spec.dtype], declarations=declarations, preamble=vector_preamble(spec.dtype, functions_in(body)),
        helpers=table.shared_text(), kernels=table.functions, functions=functions, parts=parts, epoch=epoch, rows=rows,
        apart=table.apart,
        staged=staged,
        update=spec.update is not None, needs=list(dict.fromkeys(needs)), threshold=THRESHOLD,
        staging=sum(int(str(row["width"])) for row in (*rows, *staged)), **_tables(interface),
    )  # fmt: skip
    header = environment().get_template("c/header.j2").module
    guarded = str(header.guarded(spec.prefix, declarations))  # type: ignore[attr-defined]
    pool = environment().get_template("c/pool.c.j2")
    return Source(
        spec.prefix,
        spec.dtype,
        _tidy(text),
        _tidy(guarded),
        re.sub(r"/\*.*?\*/", "", declarations, flags=re.S),
        pool.render(prefix=spec.prefix, spins=SPINS, patience=PATIENCE, declarations=guarded),
        _pool_declarations(spec.prefix),
        tuple(_public(spec)),
        interface,
        len(table.functions),
        tuple(callee.name for callee in table.callees.values()),
        2 if table.apart else 1,
    )


def _public(spec: ModuleSpec) -> list[str]:
    names: list[str] = [name for name in ("predict", "value_and_grad") if name in spec.schedules]
    return [*names, "train_step"] if spec.value_and_grad is not None else names


def _function(spec: ModuleSpec, name: str, lines: list[str], schedule: Schedule) -> FunctionText:
    """A function as the template prints it: declarations of what its calls use, then the calls."""
    used = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"/\*.*?\*/|call->\w+", "", "\n".join(lines))))
    writable = name == "update"
    head = []
    if {"n", "scratch"} & used:
        head.append("const ptrdiff_t n = call->n;")
    if "training" in used:
        head.append(f"const int training = {'0' if name == 'predict' else 'call->training'};")
    for variable, declaration in _PRELUDE:
        if variable not in used:
            continue
        text = declaration.format(fixed=schedule.fixed_elements, batch=schedule.batch_elements)
        if writable:
            text = text.replace("const real *const params = call", "real *const params = (real *)call")
            text = text.replace("call->state", "call->optimizer_state")
        head.append(text)
    start = "static void update(const P_call *call)" if writable else f"int {spec.prefix}_{name}(const P_call *call)"
    end = [] if writable else ["return 0;"]
    empty = ["(void)call;"] if not lines else []
    return FunctionText(start, (*head, *empty, *lines, *end))


def _part(name: str, lines: list[str], schedule: Schedule) -> FunctionText:
    """A function that runs a loop for some examples; it is told whether threads may divide its kernels."""
    used = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"/\*.*?\*/|call->\w+", "", "\n".join(lines))))
    head = ["const ptrdiff_t n = call->n;"] if {"n", "scratch"} & used else []
    if "training" in used:
        head.append(f"const int training = {'0' if name.startswith('predict') else 'call->training'};")
    sizes = {"fixed": schedule.fixed_elements, "batch": schedule.batch_elements}
    head.extend(text.format(**sizes) for variable, text in _PRELUDE if variable in used and variable != "parallel")
    head.extend([] if "parallel" in used else ["(void)parallel;"])
    start = f"static void {name}(const P_call *call, const P_parallel *parallel, ptrdiff_t first, ptrdiff_t count)"
    return FunctionText(start, (*head, *lines))


def _kernels_text(table: KernelTable) -> str:
    phases = (p.body for k in table.functions for p in k.phases)
    return "".join((*table.shared_text(), *phases))


def _declarations(spec: ModuleSpec, interface: Interface) -> str:
    slots = [
        (title, [f"[{i}] {_shape(info)}" for i, info in enumerate(rows)])
        for title, rows in (
            ("inputs", interface.inputs),
            ("outputs", interface.outputs),
            ("input_grads", interface.input_grads),
        )
        if rows
    ]
    if interface.seeds:
        slots.append(("seeds", [f"[{i}] {name}" for i, name in enumerate(interface.seeds)]))
    header = environment().get_template("c/header.j2").module
    text: str = header.declarations(  # type: ignore[attr-defined]
        spec.prefix,
        REAL[spec.dtype],
        interface,
        [(name, _COMMENTS[name]) for name in _public(spec)],
        slots,
        spec.value_and_grad is not None,
    )
    return str(text)


def _pool_declarations(prefix: str) -> str:
    return (
        f"typedef struct {prefix}_pool {prefix}_pool;\n"
        f"{prefix}_pool *{prefix}_pool_new(int threads);\n"
        f"void {prefix}_pool_free({prefix}_pool *pool);\n"
        f"const {prefix}_parallel *{prefix}_pool_parallel(const {prefix}_pool *pool);\n"
    )


def _shape(info: TensorInfo) -> str:
    extents = ", ".join("n" if e is None else str(e) for e in info.shape)
    return f"{_comment(info.name)}[{extents}]{'' if info.kind == 'real' else ' (int32_t)'}"


def _staging(spec: ModuleSpec, interface: Interface) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Memory of an epoch for one batch: rows of inputs in the order of the shuffle, and arrays that nobody reads.

    Offsets and widths are elements of the real type for one example.
    """
    assert spec.value_and_grad is not None
    schedule = spec.value_and_grad
    used = {r: {(t.of or t.name) if r == "input_grad" else t.name for t in schedule.program.tensors.values()
                if t.name in schedule.places and schedule.places[t.name].region == r}
            for r in ("input", "output", "input_grad")}  # fmt: skip
    rows: list[dict[str, object]] = []
    staged: list[dict[str, object]] = []
    offset = 0
    for slot, info in enumerate(interface.inputs):
        if info.name not in used["input"] or None not in info.shape:
            continue
        element = REAL[spec.dtype] if info.kind == "real" else "int32_t"
        rows.append({"name": _comment(info.name), "slot": slot, "element": element, "elements": info.elements,
                     "offset": offset, "width": info.elements})  # fmt: skip
        offset += info.elements
    for table, infos, names in (
        ("outputs", interface.outputs, used["output"]),
        ("input_grads", interface.input_grads, used["input_grad"]),
    ):
        for slot, info in enumerate(infos):
            if info.name in names:
                staged.append({"table": table, "slot": slot, "offset": offset, "width": info.elements})
                offset += info.elements
    return rows, staged


def _tables(interface: Interface) -> dict[str, object]:
    groups = {"parameters": interface.parameters, "inputs": interface.inputs, "outputs": interface.outputs,
              "states": interface.states}  # fmt: skip
    return {
        "tables": [(name, [_row(info) for info in rows] or ['{"", 0, 0, 0, {0}}']) for name, rows in groups.items()],
        "counts": [len(rows) for rows in groups.values()],
        "parameter_elements": _total(interface.parameters),
        "state_elements": _total(interface.states),
        "optimizer_elements": _total(interface.optimizer_state),
    }


def _row(info: TensorInfo) -> str:
    shape = ", ".join(str(e or 0) for e in info.shape) or "0"
    return f"{{{json.dumps(info.name)}, {info.offset}, {info.elements}, {len(info.shape)}, {{{shape}}}}}"


def _total(rows: Sequence[TensorInfo]) -> int:
    return max((info.offset + info.elements for info in rows), default=0)


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def _tidy(text: str) -> str:
    """At most one empty line in a row."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
