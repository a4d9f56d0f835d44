"""A world larger than memory, walked from its file, beside one that fits.

    python benchmarks/stream.py [--quick] [--json FILE]

The kitchen recording, levelled and merged at 1 cm, is tiled on both sides of aisles: 200 million voxels (quick: 10)
that are written to disk through the save file's writer and never held at once. A child process walks along the aisles
for 60 s (quick: 6) at 60 frames a second with ``--memory-limit``'s pager and nothing generated; its resident set is
sampled from outside. Another child walks the same way through the same world, all of it in memory, so that both show
the same; they walk in turns, the one that does not walk being stopped. Frames are measured by the clock and by the time
that their thread had the processor, which other programs disturb less. Then the picture is compared with the one that
draws everything in full, from places along the way, and each coarser level with all points where it takes over.

Where the recording is absent, rooms with waves on their walls are tiled.
"""

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from comparison import Result, describe_machine, report, within
from draw import kitchen_points, room_points
from spatia.renderer.interface import DrawOptions, View
from spatia.renderer.software import SoftwareRenderer
from spatia.runtime.persistence import open_world, world_from
from spatia.runtime.process import peak_resident_bytes, resident_bytes
from spatia.runtime.session import Session
from spatia.runtime.window import SWITCH_INTERVAL_S, UPLOAD_BUDGET_S
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.world.blocks import block_of, coarse_block, far_block
from spatia.world.camera import Pinhole
from spatia.world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from spatia.world.coarse import COARSE_LEVEL, FAR_LEVEL, coarsen, far_words
from spatia.world.drawn import DrawChange
from spatia.world.ground import fit_floor
from spatia.world.memory import SpatialMemory
from spatia.world.paging_plan import COARSE_PX
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.spacing import spacing_voxels
from spatia.world.transforms import Transform, interpolate, look

VOXEL_M = 0.01
AISLE_CHUNKS = 2
SIZE, FOV_RAD = (832, 480), float(np.radians(75.0))
SPEED_M_S, EYE_UP_M = 1.4, 0.1
RATE_HZ = 60.0
RESIDENT_TARGET_MB = 1024.0
FRAME_TARGET = 1.0 / 1.10
PSNR_TARGET_DB = 35.0
SAMPLE_S = 0.05
FIRST_VIEW_S, SETTLE_S = 2.0, 60.0
PSNR_PLACES = 3
LEVELS = (("coarser", COARSE_LEVEL), ("far", FAR_LEVEL))
LEVELS_TARGET_PERCENT = 5.0
FACTS_BYTES = 52
"""Of a chunk's facts without its far level."""


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


# ------------------------------------------------------------------------------------------------ worlds


