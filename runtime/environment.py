"""The Gymnasium environment: an agent walks a world by the same session as a person.

``gymnasium.make("spatia/Walk-v0", world="garage")`` makes one. Time is simulated and every clip is waited for, so the
same seed and actions give the same observations bit for bit.
"""

import copy
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ..input.intents import Intent
from ..world.camera import Pinhole
from ..world.transforms import as_rigid
from .agent_actions import ActionConfig, actions_of
from .checkpoint import Checkpoint
from .errors import UserError
from .session import ROLLOUT_RATE_HZ, Frame, Session
from .tasks import Moment, Task, TaskConfig, task_of
from .truth import Truth
from .world import World
from .world import open as open_world

DEFAULT_SIZE = (160, 120)
MAX_DEPTH_M = 1000.0
MAX_COORDINATE_M = 1e6
COLLISION_SLACK_M = 0.005
"""A tick that leads this much elsewhere than it was wished to touched something."""
EVERY_CHUNK = 1 << 30

Observation = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class EnvironmentSnapshot:
    """A moment of an episode: references, so that many can be kept. Made by ``WalkEnv.snapshot``.

    Attributes:
        checkpoint: Of the session.
        task: State of the task.
        rng: State of the random numbers.
        frame: The picture of that moment.
        progress: What the environment itself counts.
        made_for: World, sizes and task; environments of the same may restore it.
    """

    checkpoint: Checkpoint
    task: object
    rng: dict[str, Any]
    frame: Frame
    progress: "Progress"
    made_for: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """What happened in an episode so far.

    Attributes:
        num_actions: Actions.
        path_m: Metres walked over the floor.
        num_collisions: Actions that touched what blocks.
        collided: The last one did.
        is_over: It terminated.
    """

    num_actions: int = 0
    path_m: float = 0.0
    num_collisions: int = 0
    collided: bool = False
    is_over: bool = False


