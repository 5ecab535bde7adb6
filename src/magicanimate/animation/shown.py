"""Presentation of a setting in front ends: group, unit, default in words, control on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

GROUPS = MOTION, MODEL, LOOK, SOLVER, RUN = "Inputs and output", "Model", "The video", "Denoising", "Run"
"""Groups of options, in the order of the help."""


@dataclass(frozen=True)
class Shown:
    """Presentation of a setting in front ends.

    group: of options in the help. unit: of the value, or how it is written. text: a number that may be written
    otherwise. reads: it is about reading the inputs, so that `check` and `motion` have it too. default: what an open
    value becomes, in words. page: label on the web page, which else does not offer it; there also: place: row and
    column. choices: label -> value. switch: a box that is ticked for the first of two values. hint: what an empty
    field shows.
    """

    group: str
    unit: str = ""
    text: bool = False
    reads: bool = False
    default: str = ""
    page: str = ""
    place: tuple[int, int] = (0, 0)
    choices: Mapping[str, str] = field(default_factory=dict)
    switch: bool = False
    hint: str = ""


def shown(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, Shown]]:
    """Yield the settings of a model that front ends offer, in order."""
    for name, about in model.model_fields.items():
        for note in about.metadata:
            if isinstance(note, Shown):
                yield name, about, note


def kinds(about: FieldInfo) -> tuple[Any, ...]:
    """Return the types that a setting may have, without None."""
    union = get_origin(about.annotation) in (Union, UnionType)
    return tuple(
        kind for kind in (get_args(about.annotation) if union else (about.annotation,)) if kind is not NoneType
    )


def literals(about: FieldInfo) -> tuple[str, ...]:
    """Return the values of a setting that takes one of a few names; none for others."""
    (first, *others) = kinds(about)
    return get_args(first) if get_origin(first) is Literal and not others else ()
