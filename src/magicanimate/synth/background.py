"""Backgrounds: studios, rooms, outdoor scenes and leaf images (overlapping shapes of all sizes, like photographs).

All return [H,W,3] float32 in [0,1]; a clip's background is drawn once.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def _color(rng: np.random.Generator, saturation: float = 0.35) -> np.ndarray:
    value = rng.uniform(0.15, 0.95)
    tint = rng.uniform(-1, 1, 3)
    return np.clip(value * (1 + saturation * (tint - tint.mean())), 0.02, 0.98)


def _ramp(size: int, top: np.ndarray, bottom: np.ndarray, angle: float) -> np.ndarray:
    v, u = np.mgrid[0:size, 0:size] / (size - 1)
    t = np.clip(0.5 + (u - 0.5) * np.sin(angle) + (v - 0.5) * np.cos(angle), 0, 1)[..., None]
    return top + (bottom - top) * t


def smooth_noise(rng: np.random.Generator, size: int, cells: int, channels: int = 1) -> np.ndarray:
    """Bicubically enlarged white noise in about [-1,1]. -> [size,size,channels]."""
    coarse = rng.uniform(-1, 1, (channels, cells, cells)).astype(np.float32)
    planes = [np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse]
    return np.stack(planes, -1)


def _fractal(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    octaves = [smooth_noise(rng, size, cells * 2**i) * 0.5**i for i in range(4) if cells * 2**i < size // 2]
    return np.sum(octaves, 0)


def _to_image(x: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(x, 0, 1) * 255).astype(np.uint8))


def _boxes(rng: np.random.Generator, image: Image.Image, count: int, low: float, high: float) -> None:
    """Draw shaded rectangles (doors, pictures, furniture) whose lower edge lies between low and high, in heights."""
    size = image.width
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        w, h = size * rng.uniform(0.08, 0.35), size * rng.uniform(0.08, 0.4)
        x, y = size * rng.uniform(-0.1, 1.0), size * rng.uniform(low, high)
        color = _color(rng)
        draw.rectangle((x, y - h, x + w, y), fill=tuple((color * 255).astype(int)))
        if rng.random() < 0.5:
            m = rng.uniform(0.06, 0.2) * min(w, h)
            inner = tuple((np.clip(color * rng.uniform(0.6, 1.4), 0, 1) * 255).astype(int))
            draw.rectangle((x + m, y - h + m, x + w - m, y - m), fill=inner)


def _studio(rng: np.random.Generator, size: int) -> np.ndarray:
    base = _color(rng, 0.5)
    v, u = np.mgrid[0:size, 0:size] / (size - 1) - 0.5
    glow = np.exp(-((u - rng.uniform(-0.2, 0.2)) ** 2 + (v - rng.uniform(-0.2, 0.2)) ** 2) / rng.uniform(0.1, 0.6))
    return base * (0.72 + 0.4 * glow[..., None]) + 0.02 * _fractal(rng, size, 3)


def _room(rng: np.random.Generator, size: int) -> np.ndarray:
    wall, floor = _color(rng, 0.3), _color(rng, 0.3)
    horizon = rng.uniform(0.62, 0.95)
    image = _to_image(_ramp(size * 2, wall * 1.08, wall * 0.88, rng.uniform(-1, 1)))
    _boxes(rng, image, int(rng.integers(0, 5)), horizon * 0.4, horizon)
    draw = ImageDraw.Draw(image)
    edge = int(horizon * size * 2)
    draw.rectangle((0, edge, size * 2, size * 2), fill=tuple((floor * 255).astype(int)))
    if rng.random() < 0.5:
        draw.rectangle(
            (0, edge - size // 24, size * 2, edge), fill=tuple((np.clip(wall * 1.25, 0, 1) * 255).astype(int))
        )
    if rng.random() < 0.4:  # boards run to the vanishing point
        for x in np.linspace(-3, 4, rng.integers(12, 30)):
            draw.line((size, edge, x * size * 2, size * 2), fill=tuple((floor * 0.8 * 255).astype(int)), width=2)
        draw.rectangle((0, edge - 2, size * 2, edge + 2), fill=tuple((floor * 0.7 * 255).astype(int)))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 3)))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32) / 255


def _outdoors(rng: np.random.Generator, size: int) -> np.ndarray:
    sky = _ramp(
        size,
        np.array([0.45, 0.62, 0.85]) * rng.uniform(0.6, 1.15),
        np.array([0.85, 0.87, 0.88]) * rng.uniform(0.7, 1.1),
        0,
    )
    out = sky + 0.08 * np.clip(_fractal(rng, size, 3), 0, 1)
    v = np.mgrid[0:size, 0:size][0] / size
    level = rng.uniform(0.3, 0.55)
    for _ in range(rng.integers(2, 5)):
        ridge = level + 0.07 * _fractal(rng, size, 3)[0, :, 0] + 0.02 * _fractal(rng, size, 12)[0, :, 0]
        color = np.array([0.3, 0.42, 0.3]) * rng.uniform(0.4, 1.6) + 0.12 * rng.uniform(-1, 1, 3)
        shade = color + 0.10 * _fractal(rng, size, int(rng.integers(6, 20)))
        out = np.where((v > ridge)[..., None], shade, out)
        level += rng.uniform(0.1, 0.2)
    return out


def _leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    image = _to_image(np.broadcast_to(_color(rng), (size * 2, size * 2, 3)))
    draw = ImageDraw.Draw(image)
    base = _color(rng, 0.5)
    for _ in range(rng.integers(30, 160)):
        r = size * min(0.8, 0.045 / rng.random() ** 0.6)
        x, y = rng.uniform(-r, size * 2 + r, 2)
        fill = tuple((np.clip(base * rng.uniform(0.4, 1.5) + 0.12 * rng.uniform(-1, 1, 3), 0, 1) * 255).astype(int))
        aspect = rng.uniform(0.4, 1)
        shape = draw.rectangle if rng.random() < 0.4 else draw.ellipse
        shape((x - r, y - r * aspect, x + r, y + r * aspect), fill=fill)
    image = image.filter(ImageFilter.GaussianBlur(size / 256 * rng.uniform(1, 14)))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32) / 255


def random_background(rng: np.random.Generator, size: int) -> tuple[np.ndarray, bool]:
    """Draw a background [size,size,3] float32 in [0,1]; and whether it has a floor that could take a shadow."""
    kind = rng.choice(5, p=[0.28, 0.32, 0.14, 0.16, 0.10])
    if kind == 0:
        picture, floor = _studio(rng, size), False
    elif kind == 1:
        picture, floor = _room(rng, size), True
    elif kind == 2:
        picture, floor = _outdoors(rng, size), True
    elif kind == 3:
        picture, floor = _leaves(rng, size), False
    else:
        picture = _ramp(size, _color(rng, 0.5), _color(rng, 0.5), rng.uniform(-np.pi, np.pi))
        picture, floor = picture + 0.08 * smooth_noise(rng, size, int(rng.integers(3, 12)), 3), False
    light = 1 + 0.12 * smooth_noise(rng, size, 3)
    return np.clip(picture * light, 0, 1).astype(np.float32), floor
