"""Damaged world files: what is damaged is named, the rest opens, nothing crashes."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spatia.saves.errors import DamageError, SaveError, WorldDamagedError, WorldFileError
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import assert_same_chunk, make_chunk, make_state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.spatia"


def large_state(num_chunks: int = 12) -> WorldState:
    """Chunks of some pages each, so that damage hits parts."""
    keys = [(i - 4, -i, 0) for i in range(num_chunks)]
    return replace(make_state(), chunks={key: make_chunk(key, num_points=900) for key in keys})


def alter(path: Path, statement: str, *arguments: object) -> None:
    db = sqlite3.connect(path)
    db.execute(statement, arguments)
    db.commit()
    db.close()


CHUNK_AT_MINUS_4 = "digest = (SELECT digest FROM chunks WHERE x = -4)"
NAMED = " UNION ".join(
    ["SELECT digest FROM chunks", *(f"SELECT {c} FROM keyframes" for c in ("color", "depth", "moving"))]
)


def flip_blob(path: Path, table: str, column: str, where: str, position: int) -> None:
    db = sqlite3.connect(path)
    data = bytearray(db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()[0])
    data[position] ^= 0x10
    db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bytes(data),))
    db.commit()
    db.close()


def test_a_damaged_chunk_is_reported_and_the_rest_opens(path: Path) -> None:
    state = large_state()
    WorldFile.create(path, state).close()
    flip_blob(path, "objects", "data", CHUNK_AT_MINUS_4, 300)
    with WorldFile.open(path) as world:
        back = world.load()
    assert [d.what for d in back.damage] == ["chunk -4 0 0"]
    assert "checksum" in back.damage[0].reason
    assert set(back.chunks) == set(state.chunks) - {(-4, 0, 0)}
    assert len(back.keyframes) == 2


def test_a_damaged_chunk_is_not_removed_by_the_next_save(path: Path) -> None:
    WorldFile.create(path, large_state()).close()
    flip_blob(path, "objects", "data", CHUNK_AT_MINUS_4, 300)
    with WorldFile.open(path) as world:
        world.save(world.load())
        with pytest.raises(DamageError, match="chunk -4 0 0"):
            world.read_chunk((-4, 0, 0))


def test_a_damaged_chunk_may_be_replaced(path: Path) -> None:
    state = large_state()
    WorldFile.create(path, state).close()
    flip_blob(path, "objects", "data", CHUNK_AT_MINUS_4, 300)
    with WorldFile.open(path) as world:
        world.load()
        world.save(state)
        back = world.read_chunk((-4, 0, 0))
    assert back is not None
    assert_same_chunk(back, state.chunks[(-4, 0, 0)])


def test_a_chunk_in_anothers_place_is_reported(path: Path) -> None:
    WorldFile.create(path, large_state()).close()
    alter(path, "UPDATE chunks SET x = 77 WHERE x = -4")
    with WorldFile.open(path, read_only=True) as world:
        assert [d.what for d in world.load().damage] == ["chunk 77 0 0"]


@pytest.mark.parametrize(
    ("table", "column", "where", "what"),
    [
        ("facts", "data", "name = 'state'", "state"),
        ("facts", "data", "name = 'path'", "path"),
        ("objects", "data", f"digest NOT IN ({NAMED}) AND length(data) > 4096", "state"),
        ("journal", "data", "seq = 1", "journal entry 1"),
        ("objects", "data", "digest = (SELECT color FROM keyframes WHERE id = 1)", "keyframe 1"),
        ("objects", "data", "digest = (SELECT depth FROM keyframes WHERE id = 2)", "keyframe 2"),
        ("objects", "data", "digest = (SELECT moving FROM keyframes WHERE id = 1)", "keyframe 1"),
        ("keyframes", "meta", "id = 2", "keyframe 2"),
    ],
)
def test_each_damaged_part_is_named_and_the_chunks_open(
    path: Path, table: str, column: str, where: str, what: str
) -> None:
    tail = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
    state = replace(make_state(), state={"tail": tail})
    WorldFile.create(path, state).close()
    flip_blob(path, table, column, where, 20)
    with WorldFile.open(path, read_only=True) as world:
        back = world.load()
    assert [d.what for d in back.damage] == [what]
    assert set(back.chunks) == set(state.chunks)


def test_a_damaged_manifest_is_an_error_that_says_so(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    flip_blob(path, "facts", "data", "name = 'manifest'", 20)
    with WorldFile.open(path, read_only=True) as world, pytest.raises(WorldDamagedError, match="manifest"):
        world.load()


@pytest.mark.parametrize("value", [None, 5, "text", 1e300])
@pytest.mark.parametrize(("table", "column"), [("facts", "data"), ("keyframes", "color"), ("journal", "data")])
def test_columns_of_another_type_are_damage(path: Path, table: str, column: str, value: object) -> None:
    WorldFile.create(path, make_state()).close()
    db = sqlite3.connect(path)
    try:
        db.execute(f"UPDATE {table} SET {column} = ?", (value,))
        db.commit()
    except sqlite3.IntegrityError:
        return  # NOT NULL holds
    finally:
        db.close()
    with WorldFile.open(path, read_only=True) as world:
        if table == "facts":
            with pytest.raises(WorldFileError):
                world.load()
        else:
            assert world.load().damage


def test_keys_of_another_type_are_damage(path: Path) -> None:
    WorldFile.create(path, make_state()).close()
    alter(path, "UPDATE chunks SET x = 'east' WHERE z = 0")
    with WorldFile.open(path, read_only=True) as world:
        assert world.load().damage


def open_whatever_it_is(path: Path) -> WorldState | None:
    """Open read-only: a state, maybe with damage, or None after a clear error."""
    try:
        with WorldFile.open(path, read_only=True) as world:
            return world.load()
    except SaveError as error:
        message = str(error)
    assert 1 <= len(message.splitlines()) <= 3
    return None


def test_a_file_cut_at_every_page_opens_in_part_or_says_why(path: Path) -> None:
    state = large_state()
    WorldFile.create(path, state).close()
    data = path.read_bytes()
    kept = []
    for length in range(0, len(data), 4096):
        path.write_bytes(data[:length])
        back = open_whatever_it_is(path)
        kept.append(0 if back is None else len(back.chunks))
        if back is not None:
            assert back.damage or set(back.chunks) == set(state.chunks), length  # or only the seal is cut off
            for key, chunk in back.chunks.items():
                assert_same_chunk(chunk, state.chunks[key])
    assert max(kept) >= len(state.chunks) - 2  # nearly whole at the end


def test_a_cut_file_is_not_opened_for_writing(path: Path) -> None:
    WorldFile.create(path, large_state()).close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 4096 * 4096])
    with pytest.raises(WorldDamagedError, match="read-only"):
        WorldFile.open(path)


def zero(data: bytearray, position: int, length: int) -> None:
    data[position : position + length] = bytes(len(data[position : position + length]))


def noise(data: bytearray, position: int, length: int) -> None:
    for i in range(position, min(position + length, len(data))):
        data[i] ^= 0x5A


@given(st.floats(0, 1), st.sampled_from([1, 16, 512, 4096]), st.sampled_from([zero, noise]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_never_gives_wrong_chunks(
    tmp_path: Path, where: float, length: int, spoil: Callable[[bytearray, int, int], None]
) -> None:
    path, whole = tmp_path / "spoilt.spatia", tmp_path / "whole.spatia"
    state = large_state(6)
    if not whole.exists():
        WorldFile.create(whole, state).close()
    data = bytearray(whole.read_bytes())
    spoil(data, int(where * (len(data) - 1)), length)
    path.write_bytes(bytes(data))
    back = open_whatever_it_is(path)
    if back is not None:
        for key, chunk in back.chunks.items():
            assert_same_chunk(chunk, state.chunks[key])


@pytest.mark.parametrize("read_only", [True, False])
def test_a_table_whose_name_is_no_text_is_refused(path: Path, read_only: bool) -> None:
    WorldFile.create(path, make_state()).close()
    data, name = path.read_bytes(), b"CREATE TABLE journal"
    assert name in data
    path.write_bytes(data.replace(name, b"CREATE TABLE\xec\x8c\xe3\xfb\xc1D7\xed"))
    with pytest.raises(WorldFileError):
        WorldFile.open(path, read_only=read_only)
