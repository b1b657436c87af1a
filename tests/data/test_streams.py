"""The order of rows in which every batch goes on where the one before it ended."""

import numpy as np
import pytest

from pellucid.data import Windows, stream_order
from pellucid.errors import ArgumentError, DataError


def test_each_stream_reads_its_own_piece_of_the_series_to_its_end():
    text = Windows(np.arange(103), length=5, stride=5, targets="shifted")
    order = stream_order(len(text), 4)
    batches = np.asarray(text.inputs[order]).reshape(-1, 4, 5)
    for stream in batches.swapaxes(0, 1):
        read = stream.ravel()
        assert (np.diff(read) == 1).all()
    assert sorted(batches.ravel()) == list(range(100))
    assert (np.asarray(text.targets[order]) == batches.reshape(-1, 5) + 1).all()


def test_stretches_that_do_not_fill_all_streams_are_left_out():
    assert stream_order(11, 3).tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_streams_must_be_filled():
    with pytest.raises(DataError, match="2 stretches do not fill 3 streams · choose"):
        stream_order(2, 3)
    with pytest.raises(
        ArgumentError, match="streams must be a whole number ≥ 1, not 0"
    ):
        stream_order(2, 0)
