"""The frames' checks and the choice of an estimator by name."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.slam.estimators import FrameStack, make_estimator

PINHOLE = Pinhole(8, 6, 8.0, 8.0, 4.0, 3.0)


def _stack(**changes: object) -> FrameStack:
    fields = {
        "color": np.zeros((2, 6, 8, 3), np.uint8),
        "depth_m": np.ones((2, 6, 8), np.float32),
        "confidence": None,
        "moving": None,
        "new_surface": None,
        "world_T_camera": np.stack([np.eye(4)] * 2),
        "pinhole": PINHOLE,
    }
    return FrameStack(**{**fields, **changes})


def test_names_give_their_estimators():
    assert make_estimator("given").name == "given"
    assert make_estimator("diorama").name == "diorama"


def test_unknown_name_lists_the_choices():
    names = "depth-anything, depth-pro, diorama, given, mapanything, multiview"
    with pytest.raises(ValueError, match=f"expected one of {names}, got 'magic'"):
        make_estimator("magic")


def test_no_frames_are_an_error():
    with pytest.raises(ValueError, match="at least one frame"):
        _stack(color=np.zeros((0, 6, 8, 3), np.uint8), depth_m=None, world_T_camera=np.zeros((0, 4, 4)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("color", np.zeros((2, 6, 8, 3), np.float32)),
        ("color", np.zeros((2, 8, 6, 3), np.uint8)),
        ("depth_m", np.ones((2, 6, 7), np.float32)),
        ("depth_m", np.ones((2, 6, 8), np.float64)),
        ("confidence", np.ones((1, 6, 8), np.float32)),
        ("moving", np.ones((2, 6, 8), np.uint8)),
        ("new_surface", np.ones((2, 5, 8), bool)),
        ("world_T_camera", np.stack([np.eye(4)] * 3)),
    ],
)
def test_array_that_does_not_fit_is_named(name: str, value: np.ndarray):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        _stack(**{name: value})


def test_pose_that_is_not_rigid_is_named():
    poses = np.stack([np.eye(4)] * 2)
    poses[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="pose 1"):
        _stack(world_T_camera=poses)


def test_arrays_become_read_only():
    stack = _stack()
    with pytest.raises(ValueError, match="read-only"):
        stack.color[0, 0, 0] = 1
