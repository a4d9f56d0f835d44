"""The pager on a virtual disk: what it reads, holds, gives to a renderer and drops."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from spatia.world.blocks import Block, DrawKey, block_of
from spatia.world.camera import Pinhole
from spatia.world.chunks import Chunk, ChunkKey
from spatia.world.coarse import coarsen
from spatia.world.drawn import DrawChange
from spatia.world.memory import SpatialMemory
from spatia.world.paging import Pager
from spatia.world.paging_plan import Viewpoint
from spatia.world.points import PointBatch
from spatia.world.stored import ChunkFacts, StoredChunk
from spatia.world.transforms import look

VOXEL_M = 0.01
PINHOLE = Pinhole.from_fov(160, 120, 1.2)
WAIT_S = 20.0
SIDE_M = 0.64


class Disk:
    """A source that holds its chunks in memory; reading may be stopped and chunks may be damaged."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self.chunks = {c.key: c for c in chunks}
        self.damaged: set[ChunkKey] = set()
        self.may_read = threading.Event()
        self.may_read.set()
        self.is_reading = threading.Event()
        self.loads: list[ChunkKey] = []

    def stored(self) -> list[StoredChunk]:
        return [StoredChunk(k, c.revision, repr(k).encode(), ChunkFacts.of(c)) for k, c in self.chunks.items()]

    def load(self, stored: StoredChunk) -> Chunk:
        self.is_reading.set()
        self.may_read.wait(WAIT_S)
        if stored.key in self.damaged:
            raise ValueError("damaged")
        self.loads.append(stored.key)
        c = self.chunks[stored.key]
        return Chunk(c.key, stored.revision, c.codes.copy(), c.rows.copy(), c.priority.copy(), c.evidence.copy())

    def load_coarse(self, stored: StoredChunk) -> Chunk:
        return coarsen(self.load(stored))


def make_chunk(key: ChunkKey, num_points: int = 600) -> Chunk:
    rng = np.random.default_rng([abs(k) for k in key])
    corner = np.array(key, np.float64) * SIDE_M
    memory = SpatialMemory(VOXEL_M)
    points = (corner + rng.uniform(0.01, SIDE_M - 0.01, (num_points, 3))).astype(np.float32)
    colors = rng.integers(0, 255, (num_points, 3)).astype(np.uint8)
    memory.insert(PointBatch.uniform(points, colors, priority=192, keyframe=1))
    return memory.chunks[key]


Paged = Callable[..., tuple[SpatialMemory, Disk, Pager]]


@pytest.fixture
def paged() -> Iterator[Paged]:
    """Makes a memory whose chunks, a row along z, lie on a disk."""
    made: list[tuple[SpatialMemory, Disk]] = []

    def make(num_chunks: int = 40, budget_bytes: int = 1 << 30) -> tuple[SpatialMemory, Disk, Pager]:
        disk = Disk([make_chunk((0, 0, z)) for z in range(num_chunks)])
        memory = SpatialMemory(VOXEL_M)
        memory.page(disk.stored(), Pager(disk, VOXEL_M, budget_bytes))
        made.append((memory, disk))
        assert memory.pager is not None
        return memory, disk, memory.pager

    yield make
    for memory, disk in made:
        disk.may_read.set()
        memory.close()


def take_all(pager: Pager) -> dict[DrawKey, DrawChange]:
    """What a renderer shows after it took all that the pager wants drawn."""
    shown: dict[DrawKey, DrawChange] = {}
    while True:
        is_done = pager.wait(WAIT_S)
        assert is_done
        change = pager.take()
        if change is None:
            return shown
        shown[change.key] = change
        while (change := pager.take()) is not None:
            shown[change.key] = change


def at(z: float, *, yaw: float = 0.0) -> Viewpoint:
    return Viewpoint(look(np.array([0.3, 0.3, z]), yaw, 0.0), PINHOLE)


def test_a_world_that_fits_is_read_whole_and_paged_no_more(paged: Paged) -> None:
    memory, _disk, pager = paged(8)
    before = memory.content_hash()
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    take_all(pager)
    assert memory.hold_all()
    assert memory.pager is None
    assert {type(entry) for entry in memory.chunks.values()} == {Chunk}
    assert memory.content_hash() == before


def test_hash_counts_and_extent_are_those_of_the_loaded_world_and_read_nothing(paged: Paged) -> None:
    memory, disk, _ = paged(12)
    loaded = SpatialMemory(VOXEL_M)
    loaded.load(disk.chunks.values())
    a, b = memory.snapshot(), loaded.snapshot()
    assert (a.content_hash(), a.num_points, a.class_counts()) == (b.content_hash(), b.num_points, b.class_counts())
    assert np.array_equal(np.array(a.extent()), np.array(b.extent()))
    assert disk.loads == []


def test_points_are_those_of_the_loaded_world(paged: Paged) -> None:
    memory, disk, _ = paged(6, 200_000)
    loaded = SpatialMemory(VOXEL_M)
    loaded.load(disk.chunks.values())
    assert np.array_equal(memory.points().positions_world, loaded.points().positions_world)


