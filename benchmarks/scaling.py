"""How cost grows with size: merging, drawing and saving, beside what one would use instead, on the same points.

    python benchmarks/scaling.py [--quick] [--json FILE] [--plots FOLDER] [--processor]

Points are those of ``merge.py``. ``--plots`` draws one picture each for merge, draw and save, both axes logarithmic.
``--processor`` counts processor time of all threads instead of time, for a machine that is busy with other work.
"""

import time
from collections.abc import Callable
from pathlib import Path

from comparison import Result, compare_ms, describe_machine, measure_ms, options_parser, report
from draw import gl_points, open3d_points, overview
from merge import OPEN3D, VOXEL_SIZE_M, as_batch, kitchen, numpy_sort, open3d_legacy, ours, synthetic
from spatia.renderer.software import SoftwareRenderer
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch

from saves import bare, laz, points_of, zstd_arrays
from saves import ours as ours_saved

SIZES = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
QUICK_SIZES = (30_000, 100_000, 300_000)
PICTURE_SIZE = (832, 480)
KINDS = ("merge", "draw", "save")
Run = Callable[[], object]
Times = dict[str, dict[int, dict[str, float]]]


def merging(batch: PointBatch) -> dict[str, Run]:
    """Merge into an empty memory, on two threads."""
    others = {OPEN3D: open3d_legacy, "NumPy sort + reduceat": numpy_sort}
    runs: dict[str, Run] = {"ours": lambda: ours(2)(batch)}
    return runs | {n: (lambda call=call: call(batch)) for n, call in _installed(others).items()}


def drawing(memory: SpatialMemory) -> dict[str, Run]:
    """All of it in view, on two threads."""
    points = memory.points()
    pinhole = Pinhole.from_fov(*PICTURE_SIZE, 1.3)
    pose = overview(points.positions_world, pinhole)
    renderer = SoftwareRenderer()
    renderer.update(memory.snapshot())
    makers = {"ModernGL, llvmpipe": gl_points, "Open3D projection": open3d_points}
    calls = {n: (lambda make=make: make(points.positions_world, points.colors, pinhole)) for n, make in makers.items()}
    runs: dict[str, Run] = {"ours": lambda: renderer.render(pose, pinhole)}
    return runs | {n: (lambda draw=draw: draw(pose)) for n, draw in _installed(calls).items()}


def saving(memory: SpatialMemory) -> dict[str, Run]:
    """Position and colour into memory, at the same precision."""
    chunks = [bare(c) for c in memory.chunks.values()]
    q8, colors = points_of(chunks)
    stores = {"LAZ (laspy + lazrs)": lambda: laz(q8, colors), "arrays + zstd 3": lambda: zstd_arrays(q8, colors)}
    runs: dict[str, Run] = {"ours": ours_saved(chunks)[0]}
    return runs | {name: write for name, (write, _) in _installed(stores).items()}


def _installed(makers: dict[str, Callable]) -> dict[str, Callable]:
    """What the makers make; those whose library or driver is absent are left out."""
    made = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except Exception as error:  # a driver may fail in any way
            print(f"{name}: {error}"[:100])
    return made


def measure(
    sizes: tuple[int, ...], repetitions: int, clock: Callable[[], float]
) -> dict[str, dict[int, dict[str, float]]]:
    """Milliseconds by kind, number of points or voxels, and contestant."""
    times: Times = {kind: {} for kind in KINDS}
    for size in sizes:
        batch = as_batch(*(kitchen(size) or synthetic(size)))
        times["merge"][size] = measure_ms(merging(batch), repetitions, clock)
        memory = SpatialMemory(VOXEL_SIZE_M)
        memory.insert(as_batch(*synthetic(size), is_mixed=False))
        times["draw"][memory.num_points] = measure_ms(drawing(memory), repetitions, clock)
        times["save"][memory.num_points] = measure_ms(saving(memory), repetitions, clock)
    return times


def draw_plots(times: Times, folder: Path, unit: str, machine: str) -> None:
    """A PNG for each kind: milliseconds against points, both logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    folder.mkdir(parents=True, exist_ok=True)
    titles = {
        "merge": ("points merged at 1 cm", "kitchen recording into an empty memory"),
        "draw": ("voxels, all in view", "one picture of 832x480"),
        "save": ("voxels written", "position and colour, to bytes"),
    }
    for kind, by_size in times.items():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        sizes = sorted(by_size)
        for name in by_size[sizes[-1]]:
            is_ours = name == "ours"
            label = "spatia" if is_ours else name
            axes.loglog(sizes, [by_size[n][name] for n in sizes], "o-", label=label, linewidth=2.5 if is_ours else 1.2)
        axes.set(xlabel=titles[kind][0], ylabel=unit, title=titles[kind][1])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(fontsize=8)
        figure.supxlabel(machine, fontsize=6, color="gray")
        figure.savefig(folder / f"scaling-{kind}.png", dpi=110)


def main() -> None:
    """Run all."""
    parser = options_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--processor", action="store_true", help="processor time of all threads instead of time")
    parser.add_argument("--plots", type=Path, help="draw the pictures into this folder")
    options = parser.parse_args()
    machine = describe_machine()
    clock, unit = (time.process_time, "processor ms") if options.processor else (time.perf_counter, "ms")
    times = measure(QUICK_SIZES if options.quick else SIZES, 3 if options.quick else 5, clock)
    results: list[Result] = []
    for kind, by_size in times.items():
        for size, row in sorted(by_size.items()):
            results += compare_ms(
                f"{kind}, {size} {'points' if kind == 'merge' else 'voxels'}", row, "ours", {}, machine, unit
            )
    report(results, options.json)
    if options.plots is not None:
        draw_plots(times, options.plots, unit, machine)


if __name__ == "__main__":
    main()
