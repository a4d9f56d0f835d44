"""The example that reads a world without the package finds what the package wrote."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from spatia.saves.ply import read_ply
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import make_state

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_world.py"


def test_the_example_reads_every_point(tmp_path: Path) -> None:
    state = make_state(4)
    with WorldFile.create(tmp_path / "home.spatia", state) as world:
        world.snapshot("first")
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "home.spatia"), str(tmp_path / "out.ply")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "test: 80 points in 4 chunks" in out
    assert "snapshot first: 80 points" in out
    found = read_ply(tmp_path / "out.ply").points
    expected = [state.chunks[key] for key in sorted(state.chunks)]
    positions = np.concatenate([c.positions_world(state.manifest.voxel_size_m) for c in expected])
    colors = np.concatenate([c.colors() for c in expected]).astype(int)
    assert np.abs(found.positions_world - positions).max() < 0.01 / 256 + 1e-5  # they are rounded down, not to nearest
    assert np.abs(found.colors.astype(int) - colors).max() <= 1
