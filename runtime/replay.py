"""``spatia rollout --replay``: a recorded walk, played again in simulated time with its clips at their ticks."""

import time
from pathlib import Path

import numpy as np

from ..renderer.capture import VideoWriter
from . import commands
from .errors import UserError
from .headless import (
    ROLLOUT_RATE_HZ,
    opening_photo,
    saved_on_interrupt,
    session_facts,
    tiled_frames,
    void_share,
    write_contact_sheet,
)
from .json_files import write_json
from .record import RecordedTick, Recording
from .session import Session
from .world import Progress, World


def check_start(world: World, recording: Recording) -> None:
    """Refuse a world that is not as it was when the record began.

    Raises:
        UserError: Another world, or the same at another time.
    """
    expected = recording.header.get("content_hash")
    if world.content_hash() != expected:
        raise UserError(
            f"the world as it was when the record began (content_hash {str(expected)[:12]}…)",
            f"content_hash {world.content_hash()[:12]}…",
            "give the source or the saved world that the record started from",
        )


def run_replay(command: commands.Rollout, world: World, recording: Recording, report: Progress) -> None:
    """Play a record and write video, contact sheet, world and report.

    Args:
        command: Folder, size and number of frames.
        world: As it was when the record began; changed and saved.
        recording: The log.
        report: Progress callback.
    """
    check_start(world, recording)
    size = commands.parse_size(command.size) or tuple(recording.header["size"])
    ticks = recording.ticks[: command.frames] if command.frames else recording.ticks
    command.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    session = Session(
        world,
        recording.header["generator"],
        seed=recording.header["seed"],
        wait=True,
        size=size,
        tick_s=recording.header["tick_s"],
        recording=recording,
    )
    with saved_on_interrupt(world, command.out / "world.spatia"), session:
        tiles = _play(session, ticks, command.out, size, report)
        facts = session_facts(session, "replay", size, time.perf_counter() - started)
    write_contact_sheet(command.out / "contact.png", tiles)
    world.save(command.out / "world.spatia")
    write_json(command.out / "report.json", facts)


def _play(
    session: Session, ticks: list[RecordedTick], out: Path, size: tuple[int, int], report: Progress
) -> list[tuple[str, np.ndarray]]:
    """Run every tick; draw those that fall on a frame of 24 a second."""
    per_frame = max(1, round(1.0 / (ROLLOUT_RATE_HZ * session.tick_s)))
    num_frames = -(-len(ticks) // per_frame)
    keep = tiled_frames(num_frames)
    tiles = []
    with VideoWriter(out / "video.mp4", size, fps=int(ROLLOUT_RATE_HZ)) as video:
        for i, recorded in enumerate(ticks):
            session.look(recorded.intent)
            session.tick(recorded.intent, pace=recorded.pace)
            if i % per_frame:
                continue
            frame = session.draw()
            color = opening_photo(session.world, frame, size) if i == 0 else frame.color
            video.write(color)
            session.metrics.frame(work_s=0.0, interval_s=None, void_share=void_share(frame), dt_s=1.0 / ROLLOUT_RATE_HZ)
            if i // per_frame in keep:
                tiles.append((f"{i * session.tick_s:.1f} s", color))
            report(f"tick {i + 1} of {len(ticks)}", (i + 1) / len(ticks))
    return tiles
