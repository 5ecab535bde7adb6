"""Pictures of every common kind, and how they are fitted."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from magicanimate.errors import InputError
from magicanimate.media.framing import choose_frame
from magicanimate.media.pictures import fit_picture, load_picture, place
from magicanimate.parts.fit import fit_parts

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def saved(path, picture: Image.Image, **options) -> str:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_lossless_files_are_read_exactly(tmp_path, name):
    assert np.array_equal(load_picture(saved(tmp_path / name, Image.fromarray(IMAGE))), IMAGE)


def test_webp_and_jpeg(tmp_path):
    smooth = np.kron(IMAGE[:3, :4], np.ones((8, 8, 1))).astype(np.uint8)
    for name in ("a.webp", "a.jpg"):
        read = load_picture(saved(tmp_path / name, Image.fromarray(smooth), quality=95))
        assert np.abs(read.astype(int) - smooth).mean() < 8


def test_transparency_is_laid_over_white(tmp_path):
    alpha = np.zeros(IMAGE.shape[:2], np.uint8)
    alpha[:, 16:] = 255
    read = load_picture(saved(tmp_path / "a.png", Image.fromarray(np.dstack([IMAGE, alpha]))))
    assert (read[:, :16] == 255).all()
    assert np.array_equal(read[:, 16:], IMAGE[:, 16:])


def test_palette_with_transparency(tmp_path):
    picture = Image.fromarray(IMAGE).quantize(16)
    path = saved(tmp_path / "a.png", picture, transparency=int(np.asarray(picture)[0, 0]))
    assert (load_picture(path)[0, 0] == 255).all()


def test_cmyk(tmp_path):
    flat = Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK")
    read = load_picture(saved(tmp_path / "a.jpg", flat, quality=95))
    assert np.abs(read.reshape(-1, 3).mean(0) - (200, 40, 90)).max() < 6


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    read = load_picture(saved(tmp_path / "a.png", Image.fromarray(IMAGE), exif=exif))
    assert np.array_equal(read, np.rot90(IMAGE, -1))


def test_sixteen_bit_gray_is_scaled(tmp_path):
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    read = load_picture(saved(tmp_path / "a.png", Image.fromarray(values)))
    assert np.abs(read[..., 0].astype(float) - values / 257).max() <= 1
    assert np.array_equal(read[..., 0], read[..., 2])


def test_one_bit_and_gray(tmp_path):
    mask = IMAGE[..., 0] > 127
    assert np.array_equal(load_picture(saved(tmp_path / "a.png", Image.fromarray(mask)))[..., 1], mask * 255)
    assert np.array_equal(
        load_picture(saved(tmp_path / "b.png", Image.fromarray(IMAGE[..., 0])))[..., 2], IMAGE[..., 0]
    )


def test_a_color_profile_is_followed_and_a_broken_one_ignored(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = load_picture(saved(tmp_path / "a.png", Image.fromarray(IMAGE), icc_profile=profile))
    assert np.abs(same.astype(int) - IMAGE).max() <= 2
    broken = load_picture(saved(tmp_path / "b.png", Image.fromarray(IMAGE), icc_profile=b"nonsense"))
    assert np.array_equal(broken, IMAGE)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    path = saved(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert tuple(load_picture(path)[5, 5]) == (255, 0, 0)


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@given(source=st.tuples(st.integers(1, 60), st.integers(1, 60)), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_any_size_fits_any_frame(fit, source, size):
    placement = place(source, size, fit)
    left, top, right, bottom = placement.box
    assert -1e-6 <= left < right <= source[1] + 1e-6
    assert -1e-6 <= top < bottom <= source[0] + 1e-6
    assert fit_picture(np.zeros((*source, 3), np.uint8), placement).shape == (*size, 3)
    parts = np.arange(source[0] * source[1], dtype=np.uint32).reshape(source).astype(np.uint8) % 25
    assert fit_parts(parts, placement).shape == size
    if fit == "cover":  # aspect ratio kept
        assert (right - left) / (bottom - top) == pytest.approx(size[1] / size[0], rel=1e-6)
    if source == size:
        assert np.array_equal(fit_parts(parts, placement), parts)


def test_a_cover_crop_keeps_the_top():
    box = place((200, 100), (100, 100), "cover").box
    assert box == (0, 25, 100, 125)
    assert place((100, 200), (100, 100), "cover").box == (50, 0, 150, 100)


def test_contain_fills_with_background_and_border():
    placement = place((10, 20), (20, 20), "contain")
    assert (fit_parts(np.full((10, 20), 7, np.uint8), placement)[:5] == 0).all()
    assert (fit_picture(np.full((10, 20, 3), 9, np.uint8), placement) == 9).all()


@pytest.mark.parametrize(
    ("motion", "size", "expected", "canvas"),
    [
        ((512, 512), "auto", (256, 256), (256, 256)),
        ((1920, 1080), "auto", (342, 192), (352, 192)),
        ((512, 512), (100, 130), (100, 130), (112, 144)),
        ((1, 1), (16, 16), (16, 16), (16, 16)),
    ],
)
def test_frame_and_canvas(motion, size, expected, canvas):
    frame = choose_frame(motion, (256, 256), size, 16)
    assert (frame.size, frame.canvas) == (expected, canvas)


@given(st.tuples(st.integers(16, 4000), st.integers(16, 4000)))
def test_auto_keeps_aspect_and_pixels(motion):
    height, width = choose_frame(motion, (256, 256), "auto", 16).size
    assert height % 2 == width % 2 == 0
    if max(motion) / min(motion) < 4:
        assert width / height == pytest.approx(motion[1] / motion[0], rel=0.03)
        assert height * width == pytest.approx(256 * 256, rel=0.03)


def test_padding_is_cropped_back():
    frame = choose_frame((30, 30), (256, 256), (30, 50), 16)
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    assert frame.pad(image).shape == (32, 64, 3)
    assert np.array_equal(frame.crop(frame.pad(image)), image)


def test_too_small(tmp_path):
    with pytest.raises(InputError, match="only 1x1"):
        load_picture(saved(tmp_path / "a.png", Image.new("RGB", (1, 1))))


def test_the_first_picture_of_a_camera_s_mpo(tmp_path):
    from magicanimate.media import open_clip

    views = [Image.fromarray(np.full((24, 32, 3), level, np.uint8)) for level in (200, 50)]
    views[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=views[1:])
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "MPO"
    assert abs(load_picture(tmp_path / "a.jpg").mean() - 200) < 2
    assert open_clip(tmp_path / "a.jpg").count == 1


def float_tiff(width: int = 20, height: int = 20) -> bytes:
    """A TIFF of three floating-point colors, which Pillow does not read."""
    pixels = np.linspace(0, 1, width * height * 3, dtype="<f4").tobytes()
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 32), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
        (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels)), (284, 3, 1, 1), (339, 3, 1, 3),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def test_a_tiff_of_floating_point_colors_is_not_called_a_video(tmp_path):
    from magicanimate.media import open_clip

    (tmp_path / "a.tif").write_bytes(float_tiff())
    for read in (load_picture, open_clip):
        with pytest.raises(InputError, match="TIFF of a kind that cannot be read") as caught:
            read(tmp_path / "a.tif")
        assert "video" not in str(caught.value)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_heic_is_called_so_where_it_cannot_be_read(tmp_path, brand, monkeypatch):
    from magicanimate.media import open_clip, pictures

    monkeypatch.setattr(pictures, "_register_heif", lambda: None)  # as where pillow-heif is not installed
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
    for read in (load_picture, open_clip):
        with pytest.raises(InputError, match=r"HEIC picture; install the extra \[heic\], or convert it to JPEG"):
            read(tmp_path / "a.jpg")


def test_heic_is_read_where_its_package_is(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    smooth = np.kron(IMAGE[:3, :4], np.ones((16, 16, 1))).astype(np.uint8)
    pillow_heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.heic", quality=95)
    assert np.abs(load_picture(tmp_path / "a.heic").astype(int) - smooth).mean() < 12


def test_photographs_of_100_megapixels_are_scaled_when_they_are_read(tmp_path, recwarn):
    image = Image.new("L", (12000, 9000), 90)
    image.paste(200, (6000, 0, 12000, 9000))
    image.save(tmp_path / "a.jpg")
    read = load_picture(tmp_path / "a.jpg")
    assert read.shape == (3072, 4096, 3)
    assert (read[:, :2000] == 90).all()
    assert (read[:, 2100:] == 200).all()
    assert not recwarn.list


def test_16_bit_pictures_are_scaled_too(tmp_path):
    Image.fromarray(np.full((50, 6000), 65535 // 2, np.uint16)).save(tmp_path / "a.png")
    read = load_picture(tmp_path / "a.png")
    assert read.shape == (34, 4096, 3)
    assert (read == 128).all() or (read == 127).all()
