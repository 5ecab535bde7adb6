"""Baselines and ablations on SynthDance-test, through one protocol (`magicanimate.evaluate`).

    magicanimate synth data/study/test --benchmark --size 128
    python benchmarks/synthdance.py configs/studies/baselines.yaml --out runs/study/results
    python benchmarks/synthdance.py configs/studies/baselines.yaml --out runs/study/results --methods ours --people 8
    python benchmarks/synthdance.py configs/studies/published.yaml --out runs/study/published --quick

The study (YAML) names the methods and the comparisons to be printed. Every method sees the first frame of a clip and
the part maps of all; what warps the first frame also sees where its person has hair and clothes, as it would find
them in a photograph. A method whose result is in --out already, of as many clips, is not computed again; --methods
restricts the work. Clips that are made with several seeds count once for each; intervals are over people. --quick: two
people, one seed, and 5 steps at most, to try the command. Writes NAME.json for every method, `comparisons.json`,
`tables.md`, `sheet.png` and `changes.png`, the frame-to-frame differences of one clip.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests")]  # so that it runs from anywhere, installed or not

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from PIL import Image  # noqa: E402
from pydantic import BaseModel, ConfigDict, Field  # noqa: E402
from rich.progress import Progress  # noqa: E402

from magicanimate.evaluate.evaluation import Evaluation, EvaluationSettings  # noqa: E402
from magicanimate.evaluate.result import Difference, Figure, Result, compare  # noqa: E402
from magicanimate.evaluate.stand_in import StandinFrames, load_standin  # noqa: E402
from magicanimate.models.model import load_model  # noqa: E402
from magicanimate.networks.gan import animate, load_generator  # noqa: E402
from magicanimate.networks.vae import NoiseMode  # noqa: E402
from magicanimate.parts.densepose import PALETTE_25  # noqa: E402
from magicanimate.sampling.settings import SampleSettings  # noqa: E402
from magicanimate.synth.benchmark import FPS, INDEX, Item, items, read_item  # noqa: E402
from magicanimate.train.model_surgery import with_noise  # noqa: E402
from magicanimate.train.part_warp import PartWarp  # noqa: E402
from magicanimate.train.preview import HeldOut, generate  # noqa: E402

SHOWN = 4
"""Clips on the sheet."""
AT_ONCE = 8
"""Clips that a model makes together."""


class Method(BaseModel):
    """A method that makes frames. kind model: `folder` is a model folder, and other fields change the sampling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["copy", "warp", "gan", "model"]
    folder: Path | None = None
    temporal: bool = True
    noise: NoiseMode | None = None
    sampling: dict[str, Any] = Field(default_factory=dict, description="SampleSettings, for example overlap: 0")
    seeds: int = Field(1, ge=1, description="times that each clip is made, with other noise")


class Comparison(BaseModel):
    """Two methods to be set beside each other, and what the paper reports for the like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    with_it: str
    without: str
    paper: str = ""


class Study(BaseModel):
    """Methods to compare, and their data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    ours: str
    methods: dict[str, Method]
    comparisons: list[Comparison] = []
    people: int = 40
    motions: int = 4


@dataclass(frozen=True)
class Clip:
    """One clip of the benchmark: pictures [33,H,W,3] and part maps [33,H,W]; frame 0 is the reference, own [H,W] its
    own map."""

    item: Item
    rgb: np.ndarray
    parts: np.ndarray
    own: np.ndarray


Animator = Callable[[list[Clip], int], list[np.ndarray]]
"""Frames 1.. of clips, [32,H,W,3] uint8 each. The integer: seed of the first clip's noise; the next one's is 1 more."""


def animator(method: Method) -> Animator:
    """Return the method as a function of clips."""
    if method.kind == "copy":
        return one_by_one(lambda clip: np.repeat(clip.rgb[:1], len(clip.rgb) - 1, 0))
    if method.kind == "warp":
        return one_by_one(warp)
    assert method.folder is not None, f"a method of kind {method.kind} needs a folder"
    if method.kind == "gan":
        generator = load_generator(method.folder)
        return one_by_one(lambda clip: animate(generator, clip.rgb[0], clip.parts[0], clip.parts[1:]))
    model = load_model(method.folder)
    if method.noise:
        model = with_noise(model, method.noise)
    settings = SampleSettings.for_model(model, temporal=method.temporal, **method.sampling)

    def diffuse(clips: list[Clip], seed: int) -> list[np.ndarray]:
        held = HeldOut.of_clips(*(np.stack([getattr(one, what) for one in clips]) for what in ("rgb", "parts", "own")))
        return list(generate(model, held, settings, seed, AT_ONCE))

    return diffuse


