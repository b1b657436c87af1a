"""A trained network with the characters that it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.data.text import Vocabulary
from pellucid.errors import DataError, message
from pellucid.nn import CrossEntropyLoss, LanguageModel
from pellucid.nn.sampling import Taste
from pellucid.runs.model import RunModel
from pellucid.text.preparing import windows_of
from pellucid.text.report import TextReport
from pellucid.text.settings import TextSettings
from pellucid.text.writing import Writer
from pellucid.train.trainer import Trainer

__all__ = ["TextModel"]


@dataclass(frozen=True, kw_only=True)
class TextModel(RunModel):
    """A network that says which character comes next, and writes."""

    kind: ClassVar[str] = "text"
    data: ClassVar[str] = "text"
    noun: ClassVar[str] = "characters"
    batch_noun: ClassVar[str] = "windows"

    module: LanguageModel
    settings: TextSettings
    report: TextReport
    vocabulary: Vocabulary

    def nats(self, text: str) -> float:
        """Return the mean of −log p(next character) over a text.

        It is cut into windows side by side; what remains at its end is left out. Raises
        `DataError` for a character that is not known, and for too short a text.
        """
        context = self.settings.context
        if len(text) <= context:
            raise DataError(
                message(
                    f"a text of {len(text)} characters is too short",
                    expected=f"expected more than {context}, the length of a window",
                )
            )
        windows = windows_of(self.vocabulary.encode(text), context)
        trainer = Trainer(self.module, CrossEntropyLoss(axis=-1))
        return trainer.evaluate(windows.inputs, windows.targets)["loss"]

    def write(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        engine: str | None = None,
    ) -> Iterator[str]:
        """Return new text that goes on from a prompt, piece by piece.

        Args:
            prompt: what it goes on from; nothing stands for the start of a line, of a
                word, or, where there is neither, for the first of the characters.
            length: how many characters.
            temperature: scores are divided by it: below 1 text is more alike to what
                was learned, above it is wilder; 0 takes the likeliest character.
            top_k: draw from so many likeliest characters.
            top_p: draw from the fewest likeliest that together have this probability.
            seed: the same seed draws the same text.
            engine: the name of an engine; the configured one by default.

        Raises `DataError` for a character in the prompt that training never saw, and
        `ArgumentError` for a value that is not allowed.
        """
        taste = Taste(temperature, top_k, top_p)
        writer = Writer(self.module, engine)
        tokens = self.vocabulary.encode(prompt or self._start, "the prompt")
        drawn = writer.write(tokens, length, taste, seed)
        return (self.vocabulary.decode(each) for each in drawn)

    @property
    def _start(self) -> str:
        """What a text without a prompt goes on from: the end of a line, if there is."""
        known = self.vocabulary.characters
        return next((each for each in "\n " if each in known), known[0])

    def summary(self) -> str:
        """Return the architecture as a table, a line for each layer."""
        return self.module.summary((1, self.settings.context), dtype="i32")

    # --- files ---

    def header(self) -> dict[str, Any]:
        """Return the characters as plain JSON values."""
        return {"characters": self.vocabulary.characters}

    @classmethod
    def parts(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the characters, the settings and the report from a header."""
        return {
            "vocabulary": Vocabulary(header["characters"]),
            "settings": TextSettings.from_dict(header["settings"]),
            "report": TextReport.from_json(header["report"]),
        }
