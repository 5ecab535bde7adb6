"""Any file becomes part maps, told by its content; bad ones are one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figures import walking_parts
from magicanimate.animation.write_motion import write_motion
from magicanimate.cli.main import app
from magicanimate.errors import InputError
from magicanimate.media import Span
from magicanimate.media.video import save_frames
from magicanimate.motion.formats.palettes import PARULA_25
from magicanimate.motion.open import open_motion
from magicanimate.parts.densepose import render_parts

RUNNER = CliRunner()
PARTS = walking_parts(6, 96, 96)


def iuv(parts_FHW: np.ndarray) -> np.ndarray:
    """Index, and any U and V where there is a body. [F, H, W, 3]."""
    planes = np.random.default_rng(0).integers(1, 256, (*parts_FHW.shape, 3), dtype=np.uint8)
    planes[..., 0] = parts_FHW
    planes[parts_FHW == 0] = 0
    return planes


def folder(path: Path, frames: np.ndarray) -> Path:
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index}.png")
    return path


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def sources(path: Path) -> dict[str, Path]:
    """The same parts in many files, with names that say nothing."""
    np.save(path / "plane.npy", PARTS)
    (path / "renamed.mp4").write_bytes((path / "plane.npy").read_bytes())
    return {
        "viridis pictures": folder(path / "viridis", render_parts(PARTS)),
        "parula pictures": folder(path / "parula", PARULA_25[PARTS]),
        "iuv pictures": folder(path / "iuv", iuv(PARTS)),
        "iuv pictures in OpenCV's order": folder(path / "vui", iuv(PARTS)[..., ::-1]),
        "index pictures": folder(path / "gray", PARTS),
        "index array": path / "plane.npy",
        "index array of another name": path / "renamed.mp4",
        "iuv array": npz(path / "iuv.npz", iuv=iuv(PARTS)),
        "iuv array, planes first": npz(path / "first.npz", iuv=np.moveaxis(iuv(PARTS), -1, 1)),
        "labels": npz(path / "labels.npz", labels=PARTS.astype(np.int64)),
    }


def test_lossless_sources_give_the_same_parts(tmp_path):
    for name, path in sources(tmp_path).items():
        motion = open_motion(path)
        assert motion.kind == "densepose", name
        assert np.array_equal(np.stack(list(motion)), PARTS), name
        assert np.array_equal(np.stack(list(motion)), PARTS), name  # and once more
        assert (motion.count, motion.size) == (6, (96, 96)), name
        assert len(motion.notes) == (name != "viridis pictures"), name


def test_spans_hold_for_arrays(tmp_path):
    motion = open_motion(npz(tmp_path / "a.npz", parts=PARTS), Span(start=0.04, frames=3))
    assert np.array_equal(np.stack(list(motion)), PARTS[1:4])
    assert motion.count == 3


def test_arrays_keep_the_rate_of_the_motion_they_were_written_from(tmp_path):
    written = tmp_path / "written.npz"
    write_motion(open_motion(npz(tmp_path / "a.npz", parts=PARTS, fps=np.array(12.5))), written, {})
    motion = open_motion(written)
    assert (motion.fps, motion.count) == (12.5, len(PARTS))
    faster = open_motion(written, Span(fps=25.0))
    assert (faster.fps, faster.count) == (25.0, 2 * len(PARTS))
    assert np.array_equal(np.stack(list(faster)), np.repeat(PARTS, 2, axis=0))
    assert open_motion(npz(tmp_path / "b.npz", parts=PARTS)).fps == 25.0


@pytest.mark.parametrize("fps", [np.array(0), np.array(np.nan), np.array([25.0]), np.array("fast"), np.array(1e9)])
def test_a_wrong_rate_of_arrays_is_one_sentence(tmp_path, fps):
    with pytest.raises(InputError, match="no frame rate"):
        open_motion(npz(tmp_path / "a.npz", parts=PARTS, fps=fps))


def test_a_single_frame_is_a_motion(tmp_path):
    path = save_frames(iter(render_parts(PARTS[:1])), tmp_path / "one.mp4", 25, {})
    assert len(list(open_motion(path))) == 1


def test_black_comes_before_somebody(tmp_path):
    frames = np.concatenate([np.zeros((50, 96, 96, 3), np.uint8), render_parts(PARTS)])
    motion = open_motion(save_frames(iter(frames), tmp_path / "late.mp4", 25, {}))
    maps = np.stack(list(motion))
    assert not maps[:50].any()
    assert maps[50:].any((1, 2)).all()


def test_one_of_several_people_is_kept(tmp_path):
    small = walking_parts(4, 96, 64)
    both = np.concatenate([np.roll(small, 8, axis=1), np.zeros((4, 96, 20), np.uint8), small], axis=2)
    path = npz(tmp_path / "two.npz", parts=both)
    for person, columns in ((1, slice(0, 64)), (2, slice(84, 148))):
        motion = open_motion(path, person=person)
        expected = np.zeros_like(both)
        expected[..., columns] = both[..., columns]
        assert np.array_equal(np.stack(list(motion)), expected)
        assert f"number {person} from the left" in motion.notes[-1]
    assert not np.stack(list(open_motion(path, person=3))).any()  # which the reader of the clip refuses


def jet(parts_FHW: np.ndarray) -> np.ndarray:
    """A palette that nobody uses."""
    table = np.random.default_rng(5).integers(30, 256, (25, 3)).astype(np.uint8)
    table[0] = 0
    return table[parts_FHW]


def bad_sources(path: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no motion, and a piece of what is said about each."""

    def file(name: str, content: bytes) -> Path:
        (path / name).write_bytes(content)
        return path / name

    def video(name: str, frames: np.ndarray) -> Path:
        return save_frames(iter(frames), path / name, 25, {})

    empty = path / "empty"
    empty.mkdir()
    whole = video("whole.mp4", render_parts(walking_parts(30))).read_bytes()
    y, x = np.mgrid[0:96, 0:96]
    depth = np.where((x - 48) ** 2 + (y - 48) ** 2 < 40**2, 100 + x + y / 2, 0)
    return {
        "missing": (path / "no.mp4", "does not exist"),
        "empty file": (file("empty.mp4", b""), "empty"),
        "empty folder": (empty, "no pictures"),
        "text": (file("text.mp4", b"Dear reader,\n" * 90), "not a video"),
        "cut": (file("cut.mp4", whole[: len(whole) // 2]), "damaged"),
        "one pixel": (folder(path / "pixel", np.zeros((1, 1, 1, 3), np.uint8)), "at least"),
        "black": (video("black.mp4", np.zeros((50, 64, 64, 3), np.uint8)), "No person was found"),
        "purple": (video("purple.mp4", render_parts(np.zeros((9, 64, 64), np.uint8))), "No person was found"),
        "palette": (video("jet.mp4", jet(walking_parts(6, 192, 192))), "none of the known palettes"),
        "depth": (video("depth.mp4", np.repeat(depth.astype(np.uint8)[None, ..., None], 3, -1)), "depth video"),
        "raw indices in a video": (video("i.mp4", np.repeat(PARTS[..., None], 3, -1)), "compression has mixed them"),
        "other array": (npz(path / "wrong.npz", x=np.zeros((4, 4)) + 0.5), "neither part indices"),
        "cut array": (file("cut.npz", b"PK\x03\x04 and nothing more"), "not an array file"),
        "unknown json": (file("x.json", b'{"a": 1}'), "no keypoints that are known"),
        "cut json": (file("y.json", b'[{"people": ['), "not JSON"),
        "cut bvh": (file("z.bvh", b"HIERARCHY\nROOT Hips {\nOFFSET 0 0"), "not a complete BVH"),
    }


def test_bad_sources_are_one_sentence_and_leave_nothing(tmp_path):
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    out.mkdir()
    for name, (path, message) in bad_sources(inputs).items():
        result = RUNNER.invoke(app, ["motion", str(path), "-o", str(out / "m.mp4")])
        assert result.exit_code == 2, (name, result.output)
        lines = [line for line in result.stderr.splitlines() if not line.endswith("...")]
        assert len(lines) == 1, (name, lines)
        assert message in lines[0], (name, lines)
        assert lines[0].endswith("."), name
        assert list(out.iterdir()) == [], name


def test_a_good_source_is_written_and_read_again(tmp_path):
    source = folder(tmp_path / "in", PARULA_25[PARTS])
    for name in ("m.mp4", "m.webm", "m.gif", "frames", "m.npz"):
        result = RUNNER.invoke(app, ["motion", str(source), "-o", str(tmp_path / name), "--fps", "12"])
        assert result.exit_code == 0, result.output
        assert "PARULA; it was converted" in result.stderr
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert (about["source"], about["as"], about["fps"]) == ("densepose", "parts", 12)
        again = np.stack(list(open_motion(tmp_path / name)))
        assert (again == PARTS[::2]).mean() >= (0.98 if name in ("m.mp4", "m.webm") else 1), name


def test_options_that_cannot_be_are_named(tmp_path):
    source, out = npz(tmp_path / "a.npz", parts=PARTS), tmp_path / "out.mp4"
    for options, message in (
        (["--as", "colors"], "--as is one of"),
        (["--as", "depth"], "no body in space"),
        (["--size", "big"], "size"),
        (["--start", "9"], "nothing is left"),
        (["-o", str(tmp_path / "out.avi")], "Cannot write .avi"),
        (["-o", str(source)], "already exists"),
    ):
        result = RUNNER.invoke(app, ["motion", str(source), "-o", str(out), *options])
        assert result.exit_code == 2, (options, result.output)
        assert message in result.stderr, options
        assert not out.exists()


def test_sizes_are_kept(tmp_path):
    out = tmp_path / "small"
    arguments = ["motion", str(npz(tmp_path / "a.npz", parts=PARTS)), "-o", str(out), "--size", "48x32"]
    assert RUNNER.invoke(app, arguments).exit_code == 0
    assert open_motion(out).size == (32, 48)


def photo() -> np.ndarray:
    """A picture with shades and texture, of nobody. [H, W, 3]."""
    y, x = np.mgrid[0:96, 0:96]
    shaded = np.stack([x + 60, y + 40, (x + y) // 2 + 20], -1) + np.random.default_rng(0).normal(0, 8, (96, 96, 3))
    return np.clip(shaded, 0, 255).astype(np.uint8)


def test_nobody_in_a_video(tmp_path):
    path = folder(tmp_path / "nobody", np.stack([photo()] * 3))
    with pytest.raises(InputError, match="No person was found"):
        open_motion(path)


@pytest.mark.parametrize(
    ("extractor", "missing", "message"),
    [("auto", "ai_edge_litert", "pip install ai-edge-litert"), ("dwpose", "onnxruntime", "magicanimate[wholebody]")],
)
def test_missing_packages_are_named(tmp_path, extractor, missing, message):
    path = folder(tmp_path / "clip", np.stack([photo()] * 2))
    code = (
        f"import sys\nsys.modules[{missing!r}] = None\nfrom magicanimate.cli.main import main\n"
        f"sys.argv = ['magicanimate', 'motion', {str(path)!r}, '-o', {str(tmp_path / 'o.mp4')!r}, "
        f"'--extractor', {extractor!r}]\nmain()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_unknown_extractors_are_named(tmp_path):
    path = folder(tmp_path / "clip", np.stack([photo()] * 2))
    with pytest.raises(InputError, match="Unknown extractor 'magic'"):
        open_motion(path, extractor="magic")
