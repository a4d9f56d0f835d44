"""kill -9 at random moments of saving, snapshots, compaction and closing: every world opens and keeps what it said.

The long form (``SPATIA_SOAK=1``) kills two hundred times, the short one a few.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spatia.saves.check import check_world
from spatia.saves.store import WorldFile

NUM_KILLS = 200 if os.environ.get("SPATIA_SOAK") else 8

WRITER = """
import sys
from dataclasses import replace
from spatia.saves.autosave import Saver
from spatia.saves.journal import JournalEntry
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import make_chunk, make_state

path, start = sys.argv[1], int(sys.argv[2])
state = make_state()
world = WorldFile.open(path) if start else WorldFile.create(path, replace(state, chunks={}, journal=()))
world.load()
print("saved", start, flush=True)


def moment(n):
    chunks = {(i, 0, -n % 3): make_chunk((i, 0, -n % 3), revision=n, num_points=600, seed=n) for i in range(4)}
    journal = (JournalEntry("save", n, {}),)
    return replace(state, chunks=chunks, state={"n": n, "tick": n}, journal=journal, is_complete=False)


for n in range(start + 1, start + 400):
    if n % 4 == 0:
        saver = Saver(world)
        saver.request(moment(n))
        assert saver.close()
    else:
        world.save(moment(n))
    print("saved", n, flush=True)
    if n % 3 == 0:
        print("snapshot", world.snapshot(f"at-{n}").name, flush=True)
    if n % 7 == 0:
        world.forget_name(f"at-{n - n % 3 - 3}") if n > 6 and f"at-{n - n % 3 - 3}" in world._names() else None
        world.gc(prune=True)
    if n % 5 == 0:
        world.close()
        world = WorldFile.open(path)
        world.load()
"""


def killed_after(path: Path, start: int, num_lines: int, random_source: random.Random) -> tuple[int, set[str]]:
    """Run a writer and kill it a little after it has reported so much.

    Returns:
        The last save and the snapshots that it reported.
    """
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(num_lines)]
        end = time.perf_counter() + random_source.uniform(0, 0.03)
        while time.perf_counter() < end:  # a moment of random length within what comes next
            pass
        process.kill()
        lines += list(process.stdout)
    words = [line.split() for line in lines if line.endswith("\n")]
    saves = [int(value) for what, value in words if what == "saved"]
    return max(saves), {value for what, value in words if what == "snapshot"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_kill_loses_what_was_reported_saved(tmp_path: Path) -> None:
    path = tmp_path / "home.spatia"
    random_source = random.Random(4)
    last = 0
    for _ in range(NUM_KILLS):
        last, snapshots = killed_after(path, last, random_source.randrange(2, 12), random_source)
        assert check_world(path).damage == ()
        with WorldFile.open(path, read_only=True) as world:
            state = world.load()
            known = {s.name for s in world.snapshots()}
            newest = max(snapshots, key=lambda name: int(name.split("-")[1]), default=None)
            if newest is not None:
                assert newest in known
                assert world.load_snapshot(newest).state["n"] == int(newest.split("-")[1])
        assert not state.damage
        saved = int(state.state.get("n", 0))
        assert saved in (last, last + 1)  # the commit may be on the disk before the report
        revisions = [c.revision for c in state.chunks.values()]
        if saved:
            assert revisions.count(saved) == 4  # a whole save, never half of one
            assert state.journal[-1].tick == saved
        last = saved
    with WorldFile.open(path) as world:
        world.load()
    assert list(tmp_path.iterdir()) == [path]
