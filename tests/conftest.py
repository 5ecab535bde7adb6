"""Fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from magicanimate.person.layers import LayeredPerson

settings.register_profile("no deadline", deadline=None)  # tests run in parallel, on machines of any speed
settings.load_profile("no deadline")

# Files that take long, roughly the longest first: begun last, one of them would leave the other workers idle at the
# end. `make quick` leaves them out.
LONG_FILES = [
    "serve/test_page.py", "test_check.py", "train/test_recipes.py", "test_background.py", "test_edit_motion.py",
    "serve/test_jobs.py", "train/test_loop.py", "test_drawings.py", "test_train_fit.py", "test_benchmarks.py",
    "test_real_clips.py", "test_checkpoint.py", "train/test_prepare.py", "batch/test_batch.py", "serve/test_ray.py",
    "serve/test_kills.py", "test_ranks.py", "body/test_fit.py", "person/test_find.py", "person/test_track_person.py",
    "person/test_removal.py", "person/test_scene.py", "person/test_outpainting.py", "synth/test_synth.py",
    "evaluate/test_evaluate_command.py", "test_plain.py", "test_cli.py", "test_synthdance.py", "test_comfyui.py",
    "test_diffusers_habits.py", "train/test_memory.py", "train/test_options.py", "train/test_distill.py",
    "train/test_train.py", "test_space_and_notebook.py", "test_acceleration.py", "evaluate/test_packaged.py",
    "synth/test_benchmark.py", "test_bad_input.py", "test_fused.py", "synth/test_wardrobe.py", "test_cuda_graphs.py",
    "motion/test_palettes.py", "motion/test_open.py", "motion/test_keypoints.py", "serve/test_openapi.py",
    "motion/test_align.py", "test_gpu_session.py", "serve/test_api.py", "motion/test_report.py",
    "motion/test_track_people.py", "synth/test_camera_effects.py", "evaluate/features/test_frechet_networks.py",
    "test_official.py", "test_official_fetch.py", "test_models.py", "test_models_cli.py", "test_parity.py",
    "test_pipeline.py", "test_reuse.py", "test_lora.py", "test_sampler.py", "test_untrusted.py", "test_site.py",
    "test_imports.py", "test_info_and_demo.py", "train/test_controls.py", "train/test_detail.py",
    "train/test_study.py", "train/test_decoder.py", "train/test_prepare_parts.py", "train/test_model_surgery.py",
    "test_real_pairs.py", "test_project_files.py", "test_bare_machine.py", "test_fuzz.py", "motion/test_motion_out.py",
]  # fmt: skip
PLACE = {Path(__file__).resolve().parent / name: index for index, name in enumerate(LONG_FILES)}
REAL_INPUTS = Path(__file__).resolve().parents[2] / "shared" / "inputs"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import long files where none of their tests is wanted."""
    return True if collection_path in PLACE and "not long" in config.getoption("markexpr") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first and marked, the others as they were found."""
    items.sort(key=lambda item: PLACE.get(item.path, len(PLACE)))
    for item in items:
        if item.path in PLACE:
            item.add_marker("long")


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
def picture() -> np.ndarray:
    """The studio's picture, [H, W, 3] uint8."""
    from magicanimate.media import load_picture
    from magicanimate.serve.page.examples import SHELF

    return load_picture(SHELF["studio"].picture)


@pytest.fixture(scope="session")
def person(picture: np.ndarray) -> LayeredPerson:
    """The layers of the person in `picture`."""
    from layered import layered

    return layered(picture)


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
