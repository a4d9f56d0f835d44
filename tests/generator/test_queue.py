"""Every request ends exactly once, whatever is done to the queue. Inline: no process, no time."""

import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spatia.generator.ledger import Ledger
from spatia.generator.queue import Ended, GenerationQueue, Outcome, Patience
from spatia.tests.fakes import MODULE, FakeClock, make_request

INSTANT = f"{MODULE}:InstantGenerator"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(capacity=2, clock=clock, epoch=0)


def inline(generator: str = INSTANT, **options: int) -> GenerationQueue:
    return GenerationQueue(generator, backend="inline", clock=FakeClock(), **options)


def ends(events: list[Ended]) -> list[tuple[int, Outcome]]:
    return [(e.request_id, e.outcome) for e in events]


def drain(queue: GenerationQueue) -> list[tuple[int, Outcome]]:
    out: list[tuple[int, Outcome]] = []
    while got := queue.wait():
        out += ends(got)
    return out


def test_a_request_is_done_with_its_result() -> None:
    queue = inline()
    assert queue.submit(make_request(1))
    (ended,) = queue.poll()
    assert ended.outcome is Outcome.DONE
    assert ended.result is not None
    assert ended.result.request_id == 1
    assert ended.seconds.keys() >= {"condition", "generate", "lift"}
    assert queue.poll() == []


def test_requests_end_in_their_order_one_each_call() -> None:
    queue = inline()
    for number in (3, 1, 2):
        queue.submit(make_request(number))
    assert [ends(queue.poll()) for _ in range(4)] == [
        [(3, Outcome.DONE)],
        [(1, Outcome.DONE)],
        [(2, Outcome.DONE)],
        [],
    ]


def test_the_same_request_gives_the_same_result_twice() -> None:
    results = []
    for _ in range(2):
        queue = inline()
        queue.submit(make_request(1))
        results.append(queue.wait()[0].result)
    first, second = results
    assert first.update.points.positions_world.tobytes() == second.update.points.positions_world.tobytes()
    assert first.frames.tobytes() == second.frames.tobytes()


def test_a_full_queue_rejects_with_the_reason() -> None:
    queue = inline(capacity=2)
    assert [queue.submit(make_request(n)) for n in (1, 2, 3)] == [True, True, False]
    rejected = [e for e in queue.poll() if e.outcome is Outcome.REJECTED]
    assert [(e.request_id, e.reason) for e in rejected] == [(3, "full")]


def test_a_closed_queue_rejects_and_has_cancelled_what_waited() -> None:
    queue = inline()
    queue.submit(make_request(1))
    assert queue.close()
    assert not queue.submit(make_request(2))
    events = queue.poll()
    assert ends(events) == [(1, Outcome.CANCELLED), (2, Outcome.REJECTED)]
    assert [e.reason for e in events] == ["closed", "closed"]
    assert queue.state == "closed"
    assert queue.close()


def test_an_identity_cannot_be_used_twice() -> None:
    queue = inline()
    queue.submit(make_request(1))
    with pytest.raises(ValueError, match="used before"):
        queue.submit(make_request(1))
    queue.poll()
    with pytest.raises(ValueError, match="used before"):
        queue.submit(make_request(1))


def test_a_request_without_frames_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one pose"):
        inline().submit(make_request(1, num_frames=0))


def test_a_request_of_another_epoch_is_rejected() -> None:
    queue = inline(epoch=5)
    assert queue.epoch == 5
    assert not queue.submit(make_request(1, epoch=4))
    assert "epoch 4" in queue.poll()[0].reason


def test_cancelling_what_waits_ends_it_once() -> None:
    queue = inline()
    queue.submit(make_request(1))
    queue.submit(make_request(2))
    assert queue.cancel(1)
    assert not queue.cancel(1)
    assert not queue.cancel(77)
    assert drain(queue) == [(1, Outcome.CANCELLED), (2, Outcome.DONE)]
    assert not queue.cancel(2)


def test_an_exception_ends_only_its_request() -> None:
    queue = inline(f"{MODULE}:RaisingGenerator")
    queue.submit(make_request(1, prompt="raise"))
    queue.submit(make_request(2))
    (failed,) = queue.poll()
    assert (failed.outcome, failed.reason) == (Outcome.FAILED, "ValueError: the prompt asked for it")
    assert queue.last_error == failed.reason
    assert ends(queue.poll()) == [(2, Outcome.DONE)]


def test_a_missing_library_fails_everything_until_a_reset() -> None:
    queue = inline(f"{MODULE}:LazyLoadingGenerator")
    queue.submit(make_request(1))
    queue.submit(make_request(2))
    events = queue.poll()
    assert ends(events) == [(1, Outcome.FAILED), (2, Outcome.FAILED)]
    assert "spatia[sam2]" in events[0].reason
    assert queue.state == "failed"
    assert not queue.submit(make_request(3))
    queue.reset()
    assert queue.submit(make_request(4))


def test_another_epoch_cancels_what_waits() -> None:
    queue = inline()
    queue.submit(make_request(1))
    queue.submit(make_request(2))
    assert queue.bump_epoch() == 1
    assert drain(queue) == [(1, Outcome.CANCELLED), (2, Outcome.CANCELLED)]
    assert queue.submit(make_request(3, epoch=1))


def test_counts_and_latencies_follow_the_ends() -> None:
    clock = FakeClock()
    queue = GenerationQueue(INSTANT, backend="inline", clock=clock)
    queue.submit(make_request(1))
    clock.advance(2.5)
    assert queue.poll()[0].latency_s == 2.5
    queue.submit(make_request(2))
    queue.cancel(2)
    queue.poll()
    assert queue.latencies == (2.5,)
    assert {o: n for o, n in queue.counts.items() if n} == {Outcome.DONE: 1, Outcome.CANCELLED: 1}


