"""A pose graph spreads what a loop says over the steps, and is not led astray by one wrong edge."""

import numpy as np
import pytest
from spatia.world.slam.pose_graph import PoseEdge, edge_errors, optimise_poses
from spatia.world.transforms import invert, look, rotation_about, rotation_angle_rad

TRUTH = np.stack([look((np.cos(a), 0.1 * np.sin(3 * a), np.sin(a)), 0.7 * a, 0.1 * a) for a in np.linspace(0, 6, 20)])
FIXED = np.arange(20) == 0


def _edge(a: int, b: int, off: np.ndarray | None = None, *, is_trusted: bool = True) -> PoseEdge:
    measured = invert(TRUTH[a]) @ TRUTH[b]
    return PoseEdge(a, b, measured if off is None else measured @ off, 0.01, 0.01, is_trusted)


def _off(metres: float, degrees: float) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation_about((1, 2, 3), np.deg2rad(degrees)), (metres, 0, 0)
    return out


def _chained(edges: list[PoseEdge]) -> np.ndarray:
    poses = [TRUTH[0]]
    for edge in edges:
        poses.append(poses[-1] @ edge.a_T_b)
    return np.stack(poses)


def test_exact_edges_are_met_from_poses_that_are_far_off():
    edges = [_edge(k, k + 1) for k in range(19)] + [_edge(0, 10), _edge(3, 19)]
    rng = np.random.default_rng(0)
    start = TRUTH @ np.stack([_off(0.2, 15) if k else np.eye(4) for k in range(20)]) + 0
    start[1:, :3, 3] += rng.normal(0, 0.1, (19, 3))
    found = optimise_poses(start, edges, FIXED)
    assert np.abs(found - TRUTH).max() < 1e-5


def test_a_loop_spreads_the_drift_of_the_steps():
    steps = [_edge(k, k + 1, _off(0.01, 0.5)) for k in range(19)]
    drifted = _chained(steps)
    found = optimise_poses(drifted, [*steps, _edge(0, 19)], FIXED)
    before, after = (np.linalg.norm(p[:, :3, 3] - TRUTH[:, :3, 3], axis=1) for p in (drifted, found))
    assert after[-1] < 0.1 * before[-1]
    assert after.max() < 0.6 * before.max()
    assert rotation_angle_rad(invert(TRUTH[-1]) @ found[-1]) < np.deg2rad(1.0)


def test_an_untrusted_edge_that_the_others_contradict_is_outvoted():
    edges = [_edge(k, k + 1) for k in range(19)] + [_edge(0, 12), _edge(2, 19)]
    wrong = _edge(1, 17, _off(0.8, 20), is_trusted=False)
    found = optimise_poses(TRUTH, [*edges, wrong], FIXED)
    assert np.linalg.norm(found[:, :3, 3] - TRUTH[:, :3, 3], axis=1).max() < 0.02
    assert edge_errors(found, [wrong])[0][0] > 0.7


def test_fixed_poses_stay():
    steps = [_edge(k, k + 1, _off(0.01, 0.0)) for k in range(19)]
    drifted = _chained(steps)
    fixed = np.arange(20) < 5
    found = optimise_poses(drifted, [*steps, _edge(0, 19)], fixed)
    np.testing.assert_array_equal(found[:5], drifted[:5])
    assert not np.allclose(found[-1], drifted[-1])


def test_a_graph_without_a_fixed_pose_is_refused():
    with pytest.raises(ValueError, match="at least one fixed pose"):
        optimise_poses(TRUTH, [_edge(0, 1)], np.zeros(20, bool))


def test_an_edge_to_a_pose_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="poses 0 to 19"):
        optimise_poses(TRUTH, [PoseEdge(0, 20, np.eye(4), 0.01, 0.01)], FIXED)
