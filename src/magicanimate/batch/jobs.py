"""The list of jobs: a CSV or JSONL file, each row checked on its own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicanimate.animation.parsing import TRANSPARENT, is_path
from magicanimate.animation.settings import AnimateSettings, make_settings
from magicanimate.batch.worker import Task
from magicanimate.errors import InputError
from magicanimate.files import sha256
from magicanimate.media.writing import SUFFIXES, check_alpha
from magicanimate.untrusted import parse_json

_PATHS = ("image", "motion", "out")


@dataclass(frozen=True, kw_only=True)
class BatchJob(Task):
    """One row. Its key is the same for the same row, whichever line it is in."""

    line: int


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be run, and why in one sentence."""

    line: int
    sentence: str


def read_jobs(path: Path, folder: Path) -> tuple[list[BatchJob], list[BadRow]]:
    """Rows with `image`, `motion`, perhaps `out`, and any setting of `AnimateSettings`; empty cells are left out.

    Args:
        path: .csv with a header, or .jsonl with one object a line. Paths in it are relative to it.
        folder: where videos go; `out` is relative to it.

    Raises:
        InputError: the file cannot be read, has no rows, or its header is wrong.
    """
    rows = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix.lower())
    if rows is None:
        raise InputError(f"{path} is not a list of jobs that can be read; give a .csv or .jsonl file.")
    jobs: list[BatchJob] = []
    bad: list[BadRow] = []
    lines: dict[Path, int] = {}
    try:
        for line, row in rows(path):
            try:
                job = _job(line, row, path.parent, folder)
                if job.out in lines:
                    raise InputError(f"out: {job.out.name} is also the output of line {lines[job.out]}.")
            except InputError as error:
                bad.append(BadRow(line, str(error)))
            else:
                lines[job.out] = line
                jobs.append(job)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The list of jobs {path} cannot be read: {error}.") from error
    if not jobs and not bad:
        raise InputError(f"The list of jobs {path} has no rows.")
    return jobs, bad


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restkey="")
        header = [name.strip() for name in reader.fieldnames or []]
        missing = [name for name in ("image", "motion") if name not in header]
        if missing:
            raise InputError(f"The first line of {path} must name the columns; it has no {' and no '.join(missing)}.")
        unknown = [name for name in header if name not in _PATHS and name not in AnimateSettings.model_fields]
        if unknown:
            raise InputError(f"{path} has columns that are no settings: {', '.join(map(repr, unknown))}.")
        reader.fieldnames = header
        for row in reader:
            cells = {name: value.strip() for name, value in row.items() if isinstance(value, str) and value.strip()}
            yield reader.line_num, cells if "" not in row else "the row has more cells than the first line has names."


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                yield number, f"the line is not JSON: {error}."
                continue
            yield number, row if isinstance(row, dict) else "the line is not a JSON object."


def _job(line: int, row: dict[str, Any] | str, base: Path, folder: Path) -> BatchJob:
    if isinstance(row, str):
        raise InputError(row)
    image, motion = (_existing(row, name, base) for name in ("image", "motion"))
    settings = make_settings(**{name: value for name, value in row.items() if name not in _PATHS})
    if is_path(settings.background):
        settings = settings.model_copy(update={"background": str((base / settings.background).resolve())})
    transparent = settings.background == TRANSPARENT
    chosen = settings.model_dump(mode="json", exclude_unset=True)
    content = json.dumps([str(image), str(motion), str(row.get("out", "")), chosen], sort_keys=True)
    key = sha256(content)[:12]
    usual = f"{image.stem}_{motion.stem}_{key[:6]}.{'webm' if transparent else 'mp4'}"
    out = folder / str(row.get("out") or usual)
    if out.suffix.lower() not in (*SUFFIXES, ""):
        raise InputError(f"out: {out.name} should end in {', '.join(SUFFIXES)}, or in nothing for a folder of frames.")
    if transparent:
        check_alpha(out)
    about = {"image": str(image), "motion": str(motion), "job": key}
    return BatchJob(line=line, key=key, image=image, motion=motion, out=out, settings=settings, about=about)


def _existing(row: dict[str, Any], name: str, base: Path) -> Path:
    if not row.get(name):
        raise InputError(f"{name} is missing.")
    path = base / str(row[name])
    if not path.exists():
        raise InputError(f"{name}: {path} does not exist.")
    return path.resolve()
