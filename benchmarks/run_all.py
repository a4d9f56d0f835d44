"""Runs every benchmark, keeps its figures and lists which targets are met.

    python benchmarks/run_all.py [--quick] [--plots FOLDER] [NAME …]

Each program is run by itself; its table is shown and its figures are written to ``results/NAME.json`` beside this file:
a list of ``{"name", "unit", "ours", "baseline", "baseline_name", "ratio", "target", "machine"}``. ``results/table.md``
lists every figure that has a target, and how long each program took beside how long it takes on two quiet cores. Plots
of cost against size go to ``results`` unless another folder is named. One that fails, or takes several times as long as
it should, is ended, named in the table and keeps nobody from running.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from comparison import Result, read_results, report

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NOT_ALONE = {"run_all", "comparison", "perturbed", "tiles"}
STATED_S: dict[str, tuple[float, float]] = {
    "agents": (4, 6),
    "bf16_drift": (11, 15),
    "closure": (12, 40),
    "conditioning": (5, 20),
    "draw": (13, 40),
    "generation": (24, 85),
    "loop": (28, 230),
    "merge": (18, 450),
    "place": (30, 145),
    "saves": (12, 35),
    "scaling": (10, 20),
    "slam": (43, 450),
    "stream": (38, 270),
    "truth": (10, 25),
}
"""About what each takes on two quiet cores: the short form and the full one."""

UNSTATED_S = (45.0, 300.0)
PATIENCE, LEAST_PATIENCE_S = 4, 300
"""How many times what is stated a program may take on a slower or busier machine, and how long at least."""

STOP_S = 5.0
"""What a program gets to end its children, from the signal that asks it to."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended.

    Attributes:
        seconds: That it took.
        stated_s: That it takes on two quiet cores.
        fault: What went wrong, or nothing.
    """

    seconds: float
    stated_s: float
    fault: str


def names() -> list[str]:
    """The benchmarks, by file name."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_ALONE)


def run(name: str, *, is_quick: bool, plots: Path) -> Run:
    """Run one benchmark as a program of its own. Figures of an earlier run are removed."""
    results = RESULTS / f"{name}.json"
    results.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(results)]
    if is_quick:
        command.append("--quick")
    if name == "scaling":
        command += ["--plots", str(plots)]
    stated_s = STATED_S.get(name, UNSTATED_S)[0 if is_quick else 1]
    sys.stdout.write(f"{name}, about {stated_s:.0f} s\n")
    sys.stdout.flush()
    start = time.monotonic()
    fault = _ended(command, max(LEAST_PATIENCE_S, PATIENCE * stated_s))
    done = Run(time.monotonic() - start, stated_s, fault)
    sys.stdout.write(f"{name} took {done.seconds:.0f} s\n\n")
    return done


def _ended(command: list[str], most_s: float) -> str:
    """Run a program in a group of its own, so that its children end with it; what went wrong, or nothing."""
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            status = process.wait(most_s)
        except subprocess.TimeoutExpired:
            return f"was ended after {most_s:.0f} s"
        finally:
            _end(process)
    return f"ended with status {status}" if status else ""


def _end(process: subprocess.Popen) -> None:
    """End what still runs of a program, at the latest ``STOP_S`` from now."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def with_targets(folder: Path) -> dict[str, list[Result]]:
    """Figures that have a target, by benchmark; files in a form of their own are passed over."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            results = read_results(path)
        except (TypeError, ValueError):
            continue
        if rows := [r for r in results if r.target is not None]:
            found[path.stem] = rows
    return found


def markdown(found: dict[str, list[Result]], runs: dict[str, Run]) -> str:
    """The figures as a table, and what each program took as another."""
    lines = ["| benchmark | what | unit | ours | other | | ratio | target | |", "|" + "---|" * 9]
    for benchmark, results in found.items():
        for r in results:
            numbers = ("" if v is None else f"{v:.3g}" for v in (r.ours, r.baseline, r.ratio, r.target))
            ours, other, ratio, target = numbers
            verdict = "met" if r.is_met else "**missed**"
            cells = (benchmark, r.name, r.unit, ours, other, r.baseline_name, ratio, target, verdict)
            lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({r.machine for results in found.values() for r in results})
    return "\n".join([*lines, "", *taken(runs, found), "", *machines]) + "\n"


def taken(runs: dict[str, Run], found: dict[str, list[Result]]) -> list[str]:
    """What each program took, how it ended, and how many of its targets are met, as lines of a table."""
    lines = ["| benchmark | seconds | on two quiet cores | targets met | |", "|" + "---|" * 5]
    for name, done in runs.items():
        verdicts = [r.is_met for r in found.get(name, [])]
        met = f"{sum(map(bool, verdicts))} of {len(verdicts)}" if verdicts else ""
        end = f"**{done.fault}**" if done.fault else ""
        lines.append(f"| {name} | {done.seconds:.0f} | {done.stated_s:.0f} | {met} | {end} |")
    total, stated = (sum(times) for times in zip(*((r.seconds, r.stated_s) for r in runs.values()), strict=True))
    return [*lines, f"| all | {total:.0f} | {stated:.0f} | | |"]


def main() -> int:
    """Run all, or those that are named; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the short form of each")
    parser.add_argument("--plots", type=Path, default=RESULTS, help="where pictures of cost against size go")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(names())}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names())
    if unknown:
        parser.error(f"expected some of {', '.join(names())}, got {', '.join(sorted(unknown))}")
    RESULTS.mkdir(exist_ok=True)
    chosen = arguments.names or names()
    runs = {name: run(name, is_quick=arguments.quick, plots=arguments.plots) for name in chosen}
    found = with_targets(RESULTS)
    (RESULTS / "table.md").write_text(markdown(found, runs), encoding="utf-8")
    report([r for results in found.values() for r in results], None)
    sys.stdout.write("\n".join(taken(runs, found)) + "\n")
    failed = {name: done.fault for name, done in runs.items() if done.fault}
    for name, fault in failed.items():
        sys.stderr.write(f"{name} failed: it {fault}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
