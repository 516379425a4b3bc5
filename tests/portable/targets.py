"""What generated C is built with: compilers, processors, sanitizers, and what runs the result."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FAST = ("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
PLAIN = ("-std=c11", "-DBP_PLAIN")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror")
STRICT = (*WARNINGS, "-Wpedantic")


@dataclass(frozen=True)
class Target:
    """A compiler with its flags, and what the program is run with.

    Parameters
    ----------
    name : str
        What it is called in reports.
    command : tuple of str
        The compiler and its flags.
    emulator : tuple of str
        What the program is given to; nothing where this processor runs it.
    features : tuple of str
        What this processor must have, by the names of /proc/cpuinfo.
    threads : int
        Threads that work on one call.
    slower : int
        By how much a run takes longer than natively, roughly.
    environment : mapping of str to str
        Settings for the run.
    """

    name: str
    command: tuple[str, ...]
    emulator: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    threads: int = 1
    slower: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> str:
        """What is missing here to build and run it; nothing where all is there."""
        for program in (self.command[0], *self.emulator[:1]):
            if not shutil.which(program):
                return f"there is no {program}"
        x86 = any(flag.startswith("-march=x86") for flag in self.command)
        if x86 and platform.machine() != "x86_64":
            return "this is not an x86-64 processor"
        present = _features()
        lacking = [f for f in self.features if f not in present]
        return f"this processor has no {', '.join(lacking)}" if lacking else ""


def _features() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {word for name, _, words in lines if name.strip() in ("flags", "Features") for word in words.split()}


def _native(*flags: str, optimize: str = "-O1") -> tuple[str, ...]:
    return ("gcc", "-std=gnu11", optimize, *FAST, *flags)


_SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1"}
_UNDEFINED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_ARM = ("qemu-aarch64-static",)

PROCESSORS = (
    Target("native", _native("-march=native")),
    Target("x86-64 (SSE2)", _native("-march=x86-64")),
    Target("x86-64-v2 (SSE4.2)", _native("-march=x86-64-v2"), features=("sse4_2",)),
    Target("x86-64-v3 (AVX2, FMA)", _native("-march=x86-64-v3"), features=("avx2", "fma")),
    Target("strict C11", ("gcc", *PLAIN, "-O1")),
    Target("native, clang", ("clang", "-std=gnu11", "-O1", *FAST, "-march=native")),
    Target("x86-64 (SSE2), clang", ("clang", "-std=gnu11", "-O1", *FAST, "-march=x86-64")),
    Target("strict C11, clang", ("clang", *PLAIN, "-O1")),
    Target("native, -O3", _native("-march=native", optimize="-O3")),
    Target("aarch64 (NEON)", ("aarch64-linux-gnu-gcc", "-static", "-std=gnu11", "-O1", *FAST), _ARM, slower=20),
    Target(
        "ARMv7 (NEON)",
        ("arm-linux-gnueabihf-gcc", "-static", "-std=gnu11", "-O1", *FAST, "-mfpu=neon-vfpv4"),
        ("qemu-arm-static",),
        slower=20,
    ),
)
SANITIZERS = (
    Target("address, undefined", _native("-march=native", *_UNDEFINED, optimize="-O0"), slower=5, environment=_SANITIZERS),
    Target("address, undefined; strict C11", ("gcc", *PLAIN, "-O0", *_UNDEFINED), slower=10, environment=_SANITIZERS),
    Target(
        "address, undefined; clang",
        ("clang", "-std=gnu11", "-O0", *FAST, "-march=native", *_UNDEFINED),
        slower=5,
        environment=_SANITIZERS,
    ),
    Target(
        "thread",
        _native("-march=native", "-g", "-fsanitize=thread", optimize="-O0"),
        threads=2,
        slower=10,
        environment=_SANITIZERS,
    ),
)
VALGRIND = Target(
    "valgrind",
    _native("-march=x86-64-v3", "-g"),
    ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--track-origins=yes"),
    features=("avx2", "fma"),
    slower=50,
)
NATIVE = PROCESSORS[0]


def named(name: str) -> Target:
    """The target of a name."""
    return next(t for t in (*PROCESSORS, *SANITIZERS, VALGRIND) if t.name == name)
