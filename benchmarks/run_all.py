"""Runs every benchmark and keeps its figures.

    python benchmarks/run_all.py [--quick] [NAME …]

Each program is run by itself; its table is shown and its figures are written to ``benchmarks/results/NAME.json``.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_ALONE = {"run_all", "comparison"}


def names() -> list[str]:
    """The benchmarks, by file name."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem not in NOT_ALONE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the short form of each")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(names())}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names())
    if unknown:
        parser.error(f"expected some of {', '.join(names())}, got {', '.join(sorted(unknown))}")
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for name in arguments.names or names():
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(results / f"{name}.json")]
        if subprocess.run([*command, *(["--quick"] if arguments.quick else [])], check=False).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"these benchmarks failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
