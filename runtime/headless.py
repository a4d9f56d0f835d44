"""The loop without a window: a path, a list of actions or a recording is walked in simulated time."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..generator.pipeline import ClipResult
from ..renderer.capture import contact_sheet, write_png
from ..world.images import cover
from ..world.points import PointClass
from ..world.transforms import Transform, invert, rotation_angle_rad
from .clip_films import CLIPS_FOLDER, FILM_FILE, ClipFilms
from .errors import UserError
from .json_files import write_json
from .path_rounds import PathRounds
from .resuming import VIDEO_FILE, WORLD_FILE, RolloutLog, Unfinished
from .session import ROLLOUT_RATE_HZ, Frame, Session
from .world import World

REPORT_FORMAT = 1
LOOK_AHEAD_FRAMES = 96
SAME_POSITION_M = 0.01
SAME_ANGLE_RAD = float(np.radians(0.5))
CONTACT_TILES = 12
TRACKED_FILE = "tracked.png"
"""Contact sheet of a source that had to be tracked."""
OUR_FILES = (VIDEO_FILE, FILM_FILE, CLIPS_FOLDER, WORLD_FILE, "contact.png", "report.json", TRACKED_FILE)
Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """What to walk and where to put what comes of it.

    Attributes:
        poses: (N, 4, 4) world_T_camera, one for each frame.
        out: Folder of the results.
        size: (width, height) of the video, both even.
        generator: Name of the clip generator.
        seed: Of the walk, or None for the world's.
        quality: "draft", "balanced" or "best".
        opened_s: How long opening and tracking the source took; counts among the report's seconds.
        key: Of the command, see ``resuming``; without one nothing is saved before the end.
        unfinished: What is gone on from, the world being as it was saved then; or None.
        in_rounds: The way is a path that was given: a generator that makes paths in rounds is asked for these.
    """

    poses: npt.NDArray[np.float64]
    out: Path
    size: tuple[int, int]
    generator: str
    seed: int | None = None
    quality: str = "best"
    opened_s: float = 0.0
    key: str = ""
    unfinished: Unfinished | None = None
    in_rounds: bool = False


def prepare_output(out: Path) -> None:
    """Check that a folder may be written to.

    Raises:
        UserError: It is a file, or a folder that holds anything but results of ours.
    """
    if out.is_file():
        raise UserError("a folder for the results", f"the file {out}", "name a new folder with --out")
    if out.is_dir():
        foreign = sorted(p.name for p in out.iterdir() if not _is_ours(p))
        if foreign:
            raise UserError(
                "a new or empty folder, or results of an earlier rollout",
                f"{out} with {foreign[0]!r} in it",
                "name another folder with --out",
            )


def _is_ours(path: Path) -> bool:
    return path.name in OUR_FILES or path.name.startswith((".", WORLD_FILE))


def run_rollout(world: World, rollout: Rollout, report: Report) -> dict[str, Any]:
    """Walk the poses, waiting for every clip, and write video, contact sheet, world and report.

    What an exception or a kill leaves in the folder can be gone on from.

    Args:
        world: Changed by the walk and saved in the folder.
        rollout: Path, size, generator and folder.
        report: Progress callback.

    Returns:
        The report, as written.
    """
    rollout.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    log = RolloutLog(rollout.out, rollout.key, world, rollout.size, rollout.unfinished)
    with (
        log,
        saved_on_interrupt(world, rollout.out / WORLD_FILE),
        Session(
            world,
            rollout.generator,
            seed=rollout.seed,
            wait=True,
            size=rollout.size,
            tick_s=1.0 / ROLLOUT_RATE_HZ,
            quality=rollout.quality,
        ) as session,
    ):
        films = ClipFilms(rollout.out, goes_on=rollout.unfinished is not None)
        if rollout.unfinished is not None:
            rollout.unfinished.recall(session)
        rounds = PathRounds(session.clips, rollout.poses, session.tick_count + 1 - log.next_frame)
        session.clips.path_rounds = rounds if rollout.in_rounds else None

        def on_made(made: ClipResult) -> None:
            if not session.director.wants_key_views:
                films.take(made)
                rounds.take(made)

        session.clips.on_made = on_made
        tiles = _walk(session, rollout, log, report)
        seconds = rollout.opened_s + time.perf_counter() - started
        facts = session_facts(session, "rollout", rollout.size, seconds)
        if rollout.unfinished is not None:
            facts["resumed_at_frame"] = rollout.unfinished.next_frame
        if made := rounds.facts():
            facts["rounds"] = made
        report("saving", 0.99)
        log.finish()
        films.finish()
        lacking = sorted(tiled_frames(len(rollout.poses)) - tiles.keys())
        tiles |= log.frames(lacking) if lacking else {}
        labelled = [(f"frame {i}", tiles[i]) for i in sorted(tiles)]
        write_contact_sheet(rollout.out / "contact.png", labelled)
        world.save(rollout.out / WORLD_FILE)
        write_json(rollout.out / "report.json", facts)
        log.forget()
    return facts


@contextmanager
def saved_on_interrupt(world: World, path: Path) -> Iterator[None]:
    """After Ctrl-C the world as it stands is saved before the program leaves."""
    try:
        yield
    except KeyboardInterrupt:
        world.save(path)
        raise


def _walk(session: Session, rollout: Rollout, log: RolloutLog, report: Report) -> dict[int, npt.NDArray[np.uint8]]:
    """Walk what is left of the way; the pictures of it that the contact sheet shows."""
    poses = list(rollout.poses)
    keep = tiled_frames(len(poses))
    tiles = {}
    for i in range(log.next_frame, len(poses)):
        begin, tick = time.perf_counter(), session.tick_count
        try:
            frame = session.follow(poses[i : i + LOOK_AHEAD_FRAMES])
            color = opening_photo(session.world, frame, rollout.size) if i == 0 else frame.color
            log.write(color)
            session.metrics.frame(
                work_s=time.perf_counter() - begin,
                interval_s=None,
                void_share=void_share(frame),
                dt_s=1.0 / ROLLOUT_RATE_HZ,
            )
            if i in keep:
                tiles[i] = color
            report(f"frame {i + 1} of {len(poses)}", (i + 1) / len(poses))
        except KeyboardInterrupt:
            if log.next_frame == i:
                session.world.walk.tick = tick  # this frame comes again
            log.save(session)
            raise
        log.save_if_due(session)
    return tiles


def tiled_frames(num_frames: int) -> set[int]:
    """Which frames a contact sheet shows: the first, the last and some evenly between."""
    return set(np.linspace(0, num_frames - 1, min(CONTACT_TILES, num_frames)).round().astype(int).tolist())


def write_contact_sheet(path: Path, tiles: Sequence[tuple[str, npt.NDArray[np.uint8]]]) -> None:
    """Write labelled pictures as one PNG."""
    write_png(path, contact_sheet([image for _, image in tiles], [label for label, _ in tiles], columns=4))


def void_share(frame: Frame) -> float:
    """Share of the picture without surface."""
    return np.count_nonzero(frame.coverage < 0.5) / frame.coverage.size


def opening_photo(world: World, frame: Frame, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The source's own photo if the frame stands at its camera, otherwise the frame."""
    photo = _photo_at(world, frame.world_T_camera, size)
    return frame.color if photo is None else photo


