"""Settings: chosen by the table where the user does not, refused where wrong."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pellucid.data.schema import Task
from pellucid.errors import ArgumentError
from pellucid.tabular.settings import TableSettings


@pytest.mark.parametrize(
    ("rows", "epochs", "batch_size", "hidden"),
    [
        (10, (60, 60), 32, (64, 64)),
        (5_000, (60, 60), 32, (64, 64)),
        (9_999, (60, 50), 64, (64, 64)),
        (10_000, (60, 50), 64, (128, 64)),
        (16_512, (60, 30), 128, (128, 64)),
        (32_561, (31, 15), 256, (128, 64)),
        (1_000_000, (10, 10), 256, (128, 64)),
    ],
)
def test_rows_and_task_choose_epochs_batches_and_widths(
    rows: int, epochs: tuple[int, int], batch_size: int, hidden: tuple[int, ...]
) -> None:
    tasks: tuple[Task, Task] = ("regression", "classification")
    for task, each in zip(tasks, epochs, strict=True):
        chosen = TableSettings.suggest(rows, task)
        assert chosen.epochs == each
        assert (chosen.batch_size, chosen.hidden) == (batch_size, hidden)
        assert chosen.patience <= chosen.epochs


def test_what_is_given_comes_first_and_patience_follows_the_epochs() -> None:
    chosen = TableSettings.suggest(50, "classification", epochs=300, lr=0.1)
    assert (chosen.epochs, chosen.lr, chosen.patience) == (300, 0.1, 100)
    assert TableSettings.suggest(50, "regression", patience=7).patience == 7


def test_the_task_chooses_the_weight_decay() -> None:
    decays = [
        TableSettings.suggest(50, task).weight_decay  # type: ignore[arg-type]
        for task in ("classification", "regression")
    ]
    assert decays[0] > decays[1]


def test_settings_come_back_from_json_as_they_were() -> None:
    settings = TableSettings.suggest(99, "regression", hidden=(3,), drop=("a", "b"))
    plain = json.loads(json.dumps(settings.to_dict()))
    assert TableSettings.from_dict(plain) == settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "epochs=0 · expected a whole number from 1"),
        ("epochs", 1.5, "epochs=1.5 · expected a whole number from 1"),
        ("epochs", True, "epochs=True · expected a whole number from 1"),
        ("batch_size", -1, "batch_size=-1 · expected a whole number from 1"),
        ("patience", 0, "patience=0 · expected a whole number from 1"),
        ("hidden", (8, 0), "hidden=(8, 0) · expected a whole number from 1 for each"),
        ("hidden", 8, "hidden=8 · expected a whole number from 1 for each layer"),
        ("dropout", 1.0, "dropout=1.0 · expected a share from 0 to below 1"),
        ("lr", 0.0, "lr=0.0 · expected a number above 0"),
        ("lr", math.nan, "lr=nan · expected a number above 0"),
        ("weight_decay", -0.1, "weight_decay=-0.1 · expected a number from 0"),
        ("validation", 1, "validation=1 · expected a share between 0 and 1"),
        ("test_size", 1.0, "test_size=1.0 · expected a share below 1"),
        ("seed", -1, "seed=-1 · expected a whole number from 0"),
        ("activation", "rellu", "no activation 'rellu' · did you mean 'relu'?"),
        ("engine", "nunpy", "no engine named 'nunpy' · did you mean 'numpy'?"),
        ("epoch", 3, "no setting named 'epoch' · did you mean 'epochs'?"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(name: str, value: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as found:
        TableSettings.suggest(50, "regression", **{name: value})
    assert str(found.value).startswith(words)
