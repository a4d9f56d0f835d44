"""Check and repair: every flipped bit and every cut is found, and every chunk that is whole comes back.

The long form (``SPATIA_SOAK=1``) spoils a thousand files, the short one some dozens.
"""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from spatia.saves.check import check_world, repair_world
from spatia.saves.errors import SaveError, WorldFileError, WorldLockedError, WorldVersionError
from spatia.saves.sealing import seal_file
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import assert_same_chunk, make_chunk, make_state
from spatia.world.chunks import Chunk

NUM_SPOILT = 1000 if os.environ.get("SPATIA_SOAK") else 40


def write_world(path: Path) -> WorldState:
    """A world of chunks of some pages, with history and gaps where old chunks were."""
    keys = [(i - 4, -i, 0) for i in range(16)]
    state = replace(make_state(), chunks={key: make_chunk(key, num_points=700) for key in keys})
    with WorldFile.create(path, state) as world:
        world.snapshot("first")
        for seed in (3, 4):
            changed = {key: make_chunk(key, revision=seed, num_points=700, seed=seed) for key in keys[:5]}
            state = replace(state, chunks={**state.chunks, **changed})
            world.save(state)
    return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, WorldState]:
    path = tmp_path_factory.mktemp("whole") / "home.spatia"
    state = write_world(path)
    return path.read_bytes(), state


def test_a_whole_world_has_no_damage(tmp_path: Path) -> None:
    state = write_world(tmp_path / "home.spatia")
    report = check_world(tmp_path / "home.spatia")
    assert report.damage == ()
    assert (report.num_chunks, report.num_keyframes, report.num_snapshots) == (len(state.chunks), 2, 1)
    assert repair_world(tmp_path / "home.spatia") is None


def test_an_open_world_has_no_damage(tmp_path: Path) -> None:
    with WorldFile.create(tmp_path / "home.spatia", make_state()) as world:
        world.save(make_state(5))
        assert check_world(tmp_path / "home.spatia").damage == ()


def test_checking_changes_nothing(tmp_path: Path, whole: tuple[bytes, WorldState]) -> None:
    path = tmp_path / "home.spatia"
    spoilt = bytearray(whole[0])
    spoilt[50_000] ^= 1
    path.write_bytes(spoilt)
    check_world(path)
    assert path.read_bytes() == bytes(spoilt)
    assert list(tmp_path.iterdir()) == [path]


def page_of(position: int) -> int:
    return position // 8192


def damaged_objects(data: bytes, position: int) -> set[tuple[int, int, int]]:
    """Chunks whose own bytes (row of ``objects`` and overflow pages) a position lies in."""
    hit = set()
    for key, spans in spans_of(data).items():
        if any(start <= position < end for start, end in spans):
            hit.add(key)
    return hit


_SPANS: dict[int, dict[tuple[int, int, int], list[tuple[int, int]]]] = {}


