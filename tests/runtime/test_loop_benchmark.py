"""The closed loops of the benchmark end where they begin, and stray the same way for the same seed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def loop() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    known = set(sys.modules)
    try:
        import loop as module

        yield module
    finally:
        sys.path.remove(str(FOLDER))
        for name in {"comparison", "loop", "truth"} & (set(sys.modules) - known):
            del sys.modules[name]


@pytest.mark.parametrize("num_clips", [2, 4])
def test_a_loop_ends_where_it_began(loop: ModuleType, num_clips: int) -> None:
    poses = loop._around((1.0, 2.0), 0.5, num_clips * (loop.FRAMES - 1) + 1, num_clips)
    np.testing.assert_allclose(poses[0], poses[-1], atol=1e-9)


def test_straying_keeps_the_first_pose_and_follows_from_the_seed(loop: ModuleType) -> None:
    asked = loop._around((1.0, 2.0), 0.5, 2 * (loop.FRAMES - 1) + 1, 2)
    once, again, other = (loop.stray(asked, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (once == again).all()
    assert (once[-1] != other[-1]).any()
    np.testing.assert_allclose(once[0], asked[0], atol=1e-12)
    assert 0.001 < np.linalg.norm(once[-1, :3, 3] - asked[-1, :3, 3]) < 0.1
