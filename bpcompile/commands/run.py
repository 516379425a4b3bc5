"""The main job: compile, check gradients, derive, train, and say what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bpcompile.build import compiler_available
from bpcompile.commands.session import (
    Session,
    checked,
    compile_options,
    compiled,
    data_of,
    derivation_texts,
    open_spec,
    optimizer_of,
)
from bpcompile.commands.tables import check_table, count_text, network_table, seconds_text
from bpcompile.errors import BPCompileError, NetworkError, TrainingError
from bpcompile.stability import StabilityReport, check_stability
from bpcompile.training.loop import Epoch, History, evaluate, fit

if TYPE_CHECKING:
    from bpcompile.check_report import CheckReport
    from bpcompile.model import Model
    from bpcompile.parameters import Parameters, State

Array = NDArray[Any]
CHECK_SECONDS: Final = 10.0
"""How long the gradient check of a run may take; ``bpcompile check`` takes its time."""


def run(
    spec: Path, console: Console, *, out: Path, epochs: int | None, check: bool, derive: bool, **changes: Any
) -> dict[str, Any]:
    """Do everything that the spec asks for; give the result as plain data."""
    begun = time.perf_counter()
    session = open_spec(spec)
    network = session.spec.network
    if not network.losses:
        raise NetworkError("The spec has no loss, so that there is nothing to train.", hint='[network] loss = "..."')
    console.print(network_table(network))
    console.print()
    build_meanwhile(session, check, changes)
    split = data_of(session)
    derivation = derivation_texts(session, ("tex", "md")) if derive else {}
    model = compiled(session, **changes)
    show_compiled(console, session, model)
    result: dict[str, Any] = {"network": network.name, "parameters": network.parameter_count, "compile": facts_of(model)}
    artifacts: dict[str, str] = {}
    if check:
        report = checked(session, split.train, model=model, seconds=CHECK_SECONDS)
        show_check(console, session, report)
        result["gradient_check"] = report.to_dict()
        if not report.passed:
            return {**result, "warnings": session.warnings}
    if derive:
        artifacts |= write_derivation(network.name, derivation, console, out)
    path = out / f"{network.name}.safetensors"
    trained, score = train_model(session, console, model, split.train, split.test, path=path, epochs=epochs)
    params, state, history = trained
    if score is not None and score.accuracy is not None:
        result["accuracy"] = score.accuracy
    artifacts["parameters"] = str(save(model, params, state, path))
    result |= {
        "loss": history.epochs[-1].loss if history.epochs else None,
        "held_out_loss": None if score is None else score.loss,
        "epochs": len(history.epochs),
        "examples_per_second": round(history.examples_per_second),
        "training_seconds": history.training_seconds,
        "interrupted": history.interrupted,
        "artifacts": artifacts,
        "stages": session.seconds,
        "seconds": time.perf_counter() - begun,
        "warnings": session.warnings,
    }
    show_summary(console, result)
    return result


def build_meanwhile(session: Session, check: bool, changes: Mapping[str, Any]) -> None:
    """Set the C compiler to work on the network, and on its twin for the check, while Python does other things."""
    options = compile_options(session, changes)
    if options["backend"] != "c" or not compiler_available():
        return
    from bpcompile.check import prepare
    from bpcompile.driver import build_ahead

    with session.step("emit"):
        network, optimizer = session.spec.network, optimizer_of(session.spec)
        work = [build_ahead(network, options["dtype"], optimizer=optimizer, threads=options["threads"])]
        if check:
            work.append(prepare(network))
    for task in work:
        threading.Thread(target=task, daemon=True).start()


def facts_of(model: Model) -> dict[str, Any]:
    """What was compiled, as plain data."""
    cost = model.cost
    return {
        "backend": model.backend,
        "dtype": model.signature.dtype,
        **dict(cost.facts),
        "seconds": dict(cost.seconds),
        "forward_ops": cost.forward_ops,
        "backward_ops": cost.backward_ops,
        "unshared_ops": cost.unshared_ops,
        "separate_ops": cost.separate_ops,
        "arena_bytes": cost.arena_bytes(32),
    }


def show_compiled(console: Console, session: Session, model: Model) -> None:
    """Say what was compiled, where to, and in how long."""
    facts, cost = model.cost.facts, model.cost
    took = float(facts.get("build_seconds", session.seconds["compile"]))  # type: ignore[arg-type]
    how = "from the cache" if facts.get("cached") else f"in {seconds_text(took)}"
    console.print(f"[bold]compiled[/] to {'C' if model.backend == 'c' else 'NumPy'} ({model.signature.dtype}) {how}")
    if "path" in facts:
        console.print(f"  {facts['path']}", soft_wrap=True, highlight=False)
    if cost.backward_ops:
        total = cost.forward_ops + cost.backward_ops
        console.print(
            f"  {count_text(cost.forward_ops)} operations forward and {count_text(cost.backward_ops)} backward for an example;"
            f" {cost.separate_ops / total:.1f} times as many if each gradient were derived alone"
        )
    for text in session.warnings:
        console.print(f"[yellow]warning:[/] {escape(text)}", highlight=False)
    console.print()


def show_check(console: Console, session: Session, report: CheckReport) -> None:
    """Show the gradient check."""
    console.print(check_table(report))
    verdict = "[green]passed[/]" if report.passed else "[bold red]FAILED[/]"
    console.print(
        f"{verdict}: worst relative error {report.worst:.1e} (tolerance {report.tolerance:g}, floor {report.floor:.1g}, "
        f"{report.examples} examples) in {seconds_text(session.seconds['check'])} "
        f"of at most {seconds_text(report.budget)}"
    )
    for remark in report.remarks():
        console.print(f"  {escape(remark)}", highlight=False)
    console.print()


def write_derivation(name: str, texts: Mapping[str, str], console: Console, out: Path) -> dict[str, str]:
    """Write the derivation as LaTeX and Markdown."""
    labels = {"tex": "derivation", "md": "derivation_markdown"}
    written = {labels[kind]: str(write_text(out / f"{name}.{kind}", text)) for kind, text in texts.items()}
    console.print(f"[bold]derivation[/] written to {written['derivation']} and {name}.md", highlight=False)
    console.print()
    return written


def train_model(
    session: Session,
    console: Console,
    model: Model,
    train: Mapping[str, Array],
    test: Mapping[str, Array],
    *,
    path: Path,
    epochs: int | None = None,
    start: tuple[Parameters, State] | None = None,
) -> tuple[tuple[Parameters, State, History], Any]:
    """Train as the spec says, under a progress bar; give what came out, and the score on what was held out.

    Where training fails, the last good parameters are saved to `path`.
    """
    section = session.spec.training
    params, state = start or (model.init(section.seed), model.init_state())
    count = section.epochs if epochs is None else epochs
    console.print(f"[bold]training[/] {len(next(iter(train.values()))):,} examples, {count} epochs, {model.optimizer}")
    with session.step("train"), _progress(console) as progress:
        task = progress.add_task("", total=count, text="")

        def report(epoch: Epoch, history: History) -> None:
            progress.update(task, advance=1, text=_epoch_text(epoch, history))

        try:
            history = fit(
                model, params, train, epochs=count, batch_size=section.batch_size, seed=section.seed,
                held_out=test, state=state, report=report,
            )  # fmt: skip
        except TrainingError as error:
            saved = save(model, params, state, path)
            raise TrainingError(f"{error.message} They are in {saved}.", hint=error.hint) from error
    if history.interrupted:
        console.print("[yellow]interrupted[/]: the parameters of this moment are kept")
    has_test = bool(test) and len(next(iter(test.values()))) > 0
    score = evaluate(model, params, test, state=state) if has_test else None
    return (params, state, history), score


def save(model: Model, params: Parameters, state: State, path: Path) -> Path:
    """Write the parameters (and the state) as safetensors."""
    _make_folder(path.parent)
    model.save(path, params, state if state.layout.names else None)
    return path


def show_summary(console: Console, result: Mapping[str, Any]) -> None:
    """The last lines of a run."""
    console.print()
    if "accuracy" in result:
        console.print(f"[bold green]accuracy on held-out examples: {100 * result['accuracy']:.2f} %[/]", highlight=False)
    if result["held_out_loss"] is not None:
        console.print(f"loss {result['loss']:.4f} in training, {result['held_out_loss']:.4f} held out")
    elif result["loss"] is not None:
        console.print(f"loss {result['loss']:.4f}")
    console.print(
        f"{result['examples_per_second']:,} examples per second; {seconds_text(result['seconds'])} in all; "
        f"parameters in {result['artifacts']['parameters']}",
        highlight=False,
    )


def write_text(path: Path, text: str) -> Path:
    """Write a text file, and make its folder."""
    with writing(path):
        path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file that is about to be written.

    Raises
    ------
    BPCompileError
        If the file or its folder cannot be written.
    """
    _make_folder(path.parent)
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BPCompileError(f"'{path}' cannot be written: {reason}.", hint="Choose a place with -o.") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BPCompileError(
            f"The folder '{folder}' cannot be made: {error.strerror or error}.", hint="Choose another one with -o."
        ) from error


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24), TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip


