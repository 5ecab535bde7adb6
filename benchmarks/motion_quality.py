"""Measure motion from raw video: generated people of the held-out split, whose parts are known, and photos.

python benchmarks/motion_quality.py --photos FOLDER --out outputs/motion.json --sheet sheet.jpg
python benchmarks/motion_quality.py --photos FOLDER --clips 0 --sheet photos.jpg

The bounds at the end of a run are this project's aims; the exit code is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from PIL import Image

from magicanimate.body.draw import draw_motion
from magicanimate.body.fit import fit_track
from magicanimate.body.motion import BodyMotion
from magicanimate.body.rig import JOINT_NAMES, POINT_INDEX
from magicanimate.errors import InputError
from magicanimate.media import Clip
from magicanimate.parts.densepose import PALETTE_25
from magicanimate.person.track_person import track_picture, track_video
from magicanimate.synth.clip import GeneratedClip, render_clip

GROUPS = {
    "head": [(23, 24)], "torso": [(1, 2)],
    "upper arms": [(15, 17), (16, 18)], "lower arms": [(19, 21), (20, 22)],
    "upper legs": [(8, 10), (7, 9)], "lower legs": [(12, 14), (11, 13)],
}  # fmt: skip
"""Parts that count together; left and right limbs are told apart."""
JOINTS = ("neck", "head", *(f"{n}.{s}" for s in "LR" for n in
                            ("upper_arm", "lower_arm", "hand", "thigh", "shin", "foot")))  # fmt: skip
BOUNDS = {"part_iou": 0.60, "silhouette_iou": 0.80, "landmark_error": 0.04, "jitter_ratio": 1.5}
FIRST_SEED = 5000


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pixels in both and in either. [2]."""
    return np.array([(a & b).sum(), (a | b).sum()], float)


def changes(parts_FHW: np.ndarray) -> float:
    """Mean share of the body's pixels whose part differs from the frame before."""
    before, after = parts_FHW[:-1], parts_FHW[1:]
    body = (before > 0) | (after > 0)
    return float(((before != after).sum((1, 2)) / np.maximum(body.sum((1, 2)), 1)).mean())


def landmark_error(motion: BodyMotion, truth: GeneratedClip) -> float:
    """Mean distance of joints inside the picture, in standing heights."""
    rows = [POINT_INDEX[name] for name in JOINTS]
    found = motion.project(motion.points())[:, rows]
    true = truth.joints[:, [JOINT_NAMES.index(name) for name in JOINTS]] * motion.size[0]
    inside = ((true >= 0) & (true < motion.size[0])).all(-1) & motion.present_F[:, None]
    return float(np.linalg.norm(found - true, axis=-1)[inside].mean() / motion.size[0] / truth.stature)


def measure(truth: GeneratedClip, fps: float) -> tuple[dict, np.ndarray]:
    """Figures of one clip, overlaps still as pixel counts, and the parts found."""
    size = truth.parts.shape[1:]
    clip = Clip(Path("clip"), fps, size, len(truth.rgb), lambda: iter(truth.rgb))
    try:
        motion = fit_track(track_video(clip))
        found = np.stack([picture["parts"] for picture in draw_motion(motion)])
        error = landmark_error(motion, truth)
    except InputError:
        found, error = np.zeros_like(truth.parts), float("nan")
    figures = {
        "silhouette": overlap(found > 0, truth.parts > 0),
        "groups": {
            name: sum(overlap(np.isin(found, side), np.isin(truth.parts, side)) for side in sides)
            for name, sides in GROUPS.items()
        },
        "parts": np.stack([overlap(found == part, truth.parts == part) for part in range(1, 25)]),
        "landmark_error": error,
        "changes": changes(found),
        "true_changes": changes(truth.parts),
    }
    return figures, found


def summary(clips: list[dict]) -> dict:
    """Figures of all clips together."""

    def ratio(counts: np.ndarray) -> float:
        return float(counts[0] / counts[1])

    groups = {name: ratio(sum(clip["groups"][name] for clip in clips)) for name in GROUPS}
    parts = sum(clip["parts"] for clip in clips)
    return {
        "clips": len(clips),
        "without_a_person": sum(bool(np.isnan(clip["landmark_error"])) for clip in clips),
        "part_iou": float(np.mean(list(groups.values()))),
        "part_iou_of": groups,
        "part_iou_24": float(np.mean(parts[:, 0] / np.maximum(parts[:, 1], 1))),
        "silhouette_iou": ratio(sum(clip["silhouette"] for clip in clips)),
        "landmark_error": float(np.nanmean([clip["landmark_error"] for clip in clips])),
        "jitter_ratio": float(np.sum([c["changes"] for c in clips]) / np.sum([c["true_changes"] for c in clips])),
    }


