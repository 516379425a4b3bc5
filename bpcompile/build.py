"""Text to a loaded extension: cffi writes the wrapper, the C compiler builds it, the cache keeps it.

``build`` reads as the pipeline: find the compiler, form the key, look into the cache, else compile in a private
directory and rename it into place. Nothing here changes the working directory or runs a compiler inside the process.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import _cffi_backend

from bpcompile.errors import BPCompileWarning, BuildError
from bpcompile.toolchain import cache, processor
from bpcompile.toolchain.compilation import (
    Job,
    Source,
    compile_job,
    extension_file_name,
    is_identifier,
    is_plain_file_name,
    units,
)
from bpcompile.toolchain.compiler import Compiler, compiler_available, default_flags, find_compiler

__all__ = [
    "Extension",
    "Source",
    "build",
    "compiler_available",
    "default_flags",
    "extension_file_name",
    "find_compiler",
    "write_package",
]

TIME_LIMIT = 600.0
"""Seconds that compiling may take before it is stopped."""

_LAYOUT = 1  # of a cache entry; part of the key

_loaded: dict[str, Extension] = {}
_loading = threading.RLock()


@dataclass(frozen=True)
class Extension:
    """A compiled extension, loaded.

    Parameters
    ----------
    lib, ffi : Any
        cffi's library (the functions) and its ``ffi`` object. Calls release the global interpreter lock.
    module : module
        The extension module itself.
    path : Path
        The shared object.
    source_directory : Path
        Where ``<prefix>.c`` and ``<prefix>.h`` lie.
    compiler : str
        The compiler and its version.
    flags : tuple of str
        What the kernels were compiled with.
    seconds : float
        How long this call took, from text to a loaded module.
    cached : bool
        Whether it was built before.
    """

    lib: Any
    ffi: Any
    module: ModuleType
    path: Path
    source_directory: Path
    compiler: str
    flags: tuple[str, ...]
    seconds: float
    cached: bool


def build(
    source: Source,
    *,
    flags: Sequence[str] | None = None,
    threads: int = 1,
    time_limit: float = TIME_LIMIT,
    directory: Path | None = None,
) -> Extension:
    """Compile generated text, or find it compiled, and load it.

    Parameters
    ----------
    source : Source
        The text.
    flags : sequence of str, optional
        The compiler's flags for the kernels; `default_flags` unless given.
    threads : int
        With more than one, the extension is compiled and linked for POSIX threads; with one, without what divides work.
    time_limit : float
        Seconds that compiling may take.
    directory : Path, optional
        Where to build and look, instead of the cache.

    Raises
    ------
    CompilerMissing
        If there is no C compiler.
    BuildError
        If the compiler fails or takes too long, or there is no room anywhere.

    Warns
    -----
    BPCompileWarning
        If the cache directory cannot be used; the extension is then built in a temporary directory.
    """
    start = time.perf_counter()
    job = _job(source, find_compiler(), flags, threads, time_limit)
    with _loading:
        if job.key in _loaded:
            return replace(_loaded[job.key], seconds=time.perf_counter() - start, cached=True)
    directory = directory or cache.cache_directory()
    try:
        cache.open_cache(directory)
        extension = _find_or_build(job, directory, start)
    except OSError as error:
        extension = _build_elsewhere(job, directory, error, start)
    with _loading:
        return _loaded.setdefault(job.key, extension)


def write_package(
    source: Source,
    directory: str | os.PathLike[str],
    *,
    name: str,
    files: Mapping[str, str],
    flags: Sequence[str] | None = None,
    threads: int = 1,
    time_limit: float = TIME_LIMIT,
) -> Path:
    """Write ``directory/name``: a package that imports with NumPy and cffi's runtime alone.

    It holds the extension module ``_<prefix>``, ``<prefix>.c``, ``<prefix>.h``, the extra units, and `files`. Files of
    these names are replaced one by one, each at once; others are left alone. The package can ask
    ``lib.<prefix>_cpu_missing()`` for the first processor feature that it was built for and that is not there
    (a C string, empty if all are).

    Parameters
    ----------
    source : Source
        The text.
    directory : path
        Where the package is put; made if need be.
    name : str
        The package's name, a Python identifier.
    files : mapping of str to str
        The package's Python text and whatever else belongs in it: file name to text; ``__init__.py`` at least.
    flags, threads, time_limit
        As for `build`.

    Returns
    -------
    Path
        The package's directory.

    Raises
    ------
    BuildError
        If it cannot be built or written.
    """
    if not is_identifier(name):
        raise BuildError(f"a package cannot be called {name!r}: letters, digits and underscores only, no digit first.")
    for file_name in files:
        if not is_plain_file_name(file_name):
            raise BuildError(f"the package cannot hold a file called {file_name!r}: a plain file name is expected.")
    extension = build(source, flags=flags, threads=threads, time_limit=time_limit)
    package = Path(directory) / name
    texts = {**dict(units(source)), f"{source.prefix}.h": source.header_text, **files}
    try:
        package.mkdir(parents=True, exist_ok=True)
        _place(package / extension_file_name(source.prefix), extension.path.read_bytes())
        for file_name, text in texts.items():
            _place(package / file_name, text.encode())
    except OSError as error:
        raise BuildError(
            f"the package cannot be written to {package}: {error.strerror or error}.",
            hint="Choose a directory that you may write to with -o.",
        ) from error
    return package


def _place(path: Path, content: bytes) -> None:
    # A shared object that is loaded somewhere must never be written over in place.
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, (0o777 if path.suffix == ".so" else 0o666) & ~mask)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _job(source: Source, compiler: Compiler, flags: Sequence[str] | None, threads: int, time_limit: float) -> Job:
    chosen = tuple(default_flags() if flags is None else flags)
    chosen += ("-pthread",) if threads > 1 else ("-DBP_SERIAL",)
    native = any(flag.endswith("=native") for flag in chosen)
    material = [
        _LAYOUT,
        [source.prefix, source.c_text, source.cdef_text, source.header_text, source.dtype, source.extra_units, source.parts],
        [source.wrapper_text, source.wrapper_cdef],
        [processor.needs_text(source.prefix), processor.check_text(source.prefix)],
        [compiler.command, compiler.version, chosen],
        [sysconfig.get_config_var("SOABI"), sys.version, _cffi_backend.__version__],
        [sys.platform, platform.machine(), _c_library(), processor.processor_identity() if native else ""],
    ]
    key = hashlib.sha256(json.dumps(material).encode()).hexdigest()
    return Job(source, compiler, chosen, time_limit, key)


def _c_library() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def _find_or_build(job: Job, directory: Path, start: float) -> Extension:
    found = _load_entry(job, directory, start, cached=True)
    if found:
        return found
    with cache.build_lock(directory, job.key, patience=job.time_limit) as lock:
        # Another process may have finished it while we waited.
        found = _load_entry(job, directory, start, cached=True)
        if found:
            return found
        cache.sweep(directory, lock)
        _compile(job, directory, lock)
    built = _load_entry(job, directory, start, cached=False)
    if built is None:
        raise OSError(errno.EIO, "what was just built there is damaged")
    return built


def _build_elsewhere(job: Job, directory: Path, trouble: OSError, start: float) -> Extension:
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix="bpcompile-"))
        extension = _find_or_build(job, temporary, start)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise BuildError(
            f"there is no place to build in. The cache directory {directory}: {_reason(trouble)}. "
            f"The temporary directory {_temporary_root()}: {_reason(error)}.",
            hint="Free some room, or set BPCOMPILE_CACHE_DIR (or TMPDIR) to a directory that can be written.",
        ) from error
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    warnings.warn(
        f"the cache directory {directory} cannot be used: {_reason(trouble)}. The extension was built in a temporary "
        "directory and will be built again next time. Set BPCOMPILE_CACHE_DIR to choose another directory.",
        BPCompileWarning,
        stacklevel=3,
    )
    return extension


def _temporary_root() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _load_entry(job: Job, directory: Path, start: float, *, cached: bool) -> Extension | None:
    entry = directory / job.name
    found = cache.find_entry(entry, job.key)
    if found is None:
        return None
    path, _ = found
    try:
        module = _load(path, job)
    except ImportError as error:
        if cached:
            return None  # built where other libraries are installed, or replaced under our hands: build it here
        raise BuildError(
            f"the extension was built, and cannot be loaded: {error}.", hint=f"Its source is kept in {entry}."
        ) from error
    return Extension(
        lib=module.lib,
        ffi=module.ffi,
        module=module,
        path=path,
        source_directory=entry,
        compiler=job.compiler.description,
        flags=job.flags,
        seconds=time.perf_counter() - start,
        cached=cached,
    )


def _load(path: Path, job: Job) -> ModuleType:
    # The last part of the name must be the one that the initialization function has; the rest makes it unique.
    prefix = job.source.prefix
    spec = importlib.util.spec_from_file_location(f"bpcompile_extension_{job.key[:32]}._{prefix}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} does not look like an extension module")
    with _loading:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    missing = module.ffi.string(getattr(module.lib, f"{prefix}_cpu_missing")()).decode()
    if missing:
        raise BuildError(
            f"the compiler built for a processor with {missing}, and this one does not have it.",
            hint="Pass flags without -march=native: default_flags(native=False).",
        )
    return module


def _compile(job: Job, directory: Path, lock: str) -> None:
    """Build in a private directory beside the entry, and rename it into place."""
    workspace = cache.new_workspace(directory, lock)
    start = time.perf_counter()
    try:
        compile_job(job, workspace)
        cache.write_manifest(
            workspace,
            key=job.key,
            extension=extension_file_name(job.source.prefix),
            facts={
                "compiler": job.compiler.description,
                "flags": job.flags,
                "seconds": round(time.perf_counter() - start, 3),
            },
        )
        cache.publish(workspace, directory / job.name)
    except BuildError:
        raise  # the source of a failure is kept
    except BaseException:
        shutil.rmtree(workspace, ignore_errors=True)
        raise
