"""Tasks for agents, with the measures of the embodied field.

Success weighted by path length (SPL): Anderson et al., "On Evaluation of Embodied Navigation Agents", 2018. Soft SPL:
Datta et al., "Integrating Egocentric Localization for More Realistic Point-Goal Navigation Agents", 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ..world.camera import Pinhole, unproject
from ..world.points import PointClass, class_of
from ..world.visibility import render_depth
from .errors import UserError
from .floor_plan import Distances, FloorPlan, Ground, Way
from .session import Session

MAX_GOAL_DISTANCE_M = 1e4
GOAL_ATTEMPTS = 64
PLAN_MARGIN_M = 2.0
"""A way may leave the circle of the goals by this much."""


@dataclass(frozen=True, slots=True)
class FreeWalk:
    """No task: no reward; an episode ends when the agent stops (discrete actions)."""


@dataclass(frozen=True, slots=True)
class PointGoal:
    """Go to a point and stop there. Distances are shortest ways around what blocks, on the floor.

    The reward of an action is by how many metres the way to the goal became shorter, plus ``slack_reward``, minus
    ``collision_penalty`` if it collided, plus ``success_reward`` if it is the stop that succeeds.

    Attributes:
        success_distance_m: A stop succeeds within this of the goal.
        min_distance_m: Nearest goal that is drawn, along the way.
        max_distance_m: Farthest.
        success_reward: For stopping at the goal.
        slack_reward: Of every action; below 0 so that dawdling costs.
        collision_penalty: For touching what blocks.
    """

    success_distance_m: float = 0.2
    min_distance_m: float = 1.0
    max_distance_m: float = 6.0
    success_reward: float = 2.5
    slack_reward: float = -0.01
    collision_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.success_distance_m < self.min_distance_m <= self.max_distance_m:
            raise ValueError(
                "point goal: expected 0 < success_distance_m < min_distance_m <= max_distance_m, got "
                f"{self.success_distance_m}, {self.min_distance_m}, {self.max_distance_m}"
            )


@dataclass(frozen=True, slots=True)
class Exploration:
    """See as much surface as possible, for the first time.

    Memory's surface in view is counted in cubes of ``cell_m``; a new one counts ``cell_m``² of area, which for a
    surface that is slanted against the cubes is up to 1.7 times its own. The reward of an action is the sum over the
    classes of new area times the class's weight, minus ``collision_penalty`` if it collided. What the first picture
    shows is counted, but not rewarded.

    Attributes:
        observed_reward_per_m2: For surface that a sensor or photo saw, or that was estimated from it.
        invented_reward_per_m2: For surface that a generator made up.
        cell_m: Side of a cube.
        max_range_m: Farther surface does not count: its pixels are larger than a cube.
        width_px: Width of the picture that is counted.
        collision_penalty: For touching what blocks.
    """

    observed_reward_per_m2: float = 1.0
    invented_reward_per_m2: float = 1.0
    cell_m: float = 0.10
    max_range_m: float = 8.0
    width_px: int = 128
    collision_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not (self.cell_m > 0 and self.max_range_m > 0 and self.width_px >= 8):
            raise ValueError(
                "exploration: expected cell_m > 0, max_range_m > 0 and width_px >= 8, got "
                f"{self.cell_m}, {self.max_range_m}, {self.width_px}"
            )


TaskConfig = FreeWalk | PointGoal | Exploration
TASKS: Mapping[str, TaskConfig] = {"free": FreeWalk(), "pointgoal": PointGoal(), "exploration": Exploration()}


@dataclass(frozen=True, slots=True)
class Moment:
    """What a task judges after an action.

    Attributes:
        session: The walk; tasks only look.
        moved_m: Metres walked over the floor by this action.
        is_stop: The agent stopped.
        collided: It touched what blocks.
    """

    session: Session
    moved_m: float = 0.0
    is_stop: bool = False
    collided: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an action was worth.

    Attributes:
        reward: Its reward.
        terminated: The episode is over.
        info: Measures, fresh values.
    """

    reward: float
    terminated: bool
    info: dict[str, Any]


