"""A stand-in for the parts of ComfyUI that the nodes use: schemas of its V3 interface, folders, progress, videos."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


class _Socket:
    def __init__(self, id: str | None = None, optional: bool = False, **options: Any) -> None:
        self.id, self.optional, self.options = id, optional, options
        self.type = type(self).__qualname__


def _kind(name: str) -> Any:
    sockets = {side: type(side, (_Socket,), {"__qualname__": name}) for side in ("Input", "Output")}
    return SimpleNamespace(**sockets)


class Schema(SimpleNamespace):
    """Description of a node."""

    def object_info(self) -> dict[str, Any]:
        """Return the description that the server sends to the page."""
        found: dict[str, Any] = {"required": {}, "optional": {}}
        for socket in self.inputs:
            found["optional" if socket.optional else "required"][socket.id] = [socket.type, socket.options]
        return {
            "input": found,
            "output": [socket.type for socket in self.outputs],
            "output_name": [socket.options["display_name"] for socket in self.outputs],
        }


class ComfyNode:
    """Base of nodes."""


class NodeOutput:
    def __init__(self, *values: Any) -> None:
        self.result = values


class ComfyExtension:
    """Base of extensions."""


class ProgressBar:
    told: list[int] = []  # noqa: RUF012  of all bars

    def __init__(self, total: int) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int) -> None:
        self.told.append(value)


class Interrupted(Exception):
    """The user stopped the run."""


class VideoFromFile:
    """A video that lies in a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def save_to(self, path: str) -> None:
        shutil.copy(self.path, path)


def modules(root: Path, stopped: list[bool]) -> dict[str, ModuleType]:
    """The modules by name. root: has input, output and temp. stopped: not empty once the user interrupts."""
    names = ("Boolean", "Combo", "Float", "Image", "Int", "Mask", "String", "Video")
    io = SimpleNamespace(
        **{name: _kind(name.upper()) for name in names},
        Custom=_kind, ComfyNode=ComfyNode, Schema=Schema, NodeOutput=NodeOutput,
    )  # fmt: skip

    def throw() -> None:
        if stopped:
            raise Interrupted

    def save_path(prefix: str, folder: str) -> tuple[str, str, int, str, str]:
        return folder, prefix, 1, "", prefix

    made = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw, "get_torch_device": lambda: "cpu",
        },
        "folder_paths": {
            **{f"get_{kind}_directory": lambda kind=kind: str(root / kind) for kind in ("input", "output", "temp")},
            "get_save_image_path": save_path,
        },
        "comfy_api": {},
        "comfy_api.latest": {
            "io": io, "ComfyExtension": ComfyExtension, "InputImpl": SimpleNamespace(VideoFromFile=VideoFromFile),
        },
    }  # fmt: skip
    found = {}
    for name, values in made.items():
        found[name] = ModuleType(name)
        vars(found[name]).update(values)
    found["comfy"].utils, found["comfy"].model_management = found["comfy.utils"], found["comfy.model_management"]
    return found


def run(node: Any, **given: Any) -> tuple[Any, ...]:
    """Run a node with defaults for missing inputs; return its outputs."""
    schema = node.define_schema()
    values = {s.id: s.options["default"] for s in schema.inputs if "default" in s.options} | given
    needed = {socket.id for socket in schema.inputs if not socket.optional}
    assert needed <= set(values), needed - set(values)
    assert set(values) <= {socket.id for socket in schema.inputs}
    result = node.execute(**values).result
    assert len(result) == len(schema.outputs)
    return result


def forget(prefix: str) -> None:
    """Take a package out of the loaded modules."""
    for name in [name for name in sys.modules if name.partition(".")[0] == prefix]:
        del sys.modules[name]