def overlay(image_HWC: np.ndarray, parts_HW: np.ndarray) -> np.ndarray:
    """Parts over a dimmed picture."""
    body = (parts_HW > 0)[..., None]
    return np.where(body, 0.3 * image_HWC + 0.7 * PALETTE_25[parts_HW], 0.6 * image_HWC).astype(np.uint8)


def picture_row(tiles: list[np.ndarray], height: int = 160) -> np.ndarray:
    """Pictures of one size beside each other."""
    row = Image.fromarray(np.concatenate(tiles, 1))
    return np.asarray(row.resize((round(row.width * height / row.height), height), Image.Resampling.LANCZOS))


def save_rows(rows: list[np.ndarray], columns: int, path: Path) -> None:
    """Rows of different widths, several to a line."""
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    padded = [np.pad(row, ((0, height - row.shape[0]), (0, width - row.shape[1]), (0, 0))) for row in rows]
    padded += [np.zeros_like(padded[0])] * (-len(padded) % columns)
    lines = [np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)]
    Image.fromarray(np.concatenate(lines)).save(path, quality=85)


def photo(path: Path) -> tuple[float, np.ndarray]:
    """Silhouette IoU of the fitted body with the landmark network's mask, and a row for the sheet."""
    image_HWC = np.asarray(Image.open(path).convert("RGB"))
    track = track_picture(image_HWC)
    if track is None or track.masks is None or (mask := track.masks(0)) is None:
        raise InputError(f"Nobody was found in {path}.")
    parts = next(draw_motion(fit_track(track)))["parts"]
    mask_HW = np.asarray(Image.fromarray(mask).resize(parts.shape[::-1], Image.Resampling.NEAREST))
    both, either = overlap(parts > 0, mask_HW)
    return both / either, picture_row([overlay(image_HWC, parts)], 256)


def synthetic(arguments: argparse.Namespace) -> tuple[dict, list[np.ndarray]]:
    clips, rows = [], []
    seed = FIRST_SEED
    while len(clips) < arguments.clips:
        times = 3.0 + np.arange(arguments.frames) / arguments.fps
        truth = render_clip(seed, times, arguments.size, "test")
        seed += 1
        if truth.people > 1:  # one is followed, and it cannot be told which
            continue
        began = time.perf_counter()
        figures, found = measure(truth, arguments.fps)
        clips.append(figures)
        middle = arguments.frames // 2
        image_HWC = truth.rgb[middle]
        maps = (truth.parts[middle], found[middle])
        rows.append(picture_row([image_HWC, *(overlay(image_HWC, parts_HW) for parts_HW in maps)]))
        print(
            f"{seed - 1}: silhouette {figures['silhouette'][0] / figures['silhouette'][1]:.3f}, "
            f"landmarks {figures['landmark_error']:.3f}, "
            f"changes {figures['changes']:.3f} (true {figures['true_changes']:.3f}), "
            f"{time.perf_counter() - began:.1f} s",
            flush=True,
        )
    return summary(clips), rows


def missed(result: dict) -> list[str]:
    """Names of figures that miss their bound."""
    at_most = ("landmark_error", "jitter_ratio")
    return [
        name
        for name, bound in BOUNDS.items()
        if name in result and (result[name] > bound if name in at_most else result[name] < bound)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--photos", type=Path, help="a folder of pictures of people")
    parser.add_argument(
        "--sheet", type=Path, help="write pictures, true parts and found parts here; of photos without --clips"
    )
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    arguments = parser.parse_args()
    result, rows = synthetic(arguments) if arguments.clips else ({}, [])
    if arguments.photos:
        pictures = {path.name: photo(path) for path in sorted(arguments.photos.iterdir())}
        result["photos"] = {name: figure for name, (figure, _) in pictures.items()}
        if not arguments.clips:
            rows = [row for _, row in pictures.values()]
    result["missed"] = missed(result)
    text = json.dumps({"machine": platform.processor() or platform.machine(), **result}, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.sheet:
        save_rows(rows, 3 if arguments.clips else 4, arguments.sheet)
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
