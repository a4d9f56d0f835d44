"""A world larger than memory, walked from its file, beside the same world held whole.

    python benchmarks/stream.py [--quick] [--json FILE] [--folder FOLDER] [--parts world,walks,pictures]

A room is tiled on both sides of aisles (``tiles``): 200 million voxels (quick: 10) that are written to disk through the
save file's writer and never held at once. A child process walks along the aisles for 60 s (quick: 6) at 60 frames a
second with ``--memory-limit``'s pager and nothing generated; its resident set is sampled from outside. Another child
walks the same way through the same world, all of it in memory, so that both show the same; they walk in turns, the one
that does not walk being stopped. Frames are measured by the clock and by the time that their thread had the processor,
which other programs disturb less. Then pictures are compared with those that draw everything in full, from places along
the way when all that is wanted has arrived and while turning there, and each coarser level with all points where it
takes over. With a folder the world is kept, so that the parts can be run one by one.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from comparison import Result, describe_machine, report, within
from spatia.renderer.interface import DrawOptions, View
from spatia.runtime.persistence import open_world, world_from
from spatia.runtime.process import peak_resident_bytes, resident_bytes
from spatia.runtime.session import Session
from spatia.runtime.window import SWITCH_INTERVAL_S, UPLOAD_BUDGET_S
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.world.camera import Pinhole
from spatia.world.coarse import COARSE_LEVEL, FAR_LEVEL
from spatia.world.paging import REPLAN_S
from spatia.world.transforms import Transform, look
from tiles import (
    FOV_RAD,
    SIZE,
    VOXEL_M,
    Likeness,
    TiledChunks,
    WholePictures,
    large_world,
    level_share,
    pose_at,
    switch_psnr_db,
    write_world,
)  # fmt: skip

RATE_HZ = 60.0
RESIDENT_TARGET_MB = 1024.0
FRAME_TARGET = 1.0 / 1.10
PSNR_TARGET_DB = 35.0
SAMPLE_S = 0.05
FIRST_VIEW_S, SETTLE_S, QUIET_PLANS = 2.0, 180.0, 3
PLACES = 3
TURN_RAD, TURN_S, TURN_PICTURES = np.pi / 2, 1.0, 4
LEVELS = (("coarser", COARSE_LEVEL), ("far", FAR_LEVEL))
LEVELS_TARGET_PERCENT = 5.0
PARTS = ("world", "walks", "pictures")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the benchmark is.

    Attributes:
        num_points: Of the large world.
        budget_bytes: For the points of the large one.
        seconds: Of each walk.
        part_s: After which the other walks on.
    """

    num_points: int
    budget_bytes: int
    seconds: float
    part_s: float


FULL = Scale(200_000_000, 600 << 20, 60.0, 10.0)
QUICK = Scale(10_000_000, 60 << 20, 6.0, 2.0)


# ------------------------------------------------------------------------------------------------ the walk


def paged_session(path: Path, budget_bytes: int) -> Session:
    """A walk in a world on the disk."""
    return Session(open_world(path, read_only=True, budget_bytes=budget_bytes), "none", wait=False, size=SIZE)


def whole_session(chunks: TiledChunks) -> Session:
    """The same walk in a world of the same content that is held as a whole: copies of a tile share its memory."""
    return Session(world_from(WorldState(chunks, (), Manifest("whole", VOXEL_M), {})), "none", wait=False, size=SIZE)


