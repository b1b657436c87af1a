"""The command line's shell: every end of a command is a line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pellucid import __version__, errors
from pellucid.cli.shell import COMMANDS, application, main

COMMAND = '''
"""A command for tests."""

from typing import Annotated

import typer

from pellucid import errors


def run(
    end: Annotated[str, typer.Argument(help="How to end.")] = "",
    times: int = 1,
) -> None:
    """Do as told."""
    for _ in range(times):
        print("a result")
    if end:
        raise eval(end)
'''

EXIT_CODES = {
    errors.ArgumentError: 2,
    errors.DTypeError: 2,
    errors.DataError: 2,
    errors.EngineError: 1,
    errors.LostHostError: 1,
    errors.GradientError: 1,
    errors.GraphError: 1,
    errors.MissingExtraError: 1,
    errors.ModelFileError: 2,
    errors.NoValueError: 1,
    errors.NonFiniteError: 1,
    errors.NotFittedError: 2,
    errors.PellucidError: 1,
    errors.ShapeError: 2,
}


@pytest.fixture
def do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run the shell with one command, `act`; return code, output, error output."""
    (tmp_path / "act_for_tests.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("PELLUCID_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments, {"act": "act_for_tests"})
        return code, *capsys.readouterr()

    return run


def test_a_command_runs_and_its_result_is_all_of_standard_output(do: Any) -> None:
    assert do("act") == (0, "a result\n", "")


def test_the_version_is_printed(do: Any) -> None:
    assert do("--version") == (0, f"pellucid {__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_the_commands(do: Any, arguments: tuple[str, ...]) -> None:
    code, output, error = do(*arguments)
    assert (code, error) == (0, "")
    assert "act" in output
    assert "Do as told." in output


def test_help_of_a_command_has_its_options(do: Any) -> None:
    code, output, _ = do("act", "--help")
    assert code == 0
    assert "How to end." in output
    assert "--times" in output


@pytest.mark.parametrize("kind", EXIT_CODES, ids=lambda kind: kind.__name__)
def test_an_error_of_ours_is_one_line_with_its_exit_code(do: Any, kind: type) -> None:
    code, _, error = do("act", f"errors.{kind.__name__}('got [red]f32[8,3] · a.py:3')")
    assert code == EXIT_CODES[kind]
    assert error == "Error: got [red]f32[8,3] · a.py:3\n"


def test_every_error_of_ours_has_an_exit_code() -> None:
    kinds = {getattr(errors, name) for name in errors.__all__ if name[0].isupper()}
    assert kinds == set(EXIT_CODES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("atc",), "no command 'atc' · did you mean 'act'?"),
        (("act", "--tims", "3"), "no such option: --tims "),
        (("act", "--times", "three"), "invalid value for '--times': "),
        (("act", "a", "b"), "got unexpected extra argument"),
        (("--verbose",), "no such option: --verbose"),
    ],
)
def test_wrong_use_is_one_line(do: Any, arguments: tuple[str, ...], words: str) -> None:
    code, output, error = do(*arguments)
    assert (code, output) == (2, "")
    assert error.startswith(f"Error: {words}")
    assert error.count("\n") == 1
    assert error.endswith("help'\n") or "did you mean" in error


def test_a_long_line_is_not_broken(do: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert do("act", "errors.DataError('word ' * 50)")[2].count("\n") == 1
    assert do("act", r"errors.DataError('two\nlines')")[2] == "Error: two lines\n"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("OSError(28, 'No space left on device', 'm')", "the disk is full · m"),
        ("PermissionError(13, 'Permission denied', 'm')", "permission denied · m"),
        ("OSError('odd')", "odd"),
        ("MemoryError()", "not enough memory"),
    ],
)
def test_an_error_of_the_system_is_put_in_words(do: Any, end: str, words: str) -> None:
    assert do("act", end) == (1, "a result\n", f"Error: {words}\n")


@pytest.mark.parametrize("end", ["KeyboardInterrupt()", "typer.Abort()"])
def test_an_interruption_has_the_usual_exit_code(do: Any, end: str) -> None:
    assert do("act", end) == (130, "a result\n", "Interrupted\n")


def test_a_command_may_choose_its_exit_code(do: Any) -> None:
    assert do("act", "typer.Exit(7)") == (7, "a result\n", "")


def test_a_fault_of_ours_is_named_so_and_tells_how_to_see_more(
    do: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = do("act", "ZeroDivisionError('by zero')")
    assert code == 1
    assert error == (
        "Error: this is a fault in Pellucid · ZeroDivisionError: by zero · "
        "set PELLUCID_TRACEBACK=1 to see where, and please report it\n"
    )
    monkeypatch.setenv("PELLUCID_TRACEBACK", "1")
    error = do("act", "ZeroDivisionError('by zero')")[2]
    assert error.startswith("Traceback (most recent call last):")
    assert "this is a fault in Pellucid" in error


def shell(command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the system's shell in which $ACT is the command for tests."""
    (tmp_path / "act_for_tests.py").write_text(COMMAND)
    (tmp_path / "act.py").write_text(
        "import sys; from pellucid.cli.shell import main\n"
        "sys.exit(main(None, {'act': 'act_for_tests'}))"
    )
    environment = {**os.environ, "ACT": f"{sys.executable} {tmp_path / 'act.py'} act"}
    for name in ("PYTHONUNBUFFERED", "PELLUCID_TRACEBACK"):
        environment.pop(name, None)
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("arguments", ["", "'typer.Exit(0)'"])
def test_an_output_that_cannot_be_written_is_reported(
    tmp_path: Path, arguments: str
) -> None:
    done = shell(f"ulimit -f 0; $ACT {arguments} > {tmp_path / 'output'}", tmp_path)
    assert (done.returncode, done.stderr) == (1, "Error: file too large\n")


def test_a_reader_that_stops_early_is_reported(tmp_path: Path) -> None:
    done = shell("$ACT --times 100000 | head -1; exit ${PIPESTATUS[0]}", tmp_path)
    assert (done.returncode, done.stdout) == (1, "a result\n")
    assert done.stderr == "Error: the reader of the output stopped before its end\n"


@pytest.mark.slow
def test_closed_outputs_are_no_fault(tmp_path: Path) -> None:
    assert shell("$ACT >&- 2>&-", tmp_path).returncode == 0
    assert shell("$ACT --nothing 2>&-", tmp_path).returncode == 2


def test_the_module_and_the_console_script_are_the_shell() -> None:
    for command in (
        [sys.executable, "-m", "pellucid"],
        [str(Path(sys.executable).with_name("pellucid"))],
    ):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"pellucid {__version__}\n")


def test_a_shell_completes_the_names_of_commands() -> None:
    environment = {
        **os.environ,
        "_PELLUCID_COMPLETE": "complete_bash",
        "COMP_WORDS": "pellucid --vers",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pellucid"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "--version")


def test_every_row_has_a_command_with_help() -> None:
    group = application()
    with group.make_context("pellucid", ["--help"], resilient_parsing=True) as context:
        for name in COMMANDS:
            assert group.get_command(context, name).help, name


HEAVY = ("numpy", "polars", "sklearn", "safetensors", "llvmlite", "jax", "narwhals")


def test_help_is_quick_and_loads_nothing_that_computes() -> None:
    """Counted in the processor's time, which other programs do not lengthen."""
    code = (
        "import sys, time; from pellucid.cli import main; main(['--help'])\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)\n"
        "print(time.process_time(), file=sys.stderr)"
    )
    seconds = []
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        loaded, spent = done.stderr.splitlines()
        assert loaded == "[]"
        seconds.append(float(spent))
    assert min(seconds) < 0.3
