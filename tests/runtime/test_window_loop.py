"""The window's loop on a virtual clock, with a screen that nobody sees."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spatia.input.intents import Intent
from spatia.renderer.capture import read_video
from spatia.renderer.present import NullPresenter
from spatia.runtime.clock import SimulatedClock
from spatia.runtime.session import Session
from spatia.runtime.window import FRAME_RATE_HZ, RING_PAUSE_S, LoopHooks, WalkLoop
from spatia.tests.runtime.tiny import SIZE, tiny_frame, tiny_world


class Hands:
    """Gives the loop what a test wants, frame by frame."""

    def __init__(self, intents: Iterable[Intent] = ()) -> None:
        self._intents = iter(intents)

    def __call__(self, events: Iterable[Any]) -> Intent:
        return next(self._intents, Intent())


@pytest.fixture
def session() -> Iterable[Session]:
    with Session(tiny_world(), "none", wait=True, size=SIZE, tick_s=1 / 60) as session:
        yield session


def _loop(session: Session, hands: Hands, folder: Path | None = None, **hooks: Any) -> tuple[WalkLoop, NullPresenter]:
    screen = NullPresenter("test", SIZE)
    loop = WalkLoop(session, screen, SimulatedClock(), LoopHooks(hands, **hooks), folder=folder, size=SIZE)
    return loop, screen


def _shown(screen: NullPresenter) -> np.ndarray:
    """(H, W, 3) of the words that were presented; a copy, since the loop reuses them."""
    words = np.ascontiguousarray(screen.color)
    return words.view(np.uint8).reshape(*words.shape[:2], -1)[..., :3].copy()


def test_the_first_picture_is_the_photo_at_its_own_field_of_view(session: Session) -> None:
    loop, screen = _loop(session, Hands())
    loop.run_frame()
    error = np.mean((_shown(screen).astype(float) - tiny_frame().color) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 35.0


def test_frames_are_paced_at_the_screens_rate(session: Session) -> None:
    loop, screen = _loop(session, Hands())
    loop.run(seconds=0.5)
    assert screen.num_presented == pytest.approx(0.5 * FRAME_RATE_HZ, abs=2)
    assert session.tick_count == pytest.approx(30, abs=2)


def test_slow_frames_shrink_the_picture_and_then_give_the_generator_rests(session: Session) -> None:
    loop, _ = _loop(session, Hands())
    for work_s, scale, pause_s in ((0.02, 0.75, RING_PAUSE_S), (0.002, 1.0, 0.0)):
        loop.frame_times_s.extend([work_s] * 20)
        for _ in range(6):
            loop._adapt()
        assert loop.scale == pytest.approx(scale)
        assert session.clips.planner.ring_pause_s == pause_s


def test_turning_by_the_mouse_is_seen_in_the_same_frame(session: Session) -> None:
    loop, _ = _loop(session, Hands([Intent(), Intent(look_yaw_rad=0.4)]))
    loop.run_frame()
    loop.run_frame()
    assert session.rig.state.yaw_rad == pytest.approx(0.4)
    assert loop.frame is not None
    assert np.arctan2(loop.frame.world_T_camera[0, 2], loop.frame.world_T_camera[2, 2]) > 0.19


def test_quitting_ends_the_loop(session: Session) -> None:
    loop, screen = _loop(session, Hands([Intent(), Intent(commands=("quit",))]))
    loop.run(seconds=5.0)
    assert screen.num_presented == 2


def test_saving_is_handed_on_and_told(session: Session) -> None:
    calls: list[str] = []
    loop, _ = _loop(session, Hands([Intent(commands=("save",))]), save=lambda: calls.append("save") or "saving")
    loop.run_frame()
    assert calls == ["save"]
    assert loop.message == "saving"


def test_autosave_comes_by_itself(session: Session) -> None:
    calls: list[int] = []
    loop, _ = _loop(session, Hands(), autosave=lambda: calls.append(session.tick_count))
    loop.run(seconds=31.0)
    assert len(calls) == 1


def test_a_picture_is_written_on_request(session: Session, tmp_path: Path) -> None:
    loop, _ = _loop(session, Hands([Intent(), Intent(commands=("picture",))]), folder=tmp_path)
    loop.run_frame()
    loop.run_frame()
    assert [p.suffix for p in tmp_path.iterdir()] == [".png"]


def test_a_video_is_written_between_two_presses(session: Session, tmp_path: Path) -> None:
    press = Intent(commands=("video",))
    loop, _ = _loop(session, Hands([press, *[Intent()] * 5, press, *[Intent()] * 5]), folder=tmp_path)
    for _ in range(12):
        loop.run_frame()
    (video,) = tmp_path.glob("*.mp4")
    assert 2 <= len(read_video(video)) <= 4  # six frames at 60 a second, written at 30


def test_the_field_of_view_waits_while_the_edges_are_unknown(session: Session) -> None:
    loop, _ = _loop(session, Hands([Intent(look_yaw_rad=3.0)]))
    before = loop.fov_rad
    loop.run(seconds=0.5)
    assert loop.fov_rad == before


def test_the_field_of_view_opens_while_the_edges_are_known(session: Session) -> None:
    loop, _ = _loop(session, Hands())
    before = loop.fov_rad
    loop.run(seconds=0.5)
    assert loop.fov_rad > before


def test_the_tint_shows_where_points_come_from(session: Session) -> None:
    loop, screen = _loop(session, Hands([Intent(), Intent(commands=("tint",))]))
    loop.run_frame()
    plain = _shown(screen).astype(int)
    loop.run_frame()
    tinted = _shown(screen).astype(int)
    shift = (tinted - plain).mean((0, 1))
    assert shift[1] > shift[0]  # observed surface turns green


def test_leaving_finishes_a_video(session: Session, tmp_path: Path) -> None:
    loop, _ = _loop(session, Hands([Intent(commands=("video",))]), folder=tmp_path)
    loop.run(seconds=0.1)
    (video,) = tmp_path.glob("*.mp4")
    assert len(read_video(video)) >= 2


def test_what_is_in_the_middle_can_be_marked_as_moving(session: Session) -> None:
    session.director.wants_key_views = False
    loop, _ = _loop(session, Hands([Intent(), Intent(commands=("mark",))]))
    loop.run_frame()
    assert loop.frame is not None
    height, width = loop.frame.depth_m.shape
    depth_m = float(loop.frame.depth_m[height // 2, width // 2])
    loop.run_frame()
    ((x, y, z),) = session.clips.marks
    assert z == pytest.approx(depth_m, abs=1e-3)
    assert abs(x) < 0.05 * z
    assert abs(y) < 0.05 * z
    assert "keeps it out" in loop.message


def test_nothing_is_marked_where_nothing_is_known(session: Session) -> None:
    session.world.memory.remove_box((-99, -99, -99), (99, 99, 99))
    loop, _ = _loop(session, Hands([Intent(look_yaw_rad=3.1), Intent(commands=("mark",))]))
    loop.run_frame()
    loop.run_frame()
    assert session.clips.marks == ()
    assert "nothing" in loop.message


def test_a_generator_of_still_views_says_that_it_follows_nothing(session: Session) -> None:
    session.director.wants_key_views = True
    loop, _ = _loop(session, Hands([Intent(), Intent(commands=("mark",))]))
    loop.run_frame()
    loop.run_frame()
    assert session.clips.marks == ()
    assert "still views" in loop.message
