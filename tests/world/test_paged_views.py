"""What works on a paged memory is given full chunks where it matters, and no more than it can bear."""

import numpy as np
import pytest
from spatia.world import paged_views
from spatia.world.camera import Pinhole
from spatia.world.coarse import coarsen
from spatia.world.memory import SpatialMemory
from spatia.world.paged_views import conditioning_view, coverage_view
from spatia.world.paging import Pager

from .test_paging import SIDE_M, VOXEL_M, Disk, make_chunk

PINHOLE = Pinhole.from_fov(160, 120, 1.2)


@pytest.fixture
def disk() -> Disk:
    return Disk([make_chunk((0, 0, z)) for z in range(20)])


@pytest.fixture
def memory(disk: Disk) -> SpatialMemory:
    memory = SpatialMemory(VOXEL_M)
    memory.page(disk.stored(), Pager(disk, VOXEL_M, 1 << 20))
    return memory


def eye(z: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = 0.3, 0.3, z
    return pose


def test_conditioning_gets_every_chunk_in_view_in_full(memory: SpatialMemory, disk: Disk) -> None:
    view = conditioning_view(memory.snapshot(), PINHOLE, eye())
    assert {k: c.num_points for k, c in view.chunks.items()} == {k: c.num_points for k, c in disk.chunks.items()}
    memory.close()


def test_conditioning_leaves_out_the_farthest_of_too_many(
    memory: SpatialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_views, "CONDITIONING_POINTS", 2000)
    view = conditioning_view(memory.snapshot(), PINHOLE, eye())
    assert set(view.chunks) == {(0, 0, z) for z in range(3)}
    memory.close()


def test_coverage_is_measured_on_full_chunks_nearby_and_coarser_ones_beyond(memory: SpatialMemory, disk: Disk) -> None:
    view = coverage_view(memory.snapshot(), np.array([0.3, 0.3, 0.0]))
    near, far = (0, 0, 0), (0, 0, 19)
    assert view.chunks[near].num_points == disk.chunks[near].num_points
    assert view.chunks[far].num_points == coarsen(disk.chunks[far]).num_points
    memory.close()


def test_a_memory_that_is_held_passes_through(disk: Disk) -> None:
    memory = SpatialMemory(VOXEL_M)
    memory.load(disk.chunks.values())
    snapshot = memory.snapshot()
    assert coverage_view(snapshot, np.zeros(3)) is snapshot
    view = conditioning_view(snapshot, PINHOLE, eye(5 * SIDE_M))
    assert set(view.chunks) == set(snapshot.chunks_in_frusta(PINHOLE, eye(5 * SIDE_M)))
