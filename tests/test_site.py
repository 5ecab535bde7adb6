"""The documentation as a site."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def site_nav() -> dict[str, list[str]]:
    """Return the kinds of pages with their pages, as the site's navigation has them."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert nav[0] == "index.md"
    return {kind: pages for section in nav[1:] for kind, pages in section.items()}


def test_the_navigation_has_what_the_index_lists():
    sections = re.split(r"^## ", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    links = {text.splitlines()[0]: set(re.findall(r"\]\(([\w/-]+\.md)", text)) for text in sections}
    assert {kind: set(pages) for kind, pages in site_nav().items()} == links


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason="the extra site is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    built = build(ROOT, tmp_path / "site")
    assert built.returncode == 0, built.stderr
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("MagicAnimatePipeline.from_pretrained", "Video.save", "AnimateSettings", "Client", "Evaluation.add"):
        assert name in api
    machines = (tmp_path / "site" / "machines" / "index.html").read_text(encoding="utf-8")
    assert "https://github.com/magicanimate/magicanimate/blob/main/.github/workflows/test.yml" in machines
    for page in (tmp_path / "site").rglob("*.html"):
        assert 'href="https://fonts' not in page.read_text(encoding="utf-8")


def test_a_broken_link_is_a_warning(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[nowhere](no-such-page.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: small\ntheme: {name: material}\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode == 1
    assert "no-such-page.md" in built.stderr


def test_the_workflow_builds_it_strictly():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["docs"]["steps"]
    assert "python -m mkdocs build --strict" in [step.get("run") for step in steps]
    kept = steps[-1]["with"]["path"]
    assert kept == yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["site_dir"]
