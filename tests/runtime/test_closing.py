"""A walk that comes back has drift taken out of its memory, and everything else follows."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import spatia
from spatia.generator.ledger import Ended, Outcome
from spatia.generator.pipeline import ClipResult
from spatia.generator.requests import ClipRequest
from spatia.input.intents import Intent
from spatia.runtime.closing import correction_from, move_director
from spatia.runtime.director import ClipPlan
from spatia.runtime.drafting import moment_of
from spatia.runtime.merging import Merge
from spatia.runtime.record import RecordedClosure, RecordedMerge, RecordedTakeBack, Recorder, Recording
from spatia.runtime.session import Session
from spatia.runtime.settled import Settled
from spatia.runtime.world import World, create
from spatia.saves.sources import Source, SourceFrame
from spatia.tests.world.slam.corner import view
from spatia.world.points import PointClass
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.update import build_update
from spatia.world.transforms import invert, look, rotation_about
from spatia.world.updates import MapUpdate

ANGLES = np.linspace(0, 2 * np.pi, 11)
WAY = np.stack(
    [look((0.5 * np.sin(a), 0.05 * np.sin(2 * a), 0.5 - 0.5 * np.cos(a)), 0.2 * np.sin(a), 0.0) for a in ANGLES]
)
FRAMES = [view(pose) for pose in WAY]
PER_CLIP = 2


def _drifted() -> np.ndarray:
    off = np.eye(4)
    off[:3, :3], off[:3, 3] = rotation_about((1, 1, 0), np.deg2rad(0.25)), (0.012, 0, 0.012)
    out = [WAY[0]]
    for before, after in pairwise(WAY):
        out.append(out[-1] @ invert(before) @ after @ off)
    return np.stack(out)


DRIFTED = _drifted()


def _session() -> Session:
    first = FRAMES[0]
    frame = SourceFrame(first.color, first.depth_m, first.pinhole, np.eye(4), None)
    source = Source(name="corner", kind="sample", frames=(frame,), metric=True, note="made up")
    session = Session(create(source, voxel_size_m=0.02), "none", wait=True, size=(320, 240))
    session.director.wants_key_views = False
    return session


def _update(session: Session, clip: int) -> tuple[MapUpdate, ClipRequest]:
    """The clip's update at its drifted poses, as a worker would send it, and its request."""
    rows = slice(1 + PER_CLIP * clip, 1 + PER_CLIP * (clip + 1))
    frames = FRAMES[rows]
    stack = FrameStack(
        np.stack([f.color for f in frames]),
        np.stack([f.depth_m for f in frames]),
        None,
        None,
        None,
        DRIFTED[rows],
        frames[0].pinhole,
    )
    clips = session.clips
    plan = ClipPlan(DRIFTED[rows], frames[0].pinhole, "way", 0.5)
    number, walk = session.world.walk.next_request_id, session.world.walk
    walk.next_request_id += 1
    first_id = session.world.bank.reserve_ids(PER_CLIP)
    draft = clips.request_of(plan, moment_of(clips.world))
    request = replace(draft, request_id=number, first_keyframe_id=first_id)
    clips._requests[number] = request, plan
    clips.director.submitted(number, plan)
    update = build_update(
        stack,
        memory=session.world.memory.snapshot(),
        point_class=PointClass.INVENTED,
        rank=40,
        request_id=request.request_id,
        first_keyframe_id=request.first_keyframe_id,
        align=False,
    )
    return update, request


def _merge(session: Session, clip: int) -> None:
    update, request = _update(session, clip)
    tail = np.zeros((PER_CLIP, 240, 320, 3), np.uint8)
    result = ClipResult(request.request_id, 0, update, tail, None)
    ended = Ended(request.request_id, Outcome.DONE)
    session.clips.merging.apply(
        Merge(ended, result), *session.clips.merging.stage(update, session.world.memory.snapshot())
    )


@pytest.fixture(scope="module")
def walked() -> Session:
    """A walk of five clips, the last of which comes back to where it began."""
    session = _session()
    for clip in range(5):
        _merge(session, clip)
    return session


def _closures(world: World) -> list:
    return [e for e in world.journal if e.kind == "closure"]


def _end_error_m(world: World) -> float:
    last = max(world.bank.keyframes, key=lambda k: k.keyframe_id)
    return float(np.linalg.norm(last.world_T_camera[:3, 3] - WAY[last.keyframe_id - 1][:3, 3]))


def test_a_walk_that_comes_back_is_corrected(walked: Session) -> None:
    assert np.linalg.norm(DRIFTED[-1, :3, 3] - WAY[-1, :3, 3]) > 0.1
    assert len(_closures(walked.world)) >= 1
    assert _end_error_m(walked.world) < 0.03


