"""DensePose as a TorchScript file: small scripted networks with the interface of the real export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from magicanimate.errors import InputError
from magicanimate.files import sha256
from magicanimate.media.video import save_frames
from magicanimate.motion.extractors import densepose as torchscript
from magicanimate.motion.extractors.densepose import DensePose
from magicanimate.motion.extractors.vision_ops import nms, register, roi_align
from magicanimate.motion.open import open_motion

SIZE = 96
register()


class Blobs(nn.Module):
    """Sees a person in every bright column block of 32 pixels: the upper half is part 23, the lower half part 2.

    As the real network does, it proposes each person twice and asks nms for the better proposal.
    """

    def forward(
        self, image_CHW: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        gray = image_CHW.float().mean(0)
        boxes: list[torch.Tensor] = []
        scores: list[float] = []
        for column in range(3):
            block = gray[:, column * 32 : column * 32 + 32]
            if float(block.max()) > 150:
                rows = torch.nonzero(block.max(1)[0] > 150)
                top, bottom = float(rows.min()), float(rows.max()) + 1.0
                for extra in range(2):
                    boxes.append(torch.tensor([column * 32.0, top, column * 32.0 + 32.0, bottom + extra]))
                    scores.append(0.9 - 0.1 * extra)
        if len(boxes) == 0:
            none = torch.zeros(0, 4)
            maps = torch.zeros(0, 25, 8, 8)
            return none, torch.zeros(0, 2, 8, 8), maps, maps, maps
        found = torch.stack(boxes)
        found = found[torch.ops.torchvision.nms(found, torch.tensor(scores), 0.5)]
        count = found.shape[0]
        coarse = torch.zeros(count, 2, 8, 8)
        coarse[:, 1, :, 1:7] = 1.0
        fine = torch.zeros(count, 25, 8, 8)
        fine[:, 23, :4] = 1.0
        fine[:, 2, 4:] = 1.0
        return found, coarse, fine, fine, fine


class Wrong(nn.Module):
    def forward(self, image_CHW: torch.Tensor) -> torch.Tensor:
        return image_CHW


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("networks") / "blobs.torchscript"
    torch.jit.script(Blobs()).save(str(path))
    return path


def scene(*people: tuple[int, int, int], drift: int = 0) -> np.ndarray:
    """People as bright columns (block, top, bottom) before a dark textured wall. [H, W, 3]."""
    image = np.random.default_rng(1).integers(0, 110, (SIZE, SIZE, 3), dtype=np.uint8)
    for block, top, bottom in people:
        image[top + drift : bottom + drift, block * 32 : block * 32 + 32] = np.random.default_rng(2).integers(
            180, 255, (bottom - top, 32, 3), dtype=np.uint8
        )
    return image


ONE, TWO = [(1, 10, 90)], [(0, 30, 70), (2, 10, 90)]


def clip(tmp_path: Path, *frames: np.ndarray) -> Path:
    return save_frames(iter(frames), tmp_path / "people.gif", 25, {})


def test_parts_lie_in_the_box_and_in_the_coarse_body(network):
    parts = DensePose(network)(scene(*ONE))
    assert set(np.unique(parts)) == {0, 2, 23}
    assert not parts[:, :32].any()
    assert not parts[:10].any()
    assert (parts[15:48, 40:56] == 23).all()
    assert (parts[52:88, 40:56] == 2).all()
    assert not parts[:, 32:34].any()  # coarse background at the box's left edge


def test_boxes_may_hang_over_the_border(network):
    image = scene((1, 0, 96))
    assert DensePose(network)(image).shape == image.shape[:2]


def test_several_people_are_kept_or_one_is_chosen(tmp_path, network):
    path = clip(tmp_path, *(scene(*TWO, drift=d) for d in range(3)))
    everybody = np.stack(list(open_motion(path, extractor=f"densepose={network}")))
    assert everybody[:, :, :32].any((1, 2)).all()
    assert everybody[:, :, 64:].any((1, 2)).all()
    for person, columns in ((1, slice(0, 32)), (2, slice(64, 96))):
        motion = open_motion(path, extractor=f"densepose={network}", person=person)
        maps = np.stack(list(motion))
        assert maps[..., columns].any((1, 2)).all()
        assert (maps > 0).sum() == (maps[..., columns] > 0).sum()
        assert "2 people" in motion.notes[0]


def test_a_person_in_some_frames_only(tmp_path, network):
    motion = open_motion(clip(tmp_path, scene(), scene(*ONE), scene()), extractor=f"densepose={network}")
    assert [bool(parts.any()) for parts in motion] == [False, True, False]


def test_nobody_is_said(tmp_path, network):
    with pytest.raises(InputError, match="No person was found"):
        open_motion(clip(tmp_path, scene(), scene()), extractor=f"densepose={network}")


def test_other_files_and_networks_are_refused(tmp_path):
    (tmp_path / "a.torchscript").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(InputError, match="not a TorchScript file"):
        DensePose(tmp_path / "a.torchscript")
    with pytest.raises(InputError, match="not a TorchScript file"):
        DensePose(tmp_path / "missing.torchscript")
    torch.jit.script(Wrong()).save(str(tmp_path / "wrong.torchscript"))
    with pytest.raises(InputError, match="other things than a DensePose export"):
        DensePose(tmp_path / "wrong.torchscript")(scene())


def test_the_hub_file_is_checked(tmp_path, monkeypatch, network):
    monkeypatch.setenv("MAGICANIMATE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hub cannot be reached.*densepose_r50_fpn_dl.torchscript from LayerNorm"):
        DensePose()
    place = tmp_path / "extractors" / torchscript.FILE_NAME
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(network.read_bytes())
    with pytest.raises(InputError, match="not the expected file"):
        DensePose()
    monkeypatch.setattr(torchscript, "SHA256", sha256(place))
    assert DensePose()(scene(*ONE)).any()


def test_nms_keeps_the_better_of_overlapping_boxes():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [0, 0, 10, 10.5]]).float()
    scores = torch.tensor([0.5, 0.9, 0.1, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert nms(boxes, scores, 0.99).tolist() == [1, 3, 0, 2]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align_equals_its_definition(aligned, ratio):
    """The slow twin: every bin's samples, one bilinear look-up each."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 3, 12, 10, generator=generator)
    rois = torch.tensor([[0, 2.0, 4.0, 17.0, 21.0], [1, -3.0, 5.0, 25.0, 30.0]])
    scale, high, wide = 0.5, 3, 2
    found = roi_align(features, rois, scale, high, wide, ratio, aligned)
    for n, roi in enumerate(rois):
        left, top, right, bottom = (float(v) * scale - (0.5 if aligned else 0) for v in roi[1:])
        height, width = bottom - top, right - left
        if not aligned:
            height, width = max(height, 1.0), max(width, 1.0)
        sy = ratio or int(np.ceil(height / high))
        sx = ratio or int(np.ceil(width / wide))
        for i in range(high):
            for j in range(wide):
                total = torch.zeros(3)
                for a in range(sy):
                    for b in range(sx):
                        y = top + (i + (a + 0.5) / sy) * height / high
                        x = left + (j + (b + 0.5) / sx) * width / wide
                        total += bilinear(features[int(roi[0])], y, x)
                torch.testing.assert_close(found[n, :, i, j], total / (sy * sx), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, roi_align(features, rois, scale, high, wide, ratio, not aligned))


def bilinear(features_CHW: torch.Tensor, y: float, x: float) -> torch.Tensor:
    _, height, width = features_CHW.shape
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros(features_CHW.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = y - y0, x - x0
    f = features_CHW
    upper = (1 - dx) * f[:, y0, x0] + dx * f[:, y0, x1]
    return (1 - dy) * upper + dy * ((1 - dx) * f[:, y1, x0] + dx * f[:, y1, x1])
