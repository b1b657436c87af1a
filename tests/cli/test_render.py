"""What the terminal shows: right numbers, within the width, without colour in files."""

from __future__ import annotations

import math
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from pellucid.cli.curve import learning_curve
from pellucid.cli.numbers import number
from pellucid.cli.progress import progress
from pellucid.cli.render import confusion_table, console, error_table, metric_table

WIDTHS = (40, 53, 80, 200)


def drawn(piece: RenderableType, width: int = 80) -> str:
    """Return what a console of this width shows."""
    stream = StringIO()
    Console(file=stream, width=width, highlight=False).print(piece)
    return stream.getvalue()


def words(piece: RenderableType, width: int = 80) -> list[list[str]]:
    return [line.split() for line in drawn(piece, width).splitlines() if line.strip()]


def plot(curve: str) -> list[str]:
    """Return the rows of the plot, right of the axis."""
    lines = curve.splitlines()
    below = next(index for index, line in enumerate(lines) if "└" in line)
    return [line.replace("┤", "│").split("│")[1] for line in lines[:below]]


LINES = {
    "falling": [1 / (1 + epoch) for epoch in range(100)],
    "constant": [2.0] * 7,
    "zero": [0.0] * 3,
    "one": [3.5],
    "many": [math.sin(epoch) for epoch in range(1000)],
    "gaps": [1.0, math.nan, 2.0, math.inf, 0.5],
    "large": [1e30, 1e-30],
    "negative": [-1e5, -2e5],
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LINES)
def test_a_curve_keeps_to_its_width_and_height(name: str, width: int) -> None:
    for height in (1, 3, 12, 30):
        for validation in (None, [1.5, *LINES[name]]):
            curve = learning_curve(LINES[name], validation, width, height)
            assert max(map(len, curve.splitlines())) <= width
            assert len(plot(curve)) == max(height, 3)
            assert any(mark > "\u2800" for row in plot(curve) for mark in row)


def test_a_falling_curve_starts_at_the_top_left_and_ends_at_the_bottom_right() -> None:
    rows = plot(learning_curve([5.0, 4.0, 3.0, 2.0, 1.0], width=60))
    assert rows[0][0] != " "
    assert rows[0][30:].strip() == rows[-1][:30].strip() == ""
    assert len(rows[-1]) == max(map(len, rows))


def test_the_axis_has_the_largest_and_the_smallest_value() -> None:
    lines = learning_curve([4.0, 2.5], [3.0, 1.25]).splitlines()
    assert lines[0].startswith("4.00 ┤")
    assert lines[11].startswith("1.25 ┤")
    assert lines[13].split() == ["1", "epoch", "2"]


def test_a_wide_range_of_positive_values_has_a_logarithmic_axis() -> None:
    middle = lambda curve: curve.splitlines()[4].split()[0]
    assert middle(learning_curve([100.0, 1.0], height=9)) == "10.0"
    assert middle(learning_curve([19.0, 1.0], height=9)) == "10.0"
    assert middle(learning_curve([400.0, 1.0], height=9)) == "20.0"
    assert middle(learning_curve([100.0, 0.0], height=9)) == "50.0"


def test_two_curves_can_be_told_apart_without_colour() -> None:
    flat = learning_curve([1.0] * 9, [2.0] * 9, width=40, height=5)
    assert set(plot(flat)[0]) == {"⠁"}
    assert set(plot(flat)[-1]) == {"⣀"}
    assert "⠤⠤ train 1.000" in flat
    assert "⠄⠄ validation 2.000" in flat


def test_the_best_epoch_is_named() -> None:
    curve = learning_curve([3.0, 2.0, 1.0], [3.0, 1.5, 2.0])
    assert curve.splitlines()[-2:] == [
        "⠤⠤ train 1.000",
        "⠄⠄ validation 2.000 · lowest 1.500 in epoch 2",
    ]


