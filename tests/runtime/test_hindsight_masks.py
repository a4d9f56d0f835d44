"""What a later clip finds to move in the frames before it stands in their masks: shown, saved, undone with it."""

from pathlib import Path

import numpy as np
import pytest
from spatia.generator.ledger import Ended, Outcome
from spatia.generator.pipeline import ClipResult
from spatia.runtime.director import ClipPlan, Tail
from spatia.runtime.drafting import moment_of
from spatia.runtime.mask_view import MaskView
from spatia.runtime.merging import Merge
from spatia.runtime.persistence import open_world
from spatia.runtime.session import Session
from spatia.tests.runtime.tiny import SIZE, tiny_frame, tiny_world
from spatia.world.keyframes import Keyframe
from spatia.world.moving_views import MovingView
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look
from spatia.world.updates import MapUpdate, UpdateReport

POSE = look((0.4, 0.0, 0.0), 0.3, 0.0)
FIRST_ID = 50
MOVING = np.zeros(SIZE[::-1], bool)
MOVING[20:40, 30:60] = True


def _merge(session: Session, request_id: int, keyframes: tuple[Keyframe, ...], views: tuple[MovingView, ...]) -> None:
    """Merge a clip that adds a point, as a worker would send it."""
    point = PointBatch.uniform(
        np.array([[0.1 * request_id, 0.0, 1.0]], np.float32),
        np.zeros((1, 3), np.uint8),
        priority=priority_of(PointClass.INVENTED, 40),
        keyframe=FIRST_ID,
        weights=8,
    )
    update = MapUpdate(point, (), keyframes, POSE[None], UpdateReport("stand-in"), moving_before=views)
    plan = ClipPlan(POSE[None], tiny_frame().pinhole, "way", 0.5)
    session.clips._requests[request_id] = session.clips.request_of(plan, moment_of(session.world)), plan
    result = ClipResult(request_id, 0, update, np.zeros((1, *MOVING.shape, 3), np.uint8), None)
    merging = session.clips.merging
    staged = merging.stage(update, session.world.memory.snapshot())
    merging.apply(Merge(Ended(request_id, Outcome.DONE), result), *staged)


@pytest.fixture
def session():
    """A walk of two clips, the second of which saw that something moves in the first."""
    frame = tiny_frame()
    kept = Keyframe(FIRST_ID, 1, frame.color, frame.pinhole, POSE, PointClass.INVENTED, 40, frame.depth_m)
    with Session(tiny_world(), "none", wait=True, size=SIZE) as session:
        _merge(session, 1, (kept,), ())
        _merge(session, 2, (), (MovingView(1, MOVING, POSE, "sam2+user"),))
        yield session


def test_the_mask_is_shown_beside_the_walk(session: Session) -> None:
    tile, line = MaskView().look(session.world.bank.keyframes, POSE, 400)
    assert tile is not None
    assert line == f"keyframe {FIRST_ID}: {MOVING.mean():.1%} moves, says sam2+user"


def test_a_saved_world_has_the_mask_again(session: Session, tmp_path: Path) -> None:
    session.undo()
    session.world.save(tmp_path / "world.spatia")  # the keyframe is in the file without a mask
    _merge(session, 3, (), (MovingView(1, MOVING, POSE, "sam2+user"),))
    session.world.save(tmp_path / "world.spatia")
    frame = open_world(tmp_path / "world.spatia").bank.get(FIRST_ID)
    np.testing.assert_array_equal(frame.moving, MOVING)
    assert frame.moving_by == "sam2+user"


def test_undo_takes_the_mask_back_with_the_clip_that_found_it(session: Session) -> None:
    assert session.undo()
    assert session.world.bank.get(FIRST_ID).moving is None
    assert session.world.bank.get(FIRST_ID).moving_by == ""


def test_a_request_names_the_clip_that_it_goes_on_from(session: Session) -> None:
    tail = Tail(1, np.zeros((9, *MOVING.shape, 3), np.uint8), np.repeat(POSE[None], 9, 0))
    plan = ClipPlan(POSE[None], tiny_frame().pinhole, "way", 0.5, tail=tail)
    assert session.clips.request_of(plan, moment_of(session.world)).tail_request_id == 1
