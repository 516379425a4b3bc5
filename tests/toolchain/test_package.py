"""Packages written into a directory: what is in them, and that they import alone."""

import json
import subprocess
import sys
import textwrap

import pytest

from bpcompile.build import extension_file_name, write_package
from bpcompile.errors import BuildError
from tests.toolchain.tiny import FLAGS, needs_compiler, tiny

PACKAGE_FILES = {"__init__.py": "from ._tiny import ffi, lib\n"}


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