def test_a_gap_is_left_where_a_loss_is_not_finite() -> None:
    gap = learning_curve([1.0, 1.0, math.nan, 1.0, 1.0], width=60, height=3)
    row = plot(gap)[1]
    assert row[len(row) // 2] == " "
    assert row[0] != " " != row[-1]


def test_no_loss_is_said_so() -> None:
    assert learning_curve([]) == learning_curve([math.nan]) == "no finite loss to draw"


METRICS = {
    "model": {"accuracy": 0.85123, "log_loss": 0.3},
    "baseline": {"accuracy": 0.75},
    "linear": {"accuracy": 0.84, "log_loss": 0.32},
}


def test_metrics_stand_beside_each_other() -> None:
    assert words(metric_table(METRICS))[:1] == [["model", "baseline", "linear"]]
    assert words(metric_table(METRICS))[2:] == [
        ["accuracy", "0.8512", "0.7500", "0.8400"],
        ["log", "loss", "0.3000", "–", "0.3200"],
    ]


def test_a_confusion_table_has_counts_and_shares() -> None:
    table = confusion_table([[8, 2], [0, 0]], ["no", "[bold]yes"])
    assert words(table)[0] == ["true", "\\", "predicted", "no", "[bold]yes", "right"]
    assert words(table)[2:] == [["no", "8", "2", "80%"], ["[bold]yes", "0", "0", "–"]]


def test_a_confusion_table_that_is_too_wide_names_the_usual_mistake() -> None:
    matrix = np.diag([90] * 30)
    matrix[3, 17] = 10
    matrix[5] = 0
    table = confusion_table(matrix.tolist(), range(30), width=60)
    lines = {line[0]: line[1:] for line in words(table, 60)}
    assert lines["3"] == ["100", "90%", "17", "10"]
    assert lines["0"] == ["90", "100%", "–", "–"]
    assert len(lines) == 20 + 2


def test_an_error_table_has_the_quantiles_of_each_range() -> None:
    random = np.random.default_rng(0)
    truth = np.sort(random.normal(50, 10, 100))
    guess = truth + random.normal(0, 3, 100)
    rows = words(error_table(truth.tolist(), guess.tolist(), groups=4))[3:]
    assert len(rows) == 4
    for row, part in zip(rows, np.split(np.arange(100), 4)):
        errors = np.abs(truth - guess)[part]
        quantiles = np.quantile(errors, [0.5, 0.9, 1.0])
        expected = [number(value, 3) for value in (truth[part[-1]], *quantiles)]
        assert row == [expected[0], "25", *expected[1:]]


def test_an_error_table_of_few_rows_has_few_lines() -> None:
    assert len(words(error_table([1.0, 2.0], [1.5, 2.0]))) == 3 + 2
    assert len(words(error_table([], []))) == 3


CLASSES = ["setosa", "versicolor", "virginica"]
PIECES: dict[str, Any] = {
    "metrics": lambda width: metric_table(METRICS),
    "confusion": lambda width: confusion_table(np.eye(3, dtype=int), CLASSES, width),
    "classes": lambda width: confusion_table(np.eye(26, dtype=int), range(26), width),
    "errors": lambda width: error_table([1e5, 2e5, 3e5], [1.2e5, 2e5, 2.5e5]),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PIECES)
def test_a_table_keeps_to_its_width_and_its_numbers_whole(
    name: str, width: int
) -> None:
    piece = PIECES[name](width)
    assert max(map(len, drawn(piece, width).splitlines())) <= width
    figures = {word for line in words(piece, 200) for word in line if word[0].isdigit()}
    assert figures <= {word for line in words(piece, width) for word in line}


def test_numbers_have_few_digits() -> None:
    given = [0.123456, 123456.7, -9.99999, 1e7, 1e-5, math.nan, -math.inf, 0]
    expected = "0.1235 123457 -10.000 1.000e+07 1.000e-05 nan -inf 0"
    assert " ".join(map(number, given)) == expected


@dataclass
class Event:
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


EVENTS = [
    Event("begin", {"epochs": 9, "rows": 90, "steps": 2}),
    Event("step", {"loss": 9.0}),
    Event("epoch", {"epochs": 9, "epoch": 1, "loss": 0.5, "validation_loss": 0.625}),
    Event("epoch", {"epochs": 9, "epoch": 2, "loss": 0.25}),
    Event("early_stop", {"patience": 1, "best_epoch": 1}),
    Event("interrupted", {"kept": "the weights [of] epoch 1"}),
    Event("end", {"reason": "early_stop", "epochs": 2, "iterations": 4}),
    Event("end", {"reason": "finished", "epochs": 2, "iterations": 4}),
]


def test_progress_is_a_line_per_epoch_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress() as show:
        for event in EVENTS:
            show(event)
    output, error = capsys.readouterr()
    assert output == ""
    assert error.splitlines() == [
        "epoch 1/9 · loss 0.5000 · validation 0.6250",
        "epoch 2/9 · loss 0.2500",
        "no better for 1 epochs: keeping epoch 1",
        "interrupted: keeping the weights [of] epoch 1",
        "stopped early after 2 epochs, 4 iterations",
        "finished after 2 epochs, 4 iterations",
    ]


def test_progress_is_silent_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as show:
        for event in EVENTS:
            show(event)
    assert capsys.readouterr() == ("", "")


ON_TERMINAL = """
import sys
sys.path[:0] = [{folder!r}]
from test_render import EVENTS
from pellucid.cli.progress import progress
try:
    with progress() as show:
        for event in EVENTS[:5]:
            show(event)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
"""


def terminal(code: str, **settings: str) -> str:
    """Return what a program writes to a terminal."""
    ours, theirs = pty.openpty()
    names = ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment.update({"TERM": "xterm-256color", **settings})
    subprocess.run(
        [sys.executable, "-c", code], env=environment, stderr=theirs, check=True
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    return written.decode()


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.mark.slow
def test_progress_on_a_terminal_is_a_bar_that_gives_the_cursor_back() -> None:
    shown = terminal(ON_TERMINAL.format(folder=os.path.dirname(__file__)))
    assert "loss 0.2500" in shown
    assert "keeping epoch 1" in shown
    assert "━" in shown
    assert shown.rfind(SHOW_CURSOR) > shown.rfind(HIDE_CURSOR) >= 0


ERROR = "from pellucid.cli import main; main(['nothing'])"


@pytest.mark.slow
def test_an_error_is_red_on_a_terminal_only() -> None:
    assert "\x1b[31mError: no command 'nothing'" in terminal(ERROR)
    assert "\x1b[31m" not in terminal(ERROR, NO_COLOR="1")
    done = subprocess.run([sys.executable, "-c", ERROR], capture_output=True, text=True)
    assert done.stderr.startswith("Error: no command 'nothing' · known: 'train', ")


@pytest.mark.parametrize(("asked", "width"), [(20, 40), (100, 100), (500, 200)])
def test_the_console_is_40_to_200_columns_wide(
    monkeypatch: pytest.MonkeyPatch, asked: int, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(asked))
    assert console().width == width
