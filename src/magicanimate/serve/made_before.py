"""Finished videos that are asked for again and again, kept beyond their jobs; they lie in the service's data folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from magicanimate.errors import InputError
from magicanimate.files import atomic_path, sha256, write_json
from magicanimate.media import settings_path
from magicanimate.serve.job_states import Record
from magicanimate.untrusted import read_json_object
from magicanimate.version import version

SENTENCE = "Made before, from the same picture and motion with the same settings."
"""Said of a video that was not computed for the one who asked."""
_MOST = 12  # videos; the ones that were made first go first
_FACTS = "facts.json"


class MadeBefore:
    """One folder per video, under a name that tells everything it was made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, job: Record, folder: Path) -> None:
        """Copy what a finished job made; `folder` has its files."""
        if job.state != "done" or job.result is None or job.driver is None or (self._folder / name).is_dir():
            return
        self._folder.mkdir(exist_ok=True, mode=0o700)
        with atomic_path(self._folder / name) as copy:
            copy.mkdir(mode=0o700)
            for file in (job.result, settings_path(Path(job.result)).name, job.driver):
                shutil.copy(folder / file, copy / file)
            facts = job.model_dump(include={"result", "driver", "size", "summary", "warnings"})
            write_json(copy / _FACTS, facts)
        kept = sorted(self._folder.glob("[!.]*"), key=lambda each: each.stat().st_mtime)
        for old in kept[:-_MOST]:
            shutil.rmtree(old, ignore_errors=True)

    def take(self, name: str, folder: Path) -> dict[str, Any] | None:
        """Copy the files into the new folder of a job; returns that job's fields. None: there is no such video."""
        kept = self._folder / name
        try:
            facts = read_json_object(kept / _FACTS, "The facts")
            shutil.copytree(kept, folder, ignore=shutil.ignore_patterns(_FACTS))
        except (InputError, FileNotFoundError):
            return None
        return facts | {"warnings": [*facts["warnings"], SENTENCE]}


def made_name(picture: Path, motion: Path, model: Path, settings: dict[str, Any]) -> str:
    """Return a name for the video that this version makes of both files with a model folder and settings."""
    files = sorted(path for path in model.rglob("*") if path.is_file())
    weights = [(str(path.relative_to(model)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return sha256(picture, motion, repr((version(), sorted(settings.items()), weights)))[:32]
