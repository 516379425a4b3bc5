"""Real builds of a tiny C function, and everything that may go wrong around them."""

import ctypes
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest

from bpcompile import build as build_module
from bpcompile.build import Source, build, compiler_available, default_flags, extension_file_name, write_package
from bpcompile.errors import BPCompileWarning, BuildError, CompilerMissing
from bpcompile.toolchain import cache, processor
from bpcompile.toolchain.compiler import find_compiler, run_all

ROOT = Path(__file__).resolve().parents[2]
FLAGS = default_flags("-O1")
PACKAGE_FILES = {"__init__.py": "from ._tiny import ffi, lib\n"}

needs_compiler = pytest.mark.skipif(not compiler_available(), reason="there is no C compiler")


def tiny(constant: int = 1, prefix: str = "tiny") -> Source:
    signature = f"void {prefix}_add(double *x, long n)"
    return Source(
        prefix=prefix,
        c_text=f'#include "{prefix}.h"\n\n{signature}\n{{\n    for (long i = 0; i < n; i++)\n'
        f"        x[i] += {constant};\n}}\n",
        cdef_text=f"{signature};",
        header_text=f"{signature};\n",
        dtype="float64",
    )


def result(extension, prefix: str = "tiny") -> float:
    x = extension.ffi.new("double[]", [2.0])
    getattr(extension.lib, f"{prefix}_add")(x, 1)
    return x[0]


@pytest.fixture
def cache_path(tmp_path, monkeypatch):
    """A cache of its own for each test, and a process that has loaded nothing yet."""
    path = tmp_path / "cache"
    monkeypatch.setenv("BPCOMPILE_CACHE_DIR", str(path))
    monkeypatch.delenv("CC", raising=False)
    forget()
    yield path
    forget()


def forget():
    build_module._loaded.clear()


