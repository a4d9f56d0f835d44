"""A pose graph: poses that agree best with measured relative poses, of which some may be wrong.

SciPy's sparse solver does the work, since it comes with every install; a heavy library for this alone would have to be
an extra, and then a walk could not close loops without it. A graph of some hundred poses takes milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csc_array, diags_array
from scipy.sparse.linalg import spsolve

from ..transforms import Transform, invert, rotation_about, rotation_vector

NUM_STEPS = 40
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1e-4, 1e-9, 1e6
CONVERGED = 1e-8
"""Relative decrease of the cost below which no further step is made."""
CAUCHY = 2.0
"""An edge that is not trusted counts a half at so many standard deviations, and ever less beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseEdge:
    """A measured relative pose.

    Attributes:
        a: Index of a pose.
        b: Index of another.
        a_T_b: (4, 4) pose of b seen from a.
        sigma_m: Standard deviation of the translation.
        sigma_rad: Standard deviation of the rotation.
        is_trusted: False lets the others outvote it.
    """

    a: int
    b: int
    a_T_b: Transform
    sigma_m: float
    sigma_rad: float
    is_trusted: bool = True


def optimise_poses(
    world_T_camera: npt.NDArray[np.float64], edges: Sequence[PoseEdge], fixed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Find the poses that agree best with the edges.

    Levenberg-Marquardt over small motions of each pose in its own frame, weights of untrusted edges by Cauchy's
    function.

    Args:
        world_T_camera: (F, 4, 4) poses to start from.
        edges: What was measured between them.
        fixed: (F,) bool, True for poses that stay.

    Returns:
        (F, 4, 4) float64 poses; those that nothing links to a fixed one stay. Fresh memory.

    Raises:
        ValueError: No pose is fixed, or an edge names a pose that there is not.
    """
    poses = np.array(world_T_camera, np.float64)
    if not fixed.any():
        raise ValueError("pose graph: expected at least one fixed pose, got none; fix the first")
    if any(not (0 <= e.a < len(poses) and 0 <= e.b < len(poses)) for e in edges):
        raise ValueError(f"pose graph: expected edges between poses 0 to {len(poses) - 1}; an edge names another")
    if not edges or fixed.all():
        return poses
    stacked = _Stacked.of(edges)
    cost, damping = stacked.cost(poses), FIRST_DAMPING
    for _ in range(NUM_STEPS):
        step = _step(stacked, poses, fixed, damping)
        moved = _moved(poses, step)
        after = stacked.cost(moved)
        if after >= cost:
            damping *= 10.0
            if damping > MAX_DAMPING:
                break
            continue
        gain, poses, cost, damping = cost - after, moved, after, max(damping / 10.0, MIN_DAMPING)
        if gain < CONVERGED * max(cost, 1e-12):
            break
    return poses


def edge_errors(
    world_T_camera: npt.NDArray[np.float64], edges: Sequence[PoseEdge]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(E,) metres and (E,) radians by which poses differ from what was measured between them."""
    if not edges:
        return np.zeros(0), np.zeros(0)
    error = _Stacked.of(edges).errors(world_T_camera)[0]
    return np.linalg.norm(error[:, 3:], axis=1), np.linalg.norm(error[:, :3], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Stacked:
    """Edges as arrays: (E,) indices, (E, 4, 4) measurements, (E, 6) inverse deviations, (E,) trusted."""

    a: npt.NDArray[np.intp]
    b: npt.NDArray[np.intp]
    a_T_b: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    is_trusted: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, edges: Sequence[PoseEdge]) -> "_Stacked":
        return cls(
            np.array([e.a for e in edges], np.intp),
            np.array([e.b for e in edges], np.intp),
            np.stack([e.a_T_b for e in edges]),
            np.array([[1 / e.sigma_rad] * 3 + [1 / e.sigma_m] * 3 for e in edges]),
            np.array([e.is_trusted for e in edges]),
        )

    def errors(self, poses: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(E, 6) rotation vector and translation of measured⁻¹ · actual, and (E, 4, 4) that motion."""
        off = invert(self.a_T_b) @ invert(poses[self.a]) @ poses[self.b]
        turn = np.stack([rotation_vector(r) for r in off[:, :3, :3]])
        return np.concatenate([turn, off[:, :3, 3]], axis=1), off

    def cost(self, poses: npt.NDArray[np.float64]) -> float:
        square = ((self.errors(poses)[0] * self.precision) ** 2).sum(axis=1)
        robust = CAUCHY**2 * np.log1p(square / CAUCHY**2)
        return float(np.where(self.is_trusted, square, robust).sum())


def _step(
    edges: _Stacked, poses: npt.NDArray[np.float64], fixed: npt.NDArray[np.bool_], damping: float
) -> npt.NDArray[np.float64]:
    """(F, 6) rotation vectors and translations, each in its pose's own frame; 0 for fixed poses."""
    error, off = edges.errors(poses)
    square = ((error * edges.precision) ** 2).sum(axis=1)
    weight = np.where(edges.is_trusted, 1.0, 1.0 / (1.0 + square / CAUCHY**2))
    root = np.sqrt(weight)[:, None] * edges.precision
    of_a, of_b = _jacobians(edges, poses, off)
    of_a, of_b, error = of_a * root[..., None], of_b * root[..., None], error * root
    num = len(error)
    row = np.broadcast_to((6 * np.arange(num))[:, None, None] + np.arange(6)[None, :, None], (num, 6, 6))
    columns = [
        np.broadcast_to((6 * k)[:, None, None] + np.arange(6)[None, None], (num, 6, 6)) for k in (edges.a, edges.b)
    ]
    values = np.concatenate([of_a.ravel(), of_b.ravel()])
    place = (np.concatenate([row.ravel(), row.ravel()]), np.concatenate([c.ravel() for c in columns]))
    free = np.flatnonzero(np.repeat(~fixed, 6))
    jacobian = csc_array(coo_array((values, place), shape=(6 * num, 6 * len(poses))))[:, free]
    normal = csc_array(jacobian.T @ jacobian)
    stiffness = diags_array(damping * (1.0 + normal.diagonal()))
    step = np.zeros(6 * len(poses))
    step[free] = np.asarray(spsolve(csc_array(normal + stiffness), -(jacobian.T @ error.ravel())))
    return step.reshape(-1, 6)


def _jacobians(
    edges: _Stacked, poses: npt.NDArray[np.float64], off: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(E, 6, 6) derivatives of the errors by small motions of a and of b, to first order in the error."""
    turn = off[:, :3, :3]
    measured = np.swapaxes(edges.a_T_b[:, :3, :3], 1, 2)
    place = (invert(poses[edges.a]) @ poses[edges.b])[:, :3, 3]
    of_a, of_b = np.zeros((len(off), 6, 6)), np.zeros((len(off), 6, 6))
    of_a[:, :3, :3] = -np.swapaxes(turn, 1, 2) @ measured
    of_a[:, 3:, :3] = measured @ _cross_matrices(place)
    of_a[:, 3:, 3:] = -measured
    of_b[:, :3, :3] = np.eye(3)
    of_b[:, 3:, 3:] = turn
    return of_a, of_b


def _cross_matrices(a: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3, 3) matrices that multiply as the cross product with (N, 3) vectors."""
    out = np.zeros((len(a), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -a[:, 2], a[:, 1], -a[:, 0]
    return out - np.swapaxes(out, 1, 2)


def _moved(poses: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    change = np.tile(np.eye(4), (len(poses), 1, 1))
    for k, s in enumerate(step):
        angle = float(np.linalg.norm(s[:3]))
        if angle > 0:
            change[k, :3, :3] = rotation_about(s[:3], angle)
    change[:, :3, 3] = step[:, 3:]
    return poses @ change
