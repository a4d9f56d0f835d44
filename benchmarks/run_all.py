"""Runs every benchmark, keeps its figures and lists which targets are met.

    python benchmarks/run_all.py [--quick] [--plots FOLDER] [NAME …]

Each program is run by itself; its table is shown and its figures are written to ``results/NAME.json`` beside this file:
a list of ``{"name", "unit", "ours", "baseline", "baseline_name", "ratio", "target", "machine"}``. ``results/table.md``
lists every figure that has a target. Plots of cost against size go to ``results`` unless another folder is named.
One that fails, or takes longer than half an hour, is named at the end and keeps nobody from running.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from comparison import Result, read_results, report

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NOT_ALONE = {"run_all", "comparison"}
MOST_SECONDS = 1800


def names() -> list[str]:
    """The benchmarks, by file name."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_ALONE)


def run(name: str, *, is_quick: bool, plots: Path) -> str:
    """Run one benchmark as a program of its own; what went wrong, or nothing. Figures of an earlier run are removed."""
    results = RESULTS / f"{name}.json"
    results.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(results)]
    if is_quick:
        command.append("--quick")
    if name == "scaling":
        command += ["--plots", str(plots)]
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()
    start = time.monotonic()
    try:
        status = subprocess.run(command, check=False, timeout=MOST_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return f"took more than {MOST_SECONDS} s"
    sys.stdout.write(f"{name} took {time.monotonic() - start:.0f} s\n\n")
    return f"ended with status {status}" if status else ""


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


def markdown(found: dict[str, list[Result]]) -> str:
    """The figures as a table."""
    lines = ["| benchmark | what | unit | ours | other | | ratio | target | |", "|" + "---|" * 9]
    for benchmark, results in found.items():
        for r in results:
            numbers = ("" if v is None else f"{v:.3g}" for v in (r.ours, r.baseline, r.ratio, r.target))
            ours, other, ratio, target = numbers
            verdict = "met" if r.is_met else "**missed**"
            cells = (benchmark, r.name, r.unit, ours, other, r.baseline_name, ratio, target, verdict)
            lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({r.machine for results in found.values() for r in results})
    return "\n".join([*lines, "", *machines]) + "\n"


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
    faults = {name: run(name, is_quick=arguments.quick, plots=arguments.plots) for name in chosen}
    found = with_targets(RESULTS)
    (RESULTS / "table.md").write_text(markdown(found), encoding="utf-8")
    report([r for results in found.values() for r in results], None)
    failed = {name: fault for name, fault in faults.items() if fault}
    for name, fault in failed.items():
        sys.stderr.write(f"{name} failed: it {fault}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
