"""Two hundred spoilt files of every kind that is read: each works, or is one sentence. Always the same files."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from figures import walking_parts
from magicanimate.batch.jobs import read_jobs
from magicanimate.errors import InputError
from magicanimate.media import load_picture, open_clip
from magicanimate.media.video import save_frames
from magicanimate.models.model import load_model
from magicanimate.motion.formats.arrays import read_parts
from magicanimate.motion.formats.bvh import read_bvh
from magicanimate.motion.formats.keypoints import read_keypoints
from magicanimate.parts.densepose import render_parts
from magicanimate.provenance.marks import AI_GENERATED, read_marks
from magicanimate.sampling.checkpoint import STEP_NAME, Checkpoint
from magicanimate.serve.backend import ServiceError
from magicanimate.serve.options import Limits
from magicanimate.serve.uploads import motion_kind, picture_kind
from magicanimate.train.config import read_settings
from motion.standing import openpose_person
from motion.test_bvh import bvh

CASES_PER_KIND = 13
MOST_MEMORY = 2_000_000  # kilobytes that reading may add
ODD = [
    None,
    True,
    "",
    "x",
    -1,
    0,
    2**31,
    2**70,
    1e308,
    float("nan"),
    [],
    {},
    [[]],
    {"a": 1},
    "9" * 5000,
    [-1, -1],
    [10**9] * 2,
]
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
FRAMES = render_parts(walking_parts(4))


def spoilt_bytes(data: bytes, r: random.Random) -> bytes:
    """Cut, flipped, overwritten with extreme words, with pieces lost, doubled or inserted."""
    at, length = r.randrange(len(data)), r.choice([1, 4, 64])
    kind = r.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(r.choice([1, 5, 50])):
            changed[r.randrange(min(len(data), r.choice([200, len(data)])))] ^= 1 << r.randrange(8)
        return bytes(changed)
    if kind == 2:
        word = r.choice([0, 1, 2**31, 2**32 - 1]).to_bytes(4, r.choice(["big", "little"]))
        return data[:at] + word + data[at + 4 :]
    return data[:at] + r.choice([b"", r.randbytes(length), data]) + data[at + length * (kind - 3) :]


def spoilt_value(value: Any, r: random.Random) -> Any:
    """One place of a JSON value, however deep, replaced or removed."""
    if r.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return r.choice(ODD)
    key = r.choice(list(value)) if isinstance(value, dict) else r.randrange(min(len(value), 6))
    changed = value.copy()
    if r.random() < 0.1:
        del changed[key]
    else:
        changed[key] = spoilt_value(value[key], r)
    return changed


class Seeds:
    """Good files, each with what reads it."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        smooth = Image.fromarray(np.kron(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), np.ones((8, 8, 1), np.uint8)))
        pictures = {f"p.{kind}": (smooth, {}) for kind in ("png", "jpg", "webp", "tif", "bmp", "gif")}
        for name, (image, options) in pictures.items():
            image.save(folder / name, **options)
        for name in ("m.mp4", "m.webm", "m.gif", "m.webp"):
            save_frames(iter(FRAMES), folder / name, 25, {"model": {"name": "m"}} | AI_GENERATED)
        bvh(folder / "m.bvh", frames=3)
        frames = [{"people": [openpose_person(18, 64, 64)], "canvas_width": 64, "canvas_height": 64}] * 3
        self.json = {"openpose": frames, "by key": {str(k): frame for k, frame in enumerate(frames)}}
        parts = walking_parts(3)
        np.savez_compressed(folder / "a.npz", parts=parts)
        np.save(folder / "a.npy", parts)
        torch.save({"about": {"seed": 1}, "state": {"latents": torch.zeros(3)}}, folder / "step.pt")
        self.jobs = {"image": str(folder / "p.png"), "motion": str(folder / "m.mp4"), "seed": 1, "steps": 2}

    def any_bytes(self, names: tuple[str, ...], r: random.Random, target: Path) -> Path:
        name = r.choice(names)
        path = target / name
        path.write_bytes(spoilt_bytes((self.folder / name).read_bytes(), r))
        return path


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, model_folder) -> Seeds:
    return Seeds(tmp_path_factory.mktemp("seeds"), model_folder)


PICTURES = ("p.png", "p.jpg", "p.webp", "p.tif", "p.bmp", "p.gif")
VIDEOS = ("m.mp4", "m.webm", "m.gif", "m.webp")


def text(target: Path, name: str, content: str) -> Path:
    path = target / name
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    return path


