"""What happens to one request in the worker: condition, generate, check, lift.

``condition`` renders what memory holds along the requested path, ``generate`` asks the generator for a clip, the
clip is checked, and ``lift`` makes a ``MapUpdate`` of it. Renderer and SLAM are imported when they are first used.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..renderer.interface import DrawOptions, Renderer
from ..world.keyframes import Keyframe
from ..world.points import PointBatch, PointClass, priority_of
from ..world.updates import DepthView, MapUpdate, UpdateReport
from .errors import GarbageClipError
from .learned import LearnedTools
from .requests import Clip, ClipRequest, Generator, Progress, ReferenceFrame, SceneVideo, show_frames

TAIL_FRAMES = 9
"""Frames that a later clip continues from, as in the paper."""

CONDITION_SHARE = 0.15
"""Share of the progress shown for rendering the scene video."""
GENERATE_SHARE = 0.70
"""Share of the progress shown for the generator; the rest is lifting."""
LIFT_START = CONDITION_SHARE + GENERATE_SHARE


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What came of one request.

    Attributes:
        request_id: Identity of the request.
        epoch: Its epoch.
        update: What the clip proposes to memory; ``update.report.rejected`` says why nothing may be merged.
        tail: (≤ 9, H, W, 3) uint8, the last frames, for a clip that continues this one.
        frames: (F, H, W, 3) uint8 sRGB, all frames, or None if they were not kept.
        seconds: Time by phase: "condition", "generate", "check", "lift", and "generate/…" as the generator says.
    """

    request_id: int
    epoch: int
    update: MapUpdate
    tail: npt.NDArray[np.uint8]
    frames: npt.NDArray[np.uint8] | None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class MadeClip:
    """A clip that was made and checked, but not lifted yet.

    Attributes:
        request: What was asked for, without padding.
        clip: What came.
        seconds: Time by phase so far.
    """

    request: ClipRequest
    clip: Clip
    seconds: dict[str, float]

    @property
    def lifts_long(self) -> bool:
        """Whether depth has to be found from motion, which takes long enough for the generator to go on meanwhile."""
        return self.clip.depth_m is None and not self.clip.unplaced and self.request.num_frames > 1

    @property
    def early_tail(self) -> npt.NDArray[np.uint8] | None:
        """(≤ 9, H, W, 3) uint8 last frames, at the poses asked for; None if the poses are others."""
        if self.clip.world_T_camera is not None or self.clip.unplaced:
            return None
        return np.ascontiguousarray(self.clip.frames[-TAIL_FRAMES:])


def run_request(
    request: ClipRequest,
    generator: Generator,
    progress: Progress,
    *,
    renderer: Renderer | None = None,
    tools: LearnedTools | None = None,
    now_s: Callable[[], float] = time.perf_counter,
) -> ClipResult:
    """Make one clip and lift it: ``make_clip``, then ``lift_clip``; see there.

    Raises:
        GenerationCancelledError: From ``progress.check``.
        GarbageClipError: The clip is not what was asked for.
        AlignmentError: The clip does not fit what memory holds.
        Exception: Whatever the generator raises.
    """
    made = make_clip(request, generator, progress, renderer=renderer, now_s=now_s)
    return lift_clip(made, generator.rank, progress, tools=tools, now_s=now_s)


def make_clip(
    request: ClipRequest,
    generator: Generator,
    progress: Progress,
    *,
    renderer: Renderer | None = None,
    now_s: Callable[[], float] = time.perf_counter,
) -> MadeClip:
    """Condition, generate, check.

    Args:
        request: What to make.
        generator: Makes the clip; called in this thread.
        progress: Told of every step; may end the work.
        renderer: Draws the scene video; a software renderer of its own if not given. One that is given is kept
            for the next request and copies only changed chunks.
        now_s: Time source for ``seconds``.

    Raises:
        GenerationCancelledError: From ``progress.check``.
        GarbageClipError: The clip is not what was asked for.
        Exception: Whatever the generator raises.
    """
    seconds: dict[str, float] = {}
    with _timed("condition", seconds, now_s):
        scene = render_scene(request, generator.rank, renderer or new_renderer(), _Part(progress, 0.0, CONDITION_SHARE))
    with _timed("generate", seconds, now_s):
        clip = generator.generate(request, scene, _Part(progress, CONDITION_SHARE, LIFT_START))
    with _timed("check", seconds, now_s):
        check_clip(clip, request)
    if request.num_padded:
        request, clip = without_padding(request, clip)
    return MadeClip(request, clip, seconds)


