"""Worlds opened by reference: what is in their file stays whole, whatever is in memory."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spatia
from spatia.renderer.conditioning import render_scene_video
from spatia.runtime.persistence import open_world, state_of
from spatia.saves import writing
from spatia.saves.check import check_world, repair_world
from spatia.saves.coarse_codec import decode_coarse, encode_coarse
from spatia.saves.codec import ChunkDecodeError, encode_chunk
from spatia.saves.errors import WorldWriteError
from spatia.saves.exports import export_world
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.saves.summaries import encode_whole, pack_facts, unpack_facts
from spatia.world.camera import Pinhole
from spatia.world.coarse import coarsen, far_words
from spatia.world.paged_views import conditioning_view
from spatia.world.paging_plan import Viewpoint
from spatia.world.points import PointBatch
from spatia.world.stored import ChunkFacts
from spatia.world.transforms import look

from .worlds import assert_same_chunk, make_chunk

SMALL = 1_000_000
KEYS = [(x, 0, 0) for x in range(-3, 5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    chunks = {key: make_chunk(key, num_points=3000) for key in KEYS}
    path = tmp_path / "home.spatia"
    WorldFile.create(path, WorldState(chunks, (), Manifest("home", 0.01), {})).close()
    return path


@pytest.fixture
def world(path: Path) -> Iterator[spatia.World]:
    world = open_world(path, budget_bytes=SMALL)
    yield world
    world.close()


def one_point(x: float = 0.3) -> PointBatch:
    return PointBatch.uniform(
        np.array([[x, 0.3, 0.3]], np.float32), np.zeros((1, 3), np.uint8), priority=255, keyframe=9
    )


def damage_object(path: Path, key: tuple[int, int, int]) -> None:
    db = sqlite3.connect(path)
    digest = db.execute("SELECT digest FROM chunks WHERE x = ? AND y = ? AND z = ?", key).fetchone()[0]
    data = bytearray(db.execute("SELECT data FROM objects WHERE digest = ?", (digest,)).fetchone()[0])
    data[len(data) // 2] ^= 0xFF
    db.execute("UPDATE objects SET data = ? WHERE digest = ?", (bytes(data), digest))
    db.commit()
    db.close()


def test_a_paged_world_has_the_hash_and_the_chunks_of_the_loaded_one(path: Path, world: spatia.World) -> None:
    loaded = open_world(path, read_only=True)
    assert world.content_hash() == loaded.content_hash()
    for key in KEYS:
        assert_same_chunk(world.memory.chunks[key], loaded.memory.chunks[key])


def test_saving_while_chunks_are_absent_keeps_them(path: Path, world: spatia.World) -> None:
    world.memory.insert(one_point())
    before = world.content_hash()
    world.save(path)
    world.close()
    again = open_world(path, read_only=True)
    assert set(again.memory.chunks) == set(KEYS)
    assert again.content_hash() == before


def test_saving_a_change_writes_its_chunk_alone(world: spatia.World) -> None:
    world.memory.insert(one_point())
    assert world.file is not None
    report = world.file.save(state_of(world))
    assert (report.chunks, report.removed_chunks) == (1, 0)


def test_saving_elsewhere_writes_the_complete_world(world: spatia.World, tmp_path: Path) -> None:
    world.memory.insert(one_point())
    world.save(tmp_path / "copy.spatia")
    assert open_world(tmp_path / "copy.spatia", read_only=True).content_hash() == world.content_hash()


def test_a_removed_chunk_is_removed_from_the_file(path: Path, world: spatia.World) -> None:
    world.memory.remove({KEYS[0]: np.ones(3000, np.bool_)})
    world.save(path)
    world.close()
    assert set(open_world(path, read_only=True).memory.chunks) == set(KEYS[1:])


def test_a_saved_chunk_is_released_and_read_again(path: Path, world: spatia.World) -> None:
    world.memory.insert(one_point())
    changed, before = world.memory.chunks[0, 0, 0], world.content_hash()
    assert world.file is not None
    report = world.file.save(state_of(world))
    assert world.memory.release(report.stored) == 1
    assert world.memory.snapshot().held_bytes == 0
    assert world.content_hash() == before
    assert_same_chunk(world.file.load_stored(report.stored[0, 0, 0]), changed)


def test_undo_finds_what_a_save_replaced(path: Path, world: spatia.World) -> None:
    moment, before = world.memory.snapshot(), world.content_hash()
    world.memory.insert(one_point())
    world.save(path)
    world.memory.restore(moment)
    assert world.content_hash() == before
    world.save(path)
    assert world.memory.chunks[0, 0, 0].num_points == 3000
    world.close()
    assert open_world(path, read_only=True).content_hash() == before


def test_what_nobody_can_go_back_to_is_deleted(path: Path, world: spatia.World) -> None:
    old = world.memory.snapshot().chunks
    address = old.entries[0, 0, 0].address  # type: ignore[attr-defined]
    del old
    world.memory.insert(one_point())
    gc.collect()
    world.memory.snapshot()
    world.save(path)
    assert world.file is not None
    found = world.file.object_bytes(address)
    world.close()
    assert found is None or address in sqlite_digests(path)


def sqlite_digests(path: Path) -> set[bytes]:
    db = sqlite3.connect(path)
    found = {digest for (digest,) in db.execute("SELECT digest FROM objects")}
    db.close()
    return found


def test_a_damaged_chunk_is_reported_when_it_is_read_and_left_in_the_file(path: Path) -> None:
    damage_object(path, KEYS[2])
    world = open_world(path, budget_bytes=SMALL)
    try:
        assert len(world.memory.points()) == 3000 * (len(KEYS) - 1)
        assert world.memory.pager is not None
        assert list(world.memory.pager.damage) == [KEYS[2]]
        world.memory.insert(one_point(2.3))
        world.save(path)
    finally:
        world.close()
    assert any("chunk" in d.what for d in check_world(path).damage)


def test_facts_that_are_damaged_are_made_anew(path: Path) -> None:
    before = open_world(path, read_only=True).content_hash()
    db = sqlite3.connect(path)
    db.execute("UPDATE summaries SET facts = zeroblob(60)")
    db.execute("DELETE FROM coarse")
    db.commit()
    db.close()
    world = open_world(path, read_only=True, budget_bytes=SMALL)
    assert world.content_hash() == before
    stored = world.memory.chunks.entries[KEYS[0]]  # type: ignore[attr-defined]
    assert world.file is not None
    assert world.file.load_coarse(stored).num_points == coarsen(world.memory.chunks[KEYS[0]]).num_points
    world.close()


def as_format_3(path: Path) -> None:
    """Make a world file one of format 3: facts without far levels."""
    db = sqlite3.connect(path)
    for digest, data in db.execute("SELECT digest, facts FROM summaries").fetchall():
        facts = replace(unpack_facts(data, digest), far=None)
        db.execute("UPDATE summaries SET facts = ? WHERE digest = ?", (pack_facts(facts, digest), digest))
    assert db.execute("SELECT max(length(facts)) FROM summaries").fetchone() == (52,)
    db.execute("PRAGMA user_version=3")
    db.commit()
    db.close()


def version_of(path: Path) -> int:
    db = sqlite3.connect(path)
    found = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    return int(found)


def test_a_world_of_format_3_is_read_and_drawn_and_becomes_one_of_format_4(path: Path) -> None:
    whole = open_world(path, read_only=True)
    as_format_3(path)
    world = open_world(path, read_only=True, budget_bytes=SMALL)
    assert world.content_hash() == whole.content_hash()
    pager = world.memory.pager
    assert pager is not None
    pager.start_drawing(lambda change: None)
    pager.look(Viewpoint(look(np.array([0.0, 0.3, -60.0]), 0.0, 0.0), Pinhole.from_fov(160, 120, 1.2)))
    assert pager.wait(20)
    assert pager.status().far_points == sum(len(far_words(c)) for c in whole.memory.chunks.values())
    world.close()
    assert version_of(path) == 3
    open_world(path, budget_bytes=SMALL).close()
    assert version_of(path) == 4


def test_conditioning_of_a_paged_world_is_that_of_the_whole_one_bit_for_bit(path: Path, world: spatia.World) -> None:
    pager, camera = world.memory.pager, Pinhole.from_fov(48, 32, 1.4)
    assert pager is not None
    poses = np.stack([look(np.array([x, 0.3, -4.0]), yaw, 0.0) for x, yaw in ((0.5, 0.0), (0.0, 0.4), (1.0, -0.3))])
    pager.start_drawing(lambda change: None)
    pager.look(Viewpoint(look(np.array([0.5, 0.3, -60.0]), 0.0, 0.0), camera))
    assert pager.wait(20)
    assert pager.status().far_points + pager.status().coarse_points > 0  # part of it is drawn coarser
    whole = open_world(path, read_only=True)
    videos = []
    for memory in (world.memory, whole.memory):
        points = conditioning_view(memory.snapshot(), camera, poses).points()
        videos.append(render_scene_video(points.positions_world, points.colors, poses, camera))
    assert videos[0].coverage.max() > 200
    for name in ("color", "coverage", "nearest_depth"):
        assert np.array_equal(getattr(videos[0], name), getattr(videos[1], name)), name


@pytest.mark.parametrize("suffix", [".ply", ".laz", ".glb"])
def test_an_export_of_a_paged_world_has_every_chunk_in_full(
    path: Path, world: spatia.World, tmp_path: Path, suffix: str
) -> None:
    world.memory.insert(one_point())  # a changed chunk is not on the disk
    whole = open_world(path, read_only=True)
    whole.memory.insert(one_point())
    for name, memory in (("paged", world.memory), ("whole", whole.memory)):
        export_world(tmp_path / f"{name}{suffix}", memory.snapshot())
    assert (tmp_path / f"paged{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_no_change_is_lost_whatever_is_evicted_saved_or_refused(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    paged, whole = open_world(path, budget_bytes=200_000), open_world(path, read_only=True)
    assert paged.file is not None
    saved = whole.content_hash()
    for _ in range(25):
        choice = rng.integers(6)
        if choice < 2:
            n = int(rng.integers(1, 40))
            points = rng.uniform([-2.5, 0, 0], [3.4, 0.7, 0.7], (n, 3)).astype(np.float32)
            batch = PointBatch.uniform(points, rng.integers(0, 255, (n, 3)).astype(np.uint8), priority=255, keyframe=9)
            paged.memory.insert(batch)
            whole.memory.insert(batch)
        elif choice == 2:
            low = rng.uniform([-2.5, 0, 0], [3, 0.5, 0.5])
            paged.memory.remove_box(low, low + 0.2)
            whole.memory.remove_box(low, low + 0.2)
        elif choice == 3:  # pushes out what may be pushed out
            for key in rng.permutation(np.array(list(paged.memory.chunks))).tolist():
                paged.memory.chunks[tuple(key)]
        elif choice == 4:
            paged.memory.release(paged.file.save(state_of(paged)).stored)
            saved = paged.content_hash()
        else:
            with monkeypatch.context() as failing:  # the disk refuses in the middle of a save
                failing.setattr(writing, "put_beside", refuse)
                with suppress(WorldWriteError):
                    paged.memory.release(paged.file.save(state_of(paged)).stored)
                    saved = paged.content_hash()  # nothing was left to be written
        assert paged.content_hash() == whole.content_hash()
    assert np.array_equal(paged.memory.points().positions_world, whole.memory.points().positions_world)
    paged.close()  # as a program that is killed would leave it: without saving
    assert open_world(path, read_only=True).content_hash() == saved


def refuse(*_: object) -> int:
    raise sqlite3.OperationalError("disk I/O error")


def test_branches_and_checkouts_of_a_paged_world_are_complete(path: Path, world: spatia.World) -> None:
    before = world.content_hash()
    world.snapshot("start")
    world.memory.insert(one_point())
    changed = world.content_hash()
    world.branch("other")
    world.checkout("start")
    assert world.content_hash() == before
    world.checkout("other")
    assert world.content_hash() == changed
    assert world.diff("start", "now").added == 1


def test_cleaning_up_keeps_what_is_held_by_reference(path: Path, world: spatia.World) -> None:
    before = world.content_hash()
    world.gc()
    assert world.content_hash() == before
    assert len(world.memory.points()) == 3000 * len(KEYS)
    assert check_world(path).damage == ()


def test_a_repaired_world_has_its_facts(path: Path) -> None:
    damage_object(path, KEYS[1])
    repair_world(path)
    db = sqlite3.connect(path)
    missing = "SELECT count(*) FROM chunks LEFT JOIN summaries USING (digest) WHERE facts IS NULL"
    assert db.execute(missing).fetchone() == (0,)
    db.close()


def test_the_coarser_level_comes_back_as_it_was() -> None:
    coarse = coarsen(make_chunk((1, -2, 3), num_points=5000))
    assert_same_chunk(decode_coarse(encode_coarse(coarse), coarse.revision), coarse)


def test_every_flipped_bit_of_a_coarser_level_is_noticed() -> None:
    data = encode_coarse(coarsen(make_chunk((1, -2, 3), num_points=300)))
    for bit in range(0, 8 * len(data), 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChunkDecodeError):
            decode_coarse(bytes(damaged))


def test_a_cut_off_coarser_level_is_refused() -> None:
    data = encode_coarse(coarsen(make_chunk((1, -2, 3), num_points=300)))
    for length in range(0, len(data), 11):
        with pytest.raises(ChunkDecodeError):
            decode_coarse(data[:length])


def test_facts_come_back_and_belong_to_their_object() -> None:
    encoded = encode_whole([make_chunk((0, 0, 0))])[0]
    again = unpack_facts(pack_facts(encoded.facts, encoded.digest), encoded.digest)
    names = ("num_points", "class_counts", "low_q8", "high_q8", "spacing", "content", "far")
    assert [getattr(again, n) for n in names] == [getattr(encoded.facts, n) for n in names]
    with pytest.raises(ValueError, match="checksum"):
        unpack_facts(pack_facts(encoded.facts, encoded.digest), bytes(16))


def test_facts_are_those_of_the_chunk() -> None:
    chunk = make_chunk((2, 0, -1), num_points=500)
    facts, local = ChunkFacts.of(chunk), chunk.local_q8()
    assert facts.num_points == 500
    assert sum(facts.class_counts) == 500
    assert (facts.low_q8, facts.high_q8) == (tuple(local.min(0)), tuple(local.max(0)))
    assert len(encode_chunk(chunk)) > 20 * len(facts.content)
