"""Going back in a session: what follows is the same again."""

from pathlib import Path

import numpy as np
import pytest
from spatia.generator.outpaint import outpaint
from spatia.input.intents import Intent
from spatia.runtime.session import Frame, Session
from spatia.runtime.world import World
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world

INSTANT = f"{MODULE}:InstantGenerator"
INTENTS = [Intent(forward=1.0, yaw=0.8)] * 14
MORE = [Intent(yaw=-1.0)] * 10


def _walk(session: Session, intents: list[Intent]) -> list[Frame]:
    return [session.step(intent) for intent in intents]


def _assert_same(a: list[Frame], b: list[Frame]) -> None:
    assert [x.tick for x in a] == [y.tick for y in b]
    for x, y in zip(a, b, strict=True):
        assert np.array_equal(x.color, y.color)
        assert np.array_equal(x.depth_m, y.depth_m)
        assert np.array_equal(x.world_T_camera, y.world_T_camera)


def _facts(world: World) -> tuple[object, ...]:
    return (
        world.content_hash(),
        world.bank.next_id,
        world.walk.next_request_id,
        len(world.journal),
        tuple(world.walk.path),
    )


def test_going_back_restores_the_world() -> None:
    with Session(tiny_world(), INSTANT, wait=True, size=SIZE) as session:
        start, before = session.checkpoint(), _facts(session.world)
        _walk(session, INTENTS)
        assert _facts(session.world) != before
        session.restore(start)
        assert _facts(session.world) == before


def test_the_same_intents_give_the_same_pictures_and_world_again() -> None:
    with Session(tiny_world(), INSTANT, wait=True, size=SIZE) as session:
        start = session.checkpoint()
        first, after = _walk(session, INTENTS), _facts(session.world)
        session.restore(start)
        _assert_same(first, _walk(session, INTENTS))
        assert _facts(session.world) == after


def test_a_moment_amid_a_walk_can_be_left_in_two_directions() -> None:
    with Session(tiny_world(), INSTANT, wait=True, size=SIZE) as session:
        _walk(session, INTENTS[:7])
        fork = session.checkpoint()
        straight, after = _walk(session, INTENTS), _facts(session.world)
        session.restore(fork)
        _walk(session, MORE)
        assert _facts(session.world) != after
        session.restore(fork)
        _assert_same(straight, _walk(session, INTENTS))
        assert _facts(session.world) == after


def test_undo_works_after_going_back() -> None:
    with Session(tiny_world(), INSTANT, wait=True, size=SIZE) as session:
        before = session.world.content_hash()
        session.generate_ring(max_clips=1)
        one = session.checkpoint()
        session.generate_ring(max_clips=2)
        session.restore(one)
        assert session.undo()
        assert session.world.content_hash() == before


def test_another_seed_can_be_taken_on_the_way_back() -> None:
    with Session(tiny_world(), INSTANT, wait=True, size=SIZE, seed=3) as session:
        start = session.checkpoint()
        _walk(session, INTENTS)
        seeds = [e.data["seed"] for e in session.world.journal]
        session.restore(start, seed=4)
        _walk(session, INTENTS)
        assert [e.data["seed"] for e in session.world.journal] != seeds


def test_a_world_with_a_file_does_not_go_back(tmp_path: Path) -> None:
    world = tiny_world()
    from spatia.runtime.persistence import adopt_file

    adopt_file(world, tmp_path / "tiny.spatia")
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        start = session.checkpoint()
        with pytest.raises(RuntimeError, match="fork"):
            session.restore(start)
    world.close()


def test_a_session_that_does_not_wait_refuses() -> None:
    with Session(tiny_world(), "none", wait=False, size=SIZE) as session, pytest.raises(RuntimeError, match="inline"):
        session.checkpoint()


def test_a_fork_goes_its_own_way() -> None:
    world = tiny_world()
    before = _facts(world)
    fork = world.fork()
    assert _facts(fork) == before
    with Session(fork, INSTANT, wait=True, size=SIZE) as session:
        _walk(session, INTENTS)
    assert _facts(world) == before
    assert _facts(fork) != before


def test_what_a_generator_keeps_goes_back_too_and_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    modelled = []
    monkeypatch.setattr(outpaint, "_model", lambda *arguments: modelled.append(arguments))
    monkeypatch.setattr(outpaint, "_reaches_far", lambda scene: True)
    with Session(tiny_world(), "outpaint", wait=True, size=SIZE) as session:
        session.generate_ring(max_clips=1)
        start = session.checkpoint()
        assert len(start.generator) == 1
        session.queue.recall(None)
        assert session.queue.remember() == {}
        session.generate_ring(max_clips=1)
        assert session.queue.remember() == start.generator
        assert len(modelled) == 1
