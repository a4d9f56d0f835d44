"""The disk refuses in the middle of a write: what was saved stays, the error says so, and saving works again later.

A limit on the size of files makes writes fail after any number of bytes, short ones too, in every part of a save. The
long form (``SPATIA_SOAK=1``) tries some hundred limits.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from spatia.saves.check import check_world
from spatia.saves.errors import SaveError, WorldWriteError
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import assert_same_state, make_chunk, make_state

resource = pytest.importorskip("resource", reason="limits on file sizes need a POSIX system")

NUM_LIMITS = 300 if os.environ.get("SPATIA_SOAK") else 12


@contextmanager
def files_limited_to(num_bytes: int) -> Iterator[None]:
    """Writes beyond so many bytes of any file fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def moment(number: int) -> WorldState:
    chunks = {(i, 0, 0): make_chunk((i, 0, 0), revision=number, num_points=1500, seed=number) for i in range(8)}
    return replace(make_state(), chunks=chunks, state={"n": number})


def limits(low: int, high: int) -> list[int]:
    return [random.Random(seed).randrange(low, high) for seed in range(NUM_LIMITS)]


@pytest.mark.parametrize("limit", limits(4096, 400_000))
def test_a_save_that_fails_changes_nothing(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "home.spatia"
    world = WorldFile.create(path, moment(1))
    saved = moment(1)
    with files_limited_to(limit), suppress(SaveError):
        for number in (2, 3):
            world.save(moment(number))
            saved = moment(number)
            world.snapshot(f"at-{number}")
    with WorldFile.open(path, read_only=True) as reader:
        assert_same_state(reader.load(), saved)
    world.save(moment(4))
    world.close()
    assert check_world(path).damage == ()
    with WorldFile.open(path, read_only=True) as reader:
        assert_same_state(reader.load(), moment(4))


def test_a_save_that_fails_says_so_in_three_lines(tmp_path: Path) -> None:
    with WorldFile.create(tmp_path / "home.spatia", moment(1)) as world:
        with files_limited_to(8192), pytest.raises(WorldWriteError, match="nothing that was saved is lost") as caught:
            world.save(moment(2))
        assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("limit", limits(4096, 400_000)[: NUM_LIMITS // 2])
def test_closing_on_a_full_disk_loses_nothing(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "home.spatia"
    world = WorldFile.create(path, moment(1))
    world.save(moment(2))
    with files_limited_to(limit):
        world.close()
    with WorldFile.open(path) as world:
        assert_same_state(world.load(), moment(2))


@pytest.mark.parametrize("limit", limits(0, 200_000)[: NUM_LIMITS // 2])
def test_a_new_world_appears_whole_or_not_at_all(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "home.spatia"
    with files_limited_to(limit):
        try:
            WorldFile.create(path, moment(1)).close()
        except SaveError:
            assert not path.exists()
            return
    with WorldFile.open(path, read_only=True) as reader:
        assert_same_state(reader.load(), moment(1))