def spoilt_model(s: Seeds, r: random.Random, target: Path) -> Path:
    folder = target / "model"
    shutil.copytree(s.model, folder)
    path = folder / r.choice(["model.json", "vae/config.json", "denoiser/config.json", "empty_prompt.safetensors"])
    if path.suffix == ".json":
        path.write_text(json.dumps(spoilt_value(json.loads(path.read_text()), r)))
    else:
        path.write_bytes(spoilt_bytes(path.read_bytes(), r))
    return folder


def spoilt_yaml(r: random.Random, target: Path) -> Path:
    value = yaml.safe_load((CONFIGS / r.choice(["overfit/vae.yaml", "tiny/distill.yaml"])).read_text())
    return text(target, "c.yaml", yaml.safe_dump(spoilt_value(value, r)))


def spoilt_step(s: Seeds, r: random.Random, target: Path) -> Path:
    buffer = io.BytesIO()
    torch.save(spoilt_value({"about": {"seed": 1}, "state": {"x": [1]}}, r), buffer)
    data = r.choice([buffer.getvalue(), spoilt_bytes((s.folder / "step.pt").read_bytes(), r)])
    (target / STEP_NAME).write_bytes(data)
    return target


def keypoints(s: Seeds, r: random.Random, target: Path) -> Path:
    value = spoilt_value(r.choice(list(s.json.values())), r)
    return text(target, "k.json", r.choice([json.dumps(value), json.dumps(value)[: r.randrange(200)], "[" * 5000]))


def job_list(s: Seeds, r: random.Random, target: Path) -> Path:
    return text(target, "jobs.jsonl", json.dumps(spoilt_value(s.jobs, r)) + "\n" + json.dumps(s.jobs) + "\n")


def read_rows(path: Path) -> None:
    """The sentence of the first row that is refused."""
    _, bad = read_jobs(path, path.parent)
    if bad:
        raise InputError(bad[0].sentence)


# kind -> makes a spoilt file, and what reads it
KINDS: dict[str, tuple[Callable[..., Path], Callable[[Path], Any]]] = {
    "picture": (lambda s, r, t: s.any_bytes(PICTURES, r, t), load_picture),
    "video": (lambda s, r, t: s.any_bytes(VIDEOS, r, t), lambda path: list(open_clip(path))),
    "picture as video": (lambda s, r, t: s.any_bytes(PICTURES, r, t), lambda path: list(open_clip(path))),
    "bvh": (lambda s, r, t: s.any_bytes(("m.bvh",), r, t), read_bvh),
    "keypoints": (keypoints, read_keypoints),
    "arrays": (lambda s, r, t: s.any_bytes(("a.npz", "a.npy"), r, t), read_parts),
    "marks": (lambda s, r, t: s.any_bytes(VIDEOS, r, t), read_marks),
    "uploaded picture": (lambda s, r, t: s.any_bytes((*PICTURES, *VIDEOS), r, t), lambda p: picture_kind(p, Limits())),
    "uploaded motion": (lambda s, r, t: s.any_bytes((*PICTURES, *VIDEOS), r, t), lambda p: motion_kind(p, Limits())),
    "model": (spoilt_model, load_model),
    "training": (lambda _s, r, t: spoilt_yaml(r, t), read_settings),
    "step": (spoilt_step, lambda folder: Checkpoint(folder, {"seed": 1}).load()),
    "jobs": (job_list, read_rows),
    "bytes": (lambda _s, r, t: text(t, "x.mp4", r.randbytes(r.randrange(1, 999)).decode("latin-1")), open_clip),
    "text as motion": (lambda s, r, t: s.any_bytes(("m.bvh", "a.npy", "step.pt"), r, t), open_clip),
    "text as keypoints": (lambda s, r, t: s.any_bytes(("m.bvh", "p.png"), r, t), read_keypoints),
}


def test_there_are_two_hundred() -> None:
    assert CASES_PER_KIND * len(KINDS) >= 200


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoilt_works_or_is_one_sentence(seeds, tmp_path, kind):
    make, read = KINDS[kind]
    sentences: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(CASES_PER_KIND):
        target = tmp_path / str(number)
        target.mkdir()
        path = make(seeds, random.Random(f"{kind} {number}"), target)
        try:
            read(path)
        except (InputError, ServiceError) as error:
            sentences.append(str(error))
    assert sentences, "nothing was refused, so nothing was shown"
    assert all("\n" not in sentence and sentence.endswith(".") and len(sentence) < 2000 for sentence in sentences)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