def test_points_follow_their_keyframes(walked: Session) -> None:
    points = walked.world.memory.points()
    new = points.positions_world[points.keyframe > 7]
    wall = new[np.abs(new[:, 2] - 3.0) < 0.25]
    assert len(wall) > 100
    assert np.median(np.abs(wall[:, 2] - 3.0)) < 0.02


def test_the_correction_stands_in_the_journal_and_the_report(walked: Session) -> None:
    facts = _closures(walked.world)[-1].data
    assert facts["residual_after"] < facts["residual_before"]
    assert facts["voxels_moved"] > 0
    closures = walked.metrics.summary()["closures"]
    assert closures["count"] == len(_closures(walked.world))
    assert closures["largest_move_m"] > 0.05


def test_the_tail_follows(walked: Session) -> None:
    tail = walked.director.tails[-1]
    np.testing.assert_allclose(tail.world_T_camera[-1, :3, 3], WAY[-1, :3, 3], atol=0.03)


def test_a_settled_direction_moves_with_the_last_keyframe_of_its_clip(walked: Session) -> None:
    session, correction = _session(), correction_from(_closures(walked.world)[-1].data)
    bank = walked.world.bank.snapshot()
    last = max(k.request_id for k in bank.keyframes)
    session.director.settled = [Settled(last, DRIFTED[-1], 0.1)]
    move_director(session.director, correction, bank)
    last_id = max(k.keyframe_id for k in bank.keyframes)
    np.testing.assert_allclose(session.director.settled[0].world_T_camera, correction.of(last_id) @ DRIFTED[-1])


def test_a_saved_world_keeps_the_corrected_poses_and_the_journal(walked: Session, tmp_path: Path) -> None:
    path = walked.world.save(tmp_path / "corner.spatia")
    saved = spatia.open(path, read_only=True)
    for before, after in zip(walked.world.bank.keyframes, saved.bank.keyframes, strict=True):
        np.testing.assert_allclose(after.world_T_camera, before.world_T_camera, atol=1e-12)
    again = correction_from(_closures(saved)[-1].data)
    assert again.of(11)[:3, 3] == pytest.approx(correction_from(_closures(walked.world)[-1].data).of(11)[:3, 3])


def test_undo_goes_back_to_what_was_before_the_clip_and_its_correction() -> None:
    session = _session()
    moments = []
    for clip in range(5):
        world = session.world
        moments.append((world.content_hash(), [k.world_T_camera for k in world.bank.keyframes], session.director.tails))
        _merge(session, clip)
        if _closures(world):
            break
    assert _closures(session.world)
    content, poses, tails = moments[-1]
    assert session.undo()
    assert session.world.content_hash() == content
    np.testing.assert_array_equal([k.world_T_camera for k in session.world.bank.keyframes], poses)
    for before, after in zip(tails, session.director.tails, strict=True):
        np.testing.assert_allclose(after.world_T_camera, before.world_T_camera, atol=1e-9)


def test_a_clip_that_was_on_its_way_moves_with_the_rest(walked: Session) -> None:
    session = _session()
    for clip in range(4):
        _merge(session, clip)
    late, request = _update(session, 4)
    assert session.clips.merging.closing.followed(late, request) is late
    facts = _closures(walked.world)[-1].data
    session.clips.merging.correct(session.clips.merging.closing.recorded(facts))
    moved = session.clips.merging.closing.followed(late, request)
    expected = correction_from(facts).of(request.first_keyframe_id) @ late.world_T_camera[0]
    np.testing.assert_allclose(moved.world_T_camera[0], expected)
    assert not np.array_equal(moved.points.positions_world, late.points.positions_world)


def test_a_session_that_goes_back_forgets_corrections_of_requests_whose_numbers_come_again(walked: Session) -> None:
    session = _session()
    moment = session.checkpoint()
    _merge(session, 0)
    session.clips.merging.correct(session.clips.merging.closing.recorded(_closures(walked.world)[-1].data))
    session.restore(moment)
    late, request = _update(session, 4)
    assert session.clips.merging.closing.followed(late, request) is late


def test_a_log_keeps_what_was_moved(walked: Session, tmp_path: Path) -> None:
    facts = _closures(walked.world)[-1].data
    recorder = Recorder(tmp_path / "walk.log", {})
    recorder.tick(3, Intent(), 1.0, np.eye(4))
    recorder.closure(3, facts)
    recorder.close()
    (event,) = Recording.read(tmp_path / "walk.log").events[3]
    assert isinstance(event, RecordedClosure)
    np.testing.assert_array_equal(correction_from(event.facts).moved_T_world, correction_from(facts).moved_T_world)


def _corrected(walked: Session, *, clips: int = 2) -> tuple[Session, str, list[np.ndarray]]:
    """A walk whose memory was corrected just now, and the content and poses before."""
    session = _session()
    for clip in range(clips):
        _merge(session, clip)
    world = session.world
    before = world.content_hash(), [k.world_T_camera for k in world.bank.keyframes]
    session.clips.merging.correct(session.clips.merging.closing.recorded(_closures(walked.world)[-1].data))
    assert world.content_hash() != before[0]
    return session, *before


