"""A person's marks on what moves go with the requests that have them in view, and are kept in the log."""

from pathlib import Path

import numpy as np
from spatia.input.intents import Intent
from spatia.runtime.drafting import moment_of
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
        request = again.clips._request_of(requests[0].plan, moment_of(again.world), requests[0])
    assert request.clicks == (AHEAD,)


def test_only_the_newest_marks_wait() -> None:
    with Session(tiny_world(), "none", wait=True, size=SIZE) as session:
        for k in range(20):
            session.mark_moving((float(k), 0.0, 1.0))
        np.testing.assert_array_equal([x for x, _, _ in session.clips.marks], np.arange(12, 20))
