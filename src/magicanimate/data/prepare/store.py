"""The prepared folder: shards and records of finished sources, settings, and the indexes that training reads.

DATA/prepare.json: settings. DATA/sources/KEY.json: what became of a source; written last, so it marks the source as
done. DATA/{train,held_out,images,held_out_images}/: data sets as `synth.dataset` lays them out, each shard one stretch
of one source.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from magicanimate.data.prepare.settings import PrepareSettings
from magicanimate.data.prepare.source import STILL_FRAMES, Source, SourceOutcome, Tick, cut_source
from magicanimate.data.prepare.sources import parts_digest
from magicanimate.errors import InputError
from magicanimate.files import write_json, write_npy
from magicanimate.synth.dataset import INDEX, DatasetSettings

SETTINGS, RECORDS = "prepare.json", "sources"
FOLDERS = ("train", "held_out", "images", "held_out_images")


def _write_json(path: Path, content: Any) -> None:
    """Write a JSON file. Raises InputError if it cannot be written."""
    try:
        write_json(path, content, indent=1)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); delete {path.parent} and prepare the data again."
        ) from error


def open_output(out: Path, settings: PrepareSettings) -> None:
    """Make the folder, or see that it holds data of the same settings.

    Raises:
        InputError: it holds something else, or cannot be read or written.
    """
    wanted = json.loads(json.dumps(settings.model_dump(mode="json")))
    path = out / SETTINGS
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder for the data.")
    try:
        filled = out.is_dir() and any(out.iterdir())
        if filled and not path.is_file():
            raise InputError(f"{out} is not empty and holds no prepared data; choose another folder.")
        if filled:
            present = _read_json(path)
            if not isinstance(present, dict):
                raise InputError(f"{path} is not a description of prepared data; choose another folder.")
            other = [name for name, value in wanted.items() if present.get(name) != value]
            if other:
                told = ", ".join(f"{name} is {present.get(name)} there" for name in other)
                raise InputError(f"{out} holds data with other settings ({told}); use the same or another folder.")
        (out / RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {out} cannot be used: {error.strerror or error}.") from error
    _write_json(path, wanted)


def record_of(out: Path, source: Source) -> dict[str, Any] | None:
    """Return a source's record if it is finished and everything about it is unchanged, else None."""
    path = out / RECORDS / f"{source.key}.json"
    if not path.is_file():
        return None
    record = _read_json(path)
    same = record["parts_sha256"] == parts_digest(source) and record["held_out"] == source.held_out
    whole = all((out / record["folder"] / f"{shard}.parts.npy").is_file() for shard in record["shards"])
    return record if same and whole else None


def prune(out: Path, sources: Iterable[Source]) -> int:
    """Delete shards and records of all but these sources, and latents that were made of them. How many sources."""
    present = {source.key for source in sources}
    gone = [path for path in (out / RECORDS).glob("*.json") if path.stem not in present]
    for path in gone:
        for shard in out.glob(f"*/{path.stem}-*.npy"):
            shard.unlink()
        path.unlink()
    for latents in out.glob("*/latents*") if gone else ():
        shutil.rmtree(latents)
    return len(gone)


def folder_of(source: Source, still: bool) -> str:
    """Return the one of FOLDERS that a source's clips go to."""
    return FOLDERS[2 * still + source.held_out]


def write_source(out: Path, source: Source, settings: PrepareSettings, tick: Tick) -> dict[str, Any]:
    """Cut one source, write its shards, then its record. What an interrupted attempt left is written anew."""
    for old in out.glob(f"*/{source.key}-*.npy"):  # of an attempt that was interrupted, or of the other side
        old.unlink()
    outcome = SourceOutcome()
    shards: list[str] = []
    clips: list[dict[str, Any]] = []
    for number, kept in enumerate(cut_source(source, settings, tick, outcome)):
        folder = out / folder_of(source, outcome.still)
        name = f"{source.key}-{number:03d}"
        try:
            folder.mkdir(exist_ok=True)
            for kind in sorted(kept.arrays, key="parts".__eq__):  # parts last: they mark the shard as complete
                write_npy(folder / f"{name}.{kind}.npy", kept.arrays[kind])
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror or error}; what is done is kept.") from error
        shards.append(name)
        clips += [{"shard": name, **clip} for clip in kept.clips]
    record = {
        "sha256": source.sha256, "parts_sha256": parts_digest(source), "held_out": source.held_out,
        "still": outcome.still, "folder": folder_of(source, outcome.still), "shards": shards, "clips": clips,
        "dropped": outcome.dropped,
    }  # fmt: skip
    _write_json(out / RECORDS / f"{source.key}.json", record)
    return record


def write_indexes(out: Path, done: Iterable[tuple[Source, dict[str, Any]]], settings: PrepareSettings) -> None:
    """The indexes of all finished sources, in the order of their names."""
    finished = sorted(done, key=lambda pair: pair[0].name)
    for folder in FOLDERS:
        mine = [(source, record) for source, record in finished if record["folder"] == folder and record["clips"]]
        if not mine:
            (out / folder / INDEX).unlink(missing_ok=True)
            continue
        clips = [
            {
                "source": source.name,
                "sha256": source.sha256,
                "split": "held_out" if source.held_out else "train",
                **clip,
            }
            for source, record in mine
            for clip in record["clips"]
        ]
        still = mine[0][1]["still"]
        about = DatasetSettings(
            clips=len(clips), frames=STILL_FRAMES if still else settings.frames, size=settings.size,
            fps=None if still else settings.fps, split="test" if mine[0][0].held_out else "train",
            controls=settings.controls,
        )  # fmt: skip
        shards = [shard for _, record in mine for shard in record["shards"]]
        _write_json(out / folder / INDEX, {"settings": asdict(about), "shards": shards, "clips": clips})


@dataclass(frozen=True)
class PrepareReport:
    """Summary of a prepared folder."""

    sources: int
    failed: dict[str, list[str]]
    """Reason -> names of sources of which nothing was kept, by their most common reason."""
    kept: dict[str, int]
    """Folder -> clips."""
    dropped: dict[str, int]
    """Reason -> clips that were left out."""
    others: int
    """Files that are neither videos nor pictures."""


def report_on(done: Iterable[tuple[Source, dict[str, Any]]], repeated: list[Source], others: int) -> PrepareReport:
    """Count."""
    pairs = sorted(done, key=lambda pair: pair[0].name)
    kept, dropped = Counter[str](), Counter[str]()
    failed: dict[str, list[str]] = {}
    for source, record in pairs:
        kept[record["folder"]] += len(record["clips"])
        reasons = Counter(item["reason"] for item in record["dropped"])
        dropped += reasons
        if not record["clips"]:
            failed.setdefault(reasons.most_common(1)[0][0] if reasons else "too short", []).append(source.name)
    for source in repeated:
        dropped["duplicate"] += 1
        failed.setdefault("duplicate", []).append(source.name)
    counts = {folder: kept[folder] for folder in FOLDERS if kept[folder]}
    return PrepareReport(len(pairs) + len(repeated), failed, counts, dict(sorted(dropped.items())), others)
