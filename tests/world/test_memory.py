"""Memory and its snapshots: isolation, queries, edits, undo, loading."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.errors import StaleChangeError
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_insert
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look


def _scattered(seed=0, n=2000, spread_m=1.5, priority=192):
    rng = np.random.default_rng(seed)
    positions = rng.normal(scale=spread_m, size=(n, 3)).astype(np.float32)
    return PointBatch.uniform(positions, rng.integers(0, 256, (n, 3), dtype=np.uint8), priority=priority, keyframe=1)


@pytest.fixture
def memory():
    out = SpatialMemory()
    out.insert(_scattered())
    return out


@pytest.mark.parametrize("size", [0.0, -0.01, np.nan, np.inf])
def test_a_voxel_needs_a_positive_size(size):
    with pytest.raises(ValueError, match="positive number of metres"):
        SpatialMemory(size)


def test_a_snapshot_keeps_what_was_when_memory_goes_on(memory):
    snapshot = memory.snapshot()
    before = snapshot.content_hash()
    memory.insert(_scattered(1))
    assert snapshot.content_hash() == before != memory.content_hash()


def test_a_snapshot_shares_the_chunks(memory):
    assert all(memory.snapshot().chunks[key] is chunk for key, chunk in memory.chunks.items())


def test_every_change_raises_the_revision_of_the_changed_chunks(memory):
    report = memory.insert(_scattered(1, n=5))
    assert memory.revision == 2
    assert {key for key, chunk in memory.chunks.items() if chunk.revision == 2} == set(report.changed)


def test_points_lie_within_a_step_of_what_was_inserted():
    memory = SpatialMemory(0.01)
    position = np.array([[0.123, -0.456, 7.891]], np.float32)
    memory.insert(PointBatch.uniform(position.copy(), np.array([[1, 2, 3]], np.uint8), priority=64, keyframe=7))
    points = memory.points()
    np.testing.assert_allclose(points.positions_world, position, atol=0.01 / 256)
    assert (points.colors.tolist(), points.keyframe.tolist()) == ([[1, 2, 3]], [7])


def test_points_of_chosen_chunks_come_in_that_order(memory):
    keys = sorted(memory.chunks)[3::-1]
    points = memory.snapshot().points([*keys, (99, 99, 99)])
    expected = np.concatenate([memory.chunks[key].positions_world(0.01) for key in keys])
    np.testing.assert_array_equal(points.positions_world, expected)


def test_points_equal_what_their_chunks_say(memory):
    memory.insert(_scattered(0, priority=64))
    memory.insert(_scattered(0))
    points = memory.points()
    chunks = [memory.chunks[key] for key in sorted(memory.chunks)]
    np.testing.assert_array_equal(points.positions_world, np.concatenate([c.positions_world(0.01) for c in chunks]))
    np.testing.assert_array_equal(points.colors, np.concatenate([c.colors() for c in chunks]))
    np.testing.assert_array_equal(points.weights, np.concatenate([c.rows[:, 3] for c in chunks]))
    np.testing.assert_array_equal(points.priority, np.concatenate([c.priority for c in chunks]))
    np.testing.assert_array_equal(points.keyframe, np.concatenate([c.keyframes() for c in chunks]))


def test_weights_copied_out_saturate():
    memory = SpatialMemory()
    for _ in range(30):
        memory.insert(PointBatch.uniform(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), priority=64,
                                         keyframe=1, weights=15))  # fmt: skip
    assert memory.points().weights.tolist() == [255]


def test_the_hash_tells_voxel_sizes_apart():
    assert SpatialMemory(0.01).content_hash() != SpatialMemory(0.02).content_hash()


def test_the_hash_ignores_revisions_but_not_colours(memory):
    other = SpatialMemory()
    other.insert(PointBatch.empty())
    half = _scattered()
    for part in (slice(0, 1000), slice(1000, None)):
        other.insert(PointBatch(*(getattr(half, name)[part] for name in half.__dataclass_fields__)))
    assert other.content_hash() == memory.content_hash()
    key = next(iter(other.chunks))
    mask = np.zeros(other.chunks[key].num_points, bool)
    mask[0] = True
    other.recolor({key: mask}, (1, 2, 3))
    assert other.content_hash() != memory.content_hash()


def test_classes_are_counted():
    memory = SpatialMemory()
    memory.insert(_scattered(n=10, priority=priority_of(PointClass.OBSERVED)))
    memory.insert(_scattered(1, n=4, priority=priority_of(PointClass.INVENTED, 5)))
    counts = memory.snapshot().class_counts()
    assert counts == {PointClass.INVENTED: 4, PointClass.ESTIMATED: 0, PointClass.OBSERVED: 10}


def test_extent_is_that_of_the_points(memory):
    extent = memory.snapshot().extent()
    positions = memory.points().positions_world
    assert extent is not None
    np.testing.assert_array_equal(extent[0], positions.min(0))
    np.testing.assert_array_equal(extent[1], positions.max(0))


def test_nothing_has_no_extent():
    assert SpatialMemory().snapshot().extent() is None


def test_chunks_in_a_box_are_those_whose_cube_meets_it(memory):
    low, high = np.array([-0.7, 0.1, -2.0]), np.array([0.1, 0.63, 0.5])
    expected = [
        key
        for key in sorted(memory.chunks)
        if all(k * 0.64 <= h and (k + 1) * 0.64 > lo for k, lo, h in zip(key, low, high, strict=True))
    ]
    assert memory.snapshot().chunks_in_box(low, high) == expected


def test_a_subset_holds_the_known_keys_only(memory):
    key = next(iter(memory.chunks))
    subset = memory.snapshot().subset([key, (99, 0, 0)])
    assert list(subset.chunks) == [key]
    assert subset.revision == memory.revision


POSES = np.stack([look((0, 0, -2), 0.3, -0.2), look((1, 0.5, 0), 2.0, 0.4)])


@pytest.mark.parametrize("far_m", [np.inf, 1.5])
def test_no_chunk_with_a_seen_point_is_left_out_of_the_frusta(memory, far_m):
    pinhole = Pinhole.from_fov(64, 48, 1.0)
    keys = set(memory.snapshot().chunks_in_frusta(pinhole, POSES, near_m=0.1, far_m=far_m))
    seen = set()
    for key, chunk in memory.chunks.items():
        for pose in POSES:
            uv, z = pinhole.project(chunk.positions_world(0.01), pose)
            inside = (z >= 0.1) & (z <= far_m) & (uv >= 0).all(1) & (uv < (64, 48)).all(1)
            if inside.any():
                seen.add(key)
    assert seen <= keys
    assert len(keys) < 0.7 * len(memory.chunks)


def test_a_chunk_behind_the_camera_is_not_in_the_frustum():
    memory = SpatialMemory()
    memory.insert(PointBatch.uniform(np.array([[0, 0, -3]], np.float32), np.zeros((1, 3), np.uint8), priority=64,
                                     keyframe=1))  # fmt: skip
    assert memory.snapshot().chunks_in_frusta(Pinhole.from_fov(64, 48, 1.0), np.eye(4)) == []


def test_removing_by_mask_takes_exactly_those_voxels(memory):
    key = max(memory.chunks, key=lambda k: memory.chunks[k].num_points)
    chunk = memory.chunks[key]
    mask = np.arange(chunk.num_points) % 3 == 0
    report = memory.remove({key: mask})
    np.testing.assert_array_equal(memory.chunks[key].codes, chunk.codes[~mask])
    np.testing.assert_array_equal(memory.chunks[key].rows, chunk.rows[~mask])
    assert (report.removed, report.changed) == (mask.sum(), (key,))


def test_removing_all_of_a_chunk_drops_it(memory):
    key = next(iter(memory.chunks))
    memory.remove({key: np.ones(memory.chunks[key].num_points, bool)})
    assert key not in memory.chunks


def test_a_mask_of_another_length_is_refused(memory):
    key = next(iter(memory.chunks))
    with pytest.raises(ValueError, match="mask of chunk"):
        memory.remove({key: np.ones(memory.chunks[key].num_points + 1, bool)})


def test_removing_a_box_takes_what_lies_in_it(memory):
    low, high = np.array([-0.5, -0.4, -1.0]), np.array([0.6, 1.0, 0.3])
    positions = memory.points().positions_world
    inside = ((positions >= low) & (positions < high)).all(1)
    report = memory.remove_box(low, high)
    assert report.removed == inside.sum() > 0
    np.testing.assert_array_equal(memory.points().positions_world, positions[~inside])


def test_painting_sets_the_colour_and_keeps_the_weight(memory):
    key = next(iter(memory.chunks))
    chunk = memory.chunks[key]
    mask = np.zeros(chunk.num_points, bool)
    mask[-1] = True
    memory.recolor({key: mask}, (255, 0, 7))
    assert memory.chunks[key].colors()[-1].tolist() == [255, 0, 7]
    np.testing.assert_array_equal(memory.chunks[key].rows[:, 3], chunk.rows[:, 3])
    np.testing.assert_array_equal(memory.chunks[key].colors()[:-1], chunk.colors()[:-1])


def test_a_colour_out_of_range_is_refused(memory):
    with pytest.raises(ValueError, match=r"0\.\.255"):
        memory.recolor({}, (256, 0, 0))


def test_restoring_brings_the_content_back_under_a_higher_revision(memory):
    snapshot = memory.snapshot()
    memory.insert(_scattered(1))
    memory.remove_box((-1, -1, -1), (0, 0, 0))
    report = memory.restore(snapshot)
    assert memory.content_hash() == snapshot.content_hash()
    assert memory.revision == 4
    assert all(memory.chunks[key].revision == 4 for key in report.changed if key in memory.chunks)


def test_restoring_leaves_unchanged_chunks_alone(memory):
    snapshot = memory.snapshot()
    changed = memory.insert(_scattered(1, n=1)).changed
    assert memory.restore(snapshot).changed == changed


def test_restoring_voxels_of_another_size_is_refused(memory):
    with pytest.raises(ValueError, match="voxels of"):
        memory.restore(SpatialMemory(0.02).snapshot())


def test_what_was_staged_before_an_undo_is_stale(memory):
    snapshot = memory.snapshot()
    memory.insert(_scattered(1))
    staged = stage_insert(memory.chunks, 0.01, _scattered(2), revision=3)
    memory.restore(snapshot)
    with pytest.raises(StaleChangeError):
        memory.apply(staged)


def test_loading_takes_chunks_as_they_are(memory):
    memory.insert(_scattered(1, n=5))
    loaded = SpatialMemory()
    loaded.load(memory.chunks.values())
    assert loaded.content_hash() == memory.content_hash()
    assert loaded.revision == memory.revision
    assert all(loaded.chunks[key] is chunk for key, chunk in memory.chunks.items())


def test_loading_over_a_chunk_that_exists_is_refused(memory):
    with pytest.raises(ValueError, match="has it already"):
        memory.load(list(memory.chunks.values())[:1])
