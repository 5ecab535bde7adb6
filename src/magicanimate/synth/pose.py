"""Poses and motion: random, balanced, rhythmic; and the joint transforms that they mean for a body.

A pose is a dict of named numbers (radians unless said), so that motion is plain interpolation between key poses.
"""

import numpy as np

from magicanimate.body.rig import JOINT_INDEX, JOINT_NAMES, PARENTS, BodyShape

_ARM = ("raise", "forward", "elbow", "hinge_up", "hinge_in", "hand", "fingers")
_LEG = ("lift", "open", "knee")
POSE_FIELDS = (
    "yaw", "lean", "roll", "shift_x", "bend", "side", "twist", "head_yaw", "head_pitch", "head_roll",
    *(f"{field}.{s}" for s in "LR" for field in _ARM + _LEG),
)  # fmt: skip
FIELD_INDEX = {name: i for i, name in enumerate(POSE_FIELDS)}

# Arm key poses: (raise from hanging, towards the front, elbow, hinge up, hinge inwards)
_ARM_KEYS = {
    "hanging": (0.18, 0.1, 0.25, 0.0, 0.3),
    "hip": (0.75, -0.25, 1.65, -0.2, 1.0),
    "chest": (0.45, 0.45, 2.15, 0.9, 0.9),
    "out": (1.45, 0.15, 0.25, 0.6, 0.2),
    "up": (2.65, 0.35, 0.45, 0.5, 0.4),
    "bent_up": (1.35, 0.35, 1.8, 1.2, 0.0),
    "front": (1.2, 1.25, 0.4, 0.8, 0.2),
    "run": (0.45, 0.3, 1.6, 0.8, 0.25),
    "behind": (0.5, -0.6, 0.5, 0.0, 0.3),
    "head": (2.0, 0.4, 2.2, 0.8, 0.9),
    "belly": (0.3, 0.35, 1.45, 0.1, 1.1),
}
_ARM_WEIGHTS = np.array([4, 2, 3, 2, 2, 2, 1.2, 2.5, 0.7, 0.8, 2])


def random_pose(rng: np.random.Generator, energy: float, turn: float) -> np.ndarray:
    """Draw one key pose [P]. `energy` 0..1 widens legs' and trunk's range; `turn` is the yaw's standard deviation."""
    pose = dict.fromkeys(POSE_FIELDS, 0.0)
    normal = rng.standard_normal
    pose["yaw"] = turn * normal()
    pose["lean"] = 0.08 * normal() + 0.12 * energy * max(0.0, normal())
    pose["roll"] = 0.07 * energy * normal()
    pose["shift_x"] = 0.10 * energy * normal()
    pose["bend"] = 0.12 * normal() + 0.06
    pose["side"] = 0.13 * energy * normal()
    pose["twist"] = 0.22 * energy * normal()
    pose["head_yaw"] = 0.32 * normal() - 0.3 * np.clip(pose["yaw"], -1, 1)
    pose["head_pitch"] = 0.16 * normal()
    pose["head_roll"] = 0.12 * normal()
    keys = list(_ARM_KEYS.values())
    mirrored = rng.random() < 0.3
    first = rng.choice(len(keys), p=_ARM_WEIGHTS / _ARM_WEIGHTS.sum())
    for s in "LR":
        key = keys[first if mirrored else rng.choice(len(keys), p=_ARM_WEIGHTS / _ARM_WEIGHTS.sum())]
        values = np.array(key) + np.array([0.16, 0.2, 0.25, 0.3, 0.25]) * normal(5)
        for field, value in zip(_ARM[:5], values, strict=True):
            pose[f"{field}.{s}"] = value
        pose[f"raise.{s}"] = np.clip(pose[f"raise.{s}"], 0.08, 2.9)
        pose[f"elbow.{s}"] = np.clip(pose[f"elbow.{s}"], 0.05, 2.4)
        pose[f"hand.{s}"] = 0.25 * normal()
        pose[f"fingers.{s}"] = np.clip(0.4 + 0.5 * normal(), 0, 1.3)
        lift = energy * max(0.0, 0.45 * normal())
        pose[f"lift.{s}"] = lift
        pose[f"open.{s}"] = np.clip(0.08 + 0.14 * energy * abs(normal()), 0, 0.7)
        pose[f"knee.{s}"] = np.clip(1.5 * lift + 0.12 * abs(normal()), 0.03, 1.9)
    if rng.random() < 0.12 * energy:  # knees together: a crouch
        for s in "LR":
            pose[f"lift.{s}"], pose[f"knee.{s}"] = 0.75 + 0.1 * normal(), 1.25 + 0.1 * normal()
        pose["lean"] += 0.25
    return np.array([pose[name] for name in POSE_FIELDS])


