"""Walking a world that lies on the disk: the same as walking the loaded one."""

from pathlib import Path

import numpy as np
import pytest
from spatia.input.intents import Intent
from spatia.runtime.persistence import describe, open_world
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world

INSTANT = f"{MODULE}:InstantGenerator"
TURN = Intent(yaw=1.0)
TINY_BUDGET = 60_000
WALK = [TURN] * 14 + [Intent(forward=1.0)] * 6


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "home.spatia"
    world = tiny_world()
    with Session(world, INSTANT, seed=3, wait=True, size=SIZE) as session:
        for _ in range(12):
            session.step(TURN)
    world.save(path)
    return path


def walked(world: World) -> tuple[str, int]:
    with Session(world, INSTANT, seed=3, wait=True, size=SIZE) as session:
        for intent in WALK:
            session.step(intent)
    return world.content_hash(), session.status.merged_clips


def test_clips_merge_into_a_paged_world_as_into_the_loaded_one(path: Path) -> None:
    paged = open_world(path, read_only=True, budget_bytes=TINY_BUDGET)
    assert walked(paged) == walked(open_world(path, read_only=True))
    assert paged.memory.pager is not None
    assert paged.memory.pager.status().evictions > 0
    paged.close()


def test_a_world_that_fits_is_held_whole_after_a_few_frames(path: Path) -> None:
    world = open_world(path, read_only=True, budget_bytes=1 << 30)
    before = world.content_hash()
    with Session(world, "none", wait=True, size=SIZE) as session:
        for _ in range(3):
            session.step(Intent())
    assert world.memory.pager is None
    assert world.content_hash() == before
    world.close()


def test_what_is_drawn_of_a_world_that_fits_is_what_the_loaded_one_shows(path: Path) -> None:
    pictures = []
    for budget in (1 << 30, None):
        world = open_world(path, read_only=True, budget_bytes=budget)
        with Session(world, "none", wait=True, size=SIZE) as session:
            for _ in range(3):
                frame = session.step(Intent())
        pictures.append(frame.color)
        world.close()
    assert np.array_equal(*pictures)


def test_a_view_of_a_paged_world_is_that_of_the_loaded_one(path: Path) -> None:
    paged, loaded = open_world(path, read_only=True, budget_bytes=TINY_BUDGET), open_world(path, read_only=True)
    a, b = paged.render(np.eye(4), SIZE), loaded.render(np.eye(4), SIZE)
    assert np.array_equal(a.color, b.color)
    assert np.array_equal(a.depth_m, b.depth_m)
    paged.close()


def test_a_walk_in_a_paged_world_is_saved_whole(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home.spatia"
    copy.write_bytes(path.read_bytes())
    world = open_world(copy, budget_bytes=TINY_BUDGET)
    after, merged = walked(world)
    world.save(copy)
    world.close()
    assert merged > 0
    assert open_world(copy, read_only=True).content_hash() == after


def test_facts_of_a_world_too_large_for_this_machine_are_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = describe(path)
    monkeypatch.setattr("spatia.runtime.persistence.installed_bytes", lambda: 100_000)
    assert describe(path) == whole
