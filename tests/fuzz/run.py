"""Feeds spoilt files to all readers, and stops at the first that crashes, hangs or takes too much memory.

    python -m spatia.tests.fuzz.run [--inputs N] [--seed S] [--only NAME]

What a reader may do with a spoilt input is read it or raise its own error. Memory is bounded by the operating system:
no input (of at most some hundred KB) may take more than ``MEMORY_LIMIT`` beyond what the program holds at the start.
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
from spatia.saves.codec import warm_up
from spatia.tests.fuzz.targets import Target, make_targets

MEMORY_LIMIT = 512 << 20
HANG_S = 30


class HangError(BaseException):
    """A reader did not come back."""


@dataclass(slots=True)
class Tally:
    """How many inputs each reader got, how many it read in spite of all, and which took it longest."""

    tried: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, tuple[float, tuple[int, ...]]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Inputs so far."""
        return sum(self.tried.values())


class FindError(Exception):
    """An input that a reader could not cope with; it lies in a file."""


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    raise HangError


def try_one(target: Target, seed: tuple[int, ...], path: Path) -> bool:
    """Feed one input; whether it was read.

    Raises:
        FindError: It crashed, hung or ran out of memory.
    """
    rng = np.random.default_rng(seed)
    data = target.mutate(target.seeds[int(rng.integers(len(target.seeds)))], rng)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        target.read(data, path)
    except target.allowed:
        return False
    except (Exception, HangError) as error:
        kept = Path(tempfile.mkstemp(prefix="spatia-fuzz-")[1])
        kept.write_bytes(data)
        raise FindError(f"{target.name}, seed {seed}: {type(error).__name__}: {error}; the input is {kept}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def run(num_inputs: int, seed: int, only: str = "") -> Tally:
    """Feed so many inputs, shared among the readers.

    Raises:
        FindError: See ``try_one``.
    """
    warnings.simplefilter("ignore")  # libraries warn of what they read; a stranger's file may say anything
    signal.signal(signal.SIGALRM, _on_alarm)
    warm_up()
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        targets = [t for t in make_targets(Path(folder)) if only in ("", t.name)]
        for target in targets:  # compiles and imports what is needed before memory is bounded
            for valid in target.seeds:
                target.read(valid, Path(folder) / "input")
        _bound_memory()
        shares = np.cumsum([t.share for t in targets]) / sum(t.share for t in targets)
        chooser = np.random.default_rng((seed, 0))
        for number in range(num_inputs):
            target = targets[int(np.searchsorted(shares, chooser.random()))]
            begin = time.perf_counter()
            is_read = try_one(target, (seed, number), Path(folder) / "input")
            took = (round(time.perf_counter() - begin, 3), (seed, number))
            tally.slowest[target.name] = max(tally.slowest.get(target.name, took), took)
            tally.tried[target.name] = tally.tried.get(target.name, 0) + 1
            tally.read[target.name] = tally.read.get(target.name, 0) + is_read
    return tally


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    """Run, print what was tried, and say where a find lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one reader's name")
    options = parser.parse_args()
    begin = time.perf_counter()
    try:
        tally = run(options.inputs, options.seed, options.only)
    except FindError as error:
        sys.stderr.write(f"{error}\n")
        raise
    facts = {"inputs": tally.total, "seconds": round(time.perf_counter() - begin, 1), "tried": tally.tried}
    sys.stdout.write(json.dumps(facts | {"read": tally.read, "slowest_s": tally.slowest}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
