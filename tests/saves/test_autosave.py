"""The background saver: the latest state wins, failures are data, and saved means on the disk."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from spatia.saves.autosave import Saver
from spatia.saves.errors import WorldWriteError
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.saves.writing import SaveReport
from spatia.tests.saves.worlds import assert_same_state, make_state


class GatedStore:
    """Saves only when a test lets it; fails as often as told."""

    def __init__(self) -> None:
        self.begun, self.gate = threading.Semaphore(0), threading.Semaphore(0)
        self.saved: list[WorldState] = []
        self.failures = 0

    def save(self, state: WorldState) -> SaveReport:
        self.begun.release()
        self.gate.acquire()
        if self.failures:
            self.failures -= 1
            raise WorldWriteError("disk full")
        self.saved.append(state)
        return SaveReport(chunks=1)


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
def saver(store: GatedStore) -> Iterator[Saver]:
    saver = Saver(store)
    yield saver
    for _ in range(10):
        store.gate.release()
    saver.close(10)


def states(n: int) -> list[WorldState]:
    return [replace(make_state(1), state={"n": i}) for i in range(n)]


def test_a_requested_state_is_saved(store: GatedStore, saver: Saver) -> None:
    (state,) = states(1)
    store.gate.release()
    saver.request(state)
    assert saver.flush(10)
    assert store.saved == [state]
    assert saver.last_result is not None
    assert saver.last_result.report == SaveReport(chunks=1)


def test_the_latest_of_the_waiting_states_wins(store: GatedStore, saver: Saver) -> None:
    first, second, third = states(3)
    saver.request(first)
    assert store.begun.acquire(timeout=10)
    saver.request(second)
    saver.request(third)
    store.gate.release()
    store.gate.release()
    assert saver.flush(10)
    assert store.saved == [first, third]


def test_it_is_dirty_until_the_store_accepted(store: GatedStore, saver: Saver) -> None:
    assert not saver.is_dirty
    saver.request(states(1)[0])
    assert store.begun.acquire(timeout=10)
    assert saver.is_dirty
    assert not saver.flush(0)
    store.gate.release()
    assert saver.flush(10)
    assert not saver.is_dirty


def test_a_failure_is_reported_and_leaves_it_dirty(store: GatedStore, saver: Saver) -> None:
    store.failures = 1
    store.gate.release()
    saver.request(states(1)[0])
    assert not saver.flush(10)
    assert saver.is_dirty
    assert saver.last_result is not None
    assert isinstance(saver.last_result.error, WorldWriteError)


def test_a_failed_state_is_tried_again(store: GatedStore, saver: Saver) -> None:
    (state,) = states(1)
    store.failures = 1
    store.gate.release()
    saver.request(state)
    assert not saver.flush(10)
    store.gate.release()
    assert saver.flush(10)
    assert store.saved == [state]


def test_closing_saves_what_is_pending_and_ends_the_thread(store: GatedStore) -> None:
    saver = Saver(store)
    store.gate.release()
    saver.request(states(1)[0])
    assert saver.close(10)
    assert len(store.saved) == 1
    assert not any(t.name == "spatia-saver" and t.is_alive() for t in threading.enumerate())
    with pytest.raises(RuntimeError, match="closed"):
        saver.request(states(1)[0])


def test_each_save_is_told_to_the_listener(store: GatedStore) -> None:
    told = []
    saver = Saver(store, on_result=told.append)
    store.gate.release()
    saver.request(states(1)[0])
    saver.close(10)
    assert [r.is_saved for r in told] == [True]


def test_a_saver_fills_a_world_file(tmp_path: Path) -> None:
    state = make_state()
    with WorldFile.create(tmp_path / "home.spatia") as world:
        saver = Saver(world)
        saver.request(state)
        assert saver.close(30)
    with WorldFile.open(tmp_path / "home.spatia", read_only=True) as world:
        assert_same_state(world.load(), state)


def test_a_task_runs_between_saves_and_drops_an_older_state(store: GatedStore, saver: Saver) -> None:
    first, older, newer = states(3)
    saver.request(first)
    store.begun.acquire()
    saver.request(older)
    order: list[int] = []
    future = saver.submit(lambda: order.append(len(store.saved)))
    saver.request(newer)
    assert saver.is_dirty
    store.gate.release()
    store.gate.release()
    assert saver.flush(10)
    assert future.done()
    assert order == [1]
    assert [s.state["n"] for s in store.saved] == [0, 2]


def test_a_task_that_fails_tells_who_waits_for_it(store: GatedStore, saver: Saver) -> None:
    def fail() -> None:
        raise WorldWriteError("disk full")

    future = saver.submit(fail)
    with pytest.raises(WorldWriteError, match="disk full"):
        future.result(10)
    assert saver.flush(10)
