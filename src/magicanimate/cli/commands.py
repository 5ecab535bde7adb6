"""Commands whose help shows no type of flags, and which answer to -h. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def _plain_flags(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A single command."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["context_settings"] = (named.get("context_settings") or {}) | HELP_NAMES
        super().__init__(*arguments, **named)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the help option included."""
        return _plain_flags(super().get_params(ctx))


class Group(TyperGroup):
    """A command with sub-commands."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["context_settings"] = (named.get("context_settings") or {}) | HELP_NAMES
        super().__init__(*arguments, **named)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, the help option included."""
        return _plain_flags(super().get_params(ctx))
