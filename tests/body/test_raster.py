"""The rasterizer on triangles whose pixels are known, and its pictures of a body against OpenGL's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import magicanimate
from magicanimate.body.bones import Proportions
from magicanimate.body.draw import BodyDrawer, draw_motion
from magicanimate.body.kinematics import POSE_NUMBERS, TURN, limits
from magicanimate.body.motion import BodyMotion
from magicanimate.body.raster import rasterize

SIZE = (256, 192)


def walking(yaw: float, swing: float) -> BodyMotion:
    """One frame of a body, turned about the vertical axis and with some angles set."""
    pose = np.zeros((1, POSE_NUMBERS), np.float32)
    pose[0, :6] = (np.cos(yaw), np.sin(yaw), 0, -np.sin(yaw), np.cos(yaw), 0)
    pose[:, TURN:] = limits()["usual"]
    pose[:, TURN:] += swing * np.sin(np.arange(POSE_NUMBERS - TURN))
    position = np.array([[0.1, 3.0, 0.05]], np.float32)
    return BodyMotion(Proportions.usual(), pose, position, 380.0, SIZE, 25.0, np.ones(1, bool))


def test_a_triangle_covers_the_pixels_whose_middles_it_holds():
    screen = np.array([[1, 1, 2], [5, 1, 2], [1, 5, 2], [0, 0, 3], [8, 0, 3], [0, 8, 3]], float)
    near = rasterize(screen, np.array([[0, 1, 2]]), (6, 7))
    rows, columns = np.mgrid[0:6, 0:7] + 0.5
    assert np.array_equal(near.triangle_HW >= 0, (rows >= 1) & (columns >= 1) & (rows + columns <= 6))
    assert np.isinf(near.depth_HW[0, 0])
    both = rasterize(screen, np.array([[3, 4, 5], [2, 1, 0]]), (6, 7))
    assert (both.triangle_HW[near.triangle_HW >= 0] == 1).all(), "the nearer one wins, seen from either side"
    assert np.allclose(both.depth_HW[both.triangle_HW == 0], 3)
    assert rasterize(screen, np.array([[0, 1, 2]]), (6, 7), reach=(2.5, 9.0)).triangle_HW.max() == -1


def test_values_are_interpolated_in_space_and_not_on_the_screen():
    """A plane that runs away from the camera: x in meters is x on the screen times depth."""
    corners = np.array([[-1, 1.0, 0.0], [1, 4.0, 0.0], [-1, 1.0, 2.0]])  # x, depth, z
    on_screen = 50 + 40 * corners[:, [0, 2]] / corners[:, 1:2]
    screen = np.concatenate([on_screen, corners[:, 1:2]], 1)
    raster = rasterize(screen, np.array([[0, 1, 2]]), (120, 100))
    found = raster.picture(raster.interpolate(corners))
    inside = raster.triangle_HW >= 0
    columns = np.broadcast_to(np.arange(100) + 0.5, inside.shape)
    assert inside.sum() > 200
    assert np.allclose(found[inside, 1], raster.depth_HW[inside], atol=1e-5)
    assert np.allclose(found[inside, 0], (columns[inside] - 50) / 40 * raster.depth_HW[inside], atol=1e-4)
    straight = np.full_like(raster.barycentric_HW3, 1 / 3)
    wrong = replace(raster, barycentric_HW3=straight).interpolate(corners)
    assert not np.allclose(wrong[:, 0], found[inside, 0], atol=1e-2)


def test_what_is_behind_the_camera_or_no_number_is_left_out():
    screen = np.array([[1, 1, -1], [5, 1, 2], [1, 5, 2], [np.nan, 1, 2], [3, 1, np.inf]], float)
    raster = rasterize(screen, np.array([[0, 1, 2], [3, 1, 2], [1, 1, 1], [1, 2, 4]]), (6, 6))
    assert set(np.unique(raster.triangle_HW)) <= {-1, 3}


@pytest.mark.egl
@pytest.mark.parametrize(("yaw", "swing"), [(0.0, 0.0), (0.9, 0.25), (3.0, -0.3)])
def test_the_same_maps_as_opengls_but_for_edges(opengl, yaw, swing):
    from magicanimate.synth.graphics import BodyMesh, PartDrawer, Viewpoint, shared_context

    motion = walking(yaw, swing)
    span = (1.0, 4.0)
    transforms = motion.transforms()[0]
    height, width = SIZE
    theirs = PartDrawer(shared_context(), SIZE)
    mesh = BodyMesh(theirs, motion.shape.rest)
    theirs.draw([(mesh, transforms)], Viewpoint(0, 0, 0, (2 * motion.focal / width, 2 * motion.focal / height), span))
    ours = BodyDrawer(motion.shape.rest, SIZE, span)
    ours.draw(transforms, (motion.focal, motion.focal))
    body = (theirs.parts() > 0) & (ours.parts() > 0)
    assert body.mean() > 0.05
    assert ((theirs.parts() > 0) != (ours.parts() > 0)).sum() <= 5
    assert (theirs.parts() != ours.parts()).sum() <= 10
    assert (np.abs(theirs.distance() - ours.distance())[body] > 1e-3).sum() <= 5
    assert (np.abs(theirs.normals().astype(int) - ours.normals()).max(-1)[body] > 2).sum() <= 10
    other = next(draw_motion(walking(yaw + 0.05, swing)))["parts"]
    assert (theirs.parts() != other).sum() > 100, "a body that is turned by three degrees is seen to differ"


def test_it_also_runs_where_nothing_can_be_kept(tmp_path):
    """A package and a home that cannot be written, as in a container: compiled again for each process."""
    package = Path(magicanimate.__file__).parent
    copy = tmp_path / "magicanimate"
    (copy / "body").mkdir(parents=True)
    for name in ("__init__.py", "compiled.py", "body/__init__.py", "body/raster.py"):
        shutil.copy(package / name, copy / name)
    blocked = tmp_path / "file"
    blocked.write_text("")
    (copy / "__pycache__").write_text("")  # a file where folders would be made
    (copy / "body" / "__pycache__").write_text("")
    code = (
        "import numpy as np\nfrom magicanimate.body.raster import rasterize\n"
        "print(rasterize(np.array([[0,0,1],[9,0,1],[0,9,1.]]), np.array([[0,1,2]]), (4, 4)).triangle_HW.max())"
    )
    home = {"HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False, env=os.environ | home
    )
    assert ended.stdout.strip() == "0", ended.stderr
