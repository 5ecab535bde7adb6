"""Rasterising people with moderngl: the picture, the DensePose part map and the distance to the camera.

Works headless through EGL, on a GPU or on Mesa's software renderer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magicanimate.body.rig import BodyShape
from magicanimate.body.template import template
from magicanimate.synth.graphics import (
    ATTRIBUTES,
    COMMON,
    LAYOUT,
    SKIN,
    BodyMesh,
    PartDrawer,
    Viewpoint,
    send_joints,
    shader,
    shared_context,
)
from magicanimate.synth.mesh import dressed_vertices, loose_pieces
from magicanimate.synth.outfit import Outfit

if TYPE_CHECKING:
    import moderngl

_SHADERS = Path(__file__).parent / "shaders"
MAX_PEOPLE = 2


@dataclass(frozen=True)
class Camera:
    """Looks along +y. center_x, center_z: the point in the picture's middle (meters); distance from the plane y = 0."""

    center_x: float
    center_z: float
    distance: float
    focal: float  # half picture heights at distance 1

    def view(self) -> Viewpoint:
        return Viewpoint(self.center_x, self.center_z, self.distance, (self.focal, self.focal))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points [N,3] to picture coordinates in [0,1], x to the right and y down. -> [N,2]."""
        depth = points[:, 1] + self.distance
        x = self.focal * (points[:, 0] - self.center_x) / depth
        y = -self.focal * (points[:, 2] - self.center_z) / depth
        return np.stack([x, y], 1) * 0.5 + 0.5


@dataclass(frozen=True)
class Light:
    direction: tuple[float, float, float]
    color: tuple[float, float, float]
    ambient: tuple[float, float, float]


class _Outside:
    """A dressed person without the body's far side, which costs the long shader much time and is never seen."""

    def __init__(self, everything: moderngl.VertexArray, of_body: int) -> None:
        self._everything, self._of_body = everything, of_body

    def render(self) -> None:
        context = self._everything.ctx
        context.cull_face = "front"  # rows run downwards (skin.glsl), so that OpenGL takes far sides for near ones
        context.enable(context.CULL_FACE)
        self._everything.render(vertices=self._of_body)
        context.disable(context.CULL_FACE)
        if rest := self._everything.vertices - self._of_body:
            self._everything.render(first=self._of_body, vertices=rest)

    def release(self) -> None:
        self._everything.release()


class RenderedPerson:
    """One person's geometry on the GPU."""

    def __init__(self, renderer: Renderer, shape: BodyShape, outfit: Outfit, rng: np.random.Generator) -> None:
        body = template()
        vertices = dressed_vertices(body, shape)
        extra, extra_triangles = loose_pieces(body, shape, outfit, rng, start=len(vertices))
        self.shape, self.outfit = shape, outfit
        self.naked = BodyMesh(renderer.drawer, shape)
        context = renderer.context
        self._buffer = context.buffer(np.concatenate([vertices, extra]).tobytes())
        self._indices = context.buffer(np.concatenate([body.triangles, extra_triangles]).tobytes())
        content = [(self._buffer, f"{LAYOUT} 3f 3f", *ATTRIBUTES, "in_along", "in_misc")]
        self.clothed = context.vertex_array(renderer.body, content, self._indices)
        if renderer.rich:
            self.clothed = _Outside(self.clothed, body.triangles.size)

    def release(self) -> None:
        for item in (self.naked, self.clothed, self._buffer, self._indices):
            item.release()


class Renderer:
    """Square pictures of one size. For use in the thread that made it: see graphics.py on contexts."""

    def __init__(self, size: int, rich: bool = False) -> None:
        self.size, self.rich = size, rich
        self.context = context = shared_context()
        self.drawer = PartDrawer(context, (size, size))
        more = ("wardrobe.glsl",) if rich else ()  # a program of its own, so that the plain one stays as it was
        surface = (COMMON, *(_SHADERS / name for name in ("cover.glsl", *more)))
        painted = (_SHADERS / name for name in ("body.frag", *(("wardrobe.frag",) if rich else ())))
        self.body = context.program(shader(*surface, SKIN, _SHADERS / "body.vert"), shader(*surface, *painted))
        self.backdrop = context.program(shader(_SHADERS / "backdrop.vert"), shader(_SHADERS / "backdrop.frag"))
        corners = context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._screen = context.vertex_array(self.backdrop, [(corners, "2f", "in_corner")])
        shape = (size, size)
        samples = min(4, context.max_samples)
        self._smooth = context.framebuffer(
            context.renderbuffer(shape, 4, samples=samples), context.depth_renderbuffer(shape, samples=samples)
        )
        self._plain = context.framebuffer(context.renderbuffer(shape, 4))

    def _set(self, name: str, value: object) -> None:
        if name in self.body:  # the compiler drops uniforms that it finds unused
            self.body[name] = value

    def picture(
        self,
        people: list[tuple[RenderedPerson, np.ndarray]],
        camera: Camera,
        light: Light,
        backdrop: np.ndarray,
        shadows: list[tuple[float, float, float, float]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render people (geometry, joint transforms [J,3,4]) before a backdrop [H,W,3] in [0,1].

        Returns the picture [H,W,3] uint8, and where it shows people with hair and clothes [H,W] bool.
        """
        texture = self.context.texture(
            backdrop.shape[1::-1], 3, (backdrop * 255).astype(np.uint8).tobytes(), alignment=1
        )
        texture.use(0)
        self.backdrop["shadow"] = (shadows + [(0.0, 0.0, 1.0, 0.0)] * MAX_PEOPLE)[:MAX_PEOPLE]
        self._smooth.use()
        self._smooth.clear(depth=1.0)
        self._screen.render(self._screen.ctx.TRIANGLE_STRIP)
        camera.view().use(self.body)
        self._set("light", light.direction)
        self._set("light_color", light.color)
        self._set("ambient", light.ambient)
        for person, transforms in people:
            for name, value in person.outfit.uniforms.items():
                self._set(name, value)
            self._set("eye", tuple(person.shape.point("eye.L")))
            self._set("mouth", tuple(person.shape.point("mouth")))
            send_joints(self.body, transforms)
            person.clothed.render()
        self.context.copy_framebuffer(self._plain, self._smooth)
        texture.release()
        pixels = np.frombuffer(self._plain.read(components=4), np.uint8).reshape(self.size, self.size, 4)
        return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] > 127

    def part_map(
        self, people: list[tuple[RenderedPerson, np.ndarray]], camera: Camera
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return DensePose parts [H,W] uint8 and distance to the camera plane [H,W] float32; 0 is background."""
        self.drawer.draw(((person.naked, transforms) for person, transforms in people), camera.view())
        return self.drawer.parts(), self.drawer.distance()
