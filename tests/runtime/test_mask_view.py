"""The walker sees what moves in the nearest keyframe that has a mask."""

import numpy as np
from spatia.runtime.mask_view import NOTHING, MaskView
from spatia.world.camera import Pinhole
from spatia.world.keyframes import Keyframe
from spatia.world.points import PointClass
from spatia.world.transforms import look

PINHOLE = Pinhole.from_fov(40, 30, 1.2)


def _keyframe(identity: int, x: float, owner: str = "residual+sam2") -> Keyframe:
    moving = np.zeros((30, 40), bool)
    moving[10:16, 10:20] = True
    color = np.full((30, 40, 3), 90, np.uint8)
    pose = look((x, 0, 0), 0, 0)
    return Keyframe(identity, 1, color, PINHOLE, pose, PointClass.INVENTED, moving=moving, moving_by=owner)


def test_the_nearest_keyframe_with_a_mask_is_shown_with_its_owner():
    frames = (_keyframe(1, 0.0), _keyframe(2, 5.0), _keyframe(3, 1.2, ""))
    tile, text = MaskView().look(frames, look((1.0, 0, 0), 0, 0), 400)
    assert tile.shape == (84, 112, 4)
    assert text == "keyframe 1: 5.0% moves, says residual+sam2"


def test_the_same_view_gives_the_same_array():
    view, frames = MaskView(), (_keyframe(1, 0.0),)
    first, _ = view.look(frames, np.eye(4), 400)
    assert view.look(frames, look((0.1, 0, 0), 0.1, 0), 400)[0] is first


def test_without_masks_it_says_so():
    assert MaskView().look((), np.eye(4), 400) == (None, NOTHING)
