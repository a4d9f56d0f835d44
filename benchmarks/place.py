"""The procedural place: pictures a second by day and in the evening, texture, smooth edges, even frames, start.

    python benchmarks/place.py [--quick] [--json FILE]

A camera walks through doors from cell to cell; light is made ahead of it between the pictures. Rows with "allowed" are
met if the figure is no larger.
"""

import math
import subprocess
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np
from comparison import Result, describe_machine, parse_options, report
from spatia.generator.procedural.place import EYE_HEIGHT_M, Place, PlaceSpec
from spatia.generator.procedural.plan import CellPlan
from spatia.world.camera import Pinhole
from spatia.world.transforms import Transform, look

SEED, FOV_RAD = 3, float(np.radians(75.0))
STEP_M = 0.06
AHEAD_S = 0.004
"""Time spent on making what is ahead after every picture."""
TARGET_FPS = {("day", 320): 50.0, ("evening", 320): 40.0, ("day", 640): 15.0, ("evening", 640): 15.0}
START = "import time; t = time.perf_counter(); from spatia.generator.procedural.place import Place, PlaceSpec; \
Place(PlaceSpec('rooms', 3)); print(time.perf_counter() - t)"


def walk(place: Place, num_frames: int, row: int = 0) -> Iterator[Transform]:
    """Poses of a walk from cell to cell through doors and arches, looking about."""
    points = _waypoints(place, row, num_frames * STEP_M)
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(num_frames) * STEP_M
    xs, ys = np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])
    ax, ay = np.interp(at + 0.8, along, points[:, 0]), np.interp(at + 0.8, along, points[:, 1])
    yaw = np.unwrap(np.arctan2(ax - xs, ay - ys))
    smooth = np.convolve(np.pad(yaw, 12, "edge"), np.ones(25) / 25, "valid")
    for k in range(num_frames):
        turn = smooth[k] + 0.5 * math.sin(0.05 * k)
        yield look((xs[k], -EYE_HEIGHT_M, ys[k]), turn, -0.08 + 0.1 * math.sin(0.031 * k))


def _waypoints(place: Place, row: int, length_m: float) -> np.ndarray:
    cell = place.plan.cell(1, row)
    points, visits, walked = [_middle(cell)], {(cell.i, cell.j): 1}, 0.0
    while walked < length_m + 2.0:
        ways = []
        for o in cell.openings:
            if not o.is_passable:
                continue
            step = ((0, -1), (1, 0), (0, 1), (-1, 0))[o.side]
            key = (cell.i + step[0], cell.j + step[1])
            ways.append((visits.get(key, 0) + 0.1 * math.sin(7.0 * key[0] + 3.0 * key[1]), key, o))
        _, key, o = min(ways, key=lambda way: way[0])
        a = (o.low + o.high) / 2
        u, v = ((a, 0.0), (cell.width, a), (a, cell.depth), (0.0, a))[o.side]
        door = (cell.x + u, cell.y + v)
        cell = place.plan.cell(*key)
        visits[key] = visits.get(key, 0) + 1
        points += [door, _middle(cell)]
        walked += math.dist(points[-3], points[-2]) + math.dist(points[-2], points[-1])
    return np.array(points)


def _middle(cell: CellPlan) -> tuple[float, float]:
    return cell.x + cell.width / 2, cell.y + cell.depth / 2


def measure_walk(light: str, size: tuple[int, int], num_frames: int, machine: str) -> list[Result]:
    """Pictures a second on two threads, and the slowest picture with what is made ahead, beside the median."""
    place = Place(PlaceSpec("rooms", SEED, light))
    pinhole = Pinhole.from_fov(*size, FOV_RAD)
    poses = list(walk(place, num_frames))
    place.make_ahead(poses[0], 60.0)
    whole, alone = [], []
    for k, pose in enumerate(poses):
        start = time.perf_counter()
        place.render(pose, pinhole, k / 24.0, threads=2)
        alone.append(time.perf_counter() - start)
        place.make_ahead(pose, AHEAD_S)
        whole.append(time.perf_counter() - start)
    place.close()
    name, target = f"{size[0]}x{size[1]} {light}, two threads", TARGET_FPS[light, size[0]]
    slowest = float(np.max(alone) / np.median(alone))
    late = float(np.mean(np.array(alone) > 2 * np.median(alone)))
    return [
        Result(name, "fps, median", 1.0 / float(np.median(alone)), None, "", None, target, machine),
        Result(name, "fps, best", 1.0 / float(np.min(alone)), None, "", None, None, machine),
        Result(f"{name}: slowest picture", "medians", slowest, 2.0, "allowed", 2.0 / slowest, 1.0, machine),
        Result(f"{name}: pictures over two medians", "%", 100 * late, None, "", None, None, machine),
        Result(
            f"{name}: with what is made ahead",
            "fps, median",
            1.0 / float(np.median(whole)),
            None,
            "",
            None,
            None,
            machine,
        ),
    ]


def measure_pictures(light: str, num: int, machine: str) -> list[Result]:
    """Corners in every picture, and the difference to sixteen rays a pixel."""
    place = Place(PlaceSpec("rooms", SEED, light))
    pinhole, fine = Pinhole.from_fov(640, 480, FOV_RAD), Pinhole.from_fov(2560, 1920, FOV_RAD)
    detector = cv2.FastFeatureDetector_create()
    poses = list(walk(place, num * 40))[::40]
    corners, differences = [], []
    for k, pose in enumerate(poses):
        color = place.render(pose, pinhole, float(k), threads=2).color
        corners.append(len(detector.detect(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY))))
        if k % 4 == 0:
            many = place.render(pose, fine, float(k), threads=2).color.reshape(480, 4, 640, 4, 3)
            differences.append(float(np.abs(many.mean((1, 3), dtype=np.float32) - color).mean()))
    place.close()
    worst, mean = float(np.min(corners)), float(np.mean(differences))
    return [
        Result(f"640x480 {light}: FAST corners, fewest of {num}", "", worst, None, "", None, 300.0, machine),
        Result(f"640x480 {light}: FAST corners, median", "", float(np.median(corners)), None, "", None, None, machine),
        Result(f"640x480 {light}: difference to 4x4 rays", "of 255", mean, 3.0, "allowed", 3.0 / mean, 1.0, machine),
    ]


def measure_start(times_over: int, machine: str) -> list[Result]:
    """Seconds until a place is ready in a new process, with loops and textures in the caches."""
    times = []
    for _ in range(times_over):
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    best = min(times)
    return [Result("later start", "s", best, 3.0, "allowed", 3.0 / best, 1.0, machine)]


def main() -> None:
    """Measure and report."""
    options = parse_options(__doc__ or "")
    machine = describe_machine()
    starts, frames, pictures = (1, 60, 6) if options.quick else (3, 600, 120)
    results = measure_start(starts, machine)
    for light in ("day", "evening"):
        results += measure_walk(light, (320, 240), frames, machine)
        results += measure_walk(light, (640, 480), frames // 2, machine)
        results += measure_pictures(light, pictures, machine)
    report(results, options.json)


if __name__ == "__main__":
    main()
