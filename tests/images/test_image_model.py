"""A model of images: its file, its predictions, and its training again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from images.conftest import CLASSES, make_images, save_folder, write_idx
from pellucid.data.images import read_image, read_images
from pellucid.data.labelled import ImageParts, find_images
from pellucid.errors import ArgumentError, DataError, ModelFileError
from pellucid.images.model import ImageModel
from pellucid.images.rerun import replay_step
from pellucid.images.source import (
    are_images,
    find_source_images,
    read_parts,
    read_source,
)
from pellucid.images.training import train_images
from pellucid.tabular.model import TableModel

SETTINGS: dict[str, Any] = {
    "epochs": 2, "channels": (3,), "hidden": (5,), "engine": "numpy",
    "augment": (),
}  # fmt: skip
SEEN = {"size": (8, 8), "channels": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `stripes/`, and `m.pellucid` that was trained on it."""
    place = tmp_path_factory.mktemp("home")
    save_folder(place / "stripes", make_images(60))
    parts, source = read_source(place / "stripes")
    train_images(parts, SETTINGS, source=source).model.save(place / "m.pellucid")
    return place


@pytest.fixture
def model(home: Path) -> ImageModel:
    return ImageModel.load(home / "m.pellucid")


@pytest.mark.slow
def test_everything_comes_back_from_the_file(home: Path) -> None:
    parts, source = read_source(home / "stripes")
    trained = train_images(parts, SETTINGS, source=source).model
    trained.save(home / "again.pellucid")
    loaded = ImageModel.load(home / "again.pellucid")
    for name in ("classes", "settings", "report", "source", "size", "channels"):
        assert getattr(loaded, name) == getattr(trained, name), name
    assert loaded.summary() == trained.summary()
    assert not loaded.module.training
    few = parts.train.pixels[::7]
    np.testing.assert_array_equal(loaded.predict_proba(few), trained.predict_proba(few))
    first = (home / "again.pellucid").read_bytes()
    loaded.save(home / "again.pellucid")
    assert (home / "again.pellucid").read_bytes() == first


def test_files_and_their_pixels_are_predicted_alike(
    home: Path, model: ImageModel
) -> None:
    paths = find_images(home / "stripes")
    pixels = read_images(paths).pixels
    shares = model.predict_proba(pixels)
    np.testing.assert_array_equal(model.predict_proba(paths), shares)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert model.predict(paths).tolist() == [CLASSES[i] for i in shares.argmax(1)]
    assert model.predict(paths[7]).tolist() == model.predict(paths[7:8]).tolist()
    assert model.predict_proba(pixels[:0]).shape == (0, 3)


def test_an_image_of_another_size_and_colour_is_brought_to_the_networks(
    home: Path, model: ImageModel, tmp_path: Path
) -> None:
    path = find_images(home / "stripes")[0]
    large = Image.open(path).convert("RGB").resize((32, 24))
    large.save(tmp_path / "large.png")
    seen = read_image(tmp_path / "large.png", size=(8, 8), channels=1)
    found = model.predict_proba(tmp_path / "large.png")
    np.testing.assert_array_equal(found, model.predict_proba(seen[None]))


def test_a_table_of_predictions_has_a_column_for_each_class(
    home: Path, model: ImageModel
) -> None:
    paths = find_images(home / "stripes")[:4]
    table = model.predict_table(paths, map(str, paths))
    names = [f"probability_{each}" for each in CLASSES]
    assert table.columns == ["file", "prediction", *names]
    assert table["file"].to_list() == [str(each) for each in paths]
    assert table["prediction"].to_list() == model.predict(paths).tolist()


def test_what_is_no_image_is_refused(
    home: Path, model: ImageModel, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"no pixels")
    paths = [*find_images(home / "stripes")[:1], tmp_path / "a.png"]
    with pytest.raises(DataError, match=r"not an image that can be read · .*a\.png"):
        model.predict(paths)
    with pytest.raises(
        DataError, match=r"shape \[2, 1, 9, 8\] · the network was train"
    ):
        model.predict(np.zeros((2, 1, 9, 8), np.uint8))
    with pytest.raises(
        DataError, match=r"one image is an array of one: pixels\[None\]"
    ):
        model.predict(np.zeros((1, 8, 8), np.uint8))
    for odd in ([1.0, 2.0], np.zeros((1, 1, 8, 8))):
        with pytest.raises(DataError, match="these are no images · expected paths of"):
            model.predict(odd)


def test_a_file_of_another_kind_is_refused(home: Path) -> None:
    words = "does not hold a model of a table · it holds 'images' · give a file"
    with pytest.raises(ModelFileError, match=words):
        TableModel.load(home / "m.pellucid")


# --- the training again ---


@pytest.mark.slow
def test_every_step_replays_with_the_recorded_loss(
    home: Path, model: ImageModel
) -> None:
    images = find_source_images(model.source, home / "m.pellucid", **SEEN)
    losses = [replay_step(model, images, step).loss for step in range(4)]
    first, second = (row["loss"] for row in model.history)
    sizes = [32, model.report.train_rows - 32]
    assert np.average(losses[:2], weights=sizes) == pytest.approx(first, rel=1e-5)
    assert np.average(losses[2:], weights=sizes) == pytest.approx(second, rel=1e-5)


def test_other_images_do_not_repeat_the_training(model: ImageModel) -> None:
    with pytest.raises(DataError, match="does not repeat: loss of epoch 1 was"):
        replay_step(model, ImageParts(make_images(60, seed=2)), 0)
    with pytest.raises(ArgumentError, match="no step 99 · expected 0 to 3"):
        replay_step(model, ImageParts(make_images(60)), 99)


def test_images_are_found_again_beside_the_model_and_others_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    _, source = read_source("stripes")
    monkeypatch.chdir(tmp_path)
    found = find_source_images(source, home / "m.pellucid", **SEEN)
    assert len(found.train) == source.rows == 60
    save_folder(tmp_path / "stripes", make_images(59))
    with pytest.raises(DataError, match=r"expected 60 images with SHA-256 .* found 59"):
        find_source_images(source, "m.pellucid", **SEEN, given="stripes")
    save_folder(tmp_path / "turned", replace(make_images(60), classes=("a", "b", "c")))
    with pytest.raises(DataError, match="is not what the model was trained on"):
        find_source_images(source, "m.pellucid", **SEEN, given="turned")
    with pytest.raises(DataError, match=r"'lost' is not there · .*--data PATH"):
        find_source_images(replace(source, path="lost"), "m.pellucid", **SEEN)


def test_idx_files_are_images_too(tmp_path: Path) -> None:
    images = make_images(12)
    place = write_idx(tmp_path / "some-images", images.pixels[:, 0])
    labels = write_idx(tmp_path / "other", images.labels)
    assert are_images(place)
    assert are_images(tmp_path)
    assert not are_images(tmp_path / "lost")
    parts, source = read_source(place, labels)
    np.testing.assert_array_equal(parts.train.pixels, images.pixels)
    assert (source.rows, source.labels) == (12, str(labels))
    again = find_source_images(source, "m.pellucid", **SEEN)
    assert again.train.labels.tolist() == images.labels.tolist()
    with pytest.raises(ArgumentError, match=r"keep their size · .* they are 8×8, 1 ch"):
        read_parts(place, labels, (4, 4))
    with pytest.raises(ArgumentError, match="is a folder: its folders are the labels"):
        read_parts(tmp_path, labels)
