"""How far a job is, how fast it goes, and how long it still takes, from what its state tells now and then."""

from __future__ import annotations

from dataclasses import dataclass, field

from magicanimate.serve.backend import JobState

_SHARES = {"loading": 0.0, "reading": 0.1, "layers": 0.0, "control": 0.1, "denoise": 0.6, "decode": 0.2}
"""Which part of a job's time its stages take, roughly."""
_LEAST = 0.08
"""Done so far, below which a time left would be a guess."""


@dataclass
class Pace:
    """Of one job. Feed it with every state that is seen."""

    frames: int | None = None
    """Of the result, as far as known."""
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
        """Of the whole job, 0 to 1."""
        if self._state is None or self._state.stage not in _SHARES:
            return 0.0
        stages = list(_SHARES)
        before = sum(_SHARES[name] for name in stages[: stages.index(self._state.stage)])
        return min(before + _SHARES[self._state.stage] * self._stage_fraction, 1.0)

    @property
    def _stage_fraction(self) -> float:
        state = self._state
        return state.done / state.total if state and state.total else 0.0

    @property
    def frames_per_second(self) -> float | None:
        """In the current stage; denoising is counted in frames of the finished video."""
        state = self._state
        if state is None or not state.stage or not state.total or not self.frames:
            return None
        since, done = self._begun[state.stage]
        seconds, units = self._now - since, state.done - done
        return units / state.total * self.frames / seconds if seconds > 0.3 and units > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """As if it went on like this."""
        started = self._state.started if self._state else None
        if started is None or self.fraction < _LEAST:
            return None
        return max(0.0, (self._now - started) * (1 - self.fraction) / self.fraction)
