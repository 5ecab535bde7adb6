"""Which module may import which (design: data flows one way), and that nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "magicanimate"

# From the top of the data flow to its bottom; a module imports only from its own row or from rows further down.
LAYERS = [
    {"__main__", "serve", "client"},
    {"cli"},
    {"batch"},
    {
        "models_cli",
        "animate_cli",
        "check_cli",
        "motion_cli",
        "synth.cli",
        "train.cli",
        "evaluate.cli",
        "provenance.cli",
    },
    {"train.run"},
    {"train.config"},
    {"train.detail", "train.distill", "train.fit", "train.initial"},
    {"train.diffusion", "train.vae", "train.gan", "train.standin"},
    {"train", "evaluate"},
    {"baselines"},
    {"pipeline", "hub", "progress"},
    {"doctor"},
    {"job"},
    {"motion.sources"},
    {"motion.extract", "motion.keypoints", "motion.bvh"},
    {"motion.clip", "motion.torchscript", "motion.wholebody"},
    {"motion.joints"},
    {"settings"},
    {
        "sampler",
        "motion.signal",
        "motion.planes",
        "motion.align",
        "motion.cast",
        "motion.retarget",
        "motion.reference",
        "media",
    },
    {"acceleration"},
    {"models"},
    {"official"},
    {"stepping", "resume"},
    {"downloads"},
    {"places", "weights", "solvers", "guidance", "policies", "banks"},
    {"global_embedding"},
    {"official_layout", "denoiser", "fused", "appearance", "detail"},
    {"conditions", "warped"},
    {"control"},
    {"attention", "windows", "latents"},
    {"operations", "kernels", "graphs", "cpu_layers"},
    {"synth"},
    {"synth.dance"},
    {"synth.dataset"},
    {"synth.controls", "synth.filmed"},
    {"synth.clip"},
    {"synth.render"},
    {"synth.mesh", "synth.pose", "synth.wardrobe"},
    {"synth.accessories"},
    {"synth.loose"},
    {"synth.outfit", "synth.background"},
    {"person"},
    {"person.segmentation"},
    {"person.networks"},
    {"body"},
    {"body.people"},
    {"body.fit"},
    {"body.girth"},
    {"body.draw", "body.track", "body.smoothing"},
    {"body.graphics", "body.motion"},
    {"body.kinematics", "body.template", "body.bones"},
    {"body.rig"},
    {"coordinates", "config", "runtime", "motion"},
    {"provenance"},
    {"errors", "evaluate.basic"},
]
WITHOUT_NETWORKS = ["media", "motion.densepose", "synth.sheet", "windows", "errors"]
LIGHT = [
    "magicanimate",
    "magicanimate.cli",
    "magicanimate.errors",
    "magicanimate.models_cli",
    "magicanimate.motion_cli",
    "magicanimate.provenance",
]
HEAVY = ["torch", "diffusers", "transformers", "av", "numpy", "anny", "moderngl", "mediapipe", "huggingface_hub"]


def modules() -> dict[str, Path]:
    """Name below the package, without `.__init__` -> file."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(source: str) -> set[str]:
    """Modules below `magicanimate` that the source imports, anywhere in it, except for type checking only."""
    found = set()
    tree = ast.parse(source)
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("magicanimate.") for name in found if name.startswith("magicanimate.")}


def layer(name: str) -> int | None:
    """Row of a module, or of something in it, by the longest name that the table has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for row, names in enumerate(LAYERS):
            if ".".join(parts[:length]) in names:
                return row
    return None


def wrong_arrows(name: str, source: str) -> list[str]:
    own = layer(name)
    return [
        f"{name} imports {other}"
        for other in sorted(imported(source))
        if own is not None and (row := layer(other)) is not None and row < own
    ]


def test_every_module_has_a_row():
    assert [name for name in modules() if name and layer(name) is None] == []


def test_imports_go_down():
    wrong = [arrow for name, path in modules().items() for arrow in wrong_arrows(name, path.read_text())]
    assert wrong == []


def test_an_upward_import_is_seen():
    assert wrong_arrows("windows", "def f():\n    from magicanimate.sampler import sample\n") != []
    assert wrong_arrows("sampler", "from magicanimate.windows import schedule\n") == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("synth.clip", "train.run"),
        ("synth.dataset", "models"),
        ("body.rig", "synth.render"),
        ("train.loop", "train.run"),
        ("sampler", "train.objective"),
        ("evaluate.basic", "synth.clip"),
    ],
)
def test_generator_training_and_figures_have_their_order(name, other):
    assert wrong_arrows(name, f"from magicanimate.{other} import x\n") == [f"{name} imports {other}.x"]
    assert wrong_arrows(other, f"from magicanimate.{name} import x\n") == []


def test_basic_figures_need_only_numpy():
    assert reachable("evaluate.basic") == {"numpy"}
    assert reachable("train.preview") > {"numpy", "torch"}


def reachable(name: str) -> set[str]:
    """Everything imported by a module's file at its top level or inside, following modules of the package."""
    seen: set[str] = set()
    waiting = [name]
    files = modules()
    while waiting:
        current = waiting.pop()
        if current in seen or current not in files:
            continue
        seen.add(current)
        for other in imported(files[current].read_text()):
            waiting += [other, other.rpartition(".")[0]]
    roots = set()
    for module in seen:
        for node in ast.walk(ast.parse(files[module].read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                roots.add(node.module.split(".")[0])
    return roots


@pytest.mark.parametrize("name", [name for name in WITHOUT_NETWORKS if name in modules()])
def test_no_network_library(name):
    assert reachable(name) & {"diffusers", "transformers"} == set()


def test_a_network_library_is_seen():
    assert "diffusers" in reachable("denoiser")


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("name", [name for name in LIGHT if (name.partition(".")[2] or "") in modules()])
def test_importing_stays_light(name):
    assert loaded_by(f"import {name}") == set()


def test_a_heavy_import_is_seen():
    assert loaded_by("import numpy") == {"numpy"}
