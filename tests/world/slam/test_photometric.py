"""What moves is found by colour too, whatever the exposure, the light and a pose that is a little off."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from spatia.world.memory import SpatialMemory
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.motion_masks import find_motion
from spatia.world.slam.photometric import color_difference, match_exposure

EMPTY = SpatialMemory(0.01).snapshot()
GREEN = (40, 170, 60)
ALL = np.ones((120, 160), bool)


def _noise(seed: int = 0, smooth: float = 2.0) -> np.ndarray:
    raw = np.random.default_rng(seed).uniform(0, 255, (120, 160, 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(raw, (0, 0), smooth) - 127) * 4 + 127, 0, 255).astype(np.float32)


def _painted(frames: FrameStack, columns: list[slice]) -> tuple[FrameStack, np.ndarray]:
    """Another colour on part of each frame, at the depth that is expected there."""
    color, mask = frames.color.copy(), np.zeros(frames.depth_m.shape, bool)
    for k, part in enumerate(columns):
        mask[k, 30:70, part] = True
    color[mask] = GREEN
    return replace(frames, color=color), mask


def _found(frames: FrameStack, memory):
    return find_motion(frames.depth_m, frames.pinhole, frames.world_T_camera, memory, color=frames.color)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_another_colour_on_known_surface_is_found_by_colour_alone(room, memory_of):
    plain = room(np.eye(4)[None])
    frames, mask = _painted(plain, [slice(20, 70)])
    motion = _found(frames, memory_of(plain))
    assert not motion.by_space.any()
    assert _iou(motion.by_color, mask) > 0.7


def test_without_memory_the_colour_of_other_frames_tells(room):
    plain = room(np.stack([np.eye(4)] * 4))
    frames, mask = _painted(plain, [slice(5 + 35 * k, 40 + 35 * k) for k in range(4)])
    motion = _found(frames, EMPTY)
    assert not motion.by_space.any()
    assert _iou(motion.by_color, mask) > 0.7


def test_another_exposure_is_no_motion(room, memory_of):
    frames = room(np.eye(4)[None])
    bright = np.clip(frames.color * 1.3 + 10.0, 0, 255).astype(np.uint8)
    assert not _found(replace(frames, color=bright), memory_of(frames)).moving.any()


def test_a_shadow_is_no_motion(room, memory_of):
    frames = room(np.eye(4)[None])
    color = frames.color.copy()
    color[0, 40:100, 30:90] = (0.45 * color[0, 40:100, 30:90]).astype(np.uint8)
    assert not _found(replace(frames, color=color), memory_of(frames)).by_color.any()


def test_a_pose_that_is_a_little_off_is_no_motion(room, memory_of):
    frames = room(np.eye(4)[None])
    off = np.eye(4)
    off[0, 3] = 0.01
    assert not _found(replace(frames, world_T_camera=off[None]), memory_of(frames)).moving.any()


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (1.4, -20.0), (0.6, 30.0)])
def test_exposure_is_found_beside_outliers(gain, offset):
    theirs = _noise().reshape(-1, 3)
    ours = theirs * gain + offset
    ours[:4000] = 200.0
    found = match_exposure(ours.astype(np.float32), theirs)
    assert found is not None
    np.testing.assert_allclose(found[0], gain, atol=0.05)
    np.testing.assert_allclose(found[1], offset, atol=6.0)


def _patched(x: int) -> np.ndarray:
    picture = _noise(smooth=4.0) / 4 + 90
    picture[40:65, x : x + 25] = GREEN
    return picture.astype(np.float32)


def test_edges_that_lie_two_pixels_beside_make_no_difference():
    near, far = (color_difference(_patched(x), _patched(50), ALL, ALL) > 1 for x in (52, 90))
    assert not near.any()
    assert far[40:65, 90:115].mean() > 0.5


def test_what_no_exposure_explains_tells_nothing():
    assert not color_difference(_noise(1, 8.0), _noise(2, 8.0), ALL, ALL).any()


def test_unknown_pixels_never_differ():
    known = ALL.copy()
    known[:, :80] = False
    assert not color_difference(_noise(1), _noise(2), known, known)[:, :80].any()