def photo_here(session: Session, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """The source's photo if the walk stands at its camera and has not looked wider yet, or None."""
    if session.world.walk.fov_rad is not None:
        return None
    return _photo_at(session.world, session.rig.world_T_camera, size)


def _photo_at(world: World, world_T_camera: Transform, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    for keyframe in world.bank.keyframes:
        if keyframe.request_id == 0 and keyframe.point_class is not PointClass.INVENTED:
            is_there = is_same_pose(world_T_camera, keyframe.world_T_camera)
            return cover(keyframe.color, *size) if is_there else None
    return None


def is_same_pose(world_T_a: Transform, world_T_b: Transform) -> bool:
    """Within 1 cm and 0.5°."""
    a_T_b = invert(world_T_a) @ world_T_b
    return bool(np.linalg.norm(a_T_b[:3, 3]) <= SAME_POSITION_M and rotation_angle_rad(a_T_b) <= SAME_ANGLE_RAD)


def session_facts(session: Session, kind: str, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """What ``report.json`` holds; ``docs/cli.md`` lists the keys."""
    world = session.world
    return {
        "format": REPORT_FORMAT,
        "kind": kind,
        "world": world.info.name,
        "generator": session.generator,
        "seed": session.seed,
        "size": list(size),
        "seconds": round(seconds, 3),
        "metric": world.info.is_metric,
        "note": world.info.note,
        "content_hash": world.content_hash(),
        "points": world_points(world),
        "keyframes": len(world.bank.keyframes),
        "machine": machine(),
        "quality": session.clips.quality_facts(),
        "generator_note": session.clips.generator_note,
        "fallback": None if session.clips.fallback is None else session.clips.fallback.as_facts(),
        **session.metrics.summary(),
        "journal": [{"kind": e.kind, "tick": e.tick, **e.data} for e in world.journal[-200:]],
    }


def world_points(world: World) -> dict[str, int]:
    """Points by class, and all."""
    counts = {c.name.lower(): int(n) for c, n in world.memory.snapshot().class_counts().items()}
    return {**counts, "total": world.memory.num_points}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import os

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "numpy": np.__version__,
    }


def select_frames(
    poses: Sequence[Transform] | npt.NDArray[np.float64], num_frames: int | None
) -> npt.NDArray[np.float64]:
    """The first so many poses.

    Raises:
        UserError: More frames than poses, or fewer than one.
    """
    if num_frames is None:
        return np.asarray(poses)
    if not 1 <= num_frames <= len(poses):
        raise UserError(
            f"--frames from 1 to {len(poses)} (the length of the path)", str(num_frames), "give a longer path or fewer"
        )
    return np.asarray(poses[:num_frames])
