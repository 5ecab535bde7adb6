"""Judge whether figures compare with the published table of the TikTok data set: only on the very same videos.

The list of DisCo's test videos is not part of this package. A list has one video a line: its name and its number of
frames, divided by spaces, a tab or a comma; lines that begin with # are remarks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from magicanimate.errors import InputError
from magicanimate.evaluate.evaluation import EvaluationSettings
from magicanimate.evaluate.result import VideoRow

_SIZE = 256  # pixels, of the published protocol


@dataclass(frozen=True)
class Verdict:
    """Verdict on comparability with the TikTok table, and why (not)."""

    comparable: bool
    sentence: str


def judge(file: Path | None, rows: list[VideoRow], settings: EvaluationSettings) -> Verdict:
    """Compare the evaluated videos with a list.

    Raises:
        InputError: the list cannot be read.
    """
    if file is None:
        return _no("no list of DisCo's test videos was given (--tiktok-list)")
    if settings.size != _SIZE or settings.reference != "first":
        return _no(f"the published protocol is {_SIZE}x{_SIZE} pixels with the first frame as the reference")
    listed = read_list(file)
    skipped = 1 if settings.reference == "first" else 0
    ours = {row.name: row.frames + skipped for row in rows}
    missing, extra = sorted(set(listed) - set(ours)), sorted(set(ours) - set(listed))
    if missing:
        return _no(f"{len(missing)} of the list's {len(listed)} videos are missing, such as {missing[0]}")
    if extra:
        return _no(f"{len(extra)} videos are not in the list, such as {extra[0]}")
    for name, frames in listed.items():
        if frames != ours[name]:
            return _no(f"{name} has {ours[name]} frames, and {frames} in the list")
    return Verdict(
        True,
        "Comparable with the TikTok table: names and frame counts match the list. Its PSNR, L1 and LPIPS columns are "
        "those of the block disco-compat.",
    )


def _no(why: str) -> Verdict:
    return Verdict(False, f"Not comparable with the TikTok table: {why}.")


def read_list(file: Path) -> dict[str, int]:
    """Number of frames by name.

    Raises:
        InputError: it is missing, empty, or a line has no number of frames.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The list {file} cannot be read; give a text file with a name and a frame count a line."
        ) from error
    listed: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = re.fullmatch(r"\s*(\S+?)[\s,;]+(\d+)\s*", line)
        if not found:
            raise InputError(f"Line {number} of {file} is not a name and a number of frames: {line.strip()!r}.")
        listed[found[1]] = int(found[2])
    if not listed:
        raise InputError(f"The list {file} names no video.")
    return listed
