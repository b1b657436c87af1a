"""Model files: what is written comes back; what is broken is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from pellucid.errors import ArgumentError, DTypeError, ModelFileError
from pellucid.files import FORMAT, read_file, read_tensors, write_file

HEADER = {"task": "regression", "columns": ["a", "größe"], "range": [0.1, -2.5e-308]}
EDGES = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-45])
ARRAYS = {
    "scalar": np.array(3.5),
    "bits": np.array([[True, False, True]]),
    "u8": np.arange(256, dtype=np.uint8),
    "u32": np.array([0, 2**32 - 1], np.uint32),
    "i32": np.array([-(2**31), 2**31 - 1], np.int32),
    "i64": np.array([-(2**63), 2**63 - 1], np.int64),
    "f32": np.float32(EDGES),
    "f64": EDGES,
    "none": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pellucid"


@pytest.mark.parametrize("name", ARRAYS)
def test_every_dtype_comes_back_bit_for_bit(path: Path, name: str) -> None:
    write_file(path, {name: ARRAYS[name]}, {})
    found = read_file(path)[0][name]
    assert (found.dtype, found.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
    assert found.tobytes() == ARRAYS[name].tobytes()


def test_the_header_comes_back_with_its_order(path: Path) -> None:
    write_file(path, {}, HEADER)
    tensors, header = read_file(path)
    assert (tensors, header) == ({}, HEADER)
    assert list(header) == list(HEADER)


def test_views_and_foreign_byte_orders_keep_their_values(path: Path) -> None:
    grid = np.arange(12.0).reshape(3, 4)
    given = {"t": grid.T, "step": grid[:, ::2], "big": grid.astype(">f4")}
    write_file(path, given, {})
    found = read_tensors(path)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
    assert found["big"].dtype == np.dtype("f4")


def test_arrays_that_were_read_can_be_written_to(path: Path) -> None:
    write_file(path, {"w": np.zeros(3)}, {})
    read_file(path)[0]["w"][0] = 1.0


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    write_file(first, ARRAYS, HEADER)
    write_file(second, dict(reversed(ARRAYS.items())), HEADER)
    assert first.read_bytes() == second.read_bytes()


def test_any_safetensors_reader_reads_the_arrays(path: Path) -> None:
    write_file(path, {"w": np.arange(3.0)}, HEADER)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["pellucid"])["format"] == FORMAT
        np.testing.assert_array_equal(file.get_tensor("w"), np.arange(3.0))


def test_writing_leaves_nothing_but_the_file(path: Path) -> None:
    write_file(path, ARRAYS, HEADER)
    write_file(path, ARRAYS, {})
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert read_file(path)[1] == {}


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its(
    path: Path,
) -> None:
    usual = path.with_name("usual")
    usual.touch()
    write_file(path, {}, {})
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o640)
    write_file(path, {}, {})
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("latest.pellucid")
    link.symlink_to(path)
    write_file(link, {}, HEADER)
    assert link.is_symlink()
    assert read_file(path)[1] == HEADER


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"classes": {0: "no"}}, "a key of header.classes is 0, not a string"),
        ({"mean": [1.0, float("nan")]}, r"header\.mean\[1\] is nan"),
        ({"mean": np.float32(1)}, r"header\.mean is of type float32"),
    ],
)
def test_a_header_that_would_change_is_refused(
    path: Path, header: dict[str, object], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        write_file(path, {}, header)
    assert not path.exists()


@pytest.mark.parametrize("value", [["a"], [1 + 2j], [object()]])
def test_an_array_that_is_not_of_numbers_is_refused(path: Path, value: object) -> None:
    with pytest.raises(DTypeError, match=r"cannot be stored · array 'w'"):
        write_file(path, {"w": value}, {})


FULL_DISK = """
import resource, sys
import numpy as np
from pellucid.errors import ModelFileError
from pellucid.files import write_file

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_file(sys.argv[1], {"w": np.zeros(100_000)}, {})
except ModelFileError as error:
    print(error)
"""


@pytest.mark.parametrize("old", [True, False])
def test_a_disk_that_fills_up_leaves_no_half_file(path: Path, old: bool) -> None:
    if old:
        write_file(path, {"w": np.ones(3)}, HEADER)
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"cannot write {str(path)!r}: the file would be larger than is allowed"
    assert run.stdout.startswith(expected)
    assert ("the file of this name is as it was" in run.stdout) == old
    assert [each.name for each in path.parent.iterdir()] == [path.name] * old
    if old:
        assert read_file(path)[1] == HEADER


ENDLESS = """
import sys
import numpy as np
from pellucid.files import write_file

