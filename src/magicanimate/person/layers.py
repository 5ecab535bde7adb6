"""Turns a picture of a person into textured layers on a fitted body: the trunk with head and legs, and both arms.

Every pixel of the person gets a place on or beside the body: depth, skinning weights and position in the rest pose
(the idea of Photo Wake-Up, Weng et al. 2019). Each layer is a fine mesh over the picture's pixels; what a nearer layer
hid of it is completed. Under the layers lies the body itself, colored from the picture, for surfaces it never shows.

Shape legend: H W pixels, V vertices of the body or of a layer, T triangles, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from magicanimate.body.motion import BodyMotion
from magicanimate.body.raster import Raster, rasterize
from magicanimate.body.rig import JOINT_INDEX, REGIONS, rig, triangles
from magicanimate.body.skinning import blend, skin, skin_weights, to_screen
from magicanimate.parts.regions import nearest_known
from magicanimate.person.cloth import join_skirt
from magicanimate.person.matte import Matte
from magicanimate.person.outpainting import continue_person
from magicanimate.person.segments import (
    FACE,
    LEFT_ARM,
    LEFT_FOREARM,
    LEFT_HAND,
    NOBODY,
    RIGHT_ARM,
    RIGHT_FOREARM,
    RIGHT_HAND,
    TRUNK,
    assign_layers,
)  # fmt: skip
from magicanimate.person.skin_color import color_body, face_vertices
from magicanimate.person.texture import complete_texture

KNOWN, COMPLETED, GUESSED = 1, 2, 3
"""Kinds of pixels of a drawing: the picture's own; continued below what hid them; the body's surface."""
_CELL = 2  # pixels between the vertices of a layer
_LONGEST_EDGE = 0.10  # meters in the rest pose: longer edges of a layer are cut, between the legs for example
_ARM_PIXELS = 40  # fewer pixels of an arm are no layer
_SEAM = 0.004  # of the figure's height: rim of a hidden region that takes colors of what hid it
_SEEN_NEARBY = 0.12  # of the figure's height: how far the trunk's seen outline tells of its hidden one
_SMOOTH = 0.006  # of the figure's height: smoothness of borders within the person
_SOFT_CUT = 0.7  # pixels: softness of cuts between layers
_OVERLAP = 0.015  # of the figure's height: how far layers share pixels where they move alike, at the shoulders
_ALIKE = 0.35  # largest difference of skinning weights that moves alike
_RIM = 0.012  # of the figure's height: this near the body's outline depth is smooth, as the surface turns away
_LOOSE = 0.02  # of the figure's height: distance over which weights beside the body become smooth


@dataclass(frozen=True)
class Layer:
    """A textured mesh that moves with the body."""

    weights_VJ: np.ndarray
    """[V, J] float32 skinning weights."""
    rest_V3: np.ndarray
    """[V, 3] float32 positions in the rest pose, meters."""
    at_V2: np.ndarray
    """[V, 2] float32 x, y in pixels of the texture."""
    triangles_T3: np.ndarray
    texture_HWC: np.ndarray
    """[H, W, 5] uint8: color, alpha, kind."""
    arm: bool


@dataclass(frozen=True)
class BodySurface:
    """The body under the layers."""

    weights_VJ: np.ndarray
    rest_V3: np.ndarray
    triangles_T3: np.ndarray
    color_V3: np.ndarray
    """[V, 3] float32, 0..255."""
    arm_V: np.ndarray
    """[V] bool."""
    shown_V: np.ndarray
    """[V] float32, 0: the picture shows that the person has nothing there."""


def layer_of_vertices() -> np.ndarray:
    """TRUNK, LEFT_ARM or RIGHT_ARM of each vertex of the body. [V] uint8."""
    region = rig().region_weights.argmax(1)
    arms = {
        side: [i for i, name in enumerate(REGIONS) if "arm" in name or "hand" in name if name.endswith(side)]
        for side in "LR"
    }
    return np.where(
        np.isin(region, arms["L"]), LEFT_ARM, np.where(np.isin(region, arms["R"]), RIGHT_ARM, TRUNK)
    ).astype(np.uint8)


def _fine_labels(label_V: np.ndarray) -> np.ndarray:
    """Return the same with hands, forearms and face apart. [V] uint8."""
    region = rig().region_weights.argmax(1)
    fine_V = label_V.copy()
    apart = {"hand.L": LEFT_HAND, "hand.R": RIGHT_HAND, "lower_arm.L": LEFT_FOREARM, "lower_arm.R": RIGHT_FOREARM}
    for name, label in apart.items():
        fine_V[region == REGIONS.index(name)] = label
    fine_V[face_vertices()] = FACE
    return fine_V


@dataclass(frozen=True)
class LayeredPerson:
    """A person ready to be drawn in other poses."""

    body: BodyMotion
    """Body of one frame, as it was fitted to the picture."""
    matte: Matte
    labels_HW: np.ndarray
    layers: list[Layer]
    surface: BodySurface
    origin: tuple[int, int] = (0, 0)
    """Row and column of the picture's first pixel in the layers' textures."""


@dataclass(frozen=True)
class _Posed:
    """The person and the fitted body as the picture shows them."""

    body: BodyMotion
    matte: Matte
    labels_HW: np.ndarray
    transforms_J34: np.ndarray
    screen_V3: np.ndarray
    label_T: np.ndarray
    """[T] layer of each triangle of the body."""
    height: float
    """Height of the figure in pixels."""

    def see(self, chosen_T: np.ndarray) -> Raster:
        """Draw what the picture shows of some triangles [T] bool, as if there were no others."""
        return rasterize(self.screen_V3, triangles()[chosen_T], self.labels_HW.shape)


def build_layers(picture_HWC: np.ndarray, matte: Matte, body: BodyMotion) -> LayeredPerson:
    """Cut the person of a picture into layers.

    Args:
        picture_HWC: uint8.
        matte: of the same size.
        body: the fitted body, one frame, of the same size.
    """
    whole = continue_person(picture_HWC, matte, body)
    labels_HW, layers, surface = _build(whole.picture_HWC, whole.matte, whole.body)
    rows, columns = whole.frame
    return LayeredPerson(body, matte, labels_HW[whole.frame], layers, surface, (rows.start, columns.start))


def _build(picture_HWC: np.ndarray, matte: Matte, body: BodyMotion) -> tuple[np.ndarray, list[Layer], BodySurface]:
    """Labels [H, W], layers, and the body under them."""
    size = picture_HWC.shape[:2]
    weights_VJ, rest_V3, all_T3 = skin_weights(), body.shape.rest.vertices, triangles()
    transforms_J34 = body.transforms()[0]
    screen_V3 = to_screen(skin(weights_VJ, transforms_J34, rest_V3), body.focal, size)
    label_V = layer_of_vertices()
    label_T = np.where((label_V[all_T3] == TRUNK).sum(1) >= 2, TRUNK, label_V[all_T3].max(1))
    whole = rasterize(screen_V3, all_T3, size)
    fine_V = _fine_labels(label_V)
    drawn_HW = np.where(whole.on_HW, _majority(fine_V[whole.corners_HW3]), NOBODY).astype(np.uint8)
    height = max(float(np.ptp(screen_V3[:, 1])), 16.0)
    labels_HW = assign_layers(picture_HWC, matte.alpha_HW, drawn_HW, height)
    posed = _Posed(body, matte, labels_HW, transforms_J34, screen_V3, label_T, height)
    layers = []
    for label in (TRUNK, LEFT_ARM, RIGHT_ARM):
        if (labels_HW == label).sum() < _ARM_PIXELS:
            continue
        own = posed.see(label_T == label)
        if own.on_HW.any():
            layers.append(_mesh(label, _texture(label, own, posed), own, posed))
    color_V3, shrunk_V3, shown_V = color_body(matte, labels_HW, screen_V3, whole.depth_HW, rest_V3, body)
    surface = BodySurface(weights_VJ, shrunk_V3, all_T3, color_V3, label_V != TRUNK, shown_V)
    return labels_HW, [layer for layer in layers if len(layer.triangles_T3)], surface


def _majority(label_HW3: np.ndarray) -> np.ndarray:
    """Return the label that two of three corners have."""
    first, second, third = (label_HW3[..., k] for k in range(3))
    return np.where(first == second, first, np.where(second == third, second, np.maximum(first, third)))


def _shared(label: int, own: Raster, posed: _Posed) -> np.ndarray:
    """Return pixels [H, W] bool of other layers, close to this one, that would move as this one does."""
    labels_HW = posed.labels_HW
    near_HW = (labels_HW != label) & (labels_HW != NOBODY)
    near_HW &= ndimage.distance_transform_edt(labels_HW != label) < _OVERLAP * posed.height
    shared_HW = np.zeros_like(near_HW)
    if not near_HW.any():
        return shared_HW
    other = posed.see(posed.label_T != label)
    if not other.on_HW.any():
        return shared_HW
    rows, columns = np.nonzero(near_HW)
    moves = []
    for surface in (own, other):
        nearest = ndimage.distance_transform_edt(~surface.on_HW, return_distances=False, return_indices=True)
        moves.append(surface.sample(skin_weights(), nearest[0][rows, columns], nearest[1][rows, columns]))
    shared_HW[rows, columns] = np.abs(moves[0] - moves[1]).sum(1) / 2 < _ALIKE
    return shared_HW


def _texture(label: int, own: Raster, posed: _Posed) -> np.ndarray:
    """Color, alpha and kind of a layer. [H, W, 5] uint8."""
    matte, labels_HW = posed.matte, posed.labels_HW
    mine_HW = (labels_HW == label) | _shared(label, own, posed)
    others_HW = ~mine_HW & (labels_HW != NOBODY)
    hidden_HW = others_HW & _covered(own, posed) if label == TRUNK else np.zeros_like(mine_HW)
    shape_HW = _smooth_cut(mine_HW | hidden_HW, labels_HW == label, labels_HW != NOBODY, posed.height)
    completed_HW = shape_HW & ~mine_HW
    color = matte.foreground_HWC
    if completed_HW.any():
        seam = max(1, round(_SEAM * posed.height))
        rim_HW = ndimage.binary_dilation(others_HW, iterations=seam) & (mine_HW | others_HW)
        usable_HW = mine_HW & ~rim_HW & (matte.alpha_HW > 240)
        color = complete_texture(matte.foreground_HWC, (completed_HW | rim_HW) & (own.on_HW | mine_HW), usable_HW)
    cut_HW = np.clip(ndimage.gaussian_filter(shape_HW.astype(np.float32), _SOFT_CUT) * 2 - 0.5, 0, 1)
    near_others_HW = ndimage.binary_dilation(others_HW, iterations=3)
    share_HW = np.where(near_others_HW, cut_HW, shape_HW | (labels_HW == NOBODY))
    alpha_HW = np.where(completed_HW, 255, matte.alpha_HW) * share_HW
    kind_HW = np.where(mine_HW, KNOWN, COMPLETED)
    return np.dstack([color, np.rint(alpha_HW).astype(np.uint8), kind_HW.astype(np.uint8)])


def _covered(own: Raster, posed: _Posed) -> np.ndarray:
    """Find pixels [H, W] bool that the trunk's body covers, but those farther out than the trunk is seen nearby."""
    labels_HW = posed.labels_HW
    depth_HW = ndimage.distance_transform_edt(own.on_HW)
    border_HW = (labels_HW == TRUNK) & ndimage.binary_dilation(labels_HW == NOBODY) & own.on_HW
    if not border_HW.any():
        return own.on_HW
    away_HW, seen_HW = nearest_known(depth_HW, border_HW)
    thinner_HW = seen_HW * np.clip(1 - away_HW / (_SEEN_NEARBY * posed.height), 0, 1)
    return own.on_HW & (depth_HW >= thinner_HW)


