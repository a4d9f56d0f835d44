"""How far work beside the drawing stands back."""

import os
import threading

import pytest
from spatia.generator.cores import leave_first_core, niceness_from
from spatia.generator.queue import GenerationQueue


def cores_of_a_thread_that_left_one() -> set[int]:
    out: list[set[int]] = []

    def leave() -> None:
        leave_first_core()
        out.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    return out[0]


def test_a_worker_stands_back_unless_told_otherwise() -> None:
    assert [niceness_from(e) for e in ({}, {"SPATIA_NICENESS": ""}, {"SPATIA_NICENESS": "3"})] == [10, 10, 3]


@pytest.mark.parametrize("text", ["20", "-1", "low", "1.5"])
def test_a_niceness_that_is_none_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_NICENESS", text)
    with pytest.raises(ValueError, match=f"SPATIA_NICENESS: expected a whole number from 0 to 19, got '{text}'"):
        GenerationQueue("none")


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores to leave one"
)
def test_the_first_core_is_left_where_work_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.sched_getaffinity(0)
    monkeypatch.setenv("SPATIA_NICENESS", "10")
    assert cores_of_a_thread_that_left_one() == allowed - {min(allowed)}
    monkeypatch.setenv("SPATIA_NICENESS", "0")
    assert cores_of_a_thread_that_left_one() == allowed