def random_motion(rng: np.random.Generator, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return key poses on the beats of a rhythm: times [N] in seconds and poses [N,P]; interpolate with `pose_at`."""
    energy = rng.uniform(0.1, 1.0)
    beat = rng.uniform(0.45, 0.95)
    times = np.arange(-beat, seconds + 2 * beat, beat)
    heading = rng.choice([0.0, 0.0, 0.0, 0.5, -0.5, 1.2, -1.2, np.pi], p=[0.3, 0.2, 0.12, 0.1, 0.1, 0.07, 0.07, 0.04])
    turn = rng.choice([0.2, 0.45, 0.9], p=[0.5, 0.35, 0.15])
    poses = np.stack([random_pose(rng, energy, turn) for _ in times])
    keep = rng.random((len(times), 1)) < 0.45 * (1 - energy)  # calm people hold a pose for more than a beat
    for i in range(1, len(times)):
        poses[i] = np.where(keep[i], 0.85 * poses[i - 1] + 0.15 * poses[i], poses[i])
    poses[:, FIELD_INDEX["yaw"]] += heading
    return times, poses


def pose_at(times: np.ndarray, poses: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolate poses at times t [F] by cubic Hermite curves (momentum carries through the keys). -> [F,P]."""
    i = np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2)
    u = ((t - times[i]) / (times[i + 1] - times[i]))[:, None]
    tangents = 0.5 * (np.roll(poses, -1, 0) - np.roll(poses, 1, 0)) * 0.7
    tangents[[0, -1]] = 0
    return (
        (2 * u**3 - 3 * u**2 + 1) * poses[i]
        + (u**3 - 2 * u**2 + u) * tangents[i]
        + (-2 * u**3 + 3 * u**2) * poses[i + 1]
        + (u**3 - u**2) * tangents[i + 1]
    )


def _axis_rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    j, k = (axis + 1) % 3, (axis + 2) % 3
    rotation[j, j] = rotation[k, k] = c
    rotation[j, k], rotation[k, j] = -s, s
    return rotation


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the smallest rotation that takes direction a to direction b. [3], [3] -> [3,3]."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cross, cosine = np.cross(a, b), a @ b
    k = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + k + k @ k / max(1 + cosine, 1e-4)


def _perpendicular(v: np.ndarray, axis: np.ndarray) -> np.ndarray:
    v = v - (v @ axis) * axis
    return v / max(np.linalg.norm(v), 1e-6)


def _arm_directions(get, s: str) -> tuple[np.ndarray, np.ndarray]:
    """Return directions of upper and lower arm in the chest's frame (x left, y back, z up)."""
    sign = 1.0 if s == "L" else -1.0
    raised, forward = get(f"raise.{s}"), get(f"forward.{s}")
    upper = np.array([sign * np.sin(raised) * np.cos(forward), -np.sin(raised) * np.sin(forward), -np.cos(raised)])
    hinge = _perpendicular(np.array([-sign * get(f"hinge_in.{s}"), -0.8, get(f"hinge_up.{s}")]), upper)
    elbow = get(f"elbow.{s}")
    return upper, np.cos(elbow) * upper + np.sin(elbow) * hinge


def _leg_directions(get, s: str) -> tuple[np.ndarray, np.ndarray]:
    """Return directions of thigh and shin in the hips' frame."""
    sign = 1.0 if s == "L" else -1.0
    lift, opened, knee = get(f"lift.{s}"), get(f"open.{s}"), get(f"knee.{s}")
    thigh = np.array([sign * np.sin(opened), -np.sin(lift) * np.cos(opened), -np.cos(lift) * np.cos(opened)])
    back = _perpendicular(np.array([0.0, 1.0, -0.3]), thigh)
    return thigh, np.cos(knee) * thigh + np.sin(knee) * back


