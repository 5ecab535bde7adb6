"""The example workflow in a real server of ComfyUI, in the folder MAGICANIMATE_COMFYUI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from comfy_workflow import to_prompt

PACK = Path(__file__).resolve().parent.parent / "comfyui"
WORKFLOW = PACK / "example_workflows" / "animate_a_picture.json"
DEMO = PACK.parent / "src" / "magicanimate" / "assets" / "demo"


def ask(url: str, data: Any = None) -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(server: subprocess.Popen[bytes], look: Any) -> Any:
    """Wait until `look` finds something while the server runs, and return it."""
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            if found := look():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.5)
    raise AssertionError("nothing came within five minutes")


@pytest.mark.slow
@pytest.mark.skipif("MAGICANIMATE_COMFYUI" not in os.environ, reason="MAGICANIMATE_COMFYUI names no ComfyUI folder")
def test_a_real_server_runs_the_example(tmp_path):
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "magicanimate").symlink_to(PACK)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "person.png").write_bytes((DEMO / "picture.png").read_bytes())
    (tmp_path / "input" / "dance.mp4").write_bytes((DEMO / "motion.mp4").read_bytes())
    main, port = Path(os.environ["MAGICANIMATE_COMFYUI"]) / "main.py", 8400 + os.getpid() % 500
    command = [sys.executable, str(main), "--cpu", "--port", str(port), "--base-directory", str(tmp_path),
               "--disable-api-nodes"]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=main.parent)
    try:
        info = wait_for(server, lambda: ask(f"{url}/object_info"))
        assert "MagicAnimate_Animate" in info, (tmp_path / "log").read_text()
        prompt = to_prompt(json.loads(WORKFLOW.read_text()), info)
        prompt["4"]["inputs"]["max_frames"] = 4
        number = ask(f"{url}/prompt", {"prompt": prompt})["prompt_id"]
        done = wait_for(server, lambda: ask(f"{url}/history/{number}").get(number))
        assert done["status"]["status_str"] == "success", done["status"]
        (video,) = (tmp_path / "output" / "video").glob("*.mp4")
        from magicanimate.media import open_clip

        assert len(list(open_clip(video))) == 4
        assert list((tmp_path / "output").glob("motion_*.bvh"))
        page = f"{url}/extensions/magicanimate/docs/MagicAnimate_Animate.md"
        with urllib.request.urlopen(page, timeout=30) as answer:
            assert answer.read().startswith(b"# Animate")
    finally:
        server.terminate()
        server.wait()
