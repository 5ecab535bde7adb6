"""Estimate progress, speed, and remaining time of a job from its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from magicanimate.serve.backend import JobState

_FINDING = {"loading": 0.0, "extracting": 0.05, "looking": 0.05, "fitting": 0.15, "reading": 0.05}
SHARES = _FINDING | {"layers": 0.05, "control": 0.05, "denoise": 0.4, "decode": 0.2}
"""Share of a job's time that its stages take, roughly, in their order."""
PREVIEW_SHARES = _FINDING | {"looking": 0.15, "fitting": 0.45, "layers": 0.15, "decode": 0.15}
"""The same of a rough preview, which has no networks."""
CHECK_SHARES = _FINDING | {"looking": 0.2, "fitting": 0.5, "layers": 0.2}
"""The same of the check, which makes no video."""
_LEAST = 0.08
"""Done so far, below which a time left would be a guess."""


@dataclass
class Pace:
    """Pace of one job. Feed it with every state that is seen."""

    frames: int | None = None
    """Frames of the result, as far as known."""
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)
    _begun: dict[str, tuple[float, int]] = field(default_factory=dict)
    _now: float = 0.0
    _state: JobState | None = None

    def see(self, state: JobState, now: float) -> None:
        """A state, and the time in seconds since 1970."""
        self._state, self._now = state, now
        if state.stage:
            self._begun.setdefault(state.stage, (now, state.done))
        if state.stage in ("reading", "decode") and state.total:
            self.frames = state.total

    @property
    def fraction(self) -> float:
        """Progress of the whole job, 0 to 1."""
        stage, stages = self._state.stage if self._state else None, list(self.shares)
        if stage not in stages:
            return 0.0
        before = sum(self.shares[name] for name in stages[: stages.index(stage)])
        return min(before + self.shares[stage] * self._stage_fraction, 1.0)

    @property
    def _stage_fraction(self) -> float:
        state = self._state
        return state.done / state.total if state and state.total else 0.0

    @property
    def frames_per_second(self) -> float | None:
        """Speed in the current stage; denoising is counted in frames of the finished video."""
        state = self._state
        if state is None or not state.stage or not state.total or not self.frames:
            return None
        since, done = self._begun[state.stage]
        seconds, units = self._now - since, state.done - done
        return units / state.total * self.frames / seconds if seconds > 0.3 and units > 0 else None

    @property
    def seconds_so_far(self) -> float | None:
        """Since it was begun."""
        started = self._state.started if self._state else None
        return None if started is None else self._now - started

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds at this speed; None while the stage tells nothing of itself."""
        started = self._state.started if self._state else None
        if started is None or self.fraction < _LEAST or not self._stage_fraction:
            return None
        return max(0.0, (self._now - started) * (1 - self.fraction) / self.fraction)
