"""IDX files: arrays as MNIST stores them."""

import gzip
import struct

import numpy as np
import pytest

from pellucid.data.idx import read_idx
from pellucid.errors import DataError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    values = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return bytes([0, 0, code, array.ndim]) + sizes + values


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_array_of_every_type_comes_back(tmp_path, code, pack):
    array = np.arange(-6, 18).astype(code).reshape(2, 3, 4)
    path = tmp_path / "values"
    path.write_bytes(pack(idx_bytes(array)))
    found = read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.writeable


def test_an_array_without_rows_comes_back(tmp_path):
    path = tmp_path / "values"
    path.write_bytes(idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    assert read_idx(path).shape == (0, 28, 28)


WHOLE = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (WHOLE[:-1], "the IDX file is cut short · {} · expected 18 bytes, got 17"),
        (WHOLE[:9], "the IDX file is cut short · {} · expected 12 bytes, got 9"),
        (WHOLE + b"x", "the IDX file is longer than it says · {} · expected 18 bytes"),
        (b"PK\3\4 zip", "this is not an IDX file · {} · expected two zero bytes"),
        (b"\0\0\x07\1", "this is not an IDX file · {}"),
        (b"", "this is not an IDX file · {}"),
        (gzip.compress(WHOLE)[:-9], "cannot read the file: "),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path, data, text):
    path = tmp_path / "values"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(text.format(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such file · .*lost"):
        read_idx(tmp_path / "lost")
