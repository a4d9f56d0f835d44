"""Going back while walking: walk and world return, memory stays bounded, records play it again."""

from pathlib import Path

import numpy as np
import pytest
from spatia.input.intents import Intent
from spatia.runtime.persistence import adopt_file, state_of
from spatia.runtime.record import Recorder, Recording
from spatia.runtime.rewind import MOMENT_S, SPEED, BranchStarter, Rewinder, start_branch
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.runtime.world import open as open_world
from spatia.saves.autosave import Saver
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world

INSTANT = f"{MODULE}:InstantGenerator"
TICK_S = 1 / 24
FORWARD, TURN, BACK = Intent(forward=1.0, yaw=0.8), Intent(yaw=-1.0), Intent(rewind=True)
PER_MOMENT = round(MOMENT_S / TICK_S)


def _session(world: World | None = None, **options: object) -> Session:
    options = {"can_rewind": True, **options}
    return Session(world or tiny_world(), INSTANT, wait=True, size=SIZE, tick_s=TICK_S, **options)  # type: ignore[arg-type]


def _ticks(session: Session, intent: Intent, num: int) -> None:
    for _ in range(num):
        session.look(intent)
        session.tick(intent)


def _back_to_the_begin(session: Session) -> None:
    _ticks(session, BACK, 2 + int(session.rewinder.num_moments * PER_MOMENT / SPEED))


def test_walk_and_world_return_to_where_they_came_from() -> None:
    with _session() as session:
        _ticks(session, Intent(), 1)
        pose, content = session.rig.world_T_camera, session.world.content_hash()
        journal, path = len(session.world.journal), len(session.world.walk.path)
        _ticks(session, FORWARD, 20)
        assert session.world.content_hash() != content
        _back_to_the_begin(session)
        assert np.array_equal(session.rig.world_T_camera, pose)
        assert session.world.content_hash() == content
        assert (len(session.world.journal), len(session.world.walk.path)) == (journal, path)


def test_going_back_part_of_the_way_stops_at_a_pose_that_was_passed() -> None:
    with _session() as session:
        passed = []
        for _ in range(24):
            _ticks(session, FORWARD, 1)
            passed.append(session.rig.world_T_camera)
        _ticks(session, BACK, 2)
        assert any(np.array_equal(session.rig.world_T_camera, pose) for pose in passed[:-1])
        assert 0 < session.rewinder.seconds_back < 24 * TICK_S


def test_time_and_identities_never_go_back() -> None:
    with _session() as session:
        _ticks(session, FORWARD, 20)
        tick, request = session.tick_count, session.world.walk.next_request_id
        keyframe = session.world.bank.next_id
        _back_to_the_begin(session)
        assert session.tick_count > tick
        assert session.world.walk.next_request_id >= request
        assert session.world.bank.next_id >= keyframe


def test_nothing_is_generated_while_going_back_but_again_afterwards() -> None:
    with _session() as session:
        _ticks(session, FORWARD, 20)
        merged = session.status.merged_clips
        _back_to_the_begin(session)
        assert session.status.merged_clips == merged
        _ticks(session, FORWARD, 20)
        assert session.status.merged_clips > merged


def test_a_session_that_waits_keeps_no_moments_unless_it_is_asked_to() -> None:
    with _session(can_rewind=None) as session:
        _ticks(session, FORWARD, 12)
        pose = session.rig.world_T_camera
        _ticks(session, BACK, 3)
        assert session.rewinder.num_moments == 0
        assert np.allclose(session.rig.world_T_camera[:3, 3], pose[:3, 3], atol=0.1)


def test_restoring_a_checkpoint_forgets_the_way_back() -> None:
    with _session() as session:
        start = session.checkpoint()
        _ticks(session, FORWARD, 12)
        session.restore(start)
        assert session.rewinder.num_moments == 0


def test_standing_still_keeps_no_moments() -> None:
    with Session(tiny_world(), "none", wait=True, size=SIZE, tick_s=TICK_S, can_rewind=True) as session:
        _ticks(session, Intent(), 200)
        assert session.rewinder.num_moments <= 2


def test_what_moments_keep_alive_is_bounded() -> None:
    with _session() as session:
        unbounded = session.rewinder
        _ticks(session, FORWARD, 30)
        assert unbounded.num_bytes > 0
    with _session() as session:
        limit = unbounded.num_bytes // 2
        session.rewinder = Rewinder(session, max_bytes=limit, max_moments=1000)
        _ticks(session, FORWARD, 30)
        assert session.rewinder.num_bytes <= limit
        assert session.rewinder.num_moments < unbounded.num_moments
        session.rewinder = Rewinder(session, max_moments=3)
        _ticks(session, TURN, 30)
        assert session.rewinder.num_moments == 3


def test_undo_after_going_back_takes_back_only_what_is_there() -> None:
    with _session() as session:
        _ticks(session, Intent(), 1)
        _ticks(session, FORWARD, 20)
        _back_to_the_begin(session)
        content = session.world.content_hash()
        while session.undo():
            assert session.world.content_hash() != content
        assert session.world.memory.num_points > 0


