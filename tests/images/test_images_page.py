"""What the page on images shows runs as it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from images.conftest import make_images, save_folder
from pellucid import nn, random
from pellucid.images.settings import AUGMENTATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "images.md").read_text()


@pytest.mark.slow
def test_the_pages_code_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(tmp_path / "pets", make_images(60))
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["trainer"].history["validation_accuracy"][-1] > 0.8


def test_the_page_names_every_augmentation_with_its_layer() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.M)
    layers = {
        name: type(make((24, 24))).__name__ for name, make in AUGMENTATIONS.items()
    }
    assert dict(rows) == layers
    assert set(layers.values()) < set(nn.augment.__all__)
