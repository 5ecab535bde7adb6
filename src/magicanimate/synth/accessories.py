"""Accessories with a shape of their own, as loose sheets: glasses, brims, scarf, bags, earrings.

Each piece is a list of sheets (vertices, (rows, columns)) in the rest pose; its color travels in the vertices.
"""

from collections.abc import Callable

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, BodyShape
from magicanimate.body.template import BodyTemplate
from magicanimate.synth.sheets import WORN, sheet

Color = tuple[float, float, float]
Piece = tuple[np.ndarray, tuple[int, int]]
HAT_EDGE = 0.045  # meters above the eyes
_COLOR_COLUMNS = slice(31, 34)  # `along`, which loose sheets do not need
_BELOW_CHIN = 0.08  # meters below the mouth


def shaded(color: Color, share: float) -> Color:
    """Return a darker shade of a color."""
    red, green, blue = color
    return red * share, green * share, blue * share


def worn_pieces(template: BodyTemplate, shape: BodyShape, pieces: dict[str, Color]) -> list[Piece]:
    """Return sheets of all accessories of a person. pieces: name -> color."""
    trunk = shape.vertices[template.region_weights[:, 0] > 0.5]
    skull = shape.vertices[template.hair > -5]
    return [piece for name, color in pieces.items() for piece in MAKERS[name](shape, trunk, skull, color)]


def _piece(x: np.ndarray, y: np.ndarray, z: np.ndarray, color: Color, *joints: str) -> Piece:
    """Return a sheet [R,C] that all joints carry alike."""
    position = np.stack(np.broadcast_arrays(x, y, z), -1).astype(np.float64)
    share = np.full(position.shape[:2], 1 / len(joints))
    vertices = sheet(position, dict.fromkeys(joints, share), WORN)
    vertices[:, _COLOR_COLUMNS] = color
    return vertices, position.shape[:2]


