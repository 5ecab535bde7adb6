"""Files around the code: workflows, issue forms, and the packages that are built from it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from magicanimate.cli.main import _LAZY

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]


def steps(name: str) -> list[str]:
    """The shell lines of a workflow's jobs."""
    workflow = yaml.safe_load((GITHUB / "workflows" / name).read_text())
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_workflows_run_what_there_is():
    assert ".ci/run" in steps("test.yml")
    assert (ROOT / ".ci" / "run").is_file()
    assert "make lint" in steps("test.yml")
    lines = [line for name in ("test.yml", "build.yml") for line in steps(name)]
    commands = [command for line in lines for command in re.findall(r"(?<=magicanimate )[a-z]+", line)]
    assert {"info", "demo"} <= set(commands) <= set(_LAZY)


def test_every_workflow_only_reads():
    for path in (GITHUB / "workflows").glob("*.yml"):
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}, path


def test_reports_come_with_the_output_of_info():
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")}
    for name in ("bug", "result"):
        (field,) = [entry for entry in forms[name]["body"] if "magicanimate info" in entry["attributes"]["label"]]
        assert field["validations"]["required"]
    for name in set(forms) - {"config"}:
        assert {"name", "description", "body"} <= set(forms[name])


def test_hooks_have_the_versions_of_the_constraints():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = re.findall(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert hooks[0]["rev"] == f"v{ruff}"


def test_the_nodes_belong_to_the_same_repository_and_version():
    pack = tomllib.loads((ROOT / "comfyui" / "pyproject.toml").read_text())["project"]
    assert pack["urls"]["Repository"] == URLS["Repository"]
    assert pack["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A wheel and a source distribution."""
    if find_spec("hatchling") is None:
        pytest.skip("needs hatchling")
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "from hatchling.builders.sdist import SdistBuilder\nfrom hatchling.builders.wheel import WheelBuilder\n"
        "for builder in (SdistBuilder, WheelBuilder):\n"
        f"    print(*builder('.').build(directory={str(folder)!r}, versions=['standard']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    sdist, wheel = map(Path, ran.stdout.split())
    return {"sdist": sdist, "wheel": wheel}


def test_the_wheel_has_the_package_and_its_assets(built):
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = wheel.namelist()
        (about,) = [wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    own = [name for name in names if ".dist-info/" not in name]
    assert all(name.startswith("magicanimate/") for name in own)
    for needed in ("py.typed", "assets/tiny/model.json", "assets/demo/picture.png", "cli/demo.py"):
        assert f"magicanimate/{needed}" in own
    assert not [name for name in own if "__pycache__" in name]
    assert f"Project-URL: Repository, {URLS['Repository']}" in about
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_links_of_an_index_page_are_absolute(built):
    with zipfile.ZipFile(built["wheel"]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        text = wheel.read(name).decode()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 30
    assert [link for link in links if not re.match(r"https://|#", link)] == []
    for link in links:
        place = re.match(rf"{URLS['Repository']}/(?:blob|raw)/main/([^#]+)", link)
        assert place is None or (ROOT / place[1]).exists(), link


def test_the_source_distribution_can_be_tested(built):
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("tests/conftest.py", "comfyui/nodes.py", "constraints.txt", ".ci/run", "src/magicanimate/py.typed",
                   "SECURITY.md", ".github/workflows/test.yml", ".pre-commit-config.yaml"):  # fmt: skip
        assert needed in names
    assert not [name for name in names if name.startswith(("outputs", ".venv"))]
