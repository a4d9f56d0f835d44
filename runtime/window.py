"""The loop of a window: fixed ticks, interpolated drawing, an overlay, and nothing that ever waits for a clip."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ..input.intents import Intent
from ..renderer.capture import LiveVideoWriter, write_png
from ..world.camera import Pinhole
from ..world.images import cover
from .clock import Clock, FixedStep, WallClock
from .errors import UserError
from .headless import void_share
from .metrics import percentiles_ms
from .samples import garage_truth
from .session import Frame, Session

logger = logging.getLogger(__name__)

FRAME_ORDER = (
    "events: keys, mouse and gamepad become one intent",
    "look: turn at once by the mouse's angle",
    "ticks: as many fixed steps as time has passed",
    "extract: take over changed chunks within a budget",
    "draw: from the pose between the last two ticks",
    "overlay: only when it changed",
    "present",
    "pace: wait for the next frame's time",
)
FRAME_RATE_HZ = 60.0
SWITCH_INTERVAL_S = 0.0005
"""The background thread hands the interpreter over at once when a frame wants it back, instead of after 5 ms."""
UPLOAD_BUDGET_S = 0.0015
"""Time a frame may spend on taking over changed chunks."""
TARGET_WORK_S = 0.0115
"""Work per frame above which the picture is drawn smaller."""
MIN_SCALE = 0.75
RING_PAUSE_S = 2.5
"""Where frames are slow at the smallest size, the generator rests so long after a clip, unless the way needs one."""
ADAPT_EVERY_FRAMES = 10
FOV_RAD = float(np.radians(75.0))
"""The field of view opens to this as the surroundings become known."""
FOV_OPENING_RAD_S = float(np.radians(5.0))
KNOWN_SHARE = 0.92
AUTOSAVE_S = 30.0
MESSAGE_S = 2.5


class Screen(Protocol):
    """Where frames go: a window, or nowhere."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        ...

    def events(self) -> list[Any]:
        """What happened since the last call."""
        ...

    def present(self, color: Any, overlay: npt.NDArray[np.uint8] | None = None) -> None:
        """Show a picture."""
        ...


@dataclass(slots=True)
class LoopHooks:
    """What the loop calls and does not own: input, overlay, saving.

    Attributes:
        intent: Turns a frame's events into an intent.
        overlay: Draws the RGBA overlay, or None where there is none.
        save: Saves the world now; the text to show.
        autosave: Hands a snapshot to the saver; called every ``AUTOSAVE_S``.
        watch: Sees each frame's intent before its ticks run, and gives what they get in its place.
    """

    intent: Callable[[Iterable[Any]], Intent]
    overlay: "Callable[[WalkLoop], npt.NDArray[np.uint8] | None] | None" = None
    save: Callable[[], str] | None = None
    autosave: Callable[[], None] | None = None
    watch: Callable[[Intent], Intent] | None = None


