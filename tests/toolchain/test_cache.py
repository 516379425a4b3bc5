"""The cache: damaged entries, what dead builders left, and directories that cannot or must not be used."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from bpcompile.build import Source, build
from bpcompile.errors import BPCompileWarning, BuildError
from bpcompile.toolchain import cache
from tests.toolchain.tiny import FLAGS, forget, leftovers, needs_compiler, result, tiny

ROOT = Path(__file__).resolve().parents[2]
LIMITED = """
import resource, sys
from bpcompile.build import build
from bpcompile.errors import BuildError
from tests.toolchain.tiny import FLAGS, tiny
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    build(tiny(), flags=FLAGS)
except BuildError as error:
    print(error)
"""


@contextlib.contextmanager
def small_disk(path, size):
    """A disk of its own for the cache."""
    path.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here: " + mounted.stderr.decode(errors="replace").strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@needs_compiler
class TestDamage:
    @pytest.mark.parametrize("harm", ["truncate", "tamper", "no manifest", "bad manifest", "no extension", "a file"])
    def test_damaged_entry_is_built_again(self, cache_path, harm):
        extension = build(tiny(), flags=FLAGS)
        entry, shared_object = extension.source_directory, extension.path
        content = shared_object.read_bytes()
        shared_object.unlink()  # the one that is loaded stays as it is
        if harm == "truncate":
            shared_object.write_bytes(content[: len(content) // 2])
        elif harm == "tamper":
            middle = len(content) // 2
            shared_object.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        elif harm == "no manifest":
            shared_object.write_bytes(content)
            (entry / "manifest.json").unlink()
        elif harm == "bad manifest":
            shared_object.write_bytes(content)
            (entry / "manifest.json").write_text('["sha256"]')
        elif harm == "a file":
            shutil.rmtree(entry)
            entry.write_text("not a directory")
        forget()
        again = build(tiny(), flags=FLAGS)
        assert not again.cached
        assert result(again) == 3.0
        assert leftovers(cache_path) == []

    def test_manifest_of_another_key_is_not_believed(self, cache_path):
        one, two = build(tiny(1), flags=FLAGS), build(tiny(2), flags=FLAGS)
        shutil.rmtree(two.source_directory)
        shutil.copytree(one.source_directory, two.source_directory)
        forget()
        again = build(tiny(2), flags=FLAGS)
        assert not again.cached and result(again) == 4.0

    def test_leftovers_are_swept(self, cache_path):
        """Of builders that died; not of those that hold their lock, nor, unless they are old, of those that have none."""
        cache_path.mkdir(mode=0o700)
        names = ("dead", "alive", "without-old", "without-young")
        dead, alive, old, young = (cache_path / f".building-{lock}-{n}" for lock, n in zip(("x1", "x2", "", ""), names, strict=True))
        for path in (dead, alive, old, young):
            path.mkdir()
        os.utime(old, (time.time() - 1e5, time.time() - 1e5))
        with cache.build_lock(cache_path, "x2", patience=0):
            build(tiny(), flags=FLAGS)
        assert not dead.exists() and alive.exists() and not old.exists() and young.exists()

    def test_failures_of_one_thing_are_kept_once(self, cache_path):
        broken = Source("bad", "int bad_f(void) { return nothing_here; }\n", "int bad_f(void);", "", "float64")
        for _ in range(3):
            with pytest.raises(BuildError, match="nothing_here"):
                build(broken, flags=FLAGS)
        (kept,) = cache_path.glob("failed-*")
        assert (kept / "bad.c").read_text() == broken.c_text
        assert leftovers(cache_path) == []


@needs_compiler
class TestCacheDirectory:
    def test_is_private(self, cache_path):
        build(tiny(), flags=FLAGS)
        assert stat.S_IMODE(cache_path.stat().st_mode) == 0o700

    def test_writable_by_others_is_refused(self, cache_path):
        cache_path.mkdir()
        cache_path.chmod(0o777)
        with pytest.warns(BPCompileWarning, match="others may write"):
            extension = build(tiny(), flags=FLAGS)
        assert result(extension) == 3.0
        assert list(cache_path.iterdir()) == []

    def test_of_another_user_is_refused(self, cache_path, monkeypatch):
        build(tiny(), flags=FLAGS)
        forget()
        monkeypatch.setattr(os, "geteuid", lambda: cache_path.stat().st_uid + 1)
        with pytest.warns(BPCompileWarning, match="another user"):
            assert not build(tiny(), flags=FLAGS).cached

    def test_file_in_its_place(self, cache_path):
        cache_path.write_text("in the way")
        with pytest.warns(BPCompileWarning, match="cannot be used"):
            assert result(build(tiny(), flags=FLAGS)) == 3.0

    def test_read_only_is_read_and_not_written(self, cache_path, monkeypatch):
        build(tiny(1), flags=FLAGS)
        forget()

        real = cache.new_workspace

        def refuse(directory, lock):
            if directory == cache_path:
                raise OSError(30, "Read-only file system")
            return real(directory, lock)

        monkeypatch.setattr(cache, "new_workspace", refuse)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert build(tiny(1), flags=FLAGS).cached
        with pytest.warns(BPCompileWarning, match="Read-only file system"):
            assert result(build(tiny(2), flags=FLAGS)) == 4.0

    def test_no_room_anywhere(self, cache_path, tmp_path, monkeypatch):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(elsewhere))

        def refuse(directory, lock):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "new_workspace", refuse)
        with pytest.raises(BuildError, match=r"no place to build.*No space left.*No space left"):
            build(tiny(), flags=FLAGS)
        assert list(elsewhere.iterdir()) == []

    @pytest.mark.parametrize("kilobytes", [8, 24, 64])
    def test_full_disk(self, cache_path, kilobytes):
        with small_disk(cache_path, f"{kilobytes}k"):
            with pytest.warns(BPCompileWarning, match="No space left"):
                assert result(build(tiny(), flags=FLAGS)) == 3.0
            assert leftovers(cache_path) == []

    def test_read_only_disk(self, cache_path):
        with small_disk(cache_path, "4m"):
            build(tiny(1), flags=FLAGS)
            subprocess.run(["mount", "-o", "remount,ro", str(cache_path)], check=True)
            forget()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert build(tiny(1), flags=FLAGS).cached
            with pytest.warns(BPCompileWarning, match="Read-only file system"):
                assert result(build(tiny(2), flags=FLAGS)) == 4.0

    @pytest.mark.parametrize("most", [1000, 12_000])
    def test_files_that_may_not_grow(self, cache_path, most):
        """Everywhere the disk is as good as full, for Python's files or for the compiler's."""
        done = subprocess.run([sys.executable, "-c", LIMITED, str(most)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert "no place to build in" in done.stdout and "File too large" in done.stdout
        assert leftovers(cache_path) == []
