"""Frames come before their clip is done, and the next clip is made while the one before is lifted."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from spatia.generator.ledger import Ledger, Made, Outcome
from spatia.generator.queue import GenerationQueue, Patience
from spatia.generator.requests import ClipRequest, GenerationCancelledError
from spatia.generator.sequel import Sequels
from spatia.generator.worker import PREVIEW_WIDTH, shrunk
from spatia.tests.fakes import MODULE, FakeClock, make_request, wall_memory
from spatia.tests.generator.test_worker import LONG_S, QUICK, wait_for, wait_until
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.updates import MapUpdate, UpdateReport

FILM = f"{MODULE}:FilmGenerator"
FRAMES = 12


@pytest.fixture(scope="module")
def queue() -> Iterator[GenerationQueue]:
    """One worker for all, which those that kill it have replaced."""
    with GenerationQueue(FILM, patience=QUICK, capacity=8) as queue:
        yield queue


class _Numbers:
    last = 0


def ask(queue: GenerationQueue, prompt: str = "", after: int = 0) -> int:
    """Submit a request of twelve frames under a new identity."""

    _Numbers.last += 1
    request = make_request(_Numbers.last, prompt=prompt, num_frames=FRAMES, epoch=queue.epoch)
    assert queue.submit(replace(request, after=after))
    return _Numbers.last


def test_finished_frames_are_there_while_the_clip_is_being_made(queue: GenerationQueue) -> None:
    clip = ask(queue, "show")
    wait_until(lambda: queue.preview is not None)
    preview = queue.preview
    assert preview is not None
    assert (preview.request_id, preview.num_frames) == (clip, 2)
    assert (preview.pieces[0] == clip).all()
    queue.cancel(clip)
    assert wait_for(queue)[clip].outcome is Outcome.CANCELLED
    assert queue.preview is None


def test_the_next_clip_is_made_while_the_one_before_is_lifted(queue: GenerationQueue) -> None:
    first, second = ask(queue, "meet"), ask(queue)  # the first ends only if the second begins
    ended = wait_for(queue, 2)
    assert [ended[n].outcome for n in (first, second)] == [Outcome.DONE] * 2
    assert list(ended) == [first, second]


def test_the_last_frames_are_there_before_the_clip_is_lifted(queue: GenerationQueue) -> None:
    queue.take_made()
    first = ask(queue, "stay")
    wait_until(lambda: queue.lifting_id == first)
    (made,) = queue.take_made()
    assert made.request_id == first
    assert made.tail is not None
    assert made.tail.shape == (9, 24, 32, 3)
    second = ask(queue, "crash")  # the only way to end what stays for ever
    ended = wait_for(queue, 2)
    assert (ended[first].outcome, ended[second].outcome) == (Outcome.FAILED, Outcome.FAILED)


def test_a_clip_with_poses_of_its_own_gives_no_tail_to_go_on_from(queue: GenerationQueue) -> None:
    queue.take_made()
    clip = ask(queue, "elsewhere")
    assert wait_for(queue)[clip].outcome is Outcome.DONE
    (made,) = queue.take_made()
    assert made.tail is None


def test_a_clip_that_is_lifted_can_be_cancelled_while_the_next_goes_on(queue: GenerationQueue) -> None:
    first = ask(queue, "meet")
    wait_until(lambda: queue.lifting_id == first)
    assert queue.cancel(first)
    second = ask(queue)
    ended = wait_for(queue, 2)
    assert (ended[first].outcome, ended[second].outcome) == (Outcome.CANCELLED, Outcome.DONE)


def test_a_crash_ends_both_and_the_next_worker_goes_on(queue: GenerationQueue) -> None:
    first, second, third = ask(queue, "stay"), ask(queue, "crash"), ask(queue)
    ended = wait_for(queue, 3)
    assert [ended[n].outcome for n in (first, second, third)] == [Outcome.FAILED, Outcome.FAILED, Outcome.DONE]


def test_a_clip_that_is_nearly_done_survives_the_next_ones_lack_of_memory(queue: GenerationQueue) -> None:
    first, second = ask(queue, "meet"), ask(queue, "allocate")
    ended = wait_for(queue, 2)
    assert ended[first].outcome is Outcome.DONE
    assert ended[second].reason.startswith("out of memory")


def test_more_frames_than_asked_for_are_an_error(queue: GenerationQueue) -> None:
    clip = ask(queue, "wide")
    assert "shown frames" in wait_for(queue)[clip].reason


def test_a_clip_that_goes_on_from_one_that_is_not_here_is_cancelled(queue: GenerationQueue) -> None:
    clip = ask(queue, after=9999)
    assert wait_for(queue)[clip].outcome is Outcome.CANCELLED


def test_lifting_that_makes_no_step_is_a_hang() -> None:
    patience = Patience(hang_s=0.2, first_hang_s=LONG_S, backoff_s=0.01)
    with GenerationQueue(FILM, patience=patience) as queue:
        ask(queue)
        wait_for(queue)
        clip = ask(queue, "stay")
        assert wait_for(queue)[clip].reason.startswith("hang")


def test_clips_that_bring_depth_are_lifted_at_once() -> None:
    with GenerationQueue(f"{MODULE}:InstantGenerator", patience=QUICK) as queue:
        clip = ask(queue)
        assert wait_for(queue)[clip].outcome is Outcome.DONE
        assert queue.take_made() == []


def test_shown_frames_are_made_small() -> None:
    frames = np.zeros((2, 90, 4 * PREVIEW_WIDTH, 3), np.uint8)
    assert shrunk(frames).shape == (2, 22, PREVIEW_WIDTH, 3)
    small = np.zeros((2, 9, 16, 3), np.uint8)
    assert shrunk(small) is small


# The books.


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(capacity=4, clock=FakeClock(), epoch=0)


def test_only_one_clip_is_lifted_at_a_time(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.submit(make_request(number, num_frames=FRAMES))
        ledger.start_next()
        if number == 1:
            ledger.start_lifting(Made(1, None))
    with pytest.raises(ValueError, match="cannot be lifted now"):
        ledger.start_lifting(Made(2, None))


def test_frames_beyond_the_clip_or_of_another_size_are_refused(ledger: Ledger) -> None:
    ledger.submit(make_request(1, num_frames=3))
    ledger.start_next()
    ledger.note_preview(1, np.zeros((2, 8, 8, 3), np.uint8))
    for piece in (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 8, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match="beyond"):
            ledger.note_preview(1, piece)
    with pytest.raises(ValueError, match="does not run"):
        ledger.note_preview(2, np.zeros((1, 8, 8, 3), np.uint8))


def test_a_clip_that_is_lifted_counts_as_under_way(ledger: Ledger) -> None:
    ledger.submit(make_request(1))
    ledger.start_next()
    ledger.start_lifting(Made(1, None))
    ledger.forget_ended()
    with pytest.raises(ValueError, match="used before"):
        ledger.submit(make_request(1))
    ledger.bump_epoch()
    assert ledger.unwanted_ids == (1,)
    assert ledger.take_made() == []
    ledger.end(1, Outcome.DONE)
    (ended,) = ledger.take_ended()
    assert ended.outcome is Outcome.STALE


# Lifting what goes on from a clip that memory does not hold yet.


def _request(number: int, after: int = 0, x_m: float = 0.0) -> ClipRequest:

    poses = np.repeat(np.eye(4)[None], 3, 0)
    poses[:, 0, 3] = x_m
    request = make_request(number, memory=wall_memory().snapshot(), num_frames=3)
    return replace(request, world_T_camera=poses, after=after)


def _update(request: ClipRequest, moved_m: float, rejected: str = "") -> MapUpdate:
    points = np.array([[0.0, 0.0, 5.0]], np.float32)
    color = np.array([[0, 200, 0]], np.uint8)
    batch = PointBatch.uniform(points, color, priority=priority_of(PointClass.INVENTED, 40), keyframe=100, weights=8)
    poses = request.world_T_camera.copy()
    poses[:, 2, 3] += moved_m
    return MapUpdate(batch, (), (), poses, UpdateReport("stand-in", rejected))


def test_a_sequel_is_lifted_on_memory_with_the_clip_before_it_and_moved_as_that_was() -> None:
    sequels, first, second = Sequels(), _request(1), _request(2, after=1, x_m=1.0)
    sequels.note(first, _update(first, 0.05))
    placed = sequels.placed(second)
    assert placed.memory.num_points == second.memory.num_points + 1
    np.testing.assert_allclose(placed.world_T_camera[:, :3, 3], [[1.0, 0.0, 0.05]] * 3)
    assert second.memory.num_points == wall_memory().num_points


def test_a_request_that_goes_on_from_nothing_is_lifted_as_it_is() -> None:
    sequels, first, second = Sequels(), _request(1), _request(2)
    sequels.note(first, _update(first, 0.05))
    assert sequels.placed(second) is second


def test_a_sequel_of_a_clip_that_did_not_fit_memory_is_given_up() -> None:
    sequels, first = Sequels(), _request(1)
    with pytest.raises(GenerationCancelledError, match="is not here"):
        sequels.placed(_request(2, after=1))
    sequels.note(first, _update(first, 0.05, rejected="too far"))
    with pytest.raises(GenerationCancelledError, match="did not fit"):
        sequels.placed(_request(2, after=1))
