"""Networks of diffusers from their configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from magicanimate.errors import InputError

Built = TypeVar("Built")


def build(make: Callable[..., Built], config: Mapping[str, Any], what: str) -> Built:
    """Call a library class with a configuration, of which entries that begin with `_` are the library's own.

    Args:
        make: the class.
        config: its arguments.
        what: whose configuration it is, for the message.

    Raises:
        InputError: arguments that the class does not have, or values that it refuses.
    """
    try:
        return make(**{key: value for key, value in config.items() if not key.startswith("_")})
    except (TypeError, ValueError) as error:
        raise InputError(f"The {what}'s configuration cannot be used: {error}") from error
