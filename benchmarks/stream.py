"""A world larger than memory, walked from its file, beside one that fits.

    python benchmarks/stream.py [--quick] [--json FILE]

The kitchen recording, levelled and merged at 1 cm, is tiled on both sides of aisles: 200 million voxels (quick: 10)
that are written to disk through the save file's writer and never held at once. A child process walks along the aisles
for 60 s (quick: 12) at 60 frames a second with ``--memory-limit``'s pager and nothing generated; its resident set is
sampled from outside. Another child walks the same way through the part along it, held whole. Then the picture is
compared with the one that draws everything in full, from places along the way. Frames are measured by the clock and by
the time that their thread had the processor, which other programs disturb less.

Where the recording is absent, rooms with waves on their walls are tiled.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from comparison import Result, describe_machine, report
from draw import kitchen_points, room_points
from spatia.renderer.interface import DrawOptions
from spatia.renderer.software import SoftwareRenderer
from spatia.runtime.persistence import open_world
from spatia.runtime.process import peak_resident_bytes, resident_bytes
from spatia.runtime.session import Session
from spatia.runtime.window import SWITCH_INTERVAL_S, UPLOAD_BUDGET_S
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.world.camera import Pinhole
from spatia.world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from spatia.world.ground import fit_floor
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
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
LOAD_S = 300.0
HELD_WHOLE_BYTES = 4 << 30
PSNR_PLACES = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the benchmark is.

    Attributes:
        num_points: Of the large world.
        budget_bytes: For the points of the large one.
        seconds: Of each walk.
    """

    num_points: int
    budget_bytes: int
    seconds: float


FULL = Scale(200_000_000, 300 << 20, 60.0)
QUICK = Scale(10_000_000, 60 << 20, 12.0)


# ------------------------------------------------------------------------------------------------ worlds