class WalkLoop:
    """Runs a session at display rate. One thread, the window's, uses it.

    Args:
        session: Made with ``wait=False``.
        screen: Where frames go.
        clock: Time source.
        hooks: Input, overlay and saving.
        folder: For pictures and videos, or None to take none.
        size: Size that is drawn, (width, height).
        paced: False runs as fast as it can, for measuring.
        rate_hz: Frames a second when paced.
        is_adaptive: Draw smaller pictures while frames take too long.
    """

    def __init__(
        self,
        session: Session,
        screen: Screen,
        clock: Clock,
        hooks: LoopHooks,
        *,
        folder: Path | None = None,
        size: tuple[int, int],
        paced: bool = True,
        rate_hz: float = FRAME_RATE_HZ,
        is_adaptive: bool = True,
    ) -> None:
        self.session = session
        self.screen = screen
        self.clock = clock
        self.hooks = hooks
        self.size = size
        self.is_paced = paced
        self.rate_hz = rate_hz
        self._is_adaptive = is_adaptive
        self._work_clock = WallClock()  # work is real even where time is simulated
        self.step = FixedStep(session.tick_s)
        self.fov_rad = session.world.walk.fov_rad or session.world.pinhole_for(size).fov_x_rad
        self.scale = 1.0
        self.tint = self.help = self.details = self.masks = False
        self._wipe_since_s: float | None = None
        self._comparison: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], float] | None = None
        self.frame_times_s: deque[float] = deque(maxlen=240)
        self.frame: Frame | None = None
        self._folder = folder
        self._message: tuple[str, float] = ("", 0.0)
        self._video: LiveVideoWriter | None = None
        self._last_s: float | None = None
        self._next_s = clock.now_s()
        self._last_present_s: float | None = None
        self._last_autosave_s = clock.now_s()
        self._is_leaving = False

    # -- one frame ----------------------------------------------------------------------------------------------------

    def run(self, seconds: float | None = None) -> None:
        """Run until the person leaves, or for a time."""
        end_s = None if seconds is None else self.clock.now_s() + seconds
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            while not self._is_leaving and (end_s is None or self.clock.now_s() < end_s):
                self.run_frame()
        finally:
            sys.setswitchinterval(interval_s)
        self.stop_video()

    def run_frame(self) -> None:
        """One frame, in ``FRAME_ORDER``."""
        begin_s, work_begin_s = self.clock.now_s(), self._work_clock.now_s()
        passed_s = self.session.tick_s if self._last_s is None else begin_s - self._last_s
        self._last_s = begin_s
        events = self.screen.events()
        intent = self.hooks.intent(events)
        self._obey(intent.commands)
        if self.hooks.watch is not None:
            intent = self.hooks.watch(intent)
        self.session.look(intent)
        commands = tuple(c for c in intent.commands if c in ("undo", "reroll", "home", "fly"))
        ticks = self.step.take(passed_s)
        for i in range(ticks):
            self.session.tick(replace(intent, commands=commands if i == 0 else ()))
        if ticks == 0 and commands:
            self.session.tick(replace(intent, commands=commands))
        self._draw(passed_s)
        self._finish(self._work_clock.now_s() - work_begin_s, has_events=bool(events))

    def _draw(self, passed_s: float) -> None:
        pinhole = self._pinhole()
        budget_s = None if self.frame is None else UPLOAD_BUDGET_S
        pose = self.session.pose_between(self.step.overstep)
        frame = self.session.draw(pose, pinhole=pinhole, tint=self.tint, budget_s=budget_s, reuse=True)
        self.frame = frame
        self._open_view(passed_s, frame)
        is_comparing = self._wipe_since_s is not None
        color = self._wiped() if is_comparing else frame.color
        if self._video is not None:
            self._video.write(self._at_full_size(color), self.clock.now_s())
        overlay = self.hooks.overlay(self) if self.hooks.overlay else None
        self.screen.present(color if is_comparing or frame.words is None else frame.words, overlay)

    def _finish(self, work_s: float, *, has_events: bool) -> None:
        now_s = self.clock.now_s()
        metrics = self.session.metrics
        if has_events:
            metrics.event_to_present_s.append(work_s)
        interval = None if self._last_present_s is None else now_s - self._last_present_s
        void = void_share(self.frame) if self.frame is not None else 1.0
        metrics.frame(work_s=work_s, interval_s=interval, void_share=void, dt_s=interval or 0.0)
        metrics.dropped_ticks = self.step.dropped_ticks
        if self.scale < 1.0:
            metrics.reduced_resolution_frames += 1
        self._last_present_s = now_s
        self.frame_times_s.append(work_s)
        if self._is_adaptive and metrics.frames % ADAPT_EVERY_FRAMES == 0:
            self._adapt()
        if self.hooks.autosave is not None and now_s - self._last_autosave_s > AUTOSAVE_S:
            self._last_autosave_s = now_s
            self.hooks.autosave()
        if self.is_paced:
            self._next_s = max(self._next_s + 1.0 / self.rate_hz, now_s - 1.0 / self.rate_hz)
            self.clock.wait_until(self._next_s)

    def _adapt(self) -> None:
        """Draw smaller while frames take too long, full size again when there is room."""
        recent = float(np.percentile(list(self.frame_times_s)[-2 * ADAPT_EVERY_FRAMES :], 80))
        if recent > TARGET_WORK_S:
            self.scale = max(MIN_SCALE, self.scale - 0.05)
        elif recent < 0.7 * TARGET_WORK_S:
            self.scale = min(1.0, self.scale + 0.05)
        self.session.clips.planner.ring_pause_s = RING_PAUSE_S if self.scale <= MIN_SCALE else 0.0

    # -- view ---------------------------------------------------------------------------------------------------------

    def _pinhole(self) -> Pinhole:
        width, height = self.size
        whole = self.session.world.pinhole_for(self.size)
        zoom = np.tan(whole.fov_x_rad / 2) / np.tan(self.fov_rad / 2)
        # while the field opens, the principal point moves from the photo's to the middle
        blend = 1.0 if zoom < 0.999 else 0.0
        share = float(np.clip((1.0 - zoom) * 4.0, 0.0, 1.0)) * blend
        cx = whole.cx + (width / 2 - whole.cx) * share
        cy = whole.cy + (height / 2 - whole.cy) * share
        pinhole = replace(whole, fx=whole.fx * zoom, fy=whole.fy * zoom, cx=cx, cy=cy)
        self.session.pinhole = pinhole  # what the director looks after
        if self.scale >= 1.0:
            return pinhole
        small = (round(width * self.scale / 2) * 2, round(height * self.scale / 2) * 2)
        return pinhole.resized(*small)

    def _open_view(self, passed_s: float, frame: Frame) -> None:
        """Open the field of view gently while the edges of the picture are known."""
        if self.fov_rad >= FOV_RAD:
            return
        coverage = frame.coverage
        rows, columns = max(1, coverage.shape[0] // 10), max(1, coverage.shape[1] // 10)
        edges = (coverage[:, :columns], coverage[:, -columns:], coverage[:rows], coverage[-rows:])
        if float(np.mean([np.count_nonzero(e > 0.5) / e.size for e in edges])) > KNOWN_SHARE:
            self.fov_rad = min(FOV_RAD, self.fov_rad + FOV_OPENING_RAD_S * min(passed_s, 0.1))
            self.session.world.walk.fov_rad = self.fov_rad

    def _wiped(self) -> npt.NDArray[np.uint8]:
        """Left of the sweeping line the walk from the withheld photo's camera, right of it the photo."""
        view, photo, _ = self._comparison or self._compare()
        out = view.copy()
        at = int((self.wipe_fraction or 0.0) * view.shape[1])
        out[:, at:] = photo[:, at:]
        return out

    def _compare(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], float]:
        photo, pinhole, pose = garage_truth()
        frame = self.session.draw(pose, pinhole=pinhole.covering(*self.size))
        photo = cover(photo, *self.size)
        known = frame.coverage > 0.5
        error = float(((frame.color.astype(np.float32) - photo) ** 2)[known].mean()) if known.any() else 255.0**2
        self._comparison = (frame.color, photo, 10.0 * float(np.log10(255.0**2 / max(error, 1e-9))))
        return self._comparison

    @property
    def wipe_fraction(self) -> float | None:
        """Where the line stands, 0..1 from the left, or None while nothing is compared."""
        if self._wipe_since_s is None:
            return None
        return 0.5 + 0.45 * float(np.sin((self.clock.now_s() - self._wipe_since_s) * 1.2))

    @property
    def wipe_text(self) -> str:
        """PSNR of the walk against the photo, on what is known."""
        return "" if self._wipe_since_s is None or self._comparison is None else f"{self._comparison[2]:.1f} dB"

    @property
    def is_recording(self) -> bool:
        """A video is being written."""
        return self._video is not None

    def _at_full_size(self, color: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        width, height = self.size
        if color.shape[:2] == (height, width):
            return np.ascontiguousarray(color)
        return cv2.resize(color, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)

    # -- commands -----------------------------------------------------------------------------------------------------

    @property
    def message(self) -> str:
        """What was last done, for a moment."""
        text, until_s = self._message
        return text if self.clock.now_s() < until_s else ""

    def tell(self, text: str) -> None:
        """Show a short message."""
        self._message = (text, self.clock.now_s() + MESSAGE_S)

    def _obey(self, commands: Iterable[str]) -> None:
        for command in commands:
            action = getattr(self, f"_do_{command}", None)
            if action is not None:
                action()

    def _do_quit(self) -> None:
        self._is_leaving = True

    def _do_help(self) -> None:
        self.help = not self.help

    def _do_details(self) -> None:
        self.details = not self.details

    def _do_masks(self) -> None:
        self.masks = not self.masks

    def _do_mark(self) -> None:
        """What stands in the middle of the picture moves."""
        place = None if self.frame is None else self._place_in_the_middle(self.frame)
        if place is None:
            self.tell("nothing is known in the middle")
        elif self.session.director.wants_key_views:
            self.tell(f"{self.session.clips.generator} makes still views: nothing to follow")
        else:
            self.session.mark_moving(place)
            self.tell("it moves: the next clip that sees it keeps it out")

    def _place_in_the_middle(self, frame: Frame) -> tuple[float, float, float] | None:
        """World metres of the drawn surface in the middle, or None where there is none."""
        height, width = frame.depth_m.shape
        row, column = height // 2, width // 2
        depth_m = float(frame.depth_m[row, column])
        if not depth_m > 0 or frame.coverage[row, column] < 0.5:
            return None
        ray = self.session.pinhole.resized(width, height).rays()[row, column]
        x, y, z = frame.world_T_camera[:3, :3] @ (ray * depth_m) + frame.world_T_camera[:3, 3]
        return float(x), float(y), float(z)

    def _do_tint(self) -> None:
        self.tint = not self.tint

    def _do_wipe(self) -> None:
        if self.session.world.info.name != "garage":
            self.tell("the wipe needs a withheld photo; only the garage has one")
            return
        self._comparison = None
        self._wipe_since_s = self.clock.now_s() if self._wipe_since_s is None else None

    def _do_save(self) -> None:
        if self.hooks.save is not None:
            self.tell(self.hooks.save())

    def _do_undo(self) -> None:
        self.tell("last clip undone; G generates it anew")

    def _do_reroll(self) -> None:
        self.tell("generating anew")

    def _do_picture(self) -> None:
        if self._folder is None or self.frame is None:
            return
        path = self._folder / time.strftime("picture-%Y%m%d-%H%M%S.png")
        write_png(path, self._at_full_size(self.frame.color))
        self.tell(f"saved {path.name}")

    def _do_video(self) -> None:
        if self._video is not None:
            self.stop_video()
            return
        if self._folder is None:
            return
        path = self._folder / time.strftime("video-%Y%m%d-%H%M%S.mp4")
        try:
            self._video = LiveVideoWriter(path, self.size)
        except OSError as error:
            raise UserError("a folder that can be written", f"{path}: {error.strerror}", "free some space") from None
        self.tell("recording; F10 stops")

    def stop_video(self) -> None:
        """Finish the video that is being written, if there is one."""
        if self._video is not None:
            self._video.close()
            self.tell(f"saved {self._video.path.name}")
            self._video = None

    def frame_facts(self) -> dict[str, float]:
        """Percentiles of the recent frames' work, milliseconds."""
        return percentiles_ms(self.frame_times_s)
