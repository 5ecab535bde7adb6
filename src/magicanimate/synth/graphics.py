"""Renders generated people with moderngl, headless through EGL, on a GPU or on Mesa's software renderer.

Shape legend: V vertices, J joints, H W pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.body.rig import JOINT_NAMES, REGIONS, BodyShape
from magicanimate.body.template import REGION_PARTS, template
from magicanimate.errors import InputError, absent_library, cannot_import

if TYPE_CHECKING:
    import moderngl

_SHADERS = Path(__file__).parent / "shaders"
COMMON, SKIN = _SHADERS / "common.glsl", _SHADERS / "skin.glsl"
"""Shader files for others to include: regions of the surface; skinning and projection."""
ATTRIBUTES = (
    "in_position", "in_normal", "in_joints", "in_weights", "in_region0", "in_region1", "in_region2", "in_region3",
    "in_split",
)  # fmt: skip
LAYOUT = "3f 3f 4f 4f 4f 4f 4f 2f 3f"
NEAR_AND_DEPTH = (0.3, 12.0)
"""Meters: the nearest distance that is drawn, and how far behind it the farthest is."""


@dataclass(frozen=True)
class Viewpoint:
    """A camera that looks along +y."""

    center_x: float
    center_z: float
    distance: float  # from the plane y = 0
    focal: tuple[float, float]  # half picture widths and heights at distance 1
    span: tuple[float, float] = NEAR_AND_DEPTH

    def use(self, program: moderngl.Program) -> None:
        """Send it to a program that includes skin.glsl."""
        program["camera"] = (self.center_x, self.center_z, self.distance)
        program["focal"] = self.focal
        program["span"] = self.span


_current = threading.local()


def shared_context() -> moderngl.Context:
    """Return this thread's OpenGL context, without a window; made at the first call.

    There is one for each thread, because OpenGL's calls go to whatever context is current in the thread: with two, the
    one that was made later would silently get the calls that are meant for the other. It must not cross a fork.

    Raises:
        InputError: moderngl or EGL is missing.
    """
    if not hasattr(_current, "context"):
        _current.context = _open_context()
    return _current.context


def _open_context() -> moderngl.Context:
    try:
        import moderngl

        context = moderngl.create_context(standalone=True, backend="egl")
    except ImportError as error:
        raise cannot_import("Generating people", "moderngl", "pip install 'magicanimate[train]'", error) from error
    except Exception as error:  # moderngl raises bare Exception for every EGL fault
        lacking = absent_library(error) or "a driver of OpenGL; on Debian or Ubuntu: apt-get install libgl1-mesa-dri"
        raise InputError(f"Generating people needs OpenGL through EGL ({error}), and that needs {lacking}.") from error
    context.enable(moderngl.DEPTH_TEST)
    return context


def shader(*files: Path) -> str:
    """Return the source of one stage, from files that follow each other."""
    pieces = [file.read_text() for file in files]
    return "\n".join(["#version 330", *pieces]).replace("JOINT_COUNT", str(len(JOINT_NAMES)))


def body_vertices(shape: BodyShape) -> np.ndarray:
    """Return the values of ATTRIBUTES, [V, 31] float32: position, normal, joints, weights, regions, splits."""
    body = template()
    columns = (
        shape.vertices, shape.normals, body.joint_indices, body.joint_weights, body.region_weights, body.split,
    )  # fmt: skip
    return np.concatenate(columns, 1).astype(np.float32)


def send_joints(program: moderngl.Program, transforms_J34: np.ndarray) -> None:
    """GLSL's mat4x3 is column-major: each [3,4] matrix goes transposed."""
    program["joints"].write(np.ascontiguousarray(transforms_J34.transpose(0, 2, 1)).astype(np.float32).tobytes())


class BodyMesh:
    """A naked body on the GPU."""

    def __init__(self, drawer: PartDrawer, shape: BodyShape) -> None:
        context = drawer.context
        self._buffers = [context.buffer(body_vertices(shape).tobytes()), context.buffer(template().triangles.tobytes())]
        content = [(self._buffers[0], LAYOUT, *ATTRIBUTES)]
        self.array = context.vertex_array(drawer.program, content, self._buffers[1])

    def release(self) -> None:
        """Give its memory back."""
        for item in (self.array, *self._buffers):
            item.release()


class PartDrawer:
    """Part maps, distances and normals of one picture size (height, width)."""

    def __init__(self, context: moderngl.Context, size: tuple[int, int]) -> None:
        self.context, self.size = context, size
        self.program = context.program(shader(SKIN, _SHADERS / "parts.vert"), shader(COMMON, _SHADERS / "parts.frag"))
        shape = (size[1], size[0])
        self._frame = context.framebuffer(
            [
                context.renderbuffer(shape, 4),
                context.renderbuffer(shape, 1, dtype="f4"),
                context.renderbuffer(shape, 4),
            ],
            context.depth_renderbuffer(shape),
        )
        self.program["parts"] = [part for region in REGIONS for part in REGION_PARTS[region]]

    def draw(self, bodies: Iterable[tuple[BodyMesh, np.ndarray]], view: Viewpoint) -> None:
        """Draw bodies with their joint transforms [J,3,4]; the nearest surface wins."""
        self._frame.use()
        self._frame.clear(depth=1.0)
        view.use(self.program)
        for mesh, transforms_J34 in bodies:
            send_joints(self.program, transforms_J34)
            mesh.array.render()

    def parts(self) -> np.ndarray:
        """Return DensePose parts [H,W] uint8 of what was drawn, 0 background."""
        return np.frombuffer(self._frame.read(components=1, alignment=1), np.uint8).reshape(self.size)

    def distance(self) -> np.ndarray:
        """Return the distance to the camera plane [H,W] float32 meters, 0 background."""
        data = self._frame.read(components=1, attachment=1, dtype="f4", alignment=1)
        return np.frombuffer(data, np.float32).reshape(self.size)

    def normals(self) -> np.ndarray:
        """Return surface normals [H,W,3] uint8 (to the right, up, towards the camera; 128 is 0), 0 background."""
        data = self._frame.read(components=3, attachment=2, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(*self.size, 3)

    def release(self) -> None:
        """Give its memory back."""
        for item in (*self._frame.color_attachments, self._frame.depth_attachment, self._frame, self.program):
            item.release()