def script(path: Path, text: str) -> str:
    """A compiler of our own: it answers --version, and then does what the text says."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo "fake 1.0"; exit 0; fi\n{text}\n')
    path.chmod(0o755)
    return str(path)


def leftovers(path: Path) -> list[str]:
    return [p.name for p in path.iterdir() if p.name.startswith(".building-")]


@needs_compiler
class TestBuild:
    def test_builds_and_runs(self, cache_path):
        extension = build(tiny(3), flags=FLAGS)
        assert result(extension) == 5.0
        assert not extension.cached
        assert extension.path.parent.parent == cache_path
        assert (extension.source_directory / "tiny.c").read_text() == tiny(3).c_text
        assert leftovers(cache_path) == []

    def test_says_nothing(self, cache_path, capfd):
        build(tiny(), flags=FLAGS)
        assert capfd.readouterr() == ("", "")

    def test_second_build_is_a_cache_hit(self, cache_path):
        first = build(tiny(), flags=FLAGS)
        again = build(tiny(), flags=FLAGS)
        assert again.cached and again.lib is first.lib
        forget()
        second = build(tiny(), flags=FLAGS)
        assert second.cached
        assert second.path == first.path
        assert second.seconds < 0.05 < first.seconds
        assert result(second) == 3.0

    def test_same_prefix_different_text(self, cache_path):
        one, two = build(tiny(1), flags=FLAGS), build(tiny(2), flags=FLAGS)
        assert (result(one), result(two)) == (3.0, 4.0)

    def test_key_covers_flags_threads_compiler_and_text(self, cache_path, monkeypatch):
        keys = set()

        def key(source, flags=FLAGS, threads=1):
            keys.add(build_module._job(source, find_compiler(), flags, threads, 60.0).key)

        key(tiny())
        key(tiny())
        assert len(keys) == 1
        key(tiny(2))
        key(tiny(), flags=default_flags("-O2"))
        key(tiny(), threads=2)
        key(Source(**{**vars(tiny()), "dtype": "float32"}))
        monkeypatch.setenv("CC", shutil.which("cc") + " -DX")
        key(tiny())
        monkeypatch.delenv("CC")
        monkeypatch.setattr(processor, "processor_identity", lambda: "another")
        key(tiny())
        assert len(keys) == 7
        key(tiny(), flags=default_flags("-O1", native=False))
        monkeypatch.undo()
        key(tiny(), flags=default_flags("-O1", native=False))
        assert len(keys) == 8

    def test_extra_units_are_linked(self, cache_path):
        source = Source(
            prefix="both",
            c_text="int both_inner(void); int both_f(void) { return both_inner() + 1; }\n",
            cdef_text="int both_f(void);",
            header_text="int both_f(void);\n",
            dtype="float32",
            extra_units=(("both_more.c", "int both_inner(void) { return 41; }\n"),),
        )
        assert build(source, flags=FLAGS, threads=2).lib.both_f() == 42

    def test_nothing_but_the_module_is_exported(self, cache_path):
        extension = build(tiny(), flags=FLAGS)
        with pytest.raises(AttributeError):
            _ = ctypes.CDLL(str(extension.path)).tiny_add

    @pytest.mark.parametrize("prefix", ["", "2x", "a-b", "a b", "a" * 65, "é", "a\n"])
    def test_prefix_must_be_an_identifier(self, prefix):
        with pytest.raises(BuildError, match="identifier"):
            tiny(prefix=prefix)

    def test_relative_cache_directory(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BPCOMPILE_CACHE_DIR", "here")
        assert result(build(tiny(), flags=FLAGS)) == 3.0
        assert (tmp_path / "here").is_dir()


@needs_compiler
class TestProcessor:
    def test_this_processor_has_what_is_native(self, cache_path):
        extension = build(tiny(), flags=FLAGS)
        assert extension.ffi.string(extension.lib.tiny_cpu_missing()) == b""

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="the features are those of x86")
    def test_a_feature_that_is_missing_is_named(self, cache_path, monkeypatch):
        # A bit that no processor has: leaf 1, ECX, bit 31 is the one that hypervisors set; EDX bit 10 is reserved.
        odd = processor.Feature("imaginary", "__SSE2__", 1, 0, 3, 10)
        monkeypatch.setattr(processor, "_X86_FEATURES", (odd,))
        with pytest.raises(BuildError, match="imaginary"):
            build(tiny(), flags=FLAGS)


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

    def test_old_leftovers_are_swept(self, cache_path):
        cache_path.mkdir(mode=0o700)
        old, young = cache_path / ".building-old", cache_path / ".building-young"
        for path in (old, young):
            path.mkdir()
        os.utime(old, (time.time() - 1e5, time.time() - 1e5))
        build(tiny(), flags=FLAGS)
        assert not old.exists() and young.exists()


PROGRAM = """
import sys
from bpcompile.build import Source, build, default_flags
constant = int(sys.argv[1])
source = Source("tiny", "void tiny_add(double *x, long n) { for (long i = 0; i < n; i++) x[i] += %d; }" % constant,
                "void tiny_add(double *x, long n);", "void tiny_add(double *x, long n);", "float64")
