"""Scripted walks: strings of actions such as ``"w-20,right-10,stay-5"`` and the poses that they lead through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEP_M = 0.05
"""How far one frame of w, a, s, d, q or e goes."""

TURN_RAD = float(np.radians(1.0))
"""How far one frame of an arrow turns."""

PITCH_LIMIT_RAD = float(np.radians(85.0))
"""Looking further up or down stops here, so that the heading stays defined."""

MAX_FRAMES = 100_000
"""More than an hour at 24 fps is taken for a slip of the finger."""

# name: (forward, right, up in metres; turn right, look up in radians), one frame
_ACTIONS: dict[str, tuple[float, float, float, float, float]] = {
    "w": (STEP_M, 0.0, 0.0, 0.0, 0.0),
    "a": (0.0, -STEP_M, 0.0, 0.0, 0.0),
    "s": (-STEP_M, 0.0, 0.0, 0.0, 0.0),
    "d": (0.0, STEP_M, 0.0, 0.0, 0.0),
    "q": (0.0, 0.0, -STEP_M, 0.0, 0.0),
    "e": (0.0, 0.0, STEP_M, 0.0, 0.0),
    "left": (0.0, 0.0, 0.0, -TURN_RAD, 0.0),
    "right": (0.0, 0.0, 0.0, TURN_RAD, 0.0),
    "up": (0.0, 0.0, 0.0, 0.0, TURN_RAD),
    "down": (0.0, 0.0, 0.0, 0.0, -TURN_RAD),
    "stay": (0.0, 0.0, 0.0, 0.0, 0.0),
}

ACTION_NAMES = tuple(_ACTIONS)
"""Every action, in the order that errors list them."""


@dataclass(frozen=True, slots=True)
class Action:
    """What one frame of a script does, in the walker's level frame.

    Attributes:
        name: As written in the script.
        forward_m: Along the heading, kept level.
        right_m: To the right, kept level.
        up_m: Against gravity.
        yaw_rad: Positive turns right.
        pitch_rad: Positive looks up.
    """

    name: str
    forward_m: float
    right_m: float
    up_m: float
    yaw_rad: float
    pitch_rad: float


def parse_actions(text: str) -> list[Action]:
    """Read a script, one action for each frame.

    Args:
        text: ``KEY-N`` parts joined by commas, in which N is a number of frames; ``KEY`` alone is one. White space
            around parts is passed over; upper case is taken as lower.

    Returns:
        One ``Action`` for each frame, in order.

    Raises:
        ValueError: An unknown action, a number that is none, no action at all, or too many frames.
    """
    frames: list[Action] = []
    parts = text.split(",")
    for position, part in enumerate(parts, start=1):
        if not part.strip():
            raise ValueError(f"action {position} of {len(parts)} is empty; expected one of {', '.join(ACTION_NAMES)}")
        name, count = _parse_part(part.strip().lower(), position)
        if len(frames) + count > MAX_FRAMES:
            raise ValueError(f"action {position}, {part.strip()!r}: expected at most {MAX_FRAMES} frames in all")
        frames.extend([Action(name, *_ACTIONS[name])] * count)
    return frames


def _parse_part(part: str, position: int) -> tuple[str, int]:
    """Name and number of frames of one part, such as ``w-20``."""
    name, dash, number = part.partition("-")
    if name not in _ACTIONS:
        raise ValueError(f"action {position}, {part!r}: unknown action {name!r}; expected {', '.join(ACTION_NAMES)}")
    if not dash:
        return name, 1
    if not (number.isascii() and number.isdigit() and 0 < int(number[:7]) <= MAX_FRAMES):
        raise ValueError(
            f"action {position}, {part!r}: expected a number of frames from 1 to {MAX_FRAMES}, got {number!r}"
        )
    return name, int(number)


def action_poses(
    actions: Sequence[Action], world_T_start: npt.NDArray[np.float64], up_world: npt.ArrayLike = (0.0, -1.0, 0.0)
) -> npt.NDArray[np.float64]:
    """Poses of a camera that carries out the actions.

    Yaw turns about gravity, pitch about the camera's own right. Steps go along the heading kept level, whatever the
    pitch. The start pose is kept as it is, roll included.

    Args:
        actions: One for each frame.
        world_T_start: (4, 4) pose before the first action, OpenCV axes.
        up_world: (3,) direction away from gravity, of any length.

    Returns:
        (1 + N, 4, 4) float64 world_T_camera, the start first. Fresh memory.

    Raises:
        ValueError: The start is not (4, 4), or ``up_world`` is zero.
    """
    start = np.asarray(world_T_start, dtype=np.float64)
    up = np.asarray(up_world, dtype=np.float64)
    length = float(np.linalg.norm(up))
    if start.shape != (4, 4) or up.shape != (3,) or not np.isfinite(length) or length == 0:
        raise ValueError(f"expected a 4x4 pose and a direction up, got {start.shape} and {up.tolist()}")
    up = up / length
    poses = np.empty((1 + len(actions), 4, 4))
    poses[0] = start
    for index, action in enumerate(actions):
        poses[index + 1] = _advance(poses[index], action, up)
    return poses


def _advance(
    world_T_camera: npt.NDArray[np.float64], action: Action, up: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The pose one frame later."""
    rotation = _rotation_about(up, -action.yaw_rad) @ world_T_camera[:3, :3]
    pitch = float(np.arcsin(np.clip(rotation[:, 2] @ up, -1.0, 1.0)))
    allowed = float(np.clip(pitch + action.pitch_rad, min(pitch, -PITCH_LIMIT_RAD), max(pitch, PITCH_LIMIT_RAD)))
    if action.pitch_rad != 0.0:
        rotation = rotation @ _rotation_about(np.array([1.0, 0.0, 0.0]), allowed - pitch)
    forward = _heading(rotation, up)
    right = np.cross(forward, up)
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = world_T_camera[:3, 3] + action.forward_m * forward + action.right_m * right + action.up_m * up
    return pose


def _heading(rotation: npt.NDArray[np.float64], up: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Unit direction of the view in the floor's plane; of the camera's top where it looks straight down."""
    forward = rotation[:, 2] - up * (rotation[:, 2] @ up)
    if np.linalg.norm(forward) < 1e-6:
        forward = -rotation[:, 1] * np.sign(-(rotation[:, 2] @ up))
        forward = forward - up * (forward @ up)
    return forward / np.linalg.norm(forward)


def _rotation_about(axis: npt.NDArray[np.float64], angle_rad: float) -> npt.NDArray[np.float64]:
    """(3, 3) rotation about a unit axis by the right-hand rule (Rodrigues)."""
    x, y, z = axis
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle_rad) * k + (1.0 - np.cos(angle_rad)) * (k @ k)
