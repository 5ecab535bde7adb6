"""Every kind of bad input through the real command line: one sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figures import walking_parts
from magicanimate.cli.main import app
from magicanimate.media import open_clip
from magicanimate.media.video import save_frames
from magicanimate.parts.densepose import render_parts

RUNNER = CliRunner()


class Animation:
    """Good inputs, of which a test spoils one."""

    def __init__(self, folder: Path, image: Path, motion: Path, model: Path) -> None:
        self.out = folder / "result" / "out.mp4"
        self.out.parent.mkdir()
        self.folder = folder
        self.values = {"--image": image, "--motion": motion, "--model": model, "-o": self.out}
        self.values |= {"--steps": 1, "--max-frames": 2, "--device": "cpu"}

    def run(self, *flags: str, **changes: object):
        values = self.values | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        return RUNNER.invoke(app, ["animate", *(str(word) for pair in values.items() for word in pair), *flags])

    def refused(self, message: str, *flags: str, **changes: object) -> None:
        result = self.run(*flags, **changes)
        assert result.exit_code == 2, result.stderr
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.splitlines()[-1] == errors[0]
        assert errors[0].endswith(".")
        assert message in errors[0]
        assert "Traceback" not in result.output
        assert list(self.out.parent.iterdir()) == []

    def accepted(self, *flags: str, **changes: object) -> str:
        result = self.run(*flags, **changes)
        assert result.exit_code == 0, result.stderr
        assert self.out.exists()
        return result.stderr


@pytest.fixture
def animation(tmp_path, picture_path, motion_path, model_folder) -> Animation:
    return Animation(tmp_path, picture_path, motion_path, model_folder)


def picture(animation: Animation, image: Image.Image, name: str = "p.png", **options: object) -> Path:
    image.save(animation.folder / name, **options)
    return animation.folder / name


def file(animation: Animation, name: str, content: bytes) -> Path:
    (animation.folder / name).write_bytes(content)
    return animation.folder / name


def test_good_inputs_are_accepted(animation):  # the negative control of all others
    assert "Warning" not in animation.accepted()


def test_missing_files(animation):
    animation.refused("does not exist", image=animation.folder / "no.png")
    animation.refused("does not exist", motion=animation.folder / "no.mp4")


def test_text_named_mp4(animation):
    animation.refused("not a video", motion=file(animation, "a.mp4", b"This is a letter.\n" * 50))


def test_text_named_png(animation):
    animation.refused("not a picture", image=file(animation, "a.png", b"This is a letter.\n" * 50))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_mp4(animation, share):
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    whole = save_frames(iter(noise), animation.folder / "whole.mp4", 25, {}).read_bytes()
    cut = file(animation, "cut.mp4", whole[: int(len(whole) * share)])
    animation.refused("damaged", motion=cut, max_frames=30)


def test_truncated_mp4_with_its_index_at_the_end(animation):
    path = animation.folder / "tail.mp4"
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for frame in render_parts(walking_parts(5)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    animation.refused("cut off", motion=file(animation, "cut.mp4", path.read_bytes()[:-200]))


def test_truncated_picture(animation):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = picture(animation, noise, "whole.png").read_bytes()
    animation.refused("damaged", image=file(animation, "cut.png", whole[: len(whole) // 2]))


def test_empty_files(animation):
    animation.refused("empty", motion=file(animation, "a.mp4", b""))
    animation.refused("empty", image=file(animation, "a.png", b""))


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "P", "L", "LA", "I;16", "1"])
def test_unusual_pictures_are_handled(animation, mode):
    base = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    if mode == "I;16":
        unusual = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    else:
        unusual = base.convert(mode)
    animation.accepted(image=picture(animation, unusual, "p.tif" if mode == "CMYK" else "p.png"))


def test_exif_rotation_is_handled(animation):
    exif = Image.Exif()
    exif[0x0112] = 6
    animation.accepted(image=picture(animation, Image.new("RGB", (64, 40)), exif=exif))


def test_a_picture_of_one_pixel(animation):
    animation.refused("only 1x1 pixels", image=picture(animation, Image.new("RGB", (1, 1))))


def test_a_picture_of_8k(animation):
    animation.accepted(image=picture(animation, Image.new("RGB", (7680, 4320), "gray"), "p.jpg"))


def test_a_video_instead_of_a_picture(animation):
    animation.refused("is a video", image=file(animation, "p.png", animation.values["--motion"].read_bytes()))


def test_a_span_beyond_the_end(animation):
    animation.refused("nothing is left after --start 60", start="1:00")
    animation.refused("end: should be after start", start=2, end=1)


def test_a_folder_instead_of_a_picture(animation):
    animation.refused("is a folder", image=animation.folder)


def test_a_motion_of_one_frame(animation):
    one = save_frames(iter(render_parts(walking_parts(1))), animation.folder / "one.mp4", 25, {})
    animation.accepted(motion=one)
    assert len(list(open_clip(animation.out))) == 1


def test_a_motion_that_is_not_densepose_colored(animation):
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    animation.refused("No person was found", motion=save_frames(iter(noise), animation.folder / "n.mp4", 25, {}))


def test_a_motion_with_a_black_background(animation):
    parts = walking_parts(3)
    frames = render_parts(parts)
    frames[parts == 0] = 0
    said = animation.accepted(motion=save_frames(iter(frames), animation.folder / "black.mp4", 25, {}))
    assert "background is black" in said


@pytest.mark.parametrize("size", ["0x0", "-64x64", "64x-64", "0x64", "64", "big", "64x64x64", "99999x64"])
def test_impossible_sizes(animation, size):
    animation.refused("size: ", size=size)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 5000), ("guidance", -1), ("guidance", "nan"), ("fps", 0), ("fps", -5),
        ("max_frames", 0), ("seed", -1), ("preset", "best"), ("align", "maybe"), ("fusion", "x"), ("noise", "x"),
        ("window", 0), ("overlap", -1), ("scheduler", "x"), ("device", "tpu9"), ("dtype", "int3"),
    ],
)  # fmt: skip
def test_impossible_settings(animation, name, value):
    animation.refused("", **{name: value})


def test_unknown_model(animation):
    animation.refused("Unknown model", model="no-such-model")


def test_a_model_folder_without_its_weights(animation, model_folder):
    broken = animation.folder / "model"
    shutil.copytree(model_folder, broken)
    (broken / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    animation.refused("vae", model=broken)


def test_output_folder_that_does_not_exist(animation):
    animation.values["-o"] = animation.folder / "missing" / "out.mp4"
    animation.refused("does not exist")


def test_output_folder_that_cannot_be_written(animation):
    if not Path("/proc/sys").is_dir():
        pytest.skip("no folder that even the administrator cannot write to")
    animation.values["-o"] = "/proc/sys/out.mp4"
    animation.refused("cannot be written to")


def test_unknown_output_format(animation):
    animation.values["-o"] = animation.folder / "out.avi"
    animation.refused("Cannot write .avi files")


def test_existing_output(animation):
    old = animation.folder / "old.mp4"
    old.write_text("precious")
    animation.values["-o"] = old
    animation.refused("already exists")
    assert old.read_text() == "precious"


def test_disk_full(animation):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, old[1]))  # writing beyond it fails as on a full disk
    try:
        animation.refused("disk is full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    animation.accepted()


def test_missing_options_are_a_usage_error():
    result = RUNNER.invoke(app, ["animate"])
    assert result.exit_code == 2
    assert "--image" in result.stderr
