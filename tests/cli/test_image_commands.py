"""`pellucid train`, `predict`, `inspect` and `gradcheck` on images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cli.command import Done, Run
from images.conftest import CLASSES, make_images, save_folder, write_idx
from pellucid.data.labelled import find_images
from pellucid.images.model import ImageModel

SHORT = ("--epochs", 2, "--channels", "2", "--hidden", "0", "--engine", "numpy")


@pytest.fixture
def stripes(folder: Path) -> Path:
    """`stripes/` in the current folder, with a folder for each class."""
    save_folder(folder / "stripes", make_images(45))
    return Path("stripes")


@pytest.fixture
def trained(stripes: Path, pellucid: Run) -> Run:
    """The commands, with `stripes.pellucid` in the folder."""
    assert pellucid("train", stripes, *SHORT, "--quiet").code == 0
    return pellucid


def refused(done: Done, words: str) -> bool:
    assert done.error.startswith(f"Error: {words}"), done.error
    return (done.code, done.output, done.error.count("\n")) == (2, "", 1)


def test_a_folder_is_trained_on_and_reported(pellucid: Run, stripes: Path) -> None:
    done = pellucid("train", f"{stripes}/", *SHORT)
    assert done.code == 0, done.error
    for words in (
        "images in 3 classes, 8×8 pixels, grey",
        "45 images: 32 to learn from, 4 to judge when to stop",
        "9 images held out for the test",
        "balanced accuracy",
        "true \\ predicted",
        "across",
        "⠄⠄ validation",
        "2 epochs of 2, 2 iterations of 32 images",
        "convolutions 2, hidden layers none, relu, images changed by shift",
        "model file: stripes.pellucid",
        "predictions for other images, as CSV",
    ):
        assert words in done.output, words
    assert done.error.splitlines()[0].startswith("epoch 1/2 · loss ")


@pytest.mark.slow
def test_parts_and_options_reach_the_training(pellucid: Run, stripes: Path) -> None:
    home = Path("parts")
    home.mkdir()
    stripes.rename(home / "train")
    save_folder(home / "test", make_images(6, seed=2))
    save_folder(home / "val", make_images(9, seed=3))
    done = pellucid(
        *("train", home, "--out", "m.pellucid", "--json", "--seed", 5, "--size", "6x4"),
        *("--augment", "flip, rotate", "--epochs", 1, "--hidden", "3"),
        *("--channels", "2", "--batch-size", 9, "--dropout", 0, "--engine", "numpy"),
    )
    found = json.loads(done.output)
    rows = (found["rows"], found["train_rows"], found["validation_rows"])
    assert (*rows, found["test_rows"]) == (60, 45, 9, 6)
    assert (found["width"], found["height"], found["channels"]) == (6, 4, 1)
    (note,) = found["notes"]
    assert note.startswith("60 of 60 images were stretched to 6×4, from 8×8 (")
    settings = ImageModel.load("m.pellucid").settings
    assert (settings.augment, settings.hidden) == (("flip", "rotate"), (3,))
    assert (settings.batch_size, settings.seed, settings.test_size) == (9, 5, 0.0)


@pytest.mark.slow
def test_idx_files_are_trained_on_and_predicted(pellucid: Run, folder: Path) -> None:
    for name, images in (("train", make_images(45)), ("t10k", make_images(12, seed=1))):
        write_idx(folder / f"{name}-images-idx3-ubyte", images.pixels[:, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", images.labels + 5)
    test = ("--test", "t10k-images-idx3-ubyte")
    out = ("--out", "m.pellucid", "--augment", "none")
    done = pellucid("train", "train-images-idx3-ubyte", *test, *out, *SHORT, "--json")
    found = json.loads(done.output)
    assert (found["labels"], found["test_rows"]) == (["5", "6", "7"], 12)
    assert found["train_rows"] + found["validation_rows"] == 45
    done = pellucid("predict", "m.pellucid", "t10k-images-idx3-ubyte")
    rows = list(csv.DictReader(done.output.splitlines()))
    assert [row["file"] for row in rows] == [str(i) for i in range(1, 13)]
    right = np.mean(
        [int(row["prediction"]) - 5 for row in rows] == make_images(12).labels
    )
    assert right == pytest.approx(found["metrics"]["test"]["accuracy"])
    done = pellucid("inspect", "m.pellucid", "--replay", 1)
    assert done.output.startswith("step 1 · epoch 1 · ")


@pytest.mark.slow
def test_predictions_name_the_file_and_the_class(trained: Run, stripes: Path) -> None:
    done = trained("predict", "stripes.pellucid", stripes)
    assert (done.code, done.error) == (0, "")
    rows = list(csv.DictReader(done.output.splitlines()))
    paths = find_images(stripes)
    assert [row["file"] for row in rows] == [str(each) for each in paths]
    assert list(rows[0]) == [
        "file",
        "prediction",
        *(f"probability_{c}" for c in CLASSES),
    ]
    model = ImageModel.load("stripes.pellucid")
    assert [row["prediction"] for row in rows] == model.predict(paths).tolist()
    done = trained("predict", "stripes.pellucid", paths[3], "--out", "one.csv")
    (row,) = csv.DictReader(Path("one.csv").read_text().splitlines())
    assert row["prediction"] == rows[3]["prediction"]


@pytest.mark.slow
def test_damaged_images_are_left_out_of_a_folder_and_named(
    trained: Run, stripes: Path
) -> None:
    bad = stripes / "down" / "001.png"
    bad.write_bytes(b"")
    done = trained("predict", "stripes.pellucid", stripes)
    assert (done.code, done.output.count("\n")) == (0, 45)
    words = f"1 image cannot be read and was left out: {bad} (the file is empty)\n"
    assert done.error == words
    done = trained("predict", "stripes.pellucid", bad)
    assert refused(done, f"the file is empty · {bad}")


@pytest.mark.slow
def test_a_model_is_shown_replayed_and_checked(trained: Run, stripes: Path) -> None:
    done = trained("inspect", "stripes.pellucid")
    for words in (
        "images in 3 classes, 8×8 pixels, grey",
        "trained on stripes (45 images)",
        "StandardizeChannels(channels=1)",
        "RandomShift(",
        "Conv2d(in_channels=1, out_channels=2",
        "true \\ predicted",
        "--replay STEP shows a step, from 0 to 1",
    ):
        assert words in done.output, words
    done = trained("inspect", "stripes.pellucid", "--replay", 1, "--layer", "2")
    assert (done.code, done.error) == (0, "")
    first = done.output.splitlines()[0]
    loss = ImageModel.load("stripes.pellucid").history["loss"][1]
    assert first.startswith("step 1 · epoch 2 · 32 rows · loss ")
    assert float(first.rpartition(" ")[2]) == pytest.approx(loss, rel=1e-5)
    assert "conv [32×2×8×8]" in done.output
    done = trained("gradcheck", "stripes.pellucid", stripes, "--rows", 3)
    assert (done.code, done.output.split(":")[0]) == (0, "right")
    stripes.rename("moved")
    done = trained("inspect", "stripes.pellucid", "--replay", 0)
    assert refused(done, "the training data 'stripes' is not there")
    assert trained(
        "inspect", "stripes.pellucid", "--replay", 0, "--data", "moved"
    ).output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("stripes --target class", "--target is for a table · stripes is images"),
        ("stripes --drop x", "--drop is for a table · stripes is images"),
        ("prices.csv --target price --size 32", "--size is for images · prices.csv is"),
        ("prices.csv --target price --augment flip", "--augment is for images · "),
        ("stripe", "no such file · stripe · did you mean 'stripes'?"),
        ("stripes/down", "15 images lie in it · stripes/down · expected a folder for"),
        ("stripes/down/001.png", "this is one image · stripes/down/001.png · give the"),
        ("stripes --size big", "--size big · expected pixels, such as 32, or width"),
        ("stripes --size 0", "--size 0 · expected pixels, such as 32, or width and"),
        ("stripes --augment flipp", "no augmentation 'flipp' · did you mean 'flip'?"),
        ("stripes --channels a", "--channels a · expected a width for each convolut"),
        ("stripes --labels prices.csv", "'stripes' is a folder: its folders are the"),
        ("stripes --test no", "no such file · no"),
        ("stripes --out stripes", "this is a folder · --out stripes · name a file in"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    pellucid: Run, stripes: Path, arguments: str, words: str
) -> None:
    done = pellucid("train", *arguments.split())
    assert refused(done, words)
    assert not list(Path().glob("*.pellucid"))