class WalkEnv(gymnasium.Env[Observation, Any]):
    """An episode is a walk from where the world stands; what is generated on the way is gone at the next reset.

    The observation is a dict of ``rgb`` (H, W, 3) uint8 sRGB, ``depth`` (H, W) float32 metres along the camera's +Z (0
    unknown), ``pose`` (4, 4) float64 world_T_camera with OpenCV axes, and what the task adds. One thread at a time uses
    an environment.

    Args:
        world: A world, which stays as it is; the path of a ``.spatia`` file, photo or recording; or a sample's name.
        task: "free", "pointgoal", "exploration", or a configuration out of ``runtime.tasks``; None is free.
        actions: "discrete", "continuous", or a configuration out of ``runtime.agent_actions``.
        size: (width, height) of the observation.
        fov_rad: Horizontal field of view; the world's own camera, cropped to the size, if not given.
        generator: Makes what is missing, "none" for a world that stays as it is; the world's own if not given: its last
            one, the place's, or outpaint.
        place: Name of the procedural place that the world is, such as "rooms:7:day", the world's own if not given: then
            ``info["truth"]`` tells what is really there, see ``runtime.truth``. Empty: it does not.
        render_mode: "rgb_array" or None.
        render_size: (width, height) of what ``render`` returns; the observation's if not given.

    Raises:
        ValueError: An argument is not as expected.
        SourceError, WorldFileError: The world cannot be read.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        world: World | str | PathLike[str],
        *,
        task: TaskConfig | str | None = None,
        actions: ActionConfig | str = "discrete",
        size: tuple[int, int] = DEFAULT_SIZE,
        fov_rad: float | None = None,
        generator: str | None = None,
        place: str | None = None,
        render_mode: str | None = None,
        render_size: tuple[int, int] | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: expected 'rgb_array' or None, got {render_mode!r}")
        self.render_mode = render_mode
        self._actions, self._task = actions_of(actions), task_of(task)
        self._size = _size_of(size)
        self._session = _session_of(_world_of(world), generator, self._size, fov_rad)
        self._render_pinhole = _pinhole_of(self._session.world, _size_of(render_size or size), fov_rad)
        self._made_for = (self._session.world.info.name, self._session.generator, self._size, fov_rad, task, actions)
        place = self._session.world.info.place if place is None else place
        self._truth = Truth(place) if place else None
        self._start = self._session.checkpoint()
        self._progress: Progress | None = None
        self._frame: Frame | None = None
        self.action_space = self._actions.space()
        self.observation_space: spaces.Space[Any] = self._observation_space()

    def _observation_space(self) -> spaces.Dict:
        width, height = self._size
        return spaces.Dict(
            {
                "rgb": spaces.Box(0, 255, (height, width, 3), np.uint8),
                "depth": spaces.Box(0.0, MAX_DEPTH_M, (height, width), np.float32),
                "pose": spaces.Box(-MAX_COORDINATE_M, MAX_COORDINATE_M, (4, 4), np.float64),
                **self._task.spaces(),
            }
        )

    # -- what agents call ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in the world as it was when the environment was made.

        Args:
            seed: Of the goals drawn and of what is generated in this episode and the next ones.
            options: "pose", (4, 4) world_T_camera to begin at, and what the task takes ("goal").

        Raises:
            ValueError: An option is not known or not as expected.
        """
        super().reset(seed=seed)
        given = _options(options)
        self._session.restore(self._start, seed=int(self.np_random.integers(1 << 31)))
        if given.get("pose") is not None:
            rig = self._session.rig
            rig.state = rig.state_of(as_rigid(given["pose"], "options['pose']"))
        self._progress = Progress()
        measures = self._task.begin(Moment(self._session), self.np_random, given)
        self._frame = self._session.draw()
        return self._observe(), self._info(measures)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Do an action, make what is missing then, and look.

        Truncation is left to ``gymnasium.make``'s ``max_episode_steps``.

        Raises:
            ValueError: It is no action.
            gymnasium.error.ResetNeeded: There is no episode, or it is over.
        """
        progress = self._progress
        if progress is None or progress.is_over:
            raise gymnasium.error.ResetNeeded("expected an episode that is under way; call reset() first")
        maneuver = self._actions.maneuver(action, self._session.tick_s)
        moved_m, collided = 0.0, False
        for left in range(maneuver.num_ticks, 0, -1):
            length, touched = self._tick(maneuver.intent, is_exact=maneuver.is_exact, is_last=left == 1)
            moved_m, collided = moved_m + length, collided or touched
        judged = self._task.judge(Moment(self._session, moved_m, maneuver.is_stop and self._may_stop(), collided))
        self._progress = Progress(
            progress.num_actions + 1,
            progress.path_m + moved_m,
            progress.num_collisions + collided,
            collided,
            judged.terminated,
        )
        self._frame = self._session.draw()
        return self._observe(), judged.reward, judged.terminated, False, self._info(judged.info)

    def render(self) -> npt.NDArray[np.uint8] | None:  # type: ignore[override]
        """The present picture at ``render_size``, fresh; None without a render mode."""
        if self._frame is None:
            raise gymnasium.error.ResetNeeded("expected an episode to draw; call reset() first")
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render mode; make the environment with render_mode='rgb_array'")
            return None
        if self._render_pinhole == self._session.pinhole:
            return self._frame.color.copy()
        return self._session.draw(pinhole=self._render_pinhole).color

    def close(self) -> None:
        """Release what the environment holds; safe to call twice."""
        self._session.close()
        self._session.world.close()
        if self._truth is not None:
            self._truth.close()

    # -- going back ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> EnvironmentSnapshot:
        """This moment of the episode, to go back to or to go on from in another environment. Costs references.

        Raises:
            gymnasium.error.ResetNeeded: There is no episode.
        """
        if self._progress is None or self._frame is None:
            raise gymnasium.error.ResetNeeded("expected an episode that is under way; call reset() first")
        return EnvironmentSnapshot(
            self._session.checkpoint(),
            self._task.remember(),
            copy.deepcopy(dict(self.np_random.bit_generator.state)),
            self._frame,
            self._progress,
            self._made_for,
        )

    def restore(self, snapshot: EnvironmentSnapshot) -> tuple[Observation, dict[str, Any]]:
        """Go back to a moment; the same actions then give the same observations again.

        A time limit that a wrapper counts does not go back.

        Args:
            snapshot: Of this environment, or of one that was made with the same arguments.

        Returns:
            The observation and the info of that moment.

        Raises:
            ValueError: It is of another kind of environment.
        """
        if snapshot.made_for != self._made_for:
            raise ValueError(f"snapshot: expected one of {self._made_for}, got one of {snapshot.made_for}")
        self._session.restore(snapshot.checkpoint)
        self.np_random.bit_generator.state = copy.deepcopy(snapshot.rng)
        self._progress, self._frame = snapshot.progress, snapshot.frame
        measures = self._task.recall(snapshot.task)
        return self._observe(), self._info(measures)

    # -- what else one may look at ------------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """The world of this episode; save a fork of it, or read it. Changed by ``step`` and ``reset``."""
        return self._session.world

    @property
    def session(self) -> Session:
        """The walk that this environment steps."""
        return self._session

    @property
    def task(self) -> Task:
        """The task of this environment."""
        return self._task

    # -- inside -------------------------------------------------------------------------------------------------------

    def _tick(self, intent: Intent, *, is_exact: bool, is_last: bool) -> tuple[float, bool]:
        """One tick; the metres walked over the floor, and whether something was in the way."""
        session, rig = self._session, self._session.rig
        if is_exact:
            rig.state = replace(rig.state, velocity=rig.velocity_of(intent))
        before, wish = rig.state.position, rig.wish(intent, session.tick_s)
        session.tick(intent, plan_now=is_last)
        walked = _flat(rig.state.position, before, rig.down_world)
        astray = _flat(rig.state.position, wish.position, rig.down_world)
        return walked, astray > COLLISION_SLACK_M

    def _may_stop(self) -> bool:
        """Whether asking for nothing means to stop: always with discrete actions, otherwise where a task needs it."""
        return isinstance(self.action_space, spaces.Discrete) or "goal" in self._task.spaces()

    def _observe(self) -> Observation:
        assert self._frame is not None
        depth = np.minimum(self._frame.depth_m, np.float32(MAX_DEPTH_M))
        return {
            "rgb": self._frame.color.copy(),
            "depth": depth,
            "pose": np.array(self._frame.world_T_camera, np.float64),
            **self._task.observe(self._session),
        }

    def _info(self, measures: dict[str, Any]) -> dict[str, Any]:
        assert self._progress is not None
        status, state = self._session.status, self._session.rig.state
        return {
            "collided": self._progress.collided,
            "num_collisions": self._progress.num_collisions,
            "num_actions": self._progress.num_actions,
            "path_length_m": self._progress.path_m,
            "heading_rad": state.yaw_rad,
            "pitch_rad": state.pitch_rad,
            "tick": self._session.tick_count,
            "clips_merged": status.merged_clips,
            "clips_failed": status.outcomes.get("failed", 0),
            **({} if self._truth is None else {"truth": self._truth.tell(self._session)}),
            **measures,
        }


def _world_of(world: World | str | PathLike[str]) -> World:
    """A world of the environment's own: a fork, or read from what a path or a sample's name says."""
    if isinstance(world, World):
        return world.fork()
    path = Path(world)
    if path.suffix == ".spatia":
        return open_world(path, read_only=True)
    from .sources import make_world

    return make_world(str(world), {}, seed=0, prompt="", progress=lambda what, share: None)


def _session_of(world: World, generator: str | None, size: tuple[int, int], fov_rad: float | None) -> Session:
    world.walk.is_flying = False  # an agent walks
    session = Session(world, generator or "", wait=True, size=size, tick_s=1.0 / ROLLOUT_RATE_HZ)
    session.pinhole = _pinhole_of(world, size, fov_rad)
    session.collision.chunks_per_tick = EVERY_CHUNK  # what blocks must not depend on what was walked before
    return session


def _pinhole_of(world: World, size: tuple[int, int], fov_rad: float | None) -> Pinhole:
    if fov_rad is None:
        return world.pinhole_for(size)
    if not 0.05 < fov_rad < 3.0:
        raise ValueError(f"fov_rad: expected 0.05 to 3 radians across, got {fov_rad}")
    return Pinhole.from_fov(*size, fov_rad)


def _size_of(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (int(v) for v in size)
    if width < 8 or height < 8:
        raise ValueError(f"size: expected a width and height of at least 8 pixels, got {width}x{height}")
    return width, height


def _options(options: dict[str, Any] | None) -> dict[str, Any]:
    given = dict(options or {})
    unknown = sorted(set(given) - {"pose", "goal"})
    if unknown:
        raise UserError("options 'pose' and 'goal'", repr(unknown[0]), "check the name")
    return given


def _flat(a: tuple[float, float, float], b: tuple[float, float, float], down: npt.NDArray[np.float64]) -> float:
    """Metres between two positions, seen along gravity."""
    offset = np.subtract(a, b)
    return float(np.linalg.norm(offset - down * (offset @ down)))
