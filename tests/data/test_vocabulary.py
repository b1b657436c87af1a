"""Text as numbers: vocabularies, files, parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pellucid.data.text import Vocabulary, read_text, split_text
from pellucid.errors import ArgumentError, DataError


def test_a_vocabulary_numbers_characters_in_the_order_of_unicode() -> None:
    text = "zebra é 😀\n"
    vocabulary = Vocabulary.of(text)
    assert vocabulary.characters == "".join(sorted(set(text)))
    numbers = vocabulary.encode(text)
    assert numbers.dtype == np.int32
    assert [vocabulary.characters[i] for i in numbers] == [*text]
    assert vocabulary.decode(numbers) == text
    assert len(vocabulary) == 9


def test_nothing_is_a_text_too() -> None:
    vocabulary = Vocabulary("ab")
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.decode([]) == ""


def test_characters_that_are_not_known_are_named() -> None:
    vocabulary = Vocabulary("ab")
    words = (
        r"the prompt has characters that the model never saw: 'c', 'ü' · the first at "
        r"place 2, counted from 0 · expected 2 characters: 'ab' · leave them out"
    )
    with pytest.raises(DataError, match=words):
        vocabulary.encode("abücc", "the prompt")
    with pytest.raises(
        DataError, match="has a character that the model never saw: 'A' ·"
    ):
        vocabulary.encode("A")
    with pytest.raises(DataError, match="'k', 'l', 'm', 'n' and 1 more"):
        vocabulary.encode("cdefghijklmno")


def test_numbers_that_are_no_characters_are_named() -> None:
    with pytest.raises(DataError, match="no character 2 · expected 0 to 1"):
        Vocabulary("ab").decode([0, 2])
    with pytest.raises(DataError, match="no character -1"):
        Vocabulary("ab").decode([-1])


def test_a_vocabulary_needs_two_characters_in_order() -> None:
    with pytest.raises(DataError, match="the text has 1 different characters"):
        Vocabulary.of("aaa")
    for wrong in ("ba", "aab"):
        with pytest.raises(ArgumentError, match="rise, each is there once"):
            Vocabulary(wrong)


def test_lines_end_in_one_way(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffä\r\nb\rc\n".encode())
    assert read_text(file) == "ä\nb\nc\n"


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with pytest.raises(DataError, match=r"no such file · .*a\.txt"):
        read_text(file)
    with pytest.raises(DataError, match="this is a folder"):
        read_text(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_text(file)
    file.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"not text in UTF-8 · .*a\.txt, byte 3 · save"):
        read_text(file)


def test_the_end_of_a_text_is_held_out() -> None:
    assert split_text("ab", 0.01) == ("a", "b")
    with pytest.raises(DataError, match="1 characters is too short to be parted"):
        split_text("a", 0.5)
    with pytest.raises(ArgumentError, match="expected one between 0 and 1"):
        split_text("ab", 1.0)
