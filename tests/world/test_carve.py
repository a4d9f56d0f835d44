"""Free space: against a slow oracle, and each rule by itself."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.carve import stage_carve
from spatia.world.errors import StaleChangeError
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look
from spatia.world.updates import DepthView, MapUpdate, UpdateReport

CAMERA = Pinhole.from_fov(32, 24, 1.0)
OBSERVED, ESTIMATED = priority_of(PointClass.OBSERVED), priority_of(PointClass.ESTIMATED)
INVENTED, INVENTED_BETTER = priority_of(PointClass.INVENTED, 1), priority_of(PointClass.INVENTED, 40)


def _view(depth, priority=OBSERVED, pose=None):
    depth_m = np.full((24, 32), depth, np.float32) if np.isscalar(depth) else depth
    return DepthView(depth_m, CAMERA, np.eye(4) if pose is None else pose, priority)


def _memory(*positions, priority=OBSERVED):
    memory = SpatialMemory(0.01)
    points = np.array(positions, np.float32).reshape(-1, 3)
    memory.insert(PointBatch.uniform(points, np.zeros((len(points), 3), np.uint8), priority=priority, keyframe=1))
    return memory


def _evidence(memory):
    return np.concatenate([memory.chunks[key].evidence for key in sorted(memory.chunks)]).tolist()


def _oracle(memory, views):
    """Confirmed and seen-through counts and removals of every voxel, one by one."""
    out = []
    for key in sorted(memory.chunks):
        chunk = memory.chunks[key]
        for x, priority, (confirmed, seen) in zip(
            chunk.positions_world(0.01).astype(float), chunk.priority, chunk.evidence.astype(int), strict=True
        ):
            goes = False
            for view in views:
                (uv,), (z,) = view.pinhole.project(x[None], view.world_T_camera)
                if view.priority < priority or z <= 0 or not ((uv >= 0) & (uv < (32, 24))).all():
                    continue
                column, row = int(uv[0]), int(uv[1])
                d = float(view.depth_m[row, column])
                around = view.depth_m[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
                if d == 0:
                    continue
                front = float(around[around > 0].min())
                if z < front - max(0.08, 0.03 * front):
                    seen += 1
                    goes |= view.priority >> 6 > priority >> 6
                elif abs(z - d) <= max(0.08, 0.03 * d):
                    confirmed += 1
            out.append((confirmed, seen, goes or (seen >= 3 and seen > 2 * confirmed)))
    return out


def test_counts_and_removals_equal_the_oracle():
    rng = np.random.default_rng(4)
    positions = (rng.uniform((-1, -0.7, 0.4), (1, 0.7, 3.5), (600, 3))).astype(np.float32)
    memory = SpatialMemory(0.01)
    ranks = rng.choice(np.array([OBSERVED, ESTIMATED, INVENTED, INVENTED_BETTER], np.uint8), 600)
    memory.insert(PointBatch(positions, np.zeros((600, 3), np.uint8), np.ones(600, np.uint8), ranks,
                             np.ones(600, np.uint32)))  # fmt: skip
    views = []
    for i in range(9):
        depth = rng.choice(np.array([0, 1.0, 1.05, 2.5, 3.0], np.float32), (24, 32))
        priority = (OBSERVED, ESTIMATED, INVENTED_BETTER)[i % 3]
        views.append(_view(depth, priority, look((0.1 * i, 0, 0), 0.05 * i, 0.02)))
    expected = _oracle(memory, views)
    before = memory.points().positions_world
    report = memory.carve(views)
    goes = np.array([g for _, _, g in expected])
    assert 0 < goes.sum() < 600
    assert report.removed == goes.sum()
    np.testing.assert_array_equal(memory.points().positions_world, before[~goes])
    assert _evidence(memory) == [[c, s] for c, s, g in expected if not g]


def test_a_voxel_goes_the_third_time_it_is_seen_through():
    memory = _memory((0, 0, 1))
    assert [memory.carve([_view(2.0)]).removed for _ in range(3)] == [0, 0, 1]
    assert memory.num_points == 0
    assert not memory.chunks


def test_a_voxel_seen_through_no_more_than_twice_as_often_as_confirmed_stays():
    memory = _memory((0, 0, 1))
    memory.carve([_view(1.0)] * 2)
    assert memory.carve([_view(2.0)] * 4).removed == 0
    assert memory.carve([_view(2.0)]).removed == 1


@pytest.mark.parametrize(("z", "evidence"), [(0.93, [1, 0]), (1.07, [1, 0]), (0.91, [0, 1]), (1.2, [0, 0])])
def test_the_margin_near_by_is_eight_centimetres(z, evidence):
    memory = _memory((0, 0, z))
    memory.carve([_view(1.0)])
    assert _evidence(memory) == [evidence]


@pytest.mark.parametrize(("z", "evidence"), [(9.75, [1, 0]), (9.65, [0, 1])])
def test_the_margin_far_away_is_three_per_cent(z, evidence):
    memory = _memory((0, 0, z))
    memory.carve([_view(10.0)])
    assert _evidence(memory) == [evidence]


def test_unknown_depth_says_nothing():
    memory = _memory((0, 0, 1))
    before = memory.chunks[0, 0, 1]
    report = memory.carve([_view(0.0)] * 5)
    assert (report.changed, memory.chunks[0, 0, 1] is before) == ((), True)


def test_a_silhouette_beside_the_ray_does_not_carve():
    memory = _memory((0.001, 0.001, 1))
    depth = np.full((24, 32), 3.0, np.float32)
    depth[:, 17] = 1.0
    memory.carve([_view(depth)] * 5)
    assert _evidence(memory) == [[0, 0]]
    depth[:, 17] = 0.0
    assert memory.carve([_view(depth)] * 3).removed == 1


@pytest.mark.parametrize(
    ("points", "view"), [(OBSERVED, INVENTED_BETTER), (OBSERVED, ESTIMATED), (INVENTED_BETTER, INVENTED)]
)
def test_a_lower_class_or_rank_neither_carves_nor_counts(points, view):
    memory = _memory((0, 0, 1), priority=points)
    memory.carve([_view(2.0, view)] * 9)
    assert _evidence(memory) == [[0, 0]]


@pytest.mark.parametrize(
    ("points", "view"), [(INVENTED_BETTER, OBSERVED), (ESTIMATED, OBSERVED), (INVENTED, ESTIMATED)]
)
def test_a_higher_class_removes_at_once_what_it_sees_through(points, view):
    memory = _memory((0, 0, 1), priority=points)
    memory.carve([_view(1.0, OBSERVED)] * 9)
    assert memory.carve([_view(2.0, view)]).removed == 1


def test_a_higher_rank_of_the_same_class_needs_evidence():
    memory = _memory((0, 0, 1), priority=INVENTED)
    assert memory.carve([_view(2.0, INVENTED_BETTER)] * 2).removed == 0
    assert memory.carve([_view(2.0, INVENTED_BETTER)]).removed == 1


def test_evidence_saturates():
    memory = _memory((0, 0, 1))
    memory.carve([_view(1.0)] * 300)
    assert _evidence(memory) == [[255, 0]]


def test_evidence_is_no_content():
    memory = _memory((0, 0, 1))
    before = memory.content_hash()
    memory.carve([_view(1.0)])
    assert memory.content_hash() == before


def test_chunks_out_of_sight_are_not_touched():
    memory = _memory((0, 0, 1), (0, 0, -1), (9, 0, 1), (0, 0, 9))
    assert memory.carve([_view(2.0)]).changed == ((0, 0, 1),)


def test_carving_without_views_does_nothing():
    assert _memory((0, 0, 1)).carve([]).changed == ()


def test_depth_of_another_size_is_refused():
    with pytest.raises(ValueError, match="depth view: expected"):
        _memory((0, 0, 1)).carve([_view(np.ones((3, 4), np.float32))])


def test_an_update_carves_before_it_inserts():
    memory = _memory((0, 0, 1), priority=INVENTED)
    point = PointBatch.uniform(np.array([[0.3, 0, 2]], np.float32), np.zeros((1, 3), np.uint8), priority=OBSERVED,
                               keyframe=2)  # fmt: skip
    update = MapUpdate(point, (_view(2.0),), (), np.zeros((0, 4, 4)), UpdateReport("given"))
    staged = stage_update(memory.snapshot(), update)
    report = memory.apply(staged)
    assert (report.removed, report.added, memory.num_points) == (1, 1, 1)
    assert report.changed == ((0, 0, 1), (0, 0, 3))
    assert _evidence(memory) == [[0, 0]]


def test_points_replace_a_chunk_that_carving_emptied():
    memory = _memory((0, 0, 1), priority=INVENTED)
    point = PointBatch.uniform(np.array([[0.1, 0, 1]], np.float32), np.zeros((1, 3), np.uint8), priority=OBSERVED,
                               keyframe=2)  # fmt: skip
    update = MapUpdate(point, (_view(2.0),), (), np.zeros((0, 4, 4)), UpdateReport("given"))
    memory.apply(stage_update(memory.snapshot(), update))
    assert memory.chunks[0, 0, 1].priority.tolist() == [OBSERVED]


def test_a_carving_staged_on_an_older_chunk_is_stale():
    memory = _memory((0, 0, 1))
    staged = stage_carve(memory.snapshot(), [_view(2.0)])
    memory.carve([_view(2.0)])
    with pytest.raises(StaleChangeError):
        memory.apply(staged)
