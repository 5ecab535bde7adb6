"""A long run's last finished step on disk, so that an interrupted run can be continued with the same result."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicanimate.errors import InputError, why_not_written
from magicanimate.files import atomic_path
from magicanimate.untrusted import read_pickled_object

if TYPE_CHECKING:
    pass

STEP_NAME = "step.pt"
_SAMPLED = 64  # values of each weight tensor that tell models apart


def resume_folder(out: Path) -> Path:
    """Return the folder of a video's finished steps until it is written: `dance.mp4` -> `dance.mp4.resume`."""
    return out.with_name(out.name + ".resume")


def check_resume(out: Path, resume: bool, overwrite: bool) -> None:
    """Remove finished steps of an interrupted run with `overwrite`, refuse them without it and without `resume`.

    Raises:
        InputError: finished steps are there, and neither is asked for.
    """
    folder = resume_folder(out)
    if resume or not (folder / STEP_NAME).exists():
        return
    if not overwrite:
        raise InputError(
            f"{folder} holds the finished steps of an interrupted run; add --resume to go on from there, or "
            "--overwrite to start anew."
        )
    discard_steps(folder)


def discard_steps(folder: Path) -> None:
    """Remove finished steps, and the folder unless other things are in it."""
    for path in (folder / STEP_NAME, *folder.glob(f".{STEP_NAME}.*.part")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class Checkpoint:
    """The last finished step of one run, in a folder of its own.

    folder: made when it is needed; when the video is written, `discard_steps` removes it. about: all that decides the
    result, as JSON-like values; a step of a run about something else is refused. patience: seconds that must have
    passed before the first step is written, so that short runs write nothing.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], patience: float = 0.0) -> None:
        self._folder, self._about = folder, json.loads(json.dumps(about))
        self._from = time.monotonic() + patience

    def load(self) -> dict[str, Any] | None:
        """Load what was last saved; None if nothing was.

        Raises:
            InputError: the file is damaged, or belongs to other settings or inputs.
        """
        path, advice = self._folder / STEP_NAME, "delete it, which starts the video anew"
        if not path.exists():
            return None
        saved = read_pickled_object(path, "The finished step", advice, ("about", "state"))
        about, state = saved["about"], saved["state"]
        if not (isinstance(about, dict) and isinstance(state, dict) and all(isinstance(name, str) for name in about)):
            raise InputError(f"The finished step {path} has other content than it should; {advice}.")
        others = differences(about, self._about)
        if others:
            raise InputError(
                f"{self._folder} belongs to a run with other settings or inputs ({', '.join(others)}); repeat that "
                "run's command, or delete the folder, which starts the video anew."
            )
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace what was saved, at once and completely. Raises InputError if it cannot be written."""
        if time.monotonic() < self._from:
            return
        import torch

        try:
            self._folder.mkdir(exist_ok=True)
            with atomic_path(self._folder / STEP_NAME, durable=True) as temporary, temporary.open("wb") as file:
                torch.save({"about": self._about, "state": dict(state)}, file)
        except (OSError, RuntimeError) as error:  # torch has its own error for a full disk
            if self._folder.is_dir() and not any(self._folder.iterdir()):
                self._folder.rmdir()
            reason = why_not_written(error)
            raise InputError(f"The finished step could not be written to {self._folder} ({reason}).") from error


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return names of the values that differ, those in nested mappings by their own names."""
    names: list[str] = []
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name), other.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            names += differences(left, right)
        elif left != right:
            names.append(name)
    return names
