"""Measure all figures of one video.

Shape legend: F frames, H W pixels. Frames are [F, H, W, 3] uint8, part maps [F, H, W] uint8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from magicanimate.errors import InputError
from magicanimate.evaluate import catalog as names
from magicanimate.evaluate.basic import flicker
from magicanimate.evaluate.frames import l1, l1_per_pixel, lpips, psnr_frames, ssim, wrapped_psnr
from magicanimate.evaluate.interfaces import PackagedNetwork, PerceptualNetwork
from magicanimate.evaluate.people import part_colors, pose_overlap
from magicanimate.evaluate.temporal import dtssd, warping_errors
from magicanimate.media.pictures import fit_picture, place
from magicanimate.parts.densepose import PART_NAMES
from magicanimate.parts.fit import fit_parts


@dataclass(frozen=True)
class VideoPair:
    """Frames of an output and of its target, with part maps where there are any."""

    output_FHWC: np.ndarray
    target_FHWC: np.ndarray
    parts_FHW: np.ndarray | None = None
    """The control."""
    found_FHW: np.ndarray | None = None
    """Parts that an extractor found in the output."""

    def __len__(self) -> int:
        return len(self.output_FHWC)


def check_video(name: str, video: VideoPair) -> None:
    """Refuse what cannot be compared frame by frame.

    Raises:
        InputError: frames are not uint8 RGB, part maps have other indices than 0..24, or counts or sizes differ.
    """
    for what, frames in (("output", video.output_FHWC), ("target", video.target_FHWC)):
        _check_frames(f"{name}: the {what}", frames)
    _check_alike(f"{name}: the output", video.output_FHWC, video.target_FHWC)
    for what, maps in (("control's part maps", video.parts_FHW), ("part maps found in the output", video.found_FHW)):
        if maps is not None:
            _check_alike(f"{name}: the {what}", maps, video.target_FHWC)
            if maps.dtype.kind not in "ui" or maps.min() < 0 or maps.max() >= len(PART_NAMES):
                raise InputError(f"{name}: the {what} are not part indices 0 to {len(PART_NAMES) - 1}.")


def _check_frames(whose: str, frames: np.ndarray) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError(f"{whose} has shape {frames.shape}; frames are [frames, height, width, 3].")
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        broken = int(np.flatnonzero(~np.isfinite(frames).all((1, 2, 3)))[0])
        raise InputError(f"{whose} holds NaN or infinite values in frame {broken + 1}.")
    if frames.dtype != np.uint8:
        raise InputError(f"{whose} is {frames.dtype}; frames are uint8.")


def _check_alike(whose: str, frames: np.ndarray, target: np.ndarray) -> None:
    (height, width), (target_height, target_width) = frames.shape[1:3], target.shape[1:3]
    if len(frames) != len(target):
        raise InputError(f"{whose} has {len(frames)} frames but the target has {len(target)}; give equal numbers.")
    if (height, width) != (target_height, target_width):
        raise InputError(
            f"{whose} is {width}x{height} but the target is {target_width}x{target_height}; scale one to the other's "
            "size first."
        )


def as_protocol(video: VideoPair, size: int | None, skip: int) -> VideoPair:
    """Return the compared frames: without the reference, center square crop, size x size pixels (None: as it is)."""
    cut = VideoPair(*(None if x is None else x[skip:] for x in _arrays(video)))  # type: ignore[arg-type]
    if size is None or cut.target_FHWC.shape[1:3] == (size, size):
        return cut
    frames = (np.stack([square_picture(frame, size) for frame in x]) for x in _arrays(cut)[:2] if x is not None)
    maps = (None if x is None else np.stack([square_parts(frame, size) for frame in x]) for x in _arrays(cut)[2:])
    return VideoPair(*frames, *maps)


def _arrays(video: VideoPair) -> tuple[np.ndarray | None, ...]:
    return video.output_FHWC, video.target_FHWC, video.parts_FHW, video.found_FHW


def square_picture(image_HWC: np.ndarray, size: int | None) -> np.ndarray:
    """Return the center square of a picture at size x size pixels, by Lanczos; nothing beside the square shines in."""
    if size is None or image_HWC.shape[:2] == (size, size):
        return image_HWC
    square_HWC = _center(image_HWC)
    return fit_picture(square_HWC, place((len(square_HWC),) * 2, (size, size)))


def square_parts(parts_HW: np.ndarray, size: int | None) -> np.ndarray:
    """Return the same of a part map, by nearest pixel."""
    if size is None or parts_HW.shape == (size, size):
        return parts_HW
    square_HW = _center(parts_HW)
    return fit_parts(square_HW, place((len(square_HW),) * 2, (size, size)))


def _center(image: np.ndarray) -> np.ndarray:
    """Crop the central square: [H, W, ...] to [S, S, ...] with S the shorter side."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def measure(
    video: VideoPair, perceptual: Iterable[PerceptualNetwork] = (), packaged: Iterable[PackagedNetwork] = ()
) -> tuple[dict[str, float], dict[str, float]]:
    """Return means over the frames by name, NaN where a figure is not defined; and color errors by body part."""
    output, target = video.output_FHWC, video.target_FHWC
    values = {
        names.L1: l1(output, target).mean(),
        names.PSNR: psnr_frames(output, target).mean(),
        names.SSIM: ssim(output, target).mean(),
        names.L1_PER_PIXEL: l1_per_pixel(output, target).mean(),
        names.WRAPPED_PSNR: wrapped_psnr(output, target).mean(),
    }
    for network in perceptual:
        values[network.name] = lpips(network, output, target, "signed").mean()
        values[network.name + names.UNIT_RANGE] = lpips(network, output, target, "unit").mean()
    for comparing in packaged:
        values |= comparing.figures(output, target)
    if len(video) > 1:
        values[names.DTSSD] = dtssd(output, target).mean()
        of_output, of_target = warping_errors(output, target)
        values[names.WARPING], values[names.WARPING_OF_TARGET] = _mean(of_output), _mean(of_target)
    part_errors: dict[str, float] = {}
    if video.parts_FHW is not None:
        colors = part_colors(output, target, video.parts_FHW)
        values[names.PART_COLOR], values[names.PART_DRIFT] = _mean(colors.errors_P), _mean(colors.drifts_P)
        part_errors = {
            name: float(error) for name, error in zip(PART_NAMES, colors.errors_P, strict=True) if np.isfinite(error)
        }
        if len(video) > 1:
            values[names.FLICKER] = flicker(output, video.parts_FHW)
            values[names.FLICKER_OF_TARGET] = flicker(target, video.parts_FHW)
        if video.found_FHW is not None:
            values[names.POSE], values[names.SILHOUETTE] = pose_overlap(video.found_FHW, video.parts_FHW)
    return {name: float(value) for name, value in values.items()}, part_errors


def _mean(values: np.ndarray) -> float:
    """Return the mean of defined values; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
