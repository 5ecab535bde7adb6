"""Vertex arrays of a person: the body and the loose pieces (hair, skirt, accessories) that only the picture shows.

Layout per vertex (37 floats): the naked body's 31 (graphics.py), along 3, and 3 of hair, eyeball, material.
"""

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, BodyShape
from magicanimate.body.template import BodyTemplate
from magicanimate.synth.accessories import worn_pieces
from magicanimate.synth.graphics import body_vertices
from magicanimate.synth.outfit import Outfit
from magicanimate.synth.sheets import FLOATS_PER_VERTEX, HANGING_HAIR, SKIRT, sheet, sheet_triangles


def dressed_vertices(template: BodyTemplate, shape: BodyShape) -> np.ndarray:
    """Return [V, FLOATS_PER_VERTEX] float32 for the body, to which the shader adds clothes."""
    misc = np.stack([template.hair, template.eyeball, np.zeros(len(template.hair))], 1)
    return np.concatenate([body_vertices(shape), template.along, misc], 1).astype(np.float32)


def _hanging_hair(shape: BodyShape, length: float, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a curtain behind and beside the head, stiff at the skull and lying on the back at its end."""
    rows, columns = 10, 21
    head = shape.joints[JOINT_INDEX["head"]] + np.array([0, -0.012, 0.07])
    angle = np.linspace(-1.95, 1.95, columns)[None] * np.ones((rows, 1))
    down = np.linspace(0, 1, rows)[:, None] * np.ones((1, columns))
    radius = np.array([0.088, 0.112])
    widen = 1 + 0.12 * np.sin(np.pi * down) + rng.uniform(-0.15, 0.25) * down
    wave = 0.004 * np.sin(down * rng.uniform(4, 14) + 3 * angle)
    x = head[0] + radius[0] * widen * np.sin(angle) + wave
    y = head[1] + radius[1] * widen * np.cos(angle) + wave + 0.02 * down
    ragged = length * (1 + 0.05 * np.sin(9 * angle) - 0.25 * (np.abs(angle) / 1.95) ** 2 * rng.random())
    z = head[2] - ragged * down
    hang = np.clip(down * length / 0.3, 0, 1)
    blend = {"head": 1 - 0.8 * hang, "chest": 0.8 * hang}
    position = np.stack([x, y, z], -1)
    return sheet(position, blend, HANGING_HAIR), (rows, columns)


def _skirt(shape: BodyShape, template: BodyTemplate, waist: float, length: float, rng: np.random.Generator):
    """A cone from the waist to the hem; each side follows its thigh more the lower it hangs."""
    rows, columns = 9, 33
    hip, knee = shape.joints[JOINT_INDEX["thigh.L"]], shape.joints[JOINT_INDEX["shin.L"]]
    trunk = template.region_weights[:, 0] > 0.5
    crotch, neck = hip[2] - 0.06, shape.joints[JOINT_INDEX["neck"]][2]
    top = crotch + waist * (neck - crotch)
    bottom = hip[2] + length * (knee[2] - hip[2])
    z = np.linspace(top, bottom, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, columns)[None]

    def half_width(axis: int, level: float) -> tuple[float, float]:
        band = shape.vertices[trunk & (np.abs(shape.vertices[:, 2] - level) < 0.03)]
        low, high = band[:, axis].min(), band[:, axis].max()
        return float(high - low) / 2, float(high + low) / 2

    (wx, _), (wy, y0) = half_width(0, top), half_width(1, top)
    (hx, _), (hy, y1) = half_width(0, hip[2] + 0.02), half_width(1, hip[2] + 0.02)
    down = np.clip((top - z) / max(top - hip[2], 0.05), 0, 1)
    below = np.clip((hip[2] - z) / 0.4, 0, 1)
    flare = rng.uniform(0.02, 0.16) * below * (1 + 0.12 * np.cos(angle * rng.integers(6, 14)))
    rx = wx + (hx - wx) * down + 0.018 + flare
    ry = wy + (hy - wy) * down + 0.018 + flare
    x = rx * np.cos(angle)
    y = y0 + (y1 - y0) * down + ry * np.sin(angle)
    follow = 0.75 * np.clip((hip[2] + 0.05 - z) / 0.3, 0, 1) * np.ones_like(angle)
    left = 1 / (1 + np.exp(-x / 0.035))
    blend = {"pelvis": 1 - follow, "thigh.L": follow * left, "thigh.R": follow * (1 - left)}
    position = np.stack([x, y, z * np.ones_like(angle)], -1)
    return sheet(position, blend, SKIRT), (rows, columns)


def loose_pieces(
    template: BodyTemplate, shape: BodyShape, outfit: Outfit, rng: np.random.Generator, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices [N, FLOATS_PER_VERTEX] and triangles [M,3] (indices from `start`) of hair, skirt, accessories."""
    sheets = []
    if outfit.hair_length:
        sheets.append(_hanging_hair(shape, outfit.hair_length, rng))
    if outfit.skirt_length:
        sheets.append(_skirt(shape, template, outfit.waist, outfit.skirt_length, rng))
    sheets += worn_pieces(template, shape, outfit.pieces)
    vertices, triangles = [np.zeros((0, FLOATS_PER_VERTEX), np.float32)], [np.zeros((0, 3), np.int64)]
    for piece, (rows, columns) in sheets:
        triangles.append(sheet_triangles(rows, columns, start))
        vertices.append(piece)
        start += len(piece)
    return np.concatenate(vertices), np.concatenate(triangles).astype(np.int32)
