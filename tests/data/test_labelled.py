"""Labelled images: a folder for each class, or a pair of IDX files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.idx import is_idx, labels_beside
from pellucid.data.labelled import (
    find_images,
    left_out,
    read_idx_images,
    read_image_folder,
)
from pellucid.errors import DataError


def draw(place: Path, shade: int, size: tuple[int, int] = (4, 5)) -> Path:
    """Save a grey image of one shade."""
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, shade, np.uint8)).save(place)
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two cats (shades 10, 11) and three dogs (20, 21, 22)."""
    for name, first, count in (("dog", 20, 3), ("cat", 10, 2)):
        for i in range(count):
            draw(tmp_path / "pets" / name / f"{i}.png", first + i)
    return tmp_path / "pets"


def shades(pixels: np.ndarray) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()


# --- folders ---


def test_a_folder_for_each_class_gives_images_in_order_with_their_class(
    root: Path,
) -> None:
    parts = read_image_folder(root)
    found = parts.train
    assert (found.classes, found.size, found.channels) == (("cat", "dog"), (4, 5), 1)
    assert shades(found.pixels) == [10, 11, 20, 21, 22]
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.labels.dtype == np.int64
    assert found.files == tuple(
        os.path.join(*each) for each in
        [("cat", "0.png"), ("cat", "1.png"), ("dog", "0.png"), ("dog", "1.png"),
         ("dog", "2.png")]
    )  # fmt: skip
    assert (parts.validation, parts.test, parts.notes) == (None, None, ())


@pytest.mark.parametrize("names", [("train", "test", "val"), ("Training", "testing")])
def test_parts_that_are_kept_apart_are_found_by_their_names(
    root: Path, names: tuple[str, ...]
) -> None:
    home = root.parent / "split"
    home.mkdir()
    root.rename(home / names[0])
    for i, name in enumerate(names[1:]):
        draw(home / name / "dog" / "x.png", 30 + i, (8, 10))
    parts = read_image_folder(home)
    assert shades(parts.train.pixels) == [10, 11, 20, 21, 22]
    assert parts.test is not None
    assert (shades(parts.test.pixels), parts.test.labels.tolist()) == ([30], [1])
    assert parts.test.size == parts.train.size == (4, 5)
    if len(names) == 3:
        assert parts.validation is not None
        assert shades(parts.validation.pixels) == [31]
    else:
        assert parts.validation is None


def test_train_may_be_the_name_of_a_class(root: Path) -> None:
    draw(root / "train" / "1.png", 5)
    assert read_image_folder(root).train.classes == ("cat", "dog", "train")


def test_some_images_keep_their_labels_and_files(root: Path) -> None:
    few = read_image_folder(root).train.part(np.array([4, 0]))
    assert shades(few.pixels) == [22, 10]
    assert few.labels.tolist() == [1, 0]
    assert few.files[1] == os.path.join("cat", "0.png")
    assert few.among(("dog", "bird", "cat")).labels.tolist() == [0, 2]
    with pytest.raises(DataError, match="the test has the class 'dog' · training has"):
        few.among(("cat",), "the test")


def test_classes_that_are_numbers_stand_in_their_order(tmp_path: Path) -> None:
    for name in ("10", "9", "b", "a", "1"):
        draw(tmp_path / name / "x.png", 1)
    assert read_image_folder(tmp_path).train.classes == ("1", "9", "10", "a", "b")


def test_hidden_files_and_folders_are_passed_over_and_others_noted(root: Path) -> None:
    draw(root / ".cache" / "x.png", 1)
    draw(root / "cat" / ".thumbs" / "x.png", 1)
    draw(root / "cat" / "deep" / "er.png", 12)
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    for name in ("cat", "dog"):
        (root / name / "notes.txt").write_text("x")
    draw(root / "cover.png", 99)
    parts = read_image_folder(root)
    assert shades(parts.train.pixels) == [10, 11, 12, 20, 21, 22]
    assert parts.notes == (
        f"passed over 1 file outside of the classes, such as {root / 'cover.png'}",
        f"passed over 2 files of other kinds, such as {root / 'cat' / 'notes.txt'}",
    )


def test_images_of_another_size_are_stretched_and_noted(root: Path) -> None:
    draw(root / "cat" / "large.png", 13, (9, 9))
    draw(root / "dog" / "small.png", 23, (2, 3))
    parts = read_image_folder(root)
    assert parts.train.size == (4, 5)
    first, large, small = (os.path.join(*each) for each in
        (("cat", "0.png"), ("cat", "large.png"), ("dog", "small.png")))  # fmt: skip
    assert parts.notes == (
        f"2 of 7 images were stretched to 5×4, from 3×2 ({small}) to 9×9 ({large})",
    )
    (note,) = read_image_folder(root, size=(2, 3)).notes
    assert (
        note
        == f"6 of 7 images were stretched to 3×2, from 5×4 ({first}) to 9×9 ({large})"
    )
    other = read_image_folder(root, size=(3, 3), channels=3).train
    assert other.pixels.shape == (7, 3, 3, 3)