def one_by_one(make: Callable[[Clip], np.ndarray]) -> Animator:
    """Return an animator that needs no noise and makes each clip alone."""
    return lambda clips, seed: [make(clip) for clip in clips]


def warp(clip: Clip) -> np.ndarray:
    one = PartWarp(clip.rgb[0], clip.own)
    return np.stack([one(parts).picture_HWC for parts in clip.parts[1:]])


def quick(study: Study) -> Study:
    """Return the study in a minute, to try it."""
    few = {
        name: one.model_copy(
            update={"sampling": one.sampling | {"steps": min(5, one.sampling.get("steps", 5))}, "seeds": 1}
        )
        for name, one in study.methods.items()
    }
    return study.model_copy(update={"methods": few, "people": 2, "motions": 1})


def read_result(path: Path, videos: int) -> Result | None:
    """Return a method's result, if it is there and of so many videos."""
    result = Result.model_validate_json(path.read_text()) if path.exists() else None
    return result if result and result.videos == videos else None


def clips(study: Study, people: int, motions: int) -> Iterator[Clip]:
    for item in items(people, motions):
        yield Clip(item, *read_item(study.data, item.name))


def evaluate_method(
    method: Method, study: Study, people: int, motions: int, spool: Path, tick: Callable[[], None]
) -> tuple[Result, list[np.ndarray]]:
    """Return all figures of one method, and its frames of the first clips."""
    frames_network, clips_network = load_standin()
    assert isinstance(frames_network, StandinFrames)
    size = json.loads((study.data / INDEX).read_text())["size"]
    evaluation = Evaluation([frames_network, clips_network], settings=EvaluationSettings(size=size), spool=spool)
    make, shown, first = animator(method), [], 0
    for seed in range(method.seeds):
        remaining = clips(study, people, motions)
        while some := list(islice(remaining, AT_ONCE)):
            for clip, frames in zip(some, make(some, first), strict=True):
                output = np.concatenate([clip.rgb[:1], frames])
                found = frames_network.parts(output)
                name, group = f"{clip.item.name}-{seed}", clip.item.name.split("_")[0]
                evaluation.add(name, output, clip.rgb, clip.parts, found, group=group)
                if clip.item.motion % motions == 0 and len(shown) < SHOWN:
                    shown.append(output)
                tick()
            first += len(some)
    return evaluation.result(), shown


def _number(figure: Figure) -> str:
    text = f"{figure.value:.{figure.digits}f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{figure.low:.{figure.digits}f}, {figure.high:.{figure.digits}f}]"