def serve_walks(session: Session, waypoints: list[Transform], first: dict[str, float]) -> None:
    """Walk what is asked for, a line each: start and length in seconds; run by a child process."""
    pinhole, send = Pinhole.from_fov(*SIZE, FOV_RAD), lambda facts: print(json.dumps(facts), flush=True)
    started = time.perf_counter()
    pose, _ = pose_at(waypoints, 0.0)
    session.draw(pose, pinhole=pinhole, budget_s=UPLOAD_BUDGET_S)
    session.wait_for_view(FIRST_VIEW_S)
    session.draw(pose, pinhole=pinhole)
    first["shown_s"] = time.perf_counter() - started
    _settle(session, pose, pinhole)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    send(first)
    for line in sys.stdin:
        send(_walk_part(session, waypoints, pinhole, *map(float, line.split())))
    facts = {"peak_mb": peak_resident_bytes() / 2**20}
    pager = session.world.memory.pager
    send(facts if pager is None else facts | {k: float(v) for k, v in asdict(pager.status()).items() if k != "failure"})
    session.close()
    session.world.close()


def _walk_part(
    session: Session, waypoints: list[Transform], pinhole: Pinhole, begin_s: float, length_s: float
) -> dict[str, list[float]]:
    """Milliseconds of each frame, by the clock and of its thread's work alone."""
    frames, work, start = [], [], time.perf_counter()
    while (now := time.perf_counter() - start) < length_s:
        pose, velocity = pose_at(waypoints, begin_s + now)
        session.rig.state = replace(session.rig.state_of(pose), is_flying=True, velocity=tuple(velocity.tolist()))
        begin, begin_work = time.perf_counter(), time.thread_time()
        session.draw(pose, pinhole=pinhole, budget_s=UPLOAD_BUDGET_S, reuse=True)
        frames.append(1e3 * (time.perf_counter() - begin))
        work.append(1e3 * (time.thread_time() - begin_work))
        time.sleep(max(0.0, 1.0 / RATE_HZ - (time.perf_counter() - begin)))
    return {"frames": frames, "work": work}


def _settle(session: Session, pose: Transform, pinhole: Pinhole) -> None:
    """Let all that is wanted arrive. A plan knows more once an earlier one was followed: several must find nothing."""
    pager, start, quiet, shown = session.world.memory.pager, time.perf_counter(), 0, ()
    while quiet < QUIET_PLANS and time.perf_counter() - start < SETTLE_S:
        session.draw(pose, pinhole=pinhole)
        if pager is None:
            return
        pager.wait(SETTLE_S)
        if pager.num_ready:  # it waits for the renderer to take them
            quiet = 0
            continue
        time.sleep(1.5 * REPLAN_S)
        before, status = shown, pager.status()
        shown = (status.full_points, status.coarse_points, status.far_points)
        quiet = quiet + 1 if shown == before and status.is_complete and not pager.num_ready else 0


