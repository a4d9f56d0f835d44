"""Chunks unpacked for drawing."""

import numpy as np
import pytest
from spatia.renderer.extract import ChunkExtractor, extract_chunk
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of

OBSERVED = priority_of(PointClass.OBSERVED)


def scattered(num: int = 3000, seed: int = 0) -> PointBatch:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-1.0, 1.0, (num, 3)).astype(np.float32)
    return PointBatch.uniform(
        positions, rng.integers(0, 256, (num, 3), np.uint8), priority=OBSERVED, keyframe=1, weights=3
    )


def grid(step_m: float) -> PointBatch:
    side = np.arange(0.005, 0.64, step_m)
    x, y = np.meshgrid(side, side)
    positions = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.305)], 1).astype(np.float32)
    return PointBatch.uniform(positions, np.zeros((x.size, 3), np.uint8), priority=OBSERVED, keyframe=1)


def snapshot_of(batch: PointBatch, voxel_size_m: float = 0.01) -> MemorySnapshot:
    memory = SpatialMemory(voxel_size_m)
    memory.insert(batch)
    return memory.snapshot()


def test_positions_and_colors_are_those_of_the_chunk():
    for chunk in snapshot_of(scattered(), 0.04).chunks.values():
        extracted = extract_chunk(chunk, 0.04)
        np.testing.assert_array_equal(extracted.local_q8, chunk.local_q8())
        np.testing.assert_array_equal(extracted.color_rgba.view(np.uint8).reshape(-1, 4)[:, :3], chunk.colors())
        np.testing.assert_array_equal(extracted.color_rgba >> 24, 255)
        world = extracted.origin_world + (extracted.local_q8 + 0.5) * extracted.step_m
        np.testing.assert_allclose(world, chunk.positions_world(0.04), atol=1e-6)


def test_the_box_is_that_of_the_points():
    for chunk in snapshot_of(scattered()).chunks.values():
        extracted = extract_chunk(chunk, 0.01)
        positions = chunk.positions_world(0.01)
        np.testing.assert_allclose(extracted.low_world, positions.min(0), atol=1e-6)
        np.testing.assert_allclose(extracted.high_world, positions.max(0), atol=1e-6)


@pytest.mark.parametrize("step_m", [0.01, 0.02, 0.03])
def test_spacing_is_measured_not_taken_from_the_voxel(step_m):
    (chunk,) = snapshot_of(grid(step_m)).chunks.values()
    assert extract_chunk(chunk, 0.01).spacing_m == pytest.approx(step_m, rel=0.15)


def test_a_lone_point_is_as_wide_as_a_voxel_or_less():
    (chunk,) = snapshot_of(
        PointBatch.uniform(np.full((1, 3), 0.1, np.float32), np.zeros((1, 3), np.uint8), priority=OBSERVED, keyframe=1)
    ).chunks.values()
    assert 0.005 <= extract_chunk(chunk, 0.01).spacing_m <= 0.01


def test_every_chunk_is_taken_once():
    snapshot = snapshot_of(scattered())
    extractor = ChunkExtractor()
    extractor.begin(snapshot)
    assert {c.key for c in extractor.take()} == set(snapshot.chunks)
    extractor.begin(MemorySnapshot(snapshot.voxel_size_m, snapshot.revision + 1, dict(snapshot.chunks)))
    assert list(extractor.take()) == []


def test_another_memory_with_the_same_revisions_is_not_mistaken_for_this_one():
    extractor = ChunkExtractor()
    extractor.begin(snapshot_of(scattered()))
    list(extractor.take())
    other = snapshot_of(scattered())
    extractor.begin(other)
    assert extractor.num_pending == len(other.chunks)


def test_only_changed_chunks_are_taken_again():
    memory = SpatialMemory(0.01)
    memory.insert(scattered())
    extractor = ChunkExtractor()
    extractor.begin(memory.snapshot())
    list(extractor.take())
    report = memory.insert(
        PointBatch.uniform(np.full((1, 3), 0.1, np.float32), np.zeros((1, 3), np.uint8), priority=OBSERVED, keyframe=1)
    )
    extractor.begin(memory.snapshot())
    assert [c.key for c in extractor.take()] == list(report.changed)


def test_a_spent_budget_leaves_the_rest_for_later():
    seconds = iter(range(100))
    extractor = ChunkExtractor(clock=lambda: float(next(seconds)))
    snapshot = snapshot_of(scattered())
    extractor.begin(snapshot)
    assert len(list(extractor.take(budget_s=3.0))) == 3
    assert extractor.num_pending == len(snapshot.chunks) - 3


def test_chunks_near_the_camera_come_first():
    extractor = ChunkExtractor()
    focus = np.array([0.9, -0.9, 0.9])
    extractor.begin(snapshot_of(scattered()), focus)
    distances = [np.linalg.norm(c.origin_world + 0.32 - focus) for c in extractor.take()]
    assert np.diff(distances).min() > -1e-9


def test_dropped_chunks_are_named_once():
    snapshot = snapshot_of(scattered())
    extractor = ChunkExtractor()
    extractor.begin(snapshot)
    list(extractor.take())
    empty = MemorySnapshot(0.01, snapshot.revision + 1, {})
    assert set(extractor.begin(empty)) == set(snapshot.chunks)
    assert extractor.begin(MemorySnapshot(0.01, snapshot.revision + 2, {})) == []


def test_another_voxel_size_drops_everything():
    extractor = ChunkExtractor()
    first = snapshot_of(scattered(), 0.01)
    extractor.begin(first)
    list(extractor.take())
    second = snapshot_of(scattered(), 0.02)
    assert set(extractor.begin(second)) == set(first.chunks)
    assert extractor.num_pending == len(second.chunks)