def _epoch_text(epoch: Epoch, history: History) -> str:
    parts = [f"loss {epoch.loss:.4f}"]
    if epoch.held_out is not None:
        held = epoch.held_out
        parts.append(f"held out {held.loss:.4f}" if held.accuracy is None else f"accuracy {100 * held.accuracy:.2f} %")
    parts.append(f"{history.examples_per_second:,.0f} examples/s")
    return "  ".join(parts)


def check_spec(
    spec: Path,
    console: Console,
    *,
    backend: str | None = None,
    stability: bool = False,
    ranges: Sequence[str] = (),
    **options: Any,
) -> tuple[dict[str, Any], bool]:
    """Check the gradients of a spec's network, on its own data where it names some; where asked, its formulas too."""
    session = open_spec(spec)
    data = data_of(session).train if session.spec.data is not None else None
    report = checked(session, data, backend=backend, **options)
    show_check(console, session, report)
    if not stability:
        return report.to_dict(), report.passed
    with session.step("stability"):
        network, dtype = session.spec.network, session.spec.compile.dtype
        found = check_stability(network, dtype=dtype, backend=backend or "numpy", ranges=ranges)
    show_stability(console, found)
    passed = report.passed and found.passed
    return {**report.to_dict(), "passed": passed, "stability": found.to_dict()}, passed