def test_images_that_cannot_be_read_are_left_out_and_named(root: Path) -> None:
    (root / "dog" / "1.png").write_bytes(b"")
    parts = read_image_folder(root)
    assert shades(parts.train.pixels) == [10, 11, 20, 22]
    assert parts.train.labels.tolist() == [0, 0, 1, 1]
    place = root / "dog" / "1.png"
    assert parts.notes == (
        f"1 image cannot be read and was left out: {place} (the file is empty)",
    )
    words = left_out(dict.fromkeys("abcd", "why"))
    assert words.startswith("4 images cannot be read and were left out: a (why), b")
    assert words.endswith("c (why), …")


def test_a_folder_that_is_missing_or_a_file_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder · .*lost"):
        read_image_folder(root / "lost")
    with pytest.raises(DataError, match=r"this is not a folder · .*0\.png"):
        read_image_folder(root / "cat" / "0.png")


def test_images_without_a_folder_for_each_class_are_refused(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_image_folder(root / "cat")
    assert str(caught.value) == (
        f"2 images lie in it · {root / 'cat'} · expected a folder for each class, "
        "named by it · such as cat/apple/1.png and cat/pear/2.png"
    )
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"there are no images in it · .*empty"):
        read_image_folder(root / "empty")
    with pytest.raises(DataError, match=r"there are no images in it · .*empty"):
        find_images(root / "empty")


def test_an_empty_class_is_refused(root: Path) -> None:
    (root / "bird").mkdir()
    with pytest.raises(DataError, match=r"the class 'bird' has no images · .*bird · p"):
        read_image_folder(root)


def test_a_class_whose_images_are_all_damaged_is_refused(root: Path) -> None:
    for each in (root / "cat").iterdir():
        each.write_bytes(b"x")
    with pytest.raises(
        DataError, match="no image of the class 'cat' can be read · 2 i"
    ):
        read_image_folder(root)


def test_a_test_class_that_training_does_not_have_is_refused(root: Path) -> None:
    home = root.parent / "split"
    home.mkdir()
    root.rename(home / "train")
    draw(home / "test" / "bird" / "x.png", 1)
    with pytest.raises(
        DataError, match=r"the test part has the class 'bird' · .*'cat'"
    ):
        read_image_folder(home)
    draw(home / "testing" / "dog" / "x.png", 1)
    with pytest.raises(DataError, match="two folders for one part of the data: test, "):
        read_image_folder(home)


def test_every_image_below_a_folder_is_found(root: Path) -> None:
    (root / "cat" / "notes.txt").write_text("x")
    found = [str(each.relative_to(root)) for each in find_images(root)]
    assert found == list(read_image_folder(root).train.files)


# --- IDX ---


def write_idx(place: Path, array: np.ndarray) -> Path:
    start = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = start + array.astype(np.uint8).tobytes()
    place.write_bytes(gzip.compress(content) if place.suffix == ".gz" else content)
    return place


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5))
LABELS = np.array([7, 3, 7, 9])


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("other", ["", ".gz"])
def test_labels_are_found_beside_their_images(
    tmp_path: Path, ending: str, other: str
) -> None:
    images = write_idx(tmp_path / f"t-images-idx3-ubyte{ending}", PIXELS)
    write_idx(tmp_path / f"t-labels-idx1-ubyte{other}", LABELS)
    found = read_idx_images(images)
    np.testing.assert_array_equal(found.pixels, PIXELS[:, None])
    assert (found.pixels.dtype, found.classes) == (np.uint8, (3, 7, 9))
    assert found.labels.tolist() == [1, 0, 1, 2]
    assert is_idx(images)


def test_of_two_files_of_labels_the_one_packed_alike_is_taken(tmp_path: Path) -> None:
    for ending in ("", ".gz"):
        write_idx(tmp_path / f"labels{ending}", LABELS)
    for ending in ("", ".gz"):
        assert labels_beside(tmp_path / f"images{ending}").name == f"labels{ending}"


def test_labels_may_be_named_and_images_may_have_colours(tmp_path: Path) -> None:
    colours = np.stack([PIXELS, PIXELS // 2, PIXELS // 3], axis=-1)
    images = write_idx(tmp_path / "pictures", colours)
    found = read_idx_images(images, write_idx(tmp_path / "names", LABELS))
    np.testing.assert_array_equal(found.pixels, colours.transpose(0, 3, 1, 2))


def test_a_pair_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "images", PIXELS)
    with pytest.raises(DataError, match=r"labels is not beside .*expected labels\.gz"):
        read_idx_images(images)
    labels = write_idx(tmp_path / "labels", LABELS[:3])
    with pytest.raises(DataError, match=r"there are 4 images and 3 labels · .*labels"):
        read_idx_images(images)
    with pytest.raises(DataError, match=r"holds uint8 \[3\] · .*labels · expected ima"):
        read_idx_images(labels)
    with pytest.raises(DataError, match=r"holds uint8 \[4, 6, 5\] .* expected a whole"):
        read_idx_images(images, images)
    with pytest.raises(DataError, match=r"\[4, 6, 0\] · .* expected images of bytes"):
        read_idx_images(write_idx(tmp_path / "none", PIXELS[:, :, :0]))


def test_other_files_are_not_idx_files(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", b"x,y\n1,2\n"),
        ("b", b"\0\0"),
        ("c.gz", gzip.compress(b"x,y\n1,2\n")),
        ("d.gz", b"\x1f\x8bbroken"),
    ):
        (tmp_path / name).write_bytes(content)
        assert not is_idx(tmp_path / name)
    assert not is_idx(tmp_path / "lost")
    assert not is_idx(tmp_path)
