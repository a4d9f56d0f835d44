"""The session: ticks, clips that come and go, undo."""

import numpy as np
import pytest
from spatia.input.intents import Intent
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world
from spatia.world.points import PointClass

INSTANT = f"{MODULE}:InstantGenerator"
RAISING = f"{MODULE}:RaisingGenerator"
TURN = Intent(yaw=1.0)


def _walk(world: World, intents: list[Intent], generator: str = INSTANT, seed: int = 3) -> Session:
    with Session(world, generator, seed=seed, wait=True, size=SIZE) as session:
        for intent in intents:
            session.step(intent)
    return session


def test_what_is_generated_stays_in_memory() -> None:
    world = tiny_world()
    before = world.memory.num_points
    session = _walk(world, [TURN] * 24)
    assert session.status.merged_clips > 0
    assert world.memory.num_points > before
    assert world.memory.snapshot().class_counts()[PointClass.INVENTED] > 0


def test_the_same_seed_and_intents_give_the_same_world() -> None:
    a, b = tiny_world(), tiny_world()
    intents = [Intent(forward=0.5, yaw=0.7)] * 20
    _walk(a, intents)
    _walk(b, intents)
    assert a.content_hash() == b.content_hash()
    assert np.array_equal(a.walk.world_T_camera, b.walk.world_T_camera)


def test_other_intents_give_another_world() -> None:
    a, b = tiny_world(), tiny_world()
    _walk(a, [TURN] * 12)
    _walk(b, [Intent(yaw=-1.0)] * 12)
    assert a.content_hash() != b.content_hash()


def test_observed_points_are_never_changed_by_a_clip() -> None:
    world = tiny_world()
    before = world.memory.snapshot().class_counts()[PointClass.OBSERVED]
    _walk(world, [TURN] * 24)
    assert world.memory.snapshot().class_counts()[PointClass.OBSERVED] == before


def test_a_generator_that_fails_ends_its_requests_and_the_walk_goes_on() -> None:
    world = tiny_world()
    world.walk.prompt = "raise"
    before = world.content_hash()
    session = _walk(world, [TURN] * 12, RAISING)
    assert session.status.outcomes.keys() == {"failed"}
    assert session.status.last_error
    assert session.tick_count == 12
    assert world.content_hash() == before


def test_every_request_is_in_the_journal_with_its_end() -> None:
    world = tiny_world()
    session = _walk(world, [TURN] * 12)
    assert [e.data["outcome"] for e in world.journal] == ["done"] * session.status.merged_clips
    assert [e.data["request_id"] for e in world.journal] == list(range(1, session.status.merged_clips + 1))


def test_no_direction_is_generated_twice() -> None:
    world = tiny_world()
    session = _walk(world, [TURN] * 24)
    with Session(world, INSTANT, wait=True, size=SIZE) as again:
        again.step(Intent())
    assert again.status.merged_clips == 0
    assert session.status.merged_clips > 0


def test_a_world_saved_between_two_ticks_knows_what_is_settled_by_then() -> None:
    world, counts = tiny_world(), set()
    with Session(world, INSTANT, seed=1, wait=True, size=SIZE) as session:
        for _ in range(40):
            session.step(Intent(yaw=0.5))
            assert world.walk.settled is session.director.settled
            counts.add(len(world.walk.settled))
    assert len(counts) > 1


def test_undo_takes_back_the_last_clip_alone() -> None:
    world = tiny_world()
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        session.generate_ring(max_clips=1)
        one = world.content_hash()
        session.generate_ring(max_clips=1)
        assert world.content_hash() != one
        assert session.undo()
        assert world.content_hash() == one


def test_undo_with_nothing_to_undo_changes_nothing() -> None:
    world = tiny_world()
    before = world.content_hash()
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        assert not session.undo()
    assert world.content_hash() == before


def test_an_undone_region_waits_until_it_is_rerolled() -> None:
    world = tiny_world()
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        session.step(TURN)
        session.generate_ring()
        full = world.memory.num_points
        session.undo()
        undone = world.memory.num_points
        assert undone < full
        session.generate_ring()
        held = world.memory.num_points
        assert session.reroll() == 1
        assert world.memory.num_points > held or held == full


def test_undo_raises_the_epoch() -> None:
    world = tiny_world()
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        session.generate_ring(max_clips=1)
        before = session.queue.epoch
        session.undo()
        assert session.queue.epoch == before + 1


def test_home_returns_to_the_start() -> None:
    world = tiny_world()
    with Session(world, "none", wait=True, size=SIZE) as session:
        for _ in range(20):
            session.step(Intent(forward=1.0, yaw=0.5))
        session.step(Intent(commands=("home",)))
        assert np.allclose(session.rig.world_T_camera[:3, 3], world.info.world_T_start[:3, 3], atol=0.02)


def test_a_closed_session_says_so() -> None:
    session = Session(tiny_world(), "none", wait=True, size=SIZE)
    session.close()
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.step(Intent())


def test_an_unknown_generator_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="outpaint"):
        Session(tiny_world(), "nobody")


def test_none_generates_nothing() -> None:
    world = tiny_world()
    before = world.content_hash()
    session = _walk(world, [TURN] * 12, "none")
    assert session.status.merged_clips == 0
    assert world.content_hash() == before


def test_the_frame_is_memory_with_the_unknown_painted() -> None:
    world = tiny_world()
    with Session(world, "none", wait=True, size=SIZE) as session:
        frame = session.step(Intent())
        turned = session.step(Intent(look_yaw_rad=np.pi))
    assert frame.color.shape == (SIZE[1], SIZE[0], 3)
    assert (frame.coverage > 0.5).mean() > 0.95
    assert (turned.coverage > 0.5).mean() < 0.05
    assert turned.color.max() > 0  # fog, never black


def test_nothing_is_generated_over_the_memory_limit() -> None:
    world = tiny_world()
    with Session(world, INSTANT, wait=True, size=SIZE, memory_limit=1000) as session:
        for _ in range(12):
            session.step(TURN)
    assert session.status.merged_clips == 0
    assert "limit" in session.status.notice


def test_keyframes_are_judged_again_only_when_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    monkeypatch.setattr("spatia.runtime.session._is_finer", lambda keyframe, size_m: judged.append(keyframe) or True)
    with Session(tiny_world(), "none", size=SIZE) as session:
        for _ in range(3):
            session.draw()
        assert len(judged) == len(session.world.bank.keyframes) > 0
        session.world.bank.restore(session.world.bank.snapshot())
        session.draw()
        assert len(judged) == 2 * len(session.world.bank.keyframes)
