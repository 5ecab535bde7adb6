"""Evaluation: figures of videos against their targets, with intervals.

from magicanimate.evaluate import Evaluation, compare
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magicanimate.evaluate.evaluation import Evaluation, EvaluationSettings
    from magicanimate.evaluate.result import Result, compare

__all__ = ["Evaluation", "EvaluationSettings", "Result", "compare"]

# Imported when first asked for: `evaluate.basic` needs numpy alone.
_HOMES = {
    "Evaluation": "magicanimate.evaluate.evaluation",
    "EvaluationSettings": "magicanimate.evaluate.evaluation",
    "Result": "magicanimate.evaluate.result",
    "compare": "magicanimate.evaluate.result",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'magicanimate.evaluate' has no attribute {name!r}")
