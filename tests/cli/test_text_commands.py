"""`pellucid train` on text, `generate`, and what else takes a model of text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import Done, Run
from pellucid import nn
from pellucid.configuration import config
from pellucid.text.model import TextModel

TEXT = "the cat sat on the mat.\nthe dog sat on the log.\n" * 25
SMALL = ("--model", "gru", "--width", "16", "--context", "12", "--lr", "0.03",
         "--batch-size", "30")  # fmt: skip


@pytest.fixture
def rhyme(folder: Path) -> Path:
    (folder / "rhyme.txt").write_text(TEXT)
    return folder / "rhyme.txt"


@pytest.fixture
def trained(rhyme: Path, pellucid: Run) -> Done:
    done = pellucid("train", "rhyme.txt", *SMALL, "--epochs", 12)
    assert done.code == 0, done.error
    return done


@pytest.mark.slow
def test_a_report_on_text_can_be_read(trained: Done) -> None:
    for words in (
        "text of 15 different characters",
        "1200 characters: 1080 to learn from, 108 at the end to judge by",
        "model  bigrams  unigrams",
        "nats per character",
        "⠄⠄ validation",
        "12 epochs of 12, 36 iterations of 30 windows",
        "gru, 1 layer of width 16, windows of 12 characters",
        "model file: rhyme.pellucid",
        "pellucid generate rhyme.pellucid",
        "pellucid inspect rhyme.pellucid --replay 0",
    ):
        assert words in trained.output, words
    assert "predict" not in trained.output
    assert trained.error.splitlines()[0].startswith("epoch 1/12 · loss ")


def test_generate_writes_on_from_a_prompt(trained: Done, pellucid: Run) -> None:
    greedy = ("generate", "rhyme.pellucid", "--temperature", 0, "--length", 40)
    done = pellucid(*greedy, "--prompt", "the cat")
    expected = "".join(
        TextModel.load("rhyme.pellucid").write("the cat", 40, temperature=0.0)
    )
    assert done.output == f"the cat{expected}" + "\n" * (not expected.endswith("\n"))
    assert done.error.startswith("40 characters, ")
    assert done.error.endswith(" a second\n")
    drawn = ("generate", "rhyme.pellucid", "--top-k", 5, "--top-p", 0.9, "--quiet")
    first, again, other = (pellucid(*drawn, "--seed", seed) for seed in (1, 1, 2))
    assert first.error == ""
    assert first.output == again.output != other.output
    assert len(first.output) in (500, 501)


def test_generate_runs_on_a_device_of_the_xla_engine(
    trained: Done, pellucid: Run
) -> None:
    short = ("generate", "rhyme.pellucid", "--length", 20, "--quiet")
    done = pellucid(*short, "--engine", "xla", "--device", "cpu")
    assert done.code == 0, done.error
    assert done.output == pellucid(*short).output
    with config(engine="xla"):
        done = pellucid(*short, "--device", "abacus")
    assert "device='abacus'" in done.error
    done = pellucid(*short, "--device", "cpu")
    assert done.code == 2
    assert "--device is for the xla engine · add --engine xla" in done.error


def test_generate_says_what_it_cannot_do(trained: Done, pellucid: Run) -> None:
    for arguments, words in (
        (
            ("--prompt", "The"),
            "the prompt has a character that the model never saw: 'T'",
        ),
        (("--temperature", -1), "temperature=-1.0 · expected a number from 0"),
        (("--top-p", 2), "top_p=2.0"),
        (("--length", -5), "invalid value for '--length'"),
    ):
        done = pellucid("generate", "rhyme.pellucid", *arguments)
        assert done.code == 2
        assert words in done.error, done.error
    nn.Linear(1, 1).save("layer.pellucid")
    done = pellucid("generate", "layer.pellucid")
    assert (done.code, done.output) == (2, "")
    assert "does not hold a model of text · it holds 'module'" in done.error


@pytest.mark.slow
def test_inspect_shows_a_model_of_text(trained: Done, pellucid: Run) -> None:
    done = pellucid("inspect", "rhyme.pellucid")
    for words in ("trained on rhyme.txt (1200 characters)", "recurrent", "bigrams"):
        assert words in done.output, words
    done = pellucid("inspect", "rhyme.pellucid", "--replay", 4)
    assert "step 4 · epoch 2 · 30 rows" in done.output
    assert "embedding.weight" in done.output


@pytest.mark.slow
def test_the_gradients_of_a_model_of_text_are_checked(
    trained: Done, rhyme: Path, pellucid: Run
) -> None:
    done = pellucid("gradcheck", "rhyme.pellucid", rhyme, "--rows", 2)
    assert done.code == 0
    assert "recurrent.weight_hh_l0" in done.output


def test_a_model_of_text_does_not_predict(
    trained: Done, rhyme: Path, pellucid: Run
) -> None:
    done = pellucid("predict", "rhyme.pellucid", rhyme)
    assert done.code == 2
    assert "a model of text predicts by writing · use 'pellucid generate" in done.error


@pytest.mark.slow
def test_text_is_known_by_its_name_or_by_an_option(rhyme: Path, pellucid: Run) -> None:
    rhyme.rename("rhyme.dat")
    done = pellucid("train", "rhyme.dat", *SMALL, "--epochs", 1, "--text", "--json")
    assert done.code == 0
    found = json.loads(done.output)
    assert found["vocabulary"] == 15
    assert found["metrics"]["test"].keys() == found["linear"].keys()
    done = pellucid("train", "rhyme.dat")
    assert "missing option '--target'" in done.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--hidden", "8"),
            "--hidden is not for text · rhyme.txt is text · use --width",
        ),
        (("--test-size", "0.1"), "--test-size is not for text"),
        (("--test", "prices.csv"), "--test is not for text"),
        (("--text", "--target", "x"), "--target is for a table · rhyme.txt is text"),
        (("--size", "8"), "--size is for images · rhyme.txt is text"),
        (("--model", "lstn"), "no model 'lstn' · did you mean 'lstm'?"),
        (("--context", "200"), "120 of 1200 characters are to be judged by"),
    ],
)
def test_options_that_do_not_fit_text_are_named(
    rhyme: Path, pellucid: Run, arguments: tuple[str, ...], words: str
) -> None:
    done = pellucid("train", "rhyme.txt", *arguments)
    assert done.code == 2
    assert words in done.error
    assert not Path("rhyme.pellucid").exists()


def test_options_of_text_are_not_for_tables(pellucid: Run) -> None:
    done = pellucid("train", "prices.csv", "--target", "price", "--context", 8)
    assert done.code == 2
    assert "--context is for text · prices.csv is a table" in done.error
