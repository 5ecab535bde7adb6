"""Rich looks: what people wear besides plain clothes, how the cloth falls, and more detailed faces and light.

Everything comes from one stream of its own, so that people without it stay as they were. The names are uniforms of
shaders/wardrobe.glsl and wardrobe.frag; a person always gets all of them.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from magicanimate.synth.accessories import HAT_EDGE, Color, shaded
from magicanimate.synth.outfit import PATTERNS, Outfit, cloth_color

STREAM = 31  # of the seed; clip.py and camera_effects.py have the others
_RICH_PATTERNS = 7  # flowers, leaves, plaid, marble, zigzag, leopard, pinstripes
_NONE, _BUTTONS, _ZIP, _JACKET, _TIE = range(5)
_HATS = ("cap", "beanie", "headband", "sunhat")
_METALS = ((0.83, 0.72, 0.42), (0.75, 0.76, 0.78), (0.85, 0.6, 0.5))

Uniforms = dict[str, Any]


def enriched(outfit: Outfit, further_light: Uniforms, rng: np.random.Generator) -> Outfit:
    """Return the same person with richer looks."""
    feminine = outfit.phenotype["gender"] > 0.5
    dress = bool(outfit.skirt_length) and outfit.uniforms["bottom_color"] == outfit.uniforms["top_color"]
    uniforms: Uniforms = {}
    pieces: dict[str, Color] = {}
    for more, shapes in (_on_head(feminine, rng), _carried(rng)):
        uniforms |= more
        pieces |= shapes
    uniforms |= _small_things(outfit, feminine, rng)
    uniforms |= _folds(outfit, rng) | _top(outfit, dress, rng) | _bottom(outfit, dress, rng) | _logo(rng)
    uniforms |= _face(outfit, feminine, rng) | _hair(outfit, rng)
    if uniforms["logo"][0]:
        uniforms["print_size"] = 0.0
    return replace(outfit, uniforms=outfit.uniforms | uniforms | further_light, pieces=pieces)


def random_further_light(rng: np.random.Generator) -> Uniforms:
    """Return a second, colored light and light from behind; a place has them, whoever stands in it."""
    direction = np.array([rng.choice([-1, 1]) * rng.uniform(0.5, 1.0), -rng.uniform(0.0, 0.6), rng.uniform(-0.2, 0.5)])
    fill = rng.uniform(0.12, 0.4) * _tint(rng, 0.7) * (rng.random() < 0.45)
    rim = rng.uniform(0.12, 0.4) * _tint(rng, 0.5) * (rng.random() < 0.4)
    return {
        "fill_light": tuple(direction / np.linalg.norm(direction)),
        "fill_color": tuple(fill),
        "rim_color": tuple(rim),
    }


def _tint(rng: np.random.Generator, strength: float) -> np.ndarray:
    return 1 - strength * rng.random(3)


def _color(rng: np.random.Generator) -> Color:
    return tuple(cloth_color(rng))


def _metal(rng: np.random.Generator) -> Color:
    return _METALS[rng.integers(len(_METALS))]


def _on_head(feminine: bool, rng: np.random.Generator) -> tuple[Uniforms, dict[str, Color]]:
    pieces = {}
    if rng.random() < 0.22:
        dark = rng.random() < 0.35
        frame = _metal(rng) if rng.random() < 0.3 else shaded(_color(rng), rng.uniform(0.1, 0.7))
        pieces["sunglasses" if dark else "glasses"] = frame
    color = _color(rng)
    worn = _HATS[rng.choice(len(_HATS), p=[0.42, 0.25, 0.2, 0.13])] if rng.random() < 0.22 else ""
    if worn in ("cap", "sunhat"):
        pieces[worn] = shaded(color, rng.uniform(0.7, 1.0))
    if rng.random() < (0.3 if feminine else 0.04):
        pieces["earrings"] = _metal(rng) if rng.random() < 0.7 else _color(rng)
    thickness = {"beanie": rng.uniform(0.018, 0.028), "headband": 0.01}.get(worn, 0.013)
    edge = HAT_EDGE - 0.008 * (worn == "beanie")
    kind = 2.0 if worn == "headband" else float(worn != "")
    return {
        "hat": (kind, edge, float(thickness)),
        "hat_color": color,
        "mask": float(rng.random() < 0.025),
        "mask_color": _color(rng) if rng.random() < 0.4 else (0.75, 0.85, 0.92),
    }, pieces


def _carried(rng: np.random.Generator) -> tuple[Uniforms, dict[str, Color]]:
    pieces = {}
    color = _color(rng)
    what = rng.choice(["", "bag", "backpack"], p=[0.84, 0.11, 0.05])
    side = int(rng.choice([-1, 1]))
    if what == "backpack":
        pieces["backpack"] = color
    elif what == "bag":
        pieces["bag.L" if side > 0 else "bag.R"] = color
    if rng.random() < 0.07:
        pieces["scarf"] = _color(rng)
    return {
        "strap": ({"": 0.0, "bag": float(side), "backpack": 2.0}[what], float(rng.uniform(0.01, 0.024))),
        "strap_color": shaded(color, 0.75),
    }, pieces


def _small_things(outfit: Outfit, feminine: bool, rng: np.random.Generator) -> Uniforms:
    waist = float(outfit.uniforms["waist"])
    belt = not outfit.skirt_length and rng.random() < 0.25
    watch = rng.random() < 0.5
    wrist = float(rng.choice([-1, 1])) if rng.random() < 0.24 else 0.0
    return {
        "belt": (waist - 0.01, float(rng.uniform(0.022, 0.04)) if belt else -1.0),
        "belt_color": shaded(_color(rng), 0.5),
        "wrist": (wrist, 1.8, 1.8 + (0.1 if watch else float(rng.uniform(0.14, 0.22)))),
        "band_color": _metal(rng) if rng.random() < 0.3 else _color(rng),
        "gloves": float(rng.random() < 0.03),
        "glove_color": _color(rng),
        "necklace": float(rng.uniform(0.05, 0.16)) if rng.random() < (0.24 if feminine else 0.08) else 0.0,
        "sock_top": float(rng.choice([1.75, 1.45, 1.08, 0.8], p=[0.5, 0.25, 0.17, 0.08]))
        if rng.random() < 0.5
        else 9.0,
        "sock_color": _color(rng) if rng.random() < 0.5 else (0.93, 0.93, 0.92),
        "sock_stripes": int(rng.random() < 0.3),
    }


def _folds(outfit: Outfit, rng: np.random.Generator) -> Uniforms:
    wide = not outfit.skirt_length and float(outfit.uniforms["trousers"]) > 0.8 and rng.random() < 0.3
    return {
        "fold": (float(rng.uniform(0.15, 0.75)), float(rng.uniform(11, 22)), float(rng.integers(6, 15))),
        "flare": float(rng.uniform(0.012, 0.04)) if wide else 0.0,
    }


def _top(outfit: Outfit, dress: bool, rng: np.random.Generator) -> Uniforms:
    sleeves = float(outfit.uniforms["sleeve"]) > 0.3
    closure = int(rng.choice(5, p=[0.5, 0.17, 0.13, 0.14, 0.06]))
    if dress or not sleeves:
        closure = min(closure, _BUTTONS)
    collar = closure in (_BUTTONS, _JACKET, _TIE) or rng.random() < 0.15
    widths = np.array([rng.uniform(0.08, 0.2), rng.uniform(0.02, 0.07), rng.uniform(0.015, 0.04)])
    cuffs, hem, neck = widths * (rng.random(3) < [0.28 * sleeves, 0.22, 0.2])
    more: Uniforms = {
        "closure": closure,
        "collar": float(collar),
        "trim": (float(cuffs), float(hem) or -1.0, float(neck), float(sleeves and rng.random() < 0.12)),
        "trim_color": _color(rng),
        "third": _color(rng),
        "pocket": float(rng.random() < 0.35),
    }
    if rng.random() < 0.35:
        pattern = len(PATTERNS) + int(rng.integers(_RICH_PATTERNS))
        scale = float(rng.uniform(0.035, 0.11))
        more |= {"top_pattern": pattern, "top_scale": scale}
        if dress:
            more |= {"bottom_pattern": pattern, "bottom_scale": scale}
    return more


def _bottom(outfit: Outfit, dress: bool, rng: np.random.Generator) -> Uniforms:
    denim = not outfit.skirt_length and rng.random() < 0.3
    more: Uniforms = {
        "denim": int(denim),
        "leg_stripes": int(rng.integers(1, 3)) if not denim and rng.random() < 0.14 else 0,
    }
    blue = np.array([0.28, 0.38, 0.55]) * rng.uniform(0.35, 1.5) + 0.03 * rng.standard_normal(3)
    pattern = len(PATTERNS) + int(rng.integers(_RICH_PATTERNS))
    if denim:
        more |= {"bottom_color": tuple(np.clip(blue, 0.03, 0.95)), "bottom_pattern": 0}
    elif not dress and rng.random() < 0.18:
        more |= {"bottom_pattern": pattern, "bottom_scale": float(rng.uniform(0.035, 0.11))}
    return more


def _logo(rng: np.random.Generator) -> Uniforms:
    kind = float(rng.integers(1, 7)) if rng.random() < 0.4 else 0.0
    x, z, size = {
        "chest": (0.0, rng.uniform(0.31, 0.39), rng.uniform(0.035, 0.095)),
        "small": (0.065, 0.4, rng.uniform(0.014, 0.024)),
        "back": (10.0, 0.38, rng.uniform(0.05, 0.1)),  # x beyond 5 tells the shader: on the back
    }[rng.choice(["chest", "small", "back"], p=[0.68, 0.2, 0.12])]
    return {
        "logo": (kind, float(x), float(z), float(size)),
        "logo_first": _color(rng),
        "logo_second": _color(rng),
    }


def _face(outfit: Outfit, feminine: bool, rng: np.random.Generator) -> Uniforms:
    skin = np.array(outfit.uniforms["skin"])
    beard = float(rng.choice([0.0, 0.22, 0.4, 0.85], p=[0.5, 0.2, 0.1, 0.2]))
    lip = np.clip(skin * [0.95, 0.5, 0.52] + rng.uniform(0, 0.2) * np.array([1, 0.05, 0.15]), 0, 1)
    more: Uniforms = {
        "beard": 0.0 if feminine else beard,
        "brow": float(rng.uniform(0.9, 1.9) if not feminine else rng.uniform(0.7, 1.3)),
        "blush": float(rng.uniform(0.0, 0.55)),
        "blush_color": tuple(np.clip(skin * [1.02, 0.78, 0.78], 0, 1)),
        "freckles": float(rng.uniform(0.4, 1.0)) if rng.random() < 0.12 else 0.0,
        "ageing": float(rng.uniform(0.3, 1.0)) if rng.random() < 0.3 else 0.0,
        "mottle": float(rng.uniform(0.02, 0.12)),
    }
    if feminine and rng.random() < 0.45:
        more["lip"] = tuple(lip)
    return more


def _hair(outfit: Outfit, rng: np.random.Generator) -> Uniforms:
    hair = np.array(outfit.uniforms["hair_color"])
    lighter = np.clip(hair * rng.uniform(1.1, 1.7) + rng.uniform(0, 0.1), 0, 1)
    dyed = np.array(_color(rng))
    return {
        "highlight": tuple(dyed if rng.random() < 0.06 else lighter),
        "parting": float(rng.uniform(-0.04, 0.04)) if rng.random() < 0.4 else -1.0,
    }