def _receive(session: Session, clip: int, residual: float, asked: tuple[MapUpdate, ClipRequest] | None = None) -> int:
    """A clip comes in that fits memory with a residual; its number."""
    update, request = asked or _update(session, clip)
    update = replace(update, report=replace(update.report, residual=residual))
    result = ClipResult(request.request_id, 0, update, np.zeros((PER_CLIP, 240, 320, 3), np.uint8), None)
    ended = Ended(request.request_id, Outcome.DONE)
    session.clips.merging.waiting.append(Merge(ended, result, request.first_keyframe_id))
    session.clips.merging.merge_ready()
    return request.request_id


def _taken_back(session: Session) -> list:
    return [e for e in session.world.journal if e.kind == "closure_undone"]


def test_a_correction_after_which_clips_fit_worse_is_taken_back_once(walked: Session) -> None:
    session, content, poses = _corrected(walked)
    first = _receive(session, 2, 0.08)
    assert not _taken_back(session)
    _receive(session, 3, 0.09)
    (entry,) = _taken_back(session)
    assert entry.data["residuals_since"] == pytest.approx([0.08, 0.09])
    assert entry.data["clips_merged_again"] == [first]
    kept = [k.world_T_camera for k in session.world.bank.keyframes if k.request_id < first]
    np.testing.assert_array_equal(kept, poses)
    _receive(session, 4, 0.5)
    assert len(_taken_back(session)) == 1
    for _ in range(3):
        assert session.undo()
    assert session.world.content_hash() == content


def test_clips_merged_since_a_correction_that_is_taken_back_stay_in_memory_moved_back(walked: Session) -> None:
    session, *_ = _corrected(walked)
    asked = _update(session, 2)
    number = _receive(session, 2, 0.08, asked)
    _receive(session, 3, 0.09)
    first_id = asked[1].first_keyframe_id
    inverse = correction_from(_closures(session.world)[-1].data).inverted()
    kept = [k for k in session.world.bank.keyframes if k.request_id == number]
    assert kept
    for keyframe in kept:
        expected = inverse.of(keyframe.keyframe_id) @ asked[0].world_T_camera[keyframe.keyframe_id - first_id]
        np.testing.assert_allclose(keyframe.world_T_camera, expected, atol=1e-9)
    expected_tail = inverse.of(first_id + PER_CLIP - 1) @ asked[0].world_T_camera[-1]
    tail = next(t for t in session.director.tails if t.request_id == number)
    np.testing.assert_allclose(tail.world_T_camera[-1], expected_tail, atol=1e-9)


def test_one_clip_that_fits_badly_takes_nothing_back(walked: Session) -> None:
    session, *_ = _corrected(walked)
    for clip, residual in ((2, 0.08), (3, 0.004), (4, 0.004)):
        _receive(session, clip, residual)
    assert not _taken_back(session)


def test_clips_that_fit_as_badly_as_before_take_nothing_back(walked: Session) -> None:
    session = _session()
    _receive(session, 0, 0.05)
    _receive(session, 1, 0.05)
    session.clips.merging.correct(session.clips.merging.closing.recorded(_closures(walked.world)[-1].data))
    _receive(session, 2, 0.08)
    _receive(session, 3, 0.08)
    assert not _taken_back(session)


def test_clips_that_were_asked_for_before_a_correction_say_nothing_about_it(walked: Session) -> None:
    session = _session()
    _merge(session, 0)
    early = [_update(session, clip) for clip in (1, 2)]
    session.clips.merging.correct(session.clips.merging.closing.recorded(_closures(walked.world)[-1].data))
    for clip, asked in enumerate(early, start=1):
        _receive(session, clip, 0.3, asked)
    assert not _taken_back(session)


def test_a_correction_stands_once_memory_changed_by_other_hands(walked: Session) -> None:
    session, *_ = _corrected(walked)
    _receive(session, 2, 0.08)
    session.world.memory.insert(session.world.memory.points())
    _receive(session, 3, 0.09)
    assert not _taken_back(session)


def test_a_log_takes_a_correction_back_where_the_walk_did(walked: Session, tmp_path: Path) -> None:
    session, *_ = _corrected(walked)
    session.clips.merging._recorder = Recorder(tmp_path / "walk.log", {"format": "spatia-record"})
    session.clips.merging._recorder.tick(0, Intent(), 1.0, np.eye(4))
    first = _receive(session, 2, 0.08)
    second = _receive(session, 3, 0.09)
    session.clips.merging._recorder.close()
    events = Recording.read(tmp_path / "walk.log").events[session.world.walk.tick]
    merge = RecordedMerge
    assert events == [merge(first), RecordedTakeBack(), merge(first), merge(second)]
