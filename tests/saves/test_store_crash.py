"""kill -9 at random moments of saving: every world opens, and holds what was reported saved."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from spatia.saves.store import WorldFile

NUM_KILLS = 8

WRITER = """
import sys
from dataclasses import replace
from spatia.saves.journal import JournalEntry
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import make_chunk, make_state

path, start = sys.argv[1], int(sys.argv[2])
state = make_state()
world = WorldFile.open(path) if start else WorldFile.create(path, replace(state, chunks={}, journal=()))
print("saved 0" if not start else f"saved {start}", flush=True)
for n in range(start + 1, start + 400):
    chunks = {(i, 0, -n % 3): make_chunk((i, 0, -n % 3), revision=n, num_points=600, seed=n) for i in range(4)}
    world.save(replace(state, chunks=chunks, state={"n": n}, journal=(JournalEntry("save", n, {}),), is_complete=False))
    if n % 5 == 0:
        world.close()
        world = WorldFile.open(path)
    print("saved", n, flush=True)
"""


def killed_after(path: Path, start: int, num_lines: int, random_source: random.Random) -> int:
    """Run a writer, kill it a little after it has reported so many saves; returns the last save it reported."""
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = start
        for _ in range(num_lines):
            last = int(process.stdout.readline().split()[1])
        for _ in range(random_source.randrange(200_000)):  # a moment of random length within the next save
            pass
        process.kill()
        for line in process.stdout:
            last = int(line.split()[1])
    return last


@pytest.mark.slow
def test_no_kill_loses_what_was_reported_saved(tmp_path: Path) -> None:
    path = tmp_path / "home.spatia"
    random_source = random.Random(4)
    last = 0
    for _ in range(NUM_KILLS):
        last = killed_after(path, last, random_source.randrange(2, 6), random_source)
        with WorldFile.open(path, read_only=True) as world:
            state = world.load()
        assert not state.damage
        saved = int(state.state.get("n", 0))
        assert saved in (last, last + 1)  # the commit may be on the disk before the report
        newest = [c.revision for c in state.chunks.values()]
        if saved:
            assert newest.count(saved) == 4  # a whole save, never half of one
            assert state.journal[-1].tick == saved
        last = saved
    with WorldFile.open(path) as world:
        world.load()
    assert list(tmp_path.iterdir()) == [path]