class Task(Protocol):
    """Judges an episode. Its state is immutable and swapped, so that remembering it costs a reference."""

    def spaces(self) -> dict[str, spaces.Space[Any]]:
        """What it adds to the observation."""
        ...

    def begin(self, moment: Moment, rng: np.random.Generator, options: Mapping[str, Any]) -> dict[str, Any]:
        """A new episode; its first info."""
        ...

    def judge(self, moment: Moment) -> Judgement:
        """After an action."""
        ...

    def observe(self, session: Session) -> dict[str, npt.NDArray[Any]]:
        """Values of ``spaces``, fresh."""
        ...

    def remember(self) -> object:
        """Its state."""
        ...

    def recall(self, state: object) -> dict[str, Any]:
        """Go back to a state; the info of that moment."""
        ...


def task_of(choice: TaskConfig | str | None) -> Task:
    """A new task from its configuration, or from a name for its defaults.

    Raises:
        ValueError: Neither.
    """
    config = TASKS.get(choice, choice) if isinstance(choice, str) else choice or FreeWalk()
    if isinstance(config, FreeWalk):
        return FreeWalkTask()
    if isinstance(config, PointGoal):
        return PointGoalTask(config)
    if isinstance(config, Exploration):
        return ExplorationTask(config)
    raise ValueError(f"task: expected one of {', '.join(TASKS)}, or its configuration, got {choice!r}")


