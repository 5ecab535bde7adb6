"""Facial expressions: a driver that talks and blinks moves the face of a picture, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from magicanimate.animation.expression import open_face
from magicanimate.animation.settings import make_settings
from magicanimate.body.motion import BodyMotion
from magicanimate.media import clip_of_frames
from magicanimate.motion.clip import MotionClip
from magicanimate.person.expression import LOWER_LIDS, LOWER_LIP, UPPER_LIDS, eye_opening, mouth_opening, move_face
from magicanimate.person.face_warp import FaceWarp
from magicanimate.person.faces import CHIN, TOP, FaceTrack, find_face, height_of, track_face
from magicanimate.person.scene import Scene

FRAMES = 16
TALKS = 0.5 - 0.5 * np.cos(np.arange(FRAMES) * 2 * np.pi / 8)
"""Opening of the driver's mouth, 0..1; it begins closed."""
BLINKS = np.where(np.isin(np.arange(FRAMES), (3, 4, 10, 11, 12)), 1.0, 0.0)


@pytest.fixture(scope="module")
def face(picture, person) -> np.ndarray:
    """Points of the face in the studio's picture, [468, 3]."""
    face_N3 = find_face(picture, person.body)
    assert face_N3 is not None
    return face_N3


@pytest.fixture(scope="module")
def speaking(face) -> np.ndarray:
    """Points [F, 468, 3] of that face, talking and blinking."""
    speaking_FN3 = np.repeat(face[None], FRAMES, 0)
    lower = [*LOWER_LIP, 17, 84, 314, 18, 83, 313, 200, CHIN]
    speaking_FN3[:, lower] += 0.12 * TALKS[:, None, None] * (face[CHIN] - face[TOP])
    for upper, under in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        speaking_FN3[:, upper] += 0.6 * BLINKS[:, None, None] * (face[list(under)] - face[list(upper)])
    return speaking_FN3


@pytest.fixture(scope="module")
def driver(speaking) -> FaceTrack:
    """Return the same face, twice as large, of somebody who sways."""
    sway_F3 = 0.15 * np.sin(np.arange(FRAMES))[:, None] * np.array([0.3, 1, 0.5])
    turned = np.einsum("fij,fnj->fni", Rotation.from_rotvec(sway_F3).as_matrix(), 2 * speaking)
    return FaceTrack((turned + np.array([90, 50, 0])).astype(np.float32), np.ones(FRAMES, bool), 25.0)


@pytest.fixture(scope="module")
def filmed(picture, person, face, speaking) -> tuple[np.ndarray, BodyMotion]:
    """Frames [F, 1024, 1024, 3] that show the same, and the body in them, which is at rest."""
    large_HWC = np.asarray(Image.fromarray(picture).resize((1024, 1024), Image.Resampling.BICUBIC))
    warp = FaceWarp(2 * face[:, :2], 2 * speaking[..., :2])
    frames_FHWC = np.stack([warp(index, large_HWC) for index in range(FRAMES)])
    return frames_FHWC, person.body.resized((1024, 1024)).only(np.zeros(FRAMES, int))


def flat(moved_FN2: np.ndarray) -> np.ndarray:
    """Points [F, 468, 3] without depth."""
    return np.dstack([moved_FN2, np.zeros(moved_FN2.shape[:2])])


def test_mouth_and_eyes_open_with_the_drivers_whose_head_sways(face, driver):
    moved_FN3 = flat(move_face(face, driver, 0.7))
    assert np.corrcoef(mouth_opening(moved_FN3), TALKS)[0, 1] > 0.9
    eyes_F = eye_opening(moved_FN3).mean(1)
    assert np.corrcoef(eyes_F, 1 - BLINKS)[0, 1] > 0.9
    assert eyes_F.min() < 0.1 * eyes_F.max(), "a blink closes the eyes"
    weak, strong = (np.abs(move_face(face, driver, strength) - face[:, :2]).mean() for strength in (0.2, 1.0))
    assert 0 < weak < 0.5 * strong


