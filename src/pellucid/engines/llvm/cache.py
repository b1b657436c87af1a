"""Machine code kept on disk: what was compiled once is not compiled again.

An entry is one file, named by a digest of all that decides its content, and starts
with a digest of the rest: a truncated or foreign file is taken for none. It is
written beside its place and renamed, so several processes and a kill in mid-write do
no harm. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["Cache", "folder"]

_DIGEST = 32
_MOST_FILES = 4096
"""Entries above which the least recently used half goes."""


def folder() -> Path:
    """Return where entries are kept: `PELLUCID_CACHE`, or the user's cache folder."""
    asked = os.environ.get("PELLUCID_CACHE")
    if asked:
        return Path(asked)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pellucid"


class Cache:
    """Bytes by name in a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def get(self, name: str) -> bytes | None:
        """Return what was put under a name, if it is there and whole."""
        path = self.place / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, rest = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(rest).digest() != digest:
            return None
        with suppress(OSError):
            os.utime(path)
        return rest

    def put(self, name: str, content: bytes) -> None:
        """Keep bytes under a name, if the folder can be written to."""
        beside = self.place / f"{name}.{secrets.token_hex(6)}.tmp"
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(beside, self.place / name)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            return
        self._prune()

    def _prune(self) -> None:
        with suppress(OSError):
            files = [each for each in os.scandir(self.place) if each.is_file()]
            if len(files) <= _MOST_FILES:
                return
            files.sort(key=lambda each: each.stat().st_mtime)
            for each in files[: len(files) // 2]:
                with suppress(OSError):
                    os.unlink(each.path)