class Walker:
    """A child process that walks when it is asked to and is stopped as a whole in between.

    Args:
        job: What it walks; see ``main``.
    """

    def __init__(self, job: dict[str, object]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._peaks: list[int] = []
        self._watcher = threading.Thread(target=self._watch, name="resident-set")
        self._watcher.start()
        self.first = self._answer()
        self.frames: list[float] = []
        self.work: list[float] = []
        self._child.send_signal(signal.SIGSTOP)

    def walk(self, begin_s: float, length_s: float) -> None:
        """Walk a part of the way."""
        self._child.send_signal(signal.SIGCONT)
        assert self._child.stdin is not None
        self._child.stdin.write(f"{begin_s} {length_s}\n")
        self._child.stdin.flush()
        part = self._answer()
        self._child.send_signal(signal.SIGSTOP)
        self.frames += part["frames"]
        self.work += part["work"]

    def end(self) -> dict[str, float]:
        """Its facts, and the largest resident set that was seen from outside."""
        self._child.send_signal(signal.SIGCONT)
        assert self._child.stdin is not None
        self._child.stdin.close()
        facts = self._answer()
        self._child.wait()
        self._watcher.join()
        return {**self.first, **facts, "resident_mb": max(self._peaks, default=0) / 2**20}

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the walking process ended with {self._child.wait()}")
        return json.loads(line)

    def _watch(self) -> None:
        while self._child.poll() is None:
            try:
                text = Path(f"/proc/{self._child.pid}/statm").read_text(encoding="ascii")
            except OSError:
                return
            self._peaks.append(int(text.split()[1]) * 4096)
            time.sleep(SAMPLE_S)


def walks(scale: Scale, path: Path, large: TiledChunks, machine: str) -> list[Result]:
    """Rows of the walk from the disk beside the walk through the same world held whole, in turns."""
    paged = Walker({"path": str(path), "budget": scale.budget_bytes, "points": scale.num_points})
    whole = Walker({"path": str(path), "points": scale.num_points})
    for begin_s in np.arange(0.0, scale.seconds, scale.part_s).tolist():
        for walker in (paged, whole) if round(begin_s / scale.part_s) % 2 == 0 else (whole, paged):
            walker.walk(begin_s, scale.part_s)
    facts, held = paged.end(), whole.end()
    note = f"{large.num_points / 1e6:.0f} M voxels, {scale.budget_bytes >> 20} MiB for points"
    other = f"the same world held whole, {held['resident_mb']:.0f} MB"

    def frame(name: str, ours: list[float], theirs: list[float], share: int, target: float | None) -> Result:
        a, b = float(np.percentile(ours, share)), float(np.percentile(theirs, share))
        return Result(name, "ms", a, b, other, b / a, target, machine)

    def row(name: str, unit: str, value: float, other: str = "") -> Result:
        return Result(name, unit, value, None, other, None, None, machine)

    return [
        within(f"resident set, {note}", "MB", facts["resident_mb"], RESIDENT_TARGET_MB, machine),
        row("resident set before opening", "MB", facts["base_mb"]),
        frame("frame, median", paged.frames, whole.frames, 50, None),
        frame("frame, p99", paged.frames, whole.frames, 99, FRAME_TARGET),
        frame("frame's own work, median", paged.work, whole.work, 50, None),
        frame("frame's own work, p99", paged.work, whole.work, 99, FRAME_TARGET),
        row("frames", "", len(paged.frames), f"of {scale.seconds * RATE_HZ:.0f}"),
        row("drawn in full up to", "m", facts.get("reach_m", np.inf)),
        *(row(f"points drawn {n}", "M", facts.get(f"{n}_points", 0) / 1e6) for n in ("full", "coarse", "far")),
        row("chunks read", "", facts.get("loads", 0), f"of {facts.get('num_chunks', 0):.0f}"),
        row("chunks evicted", "", facts.get("evictions", 0)),
        row("opening, without chunks", "s", facts["open_s"]),
        row("first picture after that", "s", facts["shown_s"]),
    ]


# ---------------------------------------------------------------------------------------------- pictures


def picture_likeness(scale: Scale, path: Path, large: TiledChunks) -> tuple[list[Likeness], list[Likeness]]:
    """Paged pictures against those of all points: once all that is wanted has arrived, and while turning by 90°."""
    pinhole, options = Pinhole.from_fov(*SIZE, FOV_RAD), DrawOptions(use_keyframes=False)
    standing, turning = [], []
    world = open_world(path, read_only=True, budget_bytes=scale.budget_bytes)
    with Session(world, "none", wait=False, size=SIZE) as session:
        pager = world.memory.pager
        assert pager is not None
        for moment in np.linspace(0.1, 0.9, PLACES) * scale.seconds:
            pose, _ = pose_at(large.waypoints(), float(moment))
            turn = [pose @ look(np.zeros(3), TURN_RAD * (k + 1) / TURN_PICTURES, 0.0) for k in range(TURN_PICTURES)]
            whole = WholePictures(large, pinhole, np.stack([pose, *turn]))
            _settle(session, pose, pinhole)
            reach_m = pager.status().reach_m
            standing.append(whole.likeness(pose, session.renderer.render(pose, pinhole, options), reach_m))
            views = _turn(session, pose, pinhole)
            turning += [whole.likeness(p, view, reach_m) for p, view in zip(turn, views, strict=True)]
            whole.close()
    world.close()
    return standing, turning


def _turn(session: Session, pose: Transform, pinhole: Pinhole) -> list[View]:
    """Turn right as a person does, a frame each 60th of a second; some of the pictures, the last one among them."""
    views, num = [], round(TURN_S * RATE_HZ)
    for k in range(1, num + 1):
        begin = time.perf_counter()
        turned = pose @ look(np.zeros(3), TURN_RAD * k / num, 0.0)
        session.draw(turned, pinhole=pinhole, budget_s=UPLOAD_BUDGET_S, reuse=True)
        if k * TURN_PICTURES % num == 0:
            views.append(session.renderer.render(turned, pinhole, DrawOptions(use_keyframes=False)))
        time.sleep(max(0.0, 1.0 / RATE_HZ - (time.perf_counter() - begin)))
    return views


def pictures(scale: Scale, path: Path, large: TiledChunks, machine: str) -> list[Result]:
    """Rows of the picture's quality, and of the file."""
    standing, turning = picture_likeness(scale, path, large)
    rows = []
    for name, found, target in (("standing", standing, PSNR_TARGET_DB), ("turning", turning, None)):
        worst = min(found, key=lambda likeness: likeness.whole)
        label = f"paged picture to all in full, {name}, worst of {len(found)}"
        if target is None:
            rows.append(Result(label, "dB", worst.whole, None, "", None, None, machine))
        else:
            rows.append(within(label, "dB", worst.whole, target, machine, at_most=False))
        rows += [
            Result(f"  {what}", unit, value, None, "", None, None, machine)
            for what, unit, value in (
                ("where it is drawn in full", "dB", worst.near), ("elsewhere", "dB", worst.far),
                ("that part of the pixels", "%", 100 * worst.far_share),
                ("all in full there to itself, moved by 1/16 pixel", "dB", worst.moved),
                ("averaged over 4x4 pixels", "dB", worst.blurred), ("visibly other then", "%", 100 * worst.other_share),
            )
        ]  # fmt: skip
    for name, level in LEVELS:
        value = switch_psnr_db(large.tile, level)
        rows.append(within(f"at the switch to the {name} level", "dB", value, PSNR_TARGET_DB, machine, at_most=False))
    share = 100 * level_share(path)
    return [
        *rows,
        within("coarser levels to chunks, bytes", "%", share, LEVELS_TARGET_PERCENT, machine),
        Result("file", "B a voxel", path.stat().st_size / large.num_points, None, "", None, None, machine),
    ]


def compare(scale: Scale, folder: Path, parts: list[str]) -> list[Result]:
    """All rows of some parts."""
    machine, large, path = describe_machine(), large_world(folder, scale.num_points), folder / "large.spatia"
    written_s, rows = write_world(path, large), []
    if written_s is not None:
        rows.append(Result("writing", "M voxels/s", large.num_points / 1e6 / written_s, None, "", None, None, machine))
    if "walks" in parts:
        rows += walks(scale, path, large, machine)
    if "pictures" in parts:
        rows += pictures(scale, path, large, machine)
    return rows


def run_child(job: dict[str, Any]) -> None:
    """One of the walks."""
    facts = {"base_mb": resident_bytes() / 2**20}
    path = Path(job["path"])
    large, started = large_world(path.parent, job["points"]), time.perf_counter()
    waypoints = large.waypoints()
    if "budget" in job:
        del large
        session = paged_session(path, job["budget"])
    else:
        session = whole_session(large)
    serve_walks(session, waypoints, facts | {"open_s": time.perf_counter() - started})


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 million voxels and 6 s, under 45 s")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--folder", type=Path, help="keep the world here, and use the one that is here")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(json.loads(options.child))
        return
    scale, parts = QUICK if options.quick else FULL, options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="spatia-stream-") as folder:
        report(compare(scale, options.folder or Path(folder), parts), options.json)


if __name__ == "__main__":
    main()