def test_the_network_reads_the_same_from_pixels(filmed, picture, person, face):
    seen = track_face(*filmed)
    assert seen.seen_F.all()
    assert height_of(seen.points_FN3[0]) == pytest.approx(2 * height_of(face), rel=0.05)
    assert np.corrcoef(mouth_opening(seen.points_FN3), TALKS)[0, 1] > 0.9
    warp = FaceWarp(face[:, :2], move_face(face, seen, 1.0))
    drawn = track_face([warp(index, picture) for index in range(FRAMES)], person.body.only(np.zeros(FRAMES, int)))
    assert np.corrcoef(mouth_opening(drawn.points_FN3), TALKS)[0, 1] > 0.8
    still = track_face([picture] * 2, person.body.only(np.zeros(2, int)))
    assert np.ptp(mouth_opening(still.points_FN3)) < 0.2 * np.ptp(mouth_opening(drawn.points_FN3))


def test_a_driver_whose_face_rests_moves_nothing(picture, face, driver):
    still = FaceTrack(np.repeat(driver.points_FN3[:1], 4, 0), np.ones(4, bool), 25.0)
    warp = FaceWarp(face[:, :2], move_face(face, still, 1.0))
    assert all(warp(index, picture) is picture for index in range(4))


def test_only_the_face_changes_also_in_a_larger_texture(picture, face, driver):
    warp = FaceWarp(face[:, :2], move_face(face, driver, 0.7))
    changed_HW = (warp(4, picture) != picture).any(-1)
    rows, columns = np.nonzero(changed_HW)
    low_2, high_2 = face[:, :2].min(0) - 8, face[:, :2].max(0) + 8
    assert changed_HW.sum() > 100
    assert low_2[0] < columns.min() <= columns.max() < high_2[0]
    assert low_2[1] < rows.min() <= rows.max() < high_2[1]
    texture_HWC = np.pad(np.dstack([picture, np.full((512, 512, 2), 7, np.uint8)]), ((5, 5), (9, 9), (0, 0)))
    inner_HWC = warp(4, texture_HWC, (5, 9))[5:-5, 9:-9]
    assert (inner_HWC[..., :3] == warp(4, picture)).mean() > 0.999
    assert (inner_HWC[..., 3:] == 7).all()


def test_frames_without_a_face_keep_the_pictures(face, driver):
    seen_F = np.arange(FRAMES) < 8
    gone = FaceTrack(driver.points_FN3 * seen_F[:, None, None], seen_F, 25.0)
    away_F = np.abs(move_face(face, gone, 1.0) - face[:, :2]).max((1, 2))
    assert (away_F[8:] < 1e-3).all()
    assert away_F[4] > 1


def test_the_scene_draws_the_expression(picture, person, face, driver):
    body = person.body.only(np.zeros(FRAMES, int)).moved(shift=(6, 0))
    plain = Scene(picture, [person], [body])
    moved = Scene(picture, [person], [body], face=FaceWarp(face[:, :2], move_face(face, driver, 1.0)))
    changed = [(moved(index).frame_HWC != plain(index).frame_HWC).any(-1).sum() for index in (0, 4)]
    assert changed[1] > 100
    assert changed[0] < 0.5 * changed[1]
    at_rest = Scene(picture, [person], [person.body], face=FaceWarp(face[:, :2], 3 + face[None, :, :2]))
    assert (at_rest(0).frame_HWC != picture).any(-1).sum() > 100


def test_what_cannot_be_followed_is_said(filmed, picture, person):
    frames_FHWC, body = filmed
    clip = clip_of_frames(frames_FHWC, 25.0)

    def motion(pictures: np.ndarray | None, body: BodyMotion) -> MotionClip:
        shown = None if pictures is None else clip_of_frames(pictures, 25.0)
        return MotionClip(
            clip.path, "video", 25.0, body.size, FRAMES, lambda: iter(()), pictures=shown, body=body
        )  # fmt: skip

    def opened(clip: MotionClip, picture_HWC: np.ndarray, **settings: object) -> tuple[bool, list[str]]:
        notes: list[str] = []
        return open_face(clip, make_settings(**settings), picture_HWC, person.body, notes) is not None, notes

    video, maps = motion(frames_FHWC, body), motion(None, body)
    far = motion(frames_FHWC[:, ::4, ::4], body.resized((256, 256)))
    assert opened(video, picture, expression=0) == (False, [])
    assert opened(maps, picture) == (False, [])
    for given in (
        opened(maps, picture, expression=0.5), opened(video, picture, mirror=True), opened(far, picture),
        opened(video, np.full_like(picture, 128)),
    ):  # fmt: skip
        assert not given[0]
        assert len(given[1]) == 1
    found, notes = opened(video, picture)
    assert found
    assert "at 0.7" in notes[0]
