"""A correction moves the points and poses of the keyframes that it names, and nothing else."""

import numpy as np
import pytest
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.correction import Correction, stage_correction

PRIORITY = priority_of(PointClass.ESTIMATED)


def _shift(x: float) -> np.ndarray:
    out = np.eye(4)
    out[0, 3] = x
    return out


CORRECTION = Correction(np.array([3, 5, 9]), np.stack([_shift(0), _shift(0.2), _shift(0.4)]))


def _memory() -> SpatialMemory:
    """A patch for each of the keyframes 0, 3, 5 and 12, at different heights."""
    memory = SpatialMemory(0.01)
    for keyframe, y in ((0, 0.0), (3, 1.0), (5, 2.0), (12, 3.0)):
        x, z = (g.ravel() for g in np.meshgrid(np.arange(20) * 0.01, np.arange(20) * 0.01))
        points = np.stack([x + 0.005, np.full(400, y + 0.005), z + 0.005], 1).astype(np.float32)
        colors = np.full((400, 3), 10 * keyframe, np.uint8)
        memory.insert(PointBatch.uniform(points, colors, priority=PRIORITY, keyframe=keyframe, weights=7))
    return memory


def test_between_two_keyframes_a_motion_is_interpolated_and_beyond_the_last_it_is_the_last():
    places = [CORRECTION.of(i)[0, 3] for i in (0, 2, 3, 4, 5, 7, 9, 100)]
    np.testing.assert_allclose(places, [0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4])


def test_points_move_with_the_keyframe_that_they_were_seen_in():
    memory = _memory()
    memory.apply(stage_correction(memory.snapshot(), CORRECTION))
    points = memory.points()
    for keyframe, moved in ((0, 0.0), (3, 0.0), (5, 0.2), (12, 0.4)):
        mine = points.keyframe == keyframe
        assert mine.sum() == 400
        assert points.positions_world[mine, 0].min() == pytest.approx(0.005 + moved, abs=1e-4)
        assert (points.colors[mine] == 10 * keyframe).all()
        assert (points.weights[mine] == 7).all()


def test_a_clip_without_points_moves_too():
    correction = Correction(np.array([1]), np.eye(4)[None].copy())
    assert len(correction.of_points(PointBatch.empty()).positions_world) == 0


def test_chunks_of_keyframes_that_stay_are_not_touched():
    memory = _memory()
    before = dict(memory.chunks)
    staged = stage_correction(memory.snapshot(), CORRECTION)
    memory.apply(staged)
    kept = [key for key in before if memory.chunks.get(key) is before[key]]
    assert kept
    assert set(kept) | set(staged.chunks) >= set(before)


def test_the_way_back_restores_the_places():
    memory = _memory()
    before = memory.points()
    memory.apply(stage_correction(memory.snapshot(), CORRECTION))
    memory.apply(stage_correction(memory.snapshot(), CORRECTION.inverted()))
    after = memory.points()
    np.testing.assert_allclose(after.positions_world, before.positions_world, atol=2e-4)


def test_a_correction_without_a_motion_for_each_keyframe_is_refused():
    with pytest.raises(ValueError, match="rising identities"):
        Correction(np.array([2, 1]), np.stack([np.eye(4)] * 2))