def lift_clip(
    made: MadeClip,
    rank: int,
    progress: Progress,
    *,
    tools: LearnedTools | None = None,
    placed: ClipRequest | None = None,
    now_s: Callable[[], float] = time.perf_counter,
) -> ClipResult:
    """Make a map update of a clip; may run beside ``make_clip`` of the next one, on another thread.

    Args:
        made: The clip.
        rank: Of its generator.
        progress: Told of begin and end.
        tools: Estimator and segmenter; without weights if not given.
        placed: The request as it is to be lifted, where it is not as it was asked for (``sequel``).
        now_s: Time source for ``seconds``.

    Raises:
        GenerationCancelledError: From ``progress.check``.
        GarbageClipError: A single frame claims new surface but brings no depth.
        AlignmentError: The clip does not fit what memory holds.
    """
    request, clip, seconds = made.request, made.clip, dict(made.seconds)
    progress.check("lift", LIFT_START)
    with _timed("lift", seconds, now_s):
        update = lift(clip, placed or request, rank, tools)
    progress.check("lift", 1.0)
    seconds |= {f"generate/{phase}": float(value) for phase, value in clip.seconds.items()}
    frames = np.ascontiguousarray(clip.frames)
    return ClipResult(request.request_id, request.epoch, update, frames[-TAIL_FRAMES:], frames, seconds)


def new_renderer() -> Renderer:
    """The renderer of scene videos: software, so that drivers do not matter."""
    from ..renderer.software import SoftwareRenderer

    return SoftwareRenderer()


def render_scene(request: ClipRequest, rank: int, renderer: Renderer, progress: Progress) -> SceneVideo:
    """Render memory along the requested path.

    Args:
        request: Path, memory and references.
        rank: Of the generator: what a lower one invented is left out, and so counts as uncovered.
        renderer: Draws; takes over the request's memory.
        progress: Told of every frame.

    Returns:
        Scene video of the request's size. Fresh memory.
    """
    progress.check("condition", 0.0)
    renderer.update(request.memory, [keyframe_of(r) for r in request.references])
    options = DrawOptions(use_keyframes=True, min_priority=priority_of(PointClass.INVENTED, rank))
    height, width = request.pinhole.height, request.pinhole.width
    color = np.zeros((request.num_frames, height, width, 3), np.uint8)
    depth_m = np.zeros((request.num_frames, height, width), np.float32)
    coverage = np.zeros((request.num_frames, height, width), np.float32)
    for index, world_T_camera in enumerate(request.world_T_camera):
        view = renderer.render(world_T_camera, request.pinhole, options)
        color[index], depth_m[index], coverage[index] = view.color, view.depth_m, view.coverage
        progress.check("condition", (index + 1) / request.num_frames)
    return SceneVideo(color, depth_m, coverage)


def keyframe_of(reference: ReferenceFrame) -> Keyframe:
    """The keyframe behind a reference, for renderers."""
    return Keyframe(
        reference.keyframe_id,
        0,
        reference.color,
        reference.pinhole,
        reference.world_T_camera,
        PointClass.OBSERVED if reference.is_observed else PointClass.INVENTED,
        depth_m=reference.depth_m,
    )


def without_padding(request: ClipRequest, clip: Clip) -> tuple[ClipRequest, Clip]:
    """Request and clip as if the poses that only fill the round had not been asked for."""
    num = request.num_frames - request.num_padded
    arrays = ("frames", "depth_m", "confidence", "moving", "new_surface", "world_T_camera")
    kept = {name: None if (a := getattr(clip, name)) is None else a[:num] for name in arrays}
    return replace(request, world_T_camera=request.world_T_camera[:num], num_padded=0), replace(clip, **kept)


def check_clip(clip: Clip, request: ClipRequest) -> None:
    """Check that a clip is what was asked for.

    Raises:
        GarbageClipError: Type, shape, dtype or range is wrong; the message says what was expected and what came.
    """
    if not isinstance(clip, Clip):
        raise GarbageClipError(f"the generator returned {type(clip).__name__}, expected Clip")
    shape = (request.num_frames, request.pinhole.height, request.pinhole.width)
    _check_array("frames", clip.frames, (*shape, 3), np.uint8)
    if clip.depth_m is not None:
        _check_array("depth_m", clip.depth_m, shape, np.float32)
        _check_range("depth_m", clip.depth_m, float("inf"), "metres, 0 unknown")
    if clip.confidence is not None:
        _check_array("confidence", clip.confidence, shape, np.float32)
        _check_range("confidence", clip.confidence, 1.0, "in [0, 1]")
    if clip.world_T_camera is not None:
        _check_array("world_T_camera", clip.world_T_camera, (request.num_frames, 4, 4), np.float64)
    for name in ("moving", "new_surface"):
        if getattr(clip, name) is not None:
            _check_array(name, getattr(clip, name), shape, np.bool_)