def _rotations(pose: np.ndarray, joints: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the world rotation of every joint."""

    def get(name: str) -> float:
        return float(pose[FIELD_INDEX[name]])

    hips = _axis_rotation(2, get("yaw"))
    out = {"pelvis": hips @ _axis_rotation(0, 0.5 * get("lean")) @ _axis_rotation(1, get("roll"))}
    bend = _axis_rotation(0, 0.5 * get("bend") + 0.25 * get("lean")) @ _axis_rotation(1, 0.5 * get("side"))
    out["spine"] = out["pelvis"] @ _axis_rotation(2, 0.5 * get("twist")) @ bend
    out["chest"] = out["spine"] @ _axis_rotation(2, 0.5 * get("twist")) @ bend
    head = _axis_rotation(2, 0.5 * get("head_yaw")) @ _axis_rotation(0, 0.5 * get("head_pitch"))
    head = head @ _axis_rotation(1, 0.5 * get("head_roll"))
    out["neck"] = out["chest"] @ head
    out["head"] = out["neck"] @ head
    for s in "LR":
        sign = 1.0 if s == "L" else -1.0
        upper, lower = _arm_directions(get, s)
        lifted = max(0.0, get(f"raise.{s}") - 0.6)
        out[f"clavicle.{s}"] = out["chest"] @ _axis_rotation(1, -sign * 0.22 * lifted)
        rest_upper = joints[f"lower_arm.{s}"] - joints[f"upper_arm.{s}"]
        rest_lower = joints[f"hand.{s}"] - joints[f"lower_arm.{s}"]
        out[f"upper_arm.{s}"] = out["chest"] @ _between(rest_upper, upper)
        world_lower = out["chest"] @ lower
        out[f"lower_arm.{s}"] = _between(out[f"upper_arm.{s}"] @ rest_lower, world_lower) @ out[f"upper_arm.{s}"]
        out[f"hand.{s}"] = out[f"lower_arm.{s}"] @ _axis_rotation(1, sign * get(f"hand.{s}"))
        out[f"fingers.{s}"] = out[f"hand.{s}"] @ _axis_rotation(0, -0.5 * get(f"fingers.{s}"))
        thigh, shin = _leg_directions(get, s)
        rest_thigh = joints[f"shin.{s}"] - joints[f"thigh.{s}"]
        rest_shin = joints[f"foot.{s}"] - joints[f"shin.{s}"]
        out[f"thigh.{s}"] = hips @ _between(rest_thigh, thigh)
        out[f"shin.{s}"] = _between(out[f"thigh.{s}"] @ rest_shin, hips @ shin) @ out[f"thigh.{s}"]
        out[f"foot.{s}"] = hips @ _axis_rotation(0, 0.5 * max(0.0, get(f"knee.{s}") - get(f"lift.{s}")))
    return out


def joint_transforms(pose: np.ndarray, shape: BodyShape) -> np.ndarray:
    """Compute world transforms [J,3,4] of the joints of a pose [P] relative to rest, the lower foot on z = 0."""
    rest = dict(zip(JOINT_NAMES, shape.joints.astype(np.float64), strict=True))
    rotations = _rotations(pose, rest)
    position = {"pelvis": np.array([pose[FIELD_INDEX["shift_x"]], 0.0, 0.0])}
    for name in JOINT_NAMES[1:]:
        parent = PARENTS[name]
        assert parent is not None
        position[name] = position[parent] + rotations[parent] @ (rest[name] - rest[parent])
    sole = rest["foot.L"][2] - float(shape.vertices[:, 2].min())
    floor = min(position["foot.L"][2], position["foot.R"][2]) - sole
    out = np.zeros((len(JOINT_NAMES), 3, 4), np.float32)
    for name, index in JOINT_INDEX.items():
        out[index, :, :3] = rotations[name]
        out[index, :, 3] = position[name] - [0, 0, floor] - rotations[name] @ rest[name]
    return out