def test_what_is_near_is_drawn_in_full_and_what_is_far_coarser(paged: Paged) -> None:
    _, _, pager = paged(60, 1_000_000)
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    shown = take_all(pager)
    assert isinstance(shown[0, 0, 0].shown, Chunk)
    assert isinstance(shown[block_of((0, 0, 40))].shown, Block)
    assert (0, 0, 40) not in shown


def test_chunks_held_stay_within_their_share_of_the_budget(paged: Paged) -> None:
    memory, _, pager = paged(60, 400_000)
    for key in memory.chunks:
        memory.chunks[key]
    status = pager.status()
    assert status.held_points * 39 <= 100_000
    assert status.evictions > 0


def test_walking_on_brings_what_comes_into_reach_in_full(paged: Paged) -> None:
    _, _, pager = paged(60, 1_000_000)
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    take_all(pager)
    pager.look(at(59 * SIDE_M, yaw=np.pi))
    shown = take_all(pager)
    assert isinstance(shown[0, 0, 59].shown, Chunk)


def test_a_changed_chunk_is_never_dropped_before_it_was_saved(paged: Paged) -> None:
    memory, _, _pager = paged(60, 300_000)
    point = np.array([[0.2, 0.2, 0.2]], np.float32)
    memory.insert(PointBatch.uniform(point, np.full((1, 3), 9, np.uint8), priority=192, keyframe=2))
    changed = memory.chunks[0, 0, 0]
    for key in memory.chunks:
        memory.chunks[key]  # pushes out what may be pushed out
    assert memory.held((0, 0, 0)) is changed
    assert memory.snapshot().held_bytes == changed.num_bytes


def test_a_saved_chunk_may_be_dropped_and_keeps_its_content(paged: Paged) -> None:
    memory, disk, _pager = paged(60, 300_000)
    point = np.array([[0.2, 0.2, 0.2]], np.float32)
    memory.insert(PointBatch.uniform(point, np.full((1, 3), 9, np.uint8), priority=192, keyframe=2))
    changed, before = memory.chunks[0, 0, 0], memory.content_hash()
    disk.chunks[0, 0, 0] = changed
    stored = StoredChunk(changed.key, changed.revision, b"saved", ChunkFacts.of(changed))
    assert memory.release({changed.key: stored}) == 1
    for key in memory.chunks:
        memory.chunks[key]
    assert memory.held((0, 0, 0)) is None
    assert memory.content_hash() == before
    assert np.array_equal(memory.chunks[0, 0, 0].rows, changed.rows)


def test_a_chunk_that_changed_after_the_save_is_not_released(paged: Paged) -> None:
    memory, _, _ = paged(4)
    old = memory.chunks[0, 0, 0]
    stored = StoredChunk(old.key, old.revision, b"saved", ChunkFacts.of(old))
    memory.insert(
        PointBatch.uniform(np.full((1, 3), 0.2, np.float32), np.zeros((1, 3), np.uint8), priority=192, keyframe=2)
    )
    assert memory.release({old.key: stored}) == 0
    assert memory.snapshot().held_bytes > 0


def test_a_damaged_chunk_is_reported_and_passed_over(paged: Paged) -> None:
    memory, disk, pager = paged(5)
    disk.damaged.add((0, 0, 2))
    assert len(memory.points()) == sum(c.num_points for k, c in disk.chunks.items() if k != (0, 0, 2))
    assert list(pager.damage) == [(0, 0, 2)]


def test_closing_while_it_reads_ends_the_thread(paged: Paged) -> None:
    memory, disk, pager = paged(5)
    disk.may_read.clear()
    pager.look(at(0.0))
    assert disk.is_reading.wait(WAIT_S)
    closing = threading.Thread(target=memory.close, name="closing")
    closing.start()
    disk.may_read.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert "spatia-pager" not in {t.name for t in threading.enumerate()}


def test_looking_up_never_waits_for_the_disk(paged: Paged) -> None:
    memory, disk, pager = paged(5)
    disk.may_read.clear()
    pager.look(at(0.0))
    assert disk.is_reading.wait(WAIT_S)
    assert memory.held((0, 0, 0)) is None
    assert memory.is_absent((0, 0, 0))
    assert pager.take() is None


def test_merging_into_a_chunk_on_the_disk_is_merging_into_the_loaded_one(paged: Paged) -> None:
    memory, disk, _ = paged(3)
    loaded = SpatialMemory(VOXEL_M)
    loaded.load(disk.chunks.values())
    rng = np.random.default_rng(0)
    batch = PointBatch.uniform(
        rng.uniform(0.01, 1.2, (500, 3)).astype(np.float32), np.zeros((500, 3), np.uint8), priority=192, keyframe=2
    )
    a, b = memory.insert(batch), loaded.insert(batch)
    assert a == b
    assert memory.content_hash() == loaded.content_hash()


def test_going_back_to_a_moment_before_a_save_gives_its_content(paged: Paged) -> None:
    memory, _disk, _ = paged(3)
    moment, before = memory.snapshot(), memory.content_hash()
    memory.remove_box((0, 0, 0), (1, 1, 0.5))
    assert memory.content_hash() != before
    memory.restore(moment)
    assert memory.content_hash() == before


