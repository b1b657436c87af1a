"""What the page on text shows runs as it is shown."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from pellucid import random
from pellucid.cli import generate

PAGE = (Path(__file__).parents[2] / "docs" / "text.md").read_text()


@pytest.mark.slow
def test_the_pages_code_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "the cat sat on the mat.\nthe dog sat on the log.\n" * 25
    (tmp_path / "rhyme.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["trainer"].history["loss"][-1] < 1.0
    assert names["scores"].shape == (1, 7, 15)
    assert capsys.readouterr().out.endswith("after 'the cat': ' '\n")


def test_the_page_names_every_option_of_writing() -> None:
    options = {*re.findall(r"^\| `--([\w-]+) ", PAGE, re.M)}
    given = {*inspect.signature(generate.run).parameters}
    others = {"model", "prompt", "engine", "device", "xla", "quiet"}
    assert {each.replace("-", "_") for each in options} == given - others
