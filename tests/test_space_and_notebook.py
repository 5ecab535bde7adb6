"""The Space and the notebook do what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml

from magicanimate.media import open_clip

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "quickstart.py"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    source = NOTEBOOK.read_text(encoding="utf-8")
    small = source.replace('FRAMES, SIZE = 24, "256x256"', 'FRAMES, SIZE = 2, "64x64"')
    assert small != source
    (tmp_path / "quickstart.py").write_text(small, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path("quickstart.py")
    assert names["video"].frames.shape[0] == 2
    assert len(list(open_clip(tmp_path / "outputs" / "quickstart.mp4"))) == 2
    corner = names["green"].frames[0, :4, :4].mean((0, 1))
    assert np.abs(corner - (0x2E, 0x8B, 0x57)).max() < 8
    assert np.abs(names["video"].frames[0, :4, :4].mean((0, 1)) - corner).max() > 8


def test_jupytext_reads_the_notebook():
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed")
    cells = jupytext.read(NOTEBOOK).cells
    assert [cell.cell_type for cell in cells][:2] == ["markdown", "code"]
    assert sum(cell.cell_type == "code" for cell in cells) == 6


def front_matter() -> dict:
    """Read the settings of a Space: between the first two lines of dashes."""
    text = (ROOT / "space" / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---\n")[1])


def test_a_space_is_described():
    about = front_matter()
    assert about["sdk"] == "gradio"
    assert (ROOT / "space" / about["app_file"]).is_file()
    assert len(about["short_description"]) <= 60
    assert {about["colorFrom"], about["colorTo"]} <= {
        "red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray",
    }  # fmt: skip
    pinned = re.search(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert about["sdk_version"] == pinned[1]


def test_a_space_serves_the_page_to_the_hub(tmp_path, monkeypatch):
    testclient = pytest.importorskip("fastapi.testclient", reason="the extra serve is not installed")
    from magicanimate.serve.app import create_app

    monkeypatch.setenv("SPACE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPACE_HOST", "someone-magicanimate.hf.space")
    options = runpy.run_path(str(ROOT / "space" / "app.py"))["options"]
    client = testclient.TestClient(create_app(options), base_url="https://someone-magicanimate.hf.space")
    page = client.get("/")
    assert page.status_code == 200
    assert "frame-ancestors 'self' https://huggingface.co;" in page.headers["content-security-policy"] + ";"
    assert "x-frame-options" not in page.headers
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 421
    alone = testclient.TestClient(create_app(options.model_copy(update={"embedders": (), "page": False})))
    answer = alone.get("/api/v1/models", headers={"host": "localhost"})
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "huggingface" not in answer.headers["content-security-policy"]
