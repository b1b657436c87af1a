"""Images as bytes: what comes out of a file, and what size many of them become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pellucid.data.images import choose_size, is_image, read_image, read_images
from pellucid.errors import ArgumentError, DataError

DRAW = np.random.default_rng(0)


def colours(height: int = 6, width: int = 9) -> np.ndarray:
    return DRAW.integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(place: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(place, **options)
    return place


# --- one image ---


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff"])
def test_the_pixels_of_a_colour_image_come_back_channels_first(
    tmp_path: Path, suffix: str
) -> None:
    pixels = colours()
    found = read_image(saved(tmp_path / f"a.{suffix}", pixels))
    assert (found.dtype, found.shape) == (np.uint8, (3, 6, 9))
    np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "pgm"])
def test_the_pixels_of_a_grey_image_come_back(tmp_path: Path, suffix: str) -> None:
    pixels = colours()[:, :, 0]
    found = read_image(saved(tmp_path / f"a.{suffix}", pixels), channels=1)
    np.testing.assert_array_equal(found, pixels[None])


def test_a_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    found = read_image(saved(tmp_path / "a.JPG", smooth, format="JPEG", quality=95))
    assert found.shape == (1, 40, 60)
    assert abs(found[0].astype(int) - smooth).max() < 8


@pytest.mark.parametrize("mark", range(1, 9))
def test_an_image_that_the_camera_turned_is_turned_back(
    tmp_path: Path, mark: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = mark
    place = saved(tmp_path / "a.png", colours(), exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(place)))
    np.testing.assert_array_equal(read_image(place), upright.transpose(2, 0, 1))
    assert read_images([place]).sizes == (upright.shape[:2],)


def test_an_unknown_mark_of_the_camera_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    place = saved(tmp_path / "a.png", colours(), exif=exif)
    assert read_image(place).shape == (3, 6, 9)


def test_colour_becomes_grey_by_its_brightness_and_grey_becomes_three_channels(
    tmp_path: Path,
) -> None:
    pixels = colours()
    grey = read_image(saved(tmp_path / "a.png", pixels), channels=1)
    # ITU-R 601: the weights of red, green and blue.
    expected = pixels @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[0], expected, atol=1)
    back = read_image(saved(tmp_path / "b.png", grey[0]), channels=3)
    np.testing.assert_array_equal(back, np.repeat(grey, 3, axis=0))


def test_sixteen_bits_become_eight_and_nothing_is_cut_off(tmp_path: Path) -> None:
    values = np.array([[0, 257, 514, 40000, 65535]], np.uint16)
    found = read_image(saved(tmp_path / "a.png", values))
    assert found.tolist() == [[[0, 1, 2, 156, 255]]]


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    found = read_image(saved(tmp_path / "a.png", pixels))
    assert found[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]
    ink = Image.fromarray(np.array([[0, 200]], np.uint8)).convert("P")
    ink.save(tmp_path / "b.gif", transparency=0)
    assert read_image(tmp_path / "b.gif", channels=1).tolist() == [[[255, 200]]]


def test_of_a_moving_picture_the_first_is_taken(tmp_path: Path) -> None:
    first, second = (Image.new("L", (3, 2), shade) for shade in (40, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (read_image(tmp_path / "a.gif", channels=1) == 40).all()


def test_an_image_is_stretched_to_a_height_and_a_width(tmp_path: Path) -> None:
    halves = np.repeat(np.array([[0, 200]], np.uint8), 20, axis=1).repeat(10, axis=0)
    found = read_image(saved(tmp_path / "a.png", halves), size=(5, 4))
    assert found.shape == (1, 5, 4)
    assert found[0, :, 0].tolist() == [0] * 5
    assert found[0, :, 3].tolist() == [200] * 5


def test_a_large_photograph_shrinks_to_its_average_colours(tmp_path: Path) -> None:
    tall = np.zeros((1200, 800, 3), np.uint8)
    tall[:600, :, 0] = 250
    place = saved(tmp_path / "a.jpg", tall, quality=95)
    found = read_image(place, size=(4, 4))
    np.testing.assert_allclose(found[0, [0, 3]], [[250] * 4, [0] * 4], atol=6)


def test_a_jpeg_is_decoded_finely_enough_for_its_size(tmp_path: Path) -> None:
    place = saved(tmp_path / "a.jpg", colours(80, 96), quality=95)
    whole = Image.open(place).resize((40, 30), Image.Resampling.BILINEAR)
    found = read_image(place, size=(30, 40))
    np.testing.assert_array_equal(found, np.asarray(whole).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("lost.png", None, "no such file · {} · did you mean 'lose.png'?"),
        ("empty.png", b"", "the file is empty · {}"),
        ("text.png", b"hello, hello, hello", "this is not an image that can be read"),
        ("lose.png", "cut", "the image is damaged: "),
        ("folder.png", "folder", "cannot read the file: it is a folder · {}"),
    ],
)
def test_a_file_without_pixels_is_named_with_the_reason(
    tmp_path: Path, name: str, content: Any, words: str
) -> None:
    whole = saved(tmp_path / "lose.png", colours(50, 50)).read_bytes()
    place = tmp_path / name
    if content == "folder":
        place.mkdir()
    elif content is not None:
        place.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    with pytest.raises(DataError) as caught:
        read_image(place)
    assert str(caught.value).startswith(words.format(place))
    assert str(place) in str(caught.value)


def test_pixels_of_floats_are_refused(tmp_path: Path) -> None:
    place = saved(tmp_path / "a.tiff", np.ones((3, 3), np.float32))
    with pytest.raises(DataError, match=r"32-bit floats · .*a\.tiff · save it with 8"):
        read_image(place)


def test_channels_and_sizes_that_no_image_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"channels=2 · expected 1 \(grey\) or 3"):
        read_images([], channels=2)
    with pytest.raises(ArgumentError, match=r"size=\(0, 3\) · expected a height"):
        read_images([], size=(0, 3))


def test_images_are_known_by_their_names() -> None:
    names = ["a.png", "a.JPEG", "a.gif", "a.txt", ".a.png", "png"]
    assert [is_image(Path(each)) for each in names] == [True] * 3 + [False] * 3


# --- many images ---


def test_many_images_become_one_array(tmp_path: Path) -> None:
    pixels = [colours() for _ in range(3)]
    paths = [saved(tmp_path / f"{i}.png", each) for i, each in enumerate(pixels)]
    found = read_images(paths)
    np.testing.assert_array_equal(found.pixels, np.stack(pixels).transpose(0, 3, 1, 2))
    assert (found.kept, found.failed, found.size) == ((0, 1, 2), {}, (6, 9))


def test_one_colour_anywhere_makes_three_channels_and_none_makes_one(
    tmp_path: Path,
) -> None:
    grey = colours()[:, :, :1].repeat(3, axis=2)
    paths = [saved(tmp_path / f"{i}.png", grey) for i in range(2)]
    one = read_images(paths)
    np.testing.assert_array_equal(one.pixels[0], grey[:, :, :1].transpose(2, 0, 1))
    grey[0, 0, 0] += 1
    paths.append(saved(tmp_path / "odd.png", grey))
    assert read_images(paths).pixels.shape == (3, 3, 6, 9)
    assert read_images(paths, channels=1).pixels.shape == (3, 1, 6, 9)


def test_the_size_is_the_median_and_at_most_64(tmp_path: Path) -> None:
    assert choose_size([(28, 28)] * 3) == (28, 28)
    assert choose_size([(10, 20), (30, 20), (32, 20)]) == (30, 20)
    assert choose_size([(300, 400)]) == (48, 64)
    assert choose_size([(1, 1000)]) == (1, 64)


def test_images_of_unlike_size_are_stretched_to_one(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{n}.png", colours(n, n)) for n in (4, 6, 9)]
    found = read_images(paths)
    assert found.pixels.shape == (3, 3, 6, 6)
    assert found.sizes == ((4, 4), (6, 6), (9, 9))
    np.testing.assert_array_equal(found.pixels[2], read_image(paths[2], size=(6, 6)))


def test_images_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{i}.png", colours(30, 30)) for i in range(4)]
    paths[0].write_bytes(b"nothing")
    paths[2].write_bytes(paths[2].read_bytes()[:-900])
    found = read_images(paths)
    assert (found.kept, len(found.sizes)) == ((1, 3), 2)
    assert list(found.failed) == [str(paths[0]), str(paths[2])]
    np.testing.assert_array_equal(found.pixels[1], read_image(paths[3]))


def test_where_no_image_can_be_read_the_first_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for each in paths:
        each.write_bytes(b"x")
    with pytest.raises(DataError, match=r"none of 2 images can be read, .*a\.png"):
        read_images(paths)
    with pytest.raises(DataError, match="there are no images to read"):
        read_images([])
