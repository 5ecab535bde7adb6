"""Clips as a phone films them: things in front, motion blur, tone, noise, compression. Drawn from the clip's seed.

What covers the person is missing in part maps and depth too: a map shows what is seen.

Legend: F frames, S moments of one exposure, H W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from magicanimate.synth.background import random_background
from magicanimate.synth.clip import MOTION_SECONDS, SPLITS, GeneratedClip

_STREAM = 21  # of the seed; clip.py has the others
_BLURRED, _COVERED, _NOISY = 0.3, 0.15, 0.6  # shares of the clips
_MOMENTS = 3  # frames that are averaged for one with motion blur


@dataclass(frozen=True)
class Filming:
    """Camera effects of one clip."""

    shutter: float  # seconds; 0: no motion blur
    cover: np.ndarray | None  # [H,W,4] in [0,1], color and opacity of what is in front
    gamma: float
    tint: np.ndarray  # [3] gains
    noise: float  # gray levels
    quality: int  # of JPEG


def random_filming(seed: int, size: int, split: str) -> tuple[Filming, np.random.Generator]:
    """Drawn from a clip's seed, and the generator for what differs from frame to frame."""
    rng = np.random.default_rng([SPLITS[split], seed, _STREAM])
    return Filming(
        shutter=float(rng.uniform(0.01, 0.05)) * bool(rng.random() < _BLURRED),
        cover=_random_cover(rng, size) if rng.random() < _COVERED else None,
        gamma=float(rng.uniform(0.85, 1.18)),
        tint=rng.uniform(0.95, 1.05, 3),
        noise=float(rng.uniform(0.5, 5.0)) * bool(rng.random() < _NOISY),
        quality=int(rng.integers(35, 93)),
    ), rng


def filmed_clip(
    render: Callable[[np.ndarray], GeneratedClip], times_F: np.ndarray, seed: int, size: int, split: str = "train"
) -> GeneratedClip:
    """Return the clip that `render` draws at given times, as it would be filmed."""
    filming, rng = random_filming(seed, size, split)
    clip = _exposed(render, times_F, filming.shutter)
    if filming.cover is not None:
        clip = _covered(clip, filming.cover)
    pictures = [_developed(frame, filming, rng) for frame in clip.rgb]
    return replace(clip, rgb=np.stack(pictures))


def _exposed(render: Callable[[np.ndarray], GeneratedClip], times_F: np.ndarray, shutter: float) -> GeneratedClip:
    """Means over the exposure; everything else as in its middle."""
    if not shutter:
        return render(times_F)
    moments_S = np.linspace(-0.5, 0.5, _MOMENTS) * shutter
    clip = render(np.clip(times_F[:, None] + moments_S, 0, MOTION_SECONDS).ravel())
    middle = slice(_MOMENTS // 2, None, _MOMENTS)
    kept = {name: getattr(clip, name)[middle] for name in ("parts", "person", "distance", "joints", "points")}
    means = clip.rgb.reshape(-1, _MOMENTS, *clip.rgb.shape[1:]).mean(1)
    return replace(clip, rgb=np.rint(means).astype(np.uint8), **kept)


def _random_cover(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a piece of furniture, a plant or a post at the lower edge or the side, out of focus. [H,W,4] in [0,1]."""
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    width, height = size * rng.uniform(0.12, 0.5), size * rng.uniform(0.12, 0.4)
    left = size * rng.uniform(-0.1, 0.8)
    if rng.random() < 0.5:  # furniture
        draw.rectangle((left, size - height, left + width, size), fill=255)
    elif rng.random() < 0.5:  # a post
        draw.rectangle((left, 0, left + size * rng.uniform(0.03, 0.1), size), fill=255)
    else:  # leaves
        for _ in range(rng.integers(8, 30)):
            x, y = left + width * rng.random(), size - height * 1.3 * rng.random()
            r = size * rng.uniform(0.02, 0.07)
            draw.ellipse((x - r, y - 2 * r, x + r, y + r), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(size / 256 * rng.uniform(0.6, 3)))
    colors, _ = random_background(rng, size)
    return np.concatenate([colors, np.asarray(mask, np.float32)[..., None] / 255], -1)


def _covered(clip: GeneratedClip, cover_HW4: np.ndarray) -> GeneratedClip:
    colors_HWC, opacity_HW1 = cover_HW4[..., :3] * 255, cover_HW4[..., 3:]
    rgb = np.rint(clip.rgb * (1 - opacity_HW1) + colors_HWC * opacity_HW1).astype(np.uint8)
    seen_HW = opacity_HW1[..., 0] < 0.5
    return replace(
        clip, rgb=rgb, parts=clip.parts * seen_HW, person=clip.person & seen_HW,
        distance=clip.distance * seen_HW.astype(clip.distance.dtype),
    )  # fmt: skip


def _developed(frame_HWC: np.ndarray, filming: Filming, rng: np.random.Generator) -> np.ndarray:
    """Tone, noise (brightness more than color) and JPEG's losses."""
    tones = 255 * (frame_HWC / 255.0) ** filming.gamma * filming.tint
    if filming.noise:
        height, width, _ = frame_HWC.shape
        grain = rng.standard_normal((height, width, 1)) + 0.4 * rng.standard_normal((height, width, 3))
        tones = tones + filming.noise * grain
    picture = Image.fromarray(np.rint(np.clip(tones, 0, 255)).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=filming.quality)
    return np.asarray(Image.open(file).convert("RGB"))
