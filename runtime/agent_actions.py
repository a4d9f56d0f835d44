"""What an agent can do, and the ticks that it becomes."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from ..input.intents import Intent
from .rig import TURN_RATE_RAD_S, WALK_SPEED_M_S

STILL = 0.05
"""A continuous action whose parts are all below this asks for nothing."""


class Action(IntEnum):
    """The discrete actions."""

    STOP = 0
    FORWARD = 1
    TURN_LEFT = 2
    TURN_RIGHT = 3
    LOOK_UP = 4
    LOOK_DOWN = 5


@dataclass(frozen=True, slots=True)
class Maneuver:
    """An action as ticks of the session.

    Attributes:
        intent: Of every tick.
        num_ticks: How many.
        is_exact: Full speed from the first tick and none left over, so that distances are exact; otherwise the
            walker's inertia.
        is_stop: The agent says that it is done, or where it cannot say so, that it stands still.
    """

    intent: Intent
    num_ticks: int
    is_exact: bool = False
    is_stop: bool = False


@dataclass(frozen=True, slots=True)
class DiscreteActions:
    """Steps and turns of a fixed size, see ``Action``.

    Attributes:
        forward_m: Length of a step.
        turn_rad: Angle of a turn.
        look_rad: Angle of looking up or down.
    """

    forward_m: float = 0.25
    turn_rad: float = float(np.radians(15.0))
    look_rad: float = float(np.radians(15.0))

    def __post_init__(self) -> None:
        for name in ("forward_m", "turn_rad", "look_rad"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value}")

    def space(self) -> spaces.Discrete:
        """One number."""
        return spaces.Discrete(len(Action))

    def maneuver(self, action: Any, tick_s: float) -> Maneuver:
        """The ticks of an action, at most as fast as a person walks and turns.

        Args:
            action: A number of ``Action``.
            tick_s: Length of a tick.

        Raises:
            ValueError: There is no such action.
        """
        try:
            chosen = Action(int(action))
        except (TypeError, ValueError):
            names = ", ".join(f"{a.value} {a.name.lower()}" for a in Action)
            raise ValueError(f"action: expected one of {names}, got {action!r}") from None
        if chosen is Action.STOP:
            return Maneuver(Intent(), 1, is_exact=True, is_stop=True)
        if chosen is Action.FORWARD:
            num, share = _spread(self.forward_m, WALK_SPEED_M_S, tick_s)
            return Maneuver(Intent(forward=share), num, is_exact=True)
        if chosen in (Action.TURN_LEFT, Action.TURN_RIGHT):
            num, share = _spread(self.turn_rad, TURN_RATE_RAD_S, tick_s)
            return Maneuver(Intent(yaw=share if chosen is Action.TURN_RIGHT else -share), num, is_exact=True)
        num, share = _spread(self.look_rad, TURN_RATE_RAD_S, tick_s)
        return Maneuver(Intent(pitch=share if chosen is Action.LOOK_UP else -share), num, is_exact=True)


@dataclass(frozen=True, slots=True)
class ContinuousActions:
    """Forward, right, yaw and pitch in [-1, 1] as shares of full speed (1.4 m/s, 90°/s), held for a while.

    Attributes:
        duration_s: How long an action is held; one tick if 0.
    """

    duration_s: float = 0.25

    def __post_init__(self) -> None:
        if not (np.isfinite(self.duration_s) and self.duration_s >= 0):
            raise ValueError(f"duration_s: expected 0 or more seconds, got {self.duration_s}")

    def space(self) -> spaces.Box:
        """(4,) float32 in [-1, 1]."""
        return spaces.Box(-1.0, 1.0, (4,), np.float32)

    def maneuver(self, action: Any, tick_s: float) -> Maneuver:
        """The ticks of an action; parts beyond ±1 are cut off.

        Args:
            action: (4,) forward, right (positive: to the right), yaw (positive: turns right), pitch (positive: up).
            tick_s: Length of a tick.

        Raises:
            ValueError: Not 4 finite numbers.
        """
        values = np.asarray(action, np.float64)
        if values.shape != (4,) or not np.isfinite(values).all():
            raise ValueError(f"action: expected 4 finite numbers (forward, right, yaw, pitch), got {action!r}")
        forward, right, yaw, pitch = (float(v) for v in np.clip(values, -1.0, 1.0))
        num = max(1, round(self.duration_s / tick_s))
        return Maneuver(
            Intent(forward=forward, right=right, yaw=yaw, pitch=pitch),
            num,
            is_stop=bool(np.abs(values).max() < STILL),
        )


ActionConfig = DiscreteActions | ContinuousActions
ActionName = Literal["discrete", "continuous"]


def actions_of(choice: ActionConfig | str) -> ActionConfig:
    """The configuration of actions for a name, or itself.

    Raises:
        ValueError: Neither.
    """
    if isinstance(choice, DiscreteActions | ContinuousActions):
        return choice
    if choice == "discrete":
        return DiscreteActions()
    if choice == "continuous":
        return ContinuousActions()
    raise ValueError(
        f"actions: expected 'discrete', 'continuous', DiscreteActions or ContinuousActions, got {choice!r}"
    )


def _spread(amount: float, full_rate: float, tick_s: float) -> tuple[int, float]:
    """Over how many ticks an amount is spread, and at what share of the full rate."""
    num = max(1, int(np.ceil(amount / (full_rate * tick_s) - 1e-9)))
    return num, amount / (num * tick_s * full_rate)
