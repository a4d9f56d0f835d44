"""Poses of a few colour frames made exact by what they see in common: a bundle adjustment over inverse depths."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, invert, rotation_about, rotation_vector
from .features import Corners, depth_at, match_corners, place_matches

FIRM = 1e14
"""Weight that holds a pose where it is."""
KNOWN_DEPTH = 0.05
"""Relative error of a depth that memory gives to a corner."""
PIXEL_NOISE_AT_640 = 1.0
NUM_STEPS = 8
EPIPOLAR_PX_AT_640 = 1.5
MIN_MATCHES = 12
START_INVERSE_DEPTH, START_STEPS = 0.4, 4
MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH = 0.02, 5.0
DEPTH_STIFFNESS = 1e-3
"""Keeps the inverse depth of corners without parallax where it is; in units of the measurements' weight."""
EXACT_PX_AT_640 = 0.3
"""Poses that explain the corners this well may be those of a rig, which are better than what a few corners say: they
stay unless others explain them clearly better."""
CLEARLY_BETTER, SURELY_EXACT_PX_AT_640 = 0.9, 0.03
"""Share of the error that other poses must get below; an error below which none are looked for."""
SEEN_WELL_PX = 1.5
MIN_PARALLAX_PX = 2.0


@dataclass(frozen=True, slots=True)
class PosePrior:
    """How firmly poses are held where they came, as standard deviations.

    Attributes:
        translation_m: Of each position.
        rotation_rad: Of each direction.
        step_m, step_rad: Of what separates the corrections of one pose and the next.
    """

    translation_m: float
    rotation_rad: float
    step_m: float = float("inf")
    step_rad: float = float("inf")


APPROXIMATE = PosePrior(0.01, float(np.deg2rad(0.3)), 0.003, 0.0015)
"""It fixes place and scale, which pictures alone do not, and what a lens that is no perfect pinhole would trade between
turning and moving; else hundreds of corners outweigh it."""


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Corners of one frame and where others show them.

    Attributes:
        anchor: Index of the frame.
        others: Indices of the others, V of them.
        rays: (N, 3) float64 directions in the anchor's camera, Z = 1.
        seen: (N, V, 2) float64 pixel positions in the others, NaN where it is not seen.
        known_inverse: (N,) float64 inverse depths that are known from elsewhere, 1/m; 0 where none is.
    """

    anchor: int
    others: tuple[int, ...]
    rays: npt.NDArray[np.float64]
    seen: npt.NDArray[np.float64]
    known_inverse: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """The result of an adjustment.

    Attributes:
        world_T_camera: (F, 4, 4) float64 poses.
        inverse_depths: (N,) float64, 1/m, of all corners that are seen well and with parallax.
        error_px: Median reprojection error; NaN without matches.
    """

    world_T_camera: npt.NDArray[np.float64]
    inverse_depths: npt.NDArray[np.float64]
    error_px: float


def link_frames(
    corners: Sequence[Corners],
    neighbours: Sequence[Sequence[int]],
    pinhole: Pinhole,
    known_depth_m: Sequence[npt.NDArray[np.float32]] | None = None,
    gray: Sequence[npt.NDArray[np.uint8]] | None = None,
) -> list[Link]:
    """Match each frame's corners with those of its neighbours; matches off their epipolar lines are left out.

    Args:
        corners: Of each frame.
        neighbours: Indices of the frames that each is matched with.
        pinhole: Intrinsics of all.
        known_depth_m: (H, W) depth for each frame where something is known of it, 0 elsewhere.
        gray: (H, W) uint8 pictures to place the matches by, to a tenth of a pixel; without them they stay where the
            detector found them, to half a pixel.
    """
    cache: dict[tuple[int, int], npt.NDArray[np.intp]] = {}
    links = []
    for a, others in enumerate(neighbours):
        seen = np.full((len(corners[a]), len(others), 2), np.nan)
        for v, b in enumerate(others):
            pairs = cache.get((b, a))
            pairs = match_epipolar(corners[a], corners[b], pinhole) if pairs is None else pairs[:, ::-1]
            cache[a, b] = pairs
            there = corners[b].pixels[pairs[:, 1]]
            if gray is not None:
                there = place_matches(gray[a], gray[b], corners[a].pixels[pairs[:, 0]], there)
            seen[pairs[:, 0], v] = there
        used = np.isfinite(seen[..., 0]).any(axis=1) if len(others) else np.zeros(len(corners[a]), bool)
        pixels = corners[a].pixels[used].astype(np.float64)
        rays = rays_of(pixels, pinhole)
        known = np.zeros(len(rays)) if known_depth_m is None else depth_at(known_depth_m[a], pixels).astype(np.float64)
        inverse = np.where(known > 0, 1 / np.maximum(known, 1e-6), 0.0)
        links.append(Link(a, tuple(others), rays, seen[used], inverse))
    return links


def rays_of(pixels: npt.NDArray[np.floating], pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(N, 3) float64 directions, Z = 1, of (N, 2) pixel positions."""
    rays = np.ones((len(pixels), 3))
    rays[:, 0] = (pixels[:, 0] - pinhole.cx) / pinhole.fx
    rays[:, 1] = (pixels[:, 1] - pinhole.cy) / pinhole.fy
    return rays