def _smooth_cut(shape_HW: np.ndarray, own_HW: np.ndarray, person_HW: np.ndarray, height: float) -> np.ndarray:
    """Return a layer's shape with smooth borders where it ends inside the person; never without its own pixels."""
    sigma = _SMOOTH * height
    share_HW = ndimage.gaussian_filter(shape_HW.astype(np.float32), sigma)
    whole_HW = ndimage.gaussian_filter(person_HW.astype(np.float32), sigma)  # the person's outline is no border
    return own_HW | (person_HW & (share_HW > 0.5 * whole_HW))


def _mesh(label: int, texture_HWC: np.ndarray, own: Raster, posed: _Posed) -> Layer:
    """Build the mesh of a layer over a grid of pixels."""
    size, body = posed.labels_HW.shape, posed.body
    weights_VJ, loose_pixels = skin_weights(), _LOOSE * posed.height
    rows, columns = np.mgrid[0 : size[0] : _CELL, 0 : size[1] : _CELL]
    grid = rows.shape
    outside_HW, nearest = ndimage.distance_transform_edt(~own.on_HW, return_indices=True)
    on_row, on_column = (index[rows, columns].ravel() for index in nearest)
    keep_G = ndimage.binary_dilation(texture_HWC[..., 3] > 2, iterations=_CELL + 1)[rows, columns].ravel()
    weights = np.zeros((rows.size, weights_VJ.shape[1]), np.float32)
    weights[keep_G] = own.sample(weights_VJ, on_row[keep_G], on_column[keep_G])
    rest = np.zeros((rows.size, 3), np.float32)
    rest[keep_G] = own.sample(body.shape.rest.vertices, on_row[keep_G], on_column[keep_G])
    depth = own.depth_HW[on_row, on_column]
    loose = np.clip(outside_HW[rows, columns] / loose_pixels, 0, 1)
    inside_HW = ndimage.distance_transform_edt(own.on_HW)
    turning = np.clip((outside_HW + 1 - inside_HW / (_RIM * posed.height))[rows, columns], 0, 1)
    weights = _smoothed(weights.reshape(*grid, -1), keep_G.reshape(grid), loose, loose_pixels / _CELL)
    depth = _smoothed(depth.reshape(*grid, 1), keep_G.reshape(grid), turning, loose_pixels / _CELL)[..., 0]
    if label == TRUNK:
        weights, rest = join_skirt(weights, rest.reshape(*grid, 3), own.on_HW, posed.matte, body, _CELL, posed.height)
        rest = rest.reshape(-1, 3)
    weights, depth = weights.reshape(rows.size, -1), depth.ravel()
    x, y = columns.ravel() + 0.5, rows.ravel() + 0.5
    points = np.stack([(x - size[1] / 2) * depth / body.focal, depth, (size[0] / 2 - y) * depth / body.focal], 1)
    unposed = np.zeros_like(points, np.float32)
    matrices = blend(weights[keep_G], posed.transforms_J34)
    unposed[keep_G] = np.linalg.solve(matrices[:, :, :3], (points[keep_G] - matrices[:, :, 3])[..., None])[..., 0]
    triangles_T3 = _grid_triangles(grid)
    triangles_T3 = triangles_T3[keep_G[triangles_T3].all(1)]
    triangles_T3 = triangles_T3[~_torn(triangles_T3, rest, weights, own.on_HW[rows, columns].ravel())]
    used = np.unique(triangles_T3)
    renumbered = np.full(rows.size, -1, np.int32)
    renumbered[used] = np.arange(len(used))
    at_V2 = np.stack([x, y], 1)[used].astype(np.float32)
    return Layer(
        weights[used], unposed[used].astype(np.float32), at_V2, renumbered[triangles_T3], texture_HWC, label != TRUNK
    )


