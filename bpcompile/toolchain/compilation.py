"""One build, in a directory of its own: the files that are written, the commands that are run, what a failure says."""

from __future__ import annotations

import errno
import importlib.machinery
import io
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bpcompile.errors import BuildError
from bpcompile.toolchain import cache, processor
from bpcompile.toolchain.compiler import Compiler, Outcome, run_all

__all__ = ["Job", "Source", "compile_job", "extension_file_name", "is_identifier", "is_plain_file_name", "units"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\Z")
_SHOWN_CHARACTERS = 4000
_SCARCE_BYTES = 1 << 20


def is_identifier(name: str) -> bool:
    """Tell whether a name can stand in C and in Python, and is of at most 64 characters."""
    return _IDENTIFIER.match(name) is not None


def is_plain_file_name(name: str) -> bool:
    """Tell whether a name is a file's, with no directory and nothing odd in it."""
    return _FILE_NAME.match(name) is not None


@dataclass(frozen=True)
class Source:
    """Generated text, ready to be compiled.

    Parameters
    ----------
    prefix : str
        A C identifier of at most 64 characters that begins every external symbol and names the files: ``<prefix>.c``
        and ``<prefix>.h``. The extension module is called ``_<prefix>``.
    c_text : str
        The kernels. They may include ``"<prefix>.h"``.
    cdef_text : str
        The declarations that Python sees, as cffi reads them.
    header_text : str
        The header; it declares at least what `cdef_text` does.
    dtype : str
        ``float32`` or ``float64``.
    extra_units : tuple of (str, str)
        File name and text of further C files, compiled beside the kernels and linked with them.
    parts : int
        How many compilers take the kernels side by side, each told its number, from 1, as ``BP_PART``.
    wrapper_text, wrapper_cdef : str
        C that stands in Python's wrapper, where ``Python.h`` is known, and its declarations for Python.
    """

    prefix: str
    c_text: str
    cdef_text: str
    header_text: str
    dtype: str
    extra_units: tuple[tuple[str, str], ...] = ()
    parts: int = 1
    wrapper_text: str = ""
    wrapper_cdef: str = ""

    def __post_init__(self) -> None:
        if not is_identifier(self.prefix):
            raise BuildError(f"the prefix {self.prefix!r} is not a C identifier of at most 64 characters.")
        for name, _ in self.extra_units:
            if not is_plain_file_name(name) or not name.endswith(".c"):
                raise BuildError(f"the C file {name!r} does not have a plain name that ends in .c.")


@dataclass(frozen=True)
class Job:
    """Everything that determines an extension, with the key that stands for it."""

    source: Source
    compiler: Compiler
    flags: tuple[str, ...]
    time_limit: float
    key: str

    @property
    def name(self) -> str:
        """The name of the cache entry."""
        return f"{self.source.prefix}-{self.key[:32]}"


def extension_file_name(prefix: str) -> str:
    """Return the file name of the extension module ``_<prefix>`` for this Python.

    cffi's wrappers keep to Python's stable interface, so one file serves every version of Python that has it.
    """
    stable = not sysconfig.get_config_var("Py_GIL_DISABLED") and not sysconfig.get_config_var("Py_DEBUG")
    suffix = ".abi3.so" if stable else importlib.machinery.EXTENSION_SUFFIXES[0]
    return f"_{prefix}{suffix}"


def units(source: Source) -> list[tuple[str, str]]:
    """Return file name and text of each C file."""
    return [(f"{source.prefix}.c", source.c_text), *source.extra_units]


def compile_job(job: Job, workspace: Path) -> None:
    """Write the sources into an empty directory and build the extension there.

    Raises
    ------
    BuildError
        If the compiler fails or takes too long. The workspace is kept then, under the name that the error tells.
    OSError
        If the disk is full or cannot be written.
    """
    _write_sources(job.source, workspace)
    _run(job, _compile_commands(job, workspace), workspace)
    link_command, objects = _link_command(job)
    _run(job, [link_command], workspace)
    for name in objects:
        (workspace / name).unlink()


def _write_sources(source: Source, workspace: Path) -> None:
    prefix = source.prefix
    for name, text in units(source):
        (workspace / name).write_text(text, encoding="utf-8")
    (workspace / f"{prefix}.h").write_text(source.header_text, encoding="utf-8")
    needs = f"\n{processor.needs_text(prefix)}"
    for part, name in enumerate(_part_files(source), 1):
        number = f"#define BP_PART {part}\n" if source.parts > 1 else ""
        text = f'{number}#include "{prefix}.c"\n{needs if part == source.parts else ""}'
        (workspace / name).write_text(text, encoding="utf-8")


def _write_wrapper(source: Source, workspace: Path) -> None:
    from cffi import FFI, recompiler  # they bring a C parser, which a cache hit need not wait for

    prefix = source.prefix
    ffi = FFI()
    ffi.cdef(f"{source.cdef_text}\n{source.wrapper_cdef}\n{processor.check_declaration(prefix)}\n")
    wrapper = io.StringIO()
    preamble = f'#include "{prefix}.h"\n\n{processor.check_text(prefix)}\n{source.wrapper_text}'
    recompiler.make_c_source(ffi, f"_{prefix}", preamble, wrapper)
    (workspace / f"_{prefix}_module.c").write_text(wrapper.getvalue(), encoding="utf-8")


def _part_files(source: Source) -> list[str]:
    return [f"_{source.prefix}_part{part}.c" for part in range(1, source.parts + 1)]


def _kernel_files(job: Job) -> list[str]:
    """The files of kernels, those that take longest first: the last part has all that is not a tile."""
    return [*reversed(_part_files(job.source)), *(name for name, _ in job.source.extra_units)]


def _shared_flags(job: Job) -> list[str]:
    return ["-fPIC", "-fvisibility=hidden", *(["-fno-sanitize=undefined"] if job.compiler.is_zig else [])]


def _compile_commands(job: Job, workspace: Path) -> Iterator[list[str]]:
    """Give the commands that compile; Python's wrapper is written while the kernels are being compiled."""
    compiler, shared = list(job.compiler.command), _shared_flags(job)
    for name in _kernel_files(job):
        yield [*compiler, *job.flags, *shared, "-c", name, "-o", f"{Path(name).stem}.o"]
    _write_wrapper(job.source, workspace)
    paths = dict.fromkeys([sysconfig.get_path("include"), sysconfig.get_path("platinclude")])
    include = [f"-I{path}" for path in paths]
    # The wrapper only converts arguments: to optimize it would save ten nanoseconds of a call, and take a third longer. It must
    # run on any processor.
    wrapper = f"_{job.source.prefix}_module"
    sanitizers = [flag for flag in job.flags if flag.startswith("-fsanitize")]
    yield [*compiler, "-O0", "-w", *sanitizers, *shared, *include, "-c", f"{wrapper}.c", "-o", f"{wrapper}.o"]


def _link_command(job: Job) -> tuple[list[str], list[str]]:
    """Return the command that links, and the names of the objects, which nobody needs afterwards."""
    prefix = job.source.prefix
    objects = [f"{Path(name).stem}.o" for name in (*_kernel_files(job), f"_{prefix}_module.c")]
    bundle = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    target = ["-o", extension_file_name(prefix), "-lm"]
    return [*job.compiler.command, *job.flags, *_shared_flags(job), *bundle, *objects, *target], objects


def _run(job: Job, commands: Iterable[list[str]], workspace: Path) -> None:
    try:
        outcomes = run_all(commands, directory=workspace, time_limit=job.time_limit)
    except BuildError:
        shutil.rmtree(workspace, ignore_errors=True)
        raise
    for outcome in outcomes:
        if outcome.status == 0 and not outcome.timed_out:
            continue
        if _disk_is_full(outcome, workspace):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workspace))
        raise _failure(job, outcome, workspace)