def match_epipolar(a: Corners, b: Corners, pinhole: Pinhole) -> npt.NDArray[np.intp]:
    """(M, 2) indices into a and b of matches that lie on one epipolar geometry; none if there are too few."""
    pairs = match_corners(a, b)
    if len(pairs) < MIN_MATCHES:
        return np.empty((0, 2), np.intp)
    limit = EPIPOLAR_PX_AT_640 * pinhole.width / 640
    _, inliers = cv2.findFundamentalMat(a.pixels[pairs[:, 0]], b.pixels[pairs[:, 1]], cv2.FM_RANSAC, limit, 0.999, 500)
    return np.empty((0, 2), np.intp) if inliers is None else pairs[inliers.ravel() > 0]


def adjust(
    links: Sequence[Link],
    world_T_camera: npt.NDArray[np.float64],
    pinhole: Pinhole,
    *,
    prior: PosePrior = APPROXIMATE,
    asked: npt.NDArray[np.float64] | None = None,
    num_steps: int = NUM_STEPS,
    is_firm: npt.NDArray[np.bool_] | None = None,
    is_cautious: bool = False,
) -> Bundle:
    """Adjust poses and inverse depths so that every corner is seen where it projects to.

    Gauss-Newton with Cauchy weights; each corner's inverse depth is eliminated (Schur complement).

    Args:
        links: Matches between the frames.
        world_T_camera: (F, 4, 4) approximate poses.
        pinhole: Intrinsics of all frames.
        prior: How firmly the poses are held where they came.
        asked: (F, 4, 4) poses that they are held at instead.
        num_steps: Of Gauss-Newton; none leaves the poses as they are.
        is_firm: (F,) bool, poses that stay where they are.
        is_cautious: Keep the poses as they came unless others explain the corners clearly better, also where neither
            explain them well, as in blurred pictures.
    """
    poses = world_T_camera.copy()
    noise_px = PIXEL_NOISE_AT_640 * pinhole.width / 640
    inverse = [_start(link, poses, pinhole, noise_px) for link in links]
    as_it_is = _result(links, inverse, poses.copy(), pinhole)
    if as_it_is.error_px < SURELY_EXACT_PX_AT_640 * pinhole.width / 640:
        return as_it_is
    for _ in range(num_steps):
        size = 6 * len(poses)
        hessian, gradient = np.zeros((size, size)), np.zeros(size)
        _add_prior(hessian, gradient, poses, world_T_camera if asked is None else asked, prior, is_firm)
        if is_firm is not None:
            hessian[np.diag_indices(size)] += np.where(np.repeat(is_firm, 6), FIRM, 0.0)
        systems = [_linearise(link, rho, poses, pinhole, noise_px) for link, rho in zip(links, inverse, strict=True)]
        for system in systems:
            if system is not None:
                hessian[np.ix_(system.rows, system.rows)] += system.hessian
                gradient[system.rows] += system.gradient
        step = np.asarray(-np.linalg.solve(hessian, gradient), np.float64)
        for k in range(len(poses)):
            poses[k] = poses[k] @ _small(step[6 * k : 6 * k + 6])
        for k, system in enumerate(systems):
            if system is not None:
                change = -(system.depth_gradient + system.cross @ step[system.rows]) / system.stiffness
                inverse[k] = np.clip(inverse[k] + change, MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH)
    found = _result(links, inverse, poses, pinhole)
    is_good = is_cautious or as_it_is.error_px < EXACT_PX_AT_640 * pinhole.width / 640
    return as_it_is if is_good and found.error_px > CLEARLY_BETTER * as_it_is.error_px else found


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """Normal equations of one link: its poses with the depths eliminated, and what is needed to get those back."""

    rows: npt.NDArray[np.intp]
    hessian: npt.NDArray[np.float64]
    gradient: npt.NDArray[np.float64]
    cross: npt.NDArray[np.float64]
    stiffness: npt.NDArray[np.float64]
    depth_gradient: npt.NDArray[np.float64]


