"""The cache of finished extensions: one directory an entry, complete or absent.

An entry is made under another name and renamed when it is complete, so a build that is killed half way leaves nothing
that looks like an entry. Its manifest holds the hash of the extension, which is compared before anything is loaded.
Locks only save work: two builds of one thing at the same time are allowed, and the later one replaces the earlier.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

__all__ = [
    "build_lock",
    "cache_directory",
    "find_entry",
    "keep_failure",
    "new_workspace",
    "open_cache",
    "publish",
    "sweep",
    "write_manifest",
]

_MANIFEST = "manifest.json"
_BUILDING = ".building-"
_FAILED = "failed-"
_BUILDING_SECONDS = 2 * 3600.0  # longer than any build may take that has no lock
_FAILED_SECONDS = 7 * 24 * 3600.0


def cache_directory() -> Path:
    """Return ``$BPCOMPILE_CACHE_DIR``, or the user's cache directory."""
    chosen = os.environ.get("BPCOMPILE_CACHE_DIR", "").strip()
    # dlopen searches the system for a name without a slash: the path must be absolute.
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("bpcompile").absolute()


def open_cache(directory: Path) -> None:
    """Create the cache directory if need be, and see that nobody else can put code into it.

    Raises
    ------
    OSError
        If it cannot be made, belongs to another user, or can be written by others.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, f"others may write to it (`chmod 700 {directory}` mends that)")


def find_entry(entry: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """Return the extension of an entry and its manifest, or None where there is none or it is damaged."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        extension = entry / Path(manifest["extension"]).name
        intact = manifest["key"] == key and manifest["sha256"] == _sha256(extension)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (extension, manifest) if intact else None


def write_manifest(workspace: Path, *, key: str, extension: str, facts: Mapping[str, Any]) -> None:
    """Write down what was built in a workspace, with the hash of the extension."""
    manifest = {"key": key, "extension": extension, "sha256": _sha256(workspace / extension), **facts}
    (workspace / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def new_workspace(directory: Path, lock: str = "") -> Path:
    """Make a private directory beside the entries, to build in; its name tells the lock that its builder holds."""
    return Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{lock}-", dir=directory))


def publish(workspace: Path, entry: Path) -> None:
    """Turn a finished workspace into the entry, replacing what stands there.

    What stands there is the same thing, finished by another process, or damaged. A process that has it loaded keeps it.
    """
    for _ in range(8):
        try:
            os.rename(workspace, entry)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        aside = new_workspace(entry.parent, _lock_of(workspace))
        with contextlib.suppress(FileNotFoundError):
            os.rename(entry, aside / "replaced")
        shutil.rmtree(aside, ignore_errors=True)
    raise OSError(errno.EBUSY, "the entry is replaced again and again by other processes", str(entry))


def keep_failure(workspace: Path, name: str) -> Path:
    """Give the workspace of a failed build a name that it keeps, and return its path.

    An earlier failure of the same build makes room for it.
    """
    kept = workspace.parent / f"{_FAILED}{name}"
    try:
        publish(workspace, kept)
    except OSError:
        return workspace
    return kept


def sweep(directory: Path, lock: str = "") -> None:
    """Remove what killed builds left, and the sources of failures of more than a week ago.

    A build was killed if its lock can be had, or is `lock`, which the caller holds.
    """
    now = time.time()
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir()):
            age = now - path.lstat().st_mtime
            if path.name.startswith(_FAILED) and age > _FAILED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith(_BUILDING):
                with _lock_for_sweeping(directory, _lock_of(path), lock) as abandoned:
                    if abandoned or age > _BUILDING_SECONDS:
                        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _lock_for_sweeping(directory: Path, wanted: str, held: str) -> Iterator[bool]:
    """Tell whether no living builder holds a lock, and hold it meanwhile."""
    if not wanted or wanted == held:
        yield bool(wanted)
        return
    with build_lock(directory, wanted, patience=0) as name:
        yield bool(name)


@contextlib.contextmanager
def build_lock(directory: Path, key: str, patience: float) -> Iterator[str]:
    """Let one process at a time build a thing, so that the others find it finished; give the name of the lock.

    The lock is the kernel's and ends with its process. Where it cannot be had within `patience` seconds, or at all, the
    build goes on without it, and the name is empty.
    """
    lock: FileLock | None = None
    with contextlib.suppress(OSError, NotImplementedError):
        locks = directory / "locks"
        locks.mkdir(mode=0o700, exist_ok=True)
        candidate = FileLock(locks / f"{key[:2]}.lock", timeout=patience)
        candidate.acquire()
        lock = candidate
    try:
        yield key[:2] if lock is not None else ""
    finally:
        if lock is not None:
            lock.release()


def _lock_of(workspace: Path) -> str:
    """The name of the lock that the builder in a workspace holds; empty where it has none."""
    return workspace.name.removeprefix(_BUILDING).partition("-")[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
