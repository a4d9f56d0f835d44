"""What a later clip found to move joins the masks of the frames that were kept of the clip before it."""

from dataclasses import replace

import numpy as np
from spatia.world.camera import Pinhole
from spatia.world.keyframes import FrameBank, Keyframe
from spatia.world.moving_views import MovingView, join_owners
from spatia.world.points import PointClass
from spatia.world.transforms import Transform, look

PINHOLE = Pinhole.from_fov(40, 30, 1.2)
HERE, THERE = look((0, 0, 0), 0.0, 0.0), look((1, 0, 0), 1.5, 0.0)


def _keyframe(identity: int, request_id: int, pose: Transform, moving: np.ndarray | None = None) -> Keyframe:
    color, depth = np.zeros((30, 40, 3), np.uint8), np.full((30, 40), 2.0, np.float32)
    owner = "" if moving is None else "residual"
    return Keyframe(identity, request_id, color, PINHOLE, pose, PointClass.INVENTED, 40, depth, moving, moving_by=owner)


def _view(request_id: int, pose: Transform) -> MovingView:
    moving = np.zeros((30, 40), bool)
    moving[:, :20] = True
    return MovingView(request_id, moving, pose, "residual+sam2")


def _bank(*frames: Keyframe) -> FrameBank:
    bank = FrameBank()
    bank.load(frames)
    return bank


def _marked(bank: FrameBank, *views: MovingView) -> FrameBank:
    bank.apply(bank.stage((), views))
    return bank


def test_the_kept_frame_of_that_clip_and_pose_takes_the_mask_over_and_others_stay() -> None:
    there = _keyframe(3, 7, THERE)
    bank = _marked(_bank(_keyframe(1, 0, HERE), _keyframe(2, 7, HERE), there), _view(7, HERE))
    assert [k.keyframe_id for k in bank.keyframes] == [1, 2, 3]
    assert bank.get(1).moving is None
    assert bank.get(3) is there
    np.testing.assert_array_equal(bank.get(2).moving, _view(7, HERE).moving)
    assert bank.get(2).moving_by == "residual+sam2"


def test_what_was_marked_before_stays_marked() -> None:
    old = np.zeros((30, 40), bool)
    old[5, 35] = True
    frame = _marked(_bank(_keyframe(2, 7, HERE, old)), _view(7, HERE)).get(2)
    np.testing.assert_array_equal(frame.moving, old | _view(7, HERE).moving)
    assert frame.moving_by == "residual+sam2"


def test_a_pose_that_alignment_moved_a_little_is_the_same_frame_and_a_step_aside_is_another() -> None:
    near, far = HERE.copy(), HERE.copy()
    near[0, 3], far[0, 3] = 0.01, 0.05
    assert _marked(_bank(_keyframe(2, 7, near)), _view(7, HERE)).get(2).moving is not None
    assert _marked(_bank(_keyframe(2, 7, far)), _view(7, HERE)).get(2).moving is None


def test_a_mask_of_another_size_marks_nothing() -> None:
    small = replace(_view(7, HERE), moving=np.ones((15, 20), bool))
    assert _marked(_bank(_keyframe(2, 7, HERE)), small).get(2).moving is None


def test_what_moves_no_longer_counts_as_surface_that_a_frame_shows() -> None:
    alone, marked = _bank(_keyframe(2, 7, HERE)), _marked(_bank(_keyframe(2, 7, HERE)), _view(7, HERE))
    samples = [len(bank.snapshot().entries[0].samples_world) for bank in (alone, marked)]
    assert samples[1] == samples[0] // 2


def test_a_bank_that_goes_back_has_the_mask_of_then() -> None:
    bank = _bank(_keyframe(2, 7, HERE))
    before = bank.snapshot()
    _marked(bank, _view(7, HERE))
    bank.restore(before)
    assert bank.get(2).moving is None


def test_owners_stand_once_each() -> None:
    assert join_owners("residual+sam2", "", "sam2+user") == "residual+sam2+user"