extension = build(source, flags=default_flags("-O1"))
x = extension.ffi.new("double[]", [2.0])
extension.lib.tiny_add(x, 1)
assert x[0] == 2.0 + constant, x[0]
print("cached" if extension.cached else "built")
"""


def start(constant: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(constant)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_compiler
class TestProcesses:
    def test_many_at_once_compile_once(self, cache_path):
        processes = [start(1) for _ in range(4)]
        outputs = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, outputs
        assert sorted(out.strip() for out, _ in outputs) == ["built", "cached", "cached", "cached"]
        assert leftovers(cache_path) == []

    def test_killed_builds_do_not_hurt_the_next(self, cache_path):
        for number in range(6):
            process = start(1)
            deadline = time.monotonic() + 60
            while not leftovers_of(cache_path) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(0.02 * number)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        last = start(1)
        out, err = last.communicate(timeout=60)
        assert last.returncode == 0, err
        assert out.strip() in ("built", "cached")


def leftovers_of(path: Path) -> list[str]:
    return leftovers(path) if path.is_dir() else []


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

        def refuse(directory):
            if directory == cache_path:
                raise OSError(30, "Read-only file system")
            return real(directory)

        monkeypatch.setattr(cache, "new_workspace", refuse)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert build(tiny(1), flags=FLAGS).cached
        with pytest.warns(BPCompileWarning, match="Read-only file system"):
            assert result(build(tiny(2), flags=FLAGS)) == 4.0

    def test_no_room_anywhere(self, cache_path, monkeypatch):
        def refuse(directory):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "new_workspace", refuse)
        with pytest.raises(BuildError, match=r"no place to build.*No space left.*No space left"):
            build(tiny(), flags=FLAGS)

    def test_full_disk(self, cache_path):
        cache_path.mkdir(mode=0o700)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(cache_path)], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("a small tmpfs cannot be mounted here: " + mounted.stderr.decode(errors="replace").strip())
        try:
            with pytest.warns(BPCompileWarning, match="No space left"):
                assert result(build(tiny(), flags=FLAGS)) == 3.0
            assert leftovers(cache_path) == []
        finally:
            subprocess.run(["umount", "-l", str(cache_path)], check=True)


class TestCompiler:
    @needs_compiler
    def test_error_in_the_text(self, cache_path):
        broken = Source("bad", "int bad_f(void) { return nothing_here; }\n", "int bad_f(void);", "", "float64")
        with pytest.raises(BuildError) as caught:
            build(broken, flags=FLAGS)
        message = str(caught.value)
        assert "bad.c:1" in message and "nothing_here" in message
        (kept,) = cache_path.glob("failed-*")
        assert str(kept) in message
        assert (kept / "bad.c").read_text() == broken.c_text
        assert "nothing_here" in (kept / "compiler_output.txt").read_text()
        assert leftovers(cache_path) == []
        assert result(build(tiny(), flags=FLAGS)) == 3.0

    def test_failing(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.setenv("CC", script(tmp_path / "fake", "echo 'out of luck' >&2; exit 3"))
        with pytest.raises(BuildError, match=r"status 3.*fake 1\.0(.|\n)*out of luck"):
            build(tiny(), flags=FLAGS)

    def test_success_without_a_result(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.setenv("CC", script(tmp_path / "fake", "exit 0"))
        with pytest.raises(BuildError):
            build(tiny(), flags=FLAGS)

    def test_killed_by_a_signal(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.setenv("CC", script(tmp_path / "fake", "kill -9 $$"))
        with pytest.raises(BuildError, match="signal 9"):
            build(tiny(), flags=FLAGS)

    def test_printing_megabytes(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.setenv("CC", script(tmp_path / "fake", "yes warning | head -c 5000000; exit 1"))
        with pytest.raises(BuildError) as caught:
            build(tiny(), flags=FLAGS)
        assert len(str(caught.value)) < 6000
        assert "4,99" in str(caught.value)
        (kept,) = cache_path.glob("failed-*")
        assert (kept / "compiler_output.txt").stat().st_size < 100_000

    def test_hanging(self, cache_path, tmp_path, monkeypatch):
        pids = tmp_path / "pids"
        monkeypatch.setenv("CC", script(tmp_path / "fake", f"sleep 600 & echo $! >> {pids}; wait"))
        begin = time.monotonic()
        with pytest.raises(BuildError, match=r"not done after 0\.5 seconds"):
            build(tiny(), flags=FLAGS, time_limit=0.5)
        assert time.monotonic() - begin < 20
        time.sleep(0.1)
        children = pids.read_text().split()
        assert children and not any(is_running(int(pid)) for pid in children)

    @pytest.mark.parametrize("name", ["no-such-compiler", "'unbalanced"])
    def test_chosen_one_is_missing(self, cache_path, monkeypatch, name):
        monkeypatch.setenv("CC", name)
        with pytest.raises(CompilerMissing, match="CC"):
            build(tiny())
        assert not compiler_available()

    def test_none_at_all(self, cache_path, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(CompilerMissing, match="no C compiler was found") as caught:
            build(tiny())
        assert "pip install 'bpcompile[zig]'" in str(caught.value)
        assert "numpy" in str(caught.value)

    def test_not_executable_as_a_program(self, cache_path, tmp_path, monkeypatch):
        path = tmp_path / "text"
        path.write_text("\x7fnothing")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        with pytest.raises(BuildError, match="cannot be started"):
            build(tiny())

    @needs_compiler
    def test_arguments_in_CC(self, cache_path, monkeypatch):
        monkeypatch.setenv("CC", "cc -DONE=1")
        source = Source("arg", "int arg_f(void) { return ONE; }\n", "int arg_f(void);", "int arg_f(void);\n", "float64")
        assert build(source, flags=FLAGS).lib.arg_f() == 1

    def test_commands_run_side_by_side(self, tmp_path):
        begin = time.monotonic()
        outcomes = run_all(
            [["sleep", "0.5"], ["sleep", "0.5"], ["sh", "-c", "exit 7"]], directory=tmp_path, time_limit=30
        )
        assert [outcome.status for outcome in outcomes] == [0, 0, 7]
        assert time.monotonic() - begin < 0.95


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_compiler
class TestPackage:
    def test_imports_without_bpcompile(self, cache_path, tmp_path):
        package = write_package(tiny(), tmp_path / "out", name="standalone", files=PACKAGE_FILES, flags=FLAGS)
        assert sorted(path.name for path in package.iterdir()) == sorted(
            ["__init__.py", "tiny.c", "tiny.h", extension_file_name("tiny")]
        )
        program = textwrap.dedent("""
            import standalone, sys, json
            x = standalone.ffi.new("double[]", [1.0])
            standalone.lib.tiny_add(x, 1)
            names = [m for m in ("bpcompile", "sympy", "jinja2", "cffi", "numpy") if m in sys.modules]
            print(json.dumps([x[0], standalone.ffi.string(standalone.lib.tiny_cpu_missing()).decode(), names]))
        """)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path / "out", capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [2.0, "", []]

    def test_writing_again_keeps_what_is_loaded_and_what_is_not_ours(self, cache_path, tmp_path):
        package = write_package(tiny(1), tmp_path, name="twice", files=PACKAGE_FILES, flags=FLAGS)
        (package / "notes.txt").write_text("mine")
        library = (package / extension_file_name("tiny")).stat().st_ino
        write_package(tiny(2), tmp_path, name="twice", files=PACKAGE_FILES, flags=FLAGS)
        assert (package / extension_file_name("tiny")).stat().st_ino != library
        assert "+= 2" in (package / "tiny.c").read_text()
        assert (package / "notes.txt").read_text() == "mine"

    def test_directory_that_cannot_be_written(self, cache_path, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(BuildError, match="cannot be written"):
            write_package(tiny(), tmp_path / "file", name="p", files=PACKAGE_FILES, flags=FLAGS)

    @pytest.mark.parametrize("name", ["../up", "a/b", "", "1a", "a.b"])
    def test_name_is_no_path(self, tmp_path, name):
        with pytest.raises(BuildError, match="cannot be called"):
            write_package(tiny(), tmp_path, name=name, files=PACKAGE_FILES)

    @pytest.mark.parametrize("name", ["../evil.py", "/etc/x", ".hidden", ""])
    def test_file_name_is_no_path(self, tmp_path, name):
        with pytest.raises(BuildError, match="plain file name"):
            write_package(tiny(), tmp_path, name="p", files={name: ""})
