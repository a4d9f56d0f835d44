"""Merging against a dictionary of Python integers, order and split, ranks, limits, staging."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from spatia.world import kernels, partition
from spatia.world.chunks import MAX_VOXEL_WEIGHT, Chunk
from spatia.world.errors import StaleChangeError, WeightOverflowError
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_insert, stage_update
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.updates import MapUpdate, UpdateReport

OBSERVED, ESTIMATED = priority_of(PointClass.OBSERVED), priority_of(PointClass.ESTIMATED)
INVENTED, INVENTED_BETTER = priority_of(PointClass.INVENTED, 1), priority_of(PointClass.INVENTED, 40)


def _batch(seed=0, n=3000, spread_m=0.05, priorities=(OBSERVED, ESTIMATED, INVENTED, INVENTED_BETTER)):
    rng = np.random.default_rng(seed)
    return PointBatch(
        rng.normal(scale=spread_m, size=(n, 3)).astype(np.float32),
        rng.integers(0, 256, (n, 3), dtype=np.uint8),
        rng.integers(1, 16, n, dtype=np.uint8),
        rng.choice(np.array(priorities, np.uint8), n),
        rng.integers(0, 2**32, n, dtype=np.uint32),
    )


def _pick(batch, index):
    return PointBatch(*(getattr(batch, name)[index] for name in batch.__dataclass_fields__))


def _at(position, priority=OBSERVED, *, color=(10, 20, 30), weight=1, keyframe=1, n=1):
    positions = np.tile(np.array(position, np.float32), (n, 1))
    colors = np.tile(np.array(color, np.uint8), (n, 1))
    return PointBatch.uniform(positions, colors, priority=priority, keyframe=keyframe, weights=weight)


@dataclass
class _Oracle:
    """Voxels as a dictionary: (chunk key, code) to the priority and the eight sums, one point at a time."""

    voxel_size_m: float
    voxels: dict = field(default_factory=dict)

    def insert(self, batch):
        """Merge and count (added, refreshed, replaced, outranked)."""
        fallen = {}
        for i in range(len(batch)):
            q = [math.floor(float(x) / self.voxel_size_m * 256) for x in batch.positions_world[i]]
            code = 0
            for axis in range(3):
                for bit in range(6):
                    code |= ((q[axis] >> (8 + bit)) & 1) << (3 * bit + axis)
            fallen.setdefault((tuple(v >> 14 for v in q), code), []).append((i, [v & 255 for v in q]))
        counts = [0, 0, 0, 0]
        for place, points in fallen.items():
            had = self.voxels.get(place)
            top = max([int(batch.priority[i]) for i, _ in points] + ([had[0]] if had else []))
            counting = [(i, offset) for i, offset in points if batch.priority[i] == top]
            counts[3] += len(points) - len(counting)
            counts[0] += had is None
            counts[1] += had is not None and had[0] == top and len(counting) > 0
            counts[2] += had is not None and had[0] < top
            sums = list(had[1]) if had and had[0] == top else [0] * 7 + [2**32 - 1]
            for i, offset in counting:
                w = int(batch.weights[i])
                color = [int(v) for v in batch.colors[i]]
                for column, value in enumerate([*offset, 1, *color]):
                    sums[column] += value * w
                sums[7] = min(sums[7], int(batch.keyframe[i]))
            self.voxels[place] = (top, sums)
        return tuple(counts)


def _voxels_of(memory):
    return {
        (key, int(code)): (int(p), row.tolist())
        for key, chunk in memory.chunks.items()
        for code, row, p in zip(chunk.codes, chunk.rows, chunk.priority, strict=True)
    }


@pytest.mark.parametrize("voxel_size_m", [0.01, 0.0037])
def test_merging_equals_the_oracle_bit_for_bit(voxel_size_m):
    memory, oracle = SpatialMemory(voxel_size_m), _Oracle(voxel_size_m)
    for seed in range(3):
        batch = _batch(seed, n=2000)
        report = memory.insert(batch)
        assert (report.added, report.refreshed, report.replaced, report.outranked) == oracle.insert(batch)
    assert _voxels_of(memory) == oracle.voxels


@pytest.mark.parametrize("voxel_size_m", [0.01, 0.0037, 0.03])
def test_points_on_the_borders_of_steps_fall_where_the_definition_says(voxel_size_m):
    steps = np.arange(-300, 300)
    positions = np.stack([steps * voxel_size_m / 256, steps * voxel_size_m / 2.56, steps * 0.0], axis=1)
    batch = PointBatch.uniform(
        positions.astype(np.float32), np.zeros((len(steps), 3), np.uint8), priority=OBSERVED, keyframe=1
    )
    oracle, memory = _Oracle(voxel_size_m), SpatialMemory(voxel_size_m)
    oracle.insert(batch)
    memory.insert(batch)
    assert _voxels_of(memory) == oracle.voxels


def test_more_points_than_a_page_holds_and_more_chunks_than_were_expected_equal_the_oracle(monkeypatch):
    monkeypatch.setattr(partition, "MIN_CAPACITY", 2)
    monkeypatch.setattr(partition, "LEAST_POINTS_PER_THREAD", 500)
    batch = _batch(seed=8, n=4 * kernels.PAGE, spread_m=0.9)
    oracle, memory = _Oracle(0.01), SpatialMemory(0.01)
    oracle.insert(batch)
    memory.apply(stage_insert({}, 0.01, batch, revision=1, num_threads=3))
    assert len(memory.chunks) > 16
    assert _voxels_of(memory) == oracle.voxels


@pytest.mark.parametrize("num_points", [-1, 0, 1])
def test_a_chunk_whose_points_fill_a_page_or_nearly_equals_the_oracle(num_points):
    batch = _batch(n=2 * kernels.PAGE + num_points, spread_m=0.001)
    oracle, memory = _Oracle(0.5), SpatialMemory(0.5)
    oracle.insert(batch)
    memory.insert(batch)
    assert _voxels_of(memory) == oracle.voxels


def test_codes_of_a_chunk_rise_strictly():
    memory = SpatialMemory()
    memory.insert(_batch())
    assert all((np.diff(chunk.codes.astype(np.int64)) > 0).all() for chunk in memory.chunks.values())


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_split_gives_the_same_bits(seed):
    batch = _batch(7)
    whole, pieces = SpatialMemory(), SpatialMemory()
    whole.insert(batch)
    rng = np.random.default_rng(seed)
    for part in np.array_split(rng.permutation(len(batch)), rng.integers(1, 9)):
        pieces.insert(_pick(batch, part))
    assert pieces.content_hash() == whole.content_hash()


@pytest.mark.parametrize("num_threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(monkeypatch, num_threads):
    monkeypatch.setattr(partition, "LEAST_POINTS_PER_THREAD", 100)
    old, batch = _batch(1, spread_m=0.5), _batch(3, spread_m=0.5)
    memory = SpatialMemory()
    memory.insert(old)
    one, many = (
        stage_insert(memory.chunks, 0.01, batch, revision=2, num_threads=number) for number in (1, num_threads)
    )
    assert many.report == one.report
    assert list(many.chunks) == list(one.chunks)
    for a, b in zip(one.chunks.values(), many.chunks.values(), strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.priority, b.priority)


@pytest.mark.parametrize(("x", "key", "code_x"), [(-0.095, -1, 54), (0.0, 0, 0), (-1e-6, -1, 63), (0.635, 0, 63)])
def test_keys_floor_on_both_sides_of_zero(x, key, code_x):
    memory = SpatialMemory(0.01)
    memory.insert(_at((x, 0.001, 0.001)))
    ((found, chunk),) = memory.chunks.items()
    place = sum(((code_x >> bit) & 1) << (3 * bit) for bit in range(6))
    assert (found[0], int(chunk.codes[0])) == (key, place)


def test_a_lower_priority_leaves_the_chunk_untouched():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0), OBSERVED))
    before, revision = memory.chunks[0, 0, 0], memory.revision
    report = memory.insert(_at((0, 0, 0), INVENTED, n=3))
    assert memory.chunks[0, 0, 0] is before
    assert memory.revision == revision
    assert (report.outranked, report.changed) == (3, ())


def test_a_higher_rank_replaces_a_lower_one_of_the_same_class():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0), INVENTED, color=(200, 0, 0), n=9))
    report = memory.insert(_at((0, 0, 0), INVENTED_BETTER, color=(0, 100, 0)))
    chunk = memory.chunks[0, 0, 0]
    assert report.replaced == 1
    assert chunk.colors().tolist() == [[0, 100, 0]]
    assert chunk.priority.tolist() == [INVENTED_BETTER]


def test_replacing_forgets_the_evidence_and_refreshing_keeps_it():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0), INVENTED))
    memory.insert(_at((0.02, 0, 0), INVENTED))
    old = memory.chunks[0, 0, 0]
    fresh = SpatialMemory()
    fresh.load([Chunk(old.key, 1, old.codes, old.rows, old.priority, np.full((2, 2), 7, np.uint8))])
    fresh.insert(_at((0, 0, 0), OBSERVED))
    fresh.insert(_at((0.02, 0, 0), INVENTED))
    assert fresh.chunks[0, 0, 0].evidence.tolist() == [[0, 0], [7, 7]]


def test_the_smallest_keyframe_that_counts_is_kept():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0), INVENTED, keyframe=2))
    memory.insert(_at((0, 0, 0), OBSERVED, keyframe=2**32 - 2))
    memory.insert(_at((0, 0, 0), OBSERVED, keyframe=9))
    assert memory.chunks[0, 0, 0].keyframes().tolist() == [9]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (_at((np.nan, 0, 0)), "finite"),
        (_at((0, np.inf, 0)), "finite"),
        (_at((0, 0, 0.64 * 2**20 * 1.0001)), "2\\^20"),
        (_at((0, -0.64 * 2**20 * 1.0001, 0)), "2\\^20"),
        (_at((0, 0, 0), weight=0), "weights"),
        (_at((0, 0, 0), priority=63), "priority"),
    ],
)
def test_a_bad_point_is_refused_and_nothing_changes(bad, words):
    memory = SpatialMemory(0.01)
    with pytest.raises(ValueError, match=words):
        memory.insert(PointBatch.concatenate([_at((0, 0, 0), n=300), bad]))
    assert (memory.num_points, memory.revision) == (0, 0)


def test_the_farthest_chunks_are_taken():
    memory = SpatialMemory(0.01)
    far = np.float32(0.64 * 2**20)
    memory.insert(_at((np.nextafter(far, np.float32(0)), -far, 0)))
    assert [key[:2] for key in memory.chunks] == [(2**20 - 1, -(2**20))]


def test_many_far_apart_chunks_are_told_apart():
    positions = (np.arange(5000)[:, None] * [0.64, -0.64, 1.28] + 0.001).astype(np.float32)
    memory = SpatialMemory(0.01)
    memory.insert(PointBatch.uniform(positions, np.zeros((5000, 3), np.uint8), priority=64, keyframe=1))
    assert len(memory.chunks) == 5000


def test_more_weight_at_once_than_a_voxel_holds_is_an_error():
    memory = SpatialMemory()
    memory.insert(_at((5, 5, 5)))
    with pytest.raises(WeightOverflowError):
        memory.insert(_at((0, 0, 0), weight=255, n=MAX_VOXEL_WEIGHT // 255 + 2))
    assert memory.num_points == 1


def test_a_full_voxel_keeps_what_it_has_and_says_so():
    full = [200 * MAX_VOXEL_WEIGHT] * 3 + [MAX_VOXEL_WEIGHT] + [255 * MAX_VOXEL_WEIGHT] * 3 + [1]
    rows = np.array([full], np.uint32)
    memory = SpatialMemory()
    memory.load([Chunk((0, 0, 0), 1, np.zeros(1, np.uint32), rows.copy(), np.array([192], np.uint8),
                       np.zeros((1, 2), np.uint8))])  # fmt: skip
    report = memory.insert(PointBatch.concatenate([_at((0, 0, 0), n=5), _at((0.5, 0, 0))]))
    assert (report.saturated, report.refreshed, report.added) == (1, 0, 1)
    np.testing.assert_array_equal(memory.chunks[0, 0, 0].rows[:1], rows)


def test_an_empty_batch_changes_nothing():
    memory = SpatialMemory()
    report = memory.insert(PointBatch.empty())
    assert (report.changed, memory.revision) == ((), 0)


def test_staging_changes_nothing_until_it_is_applied():
    memory = SpatialMemory()
    memory.insert(_batch(0))
    before = memory.content_hash()
    staged = stage_insert(memory.chunks, memory.voxel_size_m, _batch(1), revision=memory.revision + 1)
    assert memory.content_hash() == before
    assert memory.apply(staged).changed == staged.report.changed
    direct = SpatialMemory()
    direct.insert(_batch(0))
    direct.insert(_batch(1))
    assert memory.content_hash() == direct.content_hash()


def test_a_change_staged_on_chunks_that_changed_since_is_stale():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0)))
    staged = stage_insert(memory.chunks, memory.voxel_size_m, _at((0.1, 0, 0)), revision=2)
    assert not memory.is_stale(staged)
    memory.insert(_at((0.2, 0, 0)))
    assert memory.is_stale(staged)
    before = memory.content_hash()
    with pytest.raises(StaleChangeError, match="stage again"):
        memory.apply(staged)
    assert memory.content_hash() == before


def test_a_change_staged_on_an_absent_chunk_is_stale_once_it_exists():
    memory = SpatialMemory()
    staged = stage_insert(memory.chunks, memory.voxel_size_m, _at((0.1, 0, 0)), revision=1)
    memory.insert(_at((0.2, 0, 0)))
    with pytest.raises(StaleChangeError):
        memory.apply(staged)


def test_points_left_out_as_outranked_make_a_change_stale_once_they_would_count():
    memory = SpatialMemory()
    memory.insert(_at((0, 0, 0), OBSERVED))
    staged = stage_insert(memory.chunks, memory.voxel_size_m, _at((0, 0, 0), INVENTED), revision=2)
    memory.remove_box((-1, -1, -1), (1, 1, 1))
    with pytest.raises(StaleChangeError):
        memory.apply(staged)


def test_a_change_elsewhere_does_not_make_a_staged_one_stale():
    memory = SpatialMemory()
    staged = stage_insert(memory.chunks, memory.voxel_size_m, _at((0, 0, 0)), revision=1)
    memory.insert(_at((5, 5, 5)))
    memory.apply(staged)
    assert memory.num_points == 2
    assert memory.chunks[0, 0, 0].revision == memory.revision == 2


def test_an_update_without_free_space_is_an_insertion():
    memory, direct = SpatialMemory(), SpatialMemory()
    update = MapUpdate(_batch(2), (), (), np.zeros((0, 4, 4)), UpdateReport("given"))
    memory.apply(stage_update(memory.snapshot(), update))
    direct.insert(_batch(2))
    assert memory.content_hash() == direct.content_hash()