def test_a_staged_change_is_stale_only_if_its_chunk_changed_and_not_if_it_was_dropped(paged: Paged) -> None:
    from spatia.world.merge import stage_insert

    memory, _, _ = paged(30, 200_000)
    batch = PointBatch.uniform(np.full((1, 3), 0.2, np.float32), np.zeros((1, 3), np.uint8), priority=192, keyframe=2)
    snapshot = memory.snapshot()
    staged = stage_insert(snapshot.chunks, VOXEL_M, batch, revision=snapshot.revision + 1)
    for key in memory.chunks:
        memory.chunks[key]  # pushes out what it was computed from
    assert not memory.is_stale(staged)
    memory.apply(staged)
    assert memory.is_stale(staged)


def test_a_fork_of_a_paged_memory_stands_alone(paged: Paged) -> None:
    memory, _, _ = paged(4)
    fork = SpatialMemory(VOXEL_M)
    fork.restore(memory.snapshot())
    before = memory.content_hash()
    memory.close()
    assert fork.content_hash() == before
    assert fork.pager is None


def test_a_new_renderer_gets_everything_again(paged: Paged) -> None:
    _, _, pager = paged(10)
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    first = take_all(pager)
    pager.start_drawing(lambda change: None)
    assert set(take_all(pager)) == set(first)


def num_in_first_row(change: DrawChange) -> int:
    """Points of a block that belong to its chunks of smallest z."""
    assert isinstance(change.shown, Block)
    return int((change.shown.local_q8[:, 2] < 1 << 12).sum())


def test_a_changed_chunk_leaves_the_block_that_it_was_drawn_in(paged: Paged) -> None:
    memory, disk, pager = paged(60, 1_000_000)
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    key = (0, 0, 40)
    assert num_in_first_row(take_all(pager)[block_of(key)]) > 0
    memory.remove({key: np.ones(disk.chunks[key].num_points, np.bool_)})
    pager.look(at(0.3))
    shown = take_all(pager)
    assert shown[key].shown is None
    assert shown[block_of(key)].num_points > num_in_first_row(shown[block_of(key)]) == 0


def test_a_changed_chunk_goes_back_into_its_block_when_it_was_saved(paged: Paged) -> None:
    memory, _, pager = paged(60, 1_000_000)
    pager.start_drawing(lambda change: None)
    pager.look(at(0.0))
    key = (0, 0, 40)
    take_all(pager)
    point = np.array([[0.2, 0.2, 25.9]], np.float32)
    memory.insert(PointBatch.uniform(point, np.zeros((1, 3), np.uint8), priority=192, keyframe=2))
    changed = memory.chunks[key]
    pager.look(at(0.3))
    assert isinstance(take_all(pager)[key].shown, Chunk)
    memory.release({key: StoredChunk(key, changed.revision, b"saved", ChunkFacts.of(changed))})
    pager.look(at(0.0))
    shown = take_all(pager)
    assert shown[key].shown is None
    assert num_in_first_row(shown[block_of(key)]) > 0


def test_everything_is_drawn_before_a_chunk_is_read_beyond_the_nearest(paged: Paged) -> None:
    _, disk, pager = paged(40, 1_000_000)
    pager.start_drawing(lambda change: None)
    disk.may_read.clear()
    pager.look(at(-30.0))  # nothing is so near that it comes first
    while len(pager._queue) < 10:
        assert not pager.wait(0.05) or pager.num_ready >= 10
    assert disk.loads == []
    blocks = {change.key for _ in range(10) if (change := pager.take()) is not None}
    assert blocks == {block_of((0, 0, z)) for z in range(0, 40, 4)}


def test_a_block_is_left_out_once_all_its_chunks_are_drawn(paged: Paged) -> None:
    _, _, pager = paged(60, 1_000_000)
    pager.start_drawing(lambda change: None)
    pager.look(at(-20.0))
    assert isinstance(take_all(pager)[0, 0, 0, 4].shown, Block)
    pager.look(at(0.0))
    shown = take_all(pager)
    assert shown[0, 0, 0, 4].shown is None
    assert all(isinstance(shown[0, 0, z].shown, Chunk) for z in range(4))


def test_a_frame_that_never_ends_does_not_stop_reading(paged: Paged) -> None:
    _, disk, pager = paged(5)
    pager.look(at(0.0))  # and nothing says that it was drawn
    assert disk.is_reading.wait(WAIT_S)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="budget_bytes"):
        Pager(Disk([]), VOXEL_M, 0)


def test_a_fault_on_the_pager_s_thread_is_told_and_chunks_can_still_be_read(paged: Paged) -> None:
    memory, disk, pager = paged(5)

    def prepare(change: DrawChange) -> None:
        raise RuntimeError("out of order")

    pager.start_drawing(prepare)
    pager.look(at(0.0))
    assert pager.wait(WAIT_S)
    assert pager.status().failure == "RuntimeError: out of order"
    assert len(memory.points()) == sum(c.num_points for c in disk.chunks.values())