def _torn(triangles_T3: np.ndarray, rest_G3: np.ndarray, weights_GJ: np.ndarray, on_G: np.ndarray) -> np.ndarray:
    """Return triangles [T] bool that join places far apart on the body, or one leg with the other."""
    legs = [[JOINT_INDEX[f"{name}.{side}"] for name in ("thigh", "shin", "foot")] for side in "LR"]
    leg_G = weights_GJ[:, legs[0]].sum(1) - weights_GJ[:, legs[1]].sum(1)
    torn_T = np.zeros(len(triangles_T3), bool)
    for i in range(3):
        a, b = triangles_T3[:, i], triangles_T3[:, (i + 1) % 3]
        far = np.linalg.norm(rest_G3[a] - rest_G3[b], axis=1) > _LONGEST_EDGE
        torn_T |= (far & on_G[a] & on_G[b]) | (np.abs(leg_G[a] - leg_G[b]) > 1)
    return torn_T


def _smoothed(values: np.ndarray, keep: np.ndarray, loose: np.ndarray, sigma: float) -> np.ndarray:
    """Return values [h, w, C] of a grid, blurred beside the body as far as they are `loose` (0..1)."""
    weight = keep.astype(np.float32)
    share = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-4)[..., None]
    blurred = ndimage.gaussian_filter(values * weight[..., None], (sigma, sigma, 0)) / share
    return (values + loose[..., None] * (blurred - values)).astype(np.float32)


def _grid_triangles(grid: tuple[int, int]) -> np.ndarray:
    """Return [T, 3] int32."""
    index = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
