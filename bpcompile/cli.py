"""The command ``bpcompile``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bpcompile.errors import BPCompileError

app = typer.Typer(
    name="bpcompile",
    help="Networks as equations in; verified gradients, dependency-free C and a trained network out.",
    epilog="Exit status: 0 all is well, 1 a gradient is wrong (or a formula unstable, where asked), 2 the input is wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Spec = Annotated[Path, typer.Argument(help="The spec file (TOML): network, data, training.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.")]
BackendOption = Annotated[
    str | None, typer.Option("--backend", help="[bold]c[/] or [bold]numpy[/]; wins over the spec.", show_default=False)
]
DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", help="[bold]float32[/] or [bold]float64[/]; wins over the spec.", show_default=False),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; results do not depend on it.", show_default=False)
]
TuneOption = Annotated[
    bool, typer.Option("--tune", help="First search for the fastest kernels on this processor; remembered afterwards.")
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Epochs, instead of those of the spec.", show_default=False)
]


def _console(as_json: bool) -> Console:
    return Console(quiet=as_json)


def _finish(result: dict[str, Any], as_json: bool, ok: bool = True) -> None:
    if as_json:
        print(json.dumps(result, indent=2, default=str))
    if not ok:
        raise typer.Exit(1)


@app.command()
def run(
    spec: Spec,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where derivation and parameters are written.")] = Path("build"),
    epochs: EpochsOption = None,
    backend: BackendOption = None,
    dtype: DtypeOption = None,
    threads: ThreadsOption = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Check the gradients before training.")] = True,
    derive: Annotated[bool, typer.Option("--derive/--no-derive", help="Write the derivation.")] = True,
    as_json: Json = False,
) -> None:
    """Do everything: compile, check the gradients, write the derivation, train, and report.

    Example: [bold]bpcompile run examples/digits.toml[/]
    """
    from bpcompile.commands.run import run as run_spec

    changes = {"backend": backend, "dtype": dtype, "threads": threads}
    result = run_spec(spec, _console(as_json), out=out, epochs=epochs, check=check, derive=derive, **changes)
    _finish(result, as_json, ok=result.get("gradient_check", {}).get("passed", True))


@app.command("compile")
def compile_command(
    spec: Spec,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder in which the package is put.")] = Path("build"),
    dtype: DtypeOption = None,
    threads: ThreadsOption = None,
    tune: TuneOption = False,
    as_json: Json = False,
) -> None:
    """Write the network as an importable package, with its .c and .h; it needs only NumPy and cffi's runtime.

    Example: [bold]bpcompile compile net.toml -o build/[/], then [bold]import net[/] from there.
    """
    from bpcompile.commands.package import compile_spec

    _finish(compile_spec(spec, _console(as_json), out=out, dtype=dtype, threads=threads, tune=tune), as_json)


@app.command()
def check(
    spec: Annotated[
        Path | None, typer.Argument(help="The spec file (TOML): network, data, training.", show_default=False)
    ] = None,
    backend: BackendOption = None,
    samples: Annotated[int, typer.Option(min=1, help="Elements compared for each tensor of a large network.")] = 64,
    examples: Annotated[int, typer.Option(min=1, help="Examples that the loss is taken over, at most.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the sample and of the parameters.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long it may take; fewer elements where that is short.")] = 60.0,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Also compare the network's formulas with exact arithmetic over the whole range of its element type; exit "
            "status 1 where one overflows or loses its digits. What the equations tell of a variable (a variance is never "
            "negative) is taken into account.",
        ),
    ] = False,
    formula: Annotated[
        str | None,
        typer.Option(
            help="Instead of a spec: compare this formula so, in float32: of one to three variables, or with a reduction, "
            "such as log(sum(exp(z[i]), i)).",
            show_default=False,
        ),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="<name>=<low>:<high>",
            help="What a variable of the formulas can be, such as v=0:inf, where the equations do not tell; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the gradients of the generated code with numeric ones; exit status 1 where one is wrong.

    Example: [bold]bpcompile check net.toml --stability[/], or [bold]bpcompile check --formula "log(1 + exp(z))"[/]
    """
    from bpcompile.commands.run import check_formula, check_spec

    if (spec is None) == (formula is None):
        raise BPCompileError(
            f"check takes a spec file or --formula, {'and neither was given' if spec is None else 'not both'}.",
            hint="Write bpcompile check net.toml, or bpcompile check --formula \"log(1 + exp(z))\".",
        )
    console = _console(as_json)
    if formula is not None:
        result, passed = check_formula(formula, console, backend=backend, ranges=ranges or ())
    else:
        assert spec is not None
        result, passed = check_spec(
            spec, console, backend=backend, stability=stability, ranges=ranges or (),
            samples=samples, examples=examples, seed=seed, seconds=seconds,
        )  # fmt: skip
    _finish(result, as_json, ok=passed)


