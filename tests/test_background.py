"""Another background: what is seen before it is what was seen before the picture's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from magicanimate.animation.background import open_backdrop
from magicanimate.animation.job import prepare_job
from magicanimate.animation.settings import make_settings
from magicanimate.body.kinematics import TURN, angles
from magicanimate.body.motion import BodyMotion
from magicanimate.check.sheet import draw_sheet
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media import open_clip, side_by_side
from magicanimate.media.video import save_frames
from magicanimate.models.config import ModelConfig
from magicanimate.person.light import light_near, match_light, mean_light
from magicanimate.person.scene import Backdrop, Scene
from magicanimate.provenance import labeled
from magicanimate.serve.page.examples import SHELF

FRAMES = 3
PICTURE = SHELF["studio"].picture
GREEN = (0, 255, 0)


@pytest.fixture(scope="module")
def moving(person) -> BodyMotion:
    """The person's elbows bend."""
    pose = person.body.pose_FP.repeat(FRAMES, 0)
    for index, angle in enumerate(angles()):
        if angle.name.startswith("elbow"):
            pose[:, TURN + index] += np.linspace(0, 1, FRAMES)
    return replace(
        person.body, pose_FP=pose.astype(np.float32), position_F3=person.body.position_F3.repeat(FRAMES, 0),
        present_F=np.ones(FRAMES, bool),
    )  # fmt: skip


@pytest.fixture(scope="module")
def motion_file(moving, tmp_path_factory) -> Path:
    return moving.save(tmp_path_factory.mktemp("moving") / "bend.npz")


def over(cutout_HW4: np.ndarray, background: np.ndarray) -> np.ndarray:
    """A frame with straight alpha over a background, as any program composes it."""
    alpha = cutout_HW4[..., 3:] / 255
    return cutout_HW4[..., :3] * alpha + background * (1 - alpha)


def plain(size: tuple[int, int], color: tuple[int, int, int]) -> np.ndarray:
    return np.full((*size, 3), color, np.uint8)


def test_the_cutout_over_any_background_is_the_opaque_run(picture, person, moving):
    scene = Scene(picture, [person], [moving])
    for behind_HWC in (plain(scene.size, GREEN), scene.plate_HWC):
        opaque = Scene(picture, [person], [moving], Backdrop(lambda index, behind=behind_HWC: behind))
        for index in range(FRAMES):
            cutout_HW4 = scene.cutout(index)
            away = np.abs(over(cutout_HW4, behind_HWC) - opaque(index).frame_HWC)
            edge = (cutout_HW4[..., 3] > 0) & (cutout_HW4[..., 3] < 255)
            assert away[~edge].max() < 1
            assert away.max() < 2.5  # by rounding only
            wrong = np.abs(over(cutout_HW4, 255.0 - behind_HWC) - opaque(index).frame_HWC)
            assert wrong[~edge].max() > 50


def test_before_its_own_plate_the_cutout_is_the_usual_video(picture, person, moving):
    scene = Scene(picture, [person], [moving])
    drawn, cutout_HW4 = scene(1), scene.cutout(1)
    away = np.abs(over(cutout_HW4, scene.plate_HWC) - drawn.frame_HWC).max(-1)
    shadow = (cutout_HW4[..., 3] > 0) & (drawn.alpha_HW == 0)
    shadow = ndimage.binary_dilation(shadow, iterations=25)
    assert away[~shadow & ((drawn.alpha_HW == 0) | (drawn.alpha_HW == 255))].max() < 1
    assert drawn.alpha_HW.mean() > 5


def test_edges_are_soft_and_show_no_old_background(picture, person, moving):
    cutout_HW4 = Scene(picture, [person], [moving]).cutout(1)
    alpha = cutout_HW4[..., 3]
    assert ((alpha > 10) & (alpha < 245)).sum() > 300
    unseen = (alpha == 0) & (ndimage.distance_transform_edt(alpha == 0) < 4)
    assert (cutout_HW4[unseen][:, :3].max(1) > 10).mean() > 0.9, "black is not mixed into edges"


def test_light_comes_nearer_to_the_new_background(picture, person, moving):
    scene = Scene(picture, [person], [moving])
    dark_HWC = (picture * np.array([0.25, 0.3, 0.5])).astype(np.uint8)
    inside = scene(0).alpha_HW == 255
    usual = mean_light(scene(0).frame_HWC, inside)
    matched = mean_light(
        Scene(picture, [person], [moving], Backdrop(lambda index: dark_HWC, mean_light(dark_HWC)))(0).frame_HWC, inside
    )
    kept = mean_light(Scene(picture, [person], [moving], Backdrop(lambda index: dark_HWC))(0).frame_HWC, inside)
    assert usual is not None
    assert matched is not None
    assert kept is not None
    assert 0.5 * usual.mean() < matched.mean() < 0.9 * usual.mean()
    assert matched[2] / matched.mean() > 1.05 * usual[2] / usual.mean()
    assert kept == pytest.approx(usual, rel=0.01)


def test_the_same_light_changes_nothing(picture, person):
    hole = person.matte.alpha_HW > 0
    own = light_near(picture, hole)
    assert own is not None
    assert match_light(own, own) == pytest.approx(1)
    assert np.abs(np.log(match_light(own, 100 * own))).max() < 0.42
    assert light_near(picture, np.zeros_like(hole)) is None


