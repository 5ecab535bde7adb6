"""Part maps painted in every accepted coloring, encoded with H.264 and read again: how many parts are the same?

The maps are those of DensePose clips with their contours smoothed (a majority of 7 by 7 pixels, three times), so that
what is compared are parts and not the noise of the file they came from.

    python benchmarks/motion_colors.py FOLDER [--frames 4] [--crf 16 23] [--out outputs/motion_colors.md]

FOLDER holds DensePose videos in viridis.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from magicanimate.media import clip_of_frames, open_clip, open_writer
from magicanimate.motion.formats.palettes import OVERLAY, PARULA_25
from magicanimate.motion.open import open_motion
from magicanimate.parts.densepose import PALETTE_25, render_parts

PAINTED = (
    "viridis", "viridis on black", "PARULA", "PARULA 70% on black", "PARULA 70% over the picture",
    "viridis 70% over the picture", "gray levels",
)  # fmt: skip


def smoothed(parts_HW: np.ndarray, rounds: int = 3, size: int = 7) -> np.ndarray:
    """The most common part of the pixels around, several times."""
    for _ in range(rounds):
        votes = np.stack([_box_sum(parts_HW == part, size) for part in range(25)])
        parts_HW = votes.argmax(0).astype(np.uint8)
    return parts_HW


def _box_sum(mask_HW: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(mask_HW.astype(np.int32), size // 2, mode="edge")
    total = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]


def gray_scene(height: int, width: int) -> np.ndarray:
    """A gray picture with light, shade, edges and noise. [H, W] float."""
    y, x = np.mgrid[0:height, 0:width]
    scene = 90 + 60 * x / width + 30 * np.sin(y / 20) + 25 * ((x // 40 + y // 60) % 2)
    return np.clip(scene + np.random.default_rng(0).normal(0, 3, scene.shape), 0, 255)


def paint(parts_FHW: np.ndarray, how: str) -> np.ndarray:
    """[F, H, W] -> [F, H, W, 3] uint8."""
    body = (parts_FHW > 0)[..., None]
    if how == "viridis":
        return render_parts(parts_FHW)
    if how == "viridis on black":
        return np.where(body, render_parts(parts_FHW), np.uint8(0))
    if how == "PARULA":
        return PARULA_25[parts_FHW]
    if how.startswith("gray"):
        levels = np.floor(parts_FHW * (255 / 24))
        return levels.astype(np.uint8)[..., None].repeat(3, -1)
    table = PALETTE_25 if how.startswith("viridis") else PARULA_25
    below = np.zeros((1, 1)) if how.endswith("black") else gray_scene(*parts_FHW.shape[1:])
    mixed = below[..., None] * (1 - OVERLAY) + table[parts_FHW] * OVERLAY
    return np.where(body, mixed, below[..., None]).astype(np.uint8)


def near_share(found: np.ndarray, parts_FHW: np.ndarray) -> float:
    """Share of body pixels whose index is that of the pixel or of one of its eight neighbors."""
    padded = np.pad(parts_FHW, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = parts_FHW.shape[1:]
    same = [padded[:, y : y + height, x : x + width] == found for y in range(3) for x in range(3)]
    return float(np.any(same, axis=0)[parts_FHW > 0].mean())


def measure(parts_FHW: np.ndarray, how: str, crf: int) -> tuple[str, float, float]:
    """Return the recognized format, and the shares of body pixels that are the same, exactly and within a pixel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.mp4"
        with open_writer(path, 25, crf=crf) as sink:
            for frame_HWC in paint(parts_FHW, how):
                sink.write(frame_HWC)
        motion = open_motion(path)
        found = np.stack(list(motion))
    return motion.coloring, float((found == parts_FHW)[parts_FHW > 0].mean()), near_share(found, parts_FHW)


def table(clips: dict[str, np.ndarray], crfs: list[int]) -> list[str]:
    """Markdown rows: one per coloring and rate, one pair of columns per clip."""
    lines = [f"| coloring | H.264 crf | {' | '.join(clips)} |", f"|---|---|{'---|' * len(clips)}"]
    for how, crf in itertools.product(PAINTED, crfs):
        cells = []
        for name, parts_FHW in clips.items():
            coloring, exact, near = measure(parts_FHW, how, crf)
            cells.append(f"{exact:.2%} ({near:.2%})")
            print(f"{how:30} crf {crf} {name:16} read as {coloring:26} {exact:.4f} {near:.4f}", file=sys.stderr)
        lines.append(f"| {how} | {crf} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=4, help="of each clip, ten apart")
    parser.add_argument("--crf", type=int, nargs="+", default=[16, 23])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clips = {}
    for path in sorted(options.folder.glob("*.mp4")):
        spaced = np.stack(list(itertools.islice(open_clip(path), 0, options.frames * 10, 10)))
        clips[path.stem] = np.stack([smoothed(parts_HW) for parts_HW in open_motion(clip_of_frames(spaced, 25))])
    lines = table(clips, options.crf)
    print("\n".join(lines))
    if options.out:
        options.out.write_text(REPORT.format(
            table="\n".join(lines), frames=options.frames, crfs=" ".join(map(str, options.crf)),
            date=datetime.now(UTC).date().isoformat(),
            machine=f"{platform.machine()}, Python {platform.python_version()}",
        ))  # fmt: skip


REPORT = """# Part maps in every coloring, through H.264

Share of body pixels that have the same part index after painting, encoding (libx264, 4:2:0, 512x512) and reading;
in brackets the share whose index is that of the pixel or of one of its eight neighbors.

{table}

The maps are those of four DensePose clips ({frames} frames of each), with contours smoothed so that parts are compared
and not the noise of the files they came from. crf 16 is what `magicanimate` writes for videos (`magicanimate motion`
writes part maps at crf 6), 23 is FFmpeg's default. What is lost is lost at contours: usual video stores color for
blocks of two by two pixels.

Measured on {date}, {machine}, with

```
python benchmarks/motion_colors.py FOLDER --frames {frames} --crf {crfs} --out outputs/motion_colors.md
```
"""

if __name__ == "__main__":
    main()
