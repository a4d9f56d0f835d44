"""The interactive walk: a window that opens on the photo, devices, overlay, saving in the background."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..input.devices import Devices, open_devices
from ..input.intents import Intent
from ..input.keymap import Keymap, load_keymap
from ..renderer.factory import create_renderer
from ..renderer.minimap import Minimap
from ..renderer.overlay import Overlay, OverlayState
from ..renderer.present import Presenter, open_presenter
from ..saves.autosave import Saver
from ..saves.codec import warm_up
from ..saves.sources import Source
from ..world.images import cover
from ..world.memory import MemorySnapshot
from ..world.paging import Pager
from . import commands
from .clock import WallClock
from .fit_rows import fit_rows
from .headless import session_facts
from .json_files import write_json
from .mask_view import MaskView
from .persistence import adopt_file, state_of
from .preview_view import PreviewView
from .process import resident_bytes
from .record import Recorder
from .rewind import BranchStarter
from .session import Session
from .walk import DEFAULT_SIZE, WalkPlace, new_recorder, open_or_make
from .window import LoopHooks, WalkLoop
from .world import World

TITLE = "spatia"
OPENING_RATE_HZ = 30.0
MAP_EVERY_FRAMES = 6
MAP_LOOK_UP_FRAMES = 30
MAP_RADIUS_M = 3.0
BEFORE_THE_PHOTO = 24
"""Grey level of the window until the source was read, and while a world is resumed."""
FIRST_VIEW_S = 2.0
"""A saved world is shown when what is in view was read, or after this time."""


def run_window(place: WalkPlace, command: commands.Walk, size: tuple[int, int] | None, memory_limit: int | None) -> int:
    """Open the window and walk until the person leaves; the exit status.

    Raises:
        NoDisplayError: No window can be opened.
    """
    keymap = load_keymap()
    size = size or DEFAULT_SIZE
    presenter = open_presenter(f"{TITLE} — {command.source}", size)
    try:
        devices = open_devices(keymap, presenter.size)
        opened = _open_behind_the_photo(presenter, devices, place, command, size, memory_limit)
        if opened is None:
            return 0
        session, recorder = opened
        return Application(presenter, devices, keymap, session, recorder, place, command, size).run()
    finally:
        presenter.close()


def _open_behind_the_photo(
    presenter: Presenter,
    devices: Devices,
    place: WalkPlace,
    command: commands.Walk,
    size: tuple[int, int],
    memory_limit: int | None,
) -> tuple[Session, Recorder | None] | None:
    """Make world and session on another thread while the window shows the photo; None if the person left."""
    share: list[tuple[str, float]] = [("opening", 0.0)]
    pictures = [np.full((size[1], size[0], 3), BEFORE_THE_PHOTO, np.uint8)]
    overlay, clock = Overlay(), WallClock()

    def see(source: Source) -> None:
        if len(source.frames):
            pictures.append(cover(source.frames[0].color, *size))

    def tell(what: str, at: float) -> None:
        share.append((what, at))

    with ThreadPoolExecutor(1, "spatia-opening") as pool:
        job = pool.submit(_prepare, place, command, size, memory_limit, tell, see)
        next_s = clock.now_s()
        is_leaving = False
        while not job.done():
            devices.handle(presenter.events())
            is_leaving |= "quit" in devices.intent().commands
            state = OverlayState(status=f"{share[-1][0]} …", is_busy=True)
            presenter.present(pictures[-1], overlay.draw(state, presenter.drawable_size, presenter.scale))
            next_s += 1.0 / OPENING_RATE_HZ
            clock.wait_until(next_s)
        session, recorder = job.result()
        if not is_leaving:
            return session, recorder
        _shut(session, recorder)
        return None


def _prepare(
    place: WalkPlace,
    command: commands.Walk,
    size: tuple[int, int],
    memory_limit: int | None,
    report: Callable[[str, float], None],
    seen: Callable[[Source], None],
) -> tuple[Session, Recorder | None]:
    world = open_or_make(command, place, report, memory_limit, seen)
    if not command.frozen:
        adopt_file(world, place.file)
    report("preparing to draw", 0.9)
    recorder = None
    if command.record is not None:
        recorder = new_recorder(command.record, world, command.generator, size, 1.0 / 60.0)
    renderer = create_renderer("auto")  # a graphics card where there is one, otherwise the compiled loops
    session = Session(
        world,
        command.generator,
        wait=False,
        size=size,
        renderer=renderer,
        recorder=recorder,
        memory_limit=memory_limit,
        quality=command.quality,
    )
    session.draw()  # loads what draws from its cache, or compiles it
    session.wait_for_view(FIRST_VIEW_S)
    warm_up()
    return session, recorder


def _shut(session: Session, recorder: Recorder | None) -> None:
    session.close()
    if recorder is not None:
        recorder.close()
    session.world.close()


class Application:
    """A walk in a window. One thread uses it.

    Args:
        presenter: The window.
        devices: Its input.
        keymap: For the help.
        session: The walk.
        recorder: Its log, or None.
        place: Where the world lies.
        command: The command line.
        size: (width, height) that is drawn.
    """

    def __init__(
        self,
        presenter: Presenter,
        devices: Devices,
        keymap: Keymap,
        session: Session,
        recorder: Recorder | None,
        place: WalkPlace,
        command: commands.Walk,
        size: tuple[int, int],
    ) -> None:
        self._presenter, self._devices, self._keymap = presenter, devices, keymap
        self._session, self._recorder = session, recorder
        self._place, self._is_frozen = place, command.frozen
        self._size = size
        self._overlay = Overlay()
        self._masks = MaskView()
        self._preview = PreviewView()
        self._map = Minimap(session.world.info.up_world, session.world.info.world_T_start[:3, 3])
        self._around: MemorySnapshot | None = None
        self._map_tile: npt.NDArray[np.uint8] | None = None
        self._frames = 0
        self._saver = None if session.world.file is None or self._is_frozen else Saver(session.world.file)
        self._saved_at_s: float | None = None
        self._clock = WallClock()
        self._branches = BranchStarter(session, self._saver)
        hooks = LoopHooks(self._intent, self._draw_overlay, self._save, self._autosave, self._watch)
        folder: Path | None = None if self._is_frozen else place.folder
        self._loop = WalkLoop(session, presenter, self._clock, hooks, folder=folder, size=size)

    def run(self) -> int:
        """Walk until the person leaves; everything is saved then, after Ctrl-C too. The exit status."""
        started_s = time.monotonic()
        try:
            self._loop.run()
        finally:
            self._leave(time.monotonic() - started_s)
        return 0

    def _leave(self, seconds: float) -> None:
        world: World = self._session.world
        self._loop.stop_video()
        self._session.close()
        try:
            if self._saver is not None:
                self._branches.finish()
                self._saver.request(state_of(world))
                self._saver.close()
                result = self._saver.last_result
                if result is not None and result.error is not None:
                    raise result.error
            if not self._is_frozen:
                write_json(
                    self._place.folder / "report.json", session_facts(self._session, "walk", self._size, seconds)
                )
        finally:
            if self._recorder is not None:
                self._recorder.close()
            world.close()

    # -- hooks of the loop --------------------------------------------------------------------------------------------

    def _intent(self, events: Iterable[Any]) -> Intent:
        self._devices.handle(events)
        intent = self._devices.intent()
        if "prompt" in intent.commands:
            self._session.set_prompt(intent.text)
            self._loop.tell(f"prompt: {intent.text}" if intent.text else "no prompt")
        if "fullscreen" in intent.commands:
            self._presenter.toggle_fullscreen()
        return intent

    def _save(self) -> str:
        if self._saver is None:
            return "frozen: nothing is written"
        if self._branches.is_busy:
            return "going back: saved when the walk goes on"
        self._saver.request(state_of(self._session.world))
        return "saving"

    def _autosave(self) -> None:
        if self._saver is not None and not self._saver.is_dirty and not self._branches.is_busy:
            self._release_saved()
            self._saver.request(state_of(self._session.world))

    def _watch(self, intent: Intent) -> Intent:
        watched = self._branches.watch(intent)
        if self._branches.text:
            self._loop.tell(self._branches.text)
        return watched

    def _mapped(self) -> MemorySnapshot:
        """What the map may show: of a world on the disk what is around and in memory, looked up now and then."""
        memory = self._session.world.memory
        if memory.pager is None:
            return memory.snapshot()
        if self._around is None or self._frames % MAP_LOOK_UP_FRAMES == 0:
            self._around = memory.held_near(self._session.rig.world_T_camera[:3, 3], MAP_RADIUS_M)
        return self._around

    def _release_saved(self) -> None:
        """What is on the disk may be dropped from memory."""
        result = None if self._saver is None else self._saver.last_result
        if result is not None and result.report is not None:
            self._session.world.memory.release(result.report.stored)

    def _draw_overlay(self, loop: WalkLoop) -> npt.NDArray[np.uint8] | None:
        self._frames += 1
        world = self._session.world
        changed = self._map.update(self._mapped(), max_chunks=2)
        if self._map_tile is None or self._frames % MAP_EVERY_FRAMES == 0 or (changed and self._frames % 3 == 0):
            path = [p[1:] for p in world.walk.path[-2000:]]
            self._map_tile = self._map.draw(self._session.rig.world_T_camera, path)
        mask_tile, mask_text = self._look_at_masks() if loop.masks else (None, "")
        preview_tile, preview_text = self._preview.look(self._session.status.preview, self._presenter.drawable_size[0])
        state = OverlayState(
            status=self._status(),
            is_busy=bool(self._session.status.phase),
            is_recording=loop.is_recording,
            details=self._details(loop) if loop.details else (),
            details_shown=loop.details,
            frame_times_ms=[t * 1e3 for t in loop.frame_times_s] if loop.details else (),
            help=self._keymap.help_lines() if loop.help else (),
            help_shown=loop.help,
            map_tile=self._map_tile,
            mask_tile=mask_tile,
            mask_text=mask_text,
            preview_tile=preview_tile,
            preview_text=preview_text,
            toast=loop.message,
            notice=self._session.status.notice,
            tint_shown=loop.tint,
            wipe_fraction=loop.wipe_fraction,
            wipe_text=loop.wipe_text,
            prompt_text=self._devices.prompt_text,
        )
        return self._overlay.draw(state, self._presenter.drawable_size, self._presenter.scale)

    def _look_at_masks(self) -> tuple[npt.NDArray[np.uint8] | None, str]:
        session, width = self._session, self._presenter.drawable_size[0]
        return self._masks.look(session.world.bank.keyframes, session.rig.world_T_camera, width)

    def _status(self) -> str:
        status = self._session.status
        parts = []
        state = self._session.queue.state
        if state in ("starting", "restarting", "failed"):
            parts.append(
                {"starting": "generator starting", "restarting": "generator restarting"}.get(state, "generator failed")
            )
        elif status.phase:
            parts.append(f"generating {status.fraction * 100:.0f} %")
        if self._session.clips.fallback is not None:
            parts.insert(0, f"{self._session.clips.fallback.generator} took over")
        if status.merged_clips:
            parts.append(f"{status.merged_clips} clips merged")
        parts.append(self._saving_text())
        return " · ".join(p for p in parts if p) or "F1 help"

    def _saving_text(self) -> str:
        if self._saver is None:
            return "frozen"
        result = self._saver.last_result
        if self._saver.is_dirty:
            return "saving" if result is None or result.error is None else "not saved: trying again"
        if result is not None and result.error is not None:
            return f"not saved: {result.error}".splitlines()[0]
        return "" if result is None else "saved"

    def _details(self, loop: WalkLoop) -> tuple[tuple[str, str], ...]:
        session, world = self._session, self._session.world
        times = loop.frame_facts()
        update = session.status.last_update
        x, y, z = session.rig.state.position
        rows = [
            (
                "frame p50 / p95 / p99",
                f"{times['p50']:.1f} / {times['p95']:.1f} / {times['p99']:.1f} ms" if times else "none yet",
            ),
            ("picture", f"{loop.scale * 100:.0f} % of {self._size[0]}x{self._size[1]}"),
            ("ticks dropped", str(loop.step.dropped_ticks)),
            ("points", f"{world.memory.num_points:,} in {len(world.memory.chunks):,} chunks"),
            *_paging_row(world.memory.pager),
            ("keyframes", str(len(world.bank.keyframes))),
            *_closure_row(session),
            ("process", f"{resident_bytes() / 2**20:.0f} MiB"),
            ("clip", f"{session.status.phase or 'none'} {session.status.fraction * 100:.0f} %"),
            ("worker", session.queue.state),
            ("known ahead", f"{session.status.coverage_ahead * 100:.0f} %"),
            ("clips", ", ".join(f"{n} {k}" for k, n in session.status.outcomes.items()) or "none"),
            ("at", f"{x:.2f} {y:.2f} {z:.2f} m"),
        ]
        if update is not None:
            rows.append(
                (
                    "last update",
                    f"+{update.added:,} -{update.removed:,} voxels, {update.covisible_share * 100:.0f} % seen",
                )
            )
            rows += fit_rows(update)
        if session.status.last_error:
            rows.append(("last error", session.status.last_error.splitlines()[0][:60]))
        return tuple(rows)


def _paging_row(pager: Pager | None) -> tuple[tuple[str, str], ...]:
    """What is in memory of a world that lies on the disk."""
    if pager is None:
        return ()
    s = pager.status()
    share = f"{s.drawn_points:,} of {s.num_points:,} drawn, {s.held_points:,} held"
    damage = f", {s.num_damaged} damaged and skipped" if s.num_damaged else ""
    return (("in memory", s.failure or f"{share}, in full to {s.reach_m:.0f} m{damage}"),)


def _closure_row(session: Session) -> list[tuple[str, str]]:
    moves = session.metrics.closures_m
    return [("loops closed", f"{len(moves)}, by up to {100 * max(moves):.0f} cm")] if moves else []