def _check_array(name: str, value: object, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    wanted = f"{shape} {np.dtype(dtype)}"
    if not isinstance(value, np.ndarray):
        raise GarbageClipError(f"clip.{name}: expected an array {wanted}, got {type(value).__name__}")
    if value.shape != shape or value.dtype != dtype:
        raise GarbageClipError(f"clip.{name}: expected {wanted}, got {value.shape} {value.dtype}")


def _check_range(name: str, value: npt.NDArray[np.float32], top: float, meaning: str) -> None:
    low, high = float(value.min()), float(value.max())  # NaN spreads to both
    if not (low >= 0.0 and high <= top and np.isfinite(high)):
        raise GarbageClipError(f"clip.{name}: expected finite numbers {meaning}, got {low:g} to {high:g}")


def lift(clip: Clip, request: ClipRequest, rank: int, tools: LearnedTools | None = None) -> MapUpdate:
    """Make a map update of a checked clip. Depth that a clip of several frames lacks is found from its motion.

    Args:
        clip: What was made.
        request: What was asked for.
        rank: Of the generator.
        tools: Estimator and segmenter to use; without weights if not given.

    Raises:
        GarbageClipError: A single frame claims new surface but brings no depth to place it.
        AlignmentError: The clip does not fit what memory holds.
    """
    from ..world.slam.estimators import FrameStack
    from ..world.slam.segmenters import clicks_at
    from ..world.slam.update import build_update

    poses = request.world_T_camera if clip.world_T_camera is None else clip.world_T_camera
    if clip.unplaced:
        report = UpdateReport("placement", clip.unplaced, tests={"rejected_by_placement": 1.0})
        return MapUpdate(PointBatch.empty(), (), (), request.world_T_camera.copy(), report)
    depth_m, new_surface, estimator = clip.depth_m, clip.new_surface, "given"
    is_found = depth_m is None and (new_surface is None or bool(new_surface.any()))
    if is_found:
        if request.num_frames < 2:
            raise GarbageClipError("clip.depth_m: expected depth for new surface in a single frame, got None")
        estimator = "multiview" if tools is None else tools.estimator([keyframe_of(r) for r in request.references])
        new_surface = None  # which of its key views show something new is found by depth
    elif depth_m is None:
        depth_m = np.zeros(clip.frames.shape[:3], np.float32)
    stack = FrameStack(
        color=clip.frames,
        depth_m=depth_m,
        confidence=None if is_found else clip.confidence,
        moving=clip.moving,
        new_surface=new_surface,
        world_T_camera=poses,
        pinhole=request.pinhole,
        is_exact=clip.is_exact,
    )
    has_history = request.tail is not None and request.tail.shape[1:] == clip.frames.shape[1:]
    return build_update(
        stack,
        memory=request.memory,
        estimator=estimator,
        point_class=PointClass.INVENTED,
        rank=rank,
        request_id=request.request_id,
        first_keyframe_id=request.first_keyframe_id,
        prompt=request.prompt,
        tick=request.tick,
        keep_visible=observed_views(request.references),
        find_moving=True if is_found else None,
        segmenter=tools.segmenter() if tools is not None and new_surface is None else None,
        clicks=clicks_at(request.clicks, poses, request.pinhole),
        history=request.tail if has_history else None,
        history_world_T_camera=request.tail_world_T_camera if has_history else None,
        history_request_id=request.tail_request_id,
    )


def observed_views(references: tuple[ReferenceFrame, ...]) -> tuple[DepthView, ...]:
    """Photos with depth among the references: nothing invented may hide what they see."""
    priority = priority_of(PointClass.OBSERVED)
    return tuple(
        DepthView(r.depth_m, r.pinhole, r.world_T_camera, priority)
        for r in references
        if r.is_observed and r.depth_m is not None
    )


class _Part:
    """A share of somebody else's progress."""

    def __init__(self, whole: Progress, start: float, end: float) -> None:
        self._whole, self._start, self._end = whole, start, end

    def check(self, phase: str, fraction: float) -> None:
        share = min(max(fraction, 0.0), 1.0)
        self._whole.check(phase, self._start + (self._end - self._start) * share)

    def show(self, first_index: int, frames: npt.NDArray[np.uint8]) -> None:
        show_frames(self._whole, first_index, frames)


@contextmanager
def _timed(phase: str, seconds: dict[str, float], now_s: Callable[[], float]) -> Iterator[None]:
    start = now_s()
    yield
    seconds[phase] = now_s() - start
