"""Fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # tests run in parallel, on machines of any speed
settings.load_profile("no deadline")

# Files that take long, the longest first: begun last, one of them would leave the other workers idle at the end.
LONG_FILES = [
    "serve/test_page.py", "train/test_recipes.py", "serve/test_jobs.py", "train/test_loop.py", "test_train_fit.py",
    "test_benchmarks.py", "test_real_clips.py", "test_ranks.py", "test_checkpoint.py", "train/test_prepare.py",
    "test_check.py", "batch/test_batch.py", "synth/test_synth.py", "test_plain.py", "test_drawings.py",
    "test_cli.py", "test_synthdance.py", "test_background.py", "test_comfyui.py", "test_diffusers_habits.py",
    "train/test_memory.py", "train/test_options.py", "train/test_distill.py", "test_space_and_notebook.py",
]  # fmt: skip
REAL_INPUTS = Path(__file__).resolve().parents[2] / "shared" / "inputs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the others as they were found."""
    root = Path(__file__).resolve().parent
    place = {root / name: index for index, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A model folder in the shipped model's style, random weights."""
    from magicanimate.models.model import save_model
    from random_models import random_model

    folder = tmp_path_factory.mktemp("models") / "parts"
    save_model(random_model("parts"), folder)
    return folder


@pytest.fixture(scope="session")
def rgb_model_folder(tmp_path_factory) -> Path:
    """A model folder in the official model's style, random weights."""
    from magicanimate.models.model import save_model
    from random_models import random_model

    folder = tmp_path_factory.mktemp("models") / "rgb"
    save_model(random_model("rgb"), folder)
    return folder


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skip tests that render where rendering is not possible."""
    pytest.importorskip("moderngl", reason="moderngl is not installed")
    from magicanimate.errors import InputError
    from magicanimate.synth.render import Renderer

    try:
        Renderer(16)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """Pictures and DensePose clips that lie beside the project."""
    if not REAL_INPUTS.is_dir():
        pytest.skip("no real inputs beside the project")
    return REAL_INPUTS


@pytest.fixture(scope="session")
def motion_path(tmp_path_factory) -> Path:
    """A DensePose clip of 12 frames, 64x64, 25 fps, through real H.264."""
    from figures import walking_parts
    from magicanimate.media.video import save_frames
    from magicanimate.parts.densepose import render_parts

    path = tmp_path_factory.mktemp("motion") / "walk.mp4"
    return save_frames(iter(render_parts(walking_parts(12))), path, 25, {})


@pytest.fixture(scope="session")
def picture_path(tmp_path_factory) -> Path:
    """A picture, 80 wide and 100 high, with some structure."""
    from PIL import Image

    rows, columns = np.mgrid[0:100, 0:80]
    image_HWC = np.stack([rows * 2, columns * 3, (rows + columns) % 64 * 4], -1).astype(np.uint8)
    path = tmp_path_factory.mktemp("picture") / "person.png"
    Image.fromarray(image_HWC).save(path)
    return path
