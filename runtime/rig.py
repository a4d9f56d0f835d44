"""The camera rig: turns intents into motion of an upright walker or a flyer."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..input.intents import Intent
from ..world.transforms import Transform, level_frame, look

WALK_SPEED_M_S = 1.4
RUN_FACTOR = 2.0
TURN_RATE_RAD_S = np.pi / 2
MAX_PITCH_RAD = np.radians(85.0)
ACCELERATION_TIME_S = 0.12
"""Time constant with which speed follows the wish; short enough to feel direct, long enough not to jerk."""


@dataclass(frozen=True, slots=True)
class RigState:
    """Where the walker is, in the level frame's angles.

    Attributes:
        position: (3,) metres, world frame: the eye.
        yaw_rad: Heading; positive to the right of the level frame's forward.
        pitch_rad: Positive looks up.
        roll_rad: Of the source camera; eased out as soon as the walker moves.
        velocity: (3,) m/s, world frame.
        is_flying: Gravity and collision are off.
    """

    position: tuple[float, float, float]
    yaw_rad: float
    pitch_rad: float
    roll_rad: float = 0.0
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    is_flying: bool = False


class CameraRig:
    """Integrates intents with a fixed step.

    Args:
        world_T_camera: Pose to start from; its roll is kept until the first motion.
        up_world: Direction away from gravity.
    """

    def __init__(self, world_T_camera: Transform, up_world: tuple[float, float, float]) -> None:
        self._world_R_level = level_frame(up_world)
        self.state = self.state_of(world_T_camera)

    @property
    def down_world(self) -> npt.NDArray[np.float64]:
        """(3,) unit vector along gravity."""
        return self._world_R_level[:, 1]

    def state_of(self, world_T_camera: Transform) -> RigState:
        """Angles and position of a pose."""
        forward = self._world_R_level.T @ world_T_camera[:3, 2]
        yaw = float(np.arctan2(forward[0], forward[2]))
        pitch = float(-np.arcsin(np.clip(forward[1], -1.0, 1.0)))
        upright = look((0, 0, 0), yaw, pitch, self._world_R_level)[:3, :3]
        twist = upright.T @ world_T_camera[:3, :3]
        x, y, z = (float(v) for v in world_T_camera[:3, 3])
        return RigState((x, y, z), yaw, pitch, float(np.arctan2(twist[1, 0], twist[0, 0])))

    def pose_of(self, state: RigState) -> Transform:
        """world_T_camera of a state."""
        pose = look(state.position, state.yaw_rad, state.pitch_rad, self._world_R_level)
        if state.roll_rad:
            c, s = np.cos(state.roll_rad), np.sin(state.roll_rad)
            pose[:3, :3] = pose[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        return pose

    @property
    def world_T_camera(self) -> Transform:
        """The present pose."""
        return self.pose_of(self.state)

    def apply_look(self, intent: Intent) -> None:
        """Turn by the intent's look angles, at once and never scaled by time."""
        if not (intent.look_yaw_rad or intent.look_pitch_rad):
            return
        s = self.state
        self.state = replace(
            s,
            yaw_rad=s.yaw_rad + intent.look_yaw_rad,
            pitch_rad=_clamp_pitch(s.pitch_rad + intent.look_pitch_rad),
        )

    def wish(self, intent: Intent, dt_s: float, pace: float = 1.0) -> RigState:
        """The state after one tick if nothing stood in the way.

        Args:
            intent: What is wanted.
            dt_s: Length of the tick.
            pace: 0..1, slows walking (never turning) where little is known ahead.
        """
        s = self.state
        yaw = s.yaw_rad + _unit(intent.yaw) * TURN_RATE_RAD_S * dt_s
        pitch = _clamp_pitch(s.pitch_rad + _unit(intent.pitch) * TURN_RATE_RAD_S * dt_s)
        wanted = self._wanted_velocity(intent, yaw, pitch, s.is_flying) * (1.0 if s.is_flying else pace)
        blend = 1.0 - float(np.exp(-dt_s / ACCELERATION_TIME_S))
        velocity = np.asarray(s.velocity) + (wanted - np.asarray(s.velocity)) * blend
        if np.linalg.norm(velocity) < 1e-4:
            velocity = np.zeros(3)
        moves = bool(np.any(velocity)) or yaw != s.yaw_rad or pitch != s.pitch_rad
        roll = s.roll_rad * float(np.exp(-dt_s / 0.4)) if moves else s.roll_rad
        position = np.asarray(s.position) + velocity * dt_s
        return replace(
            s,
            position=_triple(position),
            yaw_rad=yaw,
            pitch_rad=pitch,
            roll_rad=roll if abs(roll) > 1e-6 else 0.0,
            velocity=_triple(velocity),
        )

    def velocity_of(self, intent: Intent) -> tuple[float, float, float]:
        """(3,) m/s, world frame, that an intent comes to when it is held; what agents that step exactly begin with."""
        s = self.state
        return _triple(self._wanted_velocity(intent, s.yaw_rad, s.pitch_rad, s.is_flying))

    def _wanted_velocity(
        self, intent: Intent, yaw_rad: float, pitch_rad: float, is_flying: bool
    ) -> npt.NDArray[np.float64]:
        frame = look((0, 0, 0), yaw_rad, pitch_rad if is_flying else 0.0, self._world_R_level)[:3, :3]
        planar = np.array([_unit(intent.right), 0.0, _unit(intent.forward)])
        length = np.linalg.norm(planar)
        if length > 1.0:
            planar /= length
        wanted = frame @ planar
        if is_flying:
            wanted = wanted - self.down_world * _unit(intent.up)
        return wanted * WALK_SPEED_M_S * (RUN_FACTOR if intent.fast else 1.0)


def _unit(value: float) -> float:
    return min(1.0, max(-1.0, value))


def _clamp_pitch(pitch_rad: float) -> float:
    return min(MAX_PITCH_RAD, max(-MAX_PITCH_RAD, pitch_rad))


def _triple(v: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])
