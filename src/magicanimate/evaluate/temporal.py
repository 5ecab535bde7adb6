"""Figures of change over time: dtSSD, and the warping error along the target's optical flow.

Shape legend: F frames, H W pixels; 2 is (x, y). Frames are [F, H, W, 3] uint8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from magicanimate.errors import cannot_import
from magicanimate.evaluate.frames import gray

_AGREE, _SLACK = 0.01, 0.5  # Sundaram et al. 2010, eq. 5: a pixel is seen in both frames


def dtssd(output_FHWC: np.ndarray, target_FHWC: np.ndarray, where_FHW: np.ndarray | None = None) -> np.ndarray:
    """Return the error of the frame-to-frame change, in [0, 1]: [F-1].

    sqrt(mean over pixels and channels of ((y[t+1] - y[t]) - (x[t+1] - x[t]))^2), after Erofeev et al. 2015
    (Perceptually motivated benchmark for video matting), eq. 4, on colors instead of opacity.

    where: [F, H, W] bool; only pixels that are True in both frames count, and without any the error is NaN.
    """
    errors = []
    for t in range(len(output_FHWC) - 1):
        change_HWC = _change(output_FHWC, t) - _change(target_FHWC, t)
        counted = change_HWC if where_FHW is None else change_HWC[where_FHW[t] & where_FHW[t + 1]]
        errors.append(np.sqrt((counted**2).mean()) if counted.size else np.nan)
    return np.array(errors, np.float64)


def _change(frames_FHWC: np.ndarray, t: int) -> np.ndarray:
    return (frames_FHWC[t + 1].astype(np.float64) - frames_FHWC[t]) / 255.0


def warping_errors(
    output_FHWC: np.ndarray, target_FHWC: np.ndarray, where_FHW: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the warping errors of output and target, [F-1] each, in squared [0, 1]; NaN where nothing is seen in both.

    Mean over the pixels that are seen in both frames, and over channels, of (y[t] - warp(y[t+1]))^2 along the flow
    from x[t] to x[t+1] (Lai et al. 2018, Learning Blind Video Temporal Consistency, eq. 9 to 11). The flow is the
    target's, so a video that stands still where the target moves is not rewarded. Flow: DIS (Kroeger et al. 2016).
    where: [F, H, W] bool; only pixels that are True in the earlier frame count.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = _opencv()
    flow_of = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grays = [gray(frame) for frame in target_FHWC]
    of_output, of_target = [], []
    for t in range(len(grays) - 1):
        forward_HW2 = flow_of.calc(grays[t], grays[t + 1], None)
        backward_HW2 = flow_of.calc(grays[t + 1], grays[t], None)
        seen_HW = _seen(cv2, forward_HW2, backward_HW2)
        if where_FHW is not None:
            seen_HW &= where_FHW[t]
        of_output.append(_warping_error(cv2, output_FHWC[t], output_FHWC[t + 1], forward_HW2, seen_HW))
        of_target.append(_warping_error(cv2, target_FHWC[t], target_FHWC[t + 1], forward_HW2, seen_HW))
    return np.array(of_output, np.float64), np.array(of_target, np.float64)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise cannot_import(
            "The warping error", "opencv-python-headless", "pip install 'magicanimate[eval]'", error
        ) from error
    return cv2


def _seen(cv2: Any, forward_HW2: np.ndarray, backward_HW2: np.ndarray) -> np.ndarray:
    """Return [H, W] bool: going there and coming back ends near the start, and inside the frame."""
    returned_HW2 = _warp(cv2, backward_HW2, forward_HW2)
    gap = ((forward_HW2 + returned_HW2) ** 2).sum(-1)
    length = (forward_HW2**2).sum(-1) + (returned_HW2**2).sum(-1)
    height, width = gap.shape
    x, y = _there(forward_HW2)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return (gap < _AGREE * length + _SLACK) & inside


def _there(flow_HW2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place that each pixel goes to."""
    height, width = flow_HW2.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return columns + flow_HW2[..., 0], rows + flow_HW2[..., 1]


def _warp(cv2: Any, image: np.ndarray, flow_HW2: np.ndarray) -> np.ndarray:
    """Return the image, looked up where the flow leads to."""
    return cv2.remap(image, *_there(flow_HW2), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _warping_error(
    cv2: Any, now_HWC: np.ndarray, next_HWC: np.ndarray, flow_HW2: np.ndarray, seen_HW: np.ndarray
) -> float:
    if not seen_HW.any():
        return float("nan")
    warped_HWC = _warp(cv2, next_HWC.astype(np.float32), flow_HW2)
    return float((((now_HWC - warped_HWC)[seen_HW] / 255.0) ** 2).mean(dtype=np.float64))