def test_an_interruption_is_passed_on_and_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = inline()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spatia.tests.fakes.InstantGenerator.generate", interrupt)
    queue.submit(make_request(1))
    with pytest.raises(KeyboardInterrupt):
        queue.poll()
    assert ends(queue.poll()) == [(1, Outcome.CANCELLED)]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="one of none, outpaint"):
        inline("nonsense")
    with pytest.raises(ValueError, match="capacity"):
        inline(capacity=0)
    with pytest.raises(ValueError, match="'process' or 'inline'"):
        GenerationQueue(INSTANT, backend="thread")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hang_s"):
        Patience(hang_s=0.0)
    with pytest.raises(ValueError, match="max_failures"):
        Patience(max_failures=0)


def test_back_off_doubles_up_to_its_bound() -> None:
    delays = [Patience().delay_s(n) for n in range(1, 9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert Patience().delay_s(10**6) == 30.0


# What the worker's side does to the books, without a worker.


def test_a_running_request_of_an_older_epoch_is_unwanted_and_ends_stale(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    assert ledger.unwanted_ids == ()
    ledger.bump_epoch()
    assert ledger.unwanted_ids == (1,)
    ledger.end_running(Outcome.DONE)
    assert ends(ledger.take_ended()) == [(1, Outcome.STALE)]


def test_a_failure_stays_one_even_in_another_epoch(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    ledger.bump_epoch()
    ledger.end_running(Outcome.FAILED, "crash")
    assert ends(ledger.take_ended()) == [(1, Outcome.FAILED)]


def test_a_done_request_that_was_not_polled_turns_stale_with_the_epoch(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    ledger.end_running(Outcome.DONE)
    ledger.bump_epoch()
    assert ends(ledger.take_ended()) == [(1, Outcome.STALE)]
    assert (ledger.counts[Outcome.DONE], ledger.counts[Outcome.STALE]) == (0, 1)


def test_a_cancelled_request_that_runs_never_ends_done(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    assert ledger.cancel(1)
    assert not ledger.cancel(1)
    assert ledger.unwanted_ids == (1,)
    ledger.end_running(Outcome.DONE)
    assert ends(ledger.take_ended()) == [(1, Outcome.CANCELLED)]


def test_the_running_request_does_not_count_against_the_capacity(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    assert [ledger.submit(make_request(n)) for n in (2, 3, 4)] == [True, True, False]
    assert (ledger.running_id, ledger.waiting_ids) == (1, (2, 3))


def test_only_one_request_runs(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.submit(make_request(2))
    assert ledger.start_next() is not None
    assert ledger.start_next() is None


def test_progress_is_that_of_the_running_request(ledger: Ledger) -> None:
    ledger.note_progress("ghost", 0.5)
    assert ledger.progress is None
    ledger.submit(make_request(1))
    ledger.start_next()
    ledger.note_progress("paint", 0.5)
    report = ledger.progress
    assert report is not None
    assert (report.request_id, report.phase, report.fraction) == (1, "paint", 0.5)
    ledger.end_running(Outcome.DONE)
    assert ledger.progress is None


def test_waiting_ends_when_something_ends_elsewhere(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    thread = threading.Thread(target=ledger.end_running, args=(Outcome.DONE,))
    thread.start()
    assert ends(ledger.take_ended(timeout_s=60.0)) == [(1, Outcome.DONE)]
    thread.join()


def test_waiting_for_nothing_returns_at_once(ledger: Ledger) -> None:
    assert ledger.take_ended(timeout_s=None) == []


def test_closing_ends_what_waits_and_runs_in_order(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    ledger.submit(make_request(2))
    ledger.close("closed")
    ledger.end_running(Outcome.DONE)
    assert ends(ledger.take_ended()) == [(1, Outcome.CANCELLED), (2, Outcome.CANCELLED)]


STEPS = st.lists(
    st.one_of(
        st.just(("submit", 0)),
        st.tuples(st.just("cancel"), st.integers(1, 12)),
        st.just(("epoch", 0)),
        st.just(("start", 0)),
        st.tuples(st.just("end"), st.sampled_from([Outcome.DONE, Outcome.FAILED, Outcome.CANCELLED])),
        st.just(("take", 0)),
        st.just(("fail", 0)),
        st.just(("recover", 0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_whatever_happens_every_request_ends_exactly_once(steps: list[tuple]) -> None:
    ledger = Ledger(capacity=2, clock=FakeClock(), epoch=0)
    submitted: list[int] = []
    seen: list[Ended] = []
    for what, argument in steps:
        match what:
            case "submit":
                submitted.append(len(submitted) + 1)
                ledger.submit(make_request(submitted[-1], epoch=ledger.epoch))
            case "cancel":
                ledger.cancel(argument)
            case "epoch":
                ledger.bump_epoch()
            case "start":
                ledger.start_next()
            case "end":
                ledger.end_running(argument)
            case "take":
                seen += ledger.take_ended()
            case "fail":
                ledger.fail_all("down")
            case "recover":
                ledger.set_state("idle")
    ledger.close("closed")
    seen += ledger.take_ended()
    assert sorted(e.request_id for e in seen) == submitted
    assert ledger.counts == {o: sum(e.outcome is o for e in seen) for o in Outcome}


def test_an_inline_queue_that_is_forgotten_leaves_nothing() -> None:
    queue = inline()
    queue.submit(make_request(1))
    queue.poll()
    backend = queue._backend
    del queue
    gc.collect()
    assert backend._ledger.state == "closed"