while True:
    write_file(sys.argv[1], {"w": np.zeros(4_000_000)}, {})
"""


def test_an_interruption_leaves_no_half_file(path: Path) -> None:
    write_file(path, {}, HEADER)
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path)],
        stderr=subprocess.DEVNULL,
    ) as writer:
        while writer.poll() is None and not list(path.parent.glob("*.tmp")):
            time.sleep(0.0001)
        writer.send_signal(signal.SIGINT)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    read_file(path)


def test_places_that_cannot_be_written_say_why(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "file").touch()
    for place, text in [
        (tmp_path, "is not a regular file"),
        (pipe, "is not a regular file"),
        (tmp_path / "absent" / "m.pellucid", "there is no folder '.*absent'"),
        (tmp_path / "file" / "m.pellucid", "not a directory"),
        (tmp_path / ("m" * 300), "name is too long"),
    ]:
        with pytest.raises(ModelFileError, match=text):
            write_file(place, {}, {})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "pipe"]


def test_a_missing_file_names_the_one_beside_it(path: Path) -> None:
    write_file(path, {}, {})
    with pytest.raises(ModelFileError, match=r"did you mean 'model\.pellucid'"):
        read_file(path.with_name("modle.pellucid"))
    with pytest.raises(ModelFileError, match=r"there is no folder '.*absent'"):
        read_file(path.parent / "absent" / "model.pellucid")
    with pytest.raises(ModelFileError, match="it is a folder"):
        read_file(path.parent)


def test_an_empty_file_is_named_so(path: Path) -> None:
    path.touch()
    with pytest.raises(ModelFileError, match=r"model\.pellucid' is empty"):
        read_file(path)


def test_a_file_cut_short_anywhere_is_named_so(path: Path) -> None:
    write_file(path, ARRAYS, HEADER)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=f"cut short.*found {length}"):
            read_file(path)


def test_bytes_behind_the_arrays_are_damage(path: Path) -> None:
    write_file(path, ARRAYS, HEADER)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelFileError, match="is damaged"):
        read_file(path)


FOREIGN = {
    "text": b"a,b,target\n1,2,3\n",
    "archive": b"PK\x03\x04" + bytes(200),
    "json": b'{"a": {"b": 1}, "c": {"d": 2}}',
    "not a table": (9).to_bytes(8, "little") + b'{"a": [1]' + bytes(9),
    "list": (4).to_bytes(8, "little") + b'{"a"' + bytes(9),
    "depth": (10**5).to_bytes(8, "little") + b'{"a":' + b"[" * 10**5,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_named_so(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a model file"):
        read_file(path)


def test_random_bytes_never_raise_anything_else(path: Path) -> None:
    random = np.random.default_rng(0)
    write_file(path, {"w": np.arange(4.0)}, HEADER)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(500):
        damaged = whole.copy()
        places = random.integers(0, len(whole), random.integers(1, 8))
        damaged[places] = random.integers(0, 256, len(places))
        for content in (damaged.tobytes(), random.bytes(random.integers(1, 200))):
            path.write_bytes(content)
            with suppress(ModelFileError):
                read_file(path)


def test_a_plain_safetensors_file_gives_arrays_only(path: Path) -> None:
    safetensors.numpy.save_file({"b": np.ones(2), "a": np.zeros(1)}, path)
    assert list(read_tensors(path)) == ["a", "b"]
    with pytest.raises(ModelFileError, match=r"was not written by Pellucid .*read_ten"):
        read_file(path)


def test_a_dtype_that_numpy_lacks_is_named(path: Path) -> None:
    table = json.dumps({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}})
    path.write_bytes(len(table).to_bytes(8, "little") + table.encode() + bytes(2))
    with pytest.raises(ModelFileError, match="holds arrays of dtype BF16"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": 99}', f"newer Pellucid · file format 99, .* up to {FORMAT}"),
        ('{"format": 1}', "the header of .* is damaged"),
        ('{"format": 1, "header": [1]}', "the header of .* is damaged"),
        ("[1]", "the header of .* is damaged"),
        ("{", "the header of .* is damaged"),
    ],
)
def test_a_header_that_is_newer_or_damaged_is_named(
    path: Path, text: str, words: str
) -> None:
    safetensors.numpy.save_file({"w": np.ones(1)}, path, metadata={"pellucid": text})
    with pytest.raises(ModelFileError, match=words):
        read_file(path)