def test_a_shorter_video_begins_again_and_a_picture_stays(tmp_path):
    levels = (20, 120, 220)
    path = save_frames((plain((32, 48), (x, x, x)) for x in levels), tmp_path / "b.mp4", 25, {})
    notes: list[str] = []
    backdrop = open_backdrop(str(path), (32, 48), "cover", 25, 7, notes)
    assert backdrop is not None
    assert [round(float(backdrop.frame(i).mean()) / 100) for i in (0, 1, 2, 3, 4, 0, 5)] == [0, 1, 2, 0, 1, 0, 2]
    assert "3 frames" in notes[0]
    assert "begins again" in notes[0]
    still, notes = open_backdrop(str(PICTURE), (32, 48), "cover", 25, 7, notes := []), notes
    assert still is not None
    assert (still.frame(0) == still.frame(6)).all()
    assert still.frame(0).shape == (32, 48, 3)
    assert notes == []


@pytest.mark.parametrize(
    ("given", "parsed"),
    [("#0F0", "#00ff00"), (" Transparent ", "transparent"), ("#a1B2c3", "#a1b2c3"), ("Sea.PNG", "Sea.PNG")],
)
def test_backgrounds_as_people_write_them(given, parsed):
    assert make_settings(background=given).background == parsed


@pytest.mark.parametrize(("given", "said"), [("#12", "not a color"), ("#gggggg", "not a color"), (" ", "empty")])
def test_backgrounds_that_are_none(given, said):
    with pytest.raises(InputError, match=said):
        make_settings(background=given)


def animate(*options: object):
    return CliRunner().invoke(app, ["animate", *map(str, options)])


def test_a_transparent_video_from_the_command_line(motion_file, tmp_path):
    for name in ("a.mov", "a.webm"):
        result = animate(
            PICTURE, motion_file, "-o", tmp_path / name, "--background", "transparent", "--size", "128x128"
        )
        assert result.exit_code == 0, result.stderr
    with av.open(str(tmp_path / "a.mov")) as container:
        assert container.streams.video[0].pix_fmt.startswith("yuva444")
    with av.open(str(tmp_path / "a.webm")) as container:
        assert container.streams.video[0].metadata["ALPHA_MODE"] == "1"
    assert len(list(open_clip(tmp_path / "a.webm"))) == FRAMES


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.mp4", "--background", "transparent"], ".webm, .mov, .webp, .apng"),
        (["-o", "a.mp4", "--background", "transparant"], "did you mean transparent?"),
        (["-o", "a.mp4", "--background", "missing.png"], "The background missing.png does not exist"),
        (["-o", "a.mp4", "--background", "#00ff00", "--no-detail"], "--preset preview"),
    ],
)
def test_one_sentence_for_what_cannot_be(motion_file, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    result = animate(PICTURE, motion_file, *options)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_the_person_takes_the_place_of_the_one_in_the_video(picture, person, tmp_path):
    """The picture's own person moves in the video, in gray clothes and elsewhere in a larger frame."""
    wall = np.kron(np.random.default_rng(1).integers(60, 190, (20, 30, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    body = replace(person.body, focal=0.6 * person.body.focal, size=(400, 600))
    count = 5
    position = body.position_F3.repeat(count, 0) + np.linspace([-0.6, 0, 0.1], [0.6, 0, 0.1], count, dtype=np.float32)
    motion = replace(
        body, pose_FP=body.pose_FP.repeat(count, 0), position_F3=position, present_F=np.ones(count, bool)
    )  # fmt: skip
    driver = Scene(picture, [person], [motion], Backdrop(lambda index: wall))
    path = save_frames((driver(index).frame_HWC for index in range(count)), tmp_path / "driver.mp4", 25, {})
    result = animate(PICTURE, path, "-o", tmp_path / "out", "--background", "driver", "--size", "600x400")
    assert result.exit_code == 0, result.stderr
    assert "was taken out" in result.stderr.replace("\n", " ")
    frames = list(open_clip(tmp_path / "out"))
    assert len(frames) == count
    for index, frame in enumerate(frames):
        drawn = driver(index)
        assert frame.shape == (400, 600, 3)
        free = ndimage.distance_transform_edt(drawn.alpha_HW == 0) > 25
        assert np.abs(frame.astype(int) - wall)[free].mean() < 8, "the wall is what is seen around"
        inside = drawn.alpha_HW == 255
        assert np.abs(frame.astype(int) - drawn.frame_HWC)[inside].mean() < 40
        assert np.abs(frame.astype(int) - wall)[inside].mean() > 45, "somebody stands where the person was"
    settings = make_settings(background="driver", preset="preview")
    job = prepare_job(ModelConfig(name="m", resolution=(128, 128)), 8, PICTURE, path, settings)
    assert job.scene is not None
    assert draw_sheet(job).shape[2] == 3
    assert side_by_side(job.picture_HWC, job.scene(0).frame_HWC).shape[0] == job.size[0]


def test_a_motion_without_a_video_has_no_place_to_take(motion_file, tmp_path):
    result = animate(PICTURE, motion_file, "-o", tmp_path / "a.mp4", "--background", "driver")
    assert result.exit_code == 2
    assert "driver needs a video in which one person is seen" in result.stderr.replace("\n", " ")


def test_without_a_person_there_is_nobody_to_put_before_it(motion_file, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    result = animate(tmp_path / "noise.png", motion_file, "-o", tmp_path / "a.webm", "--background", "#ffffff")
    assert result.exit_code == 2
    assert "No person was recognized in the picture" in result.stderr.replace("\n", " ")


def test_the_label_stays_visible_where_nothing_else_is():
    empty = np.zeros((64, 128, 4), np.uint8)
    corner = labeled(empty)[-8:, -40:]
    assert (corner[..., 3] > 100).all()
    opaque = labeled(np.dstack([plain((64, 128), GREEN), np.full((64, 128), 255, np.uint8)]))
    assert (opaque[..., 3] == 255).all()
    assert np.array_equal(opaque[..., :3], labeled(plain((64, 128), GREEN)))
