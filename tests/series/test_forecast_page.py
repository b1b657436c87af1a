"""The page on forecasting shows what runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pellucid.cli.shell import application
from series.made import days, wave

PAGE = Path(__file__).parents[2] / "docs" / "forecasting.md"


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = days(wave(120, season=7)).rename({"day": "Date", "sold": "Temp"})
    table.write_csv("temperatures.csv")
    table.head(60).write_csv("newer.csv")
    of_forecast, of_windows = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict = {}
    exec(of_forecast.replace('"season": 365', '"season": 7, "epochs": 2'), names)
    assert Path("temperatures.pellucid").exists()
    assert names["trained"].report.season == 7
    exec(of_windows.replace("5000", "400").replace("epochs=5", "epochs=1"), names)
    found = names["trainer"].predict(names["windows"])
    assert found.shape == (374, 3)
    assert np.isfinite(found).all()


def test_every_option_of_the_page_is_one() -> None:
    given = set(re.findall(r"(?<![\w|-])(--[a-z][a-z-]*)", PAGE.read_text()))
    group = application()
    known = {
        name
        for command in ("forecast", "inspect")
        for each in group.get_command(None, command).params
        for name in each.opts
    }
    assert given
    assert given <= known