def table(results: dict[str, Result], names: list[str]) -> list[str]:
    """Methods down, figures across; each with its 95% interval."""
    lines = ["| method | clips | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for method, result in results.items():
        figures = result.figures()
        cells = [_number(figures[name]) if name in figures else "" for name in names]
        lines.append(f"| {method} | {result.videos} | " + " | ".join(cells) + " |")
    return lines


def difference_rows(title: str, paper: str, differences: dict[str, Difference]) -> list[str]:
    """One comparison as a table: with, without, paired difference and its interval, who is ahead."""
    lines = [f"### {title}", "", *([f"The paper: {paper}", ""] if paper else [])]
    lines += ["| figure | with | without | difference | 95% interval | better |", "|---|---|---|---|---|---|"]
    verdict = {"a": "with", "b": "without", "undecided": "undecided"}
    for name, d in differences.items():
        interval = "" if d.low is None else f"{d.low:+.4f} .. {d.high:+.4f}"
        lines.append(f"| {name} | {d.a:.4f} | {d.b:.4f} | {d.difference:+.4f} | {interval} | {verdict[d.ahead]} |")
    return [*lines, ""]


def write_tables(study: Study, results: dict[str, Result], out: Path) -> None:
    """Write tables of all methods, of ours against each other, and of the study's comparisons."""
    names = list(next(iter(results.values())).figures())
    first = next(iter(results.values()))
    lines = [
        f"{first.groups} people, clips at {first.size[1]}x{first.size[0]}; 95% intervals over people and clips.",
        "",
        *table(results, names),
        "",
    ]
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    alike = [name for name in results if study.methods[name].seeds == study.methods[study.ours].seeds]
    pairs = [Comparison(title=f"{study.ours} against {name}", with_it=study.ours, without=name) for name in alike]
    for pair in [*pairs, *study.comparisons]:
        if pair.with_it == pair.without or pair.with_it not in results or pair.without not in results:
            continue
        found = compare(results[pair.with_it], results[pair.without])
        kept[pair.title] = {name: difference.model_dump() for name, difference in found.items()}
        lines += difference_rows(pair.title, pair.paper, found)
    (out / "comparisons.json").write_text(json.dumps(kept, indent=1))
    (out / "tables.md").write_text("\n".join(lines))


def write_sheet(study: Study, methods: list[str], people: int, folder: Path, out: Path, columns: int = 4) -> None:
    """Write a sheet of some clips: reference and motion, truth, then one row for each method."""
    pick = np.linspace(1, 32, columns).round().astype(int)
    shown = list(clips(study, min(SHOWN, people), 1))
    blocks = []
    for i, clip in enumerate(shown):
        blank = np.full_like(clip.rgb[0], 255)
        rows = [[clip.rgb[0], *PALETTE_25[clip.parts[pick]]], [blank, *clip.rgb[pick]]]
        for name in methods:
            frames = np.load(folder / f"{name}.npz")["frames"]
            if i < len(frames):
                rows.append([blank, *frames[i][pick]])
        blocks.append(np.concatenate([np.concatenate(row, 1) for row in rows]))
    Image.fromarray(np.concatenate(blocks, 1)).save(out)


def changes(frames_FHWC: np.ndarray) -> np.ndarray:
    """Return the changes between frames times 4, as pictures [F-1, H, W, 3] uint8."""
    return (4 * np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0))).clip(0, 255).astype(np.uint8)


def write_changes(study: Study, methods: list[str], folder: Path, out: Path, columns: int = 8) -> None:
    """Write the first clip's frame-to-frame changes times 4: the truth above, then one row for each method."""
    clip = next(clips(study, 1, 1))
    rows = [clip.rgb, *(np.load(folder / f"{name}.npz")["frames"][0] for name in methods)]
    sheet = np.concatenate([np.concatenate(list(changes(frames[1 : columns + 2])), 1) for frames in rows])
    Image.fromarray(sheet).save(out)


@torch.no_grad()
def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", help="default: all of the study")
    parser.add_argument("--people", type=int, help="default: as the study says")
    parser.add_argument("--motions", type=int)
    parser.add_argument("--quick", action="store_true", help="two people, one motion and seed, at most 5 steps")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of what is there")
    arguments = parser.parse_args(given)
    study = Study.model_validate(yaml.safe_load(arguments.study.read_text()))
    if not (study.data / INDEX).is_file():
        parser.error(f"{study.data} holds no benchmark; build it with: magicanimate synth {study.data} --benchmark")
    if arguments.quick:
        study = quick(study)
    people, motions = arguments.people or study.people, arguments.motions or study.motions
    videos = {name: people * motions * method.seeds for name, method in study.methods.items()}
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    chosen = arguments.methods or list(study.methods)
    with Progress(disable=arguments.tables_only) as bar:
        for name in [] if arguments.tables_only else chosen:
            if read_result(out / f"{name}.json", videos[name]):
                continue
            task, began = bar.add_task(name, total=videos[name]), time.process_time()
            advance = lambda task=task: bar.advance(task)  # noqa: E731
            result, shown = evaluate_method(study.methods[name], study, people, motions, out / "features", advance)
            np.savez_compressed(out / f"{name}.npz", frames=np.stack(shown))
            (out / f"{name}.json").write_text(result.model_dump_json(indent=1))
            print(f"{name}: {time.process_time() - began:.0f} s of processor time, {FPS} frames a second", flush=True)
    found = {name: read_result(out / f"{name}.json", videos[name]) for name in study.methods}
    results = {name: result for name, result in found.items() if result}
    write_tables(study, results, out)
    write_sheet(study, list(results), people, out, out / "sheet.png")
    write_changes(study, list(results), out, out / "changes.png")
    print((out / "tables.md").read_text())


if __name__ == "__main__":
    main()
