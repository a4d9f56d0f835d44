"""``spatia bench``: what the walk costs on this machine, idle and while clips are made and merged."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..input.intents import Intent
from ..renderer.present import NullPresenter
from . import commands, samples
from .clock import WallClock
from .comparisons import compare
from .errors import UserError
from .headless import machine
from .persistence import open_world
from .process import map_large_blocks, peak_resident_bytes, resident_bytes
from .progress import progress_bar
from .session import Session
from .window import LoopHooks, WalkLoop
from .world import World

IDLE_SECONDS = 10.0
REVISIT_OFFSET_M = 0.3
WALK_P99_MS = 14.0
"""Work of a frame while clips are made, unpaced, at the 99th percentile, at most."""
WALK_OVER_IDLE = 1.10
"""Present interval at the 99th percentile of a paced walk while clips are made, over that of an idle one, at most."""

TURNING_WALK: tuple[tuple[Intent, float], ...] = (
    (Intent(), 2.0),
    (Intent(forward=0.6), 2.0),
    (Intent(yaw=1.0), 1.0),
    (Intent(), 3.0),
    (Intent(forward=0.6), 1.5),
    (Intent(yaw=1.0), 2.0),
    (Intent(), 3.0),
    (Intent(forward=0.6), 2.0),
    (Intent(yaw=-1.0), 1.0),
    (Intent(right=0.5), 2.0),
)
"""A walk with turns of 90° and 180°: (intent, seconds)."""


class _Driver:
    """Gives the scripted intents by the clock and counts an event in every frame."""

    def __init__(self, script: tuple[tuple[Intent, float], ...]) -> None:
        self._script = script
        self._length_s = sum(s for _, s in script)
        self._clock = WallClock()
        self._start_s = self._clock.now_s()

    def __call__(self, events: Iterable[Any]) -> Intent:
        at = (self._clock.now_s() - self._start_s) % self._length_s
        for intent, seconds in self._script:
            if at < seconds:
                return intent
            at -= seconds
        return Intent()


class _EventfulScreen(NullPresenter):
    """A screen that nobody sees, on which something happens in every frame."""

    def events(self) -> list[Any]:
        return [None]


def _loop(world: World, generator: str, size: tuple[int, int], script: Any, *, paced: bool) -> WalkLoop:
    session = Session(world, generator, wait=False, size=size)
    session.draw()
    return WalkLoop(
        session, _EventfulScreen("bench", size), WallClock(), LoopHooks(_Driver(script)), size=size, paced=paced
    )


def _figures(loop: WalkLoop, seconds: float) -> dict[str, Any]:
    facts = loop.session.metrics.summary()
    facts["clips_per_minute"] = round(60.0 * facts["clips"]["outcomes"].get("done", 0) / seconds, 2)
    facts["resident_mib"] = round(resident_bytes() / 2**20, 1)
    facts["points"] = loop.session.world.memory.num_points
    return facts


def _measure(
    world: World, generator: str, size: tuple[int, int], seconds: float, *, paced: bool, still: bool
) -> dict[str, Any]:
    script = ((Intent(), 1.0),) if still else TURNING_WALK
    loop = _loop(world, generator, size, script, paced=paced)
    try:
        loop.run(seconds=seconds)
        return _figures(loop, seconds)
    finally:
        loop.session.close()


def measure(size: tuple[int, int], seconds: float, report: Any) -> dict[str, Any]:
    """All figures of this machine; ``docs/cli.md`` lists the keys."""
    begin = time.perf_counter()
    world = samples.garage(seed=0)
    figures: dict[str, Any] = {"machine": machine(), "size": list(size), "make_world_s": time.perf_counter() - begin}
    idle_s = min(IDLE_SECONDS, seconds)
    report("idle, paced", 0.05)
    figures["idle_paced"] = _measure(world, "none", size, idle_s, paced=True, still=False)
    report("idle, unpaced", 0.15)
    figures["idle_unpaced"] = _measure(world, "none", size, idle_s, paced=False, still=False)
    report("walking while clips are made, paced", 0.25)
    world = samples.garage(seed=0)
    figures["walk_paced"] = _measure(world, "outpaint", size, seconds, paced=True, still=False)
    report("walking while clips are made, unpaced", 0.6)
    walked = samples.garage(seed=0)
    figures["walk_unpaced"] = _measure(walked, "outpaint", size, seconds / 2, paced=False, still=False)
    report("saving and opening", 0.9)
    figures["save"] = _measure_save(world)
    figures["revisit_psnr_db"] = revisit_psnr(world, size)
    figures["peak_resident_mib"] = round(peak_resident_bytes() / 2**20, 1)
    report("beside other libraries", 0.97)
    found = compare(world.memory, world.walk.world_T_camera, world.pinhole_for(size))
    figures["comparisons"] = [asdict(c) | {"ratio": round(c.ratio, 2)} for c in found]
    figures["ratios"] = _ratios(figures)
    return figures


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    idle, walk = figures["idle_paced"]["present_interval_ms"], figures["walk_paced"]["present_interval_ms"]
    return {"present_p99_walk_over_idle": round(walk["p99"] / idle["p99"], 3)} if idle and walk else {}


def _measure_save(world: World) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "world.spatia"
        begin = time.perf_counter()
        world.save(path)
        saved = time.perf_counter()
        open_world(path, read_only=True)
        opened = time.perf_counter()
        size = path.stat().st_size
    points = max(1, world.memory.num_points)
    return {
        "save_s": round(saved - begin, 3),
        "open_s": round(opened - saved, 3),
        "bytes": size,
        "bytes_per_point": round(size / points, 2),
    }


def revisit_psnr(world: World, size: tuple[int, int]) -> dict[str, float]:
    """How alike two drawings of the same walked places are, 30 cm beside the path and back: dB, median and worst.

    What memory shows is drawn from places beside the walked path, generated for if something lacks, and drawn again:
    new surface must not change what was seen.
    """
    places = [np.asarray(p[1:]) for p in world.walk.path][:: max(1, len(world.walk.path) // 6)]
    if not places:
        return {}
    values = []
    with Session(world, "outpaint", wait=True, size=size) as session:
        pose = world.walk.world_T_camera
        poses = []
        for place in places:
            beside = pose.copy()
            beside[:3, 3] = place + REVISIT_OFFSET_M * pose[:3, 0]
            poses.append(beside)
        before = [session.draw(p) for p in poses]
        for p in poses:
            session.follow([p])
        for p, old in zip(poses, before, strict=True):
            known = old.coverage > 0.5
            if not known.any():
                continue
            error = (session.draw(p).color.astype(float) - old.color)[known]
            values.append(10.0 * float(np.log10(255.0**2 / max(float((error**2).mean()), 1e-3))))
    return {"median": round(float(np.median(values)), 2), "worst": round(min(values), 2)} if values else {}


def _rows(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "world made in", f"{figures['make_world_s']:.2f} s"
    for key in ("idle_paced", "idle_unpaced", "walk_paced", "walk_unpaced"):
        facts = figures[key]
        name = key.replace("_", ", ")
        for label, value in (("work", facts["work_ms"]), ("present interval", facts["present_interval_ms"])):
            if value:
                text = f"p50 {value['p50']:.1f}  p95 {value['p95']:.1f}  p99 {value['p99']:.1f} ms"
                has_target = (key, label) == ("walk_unpaced", "work")
                yield f"{name}: {label}", text + (_verdict(value["p99"], WALK_P99_MS) if has_target else "")
        if facts["event_to_present_ms"]:
            yield f"{name}: event to present", f"p95 {facts['event_to_present_ms']['p95']:.1f} ms"
        yield f"{name}: void", f"{facts['void_seconds']:.2f} screen-seconds in {facts['frames']} frames"
        yield f"{name}: smaller pictures", f"{facts['reduced_resolution_share'] * 100:.0f} %"
        yield f"{name}: ticks dropped", str(facts["dropped_ticks"])
        if facts["clips"]["latency_ms"]:
            yield (
                f"{name}: clips",
                f"{facts['clips_per_minute']:.1f} a minute, p50 {facts['clips']['latency_ms']['p50']:.0f} ms",
            )
            for phase, value in facts["clips"]["phases_ms"].items():
                yield f"{name}: clip, {phase}", f"p50 {value['p50']:.0f} ms"
        yield f"{name}: process", f"{facts['resident_mib']:.0f} MiB, {facts['points']:,} points"
    save = figures["save"]
    yield "save / open", f"{save['save_s']:.2f} s / {save['open_s']:.2f} s, {save['bytes_per_point']:.1f} B a point"
    if figures["revisit_psnr_db"]:
        yield "revisit 30 cm beside the path", f"{figures['revisit_psnr_db']['median']:.1f} dB (median)"
    for row in figures["comparisons"]:
        yield (
            f"{row['what']}, against {row['other']}",
            f"{row['ours_ms']:.1f} / {row['other_ms']:.1f} ms, {row['ratio']:.1f} x",
        )
    for name, value in figures["ratios"].items():
        yield name.replace("_", " "), f"{value:.2f}" + _verdict(value, WALK_OVER_IDLE)


def _verdict(value: float, at_most: float) -> str:
    """The target of a figure, and whether it is met."""
    return f"  (at most {at_most:g}: {'met' if value <= at_most else 'missed'})"


def run_bench(command: commands.Bench) -> int:
    """Measure, print and write; the exit status."""
    size = commands.parse_size(command.size) or (832, 480)
    if not np.isfinite(command.seconds) or command.seconds < 2.0:
        raise UserError("--seconds of at least 2", str(command.seconds), "give more time")
    map_large_blocks()  # as the walk does
    with progress_bar("measuring") as report:
        figures = measure(size, command.seconds, report)
    for name, value in _rows(figures):
        print(f"{name:<44} {value}")
    if command.json is not None:
        command.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0
