"""In a walk: frames of a clip are shown before it is merged, and the next clip goes on from its end meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatia.generator import pipeline
from spatia.generator.queue import Made, Outcome, Preview
from spatia.input.intents import Intent
from spatia.runtime.clip_status import ClipStatus
from spatia.runtime.director import ClipPlan, Director, Tail, predict_along
from spatia.runtime.drafting import moment_of
from spatia.runtime.preview_view import PreviewView
from spatia.runtime.record import Recorder, Recording
from spatia.runtime.session import Session
from spatia.tests.fakes import MODULE, FilmGenerator, make_request
from spatia.tests.runtime.tiny import SIZE, tiny_world
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory

FILM = f"{MODULE}:{FilmGenerator.__name__}"
TURN = Intent(yaw=0.35)
LONG_S = 120.0
"""Far beyond what anything here takes."""


@pytest.fixture(autouse=True)
def lift(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator of these tests replaces how clips are lifted, also here where it runs inline: put that back."""
    monkeypatch.setattr(pipeline, "lift", pipeline.lift)


def _tick_until(session: Session, intent: Intent, is_true: Callable[[], bool]) -> None:
    """Tick some hundred times a second until something is so, and stand still while a clip is planned.

    A first plan takes long where code has to be compiled; meanwhile one would turn past everything.
    """
    pace = threading.Event()
    for _ in range(int(LONG_S / 0.005)):
        session.tick(intent if session.clips.planner.pending is None else Intent(), plan_now=True)
        if is_true():
            return
        pace.wait(0.005)
    raise AssertionError(f"it never came true: {[e.data for e in session.world.journal]}")


def _path(start_m: float, end_m: float, count: int) -> np.ndarray:
    poses = np.repeat(np.eye(4)[None], count, 0)
    poses[:, 0, 3] = np.linspace(start_m, end_m, count)
    return poses


def _early(end_m: float) -> Tail:
    return Tail(7, np.zeros((9, 8, 8, 3), np.uint8), _path(end_m - 0.1, end_m, 9), is_early=True)


def test_a_walk_goes_on_from_a_clip_that_is_still_lifted_and_replays_the_same(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "walk.log", {"generator": FILM, "seed": 3, "tick_s": 1.0 / 60.0})
    world = tiny_world()
    world.walk.prompt = "meet"
    with Session(world, FILM, seed=3, wait=False, size=SIZE, recorder=recorder, can_rewind=False) as session:
        assert session.queue.wait_for_start(LONG_S)
        clips = session.clips
        _tick_until(session, TURN, lambda: bool(clips._requests))
        world.walk.prompt = ""  # only the first clip waits for its successor
        clips.is_paused = True
        _tick_until(session, Intent(), lambda: session.director.early is not None)
        clips.is_paused = False
        _tick_until(session, TURN, lambda: any(request.after for request, _ in clips._requests.values()))
        clips.is_paused = True
        _tick_until(session, Intent(), lambda: not clips._requests)
    recorder.close()
    assert [(e.data["outcome"], e.data.get("after")) for e in world.journal] == [("done", None), ("done", 1)]
    again = tiny_world()
    again.walk.prompt = "meet"
    recording = Recording.read(tmp_path / "walk.log")
    with Session(again, FILM, seed=3, wait=True, size=SIZE, tick_s=1.0 / 60.0, recording=recording) as session:
        for recorded in recording.ticks:
            session.look(recorded.intent)
            session.tick(recorded.intent, pace=recorded.pace)
    assert again.content_hash() == world.content_hash()


def test_a_clip_that_is_not_merged_is_gone_on_from_where_the_walker_will_be_at_its_end() -> None:
    director = Director(wants_key_views=False, native_speed=None, min_priority=64, up_world=(0.0, -1.0, 0.0))
    predict = predict_along(_path(0.0, 4.0, 96), 24.0)  # 1 m/s: at 1.5 m in a second and a half
    director.early = _early(1.5)
    plan = director.plan(SpatialMemory(0.05).snapshot(), Pinhole.from_fov(64, 48, 1.2), predict)
    assert plan is not None
    assert plan.tail is director.early
    assert 1.5 < plan.world_T_camera[0, 0, 3] < 1.6
    director.early = _early(40.0)
    assert director._tail_ahead(predict)[0] is None
    director.close()


def test_an_early_end_is_forgotten_where_places_move_or_the_clip_is_undone() -> None:
    with Session(tiny_world(), FILM, wait=True, size=SIZE) as session:
        clips = session.clips
        for forget in (lambda: clips.abandon("undone"), clips.forget_pending, clips.merging._hooks.on_correction):
            plan = _plan_from(session)
            number = session.world.walk.next_request_id
            clips.submit(plan)
            clips._take_early(Made(number, np.zeros((9, 8, 8, 3), np.uint8)))
            tail = clips.director.early
            assert tail is not None
            assert clips.early.is_current(tail)
            forget()
            assert clips.director.early is None
            assert not clips.early.is_current(tail)
            clips._requests.clear()


def _plan_from(session: Session) -> ClipPlan:
    return ClipPlan(_path(0.0, 0.2, 9), session.pinhole, "way", 0.5)


def test_what_goes_on_from_a_clip_that_was_not_merged_is_cancelled() -> None:
    with Session(tiny_world(), FILM, wait=True, size=SIZE) as session:
        clips, first = session.clips, session.world.walk.next_request_id
        clips.submit(_plan_from(session))
        clips._take_early(Made(first, np.zeros((9, 8, 8, 3), np.uint8)))
        plan = _plan_from(session)
        sequel = replace(plan, tail=clips.director.early)
        assert clips.request_of(sequel, moment_of(session.world)).after == first
        clips.submit(sequel)
        clips._finish(first, merged=False, journal={"outcome": "failed", "reason": "no"})
        assert {e.request_id: e.outcome for e in session.queue.poll()}[first + 1] is Outcome.CANCELLED


def test_the_newest_finished_frame_is_shown() -> None:
    status, view, request = ClipStatus(), PreviewView(), make_request(3, num_frames=12)
    piece = np.zeros((4, 24, 32, 3), np.uint8)
    piece[-1] = (10, 200, 30)
    status.show(Preview(3, (piece,)), request)
    tile, text = view.look(status.preview, 400)
    assert text == "clip 3: frame 4 of 12"
    assert tile is not None
    assert tile.shape == (60, 80, 4)
    assert (tile == (10, 200, 30, 255)).all()
    assert view.look(status.preview, 400)[0] is tile
    status.show(Preview(3, (piece, piece // 2)), request)
    assert view.look(status.preview, 400)[0] is not tile
    status.show(Preview(3, (piece,)), None)
    assert view.look(status.preview, 400) == (None, "")