def _project(
    link: Link, inverse: npt.NDArray[np.float64], poses: npt.NDArray[np.float64], v: int, pinhole: Pinhole
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Transform]:
    """Corners in the v-th other camera.

    Returns:
        (N, 3) positions times inverse depth, (N, 2) reprojection errors in pixels, other_T_anchor.
    """
    other_T_anchor = invert(poses[link.others[v]]) @ poses[link.anchor]
    q = link.rays @ other_T_anchor[:3, :3].T + inverse[:, None] * other_T_anchor[:3, 3]
    z = np.where(q[:, 2] > 1e-3, q[:, 2], np.nan)
    u = pinhole.fx * q[:, 0] / z + pinhole.cx
    w = pinhole.fy * q[:, 1] / z + pinhole.cy
    return q, np.stack([u, w], axis=1) - link.seen[:, v], other_T_anchor


def _linearise(
    link: Link, inverse: npt.NDArray[np.float64], poses: npt.NDArray[np.float64], pinhole: Pinhole, noise_px: float
) -> _System | None:
    from . import bundle_kernels as kernels  # imports Numba, which takes most of a second

    num, views = link.seen.shape[:2]
    if num == 0:
        return None
    width = 6 * (views + 1)
    hessian, gradient = np.zeros((width, width)), np.zeros(width)
    cross, stiffness, depth_gradient = np.zeros((num, width)), np.zeros(num), np.zeros(num)
    kernels.linearise(
        link.rays,
        link.seen,
        inverse,
        link.known_inverse,
        *_cameras(link, poses, pinhole, noise_px),
        hessian,
        gradient,
        cross,
        stiffness,
        depth_gradient,
    )
    rows = np.concatenate([np.arange(6 * f, 6 * f + 6) for f in (link.anchor, *link.others)])
    return _System(rows, hessian, gradient, cross, stiffness, depth_gradient)


def _cameras(
    link: Link, poses: npt.NDArray[np.float64], pinhole: Pinhole, noise_px: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rotations and translations from the anchor to the others, intrinsics and weights, for the kernels."""
    steps = [invert(poses[b]) @ poses[link.anchor] for b in link.others]
    turns = np.stack([t[:3, :3] for t in steps]) if steps else np.empty((0, 3, 3))
    shifts = np.stack([t[:3, 3] for t in steps]) if steps else np.empty((0, 3))
    camera = np.array([pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy])
    return turns, shifts, camera, np.array([noise_px, KNOWN_DEPTH, DEPTH_STIFFNESS])


def _pixel_jacobian(q: npt.NDArray[np.float64], pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(N, 2, 3) derivative of the pixel by the direction."""
    z = np.maximum(q[:, 2], 1e-3)
    out = np.zeros((len(q), 2, 3))
    out[:, 0, 0], out[:, 1, 1] = pinhole.fx / z, pinhole.fy / z
    out[:, 0, 2], out[:, 1, 2] = -pinhole.fx * q[:, 0] / z**2, -pinhole.fy * q[:, 1] / z**2
    return out


def _small(step: npt.NDArray[np.float64]) -> Transform:
    out = np.eye(4)
    angle = float(np.linalg.norm(step[:3]))
    if angle > 0:
        out[:3, :3] = rotation_about(step[:3], angle)
    out[:3, 3] = step[3:]
    return out


def _add_prior(
    hessian: npt.NDArray[np.float64],
    gradient: npt.NDArray[np.float64],
    poses: npt.NDArray[np.float64],
    asked: npt.NDArray[np.float64],
    prior: PosePrior,
    is_firm: npt.NDArray[np.bool_] | None,
) -> None:
    """Pull every pose towards the one it came with."""
    weight = np.repeat([prior.rotation_rad**-2.0, prior.translation_m**-2.0], 3)
    for k in range(len(poses)):
        off = invert(asked[k]) @ poses[k]
        error = np.concatenate([rotation_vector(off[:3, :3]), off[:3, :3].T @ off[:3, 3]])
        part = slice(6 * k, 6 * k + 6)
        hessian[part, part] += np.diag(weight)
        gradient[part] += weight * error
    if np.isfinite(prior.step_m):
        free = np.ones(len(poses), bool) if is_firm is None else ~is_firm
        _add_step_prior(hessian, gradient, poses, asked, prior, free[:-1] & free[1:])


def _add_step_prior(
    hessian: npt.NDArray[np.float64],
    gradient: npt.NDArray[np.float64],
    poses: npt.NDArray[np.float64],
    asked: npt.NDArray[np.float64],
    prior: PosePrior,
    is_step: npt.NDArray[np.bool_],
) -> None:
    """Pull the corrections, in the world, of each pose and the next, where both are free, towards each other."""
    weight = np.repeat([prior.step_rad**-2.0, prior.step_m**-2.0], 3)
    turns = poses[:, :3, :3] @ asked[:, :3, :3].transpose(0, 2, 1)
    shifts = poses[:, :3, 3] - asked[:, :3, 3]
    for k in np.flatnonzero(is_step).tolist():
        error = np.concatenate([rotation_vector(turns[k].T @ turns[k + 1]), shifts[k + 1] - shifts[k]])
        jacobian = np.zeros((6, 12))
        for column, pose, sign in ((0, poses[k], -1.0), (6, poses[k + 1], 1.0)):
            jacobian[:3, column : column + 3] = jacobian[3:, column + 3 : column + 6] = sign * pose[:3, :3]
        part = slice(6 * k, 6 * k + 12)
        hessian[part, part] += jacobian.T @ (weight[:, None] * jacobian)
        gradient[part] += jacobian.T @ (weight * error)


def _start(link: Link, poses: npt.NDArray[np.float64], pinhole: Pinhole, noise_px: float) -> npt.NDArray[np.float64]:
    """Inverse depths at the poses as they are, a few steps from a middling one."""
    from . import bundle_kernels as kernels

    inverse = np.where(link.known_inverse > 0, link.known_inverse, START_INVERSE_DEPTH)
    limits = np.array([MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH])
    cameras = _cameras(link, poses, pinhole, noise_px)
    kernels.settle_depths(link.rays, link.seen, inverse, link.known_inverse, *cameras, limits, START_STEPS)
    return inverse


def triangulate(link: Link, world_T_camera: npt.NDArray[np.float64], pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(N,) float64 inverse depths, 1/m, of a link's corners in its anchor; 0 for those that are not seen well there.

    Args:
        link: Corners and where others show them.
        world_T_camera: (F, 4, 4) poses.
        pinhole: Intrinsics of all frames.
    """
    inverse = _start(link, world_T_camera, pinhole, PIXEL_NOISE_AT_640 * pinhole.width / 640)
    error, parallax = _seen(link, inverse, world_T_camera, pinhole)
    scale = pinhole.width / 640
    worst = np.fmax.reduce(error, axis=1, initial=0.0)
    sound = (worst < SEEN_WELL_PX * scale) & (parallax > MIN_PARALLAX_PX * scale) & np.isfinite(error).any(axis=1)
    return np.where(sound & (inverse > MIN_INVERSE_DEPTH) & (inverse < MAX_INVERSE_DEPTH), inverse, 0.0)


def _seen(
    link: Link, inverse: npt.NDArray[np.float64], poses: npt.NDArray[np.float64], pinhole: Pinhole
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, V) reprojection errors in pixels, NaN where unseen, and (N,) largest parallax in pixels."""
    error, parallax = np.full(link.seen.shape[:2], np.nan), np.zeros(len(link.rays))
    for v in range(len(link.others)):
        q, off, other_T_anchor = _project(link, inverse, poses, v, pinhole)
        error[:, v] = np.linalg.norm(off, axis=1)
        moved = np.linalg.norm(_pixel_jacobian(q, pinhole) @ other_T_anchor[:3, 3], axis=1) * inverse
        parallax = np.fmax(parallax, np.where(np.isfinite(error[:, v]), moved, 0))
    return error, parallax


def _result(
    links: Sequence[Link], inverse: list[npt.NDArray[np.float64]], poses: npt.NDArray[np.float64], pinhole: Pinhole
) -> Bundle:
    good, errors = [], []
    scale = pinhole.width / 640
    for link, rho in zip(links, inverse, strict=True):
        if len(rho) == 0:
            continue
        error, parallax = _seen(link, rho, poses, pinhole)
        errors.append(error[np.isfinite(error)])
        worst = np.fmax.reduce(error, axis=1, initial=0.0)
        good.append(rho[(worst < SEEN_WELL_PX * scale) & (parallax > MIN_PARALLAX_PX * scale)])
    every = np.concatenate(errors) if errors else np.empty(0)
    error_px = float(np.median(every)) if len(every) else float("nan")
    return Bundle(poses, np.concatenate(good) if good else np.empty(0), error_px)
