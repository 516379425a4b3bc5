"""Real builds of a tiny C function: keys, hits, symbols, processors."""

import ctypes
import os
import shutil

import pytest

from bpcompile import build as build_module
from bpcompile.build import Source, build, default_flags
from bpcompile.errors import BuildError
from bpcompile.toolchain import processor
from bpcompile.toolchain.compiler import find_compiler
from tests.toolchain.tiny import FLAGS, forget, leftovers, needs_compiler, result, tiny


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
        key(Source(**{**vars(tiny()), "parts": 2}))
        monkeypatch.setenv("CC", shutil.which("cc") + " -DX")
        key(tiny())
        monkeypatch.delenv("CC")
        monkeypatch.setattr(processor, "processor_identity", lambda: "another")
        key(tiny())
        assert len(keys) == 8
        key(tiny(), flags=default_flags("-O1", native=False))
        monkeypatch.undo()
        key(tiny(), flags=default_flags("-O1", native=False))
        assert len(keys) == 9

    def test_one_thread_needs_no_code_for_threads(self, cache_path):
        alone, together = (build_module._job(tiny(), find_compiler(), FLAGS, n, 60.0).flags for n in (1, 2))
        assert set(alone) - set(together) == {"-DBP_SERIAL"} and set(together) - set(alone) == {"-pthread"}

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

    def test_parts_are_compiled_side_by_side(self, cache_path):
        source = Source(
            prefix="halves",
            c_text="#if BP_PART == 1\nint halves_inner(void) { return 41; }\n#else\n"
            "int halves_inner(void);\nint halves_f(void) { return halves_inner() + 1; }\n#endif\n",
            cdef_text="int halves_f(void);",
            header_text="int halves_f(void);\n",
            dtype="float32",
            parts=2,
        )
        extension = build(source, flags=FLAGS)
        assert extension.lib.halves_f() == 42
        assert extension.ffi.string(extension.lib.halves_cpu_missing()) == b""

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
