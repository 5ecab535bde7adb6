"""The two operators of torchvision that exported detectors call, for machines without torchvision.

A TorchScript file names operators by string, and loading it fails where nobody has registered them. They are
registered here under torchvision's own schemas, unless torchvision is there.

Shape legend: N boxes, B pictures, C channels, H W pixels of the feature map, h w bins, S samples along a bin.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
_registered: list[torch.library.Library] = []


def register() -> None:
    """Make `torchvision::nms` and `torchvision::roi_align` known to TorchScript; does nothing the second time."""
    if _registered or importlib.util.find_spec("torchvision"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CompositeExplicitAutograd")
    library.impl("roi_align", roi_align, "CompositeExplicitAutograd")
    _registered.append(library)  # the operators live as long as this object


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return indices of boxes [N, 4] (left, top, right, bottom) to keep, best score first.

    A box goes if a better one that stays overlaps it by more than `iou_threshold` (intersection over union).
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    low = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    too_close = (both > iou_threshold * (area[:, None] + area[None] - both)).cpu()
    stays = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):
        if stays[index]:
            stays[index + 1 :] &= ~too_close[index, index + 1 :]
    return order[stays.to(order.device)]


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Return features of boxes, averaged over bins of bilinear samples (He et al., Mask R-CNN, 2017).

    Args:
        input: [B, C, H, W] features.
        rois: [N, 5] picture index, then left, top, right, bottom in pixels of the picture.
        spatial_scale: from those pixels to those of the features.
        pooled_height: h.
        pooled_width: w.
        sampling_ratio: samples along each side of a bin; 0 or less: one per feature pixel.
        aligned: whether pixel centers lie at halves.

    Returns:
        [N, C, h, w].
    """
    out = input.new_zeros(len(rois), input.shape[1], pooled_height, pooled_width)
    offset = 0.5 if aligned else 0.0
    for index, roi in enumerate(rois):
        left, top, right, bottom = (roi[1:] * spatial_scale - offset).tolist()
        high, wide = bottom - top, right - left
        if not aligned:
            high, wide = max(high, 1.0), max(wide, 1.0)
        rows = _sample_rows(top, high, pooled_height, sampling_ratio, input)
        columns = _sample_rows(left, wide, pooled_width, sampling_ratio, input)
        features_CHW = input[int(roi[0])]
        weights_rows, weights_columns = _hat(rows, input.shape[2]), _hat(columns, input.shape[3])
        samples = weights_rows @ features_CHW @ weights_columns.T  # [C, h * S, w * S]
        out[index] = samples.unflatten(1, (pooled_height, -1)).unflatten(3, (pooled_width, -1)).mean((2, 4))
    return out


def _sample_rows(start: float, length: float, bins: int, ratio: int, like: Tensor) -> Tensor:
    """Return [bins * S] where samples lie along one axis."""
    per_bin = ratio if ratio > 0 else max(1, int(-(-length / bins // 1)))
    steps = torch.arange(bins * per_bin, device=like.device, dtype=like.dtype)
    return start + (steps + 0.5) * (length / (bins * per_bin))


def _hat(places: Tensor, size: int) -> Tensor:
    """Return bilinear weights [places, size] along one axis; 0 for places more than a pixel outside."""
    inside = (places >= -1) & (places <= size)
    clamped = places.clamp(0, size - 1)
    pixels = torch.arange(size, device=places.device, dtype=places.dtype)
    return (1 - (clamped[:, None] - pixels).abs()).clamp(min=0) * inside[:, None]
