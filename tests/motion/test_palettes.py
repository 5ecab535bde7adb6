"""Part maps in every coloring, through a real codec, are told by their colors and give their parts back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from figures import walking_parts
from magicanimate.errors import InputError
from magicanimate.media import clip_of_frames, open_clip
from magicanimate.media.video import save_frames
from magicanimate.motion.formats.chroma import is_subsampled
from magicanimate.motion.formats.palettes import COLORINGS, OVERLAY, PARULA_25, VIRIDIS
from magicanimate.motion.formats.recognize import recognize, sample
from magicanimate.motion.open import open_motion
from magicanimate.parts.densepose import PALETTE_25, render_parts

SIZE = 384


def scene() -> np.ndarray:
    """A gray picture [H, W, 3] with light, shade and texture."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    gray = 90 + x // 4 + 30 * np.sin(y / 20) + np.random.default_rng(0).normal(0, 4, (SIZE, SIZE))
    return np.repeat(np.clip(gray, 0, 255)[..., None], 3, -1)


def overlaid(parts_FHW: np.ndarray, table: np.ndarray, below_HWC: np.ndarray) -> np.ndarray:
    """detectron2's drawing: the part's color at 70% over the gray picture; the rest is the picture."""
    mixed = below_HWC * (1 - OVERLAY) + table[parts_FHW] * OVERLAY
    return np.where((parts_FHW > 0)[..., None], mixed, below_HWC).astype(np.uint8)


def gray(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, -1)


PAINTED = {
    "viridis": render_parts,
    "viridis on black": lambda parts: np.where((parts > 0)[..., None], render_parts(parts), np.uint8(0)),
    "PARULA": lambda parts: PARULA_25[parts],
    "PARULA on black": lambda parts: overlaid(parts, PARULA_25, np.zeros((1, 1, 3))),
    "PARULA over the picture": lambda parts: overlaid(parts, PARULA_25, scene()),
    "viridis over the picture": lambda parts: overlaid(parts, PALETTE_25, scene()),
    "gray levels": lambda parts: gray(np.floor(parts * (255 / 24))),
}


@pytest.fixture(scope="module")
def parts_FHW() -> np.ndarray:
    return walking_parts(2, SIZE, SIZE)


def brute_force(frame_HWC: np.ndarray, coloring) -> np.ndarray:
    """The slow twin: labels by distance to each color, or to the nearest of its shades."""
    best = np.full(frame_HWC.shape[:2], np.inf)
    labels = np.zeros(frame_HWC.shape[:2], np.uint8)
    for label, (color, lightest) in enumerate(zip(coloring.colors_LC, coloring.lightest_L, strict=True)):
        for shade in np.linspace(0, lightest, 1 + int(lightest)):
            distance = np.linalg.norm(frame_HWC - (color + shade), axis=-1)
            labels = np.where(distance < best - 1e-4, label, labels)
            best = np.minimum(best, distance)
    return labels


def body_agreement(frames: list[np.ndarray], parts_FHW: np.ndarray, coloring) -> float:
    decoded = np.stack([coloring.decode(frame) for frame in frames])
    return float((decoded == parts_FHW)[parts_FHW > 0].mean())


@pytest.mark.parametrize("name", PAINTED)
def test_each_coloring_survives_a_codec(tmp_path, parts_FHW, name):
    path = save_frames(iter(PAINTED[name](parts_FHW)), tmp_path / "map.mp4", 25, {})
    frames = list(open_clip(path))
    found = recognize(sample(frames))
    assert found.kind == "parts"
    assert found.coloring is not None
    assert found.coloring.name == ("viridis" if name == "viridis on black" else name)
    assert (found.black > 0.05) == (name in ("viridis on black", "PARULA on black", "gray levels"))
    # Blocks of like colors side by side are harder than bodies, for which benchmarks/motion_colors.py has figures.
    assert body_agreement(frames, parts_FHW, found.coloring) >= 0.98
    if found.coloring is not VIRIDIS:  # the negative control: the usual palette reads something else
        assert body_agreement(frames, parts_FHW, VIRIDIS) < 0.9


@settings(max_examples=8)
@given(arrays(np.uint8, (5, 5, 3)), st.sampled_from(COLORINGS))
def test_lookup_table_equals_brute_force(frame_HWC, coloring):
    labels, _ = coloring.labels(frame_HWC)
    slow = brute_force(frame_HWC.astype(float), coloring)
    rows, columns = np.indices(labels.shape)
    distances = coloring.distances(frame_HWC.reshape(-1, 3)).reshape(*labels.shape, -1)
    assert distances[rows, columns, labels] == pytest.approx(distances[rows, columns, slow], abs=2)


PARTS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 24))


@given(PARTS)
def test_rendering_and_decoding_are_inverse(parts_HW):
    labels, near = VIRIDIS.labels(render_parts(parts_HW))
    assert np.array_equal(labels, parts_HW)
    assert near.all()
    assert np.array_equal(VIRIDIS.decode(render_parts(parts_HW)), parts_HW)


