"""Rasterising people with moderngl: the picture, the DensePose part map and the distance to the camera.

Works headless through EGL, on a GPU or on Mesa's software renderer.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magicanimate.errors import InputError
from magicanimate.synth.body import JOINT_NAMES, REGION_PARTS, REGIONS, BodyShape, template
from magicanimate.synth.mesh import body_vertices, loose_pieces
from magicanimate.synth.outfit import Outfit

_SHADERS = Path(__file__).parent / "shaders"
_ATTRIBUTES = (
    "in_position", "in_normal", "in_joints", "in_weights", "in_region0", "in_region1", "in_region2", "in_region3",
    "in_split", "in_along", "in_misc",
)  # fmt: skip
_LAYOUT = "3f 3f 4f 4f 4f 4f 4f 2f 3f 3f 3f"
MAX_PEOPLE = 2


@dataclass(frozen=True)
class Camera:
    """Looks along +y. centre_x, centre_z: the point in the picture's middle (metres); distance from the plane y = 0."""

    centre_x: float
    centre_z: float
    distance: float
    focal: float  # half picture heights at distance 1

    def as_tuple(self) -> tuple[float, float, float, float]:
        return self.centre_x, self.centre_z, self.distance, self.focal

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points [N,3] to picture coordinates in [0,1], x to the right and y down. -> [N,2]."""
        depth = points[:, 1] + self.distance
        x = self.focal * (points[:, 0] - self.centre_x) / depth
        y = -self.focal * (points[:, 2] - self.centre_z) / depth
        return np.stack([x, y], 1) * 0.5 + 0.5


@dataclass(frozen=True)
class Light:
    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]


def _source(name: str, shared: bool) -> str:
    common = (_SHADERS / "common.glsl").read_text() if shared else ""
    body = (_SHADERS / name).read_text().replace("JOINT_COUNT", str(len(JOINT_NAMES)))
    return "#version 330\n" + common + body


class Person:
    """One person's geometry on the GPU."""

    def __init__(self, renderer: "Renderer", shape: BodyShape, outfit: Outfit, rng: np.random.Generator) -> None:
        body = template()
        vertices = body_vertices(body, shape)
        extra, extra_triangles = loose_pieces(body, shape, outfit, rng, start=len(vertices))
        self.shape, self.outfit = shape, outfit
        context = renderer.context
        self._buffer = context.buffer(np.concatenate([vertices, extra]).tobytes())
        self._naked_indices = context.buffer(body.triangles.tobytes())
        self._clothed_indices = context.buffer(np.concatenate([body.triangles, extra_triangles]).tobytes())
        content = [(self._buffer, _LAYOUT, *_ATTRIBUTES)]
        self.naked = context.vertex_array(renderer.body, content, self._naked_indices)
        self.clothed = context.vertex_array(renderer.body, content, self._clothed_indices)

    def release(self) -> None:
        for item in (self.naked, self.clothed, self._buffer, self._naked_indices, self._clothed_indices):
            item.release()


class Renderer:
    """Square pictures of one size. One per process: OpenGL contexts must not cross a fork."""

    def __init__(self, size: int) -> None:
        try:
            import moderngl

            self.context = moderngl.create_context(standalone=True, backend="egl")
        except ImportError as error:
            raise InputError("Rendering needs moderngl; install it with: pip install 'magicanimate[train]'.") from error
        except Exception as error:  # moderngl raises bare Exception for every EGL fault
            raise InputError(
                f"No OpenGL through EGL on this machine ({error}); "
                "on Debian or Ubuntu install libegl1 and libgl1-mesa-dri."
            ) from error
        self.size = size
        context = self.context
        context.enable(moderngl.DEPTH_TEST)
        self.body = context.program(_source("body.vert", True), _source("body.frag", True))
        self.backdrop = context.program(_source("backdrop.vert", False), _source("backdrop.frag", False))
        corners = context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._screen = context.vertex_array(self.backdrop, [(corners, "2f", "in_corner")])
        self._strip = moderngl.TRIANGLE_STRIP
        shape = (size, size)
        samples = min(4, context.max_samples)
        self._smooth = context.framebuffer(
            [
                context.renderbuffer(shape, 4, samples=samples),
                context.renderbuffer(shape, 1, samples=samples, dtype="f4"),
            ],
            context.depth_renderbuffer(shape, samples=samples),
        )
        self._plain = context.framebuffer(
            [context.renderbuffer(shape, 4), context.renderbuffer(shape, 1, dtype="f4")],
            context.depth_renderbuffer(shape),
        )
        self._set("parts", [p for region in REGIONS for p in REGION_PARTS[region]])

    def _set(self, name: str, value: object) -> None:
        if name in self.body:  # the compiler drops uniforms that it finds unused
            self.body[name] = value

    def _pose(self, transforms: np.ndarray) -> None:
        # GLSL's mat4x3 is column-major: send each [3,4] matrix transposed
        self.body["joints"].write(np.ascontiguousarray(transforms.transpose(0, 2, 1)).astype(np.float32).tobytes())

    def picture(
        self,
        people: list[tuple[Person, np.ndarray]],
        camera: Camera,
        light: Light,
        backdrop: np.ndarray,
        shadows: list[tuple[float, float, float, float]],
    ) -> np.ndarray:
        """RGB of people (geometry, joint transforms [J,3,4]) before a backdrop [H,W,3] in [0,1]. -> [H,W,3] uint8."""
        texture = self.context.texture(
            backdrop.shape[1::-1], 3, (backdrop * 255).astype(np.uint8).tobytes(), alignment=1
        )
        texture.use(0)
        self.backdrop["shadow"] = (shadows + [(0.0, 0.0, 1.0, 0.0)] * MAX_PEOPLE)[:MAX_PEOPLE]
        self._smooth.use()
        self._smooth.clear(depth=1.0)
        self._screen.render(self._strip)
        self._set("clothed", True)
        self._set("camera", camera.as_tuple())
        self._set("light", light.direction)
        self._set("light_colour", light.colour)
        self._set("ambient", light.ambient)
        for person, transforms in people:
            for name, value in person.outfit.uniforms.items():
                self._set(name, value)
            self._set("eye", tuple(person.shape.eye))
            self._set("mouth", tuple(person.shape.mouth))
            self._pose(transforms)
            person.clothed.render()
        self.context.copy_framebuffer(self._plain, self._smooth)
        texture.release()
        return np.frombuffer(self._plain.read(components=3, alignment=1), np.uint8).reshape(self.size, self.size, 3)

    def part_map(self, people: list[tuple[Person, np.ndarray]], camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """DensePose parts [H,W] uint8 (0 background) and distance to the camera plane [H,W] float32 (0 background)."""
        self._plain.use()
        self._plain.clear(depth=1.0)
        self._set("clothed", False)
        self._set("camera", camera.as_tuple())
        for person, transforms in people:
            self._pose(transforms)
            person.naked.render()
        shape = (self.size, self.size)
        parts = np.frombuffer(self._plain.read(components=1, alignment=1), np.uint8).reshape(shape)
        distance = np.frombuffer(self._plain.read(components=1, attachment=1, dtype="f4", alignment=1), np.float32)
        return parts, distance.reshape(shape)