def _rounded(center: np.ndarray, half: tuple[float, float, float], color: Color, joint: str, edge: float) -> Piece:
    """Return a box with round edges; edge 1 is an ellipsoid, towards 0 a box."""
    up, around = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None], np.linspace(0, 2 * np.pi, 21)[None]

    def bent(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** edge

    x = center[0] + half[0] * bent(np.cos(up)) * bent(np.cos(around))
    y = center[1] + half[1] * bent(np.cos(up)) * bent(np.sin(around))
    return _piece(x, y, center[2] + half[2] * bent(np.sin(up)), color, joint)


def _frame(shape: BodyShape, color: Color, width: float) -> list[Piece]:
    """Return rims, bridge and temples."""
    eye = shape.point("eye.L")
    turn = np.linspace(0, 2 * np.pi, 25)[None]
    scale = np.array([[1.0], [1.0 + width]])
    front, pieces = eye[1] - 0.025, []
    for side in (-1, 1):
        x = eye[0] + 0.025 * scale * np.cos(turn)
        pieces.append(_piece(side * x, front + 2.5 * x**2, eye[2] - 0.003 + 0.02 * scale * np.sin(turn), color, "head"))
        thick = np.array([[-0.0025], [0.0025]])
        back = np.linspace(0, 1, 4)[None]
        outer = eye[0] + 0.025
        pieces.append(
            _piece(side * (outer + (0.081 - outer) * back**0.5), front + 0.006 + 0.1 * back, eye[2] + 0.004 + thick,
                   color, "head")
        )  # fmt: skip
    across = np.linspace(-1, 1, 5)[None] * (eye[0] - 0.024)
    pieces.append(_piece(across, front - 0.002 + 0 * across, eye[2] + 0.003 + thick, color, "head"))
    return pieces


def _glasses(shape: BodyShape, _: np.ndarray, __: np.ndarray, color: Color) -> list[Piece]:
    return _frame(shape, color, 0.16)


def _sunglasses(shape: BodyShape, _: np.ndarray, __: np.ndarray, color: Color) -> list[Piece]:
    eye, turn = shape.point("eye.L"), np.linspace(0, 2 * np.pi, 25)[None]
    scale = np.array([[0.02], [1.05]])
    x, z = eye[0] + 0.026 * scale * np.cos(turn), eye[2] - 0.003 + 0.021 * scale * np.sin(turn)
    dark = shaded(color, 0.35)
    lenses = [_piece(side * x, eye[1] - 0.024 + 2.5 * x**2, z, dark, "head") for side in (-1, 1)]
    return _frame(shape, color, 0.16) + lenses


def _brim(shape: BodyShape, skull: np.ndarray, color: Color, reach: float, half_turn: float) -> list[Piece]:
    """Draw a brim that starts within the hat and ends `reach` before it; only at the front unless half_turn is pi."""
    eye = shape.point("eye.L")
    band = skull[np.abs(skull[:, 2] - eye[2] - HAT_EDGE) < 0.012]
    low, high = band.min(0), band.max(0)
    middle, half = (low + high)[:2] / 2, (high - low)[:2] / 2 + 0.004
    angle = np.linspace(-half_turn, half_turn, 33)[None]
    out = np.linspace(0, 1, 4)[:, None]
    taper = np.ones_like(angle) if half_turn > 3 else np.cos(angle / half_turn * np.pi / 2) ** 0.5
    grow = out * reach * taper
    x = (half[0] + grow) * np.sin(angle)
    y = middle[1] - (half[1] + grow) * np.cos(angle)
    slope = 0.2 if half_turn > 3 else 0.0
    z = eye[2] + HAT_EDGE + 0.012 - slope * (y - middle[1] + half[1]) - 0.018 * out**2 * taper
    return [_piece(x, y, z, color, "head")]


def _cap(shape: BodyShape, _: np.ndarray, skull: np.ndarray, color: Color) -> list[Piece]:
    return _brim(shape, skull, color, 0.065, 1.1)


def _sunhat(shape: BodyShape, _: np.ndarray, skull: np.ndarray, color: Color) -> list[Piece]:
    return _brim(shape, skull, color, 0.075, np.pi)


def _scarf(shape: BodyShape, trunk: np.ndarray, _: np.ndarray, color: Color) -> list[Piece]:
    """Return a ring around the neck, below the chin, and one end that hangs over the chest."""
    neck = shape.joints[JOINT_INDEX["neck"]]
    height = min(neck[2] - 0.015, shape.point("mouth")[2] - _BELOW_CHIN)
    tube, around = np.linspace(0, 2 * np.pi, 9)[:, None], np.linspace(0, 2 * np.pi, 29)[None]
    lumpy = 1 + 0.12 * np.sin(5 * around)
    radius = 0.072 + 0.026 * lumpy * np.cos(tube)
    x, y = radius * np.sin(around), neck[1] - 0.005 - 1.05 * radius * np.cos(around)
    ring = _piece(x, y, height + 0.034 * lumpy * np.sin(tube) - 0.02 * np.cos(around), color, "neck", "chest")
    down, across = np.linspace(0, 1, 7)[:, None], np.linspace(-1, 1, 5)[None]
    z = height - 0.02 - 0.26 * down
    front = [trunk[(np.abs(trunk[:, 2] - level) < 0.03) & (np.abs(trunk[:, 0]) < 0.1), 1].min() for level in z[:, 0]]
    y = np.minimum(np.array(front), neck[1] - 0.09)[:, None] - 0.03 + 0.012 * across**2
    end = _piece(0.045 + 0.032 * across, y, z, shaded(color, 0.88), "chest")
    return [ring, end]


def _bag(shape: BodyShape, trunk: np.ndarray, color: Color, side: int) -> list[Piece]:
    hip = shape.joints[JOINT_INDEX["thigh.L"]]
    level = trunk[np.abs(trunk[:, 2] - hip[2]) < 0.05]
    center = np.array([side * (level[:, 0].max() + 0.035), hip[1] + 0.01, hip[2] - 0.03])
    return [_rounded(center, (0.032, 0.1, 0.075), color, "pelvis", 0.45)]


def _backpack(shape: BodyShape, trunk: np.ndarray, _: np.ndarray, color: Color) -> list[Piece]:
    chest, neck = shape.joints[JOINT_INDEX["chest"]], shape.joints[JOINT_INDEX["neck"]]
    height = chest[2] + 0.3 * (neck[2] - chest[2])
    back = trunk[np.abs(trunk[:, 2] - height) < 0.1, 1].max()
    return [_rounded(np.array([0, back + 0.05, height]), (0.135, 0.07, 0.19), color, "chest", 0.5)]


def _earrings(shape: BodyShape, _: np.ndarray, __: np.ndarray, color: Color) -> list[Piece]:
    pieces = []
    for side, sign in (("L", 1), ("R", -1)):
        lobe = shape.point(f"ear.{side}") + np.array([0.004 * sign, -0.004, -0.034])
        pieces.append(_rounded(lobe, (0.006, 0.006, 0.014), color, "head", 1.0))
    return pieces


MAKERS: dict[str, Callable[[BodyShape, np.ndarray, np.ndarray, Color], list[Piece]]] = {
    "glasses": _glasses,
    "sunglasses": _sunglasses,
    "cap": _cap,
    "sunhat": _sunhat,
    "scarf": _scarf,
    "bag.L": lambda shape, trunk, _, color: _bag(shape, trunk, color, 1),
    "bag.R": lambda shape, trunk, _, color: _bag(shape, trunk, color, -1),
    "backpack": _backpack,
    "earrings": _earrings,
}
