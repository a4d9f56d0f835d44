"""Feeds spoilt files to all readers, and keeps every input that crashes one, hangs it or takes too much memory.

    python -m spatia.tests.fuzz.run [--inputs N] [--seed S] [--only NAME]

What a reader may do with a spoilt input is read it or raise its own error. Memory is bounded by the operating system:
no input (of at most some hundred KB) may take more than ``MEMORY_LIMIT`` beyond what the program holds at the start.
Inputs are fed in batches, each in a child of its own, which is replaced when an input ends it.
"""

import argparse
import json
import mmap
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
from spatia.saves.codec import warm_up
from spatia.tests.fuzz.targets import Target, make_targets

MEMORY_LIMIT = 512 << 20
HANG_S = 30
BATCH = 20_000
MOST_FINDS = 50
IN_MEMORY = Path("/dev/shm")
"""Where a file costs least: most readers take some, and a disk's file costs as much as reading it."""

Seed = tuple[int, int]


class HangError(BaseException):
    """A reader did not come back."""


class FindError(Exception):
    """An input that a reader could not cope with."""


@dataclass(slots=True)
class Tally:
    """How many inputs each reader got, how many it read in spite of all, which took it longest, and what was found."""

    tried: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, tuple[float, list[int]]] = field(default_factory=dict)
    finds: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Inputs so far."""
        return self.tried.total()

    def add(self, other: "Tally") -> None:
        """Take over what a batch counted."""
        self.tried.update(other.tried)
        self.read.update(other.read)
        for name, took in other.slowest.items():
            self.slowest[name] = max(self.slowest.get(name, took), took)
        self.finds += other.finds


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    raise HangError


def spoilt(target: Target, seed: Seed) -> bytes:
    """The input that a seed stands for."""
    rng = np.random.default_rng(seed)
    return target.mutate(target.seeds[int(rng.integers(len(target.seeds)))], rng)


def try_one(target: Target, seed: Seed, path: Path) -> bool:
    """Feed one input; whether it was read.

    Raises:
        FindError: It crashed, hung or ran out of memory.
    """
    data = spoilt(target, seed)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        target.read(data, path)
    except target.allowed:
        return False
    except (Exception, HangError) as error:
        raise FindError(f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def run(num_inputs: int, seed: int, only: str = "") -> Tally:
    """Feed so many inputs, shared among the readers; stops early after ``MOST_FINDS`` finds."""
    warnings.simplefilter("ignore")  # libraries warn of what they read; a stranger's file may say anything
    signal.signal(signal.SIGALRM, _on_alarm)
    warm_up()
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as folder:
        path = Path(folder) / "input"
        targets = [t for t in make_targets(Path(folder)) if only in ("", t.name)]
        for target in targets:  # compiles and imports what is needed before memory is bounded
            for valid in target.seeds:
                target.read(valid, path)
        chosen = _choices(targets, num_inputs, seed)
        start = 0
        while start < num_inputs and len(tally.finds) < MOST_FINDS:
            some = enumerate(chosen[start : start + BATCH], start)
            start = _batch(tally, [(targets[t], (seed, number)) for number, t in some], path)
    return tally


def _choices(targets: Sequence[Target], num_inputs: int, seed: int) -> list[int]:
    shares = np.cumsum([t.share for t in targets]) / sum(t.share for t in targets)
    return np.searchsorted(shares, np.random.default_rng((seed, 0)).random(num_inputs)).tolist()


def _batch(tally: Tally, inputs: Sequence[tuple[Target, Seed]], path: Path) -> int:
    """Feed a batch in a child; the number of the first input that was not fed, since one before it ended the child."""
    at = mmap.mmap(-1, 8)  # shared with the child: how many inputs it has begun
    status, told = in_child(lambda: _feed(inputs, path, at))
    begun = int.from_bytes(at[:], "little")
    tally.add(told if told is not None else Tally())
    if told is None:  # what it counted is lost with it, but for how many there were
        tally.tried.update(target.name for target, _ in inputs[:begun])
        tally.finds.append(_kept(*inputs[begun - 1], f"it ended the program (wait status {status})"))
    return inputs[0][1][1] + begun


def in_child(work: Callable[[], Tally]) -> tuple[int, Tally | None]:
    """Run work in a child with bounded memory; its wait status, and what it returned, or None if it died."""
    source, sink = os.pipe()
    if (child := os.fork()) == 0:
        status = 1
        try:
            os.close(source)
            _bound_memory()
            told = work()
            facts = {name: getattr(told, name) for name in Tally.__slots__}
            with os.fdopen(sink, "w") as out:
                json.dump(facts, out)
            status = 0
        finally:
            os._exit(status)
    os.close(sink)
    with os.fdopen(source) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    if status != 0 or not text:
        return status, None
    facts = json.loads(text)
    slowest = {name: tuple(took) for name, took in facts["slowest"].items()}
    return status, Tally(Counter(facts["tried"]), Counter(facts["read"]), slowest, facts["finds"])


def _feed(inputs: Sequence[tuple[Target, Seed]], path: Path, at: mmap.mmap) -> Tally:
    tally = Tally()
    for number, (target, seed) in enumerate(inputs):
        at[:] = (number + 1).to_bytes(8, "little")
        begin = time.perf_counter()
        try:
            tally.read[target.name] += try_one(target, seed, path)
        except FindError as error:
            tally.finds.append(_kept(target, seed, str(error)))
        took = (round(time.perf_counter() - begin, 3), list(seed))
        tally.slowest[target.name] = max(tally.slowest.get(target.name, took), took)
        tally.tried[target.name] += 1
    return tally


def _kept(target: Target, seed: Seed, reason: str) -> str:
    """Write an input to a file that stays, and say where it lies."""
    number, name = tempfile.mkstemp(prefix="spatia-fuzz-")
    with os.fdopen(number, "wb") as file:
        file.write(spoilt(target, seed))
    return f"{target.name}, seed {seed}: {reason}; the input is {name}"


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    """Run, print what was tried, and say where the finds lie."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="one reader's name")
    options = parser.parse_args()
    begin = time.perf_counter()
    tally = run(options.inputs, options.seed, options.only)
    facts = {"inputs": tally.total, "seconds": round(time.perf_counter() - begin, 1), "tried": tally.tried}
    sys.stdout.write(json.dumps(facts | {"read": tally.read, "slowest_s": tally.slowest}) + "\n")
    sys.stderr.writelines(f"{find}\n" for find in tally.finds)
    return 1 if tally.finds else 0


if __name__ == "__main__":
    sys.exit(main())
