"""A workflow of ComfyUI as the prompt that its page sends."""

from __future__ import annotations

from typing import Any

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def to_prompt(workflow: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Convert a workflow to the page's prompt; check names, types, counts. info: of the nodes, by the server."""
    links = {link[0]: link for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        known = info[node["type"]]["input"]
        sockets = known.get("required", {}) | known.get("optional", {})
        values, inputs = list(node["widgets_values"]), {}
        for name, (kind, *options) in sockets.items():
            if isinstance(kind, list) or kind in WIDGETS:
                inputs[name] = values.pop(0)
                extra = options[0] if options else {}
                if any(extra.get(more) for more in ("control_after_generate", "image_upload", "video_upload")):
                    values.pop(0)
        assert values == [], node["type"]
        for socket in node["inputs"]:
            assert socket["name"] in sockets, (node["type"], socket)
            if socket["link"] is not None:
                _, source, place, _, _, kind = links[socket["link"]]
                assert kind == socket["type"] or socket["type"] == "*"
                origin = next(other for other in workflow["nodes"] if other["id"] == source)
                assert info[origin["type"]]["output"][place] == kind
                inputs[socket["name"]] = [str(source), place]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt
