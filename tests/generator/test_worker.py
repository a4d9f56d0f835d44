"""The worker process: faults in every phase end one request, and nothing is ever left behind."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spatia.generator.none import NoneGenerator
from spatia.generator.pipeline import run_request
from spatia.generator.queue import Ended, GenerationQueue, Outcome, Patience
from spatia.generator.worker import Fault, FaultKind, fault_of
from spatia.tests.fakes import (
    MODULE,
    PLANE_DEPTH_M,
    InstantGenerator,
    RecordingProgress,
    make_request,
    shared_memory,
    wall_memory,
)

FAULTY = f"{MODULE}:FaultyGenerator"
LONG_S = 120.0
"""Far beyond what anything here takes; a test that needs it has failed."""
QUICK = Patience(start_s=LONG_S, hang_s=LONG_S, first_hang_s=LONG_S, backoff_s=0.01, max_backoff_s=0.02)


@contextmanager
def queue_of(generator: str = FAULTY, patience: Patience = QUICK, **options: Any) -> Iterator[GenerationQueue]:
    shared, before = shared_memory(), set(children())
    queue = GenerationQueue(generator, patience=patience, **options)
    try:
        yield queue
    finally:
        assert queue.close()
        assert set(children()) <= before
        assert shared_memory() <= shared


def children() -> list[int]:
    """Process identities of this process's children, zombies included, and those of others that share the process.

    Other tests leave some behind on purpose of the standard library: multiprocessing's resource tracker lives as long
    as the interpreter. What a test must not leave is what was not there before.
    """
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def wait_for(queue: GenerationQueue, count: int = 1) -> dict[int, Ended]:
    out: dict[int, Ended] = {}
    while len(out) < count and (events := queue.wait(LONG_S)):
        out |= {e.request_id: e for e in events}
    return out


def wait_until(is_true: Callable[[], bool]) -> None:
    """Look again whenever 5 ms are over, for facts of another process that wake nobody here."""
    for _ in range(int(LONG_S / 0.005)):
        if is_true():
            return
        select.select([], [], [], 0.005)
    raise AssertionError("it never came true")


def wait_for_phase(queue: GenerationQueue, phase: str) -> None:
    wait_until(lambda: (report := queue.progress) is not None and report.phase == phase)


def test_a_worker_gets_ready_before_its_first_request() -> None:
    preparation = make_request(0, prompt="hall")
    with queue_of(f"{MODULE}:PreparedGenerator", preparation=preparation) as queue:
        queue.submit(make_request(1, prompt="hall"))
        assert wait_for(queue)[1].outcome is Outcome.DONE


def test_the_start_of_a_worker_can_be_waited_for() -> None:
    with queue_of(f"{MODULE}:PreparedGenerator", preparation=make_request(0, prompt="hall")) as queue:
        assert queue.wait_for_start(LONG_S)
        assert queue.state == "idle"
    assert queue.wait_for_start(LONG_S)  # closed: it will never be ready


def test_a_restarted_worker_gets_ready_again() -> None:
    preparation = make_request(0, prompt="hall")
    with queue_of(f"{MODULE}:PreparedGenerator", preparation=preparation) as queue:
        queue.submit(make_request(1, prompt="hall"))
        wait_for(queue)
        os.kill(queue.worker_pid or 0, signal.SIGKILL)
        queue.submit(make_request(2, prompt="hall"))
        assert wait_for(queue)[2].outcome in (Outcome.DONE, Outcome.FAILED)  # failed if it was sent to the dying one
        queue.submit(make_request(3, prompt="hall"))
        assert wait_for(queue)[3].outcome is Outcome.DONE


def test_what_fails_to_get_ready_says_so_with_its_first_request() -> None:
    with queue_of(f"{MODULE}:PreparedGenerator", preparation=make_request(0, prompt="bad")) as queue:
        queue.submit(make_request(1, prompt="hall"))
        ended = wait_for(queue)[1]
        assert ended.outcome is Outcome.FAILED
        assert "prepared for None" in ended.reason


def wait_for_state(queue: GenerationQueue, state: str) -> None:
    wait_until(lambda: queue.state == state)


def group_of(leader_pid: int) -> list[int]:
    """Processes of a process group."""
    out = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader_pid and fields[0] != "Z":
            out.append(int(stat.parent.name))
    return out


def wait_for_end_of(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    readable, _, _ = select.select([descriptor], [], [], LONG_S)
    os.close(descriptor)
    assert readable, f"process {pid} is still there"


def test_the_worker_gives_what_the_pipeline_gives_here() -> None:
    request = make_request(1, memory=wall_memory().snapshot())
    here = run_request(request, InstantGenerator(), RecordingProgress())
    with queue_of(f"{MODULE}:InstantGenerator") as queue:
        queue.submit(request)
        there = wait_for(queue)[1].result
    assert there is not None
    assert there.update.points.positions_world.tobytes() == here.update.points.positions_world.tobytes()
    assert there.update.report.estimator == here.update.report.estimator
    assert there.update.keyframes[0].point_class is here.update.keyframes[0].point_class
    np.testing.assert_array_equal(there.frames, here.frames)
    assert np.abs(there.update.points.positions_world[:, 2] - PLANE_DEPTH_M).max() < 0.05


def test_the_generator_none_runs_in_a_worker_and_adds_nothing() -> None:
    with queue_of(NoneGenerator.name) as queue:
        queue.submit(make_request(1, memory=wall_memory().snapshot()))
        ended = wait_for(queue)[1]
    assert ended.outcome is Outcome.DONE
    assert len(ended.result.update.points) == 0


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("crash in condition", "killed by SIGKILL"),
        ("crash in generate", "killed by SIGKILL"),
        ("crash in lift", "killed by SIGKILL"),
        ("leave", "ended by itself with status 3"),
        ("abort", "killed by SIGABRT"),
        ("allocate", "out of memory"),
        ("garbage depth", "garbage: clip.depth_m"),
        ("garbage type", "garbage: the generator returned str"),
    ],
)
def test_a_fault_ends_its_request_and_the_next_one_gets_a_new_worker(prompt: str, reason: str) -> None:
    with queue_of() as queue:
        first_pid = queue.worker_pid
        queue.submit(make_request(1, prompt=prompt))
        queue.submit(make_request(2))
        ended = wait_for(queue, 2)
        assert (ended[1].outcome, ended[2].outcome) == (Outcome.FAILED, Outcome.DONE)
        assert reason in ended[1].reason
        assert queue.last_error == ended[1].reason
        assert queue.worker_pid != first_pid


def test_a_crash_takes_the_workers_own_children_along() -> None:
    with queue_of() as queue:
        wait_for_state(queue, "idle")
        first_pid = queue.worker_pid
        queue.submit(make_request(1, prompt="crash beside a child"))
        assert wait_for(queue)[1].outcome is Outcome.FAILED
        wait_until(lambda: group_of(first_pid) == [])


def test_an_exception_leaves_the_worker_alive() -> None:
    with queue_of() as queue:
        wait_for_state(queue, "idle")
        pid = queue.worker_pid
        queue.submit(make_request(1, prompt="raise"))
        queue.submit(make_request(2))
        ended = wait_for(queue, 2)
        assert ended[1].reason == "ValueError: the prompt asked for it"
        assert ended[2].outcome is Outcome.DONE
        assert queue.worker_pid == pid


def test_a_hang_ends_its_request_after_its_time() -> None:
    with queue_of(patience=Patience(hang_s=0.2, first_hang_s=20.0, backoff_s=0.01)) as queue:
        queue.submit(make_request(1))
        assert wait_for(queue)[1].outcome is Outcome.DONE  # a first use may take longer
        queue.submit(make_request(2, prompt="hang"))
        ended = wait_for(queue)[2]
        assert ended.outcome is Outcome.FAILED
        assert ended.reason.startswith("hang")
        queue.submit(make_request(3))
        assert wait_for(queue)[3].outcome is Outcome.DONE


def test_a_stopped_worker_is_a_hang() -> None:
    with queue_of(patience=Patience(hang_s=1.0, first_hang_s=LONG_S, backoff_s=0.01)) as queue:
        queue.submit(make_request(1))
        wait_for(queue)
        queue.submit(make_request(2, prompt="step"))
        wait_for_phase(queue, "dream")
        os.kill(queue.worker_pid, signal.SIGSTOP)
        assert wait_for(queue)[2].reason.startswith("hang")


def test_a_running_request_is_cancelled_between_two_steps() -> None:
    with queue_of() as queue:
        queue.submit(make_request(1, prompt="step"))
        wait_for_phase(queue, "dream")
        pid = queue.worker_pid
        assert queue.state == "busy"
        assert queue.cancel(1)
        assert wait_for(queue)[1].outcome is Outcome.CANCELLED
        queue.submit(make_request(2))
        assert wait_for(queue)[2].outcome is Outcome.DONE
        assert queue.worker_pid == pid


def test_another_epoch_makes_what_runs_stale_and_frees_the_worker() -> None:
    with queue_of() as queue:
        queue.submit(make_request(1, prompt="step"))
        queue.submit(make_request(2))
        wait_for_phase(queue, "dream")
        queue.bump_epoch()
        queue.submit(make_request(3, epoch=1))
        ended = wait_for(queue, 3)
        assert [ended[n].outcome for n in (1, 2, 3)] == [Outcome.STALE, Outcome.CANCELLED, Outcome.DONE]


def test_a_worker_killed_while_idle_is_replaced_and_loses_no_request() -> None:
    with queue_of() as queue:
        queue.submit(make_request(1))
        wait_for(queue)
        os.kill(queue.worker_pid, signal.SIGKILL)
        queue.submit(make_request(2))
        ended = wait_for(queue)[2]
        # Either it was handed over to the dying worker and failed, or it waited for the new one.
        assert ended.outcome in (Outcome.DONE, Outcome.FAILED)
        queue.submit(make_request(3))
        assert wait_for(queue)[3].outcome is Outcome.DONE


def test_failures_in_a_row_take_the_worker_down_until_a_reset() -> None:
    patience = Patience(backoff_s=0.01, max_backoff_s=0.01, max_failures=2)
    with queue_of(patience=patience) as queue:
        for number in (1, 2):
            queue.submit(make_request(number, prompt="leave"))
        queue.submit(make_request(3))
        ended = wait_for(queue, 3)
        assert {e.outcome for e in ended.values()} == {Outcome.FAILED}
        assert "down" in ended[3].reason
        assert queue.state == "failed"
        assert not queue.submit(make_request(4))
        wait_for(queue)
        queue.reset()
        wait_for_state(queue, "idle")
        queue.submit(make_request(5))
        assert wait_for(queue)[5].outcome is Outcome.DONE


def test_a_generator_that_cannot_be_made_is_tried_again_before_it_is_given_up() -> None:
    patience = Patience(backoff_s=0.01, max_backoff_s=0.01, max_failures=2)
    with queue_of(f"{MODULE}:BrokenStartGenerator", patience) as queue:
        queue.submit(make_request(1))
        ended = wait_for(queue)[1]
        assert ended.outcome is Outcome.FAILED
        assert "no room on the device" in ended.reason
        assert queue.state == "failed"


def test_a_missing_library_is_not_tried_again() -> None:
    with queue_of(f"{MODULE}:LazyLoadingGenerator") as queue:
        queue.submit(make_request(1))
        assert "spatia[sam2]" in wait_for(queue)[1].reason
        assert queue.state == "failed"


def test_closing_kills_a_worker_that_hangs_and_cancels_everything() -> None:
    with queue_of() as queue:
        queue.submit(make_request(1, prompt="hang"))
        queue.submit(make_request(2))
        wait_for_phase(queue, "paint")
        pid = queue.worker_pid
        assert queue.close(timeout_s=0.1)
        ended = {e.request_id: e.outcome for e in queue.poll()}
        assert ended == {1: Outcome.CANCELLED, 2: Outcome.CANCELLED}
        assert not Path(f"/proc/{pid}").exists()
        assert queue.close()


def test_closing_at_once_leaves_no_process() -> None:
    with queue_of() as queue:
        assert queue.close(timeout_s=0.0)
        assert queue.state == "closed"


def test_a_queue_that_is_forgotten_takes_its_worker_along() -> None:
    before = set(children())
    queue = GenerationQueue(FAULTY, patience=QUICK)
    wait_for_state(queue, "idle")
    assert len(set(children()) - before) == 1
    del queue
    assert set(children()) <= before


def test_the_worker_is_polite_and_imports_neither_window_nor_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPATIA_NICENESS")
    with queue_of() as queue:
        queue.submit(make_request(1, prompt="settings"))
        settings = wait_for(queue)[1].reason
        queue.submit(make_request(2, prompt="modules"))
        modules = set(wait_for(queue)[2].reason.split())
    assert f"nice {min(19, os.nice(0) + 10)} threads 1 main True" in settings
    assert modules == {"ValueError:", "numpy"}


SCRIPT = """
import sys
from spatia.generator.queue import GenerationQueue
from spatia.tests.fakes import FaultyGenerator, make_request

