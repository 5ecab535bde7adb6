"""People whose parts or joints are known: how near the fitted body comes to them.

    python benchmarks/real_pairs.py --iuv picture.jpg IUV.png INDS.png
    python benchmarks/real_pairs.py --joints clip.mp4 joints.json

--iuv: a picture with DensePose's output, IUV and the number of the person at each pixel. For each person of at least a
third of the picture's height: intersection over union of the whole body, and its mean over parts. --joints: a video and
BlazePose's joints of each frame, by name or as 33 points. Error of shoulders, elbows, wrists, hips, knees and
ankles as a share of the figure's height, and the share of frames in which the mean error is below 3%. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from magicanimate.animation.job import as_motion
from magicanimate.animation.settings import AnimateSettings
from magicanimate.body.rig import POINT_INDEX
from magicanimate.errors import InputError
from magicanimate.media import load_picture
from magicanimate.parts.skeleton import GROUP_OF_PART, GROUPS
from magicanimate.person.find import find_people

_LARGE = 1 / 3  # of the picture's height
_SEEN = 30  # pixels of a part that is compared
_NEAR = 0.03  # of the figure's height
_JOINTS = {
    "shoulder": ("upper_arm", 11), "elbow": ("lower_arm", 13), "wrist": ("hand", 15), "hip": ("thigh", 23),
    "knee": ("shin", 25), "ankle": ("foot", 27),
}  # fmt: skip
"""BlazePose's name -> point of the body, number of BlazePose's left one; the right one follows it."""
_FULL = 1.1  # the figure's height, by that from nose to ankles


def parts_agreement(picture: Path, iuv: Path, people: Path) -> list[dict[str, float]]:
    """Return the agreement with each large person of a picture, the largest first."""
    picture_HWC, part_HW = load_picture(picture), load_picture(iuv)[..., 2]
    person_HW = load_picture(people)[..., 0]
    if part_HW.max() > max(GROUPS["head"]):  # written by OpenCV: blue first
        part_HW = load_picture(iuv)[..., 0]
    tall = {k: np.ptp(np.nonzero(person_HW == k)[0]) for k in np.unique(person_HW)[1:]}
    large = [k for k in sorted(tall, key=lambda k: -tall[k]) if tall[k] > _LARGE * len(person_HW)]
    found = find_people(picture_HWC, max(1, len(large)))
    return [_agreement(np.where(person_HW == k, part_HW, 0), [each.parts_HW for each in found]) for k in large]


def _agreement(true_HW: np.ndarray, fitted: list[np.ndarray]) -> dict[str, float]:
    body_HW = true_HW > 0
    fit_HW = max(fitted, key=lambda parts_HW: ((parts_HW > 0) & body_HW).sum(), default=np.zeros_like(true_HW))
    groups = [(GROUP_OF_PART[true_HW] == g, GROUP_OF_PART[fit_HW] == g) for g in range(len(GROUPS))]
    of_parts = [_iou(one, other) for one, other in groups if one.sum() > _SEEN]
    return {"body_iou": _iou(body_HW, fit_HW > 0), "parts_iou": float(np.mean(of_parts))}


def _iou(one_HW: np.ndarray, other_HW: np.ndarray) -> float:
    return float((one_HW & other_HW).sum() / max(1, (one_HW | other_HW).sum()))


def joint_errors(clip: Path, joints: Path) -> dict[str, float]:
    """Return the errors of a fitted motion against joints of each frame."""
    body = as_motion(clip, AnimateSettings()).body
    if body is None:
        raise InputError(f"No body was fitted to {clip}.")
    true = [_points(frame) for frame in json.loads(joints.read_text())]
    names = [f"{point}.{side}" for point, _ in _JOINTS.values() for side in "LR"]
    fitted_FJ2 = body.project(body.points())[: len(true), [POINT_INDEX[name] for name in names]]
    true_FJ2, top_F = np.stack([at for at, _ in true])[: len(fitted_FJ2)], np.array([top for _, top in true])
    height_F = _FULL * (true_FJ2[..., 1].max(1) - top_F[: len(true_FJ2)])
    error_FJ = np.linalg.norm(fitted_FJ2 - true_FJ2, axis=2) / height_F[:, None]
    return {
        "frames": float(len(error_FJ)),
        "mean_error": float(error_FJ.mean()),
        "frames_within_3_percent": float((error_FJ.mean(1) < _NEAR).mean()),
        "joints_within_3_percent": float((error_FJ < _NEAR).mean()),
    }


def _points(frame: Any) -> tuple[np.ndarray, float]:
    """Joints [J, 2], left and right in turn, and the nose's y."""
    if isinstance(frame, dict):
        at = [frame[f"{side}_{name}"] for name in _JOINTS for side in ("left", "right")]
        return np.array([[point["x"], point["y"]] for point in at]), float(frame["nose"]["y"])
    return np.array([frame[left + side][:2] for _, left in _JOINTS.values() for side in (0, 1)]), float(frame[0][1])


def main(given: list[str] | None = None) -> None:
    """Measure what was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iuv", nargs=3, type=Path, metavar=("PICTURE", "IUV", "INDS"))
    parser.add_argument("--joints", nargs=2, type=Path, metavar=("CLIP", "JSON"), action="append", default=[])
    arguments = parser.parse_args(given)
    measured: dict[str, Any] = {str(clip): joint_errors(clip, joints) for clip, joints in arguments.joints}
    if arguments.iuv:
        measured[str(arguments.iuv[0])] = parts_agreement(*arguments.iuv)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