def spans_of(data: bytes) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Where the bytes of each chunk lie, by looking for its pieces: an oracle apart from the carver."""
    if id(data) not in _SPANS:
        import sqlite3
        import tempfile

        with tempfile.NamedTemporaryFile(suffix=".spatia") as file:
            file.write(data)
            file.flush()
            db = sqlite3.connect(file.name)
            query = "SELECT x, y, z, digest, data FROM chunks JOIN objects USING (digest)"
            found = {}
            for x, y, z, digest, blob in db.execute(query):
                start = next(at for at in positions(data, digest) if data[at + 16 : at + 16 + 64] == blob[:64])
                spans = [(start - 16, start + 16 + 64)]
                for i in range(0, len(blob) - 32, 32):  # every piece of 32 bytes lies whole in a page or across its end
                    at = data.find(blob[i : i + 32])
                    spans.append((at - 4, at + 40) if at >= 0 else (-1, -1))
                found[(x, y, z)] = spans
            db.close()
        _SPANS[id(data)] = found
    return _SPANS[id(data)]


def positions(data: bytes, piece: bytes) -> list[int]:
    found, at = [], data.find(piece)
    while at >= 0:
        found.append(at)
        at = data.find(piece, at + 1)
    return found


def chunks_after_repair(path: Path) -> dict[tuple[int, int, int], Chunk]:
    assert repair_world(path) is not None
    assert check_world(path).damage == ()
    with WorldFile.open(path) as world:
        state = world.load()
        assert not state.damage
    return dict(state.chunks)


@pytest.mark.parametrize("seed", range(NUM_SPOILT))
def test_a_flipped_bit_is_found_and_costs_no_more_than_its_chunk(
    tmp_path: Path, whole: tuple[bytes, WorldState], seed: int
) -> None:
    data, state = whole
    position = random.Random(seed).randrange(len(data))
    spoilt = bytearray(data)
    spoilt[position] ^= 1 << random.Random(~seed).randrange(8)
    path = tmp_path / "home.spatia"
    path.write_bytes(spoilt)
    assert check_world(path).damage
    back = chunks_after_repair(path)
    missing = set(state.chunks) - set(back)
    assert len(missing) <= 1
    if missing:
        assert page_of(position) in {page_of(a) for spans in spans_of(data)[next(iter(missing))] for a in spans}
    for key, chunk in back.items():
        assert_same_chunk(replace(chunk, revision=1), replace(state.chunks[key], revision=1))


@pytest.mark.parametrize("seed", range(NUM_SPOILT // 4))
def test_a_cut_is_found_and_whole_chunks_come_back(tmp_path: Path, whole: tuple[bytes, WorldState], seed: int) -> None:
    data, state = whole
    length = random.Random(seed).randrange(1, len(data))
    path = tmp_path / "home.spatia"
    path.write_bytes(data[:length])
    try:
        assert check_world(path).damage
        back = chunks_after_repair(path)
    except SaveError:
        if length > len(data) // 2:
            raise
        return  # not even the manifest is left
    for key, spans in spans_of(data).items():
        if max(end for _, end in spans) < length // 8192 * 8192:
            assert key in back
    for key, chunk in back.items():
        known = [c for c in (state.chunks.get(key), make_chunk(key, num_points=700)) if c is not None]
        assert any((c.rows == chunk.rows).all() for c in known)


def test_the_damaged_file_is_kept(tmp_path: Path, whole: tuple[bytes, WorldState]) -> None:
    path = tmp_path / "home.spatia"
    spoilt = bytearray(whole[0])
    spoilt[90_000] ^= 4
    path.write_bytes(spoilt)
    report = repair_world(path)
    assert report is not None
    assert report.kept_as.read_bytes() == bytes(spoilt)
    assert {p.name for p in tmp_path.iterdir()} == {"home.spatia", "home.damaged.spatia"}


def test_snapshots_and_branches_survive_a_repair(tmp_path: Path, whole: tuple[bytes, WorldState]) -> None:
    path = tmp_path / "home.spatia"
    spoilt = bytearray(whole[0])
    spoilt[-10] ^= 4  # in the seal
    path.write_bytes(spoilt)
    repair_world(path)
    with WorldFile.open(path) as world:
        assert [s.name for s in world.snapshots()] == ["first"]
        assert not world.load_snapshot("first").damage
        world.load()
        world.checkout("first")


@pytest.mark.parametrize("content", [b"x" * 30_000, b"\x89PNG\r\n" * 3000])
def test_what_is_no_world_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "home.spatia"
    path.write_bytes(content)
    for run in (check_world, repair_world):
        with pytest.raises(WorldFileError):
            run(path)
    assert path.read_bytes() == content


def test_a_newer_world_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "home.spatia"
    WorldFile.create(path, make_state()).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=9")
    db.close()
    seal_file(path)
    with pytest.raises(WorldVersionError):
        check_world(path)


def test_a_world_that_is_open_is_not_repaired(tmp_path: Path) -> None:
    with WorldFile.create(tmp_path / "home.spatia", make_state()), pytest.raises(WorldLockedError):
        repair_world(tmp_path / "home.spatia")
