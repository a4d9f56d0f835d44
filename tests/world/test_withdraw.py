"""Surface that turned out to move is taken back from memory."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.updates import DepthView, MapUpdate, UpdateReport
from spatia.world.withdraw import stage_withdraw

PINHOLE = Pinhole.from_fov(32, 24, np.pi / 2)
MOVER_M, WALL_M = 2.0, 3.0
RANK = 40


def _at(depth_m: float, point_class: PointClass = PointClass.INVENTED, rank: int = RANK) -> PointBatch:
    """Points before every pixel."""
    positions = (PINHOLE.rays().reshape(-1, 3) * depth_m).astype(np.float32)
    color = np.full(positions.shape, 128, np.uint8)
    return PointBatch.uniform(positions, color, priority=priority_of(point_class, rank), keyframe=1, weights=8)


def _memory(*batches: PointBatch) -> SpatialMemory:
    memory = SpatialMemory(0.05)
    memory.insert(PointBatch.concatenate(list(batches)))
    return memory


def _view(depth_m: float = MOVER_M, rank: int = RANK) -> DepthView:
    """The left half of the picture moves."""
    depth = np.zeros((24, 32), np.float32)
    depth[:, :16] = depth_m
    return DepthView(depth, PINHOLE, np.eye(4), priority_of(PointClass.INVENTED, rank))


def _left_and_right(memory: SpatialMemory) -> tuple[int, int]:
    x = memory.points().positions_world[:, 0]
    return int((x < -0.1).sum()), int((x > 0.1).sum())


def test_what_moves_goes_and_what_stands_behind_and_beside_it_stays() -> None:
    memory, wall = _memory(_at(MOVER_M), _at(WALL_M)), _memory(_at(WALL_M))
    before = _left_and_right(memory)
    memory.apply(stage_withdraw(memory.snapshot(), [_view()]))
    left, right = _left_and_right(memory)
    assert left == _left_and_right(wall)[0]
    assert right == before[1]


@pytest.mark.parametrize(
    ("point_class", "rank"), [(PointClass.OBSERVED, 0), (PointClass.ESTIMATED, 0), (PointClass.INVENTED, RANK + 1)]
)
def test_what_a_clip_may_not_replace_it_does_not_take_back(point_class: PointClass, rank: int) -> None:
    memory = _memory(_at(MOVER_M, point_class, rank))
    before = memory.content_hash()
    memory.apply(stage_withdraw(memory.snapshot(), [_view()]))
    assert memory.content_hash() == before


def test_an_update_takes_back_first_and_then_inserts() -> None:
    memory = _memory(_at(MOVER_M))
    update = MapUpdate(_at(WALL_M), (), (), np.eye(4)[None], UpdateReport("test"), (_view(),))
    report = memory.apply(stage_update(memory.snapshot(), update))
    assert report.removed > 0
    assert report.added > 0
    z = memory.points().positions_world
    assert not ((np.abs(z[:, 2] - MOVER_M) < 0.06) & (z[:, 0] < -0.1)).any()
    assert ((np.abs(z[:, 2] - WALL_M) < 0.06) & (z[:, 0] < -0.1)).any()