class FreeWalkTask:
    """See ``FreeWalk``."""

    def spaces(self) -> dict[str, spaces.Space[Any]]:
        """Nothing."""
        return {}

    def begin(self, moment: Moment, rng: np.random.Generator, options: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing to draw."""
        return {}

    def judge(self, moment: Moment) -> Judgement:
        """No reward."""
        return Judgement(0.0, moment.is_stop, {})

    def observe(self, session: Session) -> dict[str, npt.NDArray[Any]]:
        """Nothing."""
        return {}

    def remember(self) -> object:
        """Nothing."""
        return None

    def recall(self, state: object) -> dict[str, Any]:
        """Nothing."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class _GoalState:
    """An episode on the way to a goal; its plan of the floor is that of the episode's start."""

    goal: npt.NDArray[np.float64]
    distances: Distances
    way: Way
    distance_m: float
    path_m: float = 0.0
    is_success: bool = False


class PointGoalTask:
    """See ``PointGoal``.

    The plan of the floor is made from what memory knows when an episode begins, and stays for the episode, so that
    rewards add up. Unknown ground is taken for free, as the walker's collision does; ``seen_share`` says how much of
    the shortest way is over floor that memory has. Where no way is found the straight line stands in for it, and
    ``shortest_is_geodesic`` is False.
    """

    def __init__(self, config: PointGoal) -> None:
        self._config = config
        self._plans: dict[tuple[float, float, float], tuple[FloorPlan, Distances]] = {}
        self._state: _GoalState | None = None

    def spaces(self) -> dict[str, spaces.Space[Any]]:
        """``goal``: (2,) float32, metres in a straight line and angle in radians, positive to the right."""
        low = np.array([0.0, -np.pi], np.float32)
        high = np.array([MAX_GOAL_DISTANCE_M, np.pi], np.float32)
        return {"goal": spaces.Box(low, high, dtype=np.float32)}

    def begin(self, moment: Moment, rng: np.random.Generator, options: Mapping[str, Any]) -> dict[str, Any]:
        """Draw a goal, or take ``options["goal"]``: (3,) metres, world frame."""
        plan, from_start = self._plan(moment.session)
        start = from_start.goal
        given = options.get("goal")
        goal = self._draw(plan, from_start, rng) if given is None else plan.place_of(_position(given))
        distances = plan.distances_to(goal)
        way = plan.way(start, goal, distances)
        self._state = _GoalState(goal, distances, way, distances.at(start))
        return self._info()

    def _plan(self, session: Session) -> tuple[FloorPlan, Distances]:
        """The floor around the start and the distances from it, kept for later episodes: all begin in one world."""
        position = np.asarray(session.rig.state.position)
        key = session.rig.state.position
        if key not in self._plans:
            radius_m = self._config.max_distance_m + PLAN_MARGIN_M
            plan = FloorPlan.around(session.collision, position, radius_m)
            self._plans = {key: (plan, plan.distances_to(plan.place_of(position)))}
        return self._plans[key]

    def _draw(self, plan: FloorPlan, from_start: Distances, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A place to go to: on floor that memory has, else on any free ground, else anywhere."""
        low, high = self._config.min_distance_m, self._config.max_distance_m
        for ground in (plan.ground == Ground.SEEN, plan.ground != Ground.BLOCKED):
            cells = np.argwhere(ground & (from_start.field_m >= low) & (from_start.field_m <= high))
            for _ in range(min(GOAL_ATTEMPTS, len(cells))):
                place = plan.places(cells[rng.integers(len(cells))])
                if low <= from_start.at(place) <= high:
                    return place
        angle = rng.uniform(-np.pi, np.pi)
        return from_start.goal + rng.uniform(low, high) * np.array([np.sin(angle), np.cos(angle)])

    def judge(self, moment: Moment) -> Judgement:
        """Progress along the way, and success."""
        state, config = self._now(), self._config
        distance = state.distances.at(self._place(moment.session))
        is_success = moment.is_stop and distance <= config.success_distance_m
        reward = state.distance_m - distance + config.slack_reward
        reward -= config.collision_penalty * moment.collided
        reward += config.success_reward * is_success
        self._state = replace(
            state, distance_m=distance, path_m=state.path_m + moment.moved_m, is_success=bool(is_success)
        )
        return Judgement(float(reward), moment.is_stop, self._info())

    def observe(self, session: Session) -> dict[str, npt.NDArray[Any]]:
        """See ``spaces``."""
        offset = self._now().goal - self._place(session)
        distance = min(float(np.hypot(*offset)), MAX_GOAL_DISTANCE_M)
        angle = float(np.arctan2(offset[0], offset[1])) - session.rig.state.yaw_rad
        angle = float((angle + np.pi) % (2 * np.pi) - np.pi)
        limit = float(np.float32(np.pi))
        return {"goal": np.array([distance, np.clip(angle, -limit, limit)], np.float32)}

    def goal_world(self) -> npt.NDArray[np.float64]:
        """(3,) metres: the goal on the floor."""
        return self._now().distances.plan.position_of(self._now().goal)

    def floor_plan(self) -> FloorPlan:
        """The plan that distances are measured on."""
        return self._now().distances.plan

    def _info(self) -> dict[str, Any]:
        state = self._now()
        shortest, success = state.way.length_m, float(state.is_success)
        efficiency = shortest / max(state.path_m, shortest, 1e-9)
        progress = max(0.0, 1.0 - state.distance_m / max(shortest, 1e-9))
        return {
            "goal_world": self.goal_world(),
            "distance_to_goal_m": state.distance_m,
            "path_length_m": state.path_m,
            "shortest_path_m": shortest,
            "shortest_is_geodesic": state.way.is_geodesic,
            "seen_share": state.way.seen_share,
            "success": state.is_success,
            "spl": success * efficiency,
            "soft_spl": progress * efficiency,
        }

    def _place(self, session: Session) -> npt.NDArray[np.float64]:
        return self._now().distances.plan.place_of(session.rig.state.position)

    def _now(self) -> _GoalState:
        if self._state is None:
            raise RuntimeError("no episode has begun; reset the environment first")
        return self._state

    def remember(self) -> object:
        """The episode."""
        return self._state

    def recall(self, state: object) -> dict[str, Any]:
        """Go back."""
        if not isinstance(state, _GoalState):
            raise ValueError(f"state: expected one of a point goal, got {type(state).__name__}")
        self._state = state
        return self._info()


def _position(value: Any) -> npt.NDArray[np.float64]:
    position = np.asarray(value, np.float64)
    if position.shape != (3,) or not np.isfinite(position).all():
        raise UserError("3 finite numbers of metres (world frame) as goal", repr(value), "give x, y, z")
    return position


@dataclass(frozen=True, slots=True, eq=False)
class _SeenState:
    """Cubes seen so far: sorted packed keys, and how many of each class."""

    cells: npt.NDArray[np.int64]
    counts: tuple[int, int, int]


class ExplorationTask:
    """See ``Exploration``."""

    def __init__(self, config: Exploration) -> None:
        self._config = config
        self._state = _SeenState(np.zeros(0, np.int64), (0, 0, 0))

    def spaces(self) -> dict[str, spaces.Space[Any]]:
        """Nothing: what was seen is in the info."""
        return {}

    def begin(self, moment: Moment, rng: np.random.Generator, options: Mapping[str, Any]) -> dict[str, Any]:
        """Count what is in view."""
        self._state = _SeenState(np.zeros(0, np.int64), (0, 0, 0))
        self._look(moment.session)
        return self._info((0, 0, 0))

    def judge(self, moment: Moment) -> Judgement:
        """Reward what is new."""
        new, config = self._look(moment.session), self._config
        invented, estimated, observed = (n * config.cell_m**2 for n in new)
        reward = config.observed_reward_per_m2 * (observed + estimated) + config.invented_reward_per_m2 * invented
        reward -= config.collision_penalty * moment.collided
        return Judgement(float(reward), moment.is_stop, self._info(new))

    def observe(self, session: Session) -> dict[str, npt.NDArray[Any]]:
        """Nothing."""
        return {}

    def _look(self, session: Session) -> tuple[int, int, int]:
        """Count the view's new cubes by class (invented, estimated, observed) and remember them."""
        keys, classes = self._in_view(session)
        is_new = ~np.isin(keys, self._state.cells, assume_unique=True)
        counts = np.bincount(classes[is_new], minlength=4)[1:4]
        new = (int(counts[0]), int(counts[1]), int(counts[2]))
        before = self._state.counts
        cells = np.union1d(self._state.cells, keys[is_new])
        self._state = _SeenState(cells, (before[0] + new[0], before[1] + new[1], before[2] + new[2]))
        return new

    def _in_view(self, session: Session) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(K,) packed keys of the cubes in view, sorted, and (K,) the highest class in each."""
        pinhole = _counted(session.pinhole, self._config.width_px)
        pose = session.rig.world_T_camera
        drawn = render_depth(session.world.memory.snapshot(), pinhole, pose)
        depth = np.where(drawn.depth_m <= self._config.max_range_m, drawn.depth_m, np.float32(0))
        points = unproject(depth, pinhole, pose)
        cells = np.floor(points / self._config.cell_m).astype(np.int64) + (1 << 20)
        packed = cells[:, 0] << 42 | cells[:, 1] << 21 | cells[:, 2]
        classes = class_of(drawn.priority[depth > 0]).astype(np.int64)
        order = np.lexsort((-classes, packed))
        keys, first = np.unique(packed[order], return_index=True)
        return keys, classes[order][first]

    def _info(self, new: tuple[int, int, int]) -> dict[str, Any]:
        area = self._config.cell_m**2
        names = [c.name.lower() for c in (PointClass.INVENTED, PointClass.ESTIMATED, PointClass.OBSERVED)]
        total = {f"seen_{name}_m2": n * area for name, n in zip(names, self._state.counts, strict=True)}
        return total | {f"new_{name}_m2": n * area for name, n in zip(names, new, strict=True)}

    def remember(self) -> object:
        """What was seen."""
        return self._state

    def recall(self, state: object) -> dict[str, Any]:
        """Go back."""
        if not isinstance(state, _SeenState):
            raise ValueError(f"state: expected one of an exploration, got {type(state).__name__}")
        self._state = state
        return self._info((0, 0, 0))


def _counted(pinhole: Pinhole, width_px: int) -> Pinhole:
    """The view at the size that is counted, never larger than it is."""
    width = min(width_px, pinhole.width)
    return pinhole.resized(width, max(1, round(width * pinhole.height / pinhole.width)))
