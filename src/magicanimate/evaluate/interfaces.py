"""Interfaces of networks that turn pictures into features, or compare two pictures.

Shape legend: N pictures or windows, H W pixels, D feature dimensions.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np

InputRange = Literal["signed", "unit"]
"""Scale of pictures for a perceptual network: [-1, 1], as it was trained, or [0, 1], as DisCo does."""


@runtime_checkable
class FeatureNetwork(Protocol):
    """Features for a Frechet distance, of single frames or of windows of consecutive frames."""

    name: str
    """The network, as printed in reports, such as "Inception v3"."""
    metric: str
    """Name of a Frechet distance of its features: "FID", "FID-VID", "FVD"; a stand-in uses none of these."""
    sha256: str
    """Hash of the file that holds the weights."""
    dimensions: int
    window: int
    """1 for single frames, otherwise the number of consecutive frames of a window."""

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures [N, H, W, 3] uint8 (window 1) or windows [N, window, H, W, 3] uint8 -> [N, dimensions] float64."""
        ...


@runtime_checkable
class PerceptualNetwork(Protocol):
    """LPIPS: a distance between two pictures in the features of a network."""

    name: str
    """Name in reports, such as "LPIPS (VGG)"."""
    sha256: str
    """Hash of the file that holds the weights, or of the files one after another."""

    def distance(self, a: np.ndarray, b: np.ndarray, input_range: InputRange) -> np.ndarray:
        """Pictures [N, H, W, 3] uint8 and the same number of others -> distances [N]."""
        ...


class PackagedNetwork(Protocol):
    """Compares outputs with targets under names of its own, by weights that come inside a package."""

    name: str
    """The network, as printed in reports."""
    metrics: tuple[str, ...]
    """Names of its figures."""
    sha256: str
    """Hash of the file that holds the weights."""

    def figures(self, output_FHWC: np.ndarray, target_FHWC: np.ndarray) -> dict[str, float]:
        """Frames [F, H, W, 3] uint8 -> means over frames by name; NaN where a figure is not defined."""
        ...