@given(PARTS, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_levels_lost_in_compression_do_not_matter(parts_HW, red, green, blue):
    shifted = np.clip(render_parts(parts_HW).astype(int) - (red, green, blue), 0, 255).astype(np.uint8)
    assert np.array_equal(VIRIDIS.labels(shifted)[0], parts_HW)


def test_a_mixed_contour_takes_a_neighbor_label():
    # Between background (purple) and head (yellow) the mixture is nearest to some limb's green.
    parts = np.zeros((8, 9), np.uint8)
    parts[:, 5:] = 24
    frame = render_parts(parts)
    frame[:, 4] = (frame[:, 3].astype(int) + frame[:, 5]) // 2
    assert not set(np.unique(VIRIDIS.labels(frame)[0])) <= {0, 24}  # the negative control
    assert set(np.unique(VIRIDIS.decode(frame))) == {0, 24}


def test_contours_are_better_than_the_nearest_color(tmp_path, parts_FHW):
    path = save_frames(iter(render_parts(parts_FHW)), tmp_path / "map.mp4", 25, {})
    frame = list(open_clip(path))[1]  # moved by a pixel, so that blocks of two by two lie across contours
    assert is_subsampled(frame)
    assert not is_subsampled(render_parts(parts_FHW[1]))
    body = parts_FHW[1] > 0
    wrong = (VIRIDIS.labels(frame)[0] != parts_FHW[1])[body].mean()
    assert (VIRIDIS.decode(frame) != parts_FHW[1])[body].mean() < wrong / 3


def test_parula_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    levels = np.floor(np.arange(25) * 255 / 24).astype(np.uint8)[:, None]
    assert np.array_equal(PARULA_25, cv2.applyColorMap(levels, cv2.COLORMAP_PARULA)[:, 0, ::-1])


def test_a_palette_that_is_not_known_is_no_picture():
    table = np.random.default_rng(3).integers(40, 256, (25, 3)).astype(np.uint8)
    table[0] = 0
    found = recognize(list(table[walking_parts(2, SIZE, SIZE)]))
    assert found.kind == "flat"


def test_pictures_are_pictures():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:128, 0:128]
    shaded = np.stack([x + 60, y + 40, (x + y) // 2 + 20], -1)
    shaded[40:120, 50:80] = (200, 150, 120)
    textured = np.clip(shaded + rng.normal(0, 6, shaded.shape), 0, 255).astype(np.uint8)
    assert recognize([textured]).kind == "picture"
    assert recognize([rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)]).kind == "picture"


@pytest.mark.egl
@pytest.mark.parametrize("seed", [1000110, 1000158, 1000159])
def test_people_before_smooth_backgrounds_are_pictures(seed, opengl):
    from magicanimate.synth.clip import render_clip

    frames = list(render_clip(seed, np.array([1.0, 1.3, 1.7]), 256, "test").rgb)
    assert recognize(frames).kind == "picture"


def test_who_names_an_extractor_has_pictures(tmp_path):
    path = tmp_path / "map.mp4"
    save_frames(iter(render_parts(walking_parts(6, 128, 128))), path, 25.0, {})
    assert open_motion(path).kind == "densepose"
    with pytest.raises(InputError, match="No person was found"):
        open_motion(path, extractor="mediapipe")


def test_a_gray_picture_is_no_map():
    assert recognize([scene().astype(np.uint8)]).kind == "picture"


def test_depth_is_smooth_gray_on_one_level():
    y, x = np.mgrid[0:128, 0:128]
    depth = np.where((x - 64) ** 2 + (y - 64) ** 2 < 40**2, 120 + x / 2 + y / 3, 0)
    assert recognize([gray(depth)]).kind == "depth"


def test_plain_frames_show_nothing():
    plain = clip_of_frames(np.zeros((60, 32, 32, 3), np.uint8), 25)
    assert recognize(sample(plain)).kind == "empty"
    late = np.zeros((60, 64, 64, 3), np.uint8)
    late[50:] = render_parts(walking_parts(10))
    assert recognize(sample(late)).coloring is VIRIDIS  # two seconds of black before it starts


def test_every_coloring_has_a_name_of_its_own():
    assert len({coloring.name for coloring in COLORINGS}) == len(COLORINGS)


@pytest.mark.parametrize("channel", [0, 2])
def test_iuv_and_indices_are_told(channel):
    parts = walking_parts(1)[0]
    frame = np.random.default_rng(0).integers(1, 256, (*parts.shape, 3), dtype=np.uint8)
    frame[..., channel] = parts
    frame[parts == 0] = 0
    assert (recognize([frame]).kind, recognize([frame]).channel) == ("iuv", channel)
    assert recognize([gray(parts)]).kind == "indices"
