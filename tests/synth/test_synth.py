"""The generator: deterministic, anatomically labeled, written by any number of processes alike."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("moderngl", reason="moderngl is not installed")

from magicanimate.body.rig import JOINT_INDEX, body_shape
from magicanimate.body.template import REGION_PARTS, template
from magicanimate.errors import InputError
from magicanimate.parts.densepose import LOOSE
from magicanimate.synth.clip import render_clip
from magicanimate.synth.dataset import DatasetSettings, clip_times, open_dataset, write_dataset
from magicanimate.synth.graphics import _open_context
from magicanimate.synth.outfit import random_outfit
from magicanimate.synth.pose import joint_transforms, pose_at, random_motion

pytestmark = pytest.mark.usefixtures("opengl")
SIZE = 64


def test_same_seed_same_clip_other_seed_other_clip():
    times = np.array([0.5, 3.0])
    a, b = (render_clip(7, times, SIZE) for _ in range(2))
    assert (a.rgb == b.rgb).all()
    assert (a.parts == b.parts).all()
    assert (render_clip(8, times, SIZE).rgb != a.rgb).any()
    assert (render_clip(7, times, SIZE, split="test").rgb != a.rgb).any()


def test_motion_seed_changes_only_the_motion():
    times = np.array([0.5])
    a, b = render_clip(7, times, SIZE), render_clip(7, times, SIZE, motion_seed=99)
    assert (a.parts != b.parts).any()
    still = (a.parts == 0) & (b.parts == 0)
    # clothes and shadows reach beyond the naked body; far from it the place is the same
    same = (a.rgb == b.rgb).all(-1)[still].mean()
    assert same > 0.6


def test_frame_does_not_depend_on_the_other_frames():
    alone = render_clip(3, np.array([2.0]), SIZE)
    among = render_clip(3, np.array([9.0, 2.0, 4.0]), SIZE)
    assert (alone.rgb[0] == among.rgb[1]).all()


def test_parts_are_where_there_is_a_body():
    clip = render_clip(5, np.arange(4.0), SIZE)
    assert clip.parts.max() <= 24
    assert ((clip.parts > 0) == (clip.distance > 0)).all()
    assert 0.02 < (clip.parts > 0).mean() < 0.9


def test_a_person_is_more_than_the_body():
    clip = render_clip(5, np.array([1.0, 6.0]), 96)
    body = clip.parts > 0
    assert (clip.person & body).sum() > 0.97 * body.sum()
    assert (clip.person & ~body).sum() > 0.03 * body.sum(), "clothes and hair"
    nobody, change = ~clip.person.any(0), np.abs(clip.rgb[1].astype(int) - clip.rgb[0]).mean(-1)
    assert change[nobody].mean() < 3, "only shadows and edges move there"
    assert change[~nobody].mean() > 20


def test_left_and_right_are_the_persons():
    """Hands and feet lie at their own joints, not at those of the other side (fails if the labels are mirrored)."""
    own, other = [], []
    for seed in range(6):
        clip = render_clip(seed, np.arange(3) * 2.0 + 0.3, 128)
        for f in range(3):
            for joint, part in (("hand", {"L": 4, "R": 3}), ("foot", {"L": 5, "R": 6})):
                for side, opposite in ("LR", "RL"):
                    rows, columns = np.nonzero(clip.parts[f] == part[side])
                    if len(rows) > 8:
                        at = np.array([columns.mean(), rows.mean()]) / 128
                        own.append(np.linalg.norm(at - clip.joints[f, JOINT_INDEX[f"{joint}.{side}"]]))
                        other.append(np.linalg.norm(at - clip.joints[f, JOINT_INDEX[f"{joint}.{opposite}"]]))
    assert len(own) > 20
    assert np.median(own) < 0.06 < np.median(other)


def test_front_and_back_of_the_trunk():
    body = template()
    shape = body_shape({})
    torso = body.region_weights.argmax(1) == 0
    assert REGION_PARTS["torso"] == (1, 2)
    front = shape.normals[:, 1] < -0.9
    back = shape.normals[:, 1] > 0.9
    assert (body.split[torso & front, 0] > 0).mean() > 0.95
    assert (body.split[torso & back, 0] < 0).mean() > 0.95


def test_mirror_image_of_the_body_has_mirrored_regions():
    body, shape = template(), body_shape({})
    left = shape.vertices[:, 0] > 0.05
    regions = body.region_weights.argmax(1)
    assert set(regions[left]) & {5, 6, 7, 11, 12, 13} == set()
    assert set(regions[shape.vertices[:, 0] < -0.05]) & {2, 3, 4, 8, 9, 10} == set()


def test_phenotype_changes_the_shape():
    tall, small = body_shape({"height": 0.9}), body_shape({"height": 0.1})
    assert np.ptp(tall.vertices[:, 2]) > np.ptp(small.vertices[:, 2]) + 0.1


def test_motion_is_smooth_and_passes_through_its_keys():
    times, poses = random_motion(np.random.default_rng(0), 5.0)
    assert np.allclose(pose_at(times, poses, times[1:-1]), poses[1:-1])
    fine = pose_at(times, poses, np.arange(0, 5, 0.01))
    assert np.abs(np.diff(fine, axis=0)).max() < 0.25
    assert not np.allclose(fine[0], fine[-1])


@pytest.mark.parametrize("seed", range(4))
def test_joint_transforms_are_rigid_and_stand_on_the_floor(seed):
    rng = np.random.default_rng(seed)
    shape = body_shape(random_outfit(rng).phenotype)
    _, poses = random_motion(rng, 3.0)
    for pose in poses:
        transforms = joint_transforms(pose, shape)
        rotations = transforms[:, :, :3]
        assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-5)
        assert np.allclose(np.linalg.det(rotations), 1, atol=1e-5)
        feet = [transforms[JOINT_INDEX[f"foot.{s}"]] for s in "LR"]
        heights = [
            (t[:, :3] @ shape.joints[JOINT_INDEX[f"foot.{s}"]] + t[:, 3])[2] for t, s in zip(feet, "LR", strict=True)
        ]
        assert 0.02 < min(heights) < 0.15


def test_times_keep_the_reference_away_from_a_run():
    for seed in range(20):
        times = clip_times(seed, 9, 12.5)
        assert np.allclose(np.diff(times[1:]), 0.08)
        assert np.abs(times[1:] - times[0]).min() > 0.9
    with pytest.raises(InputError, match="longer than"):
        clip_times(0, 500, 12.5)


def test_dataset_is_the_same_from_one_process_or_two_and_resumes(tmp_path):
    settings = DatasetSettings(clips=3, frames=2, size=32, clips_per_shard=1)
    write_dataset(tmp_path / "one", settings, workers=1)
    write_dataset(tmp_path / "two", settings, workers=2)
    one, two = open_dataset(tmp_path / "one"), open_dataset(tmp_path / "two")
    assert len(one) == 3
    assert all((one.rgb(i) == two.rgb(i)).all() and (one.parts(i) == two.parts(i)).all() for i in range(3))
    assert (one.rgb(0) != one.rgb(1)).any()
    assert (one.own(0) == two.own(0)).all()
    assert (one.own(0) == LOOSE).any(), "hair and clothes are known"
    (tmp_path / "two" / "00000000.person.npy").unlink()
    assert (open_dataset(tmp_path / "two").own(0) == one.parts(0)).all(), "as in data sets that lack them"
    lost = tmp_path / "two" / "00000001.parts.npy"
    lost.unlink()
    with pytest.raises(InputError, match="incomplete"):
        open_dataset(tmp_path / "two")
    write_dataset(tmp_path / "two", settings, workers=1)
    assert (open_dataset(tmp_path / "two").parts(1) == one.parts(1)).all()
    for clips in (1, 3):  # the shard that was the last one has to grow
        write_dataset(tmp_path / "grown", DatasetSettings(clips=clips, frames=2, size=32, clips_per_shard=2))
    assert (open_dataset(tmp_path / "grown").rgb(1) == one.rgb(1)).all()
    assert len(open_dataset(tmp_path / "grown")) == 3
    with pytest.raises(InputError, match="other settings"):
        write_dataset(tmp_path / "one", DatasetSettings(clips=3, frames=4, size=32, clips_per_shard=1))


def test_depth_and_skeleton_lie_on_everybody(tmp_path):
    """Seed 11 has two people."""
    settings = DatasetSettings(clips=1, frames=2, size=64, first_seed=11, controls=("pose", "depth"))
    write_dataset(tmp_path / "data", settings)
    data = open_dataset(tmp_path / "data")
    parts, depth, pose = data.parts(0), data.control("depth", 0), data.control("pose", 0)
    assert ((depth > 0) == (parts > 0)).all()
    assert depth.max() > depth[depth > 0].min() + 10
    drawn = pose.max(-1) > 0
    halves = [(drawn & (parts > 0))[:, :, side].sum() for side in (slice(32), slice(32, 64))]
    assert min(halves) > 20
    assert (drawn & (parts > 0)).sum() > 0.7 * drawn.sum()
    assert (drawn & (parts > 0)[:, ::-1]).sum() < (drawn & (parts > 0)).sum()
    assert data.control("densepose", 0) is not None
    write_dataset(tmp_path / "plain", DatasetSettings(clips=1, frames=2, size=32))
    with pytest.raises(InputError, match="no depth frames"):
        open_dataset(tmp_path / "plain").control("depth", 0)


def test_bad_settings(tmp_path):
    with pytest.raises(InputError, match="normals"):
        write_dataset(tmp_path / "x", DatasetSettings(clips=1, frames=2, controls=("normals",)))
    with pytest.raises(InputError, match="split"):
        write_dataset(tmp_path / "x", DatasetSettings(clips=1, frames=2, split="valid"))
    with pytest.raises(InputError, match="at least"):
        write_dataset(tmp_path / "x", DatasetSettings(clips=0, frames=2))
    with pytest.raises(InputError, match="no data set"):
        open_dataset(tmp_path / "nothing")


def test_command_line_sheet(tmp_path):
    from typer.testing import CliRunner

    from magicanimate.cli.main import app

    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, ["synth", str(sheet), "--clips", "1", "--frames", "2", "--size", "32", "--sheet"])
    assert result.exit_code == 0, result.output
    assert sheet.stat().st_size > 500
    data = tmp_path / "data"
    arguments = ["synth", str(data), "--clips", "1", "--frames", "2", "--size", "32", "--workers", "1"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert json.loads((data / "index.json").read_text())["settings"]["size"] == 32
    assert CliRunner().invoke(app, [*arguments[:-2], "--split", "nonsense"]).exit_code == 2


def test_without_moderngl_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['moderngl'] = None\n"
        "from magicanimate.cli.main import main\n"
        "sys.argv = 'magicanimate synth sheet.png --sheet --clips 1 --frames 2 --size 32'.split()\n"
        "main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "needs the package moderngl; install it with" in " ".join((ended.stdout + ended.stderr).split())
    assert "Traceback" not in ended.stderr


def test_missing_opengl_is_named_with_its_packages(monkeypatch):
    import moderngl

    def fail(**_: object) -> None:
        raise Exception("libEGL.so not loaded")

    monkeypatch.setattr(moderngl, "create_context", fail)
    with pytest.raises(
        InputError, match=r"needs the system library libEGL\.so\.1; on Debian or Ubuntu: apt-get install libegl1\.$"
    ):
        _open_context()