@app.command()
def train(
    spec: Spec,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The safetensors file to write.", show_default="<spec>.safetensors"),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Start from this safetensors file.", show_default=False)] = None,
    epochs: EpochsOption = None,
    backend: BackendOption = None,
    dtype: DtypeOption = None,
    threads: ThreadsOption = None,
    tune: TuneOption = False,
    as_json: Json = False,
) -> None:
    """Train as the spec says. Control-C ends training and keeps the parameters."""
    from bpcompile.commands.run import train_spec

    target = spec.with_suffix(".safetensors") if out is None else out
    changes = {"backend": backend, "dtype": dtype, "threads": threads, "tune": tune}
    _finish(train_spec(spec, _console(as_json), out=target, epochs=epochs, resume=resume, **changes), as_json)


@app.command()
def derive(
    spec: Spec,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="A .tex, .md, .html, .pdf or .txt file; text on stdout without it.", show_default=False
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            help="Some of network, chain, fundamental, layers, general, batch, sharing, worked, check; commas between.",
            show_default="all",
        ),
    ] = None,
    level: Annotated[str, typer.Option(help="[bold]student[/], every step; or [bold]summary[/], results alone.")] = "student",
    layout: Annotated[
        str, typer.Option(help="An example is a [bold]column[/] of the batch's matrix, or a [bold]row[/].")
    ] = "column",
    superscript: Annotated[str, typer.Option(help=r"What encloses the layer: (l) or \[l].")] = "(l)",
    jacobian: Annotated[
        str, typer.Option(help="Matrices of derivatives in [bold]numerator[/] or [bold]denominator[/] layout.")
    ] = "numerator",
    activation: Annotated[str, typer.Option(help="The letter of an unspecified activation: sigma, f, g, phi or h.")] = "sigma",
    layers: Annotated[
        str, typer.Option(help="What stands for a layer: [bold]names[/], [bold]numbers[/], or numbers for long names alone.")
    ] = "auto",
    fragment: Annotated[
        bool, typer.Option("--fragment", help="For another document, without head and foot; .tex and .html only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the derivation of the network's gradients as mathematics.

    Example: [bold]bpcompile derive net.toml -o net.tex --sections layers,general --level summary[/]
    """
    from bpcompile.commands.derivation import derive_spec

    result = derive_spec(
        spec, _console(as_json), out=out, fragment=fragment, sections=sections, level=level, layout=layout,
        superscript=superscript, jacobian=jacobian, activation=activation, layers=layers,
    )  # fmt: skip
    _finish(result, as_json)


@app.command()
def show(
    spec: Spec,
    equations: Annotated[bool, typer.Option("--equations", help="Show each layer's equations.")] = False,
    source: Annotated[
        str | None,
        typer.Option(help="Print the generated text instead: [bold]c[/] or [bold]numpy[/].", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the network as a table: shapes, parameters, equations, or the generated code."""
    from bpcompile.commands.derivation import show_spec

    _finish(show_spec(spec, _console(as_json), equations=equations, source=source), as_json)


@app.command()
def bench(
    spec: Spec,
    batch: Annotated[int, typer.Option(min=1, help="Examples in a call.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each contender is timed.")] = 1.0,
    frameworks: Annotated[
        bool, typer.Option("--frameworks/--no-frameworks", help="Also time PyTorch and JAX, where they are installed.")
    ] = True,
    profile: Annotated[bool, typer.Option("--profile", help="Also show where the time goes, kernel by kernel.")] = False,
    dtype: DtypeOption = None,
    threads: ThreadsOption = None,
    tune: TuneOption = False,
    as_json: Json = False,
) -> None:
    """Time the loss with its gradients: C, NumPy, and the frameworks that are installed.

    Example: [bold]bpcompile bench examples/digits.toml --profile[/]
    """
    from bpcompile.commands.bench import bench_spec

    changes = {"dtype": dtype, "threads": threads}
    result = bench_spec(
        spec, _console(as_json), batch=batch, seconds=seconds, frameworks=frameworks, profiled=profile, tune=tune, **changes
    )
    _finish(result, as_json)


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Networks as equations in; verified gradients, dependency-free C and a trained network out."""
    if version:
        from bpcompile import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; an error of ours is one sentence, and exit status 2."""
    try:
        app()
    except BPCompileError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"bpcompile: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bpcompile: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
