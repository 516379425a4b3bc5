"""Generated C is clean, stays within its arrays, and is right for every processor: a sample, and (slow) the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpcompile.emit.c.module import THRESHOLD
from tests.portable import driver
from tests.portable.networks import WRITTEN, judged, source
from tests.portable.targets import NATIVE, PROCESSORS, SANITIZERS, VALGRIND, Target, named
from tests.portable.text import differing
from tests.portable.verdicts import COMPILERS, SMALL, cases, computes, eager, needs, stays_inside, warnings


def available(target: Target) -> None:
    if target.missing:
        pytest.skip(f"{target.name} is not checked here: {target.missing}")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["two_inputs", "random11"])
def test_no_warnings(name: str, compiler: str, tmp_path: Path) -> None:
    available(Target(compiler, (compiler,)))
    assert not warnings(judged(name), "float32", compiler, [0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WRITTEN)
def test_no_warnings_anywhere(name: str, dtype: str, compiler: str, tmp_path: Path) -> None:
    available(Target(compiler, (compiler,)))
    assert not warnings(judged(name), dtype, compiler, range(5) if name == "xor" else [0], tmp_path)


def test_a_warning_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = driver.files

    def with_conversion(source: driver.Source, threads: int) -> dict[str, str]:
        texts = real(source, threads)
        return {**texts, "net.c": texts["net.c"] + "\nint net_odd(long x);\nint net_odd(long x) { return x; }\n"}

    monkeypatch.setattr(driver, "files", with_conversion)
    (first, *_) = warnings(judged("xor"), "float64", "gcc", [0], tmp_path)
    assert "conversion" in first


@pytest.mark.parametrize("command", [NATIVE.command, SMALL], ids=["native", "Cortex-M4"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_needs_only_mathematics(dtype: str, command: tuple[str, ...], tmp_path: Path) -> None:
    available(Target(command[0], command))
    assert not needs(judged("two_inputs"), dtype, command, tmp_path)


@pytest.mark.parametrize("name", ["xor", "two_inputs", "random11"])
def test_stays_within_its_arrays(name: str, tmp_path: Path) -> None:
    assert not stays_inside(judged(name), "float32", tuple(range(1, 21)), tmp_path)


def test_small_networks_are_divided_as_well() -> None:
    text = source(judged("two_inputs"), "float64")
    assert text.c_text.count(f" < {THRESHOLD})") == text.c_text.count("parallel->run(") == eager(text).c_text.count(" < 0)") > 3


@pytest.mark.parametrize(
    ("exact", "short"),
    [("= room(params)", "= room(params - sizeof(real))"), ("net_arena_elements(batch) *", "(net_arena_elements(batch) - 1) *")],
    ids=["gradients", "arena"],
)
def test_a_step_outside_is_seen(exact: str, short: str, tmp_path: Path) -> None:
    text = source(judged("two_inputs"), "float64")
    main = driver.driver_text(text, 1)
    assert exact in main
    built = driver.build(text, tmp_path, NATIVE.command, main=main.replace(exact, short))
    with pytest.raises(AssertionError, match="status -11"):
        driver.run(built, cases(judged("two_inputs"), (3,)), "end")


@pytest.mark.parametrize("target", PROCESSORS, ids=lambda t: t.name)
def test_processor(target: Target, tmp_path: Path) -> None:
    available(target)
    assert not computes(judged("two_inputs"), "float32", target, (1, 7), tmp_path)


@pytest.mark.parametrize("name", ["xor", pytest.param("digits", marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", SANITIZERS, ids=lambda t: t.name)
def test_sanitizer(target: Target, name: str, tmp_path: Path) -> None:
    available(target)
    assert not computes(judged(name), "float32", target, (1, 2, 17), tmp_path)


def test_threads_share_no_variable_of_the_library(tmp_path: Path) -> None:
    """The network has a lgamma, which writes the sign of gamma to a global variable."""
    target = named("thread")
    available(target)
    assert "s_lgamma" in source(judged("random400"), "float32").c_text
    assert not computes(judged("random400"), "float32", target, (3,), tmp_path)


def test_the_same_text_in_every_process() -> None:
    assert not differing(["two_inputs", "siamese", "random11", "random12"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_inputs", "siamese", "random11"])
def test_valgrind(name: str, tmp_path: Path) -> None:
    available(VALGRIND)
    assert not computes(judged(name), "float64", VALGRIND, (1, 3), tmp_path)
