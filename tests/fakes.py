"""Stand-ins that honour the real interfaces: a clock, generators good and bad, and a small world.

Generators are named to a queue as ``spatia.tests.fakes:Class``; the worker imports them by that name.
"""

import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
from spatia.generator import pipeline
from spatia.generator.errors import MissingExtraError, TooLittleMemoryError
from spatia.generator.requests import Clip, ClipRequest, Progress, SceneVideo, show_frames
from spatia.world.camera import Pinhole
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.updates import MapUpdate, UpdateReport

MODULE = "spatia.tests.fakes"
PLANE_DEPTH_M = 2.0


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self._now_s = 100.0

    def now_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class RecordingProgress:
    """Keeps every step; cancels at the step that a test names."""

    def __init__(self, cancel_at: str = "") -> None:
        self.steps: list[tuple[str, float]] = []
        self._cancel_at = cancel_at

    def check(self, phase: str, fraction: float) -> None:
        from spatia.generator.requests import GenerationCancelledError

        self.steps.append((phase, fraction))
        if phase == self._cancel_at:
            raise GenerationCancelledError(phase)


class InstantGenerator:
    """Paints a green plane, 2 m ahead, wherever memory shows nothing."""

    name = "instant"
    rank = 3
    native_speed = None
    wants_key_views = True

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        progress.check("paint", 0.5)
        return self.painted(scene)

    @staticmethod
    def painted(scene: SceneVideo) -> Clip:
        new = scene.coverage < 0.5
        frames = np.where(new[..., None], np.array([0, 200, 0], np.uint8), scene.color)
        depth_m = np.where(new, np.float32(PLANE_DEPTH_M), scene.depth_m)
        return Clip(frames, depth_m, new_surface=new, seconds={"paint": 0.0})


class PreparedGenerator(InstantGenerator):
    """Paints only for the prompt that it was prepared with; "bad" cannot be prepared."""

    name = "prepared"

    def __init__(self) -> None:
        self._prompt: str | None = None

    def prepare(self, request: ClipRequest, progress: Progress) -> None:
        progress.check("look around", 0.5)
        if request.prompt == "bad":
            raise RuntimeError("nothing to see")
        self._prompt = request.prompt

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        if request.prompt != self._prompt:
            raise ValueError(f"prepared for {self._prompt}")
        return self.painted(scene)


class SlowGenerator(InstantGenerator):
    """Steps for ever, until it is cancelled."""

    name = "slow"

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        pace = threading.Event()
        while True:
            progress.check("dream", 0.5)
            pace.wait(0.005)


class RaisingGenerator(InstantGenerator):
    """Raises where the prompt asks for it."""

    name = "raising"

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        if request.prompt == "raise":
            raise ValueError("the prompt asked for it")
        return self.painted(scene)


class LazyLoadingGenerator(InstantGenerator):
    """Cannot be made: it needs a library of an extra that nobody has."""

    name = "lazy"

    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'sam2'", name="sam2")


class BrokenStartGenerator(InstantGenerator):
    """Cannot be made, for a reason that might pass."""

    name = "broken"

    def __init__(self) -> None:
        raise RuntimeError("no room on the device")


class MissingModelGenerator(InstantGenerator):
    """Cannot be made: nobody has its weights."""

    name = "missing"

    def __init__(self) -> None:
        raise MissingExtraError("model 'missing' is not complete\nput weights.bin into models/", name="weights.bin")


class TooLargeGenerator(InstantGenerator):
    """Finds with its first clip that it does not fit."""

    name = "large"

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        raise TooLittleMemoryError("needs 24 GB, 8 GB are free\n--quality draft would fit")


class ExhaustedGenerator(InstantGenerator):
    """Paints one clip, then runs out of memory."""

    name = "exhausted"

    def __init__(self) -> None:
        self._is_first = True

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        if not self._is_first:
            raise MemoryError("no 2 GB in one piece")
        self._is_first = False
        return self.painted(scene)


class DiffusingGenerator(InstantGenerator):
    """Says that denoising took a minute."""

    name = "diffusing"

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        return replace(self.painted(scene), seconds={"denoise": 60.0})


class FaultyGenerator(InstantGenerator):
    """Does what the prompt says: "crash in condition", "hang", "garbage depth", …; otherwise paints.

    Faults outside of ``generate`` are put into the pipeline of the process that it is made in, so make it in a worker
    only.
    """

    name = "faulty"

    def __init__(self) -> None:
        self._render_scene, self._lift = pipeline.render_scene, pipeline.lift
        setattr(pipeline, "render_scene", self._faulty_render_scene)  # noqa: B010 - a fault on purpose
        setattr(pipeline, "lift", self._faulty_lift)  # noqa: B010

    def _faulty_render_scene(self, request: ClipRequest, *rest: Any) -> SceneVideo:
        if request.prompt == "crash in condition":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._render_scene(request, *rest)

    def _faulty_lift(self, clip: Clip, request: ClipRequest, *rest: Any) -> Any:
        if request.prompt == "crash in lift":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._lift(clip, request, *rest)

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        progress.check("paint", 0.5)
        match request.prompt:
            case "crash in generate":
                os.kill(os.getpid(), signal.SIGKILL)
            case "leave":
                os._exit(3)
            case "abort":
                os.abort()
            case "crash beside a child":
                leave_child_behind()
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                threading.Event().wait()
            case "step":
                SlowGenerator().generate(request, scene, progress)
            case "raise":
                raise ValueError("the prompt asked for it")
            case "allocate":
                np.empty(1 << 50, np.uint8)
            case "garbage depth":
                return Clip(scene.color, np.full(scene.depth_m.shape, np.nan, np.float32))
            case "garbage type":
                return "no clip"  # type: ignore[return-value]
            case "modules":
                heavy = ("numpy", "pygame", "moderngl", "glfw", "torch", "multiprocessing.resource_tracker")
                raise ValueError(" ".join(name for name in heavy if name in sys.modules))
            case "settings":
                threads = os.environ["OMP_NUM_THREADS"]
                raise ValueError(f"pid {os.getpid()} nice {os.nice(0)} threads {threads} main {is_main_ours()}")
        return self.painted(scene)