class TiledChunks(Mapping[ChunkKey, Chunk]):
    """Copies of some chunks side by side, made when they are looked up: two rows of tiles along each aisle.

    Args:
        tile: The chunks that are repeated.
        columns: Tiles along an aisle.
        rows: Tiles across, two for each aisle.
    """

    def __init__(self, tile: Mapping[ChunkKey, Chunk], columns: int, rows: int) -> None:
        self.tile, self.columns, self.rows = tile, columns, rows
        keys = np.array(list(tile), np.int64)
        self._low = keys.min(0)
        self._extent = keys.max(0) - self._low + 1

    @classmethod
    def of_size(cls, tile: Mapping[ChunkKey, Chunk], num_points: int) -> "TiledChunks":
        """At least so many points, about as long as wide."""
        keys = np.array(list(tile), np.int64)
        extent = keys.max(0) - keys.min(0) + 1
        copies = -(-num_points // sum(chunk.num_points for chunk in tile.values()))
        columns = max(2, round(float(np.sqrt(copies * extent[2] / extent[0]))))
        return cls(tile, columns, 2 * -(-copies // (2 * columns)))

    def _shift(self, column: int, row: int) -> tuple[int, int]:
        """Chunks along x and z from the tile's own place."""
        return column * int(self._extent[0]), row * int(self._extent[2]) + (row + 1) // 2 * AISLE_CHUNKS

    def __iter__(self) -> Iterator[ChunkKey]:
        for row in range(self.rows):
            for column in range(self.columns):
                dx, dz = self._shift(column, row)
                yield from ((x + dx, y, z + dz) for x, y, z in self.tile)

    def __len__(self) -> int:
        return self.rows * self.columns * len(self.tile)

    def __getitem__(self, key: ChunkKey) -> Chunk:
        column = (key[0] - int(self._low[0])) // int(self._extent[0])
        pair = 2 * int(self._extent[2]) + AISLE_CHUNKS
        z = key[2] - int(self._low[2])
        row = 2 * (z // pair) if z % pair < self._extent[2] else 2 * (z // pair) + 1
        dx, dz = self._shift(column, row)
        chunk = self.tile[key[0] - dx, key[1], key[2] - dz]
        return Chunk(key, 1, chunk.codes, chunk.rows, chunk.priority, chunk.evidence)

    @property
    def num_points(self) -> int:
        """Of all copies."""
        return self.rows * self.columns * sum(chunk.num_points for chunk in self.tile.values())

    def waypoints(self) -> list[Transform]:
        """Along each aisle to its end and on to the next one, metres."""
        side = CHUNK_SIDE * VOXEL_M
        left, right = float(self._low[0]) * side + 1.0, (self._low[0] + self.columns * self._extent[0]) * side - 1.0
        poses: list[Transform] = []
        for aisle in range(self.rows // 2):
            z = (self._low[2] + self._shift(0, 2 * aisle)[1] + self._extent[2] + AISLE_CHUNKS / 2) * side
            ends = (left, right) if aisle % 2 == 0 else (right, left)
            yaw = np.pi / 2 if aisle % 2 == 0 else -np.pi / 2
            poses += [look(np.array([x, -EYE_UP_M, z]), yaw, 0.0) for x in ends]
        return poses


def levelled_tile() -> dict[ChunkKey, Chunk]:
    """The chunks of one room, its floor level."""
    points, colors = kitchen_points(3) or room_points(700_000)
    floor = fit_floor(points, up_hint=(0.0, -1.0, 0.0), camera_position=(0.0, 0.0, 0.0), seed=0)
    if floor is not None:
        points = (points @ _turn_to_up(np.array(floor.plane.normal)).T).astype(np.float32)
    memory = SpatialMemory(VOXEL_M)
    memory.insert(PointBatch.uniform(points, colors, priority=priority_of(PointClass.OBSERVED), keyframe=1))
    return dict(memory.chunks)


def _turn_to_up(normal: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that takes a floor's normal to -Y (Rodrigues)."""
    up = np.array([0.0, -1.0, 0.0])
    v = np.cross(normal, up)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1.0 + normal @ up)


def write_world(path: Path, chunks: TiledChunks) -> float | None:
    """Through the writer, a chunk at a time; seconds, or None if it is there already."""
    if path.exists():
        return None
    start = time.perf_counter()
    manifest = Manifest(path.stem, VOXEL_M, start_pose=tuple(chunks.waypoints()[0].ravel().tolist()))
    WorldFile.create(path, WorldState(chunks, (), manifest, {})).close()
    return time.perf_counter() - start


# ------------------------------------------------------------------------------------------------ the walk


def pose_at(waypoints: list[Transform], seconds: float) -> tuple[Transform, np.ndarray]:
    """Pose and velocity on the way, to and fro if it is short; corners are turned at while walking."""
    lengths = [float(np.linalg.norm(b[:3, 3] - a[:3, 3])) for a, b in pairwise(waypoints)]
    total = sum(lengths)
    at = (seconds * SPEED_M_S) % (2 * total)
    sign = 1.0 if at < total else -1.0
    at = at if at < total else 2 * total - at
    for (a, b), length in zip(pairwise(waypoints), lengths, strict=True):
        if at <= length:
            pose = interpolate(a, b, at / length)
            sway = 0.5 * np.sin(seconds * 0.9)  # looks left and right while walking
            return pose @ look(np.zeros(3), sway, 0.0), sign * SPEED_M_S * (b[:3, 3] - a[:3, 3]) / length
        at -= length
    return waypoints[-1], np.zeros(3)


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
    """Let all that is wanted at the start arrive."""
    quiet, start = 0, time.perf_counter()
    while quiet < 5 and time.perf_counter() - start < SETTLE_S:
        session.draw(pose, pinhole=pinhole)
        pager = session.world.memory.pager
        is_there = pager is None or (pager.wait(SETTLE_S) and pager.num_ready == 0)
        quiet = quiet + 1 if is_there else 0


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
    whole = Walker({"points": scale.num_points})
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


def picture_psnr_db(path: Path, budget_bytes: int, waypoints: list[Transform], seconds: float) -> list[float]:
    """PSNR of the paged picture to the one with all chunks in view in full, at places along the way."""
    pinhole = Pinhole.from_fov(*SIZE, FOV_RAD)
    world = open_world(path, read_only=True, budget_bytes=budget_bytes)
    values = []
    with Session(world, "none", wait=False, size=SIZE) as session:
        for moment in np.linspace(0.1, 0.9, PSNR_PLACES) * seconds:
            pose, _ = pose_at(waypoints, float(moment))
            _settle(session, pose, pinhole)
            options = DrawOptions(use_keyframes=False)
            paged = session.renderer.render(pose, pinhole, options)
            snapshot = world.memory.snapshot()
            full = SoftwareRenderer()
            full.update(snapshot.subset(snapshot.chunks_in_frusta(pinhole, pose)))
            truth = full.render(pose, pinhole, options)
            known = (truth.depth_m > 0) | (paged.depth_m > 0)
            if known.mean() < 0.05:
                continue  # looks out of the world
            values.append(_psnr_db(truth, paged))
            full.close()
    world.close()
    return values


class _BlockScene:
    """Gives a renderer every block of some chunks in one level."""

    max_drawn_points, num_ready = 0, 0

    def __init__(self, chunks: Mapping[ChunkKey, Chunk], level: int) -> None:
        self._changes: list[DrawChange] = []
        for key in sorted({block_of(k) for k in chunks}):
            some = [c for c in chunks.values() if block_of(c.key) == key]
            spacing = float(
                np.average([spacing_voxels(c.local_q8()) for c in some], weights=[len(c.codes) for c in some])
            )
            if level == COARSE_LEVEL:
                block = coarse_block(key, [coarsen(c) for c in some], spacing)
            else:
                block = far_block(key, [c.key for c in some], [far_words(c) for c in some], spacing)
            self._changes.append(DrawChange(key, block))

    def start_drawing(self, _: object) -> None:
        """Nothing has to be prepared."""

    def take(self) -> DrawChange | None:
        """The next block."""
        return self._changes.pop() if self._changes else None


def switch_psnr_db(tile: Mapping[ChunkKey, Chunk], level: int) -> float:
    """PSNR of a level to all points where the one takes the place of the other, over the pixels that either covers."""
    memory = SpatialMemory(VOXEL_M)
    memory.load(tile.values())
    pinhole, spacing = Pinhole.from_fov(*SIZE, FOV_RAD), np.mean([spacing_voxels(c.local_q8()) for c in tile.values()])
    low, high = memory.snapshot().extent() or (np.zeros(3), np.zeros(3))
    away = float(spacing) * VOXEL_M * (1 << level) * pinhole.fx / COARSE_PX
    pose = look(np.array([(low[0] + high[0]) / 2, -EYE_UP_M, low[2] - away]), 0.0, 0.0)
    views = []
    for snapshot in (memory.snapshot(), replace(memory.snapshot(), scene=cast(Any, _BlockScene(tile, level)))):
        renderer = SoftwareRenderer()
        renderer.update(snapshot)
        views.append(renderer.render(pose, pinhole))
        renderer.close()
    return _psnr_db(views[0], views[1])


def _psnr_db(truth: View, other: View) -> float:
    known = (truth.depth_m > 0) | (other.depth_m > 0)
    error = np.mean((other.color[known].astype(float) - truth.color[known]) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def level_share(path: Path) -> float:
    """Bytes of the coarser levels over those of the chunks."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        chunks = db.execute("SELECT sum(length(data)) FROM chunks JOIN objects USING (digest)").fetchone()[0]
        coarse = db.execute("SELECT sum(length(data)) FROM coarse").fetchone()[0]
        far = db.execute(f"SELECT sum(length(facts) - {FACTS_BYTES}) FROM summaries").fetchone()[0]
    return (coarse + far) / chunks


def pictures(scale: Scale, path: Path, large: TiledChunks, machine: str) -> list[Result]:
    """Rows of the picture's quality, and of the file."""
    psnr = picture_psnr_db(path, scale.budget_bytes, large.waypoints(), scale.seconds)
    rows = [("paged picture to all in full, worst place", min(psnr))]
    rows += [(f"at the switch to the {n} level", switch_psnr_db(large.tile, level)) for n, level in LEVELS]
    return [
        *(within(name, "dB", value, PSNR_TARGET_DB, machine, at_most=False) for name, value in rows),
        within("coarser levels to chunks, bytes", "%", 100 * level_share(path), LEVELS_TARGET_PERCENT, machine),
        Result("file", "B a voxel", path.stat().st_size / large.num_points, None, "", None, None, machine),
    ]


def large_world(num_points: int) -> TiledChunks:
    """The same for the same number."""
    return TiledChunks.of_size(levelled_tile(), num_points)


def compare(scale: Scale, folder: Path) -> list[Result]:
    """All rows."""
    machine, large, path = describe_machine(), large_world(scale.num_points), folder / "large.spatia"
    written_s = write_world(path, large)
    rows = walks(scale, path, large, machine) + pictures(scale, path, large, machine)
    if written_s is not None:
        rows.append(Result("writing", "M voxels/s", large.num_points / 1e6 / written_s, None, "", None, None, machine))
    return rows


def run_child(job: dict[str, Any]) -> None:
    """One of the walks."""
    facts, large, started = {"base_mb": resident_bytes() / 2**20}, large_world(job["points"]), time.perf_counter()
    waypoints = large.waypoints()
    if "path" in job:
        del large
        session = paged_session(Path(job["path"]), job["budget"])
    else:
        session = whole_session(large)
    serve_walks(session, waypoints, facts | {"open_s": time.perf_counter() - started})


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 million voxels and 6 s, under 45 s")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--folder", type=Path, help="keep the world here, and use the one that is here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(json.loads(options.child))
        return
    scale = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="spatia-stream-") as folder:
        report(compare(scale, options.folder or Path(folder)), options.json)


if __name__ == "__main__":
    main()
