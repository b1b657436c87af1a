"""`pellucid train`: what it says, what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from cli.command import PELLUCID, Run, price_row, write_rows
from pellucid.files import read_file
from pellucid.tabular.model import TableModel

PRICES = ("train", "prices.csv", "--target", "price")
COLOURS = ("train", "colours.csv", "--target", "colour")
SHORT = ("--epochs", "3", "--hidden", "8")


def no_models(folder: Path) -> bool:
    return not list(folder.glob("*.pellucid")) and not list(folder.glob(".*"))


def test_a_report_can_be_read(pellucid: Run, folder: Path) -> None:
    done = pellucid(*COLOURS, *SHORT)
    assert done.code == 0
    for words in (
        "colour: classification into 2 classes",
        "60 rows: 43 to learn from, 5 to judge when to stop",
        "12 rows held out for the test",
        "2 columns, as 4 inputs of the network",
        "balanced accuracy",
        "true \\ predicted",
        "⠤⠤ train",
        "⠄⠄ validation",
        "3 epochs of 3, 6 iterations of 32 rows",
        "model file: colours.pellucid",
        "pellucid predict colours.pellucid FILE",
        "pellucid inspect colours.pellucid --replay 0",
    ):
        assert words in done.output, words
    assert done.error.splitlines()[0].startswith("epoch 1/3 · loss ")
    assert done.error.splitlines()[-1] == "finished after 3 epochs, 6 iterations"
    assert TableModel.load("colours.pellucid").report.epochs == 3


@pytest.mark.slow
def test_a_report_on_a_quantity_has_its_errors(pellucid: Run) -> None:
    done = pellucid(*PRICES, *SHORT)
    assert "price: regression" in done.output
    assert "absolute error" in done.output
    assert "rmse" in done.output


def test_json_is_one_object_on_standard_output(pellucid: Run) -> None:
    for command, keys in (
        (PRICES, {"rmse", "mae", "r2"}),
        (COLOURS, {"accuracy", "log_loss", "balanced_accuracy"}),
    ):
        done = pellucid(*command, *SHORT, "--json")
        assert done.code == 0
        assert done.output.count("\n") == 1
        found = json.loads(done.output)
        assert found["metrics"]["test"].keys() == keys
        assert found["baseline"].keys() == found["linear"].keys() == keys
        assert (found["rows"], found["features"]) == (60, 2)
        assert (found["epochs"], found["iterations"]) == (3, 6)
        assert found["task"] in ("regression", "classification")
        assert found["seconds"] > 0
        assert Path(found["model"]).is_file()
        assert done.error.startswith("epoch 1/3")


def test_quiet_says_nothing(pellucid: Run, folder: Path) -> None:
    done = pellucid(*PRICES, *SHORT, "--quiet", "--out", "mine.pellucid")
    assert (done.code, done.output, done.error) == (0, "", "")
    assert (folder / "mine.pellucid").is_file()


def test_every_option_reaches_the_training(pellucid: Run, folder: Path) -> None:
    done = pellucid(
        *PRICES,
        *("--epochs", 2, "--batch-size", 7, "--hidden", "5,4", "--activation", "tanh"),
        *("--dropout", 0.25, "--lr", 0.02, "--weight-decay", 0.3, "--seed", 11),
        *("--engine", "numpy", "--test-size", 0.5, "--drop", "kind", "--quiet"),
        *("--events", "events.jsonl", "--checkpoint", "check.pellucid"),
    )
    assert done.code == 0
    settings = TableModel.load("prices.pellucid").settings
    assert (settings.epochs, settings.batch_size, settings.hidden) == (2, 7, (5, 4))
    assert (settings.activation, settings.dropout, settings.lr) == ("tanh", 0.25, 0.02)
    assert (settings.weight_decay, settings.seed, settings.engine) == (0.3, 11, "numpy")
    assert (settings.test_size, settings.drop) == (0.5, ("kind",))
    events = [
        json.loads(each) for each in Path("events.jsonl").read_text().splitlines()
    ]
    assert [each["event"] for each in events if each["event"] == "epoch"] == [
        "epoch"
    ] * 2
    assert read_file("check.pellucid")[1]["kind"] == "checkpoint"


def test_a_network_without_hidden_layers(pellucid: Run) -> None:
    assert pellucid(*PRICES, "--hidden", "0", "--epochs", 2, "--quiet").code == 0
    assert TableModel.load("prices.pellucid").settings.hidden == ()


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bits(pellucid: Run) -> None:
    for name in ("a", "b"):
        pellucid(*COLOURS, *SHORT, "--dropout", 0.1, "--out", f"{name}.pellucid")
    first, second = (read_file(f"{name}.pellucid")[0] for name in "ab")
    assert {k: v.tobytes() for k, v in first.items()} == {
        k: v.tobytes() for k, v in second.items()
    }


def test_a_resumed_training_writes_the_bits_of_an_unbroken_one(
    pellucid: Run, folder: Path
) -> None:
    keep = ("--checkpoint", "check.pellucid", "--resume", "--quiet")
    pellucid(*COLOURS, *SHORT, "--quiet", "--out", "whole.pellucid")
    assert pellucid(*COLOURS, *SHORT, *keep, "--out", "first.pellucid").code == 0
    assert pellucid(*COLOURS, *SHORT, *keep, "--out", "again.pellucid").code == 0
    expected = read_file("whole.pellucid")[0]
    for name in ("first", "again"):
        found = read_file(f"{name}.pellucid")[0]
        assert {k: v.tobytes() for k, v in found.items()} == {
            k: v.tobytes() for k, v in expected.items()
        }


@pytest.mark.slow
def test_a_test_file_is_what_the_report_is_on(pellucid: Run, folder: Path) -> None:
    write_rows(folder / "others.csv", "size,kind,price", price_row, rows=25)
    done = pellucid(*PRICES, *SHORT, "--test", "others.csv", "--json")
    found = json.loads(done.output)
    assert (found["rows"], found["test_rows"], found["train_rows"]) == (60, 25, 54)


def test_a_file_without_a_header_has_its_target_by_position(
    pellucid: Run, folder: Path
) -> None:
    write_rows(folder / "bare.csv", "", price_row)
    done = pellucid("train", "bare.csv", "--target", -1, *SHORT, "--json")
    assert json.loads(done.output)["target"] == "column_3"
    assert pellucid("predict", "bare.pellucid", "bare.csv").output.count("\n") == 61


def test_columns_of_no_use_are_left_out_and_named(pellucid: Run, folder: Path) -> None:
    write_rows(
        folder / "odd.csv",
        "id,same,gone,size,kind,price",
        lambda i, draw: f"row-{i},7,NA,{price_row(i, draw)}",
    )
    done = pellucid("train", "odd.csv", "--target", "price", *SHORT)
    assert done.code == 0
    assert "left out: same (constant: always 7)" in done.output
    assert "left out: gone (every value is missing)" in done.output
    assert "left out: id (an identifier or free text: 48 different" in done.output


# --- what is refused: one line, exit code 2, nothing written ---

FILES = {
    "empty.csv": "",
    "header.csv": "a,b\n",
    "twice.csv": "x,x,y\n1,2,3\n4,5,6\n",
    "one.csv": "x,y\n" + "".join(f"{i},yes\n" for i in range(30)),
    "gaps.csv": "x,y\n" + "".join(f"{i},{i if i != 3 else ''}\n" for i in range(30)),
    "labels.csv": "x,y\n" + "".join(f"{i},label {i}\n" for i in range(30)),
    "same.csv": "x,y\n" + "".join(f"7,{i / 7}\n" for i in range(30)),
    "few.csv": "x,y\n1,2\n2,3\n",
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train prices.csv", "missing option '--target' · see 'pellucid train --help'"),
        (
            "train prices.csv --target prize",
            "no column named 'prize' · did you mean 'price'?",
        ),
        ("train prices.csv --target 9", "no column at position 9 · the table has 3"),
        (
            "train price.csv --target y",
            "no such file · price.csv · did you mean 'prices",
        ),
        ("train empty.csv --target y", "the file is empty · empty.csv"),
        (
            "train header.csv --target a",
            "the file has a header and no rows · header.csv",
        ),
        (
            "train twice.csv --target y",
            "two columns have the same name: 'x' · twice.csv",
        ),
        ("train one.csv --target y", "target 'y' has one class only: 'yes'"),
        (
            "train gaps.csv --target y",
            "target 'y' is missing in 1 of 30 rows, first in",
        ),
        ("train labels.csv --target y", "target 'y' has 30 classes in 30 rows"),
        (
            "train same.csv --target y",
            "no column is left to learn from · 'x' (constant",
        ),
        ("train few.csv --target y", "2 rows are too few to learn from · expected at"),
        ("--hidden abc", "--hidden abc · expected a width for each hidden layer, such"),
        ("--hidden 8,0", "--hidden 8,0 · expected a width for each hidden layer, such"),
        ("--hidden 8,,8", "--hidden 8,,8 · expected a width for each hidden layer"),
        ("--activation rellu", "no activation 'rellu' · did you mean 'relu'?"),
        ("--engine nunpy", "no engine named 'nunpy' · did you mean 'numpy'?"),
        ("--epochs 0", "epochs=0 · expected a whole number from 1"),
        ("--epochs few", "invalid value for '--epochs': "),
        ("--lr nan", "lr=nan · expected a number above 0"),
        ("--seed -1", "seed=-1 · expected a whole number from 0"),
        ("--test-size 1.5", "--test-size 1.5 · expected a share between 0 and 1"),
        ("--test-size 0", "--test-size 0.0 · expected a share between 0 and 1"),
        (
            "--test prices.csv --test-size 0.5",
            "both --test and --test-size · choose one",
        ),
        ("--test colours.csv", "the test table has no column 'price'"),
        ("--drop sise", "no column named 'sise' · did you mean 'size'?"),
        ("--drop price", "'price' is the target: it cannot be left out"),
        ("--resume", "--resume · name the file: --checkpoint FILE"),
        ("--out no/such.pellucid", "there is no folder '"),
        ("--out .", "this is a folder · --out . · name a file in it"),
        ("--out prices.csv", "this is another file of this command · --out prices.csv"),
        (
            "--checkpoint prices.pellucid",
            "this is another file of this command · --che",
        ),
        ("--events no/such.jsonl", "there is no folder '"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    pellucid: Run, folder: Path, arguments: str, words: str
) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    start = () if arguments.startswith("train") else PRICES
    done = pellucid(*start, *arguments.split())
    assert done.error.startswith(f"Error: {words}"), done.error
    assert done.error.count("\n") == 1
    assert (done.code, done.output) == (2, "")
    assert no_models(folder)


@pytest.mark.slow
def test_a_lost_number_is_named_with_its_gate_and_writes_nothing(
    pellucid: Run, folder: Path
) -> None:
    done = pellucid(*PRICES, *SHORT, "--lr", "1e30", "--quiet")
    assert done.code == 1
    assert done.error.startswith("Error: training met a number that is not finite in ")
    assert "the gate " in done.error
    assert "smaller learning rate" in done.error
    assert done.error.count("\n") == 1
    assert no_models(folder)


# --- the system says no: exit code 1 ---


def little_room() -> None:
    """Let no file grow beyond 2 KiB, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_what_was_there(folder: Path) -> None:
    place = folder / "prices.pellucid"
    for before in (None, b"an older model"):
        if before is not None:
            place.write_bytes(before)
        done = subprocess.run(
            [*PELLUCID, *PRICES, *SHORT, "--quiet"],
            cwd=folder,
            capture_output=True,
            text=True,
            preexec_fn=little_room,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(
            "Error: cannot write 'prices.pellucid': the file would be larger than"
        )
        assert (place.read_bytes() if place.exists() else None) == before
        assert not list(folder.glob(".*"))


def test_a_place_that_takes_no_file_is_found_before_training(pellucid: Run) -> None:
    done = pellucid(*PRICES, *SHORT, "--out", "/proc/self/m.pellucid")
    assert (done.code, done.output) == (1, "")
    assert done.error.startswith("Error: cannot write: ")
    assert "epoch" not in done.error


@pytest.mark.slow
def test_an_output_that_is_full_or_closed_costs_no_model(folder: Path) -> None:
    place = folder / "prices.pellucid"
    command = " ".join([*PELLUCID, *PRICES, *SHORT, "--json"])
    for redirection, code in ((">/dev/full", 1), (">&-", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{command} {redirection}"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert TableModel.load(place).report.epochs == 3
        place.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_the_best_so_far_and_says_so(folder: Path, times: int) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    training = subprocess.Popen(
        [*PELLUCID, *COLOURS, "--epochs", "1000000", "--lr", "1e-6"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert training.stderr is not None
    for line in training.stderr:
        if line.startswith("epoch 3/"):
            training.send_signal(signal.SIGINT)
            break
    if times == 2:
        # A second one, some time later, is a wish to leave at once.
        training.send_signal(signal.SIGINT)
    output, error = training.communicate(timeout=60)
    assert "Traceback" not in error
    if times == 2:
        assert training.returncode in (1, 130)
        return
    assert training.returncode == 1
    assert "interrupted: keeping the weights " in error
    assert "the best so far is saved in: colours.pellucid" in output
    model = TableModel.load(folder / "colours.pellucid")
    assert model.report.stopped == "interrupted"
    assert model.report.epochs >= 2
