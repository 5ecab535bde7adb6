"""Command line options made from the settings models, which declare every option once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from magicanimate.animation.shown import GROUPS, Shown, kinds, literals, shown

_WORDS = {int: "INTEGER", float: "NUMBER", Path: "PATH", str: "TEXT"}


def with_options(*models: type[BaseModel], only: Callable[[str, Shown], bool] | None = None) -> Callable[[Any], Any]:
    """Give a function, by decoration, an option for every setting of the models.

    The function takes them as `**options`, by name: those that were given on the command line, as they were written or
    as numbers. only: which settings become options, by name and how they are shown; default: all.
    """

    def decorate(function: Any) -> Any:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [
            _parameter(name, about, note)
            for model in models
            for name, about, note in shown(model)
            if only is None or only(name, note)
        ]
        names = [parameter.name for parameter in made]

        def command(**values: Any) -> Any:
            given = {name: values.pop(name) for name in names}
            return function(**values, **{name: value for name, value in given.items() if value is not None})

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in sorted((*own, *made), key=_group)]
        )
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *made)}
        return command

    return decorate


def _group(parameter: inspect.Parameter) -> int:
    """Place of a parameter's group in the help; those of no group come first."""
    panels = [getattr(note, "rich_help_panel", None) for note in getattr(parameter.annotation, "__metadata__", ())]
    return next((GROUPS.index(panel) for panel in panels if panel in GROUPS), -1)


def _parameter(name: str, about: FieldInfo, note: Shown) -> inspect.Parameter:
    (kind, *others) = kinds(about)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        return _optional(name, bool, _flags(flag, about), about, note, None)
    number = kind in (int, float, Path) and not others and not note.text
    metavar = "|".join(literals(about)) or note.unit or _WORDS.get(kind, "TEXT")
    return _optional(name, kind if number else str, [flag], about, note, metavar)


def _flags(flag: str, about: FieldInfo) -> list[str]:
    """--loop; --no-audio where the setting is on by itself; both where nobody knows."""
    off = "--no-" + flag.removeprefix("--")
    return [flag] if about.default is False else [f"{flag}/{off}"]


def _optional(
    name: str, kind: Any, flags: list[str], about: FieldInfo, note: Shown, metavar: str | None
) -> inspect.Parameter:
    description = about.description or ""
    default = note.default or ("" if about.default in (None, False) else _written(about.default))
    told = f"{description[:1].upper()}{description[1:]}." + (f" Default: {default}." if default else "")
    option = typer.Option(*flags, help=told, rich_help_panel=note.group, metavar=metavar, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _written(default: Any) -> str:
    if default is True:
        return "on"
    return f"{default:g}" if isinstance(default, float) else str(default)
