"""`pellucid predict`, `inspect`, `gradcheck` and `demo`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.command import PELLUCID, Done, Run, price_row, write_rows
from pellucid.cli.shell import COMMANDS
from pellucid.data.table import read_table
from pellucid.tabular.model import TableModel


@pytest.fixture
def trained(pellucid: Run) -> Run:
    """The commands, with `prices.pellucid` and `colours.pellucid` in the folder."""
    for name in ("price", "colour"):
        short = ("--epochs", 3, "--hidden", "8,4", "--batch-size", 20, "--quiet")
        done = pellucid("train", f"{name}s.csv", "--target", name, *short)
        assert done.code == 0, done.error
    return pellucid


def refused(done: Done, words: str, code: int = 2) -> bool:
    assert done.error.startswith(f"Error: {words}"), done.error
    return (done.code, done.output, done.error.count("\n")) == (code, "", 1)


# --- predict ---


def test_predictions_are_csv_on_standard_output(trained: Run) -> None:
    done = trained("predict", "colours.pellucid", "colours.csv")
    assert (done.code, done.error) == (0, "")
    rows = list(csv.DictReader(done.output.splitlines()))
    assert len(rows) == 60
    assert list(rows[0]) == ["prediction", "probability_blue", "probability_red"]
    model = TableModel.load("colours.pellucid")
    table = read_table("colours.csv")
    assert [row["prediction"] for row in rows] == model.predict(table).tolist()
    shares = [float(row["probability_red"]) for row in rows]
    assert shares == pytest.approx(model.predict_proba(table)[:, 1])


def test_predictions_go_to_a_file_where_one_is_named(trained: Run) -> None:
    shown = trained("predict", "prices.pellucid", "prices.csv").output
    done = trained("predict", "prices.pellucid", "prices.csv", "--out", "new.csv")
    assert (done.code, done.output, done.error) == (0, "", "")
    assert Path("new.csv").read_text() == shown
    assert shown.startswith("prediction\n")


def test_rows_need_no_target_and_may_have_other_columns(trained: Run) -> None:
    Path("new.csv").write_text("note,kind,size\nhello,castle,3.5\n?,flat,\n")
    done = trained("predict", "prices.pellucid", "new.csv")
    assert (done.code, done.output.count("\n")) == (0, 3)


def test_rows_that_do_not_fit_the_model_are_refused(trained: Run) -> None:
    Path("new.csv").write_text("Size,kind\n1,flat\n")
    words = "no column named 'size', which training had · did you mean 'Size'?"
    assert refused(trained("predict", "prices.pellucid", "new.csv"), words)
    Path("new.csv").write_text("size,kind\n1,flat\nbig,flat\n")
    words = "column 'size' is 'big' in row 2 · expected a number, as in training"
    assert refused(trained("predict", "prices.pellucid", "new.csv"), words)


def test_a_file_that_is_no_model_is_refused(trained: Run, folder: Path) -> None:
    whole = (folder / "prices.pellucid").read_bytes()
    (folder / "cut.pellucid").write_bytes(whole[:-9])
    for name, words in (
        (
            "price.pellucid",
            "no file 'price.pellucid' · did you mean 'prices.pellucid'?",
        ),
        ("cut.pellucid", "'cut.pellucid' is cut short · expected at least "),
        ("prices.csv", "'prices.csv' is not a model file · expected a file that"),
    ):
        for rest in (("predict", name, "prices.csv"), ("inspect", name)):
            assert refused(trained(*rest), words)
        assert refused(trained("gradcheck", name, "prices.csv"), words)


def test_predictions_overwrite_neither_the_model_nor_the_rows(trained: Run) -> None:
    for place in ("prices.pellucid", "prices.csv"):
        done = trained("predict", "prices.pellucid", "prices.csv", "--out", place)
        assert refused(done, "this is another file of this command · --out ")


@pytest.mark.slow
def test_a_reader_of_predictions_may_stop_early(trained: Run, folder: Path) -> None:
    write_rows(folder / "long.csv", "size,kind,price", price_row, rows=20_000)
    command = " ".join([*PELLUCID, "predict", "prices.pellucid", "long.csv"])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -2"], capture_output=True, text=True
    )
    assert done.stdout.startswith("prediction\n")
    assert done.stderr == "Error: the reader of the output stopped before its end\n"


# --- inspect ---


def test_a_model_is_shown(trained: Run) -> None:
    done = trained("inspect", "prices.pellucid")
    assert (done.code, done.error) == (0, "")
    for words in (
        "price: regression",
        "trained on prices.csv (60 rows)",
        "Linear(in_features=4, out_features=8)",
        "output: 'price' in units of ",
        "one input each for 'flat', 'house'",
        "r2",
        "⠄⠄ validation",
        "3 epochs of 3, 9 iterations of 20 rows",
        "--replay STEP shows a step, from 0 to 8",
    ):
        assert words in done.output, words
    assert "true \\ predicted" in trained("inspect", "colours.pellucid").output


def test_a_step_is_replayed_with_the_recorded_loss(trained: Run) -> None:
    whole = ("--epochs", 3, "--batch-size", 99, "--dropout", 0, "--quiet")
    trained("train", "colours.csv", "--target", "colour", *whole)
    for step, row in enumerate(TableModel.load("colours.pellucid").history):
        done = trained("inspect", "colours.pellucid", "--replay", step)
        assert (done.code, done.error) == (0, "")
        first = done.output.splitlines()[0]
        assert first.startswith(f"step {step} · epoch {step + 1} · 43 rows · loss ")
        assert float(first.rpartition(" ")[2]) == pytest.approx(row["loss"], rel=1e-5)
        assert "params.0.weight [64×4]" in done.output
        assert "largest update" in done.output


@pytest.mark.slow
def test_a_replay_may_show_one_layer(trained: Run) -> None:
    done = trained("inspect", "prices.pellucid", "--replay", 4, "--layer", 3)
    assert done.code == 0
    assert "params.3.weight" in done.output
    assert "3.bias" in done.output
    assert "params.0.weight" not in done.output
    assert "0.bias" not in done.output


@pytest.mark.slow
def test_a_replay_of_moved_data_needs_their_place(trained: Run, folder: Path) -> None:
    (folder / "prices.csv").rename(folder / "moved.csv")
    done = trained("inspect", "prices.pellucid", "--replay", 0)
    assert refused(done, "the training data 'prices.csv' is not there · name what")
    done = trained("inspect", "prices.pellucid", "--replay", 0, "--data", "moved.csv")
    assert done.code == 0
    done = trained("inspect", "prices.pellucid", "--replay", 0, "--data", "colours.csv")
    assert refused(
        done, "'colours.csv' is not what the model was trained on · expected"
    )


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--replay", 9), "no step 9 · expected 0 to 8"),
        (("--replay", -1), "no step -1 · expected 0 to 8"),
        (("--replay", 0, "--layer", 9), "no layer '9' · known: "),
        (("--layer", 0), "--layer · goes with --replay STEP"),
        (("--data", "prices.csv"), "--data · goes with --replay STEP"),
    ],
)
def test_a_replay_of_what_is_not_there_is_refused(
    trained: Run, arguments: tuple[object, ...], words: str
) -> None:
    assert refused(trained("inspect", "prices.pellucid", *arguments), words)


# --- gradcheck ---


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["price", "colour"])
def test_the_gradients_of_a_model_are_right(trained: Run, name: str) -> None:
    done = trained("gradcheck", f"{name}s.pellucid", f"{name}s.csv", "--rows", 3)
    assert (done.code, done.error) == (0, "")
    assert done.output.startswith("right: ")
    assert "0.weight" in done.output


@pytest.mark.slow
def test_a_wrong_gradient_is_found_and_is_exit_code_1(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.grad.rules import RULES

    rule = RULES["maximum"]
    monkeypatch.setitem(
        RULES, "maximum", lambda *given: tuple(-each for each in rule(*given))
    )
    done = trained("gradcheck", "prices.pellucid", "prices.csv")
    assert done.code == 1
    assert "maximum" in done.output


@pytest.mark.slow
def test_a_gradient_check_needs_the_target(trained: Run) -> None:
    done = trained("gradcheck", "prices.pellucid", "colours.csv")
    assert refused(done, "no column named 'price' · the loss needs the target")
    done = trained("gradcheck", "prices.pellucid", "prices.csv", "--rows", 0)
    assert refused(done, "invalid value for '--rows': ")


# --- demo ---


@pytest.mark.slow
def test_the_demo_shows_the_whole_way(pellucid: Run, folder: Path) -> None:
    start = time.perf_counter()
    done = pellucid("demo", "--keep", folder)
    assert done.code == 0
    assert time.perf_counter() - start < 30
    for words in (
        "diagnosis: classification into 2 classes",
        "balanced accuracy",
        "malignant",
        "⠄⠄ validation",
        "again, gate by gate",
        "params.0.weight [64×60]",
        "largest update",
        "pellucid train",
    ):
        assert words in done.output, words
    assert " epochs, " in done.error.splitlines()[-1]
    place = folder / "breast-cancer.pellucid"
    assert TableModel.load(place).report.metrics["accuracy"] > 0.94
    done = pellucid("predict", place, folder / "breast-cancer.csv")
    assert done.output.count("\n") == 570


@pytest.mark.slow
def test_the_demo_keeps_nothing_unless_asked(pellucid: Run, folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert pellucid("demo").code == 0
    assert sorted(folder.iterdir()) == before
    assert refused(pellucid("demo", "--keep", "nowhere"), "there is no folder '")


# --- help ---

HEAVY = ("numpy", "polars", "sklearn", "safetensors", "llvmlite", "jax", "narwhals")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_loads_nothing_that_computes(name: str) -> None:
    code = (
        f"import sys; from pellucid.cli import main; main([{name!r}, '--help'])\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
    assert f"pellucid {name} [OPTIONS]" in done.stdout


@pytest.mark.slow
def test_events_of_a_training_are_lines_of_json(pellucid: Run) -> None:
    arguments = ("--epochs", 2, "--events", "events.jsonl", "--quiet")
    pellucid("train", "prices.csv", "--target", "price", *arguments)
    lines = Path("events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds == ["begin", "epoch", "epoch", "end"]
