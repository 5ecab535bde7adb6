"""A body in motion: one shape, a pose per frame, and the camera that sees it.

Shape legend: F frames, P pose numbers, J joints, S points of the rig, H W pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magicanimate.body.bones import BONES, Proportions, stretches
from magicanimate.body.kinematics import POSE_NUMBERS, joint_frames, points, skin_transforms
from magicanimate.errors import InputError
from magicanimate.files import write_npz
from magicanimate.untrusted import parse_json, read_named_arrays

_FORMAT = 1


class _OtherVersion(InputError):
    """The file is a body motion, of a format that is not this one."""


def _finite(array: np.ndarray) -> np.ndarray:
    """Convert to float32. Raises ValueError for anything but finite numbers."""
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("no numbers")
    return values


@dataclass(frozen=True)
class BodyMotion:
    """A body's motion as a camera at the origin sees it; it looks along +y."""

    shape: Proportions
    pose_FP: np.ndarray
    """[F, P] float32; see kinematics."""
    position_F3: np.ndarray
    """[F, 3] float32, the pelvis in meters: to the right of the camera, away from it, above it."""
    focal: float
    """Focal length in pixels of `size`; the camera's axis meets the middle of the picture."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    fps: float
    present_F: np.ndarray
    """[F] bool: frames with a person. In the others pose and position are without meaning."""

    def __len__(self) -> int:
        return len(self.pose_FP)

    def _frames(self, frames: slice) -> tuple[Tensor, Tensor]:
        pose, position = torch.from_numpy(self.pose_FP[frames]), torch.from_numpy(self.position_F3[frames])
        return joint_frames(pose, position, self.shape.rest, self._stretch())

    def _stretch(self, skin: bool = False) -> Tensor:
        lengths, girths = (torch.from_numpy(values) for values in (self.shape.lengths, self.shape.girths))
        return stretches(lengths, self.shape.rest, girths if skin else None)

    def transforms(self, frames: slice = slice(None)) -> np.ndarray:
        """Return the transforms of the rest shape's skin to each frame's, [F, J, 3, 4] float32."""
        return skin_transforms(*self._frames(frames), self.shape.rest, self._stretch(skin=True)).numpy()

    def joint_rotations(self) -> np.ndarray:
        """Return the turns of the rig's joints from the rest pose, in the camera's axes. [F, J, 3, 3] float64."""
        return self._frames(slice(None))[0].numpy().astype(np.float64)

    def points(self, frames: slice = slice(None)) -> np.ndarray:
        """Return the rig's points (rig.POINT_NAMES) in meters. [F, S, 3] float32."""
        return points(*self._frames(frames), self.shape.rest, self._stretch()).numpy()

    def project(self, points_3: np.ndarray) -> np.ndarray:
        """Project points [..., 3] in meters to pixels [..., 2], x and y."""
        height, width = self.size
        depth = np.maximum(points_3[..., 1], 1e-3)
        x = width / 2 + self.focal * points_3[..., 0] / depth
        y = height / 2 - self.focal * points_3[..., 2] / depth
        return np.stack([x, y], -1)

    def only(self, frames: slice | np.ndarray) -> BodyMotion:
        """Return the same body in some of the frames, given as a slice, indices or a mask."""
        return replace(
            self, pose_FP=self.pose_FP[frames], position_F3=self.position_F3[frames], present_F=self.present_F[frames]
        )

    def with_shape(self, other: Proportions) -> BodyMotion:
        """Return the same angles on another body; its lower foot stays where this body's is, frame by frame."""
        mine, theirs = self.points(), replace(self, shape=other).points()
        lowest = mine[..., 2].min(1) - theirs[..., 2].min(1)
        position = self.position_F3.copy()
        position[:, 2] += lowest
        return replace(self, shape=other, position_F3=position)

    def moved(
        self, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0), size: tuple[int, int] | None = None
    ) -> BodyMotion:
        """Return the same motion elsewhere in the picture.

        Args:
            scale: how much larger the body appears, about the middle of the picture; it comes nearer by that.
            shift: pixels (x, y), of the new size, after scaling, at the body's median distance.
            size: of the new picture (height, width); the old one is centered in it, pixel for pixel.
        """
        position = self.position_F3 * np.array([1.0, 1 / scale, 1.0], np.float32)
        moved = position + np.array([shift[0], 0, -shift[1]]) * np.median(position[:, 1]) / self.focal
        return replace(self, position_F3=moved.astype(np.float32), size=size or self.size)

    def resized(self, size: tuple[int, int]) -> BodyMotion:
        """Scale to another resolution (height, width); what the height shows stays the same."""
        return replace(self, focal=self.focal * size[0] / self.size[0], size=size)

    def save(self, path: str | Path) -> Path:
        """Write to an npz file, all or nothing."""
        path = Path(path)
        about = {
            "format": _FORMAT, "sliders": dict(self.shape.sliders), "focal": self.focal, "size": self.size,
            "fps": self.fps, "bones": list(BONES),
        }  # fmt: skip
        arrays = {
            "about": json.dumps(about), "lengths": self.shape.lengths, "girths": self.shape.girths,
            "pose": self.pose_FP, "position": self.position_F3, "present": self.present_F,
        }  # fmt: skip
        write_npz(path, arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> BodyMotion:
        """Read what `save` wrote.

        Raises:
            InputError: it is no such file.
        """
        path = Path(path)
        try:
            arrays = read_named_arrays(path, ("about", "lengths", "girths", "pose", "position", "present"))
            about = parse_json(str(arrays["about"]))
            if about["format"] != _FORMAT or about["bones"] != list(BONES):
                raise _OtherVersion(f"{path} was written by another version; extract the motion again.")
            pose_FP, position_F3 = (_finite(arrays[name]) for name in ("pose", "position"))
            shape = Proportions(about["sliders"], *(_finite(arrays[name]) for name in ("lengths", "girths")))
            height, width = (int(side) for side in about["size"])
            focal, fps = float(about["focal"]), float(about["fps"])
            frames = len(pose_FP)
            expected = ((frames, POSE_NUMBERS), (frames, 3), (frames,), (len(BONES),), (len(BONES),))
            if tuple(
                array.shape for array in (pose_FP, position_F3, arrays["present"], shape.lengths, shape.girths)
            ) != expected or not (
                frames and 0 < focal < 1e6 and 0 < fps < 1e4 and 0 < min(height, width) <= 2**14 > max(height, width)
            ):
                raise ValueError("shapes")
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, _OtherVersion):
                raise
            raise InputError(f"{path} is not a body motion that can be read; extract the motion again.") from error
        return cls(shape, pose_FP, position_F3, focal, (height, width), fps, arrays["present"].astype(bool))
