"""Compiled inner loops of the bundle adjustment."""

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
NEAREST = 1e-3
"""Points less than this far in front of a camera are not seen by it."""


@numba.njit(cache=True, nogil=True)
def linearise(
    rays: FloatArray,
    seen: FloatArray,
    inverse: FloatArray,
    known_inverse: FloatArray,
    turns: FloatArray,
    shifts: FloatArray,
    camera: FloatArray,
    weights: FloatArray,
    hessian: FloatArray,
    gradient: FloatArray,
    cross: FloatArray,
    stiffness: FloatArray,
    depth_gradient: FloatArray,
) -> None:
    """Add up the normal equations of one link; the outputs start at zero.

    Args:
        rays: (N, 3) directions in the anchor, Z = 1.
        seen: (N, V, 2) pixels in the others, NaN where unseen.
        inverse: (N,) inverse depths.
        known_inverse: (N,) those known from elsewhere, 0 where none is.
        turns: (V, 3, 3) rotations other_T_anchor.
        shifts: (V, 3) translations of the same.
        camera: fx, fy, cx, cy.
        weights: Pixel noise, relative error of a known depth, least stiffness of a depth.
        hessian: (W, W), W = 6 (V + 1): the anchor's pose first, then the others'; rotation before translation.
        gradient: (W,).
        cross: (N, W) second derivatives by pose and depth.
        stiffness: (N,) second derivatives by depth.
        depth_gradient: (N,).
    """
    width = hessian.shape[0]
    jacobian = np.zeros((2, 12))
    by_depth = np.zeros(2)
    error = np.zeros(2)
    where = np.zeros(12, np.int64)
    for c in range(6):
        where[c] = c
    for i in range(len(rays)):
        stiffness[i] = weights[2]
        for v in range(seen.shape[1]):
            weight = _measure(
                rays[i], seen[i, v], inverse[i], turns[v], shifts[v], camera, weights[0], error, by_depth, jacobian
            )
            if weight <= 0.0:
                continue
            for c in range(6):
                where[6 + c] = 6 * (v + 1) + c
            for r in range(2):
                for c in range(12):
                    scaled = weight * jacobian[r, c]
                    gradient[where[c]] += scaled * error[r]
                    cross[i, where[c]] += scaled * by_depth[r]
                    for d in range(12):
                        hessian[where[c], where[d]] += scaled * jacobian[r, d]
                stiffness[i] += weight * by_depth[r] * by_depth[r]
                depth_gradient[i] += weight * by_depth[r] * error[r]
        _hold_known(inverse[i], known_inverse[i], weights[1], stiffness, depth_gradient, i)
        for c in range(width):
            if cross[i, c] != 0.0:
                share = cross[i, c] / stiffness[i]
                gradient[c] -= share * depth_gradient[i]
                for d in range(width):
                    hessian[c, d] -= share * cross[i, d]


@numba.njit(cache=True, nogil=True)
def settle_depths(
    rays: FloatArray,
    seen: FloatArray,
    inverse: FloatArray,
    known_inverse: FloatArray,
    turns: FloatArray,
    shifts: FloatArray,
    camera: FloatArray,
    weights: FloatArray,
    limits: FloatArray,
    num_steps: int,
) -> None:
    """Change inverse depths in place by Gauss-Newton steps, the poses staying; ``limits`` are the least and largest."""
    jacobian = np.zeros((2, 12))
    by_depth = np.zeros(2)
    error = np.zeros(2)
    stiffness, gradient = np.zeros(1), np.zeros(1)
    for i in range(len(rays)):
        for _ in range(num_steps):
            stiffness[0], gradient[0] = weights[2], 0.0
            for v in range(seen.shape[1]):
                weight = _measure(
                    rays[i], seen[i, v], inverse[i], turns[v], shifts[v], camera, weights[0], error, by_depth, jacobian
                )
                for r in range(2):
                    if weight > 0.0:
                        stiffness[0] += weight * by_depth[r] * by_depth[r]
                        gradient[0] += weight * by_depth[r] * error[r]
            _hold_known(inverse[i], known_inverse[i], weights[1], stiffness, gradient, 0)
            inverse[i] = min(max(inverse[i] - gradient[0] / stiffness[0], limits[0]), limits[1])


@numba.njit(cache=True, nogil=True)
def _hold_known(
    inverse: float, known: float, relative: float, stiffness: FloatArray, gradient: FloatArray, i: int
) -> None:
    if known <= 0.0:
        return
    slope = 1.0 / (relative * max(known, 1e-6))
    off = (inverse - known) * slope
    weight = 1.0 / (1.0 + off * off / 4.0)
    stiffness[i] += weight * slope * slope
    gradient[i] += weight * slope * off


@numba.njit(cache=True, nogil=True)
def _measure(
    ray: FloatArray,
    pixel: FloatArray,
    inverse: float,
    turn: FloatArray,
    shift: FloatArray,
    camera: FloatArray,
    noise_px: float,
    error: FloatArray,
    by_depth: FloatArray,
    jacobian: FloatArray,
) -> float:
    """Error of one corner in one view with its derivatives; the Cauchy weight, 0 where it is not seen."""
    if not np.isfinite(pixel[0]):
        return 0.0
    q0 = turn[0, 0] * ray[0] + turn[0, 1] * ray[1] + turn[0, 2] * ray[2] + inverse * shift[0]
    q1 = turn[1, 0] * ray[0] + turn[1, 1] * ray[1] + turn[1, 2] * ray[2] + inverse * shift[1]
    q2 = turn[2, 0] * ray[0] + turn[2, 1] * ray[1] + turn[2, 2] * ray[2] + inverse * shift[2]
    if q2 <= NEAREST:
        return 0.0
    error[0] = (camera[0] * q0 / q2 + camera[2] - pixel[0]) / noise_px
    error[1] = (camera[1] * q1 / q2 + camera[3] - pixel[1]) / noise_px
    for r in range(2):
        a = camera[r] / q2 / noise_px
        b = -a * (q0 if r == 0 else q1) / q2
        p0 = a if r == 0 else 0.0
        p1 = 0.0 if r == 0 else a
        by_depth[r] = p0 * shift[0] + p1 * shift[1] + b * shift[2]
        g0 = p0 * turn[0, 0] + p1 * turn[1, 0] + b * turn[2, 0]
        g1 = p0 * turn[0, 1] + p1 * turn[1, 1] + b * turn[2, 1]
        g2 = p0 * turn[0, 2] + p1 * turn[1, 2] + b * turn[2, 2]
        # by the anchor: turning by w moves the ray by w x ray, moving by d moves it by d times the inverse depth
        jacobian[r, 0] = ray[1] * g2 - ray[2] * g1
        jacobian[r, 1] = ray[2] * g0 - ray[0] * g2
        jacobian[r, 2] = ray[0] * g1 - ray[1] * g0
        jacobian[r, 3], jacobian[r, 4], jacobian[r, 5] = g0 * inverse, g1 * inverse, g2 * inverse
        # by the other: the opposite, in its own frame
        jacobian[r, 6] = -(q1 * b - q2 * p1)
        jacobian[r, 7] = -(q2 * p0 - q0 * b)
        jacobian[r, 8] = -(q0 * p1 - q1 * p0)
        jacobian[r, 9], jacobian[r, 10], jacobian[r, 11] = -p0 * inverse, -p1 * inverse, -b * inverse
    return 1.0 / (1.0 + (error[0] * error[0] + error[1] * error[1]) / 4.0)
