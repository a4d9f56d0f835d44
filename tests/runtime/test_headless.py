"""Rollouts: frames, files, replays."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from spatia.generator.queue import GenerationQueue
from spatia.generator.requests import ClipRequest
from spatia.input.intents import Intent
from spatia.input.script import action_poses, parse_actions
from spatia.renderer.capture import read_video
from spatia.runtime import commands, director
from spatia.runtime.errors import UserError
from spatia.runtime.headless import Rollout, prepare_output, run_rollout, select_frames
from spatia.runtime.persistence import damage_text
from spatia.runtime.record import Recorder, Recording
from spatia.runtime.replay import run_replay
from spatia.runtime.session import Session
from spatia.runtime.walk import new_recorder
from spatia.runtime.world import World
from spatia.runtime.world import open as open_world
from spatia.tests.fakes import MODULE, InstantGenerator
from spatia.tests.runtime.tiny import SIZE, tiny_frame, tiny_world

INSTANT = f"{MODULE}:InstantGenerator"


def _quiet(what: str, share: float) -> None:
    pass


def _rollout(out: Path, actions: str, generator: str = INSTANT) -> World:
    world = tiny_world()
    poses = action_poses(parse_actions(actions), world.walk.world_T_camera, world.info.up_world)
    run_rollout(world, Rollout(poses, out, SIZE, generator), _quiet)
    return world


def test_a_rollout_writes_its_four_files_and_nothing_else(tmp_path: Path) -> None:
    _rollout(tmp_path / "out", "w-3,right-4")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "contact.png",
        "report.json",
        "video.mp4",
        "world.spatia",
    ]


def test_the_video_has_one_frame_more_than_actions(tmp_path: Path) -> None:
    _rollout(tmp_path / "out", "w-3,right-4")
    assert read_video(tmp_path / "out" / "video.mp4").shape == (8, SIZE[1], SIZE[0], 3)


def test_frame_zero_is_the_source_photo(tmp_path: Path) -> None:
    _rollout(tmp_path / "out", "stay-1")
    first = read_video(tmp_path / "out" / "video.mp4")[0].astype(float)
    error = np.mean((first - tiny_frame().color) ** 2)
    assert 10 * np.log10(255**2 / error) >= 30.0


def test_the_saved_world_is_the_walked_one(tmp_path: Path) -> None:
    world = _rollout(tmp_path / "out", "right-10")
    saved = open_world(tmp_path / "out" / "world.spatia", read_only=True)
    assert saved.content_hash() == world.content_hash()
    assert np.allclose(saved.walk.world_T_camera, world.walk.world_T_camera)
    assert saved.walk.next_request_id == world.walk.next_request_id


def test_the_report_says_what_happened(tmp_path: Path) -> None:
    world = _rollout(tmp_path / "out", "right-10")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"] == 11
    assert report["content_hash"] == world.content_hash()
    assert report["clips"]["outcomes"]["done"] == len(report["journal"])
    assert report["points"]["total"] == world.memory.num_points


def test_walking_on_from_a_saved_world_generates_nothing_anew(tmp_path: Path) -> None:
    _rollout(tmp_path / "out", "right-10")
    world = open_world(tmp_path / "out" / "world.spatia", read_only=True)
    before = world.content_hash()
    with Session(world, INSTANT, wait=True, size=SIZE) as session:
        for pose in action_poses(parse_actions("left-10"), world.walk.world_T_camera, world.info.up_world):
            session.follow([pose])
    assert session.status.merged_clips == 0
    assert world.content_hash() == before


def test_a_replay_leads_to_the_same_world_and_pose(tmp_path: Path) -> None:
    log = tmp_path / "walk.log"
    world = tiny_world(seed=5)
    recorder = new_recorder(log, world, INSTANT, SIZE, 1 / 24)
    with Session(world, INSTANT, wait=True, size=SIZE, recorder=recorder) as session:
        for i in range(30):
            session.step(
                Intent(forward=0.4, look_yaw_rad=0.05 if i % 3 else 0.0, commands=("undo",) if i == 20 else ())
            )
    recorder.close()
    again = tiny_world(seed=5)
    command = commands.Rollout(source="tiny", out=tmp_path / "out", replay=log)
    run_replay(command, again, Recording.read(log), _quiet)
    assert session.status.merged_clips > 0
    assert again.content_hash() == world.content_hash()
    assert np.array_equal(again.walk.world_T_camera, world.walk.world_T_camera)


def test_a_walk_that_never_waits_replays_the_same(tmp_path: Path) -> None:
    log = tmp_path / "walk.log"
    world = tiny_world(seed=5)
    recorder = new_recorder(log, world, INSTANT, SIZE, 1 / 60)
    with Session(world, INSTANT, wait=False, size=SIZE, recorder=recorder) as session:
        for _ in range(300):
            session.tick(Intent(yaw=0.3))
            if session.status.merged_clips >= 2:
                break
            session.await_clip(60.0)
    recorder.close()
    again = tiny_world(seed=5)
    run_replay(commands.Rollout(source="tiny", out=tmp_path / "out", replay=log), again, Recording.read(log), _quiet)
    assert session.status.merged_clips >= 2
    assert again.content_hash() == world.content_hash()
    assert np.allclose(again.walk.world_T_camera, world.walk.world_T_camera, atol=1e-12)


def test_a_replay_goes_on_from_the_same_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstantGenerator, "wants_key_views", False)
    monkeypatch.setattr(director, "CLIP_FRAMES_FIRST", 11)
    monkeypatch.setattr(director, "CLIP_FRAMES_NEXT", 10)
    asked: list[ClipRequest] = []
    submit = GenerationQueue.submit

    def watched(queue: GenerationQueue, request: ClipRequest) -> bool:
        asked.append(request)
        return submit(queue, request)

    monkeypatch.setattr(GenerationQueue, "submit", watched)
    log, world = tmp_path / "walk.log", tiny_world(seed=5)
    recorder = new_recorder(log, world, INSTANT, SIZE, 1 / 24)
    with Session(world, INSTANT, wait=True, size=SIZE, recorder=recorder) as session:
        for _ in range(20):
            session.tick(Intent(yaw=0.4))
    recorder.close()
    first, again = list(asked), tiny_world(seed=5)
    asked.clear()
    run_replay(commands.Rollout(source="tiny", out=tmp_path / "out", replay=log), again, Recording.read(log), _quiet)
    assert any(r.tail is not None for r in first)
    for a, b in zip(first, asked, strict=True):
        np.testing.assert_array_equal(a.tail, b.tail)
        np.testing.assert_array_equal(a.tail_world_T_camera, b.tail_world_T_camera)
    assert again.content_hash() == world.content_hash()


def test_a_replay_refuses_another_world(tmp_path: Path) -> None:
    log = tmp_path / "walk.log"
    world = tiny_world()
    recorder = new_recorder(log, world, "none", SIZE, 1 / 24)
    with Session(world, "none", wait=True, size=SIZE, recorder=recorder) as session:
        session.step(Intent())
    recorder.close()
    other = tiny_world()
    other.memory.remove_box((-9, -9, -9), (0, 9, 9))
    with pytest.raises(UserError, match="content_hash"):
        run_replay(commands.Rollout(source="tiny", out=tmp_path / "o", replay=log), other, Recording.read(log), _quiet)


def test_a_record_that_was_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    log = tmp_path / "walk.log"
    recorder = Recorder(log, {"seed": 1})
    for tick in range(5):
        recorder.tick(tick, Intent(forward=1.0), 1.0, np.eye(4))
    recorder.close()
    data = log.read_bytes()
    log.write_bytes(data[:-20])
    assert len(Recording.read(log).ticks) == 4


@pytest.mark.parametrize("content", [b"", b"hello", b"\x81\xa6format\xa5other"])
def test_a_file_that_is_no_record_is_refused(content: bytes, tmp_path: Path) -> None:
    log = tmp_path / "walk.log"
    log.write_bytes(content)
    with pytest.raises(UserError, match="record"):
        Recording.read(log)


def test_results_of_an_earlier_rollout_may_be_replaced(tmp_path: Path) -> None:
    _rollout(tmp_path / "out", "stay-1")
    prepare_output(tmp_path / "out")
    _rollout(tmp_path / "out", "stay-2")
    assert len(read_video(tmp_path / "out" / "video.mp4")) == 3


@pytest.mark.parametrize("number", [0, 5, -1])
def test_frames_beyond_the_path_are_refused(number: int) -> None:
    with pytest.raises(UserError, match="1 to 4"):
        select_frames(np.repeat(np.eye(4)[None], 4, 0), number)


def test_damage_of_a_world_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = tiny_world()
    path = world.save(tmp_path / "world.spatia")
    database = sqlite3.connect(path)
    database.execute(
        "UPDATE objects SET data = substr(data, 1, length(data) - 9) WHERE digest = (SELECT digest FROM chunks LIMIT 1)"
    )
    database.commit()
    database.close()
    damaged = open_world(path, read_only=True)
    assert damaged.damage
    assert "damaged and skipped" in damage_text(damaged)
    assert damaged.memory.num_points < world.memory.num_points


def test_the_ring_rests_where_frames_have_no_time_to_spare() -> None:
    with Session(tiny_world(seed=5), INSTANT, wait=False, size=SIZE) as session:
        session.clips.planner.ring_pause_s = 1e6
        for _ in range(400):
            session.tick(Intent())
            if session.status.merged_clips:
                break
            session.await_clip(60.0)
        merged = session.status.merged_clips
        for _ in range(60):
            session.tick(Intent())
            session.await_clip(0.5)
        assert session.status.merged_clips == merged == 1
        session.clips.planner.ring_pause_s = 0.0
        for _ in range(400):
            session.tick(Intent())
            if session.status.merged_clips > merged:
                break
            session.await_clip(60.0)
        assert session.status.merged_clips > merged