def check_formula(
    formula: str, console: Console, *, backend: str | None, ranges: Sequence[str] = ()
) -> tuple[dict[str, Any], bool]:
    """Look at one formula over the whole range of float32."""
    found = check_stability(formula, backend=backend or "numpy", ranges=ranges)
    show_stability(console, found)
    return {"passed": found.passed, "stability": found.to_dict()}, found.passed


def show_stability(console: Console, report: StabilityReport) -> None:
    """Show where formulas fail in floating point."""
    console.print("[bold]stability[/]", "[green]passed[/]" if report.passed else "[bold red]FAILED[/]")
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)


def train_spec(
    spec: Path, console: Console, *, out: Path, epochs: int | None, resume: Path | None, **changes: Any
) -> dict[str, Any]:
    """Train only."""
    session = open_spec(spec)
    split = data_of(session)
    if changes.get("tune"):
        changes["tune"] = session.spec.training.batch_size
    model = compiled(session, **changes)
    show_compiled(console, session, model)
    start = None
    if resume is not None:
        start = (model.load(resume), model.load_state(resume) if model.signature.states.names else model.init_state())
    (params, state, history), score = train_model(
        session, console, model, split.train, split.test, path=out, epochs=epochs, start=start
    )
    path = save(model, params, state, out)
    console.print(f"parameters in {path}", highlight=False)
    return {
        "network": session.spec.network.name,
        "loss": history.epochs[-1].loss if history.epochs else None,
        "held_out_loss": None if score is None else score.loss,
        "accuracy": None if score is None else score.accuracy,
        "epochs": len(history.epochs),
        "examples_per_second": round(history.examples_per_second),
        "interrupted": history.interrupted,
        "artifacts": {"parameters": str(path)},
        "warnings": session.warnings,
    }