def is_main_ours() -> bool:
    """True where the process runs the worker and not the user's script."""
    import __main__

    return str(getattr(__main__, "__file__", "")).endswith("worker.py")


def shared_memory() -> set[str]:
    """Names that Python or this package gave in shared memory; those of other programs come and go."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "sem.", "spatia"))}


def leave_child_behind() -> None:
    """Fork a child that holds every descriptor open and sleeps."""
    if os.fork() == 0:
        threading.Event().wait()


def wall_memory(voxel_size_m: float = 0.05) -> SpatialMemory:
    """A red wall 1 m ahead that covers the left half of the view of ``make_request``."""
    x, y = np.meshgrid(np.arange(-1.5, 0.0, 0.02), np.arange(-1.5, 1.5, 0.02))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.0)], 1).astype(np.float32)
    colors = np.broadcast_to(np.array([200, 0, 0], np.uint8), points.shape).copy()
    memory = SpatialMemory(voxel_size_m)
    memory.insert(PointBatch.uniform(points, colors, priority=priority_of(PointClass.OBSERVED), keyframe=1, weights=8))
    return memory


def make_request(
    request_id: int = 1,
    *,
    memory: MemorySnapshot | None = None,
    epoch: int = 0,
    prompt: str = "",
    num_frames: int = 1,
    size: tuple[int, int] = (32, 24),
) -> ClipRequest:
    """A request for frames at the origin, looking along +Z, 90° wide."""
    return ClipRequest(
        request_id=request_id,
        epoch=epoch,
        seed=7,
        prompt=prompt,
        world_T_camera=np.repeat(np.eye(4)[None], num_frames, 0),
        pinhole=Pinhole.from_fov(*size, fov_x_rad=np.pi / 2),
        memory=memory if memory is not None else SpatialMemory(0.05).snapshot(),
        first_keyframe_id=100 * request_id,
    )


class FilmGenerator:
    """Makes continuous clips without depth, so that they are lifted beside the next one; by a stand-in of lifting.

    The stand-in puts a point before each camera, coloured by how much memory it was lifted on, and moves the path by
    1 cm, as alignment does. What the prompt says happens: "show" shows frames and goes on until it is cancelled, "meet"
    is lifted until the next clip has begun, "stay" for ever, "crash" kills the worker, "allocate" lacks memory, "wide"
    shows more frames than it makes, "elsewhere" gives other poses.
    """

    name = "film"
    rank = 40
    native_speed = None
    wants_key_views = False

    def __init__(self) -> None:
        self._has_begun: dict[int, threading.Event] = {}
        setattr(pipeline, "lift", self._lift)  # noqa: B010 - in a worker, or where a test puts it back

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        self._begun(request.request_id).set()
        frames = np.full(scene.color.shape, request.request_id % 256, np.uint8)
        show_frames(progress, 0, frames[:2])
        match request.prompt:
            case "show":
                SlowGenerator().generate(request, scene, progress)
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "allocate":
                raise MemoryError("no 2 GB in one piece")
            case "wide":
                show_frames(progress, 2, np.concatenate([frames, frames]))
            case "elsewhere":
                return Clip(frames, world_T_camera=request.world_T_camera.copy())
        return Clip(frames)

    def _begun(self, request_id: int) -> threading.Event:
        return self._has_begun.setdefault(request_id, threading.Event())

    def _lift(self, clip: Clip, request: ClipRequest, *_: Any) -> MapUpdate:
        if request.prompt == "stay":
            threading.Event().wait()
        if request.prompt == "meet" and is_main_ours():
            self._begun(request.request_id + 1).wait()
        poses = request.world_T_camera.copy()
        poses[:, 0, 3] += 0.01
        ahead = (poses[:, :3, 3] + poses[:, :3, 2]).astype(np.float32)
        color = np.full((len(ahead), 3), request.memory.num_points % 251, np.uint8)
        points = PointBatch.uniform(
            ahead,
            color,
            priority=priority_of(PointClass.INVENTED, self.rank),
            keyframe=request.first_keyframe_id,
            weights=8,
        )
        return MapUpdate(points, (), (), poses, UpdateReport("stand-in"))


class RoundsGenerator(FilmGenerator):
    """Makes paths in short rounds. A frame's grey tells where along X its camera stands: 5 levels a centimetre.

    What the prompt says happens: "fail" is an error, "allocate" lacks memory, "refuse" does not fit memory.
    """

    name = "rounds"
    rounds = (13, 9, 3)

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        if request.prompt == "fail":
            raise ValueError("the prompt asked for it")
        clip = super().generate(request, scene, progress)
        grey = np.round(request.world_T_camera[:, 0, 3] * 500.0).astype(np.uint8)
        return replace(clip, frames=np.broadcast_to(grey[:, None, None, None], clip.frames.shape).copy())

    def _lift(self, clip: Clip, request: ClipRequest, *rest: Any) -> MapUpdate:
        update = super()._lift(clip, request, *rest)
        if request.prompt == "refuse":
            return replace(update, points=PointBatch.empty(), report=UpdateReport("stand-in", "does not fit memory"))
        return update
