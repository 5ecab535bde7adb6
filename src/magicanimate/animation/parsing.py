"""Values of settings as people write them."""

from __future__ import annotations

import re
from typing import Literal

PICTURE, DRIVER, TRANSPARENT = "picture", "driver", "transparent"
"""Backgrounds that are named; others are colors and paths."""
Size = tuple[int, int]
Interval = tuple[float, float]


def parse_size(text: str) -> Size | Literal["auto", "motion"]:
    """Parse `auto`, `motion`, or WIDTHxHEIGHT as people write it -> (height, width)."""
    if text.strip().lower() == "auto":
        return "auto"
    if text.strip().lower() == "motion":
        return "motion"
    match = re.fullmatch(r"\s*(-?\d+)\s*[xX×]\s*(-?\d+)\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write WIDTHxHEIGHT such as 512x512, auto or motion")
    width, height = int(match[1]), int(match[2])
    return height, width


def parse_interval(text: str) -> Interval:
    """Parse START-END, two numbers such as 0-0.5."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*-\s*(\d*\.?\d+)\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not an interval; write two numbers within 0 to 1 such as 0-0.5")
    return float(match[1]), float(match[2])


def parse_time(text: str) -> float:
    """Parse seconds, mm:ss or hh:mm:ss, the seconds with decimals if wanted -> seconds."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a time; write seconds such as 12.5, or minutes and seconds such as 1:05")
    hours, minutes, seconds = (float(piece or 0) for piece in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_background(text: str) -> str:
    """Parse `picture`, `driver`, `transparent`, a color as #rrggbb, or a path, which stays as it is written."""
    word = text.strip()
    if not word:
        raise ValueError("is empty; write picture, driver, transparent, a color such as #00ff00, or a path")
    if word.lower() in (PICTURE, DRIVER, TRANSPARENT):
        return word.lower()
    if not word.startswith("#"):
        return text
    digits = word[1:].lower()
    if re.fullmatch("[0-9a-f]{3}", digits):
        digits = "".join(2 * digit for digit in digits)
    if not re.fullmatch("[0-9a-f]{6}", digits):
        raise ValueError(f"{word!r} is not a color; write #rrggbb such as #00ff00")
    return f"#{digits}"


def is_path(background: str) -> bool:
    """Return True if a parsed background names a file or folder."""
    return background not in (PICTURE, DRIVER, TRANSPARENT) and not background.startswith("#")
