"""Imports: data flows one way, and nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "magicanimate"

# In the order of the data flow: a folder imports only itself and folders further up in this list.
FOLDERS = [
    "errors",
    "untrusted",
    "compiled",
    "progress",
    "files",
    "version",
    "provenance",
    "downloads",
    "media",
    "parts",
    "body",
    "person",
    "motion",
    "networks",
    "models",
    "engine",
    "conditions",
    "sampling",
    "animation",
    "check",
    "synth",
    "data",
    "evaluate",
    "train",
    "batch",
    "serve",
    "client",
    "cli",
    "__main__",
]
WITHOUT_NETWORKS = ["media", "parts.densepose", "synth.contact_sheet", "sampling.windows", "errors"]
LIGHT = [
    "magicanimate",
    "magicanimate.cli.main",
    "magicanimate.errors",
    "magicanimate.cli.models",
    "magicanimate.cli.motion",
    "magicanimate.provenance",
]
HEAVY = ["torch", "diffusers", "transformers", "av", "numpy", "moderngl", "numba", "ai_edge_litert", "huggingface_hub"]


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


def row(name: str) -> int | None:
    """Place of a module's folder in the list."""
    folder = name.partition(".")[0]
    return FOLDERS.index(folder) if folder in FOLDERS else None


def wrong_arrows(name: str, source: str) -> list[str]:
    own = row(name)
    return [
        f"{name} imports {other}"
        for other in sorted(imported(source))
        if own is not None and (theirs := row(other)) is not None and theirs > own
    ]


def test_every_module_has_a_row():
    assert [name for name in modules() if name and row(name) is None] == []


def test_a_folder_imports_only_what_comes_before_it():
    wrong = {arrow for name, path in modules().items() for arrow in wrong_arrows(name, path.read_text())}
    assert wrong == set()


def test_an_upward_import_is_seen():
    source = "def f():\n    from magicanimate.sampling.loop import sample\n"
    assert wrong_arrows("networks.denoiser", source) == ["networks.denoiser imports sampling.loop.sample"]
    assert wrong_arrows("sampling.loop", "from magicanimate.networks.denoiser import Denoiser\n") == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("synth.clip", "train.run"),
        ("synth.dataset", "train.cache"),
        ("body.rig", "synth.render"),
        ("models.model", "engine.acceleration"),
        ("sampling.loop", "train.objective"),
        ("evaluate.basic", "train.preview"),
    ],
)
def test_folders_have_their_order(name, other):
    assert wrong_arrows(name, f"from magicanimate.{other} import x\n") == [f"{name} imports {other}.x"]
    assert wrong_arrows(other, f"from magicanimate.{name} import x\n") == []


def test_nothing_inside_imports_the_package_itself():
    users = [name for name, path in modules().items() if name != "" and imports_package(path.read_text())]
    assert users == []
    assert imports_package("from magicanimate import InputError\n")
    assert imports_package("import magicanimate\n")
    assert not imports_package("from magicanimate import errors\n")


def imports_package(source: str) -> bool:
    """Return True if a public name is imported from the package's own `__init__`."""
    return any(
        (
            isinstance(node, ast.ImportFrom)
            and node.module == "magicanimate"
            and any(a.name not in modules() for a in node.names)
        )
        or (isinstance(node, ast.Import) and any(alias.name == "magicanimate" for alias in node.names))
        for node in ast.walk(ast.parse(source))
    )


def test_no_modules_import_each_other():
    files = modules()
    arrows = {name: targets(path.read_text(), files) - {name} for name, path in files.items()}
    assert circles(arrows) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def targets(source: str, files: dict[str, Path]) -> set[str]:
    """Modules that a source imports, and not the names in them."""
    return {other if other in files else other.rpartition(".")[0] for other in imported(source)} & set(files)


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach one another."""
    reach = {name: set(others) for name, others in arrows.items()}
    for middle in reach:
        for others in reach.values():
            if middle in others:
                others |= reach[middle]
    groups = [{other for other in reach[name] if name in reach.get(other, ())} for name in reach]
    return [group for index, group in enumerate(groups) if group and group not in groups[:index]]


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
    assert "diffusers" in reachable("networks.denoiser")


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("name", [name for name in LIGHT if (name.partition(".")[2] or "") in modules()])
def test_importing_stays_light(name):
    assert loaded_by(f"import {name}") == set()


def test_baselines_of_the_study_are_not_loaded_at_run_time():
    code = "import sys, magicanimate.animation.pipeline, magicanimate.models.model, magicanimate.engine.acceleration\n"
    code += "print(*(name for name in sys.modules if name.startswith('magicanimate.networks.')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in result.stdout.split()}
    assert not loaded & {"gan", "global_embedding"}
    assert "denoiser" in loaded


@pytest.mark.slow
@pytest.mark.parametrize(("more", "loaded"), [([], False), (["--no-detail"], True)])
def test_a_person_is_drawn_without_loading_networks(tmp_path, more, loaded):
    example, out = PACKAGE / "assets" / "examples" / "studio", tmp_path / "out.mp4"
    words = ["animate", "--image", str(example / "picture.png"), "--motion", str(example / "motion.mp4"), *more]
    words += ["--size", "64x64", "--max-frames", "2", "--steps", "1", "--no-audio", "-o", str(out)]
    code = f"import sys\nfrom magicanimate.cli.main import main\nsys.argv[1:] = {words!r}\n"
    code += "try:\n    main()\nexcept SystemExit:\n    print('diffusers' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.exists(), ran.stderr
    assert ran.stdout.split()[-1:] == [str(loaded)]


@pytest.mark.parametrize(
    ("module", "works"), [("magicanimate.train.run", True), ("diffusers.loaders.StableDiffusionLoraLoaderMixin", False)]
)
def test_training_needs_no_transformers(module, works):
    folder, _, name = module.rpartition(".")
    code = f"import sys\nsys.modules['transformers'] = None\nfrom {folder} import {name}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode == 0) is works, ran.stderr


def test_a_heavy_import_is_seen():
    assert loaded_by("import numpy") == {"numpy"}


def test_importing_the_pipeline_says_nothing():
    """torchao and diffusers warn of kernels for other machines, if torchao is installed."""
    code = "from magicanimate import MagicAnimatePipeline"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""
