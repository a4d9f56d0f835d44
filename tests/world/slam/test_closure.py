"""A walk round a textured room comes back and finds out how far it has drifted."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from spatia.world.slam.closure import choose_keyframes, close_trajectory, find_closure, key_view, measure_loop
from spatia.world.transforms import invert, look, rotation_about

from .corner import view

WAY = np.stack(
    [
        look((0.5 * np.sin(a), 0.05 * np.sin(2 * a), 0.5 - 0.5 * np.cos(a)), 0.2 * np.sin(a), 0.0)
        for a in np.linspace(0, 2 * np.pi, 11)
    ]
)
FRAMES = [view(pose) for pose in WAY]


def _drifted(step_m: float, step_deg: float) -> np.ndarray:
    off = np.eye(4)
    off[:3, :3], off[:3, 3] = rotation_about((1, 1, 0), np.deg2rad(step_deg)), (step_m, 0, step_m)
    out = [WAY[0]]
    for before, after in pairwise(WAY):
        out.append(out[-1] @ invert(before) @ after @ off)
    return np.stack(out)


def _views(poses: np.ndarray) -> list:
    return [
        key_view(k + 1, f.color, f.depth_m, f.pinhole, pose, is_fixed=k == 0)
        for k, (f, pose) in enumerate(zip(FRAMES, poses, strict=True))
    ]


@pytest.fixture(scope="module")
def views() -> list:
    return _views(_drifted(0.012, 0.25))


def test_a_drifted_walk_that_returns_is_corrected():
    poses = _drifted(0.012, 0.25)
    after, closure = close_trajectory(FRAMES, poses, range(len(WAY)))
    errors = [np.linalg.norm(p[:, :3, 3] - WAY[:, :3, 3], axis=1) for p in (poses, after)]
    assert errors[0][-1] > 0.1
    assert errors[1][-1] < 0.02
    assert closure.residual_after < 0.7 * closure.residual_before


def test_a_walk_without_drift_is_left_alone():
    after, closure = close_trajectory(FRAMES, WAY, range(len(WAY)))
    assert closure is None
    np.testing.assert_array_equal(after, WAY)


def test_a_wrong_loop_alone_changes_nothing_because_the_surfaces_fit_worse(views):
    true = _views(WAY)
    loop = measure_loop(true[0], true[10])
    wrong = np.eye(4)
    wrong[0, 3] = 0.4
    lie = replace(loop, old_T_new=loop.old_T_new @ wrong)
    assert find_closure(true, known=[lie], only_new=frozenset()) is None


def test_a_wrong_loop_among_true_ones_is_outvoted(views):
    found = []
    find_closure(views, on_loop=found.append)
    wrong = np.eye(4)
    wrong[0, 3] = 0.5
    lie = replace(found[0], old_T_new=found[0].old_T_new @ wrong)
    closure = find_closure(views, known=[*found, lie], only_new=frozenset())
    assert closure.num_outvoted == 1
    assert lie not in closure.loops


def test_fixed_keyframes_stay(views):
    fixed = [replace(v, is_fixed=k < 4) for k, v in enumerate(views)]
    closure = find_closure(fixed)
    for k in range(4):
        np.testing.assert_allclose(closure.correction.of(k + 1), np.eye(4), atol=1e-12)


def test_pictures_without_anything_in_common_are_no_loop(views):
    noise = np.random.default_rng(0).integers(0, 255, FRAMES[0].color.shape, np.uint8)
    other = key_view(99, noise, FRAMES[0].depth_m, FRAMES[0].pinhole, WAY[0])
    assert measure_loop(views[0], other) is None


def test_the_first_and_the_last_frame_are_keyframes():
    chosen = choose_keyframes(WAY)
    assert (chosen[0], chosen[-1]) == (0, 10)
    assert choose_keyframes(np.stack([np.eye(4)] * 5)) == [0, 4]


def test_frames_without_depth_are_refused():
    with pytest.raises(ValueError, match="frame 0 has none"):
        close_trajectory([replace(FRAMES[0], depth_m=None)], WAY[:1], [0])


def _repeated(view, share: float):
    """The same view, that share of its corners where a camera 60 cm beside would show them, as tiles alike do."""
    rng = np.random.default_rng(0)
    shifted = rng.random(len(view.corners)) < share
    pixels = view.corners.pixels.copy()
    pixels[shifted, 0] -= 0.6 * view.pinhole.fx / np.maximum(view.corner_depth_m[shifted], 0.1)
    return replace(view, identity=99, corners=replace(view.corners, pixels=pixels))


@pytest.mark.parametrize(("share", "is_loop"), [(0.15, True), (0.45, False)])
def test_a_texture_that_repeats_closes_no_loop(views, share, is_loop):
    assert (measure_loop(views[0], _repeated(views[0], share)) is not None) == is_loop


def test_corners_in_one_spot_close_no_loop(views):
    corners = views[0].corners
    centre = np.array(views[0].pinhole.size) / 2
    order = np.argsort(np.linalg.norm(corners.pixels - centre, axis=1))[: max(40, len(corners) // 40)]
    crowded = replace(corners, pixels=corners.pixels[order], descriptors=corners.descriptors[order])
    crowded_view = replace(views[0], identity=99, corners=crowded, corner_depth_m=views[0].corner_depth_m[order])
    assert crowded.pixels.std(axis=0).max() < 0.05 * min(views[0].pinhole.size)
    assert measure_loop(crowded_view, views[0]) is None
