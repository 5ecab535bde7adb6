"""Checkpoints: written whole or not at all, restored strictly, and the best weights so far beside the last ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from magicanimate.errors import InputError, first_line, why_not_written
from magicanimate.files import atomic_path
from magicanimate.untrusted import read_pickled_object

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"


def write_checkpoint(path: Path, content: dict) -> None:
    """Write beside, then rename: whatever happens meanwhile, the previous checkpoint stays whole.

    Raises InputError if it cannot be written, e.g. on a full disk.
    """
    try:
        with atomic_path(path, durable=True) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns some of the former into the latter
        reason = why_not_written(error)
        kept = "the previous one is kept whole" if path.exists() else "there is none yet"
        raise InputError(f"The checkpoint {path} cannot be written ({reason}); {kept}.") from error


def module_weights(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """Return all that a checkpoint keeps of the networks."""
    return {name: module.state_dict() for name, module in modules.items()}


def save_weights(path: Path, modules: Mapping[str, nn.Module], step: int, **more: Any) -> None:
    """Write a checkpoint of `step` without an optimizer: from there, training goes on with a new warm-up."""
    write_checkpoint(path, {"step": step, "modules": module_weights(modules), **more})


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return a checkpoint's content. Raises InputError if it is damaged."""
    return read_pickled_object(path, "The checkpoint", "delete it to start anew", ("step", "modules"), device)


def load_modules(content: Mapping[str, Any], modules: Mapping[str, nn.Module], path: Path) -> None:
    """Fill the networks from a checkpoint's content. Raises InputError if it is of other networks."""
    try:
        for name, module in modules.items():
            module.load_state_dict(content["modules"][name])
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} does not fit this configuration ({first_line(error)}); use a new output folder."
        ) from error


class Best:
    """The weights with the best held-out figures so far, in `best.pt`."""

    def __init__(self, out: Path, by: tuple[str, ...]) -> None:
        self._path, self._by = out / BEST, by
        self._score = self._score_of(self._kept_figures()) if self._path.exists() else None

    def _kept_figures(self) -> Mapping[str, float]:
        figures = read_checkpoint(self._path).get("figures")
        if isinstance(figures, dict) and all(isinstance(value, int | float) for value in figures.values()):
            return figures
        raise InputError(f"The checkpoint {self._path} has no figures that can be read; delete it to start anew.")

    def _score_of(self, figures: Mapping[str, float]) -> tuple[float, ...] | None:
        """Compared one after the other; a name with a minus: less is better. None if the stage has none of them."""
        signs = {name.lstrip("-"): -1.0 if name.startswith("-") else 1.0 for name in self._by}
        return tuple(sign * figures[name] for name, sign in signs.items() if name in figures) or None

    def offer(self, figures: Mapping[str, float], modules: Mapping[str, nn.Module], step: int) -> bool:
        """Keep these weights if they are better than all before; -> whether they are."""
        score = self._score_of(figures)
        if score is None or (self._score is not None and not score > self._score):
            return False
        save_weights(self._path, modules, step, figures=dict(figures))
        self._score = score
        return True

    def restore(self, modules: Mapping[str, nn.Module]) -> None:
        """Put the best weights into the networks, if any were kept."""
        if self._path.exists():
            load_modules(read_checkpoint(self._path), modules, self._path)
