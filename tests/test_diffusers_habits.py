"""Habits of people who know diffusers' pipelines: loading, saving, moving, calling, the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import loopback_hub
from figures import walking_parts
from magicanimate import InputError, MagicAnimatePipeline
from magicanimate.body.kinematics import angle_map, limits
from magicanimate.models.model import DIFFUSERS_CLASSES
from magicanimate.motion.placing.fit_parts import fit_parts, fit_parts_once
from magicanimate.parts.densepose import render_parts

PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
MOTION_PARTS = walking_parts(4)
MOTION = render_parts(MOTION_PARTS)
SHARED_BY_HABIT = """
import sys
import torch
from magicanimate import InputError, MagicAnimatePipeline

pipe = MagicAnimatePipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32).to("cpu")
print(pipe.push_to_hub("somebody/walker", private=True, token="hf_secret", commit_message="first"))
again = MagicAnimatePipeline.from_pretrained(
    "somebody/walker", revision="v1", cache_dir=sys.argv[2], token="hf_secret", torch_dtype=torch.float32
)
offline = MagicAnimatePipeline.from_pretrained(
    "somebody/walker", revision="v1", cache_dir=sys.argv[2], local_files_only=True
)
for other in (again, offline):
    same = zip(pipe.model.denoiser.parameters(), other.model.denoiser.parameters(), strict=True)
    print(all(torch.equal(a, b) for a, b in same))
for name, options in [("somebody/nobody", {}), ("somebody/walker", {"revision": "v9"}), ("somebody/empty", {})]:
    try:
        MagicAnimatePipeline.from_pretrained(name, cache_dir=sys.argv[2], **options)
    except InputError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def pipe(model_folder) -> MagicAnimatePipeline:
    return MagicAnimatePipeline.from_pretrained(str(model_folder), torch_dtype=torch.float32).to("cpu")


def test_a_script_by_habit(pipe, tmp_path):
    seen = []

    def on_step(pipeline, step, timestep, tensors):
        seen.append((pipeline is pipe, step, tuple(tensors["latents"].shape)))
        return tensors

    pipe.enable_vae_slicing()
    output = pipe(
        image=PICTURE, motion=MOTION, num_inference_steps=2, guidance_scale=1.5, num_frames=3, height=48, width=64,
        generator=torch.Generator("cpu").manual_seed(7), output_type="pil", callback_on_step_end=on_step,
    )  # fmt: skip
    pipe.disable_vae_slicing()
    frames = output.frames[0]
    assert [frame.size for frame in frames] == [(64, 48)] * 3
    assert seen == [(True, step, (1, 6, 3, 6, 8)) for step in (0, 1)]
    assert output.video.settings["settings"]["guidance"] == 1.5
    assert output.video.save(tmp_path / "video.mp4").is_file()
    assert output.fps == 25


def test_frames_in_every_form(pipe):
    plain, arrays, tensors, pictures = (
        pipe(PICTURE, MOTION, steps=1, output_type=kind) for kind in (None, "np", "pt", "pil")
    )
    frames_FHWC = plain.frames
    assert arrays.frames.shape == (1, 4, 64, 64, 3)
    assert np.array_equal(np.rint(arrays.frames[0] * 255), frames_FHWC)
    assert torch.equal(tensors.frames, torch.from_numpy(arrays.frames).permute(0, 1, 4, 2, 3))
    assert np.array_equal(np.stack(pictures.frames[0]), frames_FHWC)


def test_a_generator_gives_the_seed_and_goes_on(pipe):
    def frames(generator):
        return pipe(PICTURE, MOTION, steps=1, generator=generator).frames

    generator = torch.Generator().manual_seed(5)
    first, second, again = frames(generator), frames(generator), frames([torch.Generator().manual_seed(5)])
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_latents_of_the_callback_are_gone_on_with(pipe):
    unchanged, zeroed = (
        pipe(PICTURE, MOTION, steps=2, callback_on_step_end=callback).frames
        for callback in (lambda *_: None, lambda pipe, step, t, tensors: {"latents": tensors["latents"] * 0})
    )
    assert np.array_equal(unchanged, pipe(PICTURE, MOTION, steps=2).frames)
    assert not np.array_equal(unchanged, zeroed)
    assert all(np.array_equal(frame, zeroed[0]) for frame in zeroed)


def test_slicing_decodes_frame_by_frame(pipe):
    def stages():
        told = []
        pipe(PICTURE, MOTION, steps=1, progress=lambda *event: told.append(event))
        return [done for stage, done, _ in told if stage == "decode"]

    usual = stages()
    pipe.enable_vae_slicing()
    assert (usual, stages()) == ([4], [1, 2, 3, 4])
    pipe.disable_vae_slicing()
    assert stages() == usual


