"""When a clip is asked for, and from what: on one background thread, unless the session waits for its clips.

The same thread unpacks photos for the walk's pictures, since both look at memory through the director.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from ..generator.requests import ClipRequest
from ..renderer.photos import Photo
from ..renderer.software import SoftwareRenderer
from ..world.paged_views import coverage_view
from ..world.transforms import Transform
from .director import ClipPlan
from .drafting import Moment, moment_of
from .process import release_free_memory

if TYPE_CHECKING:
    from .clips import ClipLoop

PLAN_EVERY_S = 0.25
MAX_OUTSTANDING = 2
MAX_PHOTOS_AT_ONCE = 2
"""Photos unpacked in one go: some 20 ms each, for which staging a clip may have to wait."""
IRRELEVANT_S = 2.0
TRIM_EVERY_DRAFTS = 8
"""Freed memory is given back to the system every few plans, on the background thread."""

Draft = tuple[ClipPlan, ClipRequest]


class ClipPlanner:
    """Plans clips for a loop. On the session's thread, but for ``draft``, which runs on any.

    Args:
        clips: The loop that asks for them.
        background: Where drafts and photos are made.
        prediction: Gives the pose in so many seconds if the walker goes on as now; what it gives is used on any thread.
        tick_s: Length of a tick.
        memory_limit: Bytes of points above which nothing more is planned.
    """

    def __init__(
        self,
        clips: "ClipLoop",
        background: Executor,
        prediction: Callable[[], Callable[[float], Transform]],
        *,
        tick_s: float,
        memory_limit: int | None,
    ) -> None:
        self._clips, self._background, self._prediction = clips, background, prediction
        self._tick_s, self._memory_limit = tick_s, memory_limit
        self._planning: Future[Draft | None] | None = None
        self._photos: Future[list[Photo]] | None = None
        self._irrelevant_since: tuple[int, int] | None = None
        self._num_drafts = 0
        self.last_plan_tick = -(10**9)
        self.ring_pause_s = 0.0
        """Rest after a clip before the ring around the walker is closed further, where frames have no time to spare."""

    @property
    def _tick(self) -> int:
        return self._clips.world.walk.tick

    @property
    def pending(self) -> "Future[Draft | None] | None":
        """The draft that is being made, if one is."""
        return self._planning

    def is_due(self, pause_s: float = PLAN_EVERY_S) -> bool:
        """Whether the last plan is so long ago."""
        return (self._tick - self.last_plan_tick) * self._tick_s >= pause_s - 1e-9

    def plan_soon(self) -> None:
        """Plan in this tick even if it is not due yet."""
        self.last_plan_tick = -(10**9)

    def forget(self) -> None:
        """Let a draft that is being made lead nowhere: it is of another world."""
        self._planning = None

    def plan(self) -> None:
        """Submit the draft that is done, or begin the next one if it is due."""
        clips = self._clips
        self._cancel_irrelevant()
        if self._planning is not None:
            if self._planning.done():
                drafted, self._planning = self._planning.result(), None
                if drafted is not None and clips.early.is_current(drafted[0].tail):
                    clips.submit(*drafted)
            return
        is_free = clips.num_outstanding < MAX_OUTSTANDING and clips.queue.state in ("idle", "busy")
        if is_free and self.is_due(clips.failures.pause_s(PLAN_EVERY_S)):
            self.last_plan_tick = self._tick
            moment, ring = moment_of(clips.world), self._may_close_ring()
            self._planning = self._background.submit(self.draft, moment, self._prediction(), ring)

    def draft_now(self, *, ring: bool = False) -> Draft | None:
        """A draft of this moment, at once."""
        return self.draft(moment_of(self._clips.world), self._prediction(), ring)

    def draft(self, moment: Moment, predict: Callable[[float], Transform], ring: bool) -> Draft | None:
        """Plan a clip and put together its request, all but its identity. Runs on any thread."""
        clips = self._clips
        if not clips.is_waiting and self._num_drafts % TRIM_EVERY_DRAFTS == 0:
            release_free_memory()
        self._num_drafts += 1
        if self._memory_limit is not None and moment.memory.held_bytes > self._memory_limit:
            clips.status.notice = "the memory limit is reached: nothing more is generated"
            return None
        around = coverage_view(moment.memory, predict(0.0)[:3, 3])
        now_s = moment.tick * self._tick_s
        plan = clips.director.plan(around, clips.pinhole, predict, ring=ring, now_s=now_s)
        return None if plan is None else (plan, clips.request_of(plan, moment))

    def _may_close_ring(self) -> bool:
        """Whether what is not needed for the way ahead may be asked for, too."""
        if self.ring_pause_s == 0.0:
            return True
        rested_s = (self._tick - self._clips.last_end_tick) * self._tick_s
        return not self._clips.num_outstanding and rested_s >= self.ring_pause_s

    def _cancel_irrelevant(self) -> None:
        """Give up a clip that has led nowhere for two seconds and is not yet half done."""
        clips, progress = self._clips, self._clips.queue.progress
        plan = None if progress is None else clips.plan_of(progress.request_id)
        if progress is None or plan is None:
            return
        if plan.purpose != "way" or clips.director.is_relevant(plan, self._prediction()):
            self._irrelevant_since = None
            return
        if self._irrelevant_since is None or self._irrelevant_since[0] != progress.request_id:
            self._irrelevant_since = (progress.request_id, self._tick)
        waited_s = (self._tick - self._irrelevant_since[1]) * self._tick_s
        if waited_s > IRRELEVANT_S and progress.fraction < 0.5:
            clips.queue.cancel(progress.request_id)

    def serve_photos(self, renderer: SoftwareRenderer) -> None:
        """Have the photos that a live loop's pictures lack unpacked."""
        clips = self._clips
        if self._photos is not None and self._photos.done():
            made, self._photos = self._photos.result(), None
            renderer.take_photos(made)
        if self._photos is None and (wanted := renderer.wanted_photos):
            around = coverage_view(clips.world.memory.snapshot(), clips.world.walk.world_T_camera[:3, 3])
            make = clips.director.make_photos
            self._photos = self._background.submit(make, around, wanted[:MAX_PHOTOS_AT_ONCE])
