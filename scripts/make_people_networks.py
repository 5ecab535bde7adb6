"""Packs the networks that find people and faces, from the wheel of mediapipe 0.10.21, into the package's assets.

python scripts/make_people_networks.py mediapipe-0.10.21-*.whl

A network of 16-bit weights compresses a sixth better when low and high bytes lie apart, so that every array of the
archives is [2, N] uint8. mediapipe itself is needed neither here nor later.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np

NETWORKS = {
    "networks": {
        "detector": "pose_detection/pose_detection.tflite",
        "landmarks": "pose_landmark/pose_landmark_full.tflite",
        "matte": "selfie_segmentation/selfie_segmentation.tflite",
    },
    "face": {"face": "face_landmark/face_landmark.tflite"},
}
"""Archive -> network -> file of the wheel."""
OUT = Path(__file__).resolve().parent.parent / "src" / "magicanimate" / "assets" / "people"


def byte_planes(data: bytes) -> np.ndarray:
    """Separates even from odd bytes; an odd length is filled up with a zero. [2, N] uint8."""
    return np.ascontiguousarray(np.frombuffer(data + bytes(len(data) % 2), np.uint8).reshape(-1, 2).T)


def main() -> None:
    """Writes the archives."""
    for archive, networks in NETWORKS.items():
        with zipfile.ZipFile(sys.argv[1]) as wheel:
            planes = {name: byte_planes(wheel.read(f"mediapipe/modules/{path}")) for name, path in networks.items()}
        path = OUT / f"{archive}.npz"
        np.savez_compressed(path, **planes)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
