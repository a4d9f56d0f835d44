"""What is asked of a clip generator, and what it gives back. These fields are the whole protocol."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.memory import MemorySnapshot


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFrame:
    """A keyframe that sees the same surface as the path ahead.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres, 0 unknown, or None.
        pinhole: Intrinsics of the image.
        world_T_camera: (4, 4) float64.
        is_observed: True for a photo, False for something generated.
        keyframe_id: Identity of the keyframe.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32] | None
    pinhole: Pinhole
    world_T_camera: npt.NDArray[np.float64]
    is_observed: bool
    keyframe_id: int = 0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a clip may take. Generators without such settings ignore it.

    Attributes:
        num_steps: Denoising steps.
        guidance: Factor of (conditional - unconditional); 1 or less needs one pass a step instead of two.
        max_pixels: Of a frame; a larger one is made smaller, then enlarged.
    """

    num_steps: int
    guidance: float
    max_pixels: int

    @property
    def num_passes(self) -> int:
        """Passes through the network."""
        return self.num_steps * (2 if self.guidance > 1.0 else 1)

    def pixels_of(self, num_pixels: int) -> int:
        """Pixels of a frame as it is made, of those asked for."""
        return min(num_pixels, self.max_pixels)


@dataclass(frozen=True, slots=True, eq=False)
class ClipRequest:
    """One clip to generate, as the director asks for it. Values only: it crosses a process border.

    Attributes:
        request_id: Identity, 1 or more, never used twice in a world.
        epoch: Bumped by reset, load and undo; a result of another epoch is stale.
        seed: Seed of this clip.
        prompt: What the person asked for.
        world_T_camera: (F, 4, 4) float64, the path asked for.
        pinhole: Intrinsics and size of every frame.
        memory: Points in the frusta of the path; the worker renders the scene video from them.
        first_keyframe_id: Identities ``first_keyframe_id … + F - 1`` are reserved for the clip's frames.
        references: Up to 7 keyframes, best first.
        tail: (9, H, W, 3) uint8, the last frames of the clip that this one continues, or None in a first round. They
            come before the path's first pose.
        tail_world_T_camera: (9, 4, 4) float64, the tail's poses, or None where there is none or they are not known.
        tail_request_id: Request of the clip that the tail belongs to, or 0 where there is none or it is not known.
        up_world: (3,) direction away from gravity.
        floor: (4,) plane n·x + d = 0, n upwards, or None where no floor is known.
        purpose: "way" ahead of the walker, "again" where something that moved had hidden a part, "ring" around a
            standing one, "reroll" of an undone region, "round" of a path that is known to its end.
        tick: Simulation tick of the request.
        time_s: Simulated seconds since the world began, for what moves by itself.
        place: Name of the procedural place that the world is, such as "rooms:7:day"; empty for any other world.
        effort: How much work the clip may take, or None for the generator's own setting.
        clicks: Places in the path's view, world metres, where the person says that something moves.
        after: Request of the clip whose end this one goes on from while ``memory`` does not hold it yet, or 0. Both are
            made by the same generator, in this order.
        num_padded: The last so many poses repeat the one before them: they fill a round up to the length that the
            generator was trained for. Their frames are made, then dropped: they are neither shown nor lifted.
    """

    request_id: int
    epoch: int
    seed: int
    prompt: str
    world_T_camera: npt.NDArray[np.float64]
    pinhole: Pinhole
    memory: MemorySnapshot
    first_keyframe_id: int
    references: tuple[ReferenceFrame, ...] = ()
    tail: npt.NDArray[np.uint8] | None = None
    tail_world_T_camera: npt.NDArray[np.float64] | None = None
    up_world: tuple[float, float, float] = (0.0, -1.0, 0.0)
    floor: tuple[float, float, float, float] | None = None
    purpose: str = "way"
    tick: int = 0
    place: str = ""
    time_s: float = 0.0
    effort: Effort | None = None
    clicks: tuple[tuple[float, float, float], ...] = ()
    after: int = 0
    tail_request_id: int = 0
    num_padded: int = 0

    @property
    def num_frames(self) -> int:
        """Frames asked for."""
        return len(self.world_T_camera)


@dataclass(frozen=True, slots=True, eq=False)
class SceneVideo:
    """Memory rendered along the requested path: what the generator is conditioned on.

    Attributes:
        color: (F, H, W, 3) uint8 sRGB, black where nothing is.
        depth_m: (F, H, W) float32 metres along +Z, 0 where nothing is.
        coverage: (F, H, W) float32 in [0, 1], where memory has points that count for the generator's rank.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A generated clip.

    Attributes:
        frames: (F, H, W, 3) uint8 sRGB at the requested poses and size.
        depth_m: (F, H, W) float32 metres along +Z, 0 unknown, or None if the generator knows none.
        confidence: (F, H, W) float32 in [0, 1], or None.
        moving: (F, H, W) bool, True where something moves and must stay out of memory, or None.
        new_surface: (F, H, W) bool, True where the generator added something that memory lacked, or None (everywhere).
        is_exact: Color and depth are those of one place that does not change, so that clips may overlap.
        seconds: Time by phase, such as {"condition": 0.1, "generate": 2.0}.
        world_T_camera: (F, 4, 4) float64 poses of the frames where they are not those asked for, or None.
        unplaced: Why the frames' poses are not known; the clip is then rejected with this reason.
    """

    frames: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32] | None = None
    confidence: npt.NDArray[np.float32] | None = None
    moving: npt.NDArray[np.bool_] | None = None
    new_surface: npt.NDArray[np.bool_] | None = None
    is_exact: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    world_T_camera: npt.NDArray[np.float64] | None = None
    unplaced: str = ""


class GenerationCancelledError(Exception):
    """Raised by ``Progress.check`` inside a generator whose request is no longer wanted."""


class Progress(Protocol):
    """How a generator reports and learns that it should stop."""

    def check(self, phase: str, fraction: float) -> None:
        """Report a step; call it between steps.

        Args:
            phase: Short name of what is going on, shown to the walker.
            fraction: Share of the clip that is done, 0..1.

        Raises:
            GenerationCancelledError: The request was cancelled; let it pass through.
        """
        ...


class Watcher(Progress, Protocol):
    """Progress that also takes finished frames, so that a walker sees them before the clip is whole."""

    def show(self, first_index: int, frames: npt.NDArray[np.uint8]) -> None:
        """Take frames that are finished.

        Args:
            first_index: Of the first of them in the clip; pieces come in order, without gaps.
            frames: (K, H, W, 3) uint8 sRGB of the request's size or smaller. Not kept.

        Raises:
            GenerationCancelledError: As ``check``.
            ValueError: They do not go on where the last ones ended, or the clip has fewer.
        """
        ...


def show_frames(progress: Progress, first_index: int, frames: npt.NDArray[np.uint8]) -> None:
    """Hand finished frames of a clip to whoever watches, if anybody does; see ``Watcher.show``.

    A generator that finishes frames one after the other calls it as they come; the clip that it returns counts.
    """
    show = getattr(progress, "show", None)
    if show is not None:
        show(first_index, frames)


class Generator(Protocol):
    """A clip generator. Lives in the worker process; made there, used by one thread.

    A third party registers its class as an entry point of the group ``spatia.generators``; it is called with no
    argument in the worker.

    One that has something to make ahead may also have ``prepare(request, progress)``: called once in a new worker, with
    a request like those to come (its references, floor, prompt and size; its pose is where the walk begins), before
    the first is sent.

    One that was trained to make long paths in rounds may say so by ``rounds = (first, later, history)``: frames of the
    first round, of every later one, and how many of those are the last ones of the round before (9 at most, and at most
    half of a round). A rollout along a given path is then asked for in these rounds, whatever memory holds: a later
    request has ``history`` frames as its tail and ``later - history`` poses.

    One whose clips do not follow the path says so by ``follows_poses = False`` and gives poses with its clips.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    """0..63: a higher one's results replace a lower one's. Placeholders are below 8, trained models from 32."""
    native_speed: ClassVar[tuple[float, float] | None]
    """Fastest camera motion it was trained for, (m/s, rad/s) at 24 fps, or None if any motion will do."""
    wants_key_views: ClassVar[bool]
    """True if it fills single views (a request then holds a few key views), False if it makes continuous clips."""

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Make one clip; may take long, must call ``progress.check`` between steps.

        Raises:
            GenerationCancelledError: From ``progress.check``.
            Exception: Anything else ends the request as failed; the walk goes on.
        """
        ...
