"""Draw a person's looks from a seed: skin, hair, face, clothes, as numbers that the shader reads.

Colors are linear-ish RGB in [0,1]. Lengths along limbs and trunk use the body's surface coordinates (body.py `along`).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

PATTERNS = ("plain", "bands", "stripes", "checks", "dots", "camouflage", "blocks", "gradient")
_PATTERN_WEIGHTS = np.array([0.5, 0.09, 0.07, 0.07, 0.06, 0.06, 0.07, 0.08])
_SKINS = (
    np.array([[236, 196, 172], [224, 178, 148], [205, 152, 118], [170, 118, 84], [128, 84, 58], [88, 58, 44]]) / 255
)
_HAIRS = (
    np.array([[24, 20, 20], [44, 30, 24], [82, 52, 34], [130, 86, 50], [196, 158, 98], [150, 60, 36], [176, 172, 168]])
    / 255
)
_NEUTRALS = np.array(
    [
        [30, 30, 34], [238, 238, 236], [128, 130, 134], [36, 46, 82],
        [70, 96, 140], [196, 178, 148], [92, 74, 60], [72, 82, 58],
    ]
) / 255  # fmt: skip


@dataclass(frozen=True)
class Outfit:
    """One person's looks. Uniform name in the shader -> value, and what needs geometry of its own."""

    phenotype: dict[str, float]
    uniforms: dict[str, Any] = field(default_factory=dict)
    hair_length: float = 0.0  # meters below the skull's middle; 0: no hanging hair
    skirt_length: float = 0.0  # leg coordinate of the hem; 0: no skirt
    waist: float = 0.0  # trunk coordinate of the skirt's upper edge
    pieces: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # accessories.py's -> color


def cloth_color(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.45:
        return np.clip(_NEUTRALS[rng.integers(len(_NEUTRALS))] + 0.04 * rng.standard_normal(3), 0.02, 0.98)
    hue, saturation, value = rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.25, 0.95)
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    return value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))


def _pattern(rng: np.random.Generator, prefix: str) -> dict[str, Any]:
    first = cloth_color(rng)
    second = cloth_color(rng)
    if np.abs(first - second).sum() < 0.35:
        second = 1 - first
    return {
        f"{prefix}_color": tuple(first),
        f"{prefix}_second": tuple(second),
        f"{prefix}_pattern": int(rng.choice(len(PATTERNS), p=_PATTERN_WEIGHTS)),
        f"{prefix}_scale": float(rng.uniform(0.045, 0.14)),
        f"{prefix}_thickness": float(rng.uniform(0.006, 0.022)),
    }


def _phenotype(rng: np.random.Generator, gender: float) -> dict[str, float]:
    """Return the body's sliders."""
    return {
        "gender": gender,
        "age": float(rng.uniform(0.55, 0.8)),
        "muscle": float(np.clip(0.5 + 0.18 * rng.standard_normal(), 0.1, 0.95)),
        "weight": float(np.clip(0.45 + 0.17 * rng.standard_normal(), 0.1, 0.95)),
        "height": float(np.clip(0.5 + 0.15 * rng.standard_normal(), 0.1, 0.9)),
        "proportions": float(rng.uniform(0.3, 0.9)),
    }


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Draw a person: phenotype, skin, hair, face and clothes."""
    gender = float(np.clip(rng.choice([0.05, 0.95]) + 0.1 * rng.standard_normal(), 0, 1))
    feminine = gender > 0.5  # the slider: 0 male, 1 female
    phenotype = _phenotype(rng, gender)
    skin = np.clip(_SKINS[rng.integers(len(_SKINS))] * rng.uniform(0.92, 1.06) + 0.012 * rng.standard_normal(3), 0, 1)
    hair = np.clip(
        _HAIRS[rng.choice(len(_HAIRS), p=[0.24, 0.24, 0.17, 0.12, 0.11, 0.06, 0.06])] * rng.uniform(0.8, 1.2), 0, 1
    )
    if rng.random() < 0.04:
        hair = cloth_color(rng)
    style = rng.choice(
        ["bald", "cropped", "short", "long"], p=[0.02, 0.1, 0.28, 0.6] if feminine else [0.08, 0.4, 0.42, 0.1]
    )
    depth = {"bald": 9.0, "cropped": 0.28, "short": 0.12, "long": 0.08}[style] + 0.06 * rng.standard_normal()
    dress = feminine and rng.random() < 0.12
    skirt = dress or (feminine and rng.random() < 0.16)
    waist = float(rng.uniform(0.28, 0.46))
    uniforms: dict[str, Any] = {
        "skin": tuple(skin),
        "hair_color": tuple(hair),
        "hair_edge": float(depth),
        "hair_thickness": {"bald": 0.0, "cropped": 0.006, "short": 0.022, "long": 0.024}[style],
        "lip": tuple(np.clip(skin * [0.86, 0.6, 0.6] + [0.08 * feminine, 0, 0], 0, 1)),
        "iris": tuple(np.array([[60, 40, 28], [40, 30, 24], [70, 98, 120], [84, 100, 62]])[rng.integers(4)] / 255),
        **_pattern(rng, "top"),
        **_pattern(rng, "bottom"),
        "sleeve": float(
            rng.choice([-1.0, 0.12, 0.45, 0.62, 0.95, 1.5, 1.93], p=[0.12, 0.06, 0.2, 0.2, 0.07, 0.07, 0.28])
        ),
        "hem": float(rng.choice([waist - 0.16, waist - 0.02, waist + 0.16], p=[0.5, 0.38, 0.12])),
        "waist": waist,
        "trousers": float(rng.choice([0.22, 0.42, 0.85, 1.3, 1.88], p=[0.15, 0.15, 0.08, 0.07, 0.55])),
        "neckline": (
            float(rng.choice([0.03, 0.06, 0.11, 0.16])),
            float(rng.uniform(0.04, 0.085)),
            float(rng.random() < 0.45),
        ),
        "shoe": tuple(_NEUTRALS[rng.integers(len(_NEUTRALS))] if rng.random() < 0.7 else cloth_color(rng)),
        "shoe_top": float(rng.choice([1.93, 1.86, 1.6, 9.0], p=[0.55, 0.27, 0.08, 0.1])),
        "print_color": tuple(cloth_color(rng)),
        "print_size": float(rng.uniform(0.03, 0.075) if rng.random() < 0.22 else 0.0),
        "wrinkle_seed": float(rng.uniform(0, 50)),
    }
    if dress:
        uniforms |= {f"bottom_{k}": uniforms[f"top_{k}"] for k in ("color", "second", "pattern", "scale")}
        uniforms["hem"] = waist - 0.02
    if skirt:
        uniforms["trousers"] = 0.15
    return Outfit(
        phenotype=phenotype,
        uniforms=uniforms,
        hair_length=float(rng.uniform(0.1, 0.42)) if style == "long" else 0.0,
        skirt_length=float(rng.uniform(0.35, 1.1)) if skirt else 0.0,
        waist=waist,
    )