def test_saved_and_loaded_again(pipe, model_folder, tmp_path):
    pipe.save_pretrained(tmp_path / "mine")
    again = MagicAnimatePipeline.from_pretrained(tmp_path / "mine")
    first, second = (each(PICTURE, MOTION, steps=1).frames for each in (pipe, again))
    assert np.array_equal(first, second)
    index = json.loads((tmp_path / "mine" / "model_index.json").read_text())
    assert index.pop("_class_name") == "MagicAnimatePipeline"
    assert index.pop("_diffusers_version")
    assert index == {name: ["diffusers", kind] for name, kind in DIFFUSERS_CLASSES.items()}
    assert (model_folder / "model_index.json").is_file()


def test_moving_to_a_number_format(model_folder):
    pipe = MagicAnimatePipeline.from_pretrained(model_folder, device="cpu", dtype=torch.float32)
    before = pipe.model
    assert pipe.to("cpu") is pipe
    assert pipe.to(torch.device("cpu"), torch.float32).model is before
    stored = pipe.to(torch.bfloat16).model.denoiser.time_embedding.linear_1
    assert pipe.model is not before
    assert not hasattr(stored, "weight") or stored.weight.dtype == torch.bfloat16
    assert pipe(PICTURE, MOTION, steps=1).frames.shape == (4, 64, 64, 3)
    assert pipe.to(dtype=torch.float32).model.denoiser.time_embedding.linear_1.weight.dtype == torch.float32


def test_weights_in_8_bit_are_not_saved(model_folder, tmp_path):
    pytest.importorskip("torchao")
    pipe = MagicAnimatePipeline.from_pretrained(model_folder, device="cpu", quantize="int8")
    with pytest.raises(InputError, match="8 bit or packed"):
        pipe.save_pretrained(tmp_path / "q")


def test_bodies_are_fitted_in_inference_mode_too():
    angle_map.cache_clear()
    limits.cache_clear()
    with torch.inference_mode():
        first = fit_parts_once(MOTION_PARTS, 25)
    assert np.array_equal(first.pose_FP, fit_parts(MOTION_PARTS, 25).pose_FP)
    assert fit_parts_once(iter(MOTION_PARTS.copy()), 25) is first, "fitted once to the same maps"
    with pytest.raises(InputError):  # to others anew
        fit_parts_once(np.zeros_like(MOTION_PARTS), 25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 1, "num_inference_steps": 2}, "num_inference_steps and steps are the same"),
        ({"height": 64}, "height and width go together"),
        ({"height": 64, "width": 64, "size": "64x64"}, "height and width and size are the same"),
        ({"generator": [torch.Generator(), torch.Generator()]}, "one generator instead of 2"),
        ({"output_type": "latent"}, "Unknown output_type 'latent': choose np, pil, pt"),
        ({"output_type": "np", "stream": True}, "leave output_type out"),
    ],
)
def test_bad_arguments(pipe, arguments, message):
    with pytest.raises(InputError, match=message):
        pipe(PICTURE, MOTION, **arguments)


def test_bad_ways_to_load(model_folder):
    with pytest.raises(InputError, match="dtype and torch_dtype are the same"):
        MagicAnimatePipeline.from_pretrained(model_folder, dtype="float32", torch_dtype=torch.float32)
    with pytest.raises(InputError, match=r"Unknown dtype 'torch\.int8'"):
        MagicAnimatePipeline.from_pretrained(model_folder, torch_dtype=torch.int8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(pipe):
    for move in (lambda: pipe.to("cuda"), pipe.enable_model_cpu_offload, lambda: pipe.enable_model_cpu_offload(1)):
        with pytest.raises(InputError, match="not available on this machine"):
            move()
    assert pipe(PICTURE, MOTION[:1], steps=1).frames.shape[0] == 1


@pytest.mark.slow
def test_to_the_hub_and_back(model_folder, tmp_path):
    with loopback_hub.running() as hub:
        hub.files["somebody/empty"] = {"config.json": b"{}"}
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", SHARED_BY_HABIT, str(model_folder), str(tmp_path / "cache")]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert ran.returncode == 0, ran.stderr
        lines = ran.stdout.splitlines()
        assert lines[0].startswith(f"{hub.url}/somebody/walker")
        assert lines[1:3] == ["True", "True"]
        assert lines[3].startswith("There is no model folder somebody/nobody here, and none can be fetched")
        assert lines[4].startswith("There is no model folder somebody/walker here, and none can be fetched")
        assert lines[5] == "somebody/empty on the Hugging Face hub is not a model folder: it has no model.json."
        assert "Bearer hf_secret" in hub.tokens
        stored = hub.files["somebody/walker"]
        assert stored["model.json"] == (model_folder / "model.json").read_bytes()
        assert {"model_index.json", "vae/config.json"} <= set(stored)
