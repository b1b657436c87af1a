"""A folder of small tables to run commands in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import Done, Run, colour_row, price_row, write_rows
from pellucid.cli.shell import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `prices.csv` and `colours.csv`."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "prices.csv", "size,kind,price", price_row)
    write_rows(tmp_path / "colours.csv", "x,y,colour", colour_row)
    return tmp_path


@pytest.fixture
def pellucid(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in the folder, in this process."""
    monkeypatch.delenv("PELLUCID_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        return Done(code, *capsys.readouterr())

    return run
