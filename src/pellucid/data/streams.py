"""Several pieces of one series read side by side, each batch the next stretch of all.

That is how a long text or series is trained on by truncated backpropagation through
time: the state of every stream goes on from one batch to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.errors import ArgumentError, DataError, message

__all__ = ["stream_order"]


def stream_order(rows: int, streams: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the order in which batches of `streams` rows continue one another.

    `rows` consecutive stretches of a series are cut into `streams` longer pieces. Row b
    of each batch then follows on row b of the batch before. Stretches at the end that
    do not fill all the streams are left out.

    >>> stream_order(7, 2).reshape(-1, 2).tolist()
    [[0, 3], [1, 4], [2, 5]]

    To train on a text of tokens with 32 streams and stretches of 64:

        text = Windows(tokens, length=64, stride=64, targets="shifted")
        order = stream_order(len(text), 32)
        X, y = text.inputs[order], text.targets[order]
        trainer.fit(X, y, batch_size=32, shuffle=False)
    """
    if isinstance(streams, bool) or not isinstance(streams, int) or streams < 1:
        raise ArgumentError(f"streams must be a whole number ≥ 1, not {streams!r}")
    length = rows // streams
    if not length:
        raise DataError(
            message(
                f"{rows} stretches do not fill {streams} streams",
                hint="choose fewer streams or shorter stretches",
            )
        )
    return np.arange(streams * length).reshape(streams, length).T.reshape(-1)