class TiledChunks(Mapping[ChunkKey, Chunk]):
    """Copies of some chunks side by side, made when they are looked up: two rows of tiles along each aisle.

    Args:
        tile: The chunks that are repeated.
        columns: Tiles along an aisle.
        rows: Tiles across, two for each aisle.
    """

    def __init__(self, tile: Mapping[ChunkKey, Chunk], columns: int, rows: int) -> None:
        self._tile, self.columns, self.rows = tile, columns, rows
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

    def first_aisles(self, count: int) -> "TiledChunks":
        """The part that lies along the first so many aisles."""
        return TiledChunks(self._tile, self.columns, min(self.rows, 2 * count))

    def _shift(self, column: int, row: int) -> tuple[int, int]:
        """Chunks along x and z from the tile's own place."""
        return column * int(self._extent[0]), row * int(self._extent[2]) + (row + 1) // 2 * AISLE_CHUNKS

    def __iter__(self) -> Iterator[ChunkKey]:
        for row in range(self.rows):
            for column in range(self.columns):
                dx, dz = self._shift(column, row)
                yield from ((x + dx, y, z + dz) for x, y, z in self._tile)

    def __len__(self) -> int:
        return self.rows * self.columns * len(self._tile)

    def __getitem__(self, key: ChunkKey) -> Chunk:
        column = (key[0] - int(self._low[0])) // int(self._extent[0])
        pair = 2 * int(self._extent[2]) + AISLE_CHUNKS
        z = key[2] - int(self._low[2])
        row = 2 * (z // pair) if z % pair < self._extent[2] else 2 * (z // pair) + 1
        dx, dz = self._shift(column, row)
        chunk = self._tile[key[0] - dx, key[1], key[2] - dz]
        return Chunk(key, 1, chunk.codes, chunk.rows, chunk.priority, chunk.evidence)

    @property
    def num_points(self) -> int:
        """Of all copies."""
        return self.rows * self.columns * sum(chunk.num_points for chunk in self._tile.values())

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


def walk(path: Path, budget_bytes: int, seconds: float, waypoints: list[Transform]) -> dict[str, float]:
    """Walk a world from its file; run by a child process."""
    base = resident_bytes()
    started = time.perf_counter()
    world = open_world(path, read_only=True, budget_bytes=budget_bytes)
    opened = time.perf_counter()
    pinhole = Pinhole.from_fov(*SIZE, FOV_RAD)
    session = Session(world, "none", wait=False, size=SIZE)
    pose, _ = pose_at(waypoints, 0.0)
    session.draw(pose, pinhole=pinhole)
    session.wait_for_view(FIRST_VIEW_S)
    session.draw(pose, pinhole=pinhole)
    shown = time.perf_counter()
    while budget_bytes >= HELD_WHOLE_BYTES and world.memory.pager is not None and time.perf_counter() < shown + LOAD_S:
        session.draw(pose, pinhole=pinhole)
        time.sleep(0.05)
    _settle(session, pose, pinhole)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    frames, work, start = [], [], time.perf_counter()
    while (now := time.perf_counter() - start) < seconds:
        pose, velocity = pose_at(waypoints, now)
        state = replace(session.rig.state_of(pose), is_flying=True, velocity=tuple(velocity.tolist()))
        session.rig.state = state
        begin, begin_work = time.perf_counter(), time.thread_time()
        session.draw(pose, pinhole=pinhole, budget_s=UPLOAD_BUDGET_S, reuse=True)
        frames.append(time.perf_counter() - begin)
        work.append(time.thread_time() - begin_work)
        time.sleep(max(0.0, 1.0 / RATE_HZ - (time.perf_counter() - begin)))
    facts = {"open_s": opened - started, "shown_s": shown - opened, "base_mb": base / 2**20}
    facts |= {f"p{q}_ms": float(np.percentile(frames, q)) * 1e3 for q in (50, 95, 99)}
    facts |= {f"work_p{q}_ms": float(np.percentile(work, q)) * 1e3 for q in (50, 95, 99)}
    facts |= {"frames": len(frames), "peak_mb": peak_resident_bytes() / 2**20, "points": world.memory.num_points}
    pager = world.memory.pager
    if pager is not None:
        s = pager.status()
        facts |= {"loads": s.loads, "evictions": s.evictions, "reach_m": s.reach_m, "full_points": s.full_points}
        facts |= {
            "coarse_points": s.coarse_points,
            "far_points": s.far_points,
            "blocks": s.blocks,
            "held_points": s.held_points,
            "chunks": s.num_chunks,
        }
    session.close()
    world.close()
    return facts


def _settle(session: Session, pose: Transform, pinhole: Pinhole) -> None:
    """Let all that is wanted at the start arrive."""
    quiet, start = 0, time.perf_counter()
    while quiet < 5 and time.perf_counter() - start < SETTLE_S:
        session.draw(pose, pinhole=pinhole)
        pager = session.world.memory.pager
        is_there = pager is None or (pager.wait(SETTLE_S) and pager.num_ready == 0)
        quiet = quiet + 1 if is_there else 0


def run_walk(path: Path, budget_bytes: int, seconds: float, waypoints: list[Transform]) -> dict[str, float]:
    """Walk in a child process; its facts and the largest resident set that was seen from outside."""
    job = {"path": str(path), "budget": budget_bytes, "seconds": seconds}
    job["waypoints"] = [pose.tolist() for pose in waypoints]
    command = [sys.executable, __file__, "--child", json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        peaks: list[int] = []
        watcher = threading.Thread(target=_watch, args=(child, peaks), name="resident-set")
        watcher.start()
        output, _ = child.communicate()
        watcher.join()
    if child.returncode:
        raise RuntimeError(f"the walking process ended with {child.returncode}")
    return {**json.loads(output.splitlines()[-1]), "resident_mb": max(peaks, default=0) / 2**20}


def _watch(child: "subprocess.Popen[str]", peaks: list[int]) -> None:
    while child.poll() is None:
        try:
            text = Path(f"/proc/{child.pid}/statm").read_text(encoding="ascii")
        except OSError:
            return
        peaks.append(int(text.split()[1]) * 4096)
        time.sleep(SAMPLE_S)


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
            error = np.mean((paged.color[known].astype(float) - truth.color[known]) ** 2)
            values.append(float(10 * np.log10(255**2 / max(error, 1e-3))))
            full.close()
    world.close()
    return values


def compare(scale: Scale, folder: Path) -> list[Result]:
    """All rows."""
    tile, machine = levelled_tile(), describe_machine()
    large = TiledChunks.of_size(tile, scale.num_points)
    small = large.first_aisles(2)
    written_s = write_world(folder / "large.spatia", large)
    write_world(folder / "small.spatia", small)
    size = (folder / "large.spatia").stat().st_size
    paged = run_walk(folder / "large.spatia", scale.budget_bytes, scale.seconds, large.waypoints())
    fitting = run_walk(folder / "small.spatia", HELD_WHOLE_BYTES, scale.seconds, large.waypoints())
    psnr = picture_psnr_db(folder / "large.spatia", scale.budget_bytes, large.waypoints(), scale.seconds)
    millions = large.num_points / 1e6
    limit = RESIDENT_TARGET_MB * scale.budget_bytes / FULL.budget_bytes if scale is FULL else None
    note = f"{millions:.0f} M voxels, {scale.budget_bytes >> 20} MiB for points"

    def row(name: str, unit: str, value: float, target: float | None = None, other: str = "") -> Result:
        return Result(name, unit, value, None, other, None, target, machine)

    def frame(name: str, key: str, target: float | None) -> Result:
        other = f"the {small.num_points / 1e6:.0f} M along the way, held whole"
        return Result(name, "ms", paged[key], fitting[key], other, fitting[key] / paged[key], target, machine)

    room = None if limit is None else limit / paged["resident_mb"]
    return [
        Result("resident set, sampled", "MB", paged["resident_mb"], limit, note, room, room and 1.0, machine),
        row("resident set before opening", "MB", paged["base_mb"]),
        frame("frame, median", "p50_ms", None),
        frame("frame, p95", "p95_ms", None),
        frame("frame, p99", "p99_ms", FRAME_TARGET),
        frame("frame's own work, median", "work_p50_ms", None),
        frame("frame's own work, p99", "work_p99_ms", FRAME_TARGET),
        row("picture to all in full, worst place", "dB", min(psnr), PSNR_TARGET_DB, f"median {np.median(psnr):.1f}"),
        row("drawn in full up to", "m", paged.get("reach_m", np.inf)),
        row("points drawn in full", "M", paged.get("full_points", 0) / 1e6),
        row("points drawn coarser", "M", paged.get("coarse_points", 0) / 1e6),
        row("chunks read", "", paged.get("loads", 0), None, f"of {paged.get('chunks', 0):.0f}"),
        row("chunks evicted", "", paged.get("evictions", 0)),
        row("opening, without chunks", "s", paged["open_s"]),
        row("first picture after that", "s", paged["shown_s"]),
        row("file", "B a voxel", size / large.num_points),
        *([] if written_s is None else [row("writing", "M voxels/s", millions / written_s)]),
    ]


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 million voxels and 12 s, under 45 s")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--folder", type=Path, help="keep the worlds here, and use those that are here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        job = json.loads(options.child)
        waypoints = [np.array(pose) for pose in job["waypoints"]]
        sys.stdout.write(json.dumps(walk(Path(job["path"]), job["budget"], job["seconds"], waypoints)) + "\n")
        return
    scale = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="spatia-stream-") as folder:
        report(compare(scale, options.folder or Path(folder)), options.json)


if __name__ == "__main__":
    main()
