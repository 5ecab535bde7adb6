"""One clip: a person (sometimes two), a motion, a place and a camera, all drawn from one seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from magicanimate.body.rig import CARRIERS, JOINT_INDEX, POINT_NAMES, BodyShape, body_shape
from magicanimate.synth.background import random_background
from magicanimate.synth.outfit import random_outfit
from magicanimate.synth.pose import joint_transforms, pose_at, random_motion
from magicanimate.synth.render import Camera, Light, RenderedPerson, Renderer
from magicanimate.synth.wardrobe import STREAM, enriched, random_further_light

SPLITS = {"train": 0, "test": 1}
MOTION_SECONDS = 14.0
_TWO_PEOPLE = 0.05


@dataclass(frozen=True)
class GeneratedClip:
    """Frames of one person in one place. parts and distance see the naked body, rgb the clothed one."""

    rgb: np.ndarray  # [F,H,W,3] uint8
    parts: np.ndarray  # [F,H,W] uint8, DensePose part 0..24
    person: np.ndarray  # [F,H,W] bool, where people with their hair and clothes are
    distance: np.ndarray  # [F,H,W] float32 meters, 0 where there is nobody
    joints: np.ndarray  # [F,J,2] float32, picture coordinates in [0,1] of the first person's joints (rig.JOINT_NAMES)
    stature: float  # the first person's standing height in heights of the picture
    people: int
    points: np.ndarray  # [F,P,S,2] float32, picture coordinates of all people's points (rig.POINT_NAMES)


@lru_cache(maxsize=4)
def _renderer(size: int, rich: bool) -> Renderer:
    return Renderer(size, rich)


def _random_camera(rng: np.random.Generator, height: float, people: int) -> Camera:
    """Return framings of phone clips: whole figure, to the knee, to the hips, upper body."""
    low, high = ((-0.10, 1.16), (0.22, 1.1), (0.36, 1.08), (0.5, 1.08))[rng.choice(4, p=[0.42, 0.22, 0.23, 0.13])]
    low, high = low + 0.04 * rng.standard_normal(), high + rng.choice([0.04, 0.14, -0.04]) * rng.random()
    extent = (high - low) * height * (1.15 if people == 2 else 1.0)
    distance = height * rng.uniform(1.6, 3.2)
    return Camera(
        center_x=float(0.10 * extent * rng.standard_normal()),
        center_z=float((low + high) / 2 * height),
        distance=float(distance),
        focal=float(2 * distance / extent),
    )


def _random_light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.45, 1.0), rng.uniform(0.1, 0.9)])
    strength = rng.uniform(0.25, 0.75)
    tint = np.clip(1 + 0.06 * rng.standard_normal(3), 0.8, 1.2)
    level = rng.uniform(0.9, 1.12)
    return Light(
        direction=tuple(direction / np.linalg.norm(direction)),
        color=tuple(strength * level * tint),
        ambient=tuple((1.02 - strength) * level * (2 - tint)),
    )


def _shadow(
    camera: Camera, transforms: np.ndarray, person: RenderedPerson, darkness: float
) -> tuple[float, float, float, float]:
    feet = np.stack([joint_position(transforms, person.shape, f"foot.{s}") for s in "LR"])
    feet[:, 2] = 0
    at = camera.project(feet)
    width = max(0.10, float(np.ptp(at[:, 0]))) * 0.9 + 0.04
    return float(at[:, 0].mean()), float(at[:, 1].mean()), width, darkness


def joint_position(transforms: np.ndarray, shape: BodyShape, joint: str) -> np.ndarray:
    """Return the world position of a joint. [J,3,4] -> [3]."""
    i = JOINT_INDEX[joint]
    return transforms[i, :, :3] @ shape.joints[i] + transforms[i, :, 3]


def body_points(transforms: np.ndarray, shape: BodyShape) -> np.ndarray:
    """Return the world positions of the rig's points, each carried by its joint. [J,3,4] -> [S,3]."""
    carriers = [JOINT_INDEX[CARRIERS.get(name, name)] for name in POINT_NAMES]
    return (transforms[carriers, :, :3] @ shape.points[:, :, None])[..., 0] + transforms[carriers, :, 3]


def _projected(scene: list[tuple[RenderedPerson, np.ndarray]], camera: Camera) -> tuple[np.ndarray, list[np.ndarray]]:
    """Project the first person's joints [J,2] and everybody's body points into the picture."""
    person, transforms = scene[0]
    world = np.stack([joint_position(transforms, person.shape, name) for name in JOINT_INDEX])
    points = [camera.project(body_points(transforms, person.shape)) for person, transforms in scene]
    return camera.project(world).astype(np.float32), points


def render_clip(
    seed: int,
    times: np.ndarray,
    size: int = 256,
    split: str = "train",
    motion_seed: int | None = None,
    rich: bool = False,
) -> GeneratedClip:
    """Render the clip of a seed at the given times.

    seed: draws the person, the place and the camera; the same on every machine and in every process.
    times: [F] seconds within 0..MOTION_SECONDS; any order.
    split: "train" or "test"; the same seed gives different people in each.
    motion_seed: draws the motion; by default the seed itself.
    rich: people get accessories, folds and more (wardrobe.py), and nothing else changes.
    """
    streams = [np.random.default_rng([SPLITS[split], seed, k]) for k in range(4)]
    looks, place, lens, extra = streams
    motions = np.random.default_rng([SPLITS[split], seed if motion_seed is None else motion_seed, 9])
    renderer = _renderer(size, rich)
    wardrobe = np.random.default_rng([SPLITS[split], seed, STREAM])
    further_light = random_further_light(wardrobe)
    count = 2 if extra.random() < _TWO_PEOPLE else 1
    people: list[RenderedPerson] = []
    tracks = []
    for i in range(count):
        outfit = random_outfit(looks)
        if rich:
            outfit = enriched(outfit, further_light, wardrobe)
        people.append(RenderedPerson(renderer, body_shape(outfit.phenotype), outfit, looks))
        poses = pose_at(*random_motion(motions, MOTION_SECONDS), np.asarray(times, np.float64))
        track = np.stack([joint_transforms(pose, people[i].shape) for pose in poses])
        track[..., 0, 3] += (0.36 if i else -0.36) * (count - 1)
        tracks.append(track)
    camera = _random_camera(lens, people[0].shape.height, count)
    light = _random_light(place)
    backdrop, floor = random_background(place, size)
    darkness = place.uniform(0.15, 0.5) if floor else 0.0
    frames = []
    for f in range(len(times)):
        scene = [(person, track[f]) for person, track in zip(people, tracks, strict=True)]
        shadows = [_shadow(camera, transforms, person, darkness) for person, transforms in scene]
        picture, seen = renderer.picture(scene, camera, light, backdrop, shadows)
        parts, distance = renderer.part_map(scene, camera)
        frames.append((picture, parts, seen, distance, *_projected(scene, camera)))
    for person in people:
        person.release()
    stature = 0.5 * camera.focal * people[0].shape.height / camera.distance
    *columns, points = zip(*frames, strict=True)
    rgb, part_maps, seen_by_frame, far, joints = map(np.stack, columns)
    return GeneratedClip(rgb, part_maps, seen_by_frame, far, joints, stature, count, np.array(points, np.float32))
