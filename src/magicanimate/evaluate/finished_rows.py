"""Finished videos of an evaluation, kept line by line, so that what was measured is not measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from magicanimate.errors import InputError
from magicanimate.evaluate.pairs import Pair
from magicanimate.evaluate.result import VideoRow
from magicanimate.files import sha256
from magicanimate.untrusted import parse_json

_BLOCK = 1 << 20


class Ledger:
    """Rows in a JSONL file, each under a key of everything that it depends on."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open one; `settings` are what rows depend on beside the videos. A last line that was cut off is dropped."""
        self._path = path
        self._told = json.dumps(settings, sort_keys=True, default=str)
        self._rows: dict[str, VideoRow] = {}
        self._digests: dict[Path, str] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = parse_json(line)
                    self._rows[entry["key"]] = VideoRow.model_validate(entry["row"])
                except (ValueError, KeyError, TypeError, ValidationError):
                    continue

    def key(self, pair: Pair) -> str:
        """Return the key of a pair: name, contents of its files, and the settings."""
        files = [path for path in (pair.output, pair.target, pair.parts) if path]
        told = [self._told, pair.name, *(self._digest(path) for path in files)]
        return sha256("\n".join(told))

    def find(self, key: str) -> VideoRow | None:
        """Return the finished row under a key."""
        return self._rows.get(key)

    def append(self, key: str, row: VideoRow) -> None:
        """Keep a finished row."""
        line = json.dumps({"key": key, "row": row.model_dump(mode="json")})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                if file.tell() and not self._ends_line():
                    file.write("\n")
                file.write(line + "\n")
        except OSError as error:
            raise InputError(f"{self._path} could not be written: {error.strerror or error}.") from error
        self._rows[key] = row

    def _ends_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = content_digest(path)
        return self._digests[path]


def content_digest(path: Path) -> str:
    """Return sha256 of a file, or of a folder's files with their names."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    pieces: list[str | Path] = []
    for file in files:
        pieces += [f"{file.relative_to(path) if path.is_dir() else ''}\0", file]
    try:
        return sha256(*pieces)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
