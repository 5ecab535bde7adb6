"""Layers of a generated person: drawn in their own pose they are the picture; in another, they move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from magicanimate.body.motion import BodyMotion
from magicanimate.person.raster import FragmentBuffer
from magicanimate.person.scene import BACKGROUND, FILLED, KNOWN, Scene
from magicanimate.person.texture import complete_texture, smooth_fill


def bent(body: BodyMotion) -> BodyMotion:
    """The same body with its elbows bent."""
    from magicanimate.body.kinematics import TURN, angles

    pose = body.pose_FP.copy()
    for index, angle in enumerate(angles()):
        if angle.name.startswith("elbow"):
            pose[:, TURN + index] += 1.0
    return replace(body, pose_FP=pose)


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, ((a.astype(float) - b)[where] ** 2).mean())))


def test_the_own_pose_gives_the_picture_back(picture, person):
    drawn = Scene(picture, [person], [person.body])(0)
    inside, outside = person.matte.alpha_HW > 250, drawn.kind_HW == BACKGROUND
    assert psnr(drawn.frame_HWC, picture, inside) > 45
    assert psnr(drawn.frame_HWC, picture, outside) > 45
    assert (drawn.kind_HW[inside] == KNOWN).mean() > 0.9


def test_near_the_own_pose_the_drawing_sets_in_gradually(picture, person):
    frames = []
    for pixels in (0.5, 1.0, 3.0):
        scene = Scene(picture, [person], [person.body.moved(shift=(pixels, 0.0))])
        frames.append(scene(0).frame_HWC.astype(int))
    away = [np.abs(frame - picture).mean() for frame in frames]
    assert 0 < away[0] < away[1] < away[2]
    inside = np.roll(person.matte.alpha_HW > 250, 3, 1)
    assert psnr(frames[2], np.roll(picture, 3, 1), inside) > 24


def test_another_pose_moves_the_arms_and_leaves_the_background(picture, person):
    scene = Scene(picture, [person], [bent(person.body)])
    drawn = scene(0)
    assert psnr(drawn.frame_HWC, picture, person.matte.alpha_HW > 250) < 28
    assert psnr(drawn.frame_HWC, picture, drawn.kind_HW == BACKGROUND) > 45
    assert (drawn.kind_HW == FILLED).any()
    again = scene(0)
    assert (again.frame_HWC == drawn.frame_HWC).all()


def test_who_is_absent_leaves_the_plate(picture, person):
    absent = replace(person.body, present_F=np.zeros(1, bool))
    drawn = Scene(picture, [person], [absent])(0)
    assert not drawn.alpha_HW.any()
    assert set(np.unique(drawn.kind_HW)) == {BACKGROUND, FILLED}


def grid(size: int, step: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of squares over a picture, and their triangles."""
    y, x = np.mgrid[0 : size + 1 : step, 0 : size + 1 : step].astype(np.float32)
    index = np.arange(y.size).reshape(y.shape)
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
    return np.stack([x.ravel() + shift, y.ravel() + shift, np.full(x.size, 2)], 1).astype(np.float32), triangles


def test_neighboring_triangles_cover_each_pixel_once():
    screen, triangles = grid(32, 4, 0.25)
    texture = np.full((32, 32, 5), 128, np.uint8)
    at = np.concatenate([screen[:, :2], np.ones((len(screen), 1))], 1).astype(np.float32)
    buffer = FragmentBuffer((32, 32))
    buffer.draw_textured(screen, at, triangles, texture)
    color, _ = buffer.resolve()
    assert (color[1:, 1:, 3] == 128).all(), "half transparent once, not twice"
    buffer.draw_textured(screen + np.array([0, 0, 1], np.float32), at, triangles, texture)
    assert (buffer.resolve()[0][1:, 1:, 3] > 180).all(), "the second layer shines through the first"


def test_nearer_fragments_cover_others():
    screen, triangles = grid(16, 4, 0.0)
    buffer = FragmentBuffer((16, 16))
    for depth, level in ((3.0, 50.0), (1.0, 200.0), (2.0, 100.0)):
        moved = screen.copy()
        moved[:, 2] = depth
        color = np.concatenate([np.full((len(screen), 3), level), np.full((len(screen), 1), 255)], 1)
        buffer.draw_colored(moved, color.astype(np.float32), triangles, kind=int(depth))
    color, kind = buffer.resolve()
    assert (color[..., :3] == 200).all()
    assert (kind == 1).all()


def test_texture_goes_on_where_a_mean_would_blur():
    y, x = np.mgrid[0:96, 0:96]
    stripes = np.where((x // 6 + y * 0) % 2 == 0, 220, 30).astype(np.uint8)[..., None].repeat(3, 2)
    hole = np.zeros((96, 96), bool)
    hole[36:60, 36:60] = True
    filled = complete_texture(np.where(hole[..., None], 0, stripes).astype(np.uint8), hole)
    assert (filled[~hole] == stripes[~hole]).all()
    error = np.abs(filled.astype(int) - stripes)[hole].mean()
    blurred = np.abs(smooth_fill(stripes.astype(np.float32), ~hole) - stripes)[hole].mean()
    assert error < 0.3 * blurred
    assert (complete_texture(stripes, hole & False) == stripes).all()
