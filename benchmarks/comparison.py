"""What the benchmarks share: rows of a comparison, alternating repetitions, the table and the file."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

DATA = Path(os.environ.get("SPATIA_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison.

    Attributes:
        name: What was measured.
        unit: Of ``ours`` and ``baseline``.
        ours: Median.
        baseline: Median of the other, or None where there is none.
        baseline_name: The other, or why it is missing.
        ratio: How many times better ours is, or None.
        target: Of the ratio, or of ``ours`` where there is no baseline.
        machine: Where.
    """

    name: str
    unit: str
    ours: float
    baseline: float | None
    baseline_name: str
    ratio: float | None
    target: float | None
    machine: str

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing was measured."""
        figure = self.ratio if self.ratio is not None else self.ours
        return None if self.target is None else figure >= self.target


def within(name: str, unit: str, ours: float, limit: float, machine: str, *, at_most: bool = True) -> Result:
    """A figure against a fixed limit, as a ratio that is 1 or more where the limit is kept."""
    ratio = max(limit, 1e-12) / max(ours, 1e-12)
    if not at_most:
        ratio = 1.0 + (ours - limit) / abs(limit)  # a limit may be negative
    return Result(name, unit, ours, limit, "at most" if at_most else "at least", ratio, 1.0, machine)


def describe_machine() -> str:
    """Processor, cores and Python."""
    model, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def measure_ms(
    contestants: dict[str, Callable[[], object]], repetitions: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds of each, taking turns; one untimed call each first. Dropping a result is not timed.

    Args:
        contestants: What is run, by name.
        repetitions: Turns.
        clock: ``time.process_time`` counts the work of all threads instead, on a machine that is busy otherwise.
    """
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            start = clock()
            kept = run()
            seconds[name].append(clock() - start)
            del kept
    return {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}


def compare_ms(
    name: str, times: dict[str, float], ours: str, targets: dict[str, float], machine: str, unit: str = "ms"
) -> list[Result]:
    """Rows of ours against each of the others in ``times``."""
    others = [other for other in times if other != ours]
    if not others:
        return [Result(name, unit, times[ours], None, "no baseline installed", None, None, machine)]
    return [
        Result(name, unit, times[ours], times[o], o, times[o] / max(times[ours], 1e-9), targets.get(o), machine)
        for o in others
    ]


def options_parser(description: str) -> argparse.ArgumentParser:
    """A parser of ``--quick`` and ``--json``, to which a benchmark may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer points and repetitions, under 45 s")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser


def parse_options(description: str) -> argparse.Namespace:
    """``--quick`` and ``--json``."""
    return options_parser(description).parse_args()


def table_of(results: list[Result]) -> Table:
    """The rows for people; a missed target says so."""
    table = Table("what", "unit", "ours", "other", "", "ratio", "target")
    for r in results:
        baseline = "" if r.baseline is None else f"{r.baseline:.3g}"
        ratio, target = ("" if v is None else f"{v:.3g}" for v in (r.ratio, r.target))
        missed = " missed" if r.is_met is False else ""
        table.add_row(r.name, r.unit, f"{r.ours:.3g}", baseline, r.baseline_name, ratio, target + missed)
    return table


def report(results: list[Result], json_path: Path | None) -> None:
    """Print the table and write the file."""
    Console(width=None if Console().is_terminal else 180).print(table_of(results))
    if json_path is not None:
        write_results(results, json_path)


def write_results(results: list[Result], json_path: Path) -> None:
    """Write the rows as a list of objects."""
    json_path.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")


def read_results(json_path: Path) -> list[Result]:
    """The rows of a file that ``report`` wrote."""
    return [Result(**row) for row in json.loads(json_path.read_text())]
