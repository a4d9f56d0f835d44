"""``spatia walk``: finds or makes the world, then walks it in a window, or along a script where there is no display."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..input.intents import Intent
from ..renderer.capture import VideoWriter
from ..renderer.present import NullPresenter
from ..saves.sources import Source
from . import commands
from .clock import SimulatedClock
from .errors import UserError
from .headless import TRACKED_FILE, photo_here, session_facts, tiled_frames, write_contact_sheet
from .json_files import write_json
from .persistence import damage_text, open_world
from .process import installed_bytes, map_large_blocks
from .progress import progress_bar
from .record import Recorder
from .samples import SAMPLES, check_sample, is_sample, sample_label
from .session import ROLLOUT_RATE_HZ, Session, own_generator
from .sources import make_world
from .window import LoopHooks, WalkLoop
from .world import World

WALKS_FOLDER = Path("walk")
DEFAULT_SIZE = (832, 480)

SCRIPT: tuple[tuple[Intent, float], ...] = (
    (Intent(), 0.5),
    (Intent(forward=0.5), 1.5),
    (Intent(right=0.5), 1.0),
    (Intent(yaw=-0.5), 2.0),
    (Intent(yaw=0.7), 3.0),
    (Intent(right=-0.5, yaw=-0.2), 2.0),
    (Intent(yaw=1.0), 2.0),
    (Intent(forward=0.6), 1.5),
    (Intent(yaw=1.0), 2.0),
    (Intent(forward=0.6), 1.5),
    (Intent(pitch=-0.3), 1.0),
    (Intent(pitch=0.3, yaw=-0.5), 2.0),
)
"""What the walker does where nobody is at the keys: (intent, seconds)."""


@dataclass(frozen=True, slots=True)
class WalkPlace:
    """Where a walk's world lies.

    Attributes:
        folder: For pictures, videos and the report.
        file: The world.
        exists: True if it is resumed.
    """

    folder: Path
    file: Path
    exists: bool


def place_of(source: str, *, is_new: bool, is_frozen: bool) -> WalkPlace:
    """Where the world of a source lies; with ``is_new`` an older one is put aside under another name.

    Raises:
        UserError: A saved world that does not exist, or ``--new`` with a saved world.
    """
    path = Path(source)
    if path.suffix == ".spatia":
        if not path.is_file():
            raise UserError("a saved world", f"{source}, which does not exist", "check the path")
        if is_new:
            raise UserError("a source with --new", f"the saved world {source}", "leave --new out")
        return WalkPlace(path.parent, path, True)
    name = sample_label(source) if is_sample(source) else path.resolve().stem
    folder = WALKS_FOLDER / name
    file = folder / "world.spatia"
    if is_new and file.exists() and not is_frozen:
        _put_aside(file)
    return WalkPlace(folder, file, file.exists() and not is_new)


def _put_aside(file: Path) -> Path:
    for number in range(1, 10_000):
        other = file.with_name(f"{file.stem}-{number}{file.suffix}")
        if not other.exists():
            return file.rename(other)
    raise UserError("fewer than 10000 old worlds", str(file.parent), "delete some")


def run_walk(command: commands.Walk, size: tuple[int, int] | None, memory_limit: int | None) -> int:
    """Walk; the exit status."""
    map_large_blocks()
    place = place_of(command.source, is_new=command.new, is_frozen=command.frozen)
    if not place.exists:
        check_source(command)
    if not command.frozen:
        place.folder.mkdir(parents=True, exist_ok=True)
    print(f"{place.file}{' (frozen: nothing is written)' if command.frozen else ''}", flush=True)
    if not command.headless and has_display():
        from .app import run_window

        return run_window(place, command, size, memory_limit)
    with progress_bar("opening") as report:
        world = open_or_make(command, place, report, memory_limit)
    try:
        return run_script(world, place, command, size, memory_limit)
    finally:
        world.close()


def check_source(command: commands.Walk) -> None:
    """Refuse a source that is not there before a folder is made for it.

    Raises:
        UserError: Neither a sample nor a path that exists.
    """
    if is_sample(command.source):
        check_sample(command.source)
    elif not Path(command.source).exists():
        raise UserError(f"a file, a folder or a sample ({', '.join(SAMPLES)})", repr(command.source), "check the name")


def open_or_make(
    command: commands.Walk,
    place: WalkPlace,
    report: Any,
    memory_limit: int | None = None,
    seen: Callable[[Source], None] = lambda source: None,
) -> World:
    """The world to walk: resumed where there is one, its points read behind the walk; otherwise made from the source.

    ``seen`` gets a source that had to be read, before the world is made of it.

    Raises:
        UserError: Options of a source with a world that is resumed.
    """
    options = {name: getattr(command, name) for name in commands.SOURCE_OPTIONS}
    if place.exists:
        given = [k for k, v in options.items() if v is not None]
        if given:
            raise UserError(f"no --{given[0]} when a world is resumed", f"{place.file}", "start afresh with --new")
        budget = memory_limit or installed_bytes() // 2
        world = open_world(place.file, read_only=command.frozen, budget_bytes=budget)
        if world.damage:
            print(damage_text(world), file=sys.stderr)
        if command.prompt:
            world.walk.prompt = command.prompt
        return world
    sheet = None if command.frozen else place.folder / TRACKED_FILE
    return make_world(
        command.source, options, seed=command.seed, prompt=command.prompt, progress=report, sheet=sheet, seen=seen
    )


def has_display() -> bool:
    """True where a window could open."""
    if sys.platform.startswith("linux"):
        driver = os.environ.get("SDL_VIDEODRIVER", "")
        return driver != "dummy" and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def scripted_intents(seconds: float, rate_hz: float) -> Iterator[Intent]:
    """The script, over and over, as one intent a tick."""
    left = round(seconds * rate_hz)
    while left > 0:
        for intent, duration_s in SCRIPT:
            for _ in range(min(left, round(duration_s * rate_hz))):
                yield intent
                left -= 1


def run_script(
    world: World,
    place: WalkPlace,
    command: commands.Walk,
    size: tuple[int, int] | None,
    memory_limit: int | None = None,
) -> int:
    """Walk the script in simulated time through the loop that the window runs; the exit status."""
    size = size or DEFAULT_SIZE
    recorder = (
        None
        if command.record is None
        else new_recorder(command.record, world, command.generator, size, 1.0 / ROLLOUT_RATE_HZ)
    )
    started = time.perf_counter()
    session = Session(
        world,
        command.generator,
        wait=True,
        size=size,
        recorder=recorder,
        memory_limit=memory_limit,
        quality=command.quality,
    )
    try:
        with progress_bar("walking") as report, session:
            tiles = _walk_script(session, place, command, size, report)
            facts = session_facts(session, "walk", size, time.perf_counter() - started)
    finally:
        if recorder is not None:
            recorder.close()
        if not command.frozen:
            world.save(place.file)
    if not command.frozen:
        write_contact_sheet(place.folder / "contact.png", tiles)
        write_json(place.folder / "report.json", facts)
    return 0


class _Film(NullPresenter):
    """A screen that writes what it shows to a video and keeps some pictures."""

    def __init__(self, path: Path | None, size: tuple[int, int], keep: set[int], photo: npt.NDArray | None) -> None:
        super().__init__("film", size)
        self.tiles: list[tuple[str, npt.NDArray[np.uint8]]] = []
        self._video = None if path is None else VideoWriter(path, size, fps=int(ROLLOUT_RATE_HZ))
        self._keep, self._photo = keep, photo

    def present(self, color: Any, overlay: npt.NDArray[np.uint8] | None = None) -> None:
        """Take over a picture."""
        width, height = self.size
        picture = np.ascontiguousarray(color).view(np.uint8).reshape(height, width, -1)[..., :3]
        if self._photo is not None and self.num_presented == 0:
            picture = self._photo
        if self._video is not None:
            self._video.write(np.ascontiguousarray(picture))
        if self.num_presented in self._keep:
            self.tiles.append((f"{self.num_presented / ROLLOUT_RATE_HZ:.1f} s", picture.copy()))
        self.num_presented += 1

    def close(self) -> None:
        """Finish the video."""
        if self._video is not None:
            self._video.close()


def _walk_script(
    session: Session, place: WalkPlace, command: commands.Walk, size: tuple[int, int], report: Any
) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    intents = list(scripted_intents(command.seconds, ROLLOUT_RATE_HZ))
    keep = tiled_frames(len(intents))
    film = _Film(None if command.frozen else place.folder / "video.mp4", size, keep, photo_here(session, size))
    script = iter(intents)
    hooks = LoopHooks(lambda events: next(script))
    loop = WalkLoop(session, film, SimulatedClock(), hooks, size=size, rate_hz=ROLLOUT_RATE_HZ, is_adaptive=False)
    try:
        for i in range(len(intents)):
            loop.run_frame()
            report(f"walking {i / ROLLOUT_RATE_HZ:.0f} s", (i + 1) / len(intents))
    finally:
        film.close()
    return film.tiles


def new_recorder(path: Path, world: World, generator: str, size: tuple[int, int], tick_s: float) -> Recorder:
    """A log whose header says what a replay needs to check.

    Raises:
        UserError: The file cannot be written.
    """
    header = {
        "world": world.info.name,
        "generator": generator or own_generator(world),
        "seed": world.info.seed,
        "size": list(size),
        "content_hash": world.content_hash(),
        "start_tick": world.walk.tick,
        "tick_s": tick_s,
    }
    try:
        return Recorder(path, header)
    except OSError as error:
        raise UserError(
            "a file that can be written with --record", f"{path}: {error.strerror}", "name another"
        ) from None
