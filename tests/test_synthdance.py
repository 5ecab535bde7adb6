"""The study's script: methods through one protocol, kept results, tables and comparisons."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

pytest.importorskip("moderngl", reason="moderngl is not installed")

from benchmarks.synthdance import Study, animator, clips, main

from magicanimate.synth.benchmark import build

SIZE = 64


@pytest.fixture(scope="module")
def study(tmp_path_factory, opengl):
    folder = tmp_path_factory.mktemp("study")
    build(folder / "test", SIZE, people=2, motions=1)
    content = {
        "data": str(folder / "test"), "ours": "ours", "people": 2, "motions": 1,
        "methods": {
            "copy": {"kind": "copy"}, "warp": {"kind": "warp"},
            "ours": {"kind": "model", "folder": "tiny", "sampling": {"steps": 1, "guidance": 1.0}},
            "per-frame": {
                "kind": "model", "folder": "tiny", "noise": "independent", "sampling": {"steps": 1, "guidance": 1.0}
            },
        },
        "comparisons": [{"title": "layers", "with_it": "ours", "without": "per-frame", "paper": "better with them"}],
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    main([str(path), "--out", str(folder / "out")])
    return path


def test_every_method_has_its_result_and_the_tables_name_them(study):
    out = study.parent / "out"
    tables = (out / "tables.md").read_text()
    assert "2 people, clips at 64x64" in tables
    assert "| copy | 2 |" in tables
    assert all(f"| {name} |" in tables for name in ("copy", "warp", "ours", "per-frame"))
    assert "better with them" in tables
    assert "stand-in frame distance" in tables
    assert "FID" not in tables
    found = json.loads((out / "comparisons.json").read_text())
    assert set(found) == {"ours against copy", "ours against warp", "ours against per-frame", "layers"}
    assert (out / "sheet.png").stat().st_size > 1000


def test_copying_shows_no_change_and_the_wrong_pose(study):
    out = study.parent / "out"
    copy, warp = (json.loads((out / f"{name}.json").read_text()) for name in ("copy", "warp"))
    for row in copy["rows"]:
        assert row["values"]["Background flicker"] == 0
    shapes = [np.mean([row["values"]["Silhouette IoU"] for row in one["rows"]]) for one in (copy, warp)]
    assert shapes[0] < shapes[1]


def test_results_are_kept(study, capsys):
    out = study.parent / "out"
    before = (out / "copy.json").stat().st_mtime_ns
    main([str(study), "--out", str(out), "--methods", "copy"])
    assert (out / "copy.json").stat().st_mtime_ns == before
    (out / "copy.json").unlink()
    main([str(study), "--out", str(out), "--methods", "copy"])
    assert (out / "copy.json").exists()


def test_seeds_are_further_clips_and_quick_has_one(study, tmp_path):
    content = yaml.safe_load(study.read_text())
    content["methods"]["per-frame"]["seeds"] = 2
    path, out = tmp_path / "study.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(content))
    for given, clips_of_two in (([], 4), (["--quick"], 2)):  # the second does not take the first's for its own
        main([str(path), "--out", str(out), "--methods", "per-frame", *given])
        rows = json.loads((out / "per-frame.json").read_text())["rows"]
        assert len(rows) == clips_of_two
        assert len({json.dumps(row["values"], sort_keys=True) for row in rows}) == clips_of_two, "noise of their own"
        assert f"| per-frame | {clips_of_two} |" in (out / "tables.md").read_text()
        assert (out / "changes.png").stat().st_size > 500


def test_methods_are_told_apart(study):
    plan = Study.model_validate(yaml.safe_load(study.read_text()))
    clip = next(clips(plan, 1, 1))
    frames = {name: animator(method)([clip], 0)[0] for name, method in plan.methods.items()}
    assert all(f.shape == clip.rgb[1:].shape and f.dtype == np.uint8 for f in frames.values())
    assert (frames["copy"] == clip.rgb[0]).all()
    for a, b in (("copy", "warp"), ("warp", "ours"), ("ours", "per-frame")):
        assert (frames[a] != frames[b]).any()


def test_what_warps_is_shown_hair_and_clothes_of_the_reference(study):
    plan = Study.model_validate(yaml.safe_load(study.read_text()))
    clip = next(clips(plan, 1, 1))
    bare = replace(clip, own=clip.parts[0])
    made = {name: animator(m) for name, m in plan.methods.items()}
    changed = {name: (make([clip], 0)[0] != make([bare], 0)[0]).any() for name, make in made.items()}
    assert changed == {"copy": False, "warp": True, "ours": True, "per-frame": True}


def test_a_study_without_its_data_says_what_to_do(study, tmp_path, capsys):
    content = yaml.safe_load(study.read_text()) | {"data": str(tmp_path / "nothing")}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")])
    assert "holds no benchmark; build it with: magicanimate synth" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
