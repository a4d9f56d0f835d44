"""The world file: what is saved comes back, and only what changed is written."""

import hashlib
import multiprocessing
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatia.saves.errors import (
    WorldFileError,
    WorldLockedError,
    WorldVersionError,
    WorldWriteError,
)
from spatia.saves.journal import JournalEntry
from spatia.saves.sealing import check_seal
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import (
    assert_same_chunk,
    assert_same_state,
    frozen,
    make_chunk,
    make_keyframe,
    make_state,
)
from spatia.world.points import PointClass


def reopened(path: Path) -> WorldState:
    with WorldFile.open(path, read_only=True) as world:
        return world.load()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.spatia"


def test_a_saved_world_comes_back(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path) as world:
        world.save(state)
    assert_same_state(reopened(path), state)


def test_a_world_created_with_a_state_holds_it(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    assert_same_state(reopened(path), state)


def test_a_closed_world_is_one_file(path: Path) -> None:
    with WorldFile.create(path) as world:
        world.save(make_state())
        assert len(list(path.parent.iterdir())) > 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_made_for_a_new_world(tmp_path: Path) -> None:
    path = tmp_path / "walk" / "garage" / "world.spatia"
    WorldFile.create(path, make_state()).close()
    assert path.is_file()


def test_an_observed_keyframe_keeps_every_pixel_and_depth(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    back, kept = reopened(path).keyframes[0], state.keyframes[0]
    assert np.array_equal(back.color, kept.color)
    assert np.array_equal(back.depth_m, kept.depth_m)
    assert np.array_equal(back.moving, kept.moving)
    assert np.array_equal(back.world_T_camera, kept.world_T_camera)
    assert (back.pinhole, back.prompt, back.tick, back.rank) == (kept.pinhole, kept.prompt, kept.tick, kept.rank)


def test_an_invented_keyframe_keeps_its_picture_to_35_db(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    back, kept = reopened(path).keyframes[1], state.keyframes[1]
    assert back.point_class == PointClass.INVENTED
    error = np.mean((back.color.astype(float) - kept.color) ** 2)
    assert 10 * np.log10(255**2 / error) > 35


def test_saving_twice_writes_nothing_the_second_time(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path) as world:
        world.save(state)
        report = world.save(state)
    assert report.num_bytes == 0


def test_a_created_state_is_not_written_again(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path, state) as world:
        assert world.save(state).num_bytes == 0


def test_a_loaded_state_is_not_written_again(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    with WorldFile.open(path) as world:
        assert world.save(world.load()).num_bytes == 0


def test_only_a_changed_chunk_is_written(path: Path) -> None:
    state = make_state(5)
    key = next(iter(state.chunks))
    changed = replace(state, chunks={**state.chunks, key: make_chunk(key, revision=2, seed=9)})
    with WorldFile.create(path, state) as world:
        report = world.save(changed)
    assert (report.chunks, report.keyframes, report.journal) == (1, 0, 0)
    assert_same_state(reopened(path), changed)


def test_another_memorys_chunk_of_the_same_revision_is_written(path: Path) -> None:
    state = make_state(2)
    other = replace(state, chunks={key: make_chunk(key, seed=5) for key in state.chunks})
    with WorldFile.create(path, state) as world:
        world.save(other)
    assert_same_state(reopened(path), other)


def test_a_removed_chunk_is_removed(path: Path) -> None:
    state = make_state(4)
    fewer = replace(state, chunks=dict(list(state.chunks.items())[1:]))
    with WorldFile.create(path, state) as world:
        assert world.save(fewer).removed_chunks == 1
    assert_same_state(reopened(path), fewer)


def test_a_state_that_is_still_being_read_removes_nothing(path: Path) -> None:
    state = make_state(4)
    part = replace(state, chunks=dict(list(state.chunks.items())[:1]), keyframes=(), is_complete=False)
    with WorldFile.create(path, state) as world:
        world.save(part)
    back = reopened(path)
    assert set(back.chunks) == set(state.chunks)
    assert len(back.keyframes) == len(state.keyframes)


def test_chunks_that_were_never_read_are_not_removed(path: Path) -> None:
    state = make_state(4)
    WorldFile.create(path, state).close()
    with WorldFile.open(path) as world:
        key = next(iter(state.chunks))
        world.save(replace(state, chunks={key: state.chunks[key]}))
    assert set(reopened(path).chunks) == set(state.chunks)


def test_a_removed_keyframe_is_removed(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path, state) as world:
        world.save(replace(state, keyframes=state.keyframes[1:]))
    assert [k.keyframe_id for k in reopened(path).keyframes] == [2]


def test_a_refined_pose_writes_no_picture(path: Path) -> None:
    state = make_state()
    pose = np.eye(4)
    pose[0, 3] = 0.25
    refined = replace(state.keyframes[0], world_T_camera=pose)
    with WorldFile.create(path, state) as world:
        report = world.save(replace(state, keyframes=(refined, *state.keyframes[1:])))
    assert 0 < report.num_bytes < 1000
    back = reopened(path).keyframes[0]
    assert back.world_T_camera[0, 3] == 0.25
    assert np.array_equal(back.color, refined.color)


def test_only_new_journal_entries_are_written(path: Path) -> None:
    state = make_state()
    longer = replace(state, journal=(*state.journal, JournalEntry("undo", 12, {})))
    with WorldFile.create(path, state) as world:
        assert world.save(longer).journal == 1
    assert reopened(path).journal == longer.journal


def test_a_journal_goes_on_after_opening(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    with WorldFile.open(path) as world:  # saved without reading the journal first
        longer = replace(state, journal=(*state.journal, JournalEntry("undo", 12, {})))
        assert world.save(longer).journal == 1
    assert reopened(path).journal == longer.journal


def test_a_journal_that_took_another_turn_is_replaced_from_there(path: Path) -> None:
    state = make_state()
    turned = replace(state, journal=(state.journal[0], JournalEntry("edit", 4, {"a": 1})))
    with WorldFile.create(path, state) as world:
        world.save(turned)
    assert reopened(path).journal == turned.journal


def test_an_unchanged_tail_is_not_written_again(path: Path) -> None:
    tail = frozen(np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8))
    state = replace(make_state(), state={"tails": [tail], "tick": 1})
    with WorldFile.create(path, state) as world:
        report = world.save(replace(state, state={"tails": [tail], "tick": 2}))
    assert report.num_bytes < 1000
    assert np.array_equal(reopened(path).state["tails"][0], tail)


def test_a_dropped_tail_leaves_the_file(path: Path) -> None:
    tail = frozen(np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8))
    state = replace(make_state(), state={"tails": [tail]})
    with WorldFile.create(path, state) as world:
        world.save(replace(state, state={"tails": []}))
    db = sqlite3.connect(path)
    pictures = {d for row in db.execute("SELECT color, depth, moving FROM keyframes") for d in row}
    chunks = {d for (d,) in db.execute("SELECT digest FROM chunks")}
    assert {d for (d,) in db.execute("SELECT digest FROM objects")} - pictures - chunks == {
        hashlib.blake2b(d, digest_size=16).digest()
        for (d,) in db.execute("SELECT data FROM facts WHERE name = 'manifest'")
    }
    db.close()


def test_the_nearest_chunk_comes_first(path: Path) -> None:
    keys = [(0, 0, 0), (5, 0, 0), (-3, 0, 0), (-1, 0, 0)]
    state = replace(make_state(), chunks={key: make_chunk(key) for key in keys})
    WorldFile.create(path, state).close()
    with WorldFile.open(path, read_only=True) as world:
        assert world.chunk_keys(near=(-2.0, 0.3, 0.3)) == [(-3, 0, 0), (-1, 0, 0), (0, 0, 0), (5, 0, 0)]


def test_a_single_chunk_is_read_by_its_key(path: Path) -> None:
    state = make_state(3)
    WorldFile.create(path, state).close()
    with WorldFile.open(path, read_only=True) as world:
        for key, chunk in state.chunks.items():
            back = world.read_chunk(key)
            assert back is not None
            assert_same_chunk(back, chunk)
        assert world.read_chunk((900, 0, 0)) is None


def test_points_are_counted_without_reading_chunks(path: Path) -> None:
    state = make_state(3)
    WorldFile.create(path, state).close()
    with WorldFile.open(path, read_only=True) as world:
        assert world.num_points == sum(c.num_points for c in state.chunks.values())


# Who may open and write


def test_a_second_writer_is_told_so(path: Path) -> None:
    with WorldFile.create(path, make_state()), pytest.raises(WorldLockedError, match="in use"):
        WorldFile.open(path)
    WorldFile.open(path).close()


def test_a_reader_sees_the_last_commit_of_a_writer(path: Path) -> None:
    state = make_state()
    longer = replace(state, journal=(*state.journal, JournalEntry("undo", 12, {})))
    with WorldFile.create(path, state) as writer, WorldFile.open(path, read_only=True) as reader:
        writer.save(longer)
        assert reader.load().journal == longer.journal
        with pytest.raises(WorldWriteError, match="read-only"):
            reader.save(state)


def _open_and_die(path: Path) -> None:
    import os
    import signal

    world = WorldFile.open(path)
    world.save(replace(make_state(), journal=()))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_blocks_nobody_and_leaves_its_save(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    process = multiprocessing.get_context("spawn").Process(target=_open_and_die, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    assert reopened(path).journal == ()
    WorldFile.open(path).close()
    assert list(path.parent.iterdir()) == [path]


def test_a_closed_world_refuses_to_save(path: Path) -> None:
    world = WorldFile.create(path, make_state())
    world.close()
    world.close()
    with pytest.raises(WorldWriteError, match="closed"):
        world.save(make_state())


def test_an_existing_world_is_not_replaced_unasked(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    with pytest.raises(WorldFileError, match="exists"):
        WorldFile.create(path)
    assert_same_state(reopened(path), make_state())


def test_an_existing_world_is_replaced_when_asked(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    WorldFile.create(path, make_state(seed=3), replace=True).close()
    assert_same_state(reopened(path), make_state(seed=3))


def test_a_file_of_another_kind_is_never_replaced(path: Path) -> None:
    path.write_text("my diary")
    with pytest.raises(WorldFileError, match="another kind"):
        WorldFile.create(path, make_state(), replace=True)
    assert path.read_text() == "my diary"


def test_another_programs_database_is_never_replaced(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (a)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(WorldFileError, match="another program"):
        WorldFile.create(path, make_state(), replace=True)
    assert path.read_bytes() == before


def test_a_log_left_by_a_deleted_world_does_not_reach_the_new_one(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(b"stale" * 1000)
    WorldFile.create(path, make_state()).close()
    assert_same_state(reopened(path), make_state())


def test_frozen_reading_changes_no_byte(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    before = path.read_bytes()
    reopened(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# What is no world


def lines_of(error: BaseException) -> list[str]:
    return str(error).splitlines()


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0" * 100, b"SQLite format 3\0", b"\0" * 8192])
@pytest.mark.parametrize("read_only", [True, False])
def test_foreign_and_empty_files_are_refused_in_three_lines(path: Path, content: bytes, read_only: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(WorldFileError) as caught:
        WorldFile.open(path, read_only=read_only)
    assert len(lines_of(caught.value)) <= 3
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(WorldFileError, match="no such file"):
        WorldFile.open(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldFileError, match="a folder"):
        WorldFile.open(tmp_path)


def set_pragma(path: Path, pragma: str) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {pragma}")
    db.close()


def test_a_newer_format_is_refused_with_advice(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    set_pragma(path, "user_version=7")
    with pytest.raises(WorldVersionError, match=r"format 4\ngot format 7\nupdate"):
        WorldFile.open(path)


def test_a_format_before_the_first_is_refused(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    set_pragma(path, "user_version=0")
    with pytest.raises(WorldVersionError, match="got format 0"):
        WorldFile.open(path, read_only=True)


def test_a_database_with_a_trigger_added_is_refused(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER t AFTER INSERT ON chunks BEGIN DELETE FROM chunks; END")
    db.commit()
    db.close()
    with pytest.raises(WorldFileError, match="other tables"):
        WorldFile.open(path)


def test_a_world_without_content_says_so(path: Path) -> None:
    with WorldFile.create(path) as world, pytest.raises(WorldFileError, match="without content"):
        world.load()


# Faults of the disk


def test_a_full_disk_is_reported_and_loses_nothing(path: Path) -> None:
    state = make_state(2)
    larger = replace(state, chunks={(i, 0, 0): make_chunk((i, 0, 0), num_points=3000) for i in range(10)})
    with WorldFile.create(path, state) as world:
        pages = world._writer.execute("PRAGMA page_count").fetchone()[0]
        world._writer.execute(f"PRAGMA max_page_count={pages + 8}")
        with pytest.raises(WorldWriteError, match="full"):
            world.save(larger)
        assert_same_state(world.load(), state)
        world._writer.execute("PRAGMA max_page_count=1000000")
        world.save(larger)
    assert_same_state(reopened(path), larger)


def test_a_value_that_cannot_be_saved_changes_nothing(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path, state) as world:
        with pytest.raises(TypeError, match="plain values"):
            world.save(replace(state, chunks={}, state={"a": object()}))
        assert world.save(state).num_bytes == 0
    assert_same_state(reopened(path), state)


def test_keyframes_may_lack_depth_and_mask(path: Path) -> None:
    bare = replace(make_keyframe(4), depth_m=None, moving=None)
    WorldFile.create(path, replace(make_state(), keyframes=(bare,))).close()
    back = reopened(path).keyframes[0]
    assert back.depth_m is None
    assert back.moving is None


def test_a_single_keyframe_is_read_by_its_identity(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    with WorldFile.open(path, read_only=True) as world:
        assert world.keyframe_ids() == [1, 2]
        frame = world.read_keyframe(1)
        assert frame is not None
        assert np.array_equal(frame.color, state.keyframes[0].color)
        assert world.read_keyframe(3) is None


HALF_A_SWITCH = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=1")
db.execute("BEGIN IMMEDIATE")
for i in range(200):
    db.execute("INSERT INTO journal (data) VALUES (zeroblob(9000))")
os._exit(0)
"""


def test_a_rollback_that_a_killed_program_left_is_finished_by_a_reader(path: Path) -> None:
    state = make_state()
    WorldFile.create(path, state).close()
    subprocess.run([sys.executable, "-c", HALF_A_SWITCH, str(path)], check=True)
    journal = path.with_name(path.name + "-journal")
    assert journal.exists()
    assert_same_state(reopened(path), state)
    assert not journal.exists()
    assert check_seal(path).is_sealed
