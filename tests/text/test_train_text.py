"""From a text to a model in a file: baselines, training, replay, settings, errors."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid import nn
from pellucid.errors import ArgumentError, DataError, ModelFileError
from pellucid.random import key_of, keys_from
from pellucid.runs.model import load_model
from pellucid.tabular.model import TableModel
from pellucid.text.baseline import bigram_nats, unigram_nats
from pellucid.text.model import TextModel
from pellucid.text.preparing import prepare_text, trainer_for
from pellucid.text.rerun import replay_step
from pellucid.text.settings import MODELS, TextSettings
from pellucid.text.source import find_text, read_source
from pellucid.text.training import TrainedText, train_text

TEXT = "the cat sat on the mat.\nthe dog sat on the log.\n" * 25
SMALL = {"model": "gru", "width": 24, "context": 12, "epochs": 24, "lr": 0.02}
SMALL["batch_size"] = 30  # no rest, so that there is less to compile
NATS = "nats_per_character"


@pytest.fixture(scope="module")
def trained() -> TrainedText:
    return train_text(TEXT, SMALL)


# --- models that cost nothing ----------------------------------------------------


def test_counted_models_are_the_formulas_written_as_loops() -> None:
    rng = np.random.default_rng(0)
    size, text = 5, rng.integers(0, 4, 60)
    before, targets = rng.integers(0, 5, 30), rng.integers(0, 5, 30)
    shares = [(np.sum(text == c) + 1) / (60 + size) for c in range(size)]
    expected = -np.mean([math.log(shares[c]) for c in targets])
    assert unigram_nats(text, targets, size) == pytest.approx(expected)
    logs = []
    for b, c in zip(before, targets):
        pairs = sum(text[i] == b and text[i + 1] == c for i in range(59))
        came = sum(text[i] == b for i in range(59))
        logs.append(math.log((pairs + shares[c]) / (came + 1)))
    assert bigram_nats(text, before, targets, size) == pytest.approx(-np.mean(logs))


# --- training --------------------------------------------------------------------


def test_a_network_learns_more_than_counts_can_know(trained: TrainedText) -> None:
    report = trained.report
    assert (
        report.metrics[NATS] < 0.5 * report.linear[NATS] < 0.5 * report.baseline[NATS]
    )
    assert report.baseline[NATS] < math.log(report.vocabulary)
    assert report.metrics["perplexity"] == pytest.approx(math.exp(report.metrics[NATS]))
    assert report.rows == len(TEXT) == 1200
    assert (report.train_rows, report.validation_rows) == (1080, 108)
    assert (report.vocabulary, report.test_rows) == (len(set(TEXT)), 0)
    sizes = [each.size for each in trained.model.module.parameters()]
    assert report.parameters == sum(sizes)


def test_what_is_reported_is_measured_on_the_end_with_the_best_weights(
    trained: TrainedText,
) -> None:
    report, history = trained.report, trained.model.history
    best = min(row["validation_loss"] for row in history)
    assert report.metrics[NATS] == pytest.approx(best, rel=1e-5)
    assert trained.model.nats(TEXT[1080:]) == pytest.approx(best, rel=1e-5)


def test_windows_are_drawn_from_every_place() -> None:
    prepared = prepare_text(TEXT, SMALL)
    windows = np.asarray(prepared.training.inputs)
    assert len(windows) == 1080 - 12
    np.testing.assert_array_equal(windows[7], prepared.fitting[7:19])
    targets = np.asarray(prepared.training.targets)
    np.testing.assert_array_equal(targets[7], prepared.fitting[8:20])
    judged = np.asarray(prepared.validation.targets).reshape(-1)
    np.testing.assert_array_equal(judged, prepared.judging[1:109])


def test_the_settings_make_the_network() -> None:
    sizes = {"width": 16, "layers": 2, "heads": 2, "context": 12, "dropout": 0.1}
    made: Any = trainer_for(prepare_text(TEXT, {**sizes, "seed": 3})).model
    with keys_from(key_of(3)):
        expected = nn.TransformerLanguageModel(15, 12, 2, 2, 16, 0.1)
    assert repr(made) == repr(expected)
    np.testing.assert_array_equal(made.head.weight.value, expected.head.weight.value)
    for kind in ("lstm", "gru", "rnn"):
        made = trainer_for(prepare_text(TEXT, {**sizes, "model": kind})).model
        assert repr(made) == repr(nn.RecurrentLanguageModel(15, kind, 2, 16, 0.1))


# --- writing, files, replay ------------------------------------------------------


def test_a_model_writes_what_it_read(trained: TrainedText) -> None:
    model = trained.model
    assert "".join(model.write("the cat", 17, temperature=0.0)) == " sat on the mat.\n"
    assert "".join(model.write(length=4, temperature=0.0)) == "the "
    text = "".join(model.write("the ", 200, seed=3))
    assert text == "".join(model.write("the ", 200, seed=3))
    assert {*text} <= {*TEXT}
    with pytest.raises(
        DataError, match=r"the prompt has a character .* 'T' · the first"
    ):
        model.write("The cat")


def test_a_text_of_no_lines_and_words_is_gone_on_with_from_a_character() -> None:
    settings = {"model": "gru", "width": 8, "context": 8, "epochs": 1}
    model = train_text("ACGTTGCA" * 40, settings).model
    assert {*"".join(model.write(length=30))} <= {*"ACGT"}


def test_a_file_keeps_the_model(trained: TrainedText, tmp_path: Path) -> None:
    trained.model.save(tmp_path / "a.pellucid")
    same = TextModel.load(tmp_path / "a.pellucid")
    assert same.vocabulary == trained.model.vocabulary
    assert (same.settings, same.report) == (trained.model.settings, trained.report)
    assert [*same.write("on", 90)] == [*trained.model.write("on", 90)]
    with pytest.raises(ModelFileError, match=r"a model of a table · it holds 'text'"):
        load_model(tmp_path / "a.pellucid", TableModel)


@pytest.mark.slow
def test_a_step_of_training_can_be_replayed(trained: TrainedText) -> None:
    found = replay_step(trained.model, TEXT, 5)
    assert found.loss == pytest.approx(trained.trainer.replay(5).loss, rel=1e-6)
    with pytest.raises(
        DataError, match="the training does not repeat: loss of epoch 1"
    ):
        replay_step(trained.model, TEXT[::-1], 5)


def test_the_text_is_found_again(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(TEXT)
    text, source = read_source(file)
    assert (text, source.rows) == (TEXT, 1200)
    assert find_text(source, tmp_path / "m.pellucid") == TEXT
    file.write_text(TEXT + "x")
    with pytest.raises(DataError, match="expected 1200 characters with SHA-256"):
        find_text(source, tmp_path / "m.pellucid")


# --- settings and errors ---------------------------------------------------------


def test_defaults_follow_the_length_of_the_text() -> None:
    long, short = (TextSettings.suggest(n) for n in (1_000_000, 20_000))
    assert (long.epochs, long.epoch_windows) == (8, 3000)
    assert (short.epochs, short.epoch_windows) == (60, 312)
    assert long.epochs * long.epoch_windows // long.batch_size == 2000
    for name in MODELS:
        assert TextSettings.suggest(1000, model=name).model == name
    assert TextSettings.from_dict(long.to_dict()) == long
    assert "transformer, 4 layers of width 128, 4 heads" in long.network
    assert (
        "lstm, 1 layer of width 128, w" in TextSettings.suggest(9, model="lstm").network
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "lstn"}, "no model 'lstn' · did you mean 'lstm'"),
        ({"context": 0}, "context=0 · expected a whole number from 1"),
        ({"batch_size": "12"}, "batch_size='12'"),
        ({"test_size": 0.1}, "the end of a text, held out by 'validation'"),
        ({"contxt": 5}, "no setting named 'contxt' · did you mean 'context'"),
    ],
)
def test_settings_that_are_not_allowed_are_named(given: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        TextSettings.suggest(1000, **given)


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(
        DataError, match="20 of 200 characters are to be judged by, a wi"
    ):
        train_text("ab" * 100, {"context": 20})
    with pytest.raises(DataError, match="the text has 1 different characters"):
        train_text("a" * 5000)


def test_a_text_without_a_whole_window_has_no_cross_entropy(
    trained: TrainedText,
) -> None:
    with pytest.raises(DataError, match=r"a text of 12 characters is too short .* 12"):
        trained.model.nats(TEXT[:12])


def test_settings_come_back_from_a_record(trained: TrainedText) -> None:
    prepared = prepare_text(TEXT, asdict(trained.model.settings))
    assert prepared.settings == trained.model.settings