def _disk_is_full(outcome: Outcome, workspace: Path) -> bool:
    # A linker that maps its output dies of a signal on a full disk, without a word.
    return "No space left on device" in outcome.output or (
        not outcome.timed_out and shutil.disk_usage(workspace).free < _SCARCE_BYTES
    )


def _failure(job: Job, outcome: Outcome, workspace: Path) -> BuildError:
    log = f"$ {' '.join(outcome.command)}\n{outcome.output}\n"
    (workspace / "compiler_output.txt").write_text(log, encoding="utf-8", errors="replace")
    kept = cache.keep_failure(workspace, job.name)
    if outcome.timed_out:
        what = f"the C compiler was stopped because it was not done after {job.time_limit:g} seconds"
    elif outcome.status < 0:
        what = f"the C compiler was ended by signal {-outcome.status}"
    else:
        what = f"the C compiler failed with status {outcome.status}"
    words = outcome.output.strip()
    shown = words[:_SHOWN_CHARACTERS]
    more = len(words) - len(shown) + outcome.dropped_bytes
    if more:
        shown += f"\n... ({more:,} more characters)"
    said = f" Its own words:\n{shown}" if shown else " It said nothing."
    hint = f"The source, and the command in compiler_output.txt, are kept in {kept}."
    if "Python.h" in words:
        hint = f"Install the headers of Python (on Debian and Ubuntu: python3-dev). {hint}"
    return BuildError(f"{what} ({job.compiler.description}).{said}", hint=hint)
