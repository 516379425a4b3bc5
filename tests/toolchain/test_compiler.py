"""Compilers that are missing, fail, die, talk without end, or hang."""

import time
from pathlib import Path

import pytest

from bpcompile.build import Source, build, compiler_available
from bpcompile.errors import BuildError, CompilerMissing
from bpcompile.toolchain import compiler
from bpcompile.toolchain.compiler import run_all
from tests.toolchain.tiny import FLAGS, leftovers, needs_compiler, result, script, tiny


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

    def test_commands_run_side_by_side(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiler, "_cores", lambda: 3)
        begin = time.monotonic()
        outcomes = run_all(
            [["sleep", "0.5"], ["sleep", "0.5"], ["sh", "-c", "exit 7"]], directory=tmp_path, time_limit=30
        )
        assert [outcome.status for outcome in outcomes] == [0, 0, 7]
        assert time.monotonic() - begin < 0.95

    def test_no_more_commands_run_than_there_are_cores(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiler, "_cores", lambda: 1)
        says = ["sh", "-c", "echo begin >> said; sleep 0.1; echo end >> said"]
        run_all([says, says, says], directory=tmp_path, time_limit=30)
        assert (tmp_path / "said").read_text().split() == ["begin", "end"] * 3

    def test_the_time_limit_holds_for_those_that_wait(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compiler, "_cores", lambda: 1)
        begin = time.monotonic()
        outcomes = run_all([["sleep", "9"], ["sleep", "9"]], directory=tmp_path, time_limit=0.3)
        assert [outcome.timed_out for outcome in outcomes] == [True, True]
        assert time.monotonic() - begin < 5


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
