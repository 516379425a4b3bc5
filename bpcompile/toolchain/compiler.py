"""The C compiler: which one, its flags, and running it so that it can neither hang nor flood us."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bpcompile.errors import BuildError, CompilerMissing

__all__ = ["Compiler", "Outcome", "compiler_available", "default_flags", "find_compiler", "run_all"]

_NAMES = ("cc", "gcc", "clang")
_VERSION_SECONDS = 30.0
_KEPT_BYTES = 64 * 1024
_PAUSE = 0.002
_MISSING_HINT = (
    "Install gcc or clang, or run `pip install 'bpcompile[zig]'`, which brings a C compiler as a wheel. "
    'Until then, backend="numpy" runs the same program without one.'
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler that was found.

    Parameters
    ----------
    command : tuple of str
        The program and the arguments that always come first.
    version : str
        What it says of itself, as far as the first blank line.
    """

    command: tuple[str, ...]
    version: str

    @property
    def description(self) -> str:
        """The command and the first line of the version, for people to read."""
        first_line = self.version.partition("\n")[0]
        return f"{shlex.join(self.command)}: {first_line}" if first_line else shlex.join(self.command)

    @property
    def is_zig(self) -> bool:
        """Whether this is the compiler of the ziglang wheel."""
        return "ziglang" in self.command


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Parameters
    ----------
    command : tuple of str
        What was run.
    status : int
        The exit status; negative for the number of the signal that ended it.
    output : str
        The beginning of what it printed, standard output and standard error together.
    dropped_bytes : int
        How much more it printed.
    timed_out : bool
        Whether it was killed because its time was up.
    """

    command: tuple[str, ...]
    status: int
    output: str
    dropped_bytes: int
    timed_out: bool


def default_flags(optimization: str = "-O2", *, native: bool = True) -> tuple[str, ...]:
    """Return the flags that kernels are compiled with.

    Parameters
    ----------
    optimization : str
        ``-O0`` to ``-O3``.
    native : bool
        Use everything that this processor has. Without it, the extension runs on any processor of the architecture.
    """
    # -ffp-contract=fast: a strict C mode emits no fused multiply-add. The two -fno flags let loops with libm calls and
    # selections vectorize; neither changes a value. -ffast-math would, and is never used.
    flags = ["-std=gnu11", optimization, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
    if native:
        arm = platform.machine().lower() in ("aarch64", "arm64")
        flags.append("-mcpu=native" if arm else "-march=native")
    return tuple(flags)


def find_compiler() -> Compiler:
    """Return the C compiler: ``$CC``, else ``cc``, ``gcc``, ``clang``, else the ziglang wheel.

    Raises
    ------
    CompilerMissing
        If there is none, or ``$CC`` names none.
    BuildError
        If the compiler cannot be started, or does not answer when asked for its version.
    """
    return _find_compiler(os.environ.get("CC", ""), os.environ.get("PATH", os.defpath))


def compiler_available() -> bool:
    """Tell whether `find_compiler` finds a C compiler."""
    try:
        find_compiler()
    except BuildError:
        return False
    return True


@functools.lru_cache(maxsize=16)
def _find_compiler(chosen: str, path: str) -> Compiler:
    if os.name != "posix":
        raise CompilerMissing("extensions are built on POSIX systems only.", hint=_MISSING_HINT)
    if chosen.strip():
        return _chosen_compiler(chosen, path)
    for name in _NAMES:
        found = shutil.which(name, path=path)
        if found:
            return _asked_for_version((os.path.realpath(found),))
    if importlib.util.find_spec("ziglang") is not None:
        return _asked_for_version((sys.executable, "-m", "ziglang", "cc"))
    raise CompilerMissing(
        f"no C compiler was found: $CC is not set, {', '.join(_NAMES)} are not on the path, "
        "and the ziglang wheel is not installed.",
        hint=_MISSING_HINT,
    )


def _chosen_compiler(chosen: str, path: str) -> Compiler:
    try:
        program, *arguments = shlex.split(chosen)
    except ValueError as error:
        raise CompilerMissing(f"$CC is {chosen!r}, which is not a command: {error}.", hint=_MISSING_HINT) from error
    found = shutil.which(program, path=path)
    if not found:
        raise CompilerMissing(
            f"$CC is {chosen!r}, and there is no program {program!r}.",
            hint="Unset CC, or set it to a C compiler. " + _MISSING_HINT,
        )
    # The link is not resolved here: ccache and its like act by the name they are called by.
    return _asked_for_version((os.path.abspath(found), *arguments))


def _asked_for_version(command: tuple[str, ...]) -> Compiler:
    (outcome,) = run_all([(*command, "--version")], directory=Path.cwd(), time_limit=_VERSION_SECONDS)
    if outcome.timed_out:
        raise BuildError(
            f"the C compiler {shlex.join(command)} did not answer --version within {_VERSION_SECONDS:.0f} seconds.",
            hint="Set CC to another compiler.",
        )
    # A compiler without --version is told apart by its file instead.
    status = os.stat(command[0])
    answer = outcome.output.strip() if outcome.status == 0 else f"size {status.st_size}, changed {status.st_mtime_ns}"
    return Compiler(command, answer.partition("\n\n")[0])


def run_all(commands: Iterable[Sequence[str]], *, directory: Path, time_limit: float) -> list[Outcome]:
    """Run commands in `directory`, side by side on as many cores as we may use, and wait for all of them.

    Each is started as soon as `commands` gives it and a core is free, and has a process group of its own, which is killed
    when `time_limit` seconds are over or when we are interrupted.

    Raises
    ------
    BuildError
        If a command cannot be started.
    """
    deadline = time.monotonic() + time_limit
    running: list[tuple[subprocess.Popen[bytes], _Listener]] = []
    try:
        for command in commands:
            while sum(p.poll() is None for p, _ in running) >= _cores() and time.monotonic() < deadline:
                time.sleep(_PAUSE)
            process = _start(command, directory)
            running.append((process, _Listener(process)))
        return [_outcome(process, listener, deadline) for process, listener in running]
    finally:
        for process, _ in running:
            if process.poll() is None:
                _kill_group(process)


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(command: Sequence[str], directory: Path) -> subprocess.Popen[bytes]:
    # LC_ALL=C: diagnostics that we can recognize. TMPDIR: the compiler's own temporary files end with the directory.
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(directory)}
    try:
        return subprocess.Popen(
            list(command),
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise BuildError(
            f"the C compiler {command[0]} cannot be started: {reason}.", hint="Set CC to a C compiler that runs."
        ) from error


class _Listener:
    """Reads all that a process prints, and keeps the beginning: a flood must neither block it nor fill the memory."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.kept = bytearray()
        self.total = 0
        self._stream: IO[bytes] = process.stdout
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._stream.fileno(), 65536):
                self.kept += chunk[: max(0, _KEPT_BYTES - len(self.kept))]
                self.total += len(chunk)
        self._stream.close()

    def finish(self) -> None:
        # A grandchild that left the process group may hold the pipe open for ever.
        self._thread.join(timeout=2.0)


def _outcome(process: subprocess.Popen[bytes], listener: _Listener, deadline: float) -> Outcome:
    timed_out = False
    try:
        _wait(process, deadline)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill_group(process)
    listener.finish()
    kept = bytes(listener.kept)
    return Outcome(
        command=tuple(str(part) for part in process.args) if isinstance(process.args, list) else (),
        status=process.returncode,
        output=kept.decode("utf-8", errors="replace"),
        dropped_bytes=listener.total - len(kept),
        timed_out=timed_out,
    )


def _wait(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait for the end of a process; where the system can tell of it, at once: `Popen.wait` looks every 50 milliseconds."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                end = select.poll()
                end.register(descriptor, select.POLLIN)
                end.poll(1000 * max(0.0, deadline - time.monotonic()))
            finally:
                os.close(descriptor)
    process.wait(timeout=max(0.0, deadline - time.monotonic()))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
