"""Text as numbers: characters numbered by a vocabulary, and parts by position.

A character is a Unicode code point. Refuses to know any model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pellucid.errors import ArgumentError, DataError, message

__all__ = ["Vocabulary", "read_text", "split_text"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_SHOWN = 12
"""How many characters an error names."""


@dataclass(frozen=True)
class Vocabulary:
    """The characters that a model knows; each is numbered by its place.

    Args:
        characters: all of them, each once, in rising order.

    Raises `DataError` where there are fewer than two, and `ArgumentError` for
    characters that repeat or are not in order.

    >>> vocabulary = Vocabulary.of("banana")
    >>> vocabulary.characters, vocabulary.encode("nab").tolist()
    ('abn', [2, 0, 1])
    >>> vocabulary.decode([1, 0, 2])
    'ban'
    """

    characters: str

    def __post_init__(self) -> None:
        if len(self.characters) < 2:
            raise DataError(
                message(
                    f"the text has {len(self.characters)} different characters",
                    expected="expected at least two",
                )
            )
        if self.characters != "".join(sorted(set(self.characters))):
            raise ArgumentError(
                "the characters of a vocabulary rise, each is there once"
            )

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """Return the vocabulary of all characters in a text."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    @cached_property
    def _points(self) -> Array:
        return _code_points(self.characters)

    def encode(self, text: str, name: str = "the text") -> Array:
        """Return the number of each character, `i32[n]`.

        Raises `DataError` that names characters that are not known, and where the
        first stands.
        """
        points = _code_points(text)
        places = np.searchsorted(self._points, points).astype(np.int32)
        places = np.minimum(places, len(self) - 1)
        unknown = self._points[places] != points
        if unknown.any():
            raise self._stranger(text, int(unknown.argmax()), name)
        return places

    def _stranger(self, text: str, place: int, name: str) -> DataError:
        strangers = sorted({*text} - {*self.characters})
        shown = ", ".join(map(repr, strangers[:_SHOWN]))
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        what = "a character" if len(strangers) == 1 else "characters"
        return DataError(
            message(
                f"{name} has {what} that the model never saw: {shown}{more}",
                where=f"the first at place {place}, counted from 0",
                expected=f"expected {len(self)} characters: {self.characters!r:.100}",
                hint="leave them out, or train on a text that has them",
            )
        )

    def decode(self, numbers: Any) -> str:
        """Return the text of some numbers. Raises `DataError` for one that is none."""
        places = np.asarray(numbers)
        if places.size and not (places.min() >= 0 and places.max() < len(self)):
            wrong = places[(places < 0) | (places >= len(self))].flat[0]
            raise DataError(
                message(
                    f"no character {wrong}", expected=f"expected 0 to {len(self) - 1}"
                )
            )
        return "".join(self.characters[i] for i in places.reshape(-1).tolist())


def _code_points(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def read_text(path: str | Path) -> str:
    """Read a file of text in UTF-8; every kind of line end becomes a newline.

    Raises `DataError` for a file that is missing, empty, a folder, or not text.
    """
    name = str(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(message("no such file", where=name)) from None
    except IsADirectoryError:
        raise DataError(message("this is a folder", where=name)) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            message(
                "this is not text in UTF-8",
                where=f"{name}, byte {error.start}",
                hint="save it as UTF-8 first",
            )
        ) from None
    if not text:
        raise DataError(message("the file is empty", where=name))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_text(text: str, share: float) -> tuple[str, str]:
    """Return the beginning, to learn from, and the last share, to be judged by.

    Neighbouring passages are alike, so the parts are cut once, by position. Raises
    `DataError` where a part would be empty.

    >>> split_text("abcdefghij", 0.2)
    ('abcdefgh', 'ij')
    """
    if not 0 < share < 1:
        raise ArgumentError(f"share={share!r} · expected one between 0 and 1")
    cut = len(text) - max(1, round(len(text) * share))
    if cut < 1:
        raise DataError(f"a text of {len(text)} characters is too short to be parted")
    return text[:cut], text[cut:]