def test_a_record_plays_going_back_again(tmp_path: Path) -> None:
    path = tmp_path / "walk.rec"
    recorder = Recorder(path, {})
    with _session(recorder=recorder) as session:
        _ticks(session, FORWARD, 20)
        _ticks(session, BACK, 3)
        session.rewinder.count_from(1 << 20, 1 << 20)
        _ticks(session, TURN, 12)
        content, pose = session.world.content_hash(), session.rig.world_T_camera
        keyframes = [k.keyframe_id for k in session.world.bank.keyframes]
    recorder.close()
    recording = Recording.read(path)
    assert len(recording.rewinds) == 3
    with _session(recording=recording) as session:
        for recorded in recording.ticks:
            session.look(recorded.intent)
            session.tick(recorded.intent, pace=recorded.pace)
            assert np.array_equal(session.world.walk.world_T_camera, recorded.world_T_camera)
        assert session.world.content_hash() == content
        assert np.array_equal(session.rig.world_T_camera, pose)
        assert [k.keyframe_id for k in session.world.bank.keyframes] == keyframes


def test_a_branch_starts_where_the_walk_went_back_and_the_other_way_stays(tmp_path: Path) -> None:
    world = tiny_world()
    adopt_file(world, tmp_path / "tiny.spatia")
    with _session(world) as session:
        _ticks(session, FORWARD, 20)
        left, content = state_of(world), world.content_hash()
        _back_to_the_begin(session)
        assert world.file is not None
        branch = start_branch(world.file, left)
        session.rewinder.count_from(branch.next_request_id, branch.next_keyframe_id)
        _ticks(session, TURN, 12)
        world.save(tmp_path / "tiny.spatia")
        other = world.content_hash()
    world.close()
    back = open_world(tmp_path / "tiny.spatia")
    assert (back.branches.current, back.content_hash()) == ("rewind-1", other)
    back.checkout("main")
    assert back.content_hash() == content
    back.close()


@pytest.mark.parametrize("num", [1, 3])
def test_each_branch_gets_a_name_of_its_own(tmp_path: Path, num: int) -> None:
    world = tiny_world()
    adopt_file(world, tmp_path / "tiny.spatia")
    assert world.file is not None
    names = [start_branch(world.file, state_of(world)).name for _ in range(num)]
    assert names == [f"rewind-{i + 1}" for i in range(num)]
    world.close()


def _watched(starter: BranchStarter, session: Session, intent: Intent, num: int) -> list[str]:
    texts = []
    for _ in range(num):
        _ticks(session, starter.watch(intent), 1)
        texts.append(starter.text)
    return texts


def test_letting_go_starts_a_branch_beside_the_walk(tmp_path: Path) -> None:
    world = tiny_world()
    adopt_file(world, tmp_path / "tiny.spatia")
    assert world.file is not None
    saver = Saver(world.file)
    with _session(world) as session:
        starter = BranchStarter(session, saver)
        _watched(starter, session, FORWARD, 20)
        content = world.content_hash()
        assert not starter.is_busy
        texts = _watched(starter, session, BACK, 8)
        assert texts[-1].startswith("going back")
        assert starter.is_busy
        _watched(starter, session, Intent(), 1)
        starter.finish()
        assert not starter.is_busy
        assert "rewind-1" in starter.text
        _watched(starter, session, TURN, 6)
        saver.request(state_of(world))
        assert saver.close()
    assert world.walk.next_request_id >= 1 << 20
    assert world.branches.current == "rewind-1"
    world.close()
    back = open_world(tmp_path / "tiny.spatia")
    back.checkout("main")
    assert back.content_hash() == content
    back.close()


def test_where_nothing_is_saved_the_walk_goes_back_all_the_same() -> None:
    with _session() as session:
        starter = BranchStarter(session, None)
        assert "nothing" in _watched(starter, session, BACK, 1)[0]
        _watched(starter, session, FORWARD, 20)
        tick = session.tick_count
        _watched(starter, session, BACK, 8)
        assert session.rewinder.seconds_back > 0
        assert _watched(starter, session, Intent(), 1)[0].startswith("went back")
        assert not starter.is_busy
        assert session.tick_count == tick + 9


def test_a_branch_that_cannot_be_started_is_told_and_the_walk_goes_on(tmp_path: Path) -> None:
    world = tiny_world()
    adopt_file(world, tmp_path / "tiny.spatia")
    assert world.file is not None
    saver = Saver(world.file)
    with _session(world) as session:
        starter = BranchStarter(session, saver)
        _watched(starter, session, FORWARD, 20)
        _watched(starter, session, BACK, 4)
        world.file.close()
        _watched(starter, session, Intent(), 1)
        starter.finish()
        assert starter.text.startswith("no branch")
        assert not session.clips.is_paused
    saver.close()
    world.close()
