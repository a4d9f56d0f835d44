"""A generator that cannot go on is replaced by one without weights; the walk goes on and says why."""

import json
from pathlib import Path

import numpy as np
import pytest
from spatia.generator.ledger import Ended, Outcome
from spatia.generator.process import PERHAPS_OUT_OF_MEMORY
from spatia.input.intents import Intent
from spatia.runtime.fallback import Fallback, fallback_for, is_kill, why_give_up
from spatia.runtime.headless import Rollout, run_rollout
from spatia.runtime.record import RecordedFallback, Recorder, Recording
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world, walk_until_done
from spatia.world.transforms import look

REASONS = {
    "MissingModelGenerator": "model 'missing' is not complete",
    "TooLargeGenerator": "needs 24 GB, 8 GB are free",
    "ExhaustedGenerator": "out of memory: MemoryError: no 2 GB in one piece",
}
TURN = Intent(yaw=1.0)
INSTANT = f"{MODULE}:InstantGenerator"


@pytest.fixture(autouse=True)
def _quick_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatia.runtime.fallback.DEFAULT_FALLBACK", INSTANT)
    monkeypatch.setattr("spatia.runtime.fallback.LAST_RESORTS", (INSTANT,))


def walked(generator: str, num_ticks: int = 8, world: World | None = None, recorder: Recorder | None = None) -> Session:
    world = world or tiny_world()
    with Session(world, f"{MODULE}:{generator}", seed=3, wait=True, size=SIZE, recorder=recorder) as session:
        for _ in range(num_ticks):
            session.step(TURN)
    return session


@pytest.mark.parametrize("generator", REASONS)
def test_the_walk_goes_on_with_another_and_the_reason_is_on_the_screen(generator: str) -> None:
    session = walked(generator)
    assert session.tick_count == 8
    assert session.clips.generator == INSTANT
    assert session.clips.fallback is not None
    assert session.clips.fallback.instead_of == f"{MODULE}:{generator}"
    assert REASONS[generator] in session.status.notice
    assert f"{INSTANT} instead of" in session.status.notice
    assert session.status.outcomes["done"] > 0


@pytest.mark.parametrize("generator", REASONS)
def test_the_reason_stands_in_the_journal(generator: str) -> None:
    world = tiny_world()
    walked(generator, 3, world)
    (entry,) = [e for e in world.journal if e.kind == "fallback"]
    assert entry.data["generator"] == INSTANT
    assert REASONS[generator] in entry.data["reason"]


def test_the_direction_that_failed_is_filled_by_the_other_generator() -> None:
    world = tiny_world()
    session = walked("TooLargeGenerator", 1, world)
    outcomes = [e.data["outcome"] for e in world.journal if e.kind == "clip"]
    assert outcomes[0] == "failed"
    assert "done" in outcomes[1:]
    assert session.status.merged_clips > 0


def test_the_reason_stands_in_the_report(tmp_path: Path) -> None:
    poses = np.stack([look((0.0, 0.0, 0.0), 0.02 * k, 0.0) for k in range(3)])
    job = Rollout(poses, tmp_path, SIZE, f"{MODULE}:MissingModelGenerator")
    run_rollout(tiny_world(), job, lambda what, share: None)
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["fallback"]["generator"] == INSTANT
    assert facts["fallback"]["reason"].startswith("model 'missing' is not complete")
    assert facts["journal"][0]["kind"] in ("clip", "fallback")


def test_a_recorded_fallback_happens_again_in_its_tick(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "log", {"generator": f"{MODULE}:ExhaustedGenerator"})
    world = tiny_world()
    walked("ExhaustedGenerator", 4, world, recorder)
    recorder.close()
    recording = Recording.read(tmp_path / "log")
    assert any(isinstance(e, RecordedFallback) for events in recording.events.values() for e in events)
    again = tiny_world()
    with Session(again, f"{MODULE}:ExhaustedGenerator", seed=3, wait=True, size=SIZE, recording=recording) as session:
        for _ in range(4):
            session.step(TURN)
    assert session.clips.generator == INSTANT
    assert again.content_hash() == world.content_hash()


def test_a_worker_process_that_runs_out_of_memory_is_replaced() -> None:
    world = tiny_world()
    world.walk.prompt = "allocate"
    with Session(world, f"{MODULE}:FaultyGenerator", wait=False, size=SIZE) as session:
        walk_until_done(session)
        assert session.clips.generator == INSTANT
        assert "out of memory" in session.status.notice
    assert session.status.outcomes["done"] > 0


def ended(reason: str, outcome: Outcome = Outcome.FAILED) -> Ended:
    return Ended(1, outcome, reason)


def test_a_fault_of_one_request_gives_nothing_up() -> None:
    assert why_give_up(ended("ValueError: odd prompt"), 0) == ""
    assert why_give_up(ended("out of memory: x", Outcome.CANCELLED), 0) == ""


def test_a_generator_is_given_up_when_the_system_killed_it_twice() -> None:
    killed = ended(f"the worker was killed by SIGKILL ({PERHAPS_OUT_OF_MEMORY})")
    assert is_kill(killed)
    assert why_give_up(killed, 1) == ""
    assert why_give_up(killed, 2) == killed.reason


def test_generators_without_weights_have_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [fallback_for(name, "") for name in ("none", "outpaint", "procedural")] == ["", "", ""]
    assert fallback_for("spatia", "") == "outpaint"
    assert fallback_for("spatia", "rooms:7:day") == "procedural"


def test_a_notice_is_one_line() -> None:
    assert (
        Fallback("outpaint", "spatia", "no weights\nput them here", 3).notice
        == "outpaint instead of spatia: no weights"
    )