queue = GenerationQueue("spatia.tests.fakes:FaultyGenerator")
queue.submit(make_request(1, prompt=sys.argv[1]))
queue.submit(make_request(2))
{rest}
"""


def start_parent(tmp_path: Path, prompt: str, rest: str) -> subprocess.Popen:
    """Run a script without a main guard that owns a queue."""
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT.format(rest=textwrap.dedent(rest)))
    command = [sys.executable, "-W", "error", str(script), prompt]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("prompt", ["hang", "step"])
def test_a_parent_killed_by_force_leaves_no_process_and_no_shared_memory(prompt: str, tmp_path: Path) -> None:
    shared = shared_memory()
    rest = """
    import threading
    while queue.progress is None or queue.progress.phase not in ("paint", "dream"):
        threading.Event().wait(0.01)
    print(queue.worker_pid, flush=True)
    threading.Event().wait()
    """
    parent = start_parent(tmp_path, prompt, rest)
    worker_pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    if Path(f"/proc/{worker_pid}").exists():
        wait_for_end_of(worker_pid)
    assert shared_memory() <= shared


def test_a_script_without_a_main_guard_that_forgets_to_close_ends_in_silence(tmp_path: Path) -> None:
    parent = start_parent(tmp_path, "", "print([e.outcome.name for e in queue.wait(120)], queue.worker_pid)")
    out, err = parent.communicate()
    assert parent.returncode == 0
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 1, "the script ran more than once"
    assert lines[0].startswith("['DONE']")
    assert not Path(f"/proc/{lines[0].split()[-1]}").exists()


def test_a_fault_keeps_its_kind_over_the_wire() -> None:
    for kind in FaultKind:
        fault = Fault("why", "where", kind)
        assert Fault.from_message(fault.to_message()) == fault


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError("much"), FaultKind.WORKER, "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), FaultKind.WORKER, "out of memory"),
        (ValueError("two\nlines"), FaultKind.REQUEST, "ValueError: two lines"),
    ],
)
def test_an_error_is_told_in_one_line_with_what_it_means(error: Exception, kind: FaultKind, words: str) -> None:
    fault = fault_of(error)
    assert fault.kind is kind
    assert words in fault.reason
    assert "\n" not in fault.reason
