"""What ``spatia bench`` compares: the same points, in turn."""

import pytest
from spatia.runtime import comparisons
from spatia.tests.runtime.tiny import SIZE, tiny_world


def test_each_job_is_compared_with_numpy_and_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "REPETITIONS", 1)
    world = tiny_world()
    found = comparisons.compare(world.memory, world.walk.world_T_camera, world.pinhole_for(SIZE))
    assert [c.what for c in found if c.other.startswith(("NumPy", "arrays"))] == ["merge", "draw", "write", "read"]
    assert all(c.ratio == pytest.approx(c.other_ms / c.ours_ms) for c in found)


def test_a_large_world_is_compared_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "MAX_POINTS", 1000)
    snapshot = tiny_world().memory.snapshot()
    assert 0 < comparisons._some_of(snapshot).num_points < snapshot.num_points
