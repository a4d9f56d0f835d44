"""What a person says goes with the requests: marks on what moves, kept in log and file, and words, line by line."""

from pathlib import Path

import numpy as np
from spatia.input.intents import Intent
from spatia.runtime.drafting import moment_of, prompt_of_round
from spatia.runtime.persistence import open_world
from spatia.runtime.record import RecordedRequest, Recorder, Recording
from spatia.runtime.session import Session
from spatia.tests.fakes import InstantGenerator
from spatia.tests.runtime.tiny import SIZE, tiny_world

INSTANT = f"{InstantGenerator.__module__}:{InstantGenerator.__name__}"
AHEAD, BEHIND = (0.0, 0.0, 2.0), (0.0, 0.0, -2.0)


def _ask(session: Session, recorder: Recorder | None = None) -> None:
    """Make clips for what is ahead."""
    for _ in range(12):
        session.step(Intent(forward=0.3))
        if session.status.merged_clips:
            return


def test_a_mark_goes_with_the_clip_that_has_it_in_view_and_is_done_when_that_is_merged(monkeypatch) -> None:
    with Session(tiny_world(seed=5), INSTANT, wait=True, size=SIZE) as session:
        asked = []
        submit = session.queue.submit
        monkeypatch.setattr(session.queue, "submit", lambda request: (asked.append(request), submit(request))[1])
        session.mark_moving(AHEAD)
        session.mark_moving(BEHIND)
        _ask(session)
        assert session.status.merged_clips >= 1
        assert asked[0].clicks == (AHEAD,)
        assert all(request.clicks == () for request in asked[1:])
        assert session.clips.marks == (BEHIND,)


def test_a_log_keeps_marks_and_a_replay_asks_with_them(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "walk.log", {"format": "spatia-record"})
    with Session(tiny_world(seed=5), INSTANT, wait=True, size=SIZE, recorder=recorder) as session:
        session.mark_moving(AHEAD)
        _ask(session)
    recorder.close()
    recording = Recording.read(tmp_path / "walk.log")
    requests = [e for events in recording.events.values() for e in events if isinstance(e, RecordedRequest)]
    assert requests[0].clicks == (AHEAD,)
    with Session(tiny_world(seed=5), INSTANT, wait=True, size=SIZE, recording=recording) as again:
        request = again.clips.request_of(requests[0].plan, moment_of(again.world), requests[0])
    assert request.clicks == (AHEAD,)


def test_only_the_newest_marks_wait() -> None:
    with Session(tiny_world(), "none", wait=True, size=SIZE) as session:
        for k in range(20):
            session.mark_moving((float(k), 0.0, 1.0))
        np.testing.assert_array_equal([x for x, _, _ in session.clips.marks], np.arange(12, 20))


def test_marks_that_wait_are_saved_with_the_world(tmp_path: Path) -> None:
    world = tiny_world()
    with Session(world, "none", wait=True, size=SIZE) as session:
        session.mark_moving(BEHIND)
    world.save(tmp_path / "world.spatia")
    with Session(open_world(tmp_path / "world.spatia"), "none", wait=True, size=SIZE) as session:
        assert session.clips.marks == (BEHIND,)


def test_a_fork_has_marks_of_its_own() -> None:
    world = tiny_world()
    fork = world.fork()
    with Session(world, "none", wait=True, size=SIZE) as session:
        session.mark_moving(AHEAD)
    assert fork.walk.marks == []


def test_a_prompt_of_several_lines_gives_one_to_each_clip() -> None:
    text = "a hall\n\n a garden \n"
    assert [prompt_of_round(text, k) for k in range(4)] == ["a hall", "a garden", "a garden", "a garden"]
    assert prompt_of_round("", 2) == ""
    with Session(tiny_world(seed=5), INSTANT, wait=True, size=SIZE) as session:
        session.set_prompt(text)
        for _ in range(40):
            session.step(Intent(yaw=0.8))
        prompts = [e.data["prompt"] for e in session.world.journal]
    assert len(prompts) > 1
    assert prompts == [prompt_of_round(text, k) for k in range(len(prompts))]
