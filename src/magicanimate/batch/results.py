"""The table of results: one JSON row per job in results.jsonl, written as soon as the job ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.files import write_text
from magicanimate.media.writing import settings_path
from magicanimate.untrusted import parse_json, read_json_object

FILE_NAME = "results.jsonl"
DONE, FAILED, BAD = "done", "failed", "bad row"


class Results:
    """Rows of one folder. Opening it forgets all but the finished jobs, so that the others are tried again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._rows = {row["key"]: row for row in self._read() if row["state"] == DONE}
            self._rewrite()
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be written to: {error}.") from error

    def is_done(self, key: str, out: Path) -> bool:
        """Return True if a job is finished and its video still there, even if the row was not written any more."""
        if not out.exists():
            return False
        return key in self._rows or _key_beside(out) == key

    def add(self, row: dict[str, Any]) -> None:
        """Write a job's row, so that it survives whatever happens next."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> list[dict[str, Any]]:
        """Return all whole rows; a driver that was killed may have left half of one."""
        if not self._path.exists():
            return []
        rows = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("key"), str) and isinstance(row.get("state"), str):
                rows.append(row)
        return rows

    def _rewrite(self) -> None:
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in self._rows.values()))


def _key_beside(out: Path) -> str | None:
    """Return the job that a video was made by, from the settings beside it."""
    try:
        return read_json_object(settings_path(out), "The settings").get("job")
    except InputError:
        return None
