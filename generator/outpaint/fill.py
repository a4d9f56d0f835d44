"""Filling what a view of memory lacks, in colour and depth.

Holes that known surface encloses were hidden behind what stands in front: they take after the far side. What lies
outside of the known shows the place model where there is one, and otherwise continues planes in depth and texture in
colour.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ...world.camera import Pinhole
from ..requests import Progress
from .depth_fill import ENCLOSED_FROM, ENCLOSED_TO, FarSide, continue_depth, find_far_side
from .patchmatch import synthesize
from .pyramid import push_pull

KNOWN_COVERAGE = 0.5
"""From this coverage on a pixel counts as known."""
NARROW_PX = 6.0
"""Enclosed holes that reach no further than this from the known stay smooth: patches could only blur them."""
FAR_SIDE_REACH_PX = 24.0
"""Enclosed pixels up to this far from the far side take after it even where the place model has something."""
FAR_SIDE_BLUR_PX = 1.5
TONE_SIGMA_PX = 6.0
TONE_SHARE = 0.75
"""How much of an outer texture's low band gives way to the smooth continuation of the known colours."""
JOIN_TOLERANCE = 0.08
"""The place model is the same surface as memory where their depths differ by less than this share."""
JOIN_BAND_PX = 12.0
JOIN_REACH_PX = 48.0
JOIN_DEPTH_LIMIT = 0.03
MAX_TONE_STEP = 60.0
PLACE_CONFIDENCE = 0.35
FAR_CONFIDENCE, NEAR_CONFIDENCE, CONFIDENCE_REACH_PX = 0.2, 0.7, 20.0

_Color = npt.NDArray[np.float32]
_Depth = npt.NDArray[np.float32]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FilledView:
    """A view without holes.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z, positive where anything is shown.
        new_surface: (H, W) bool, True where something was filled in.
        confidence: (H, W) float32 in [0, 1]: 1 where known, falling with the distance from it.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    new_surface: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]


def known_pixels(depth_m: _Depth, coverage: npt.NDArray[np.float32]) -> _Mask:
    """(H, W) bool: where memory shows surface well enough to keep it."""
    return (depth_m > 0) & (coverage >= KNOWN_COVERAGE)


def fill_view(
    color: npt.NDArray[np.uint8],
    depth_m: npt.NDArray[np.float32],
    coverage: npt.NDArray[np.float32],
    pinhole: Pinhole,
    *,
    backdrop: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FilledView:
    """Fill the holes of a view of memory.

    Args:
        color: (H, W, 3) uint8 sRGB, memory as drawn.
        depth_m: (H, W) float32 metres, 0 unknown.
        coverage: (H, W) float32 in [0, 1].
        pinhole: Camera of the view.
        backdrop: Colour and depth of the place model drawn at this view, depth 0 where it has nothing.
        seed: Same seed and input, same result.
        progress: Told about the steps; its cancellation passes through.

    Returns:
        The filled view; known pixels are unchanged. If neither memory nor backdrop has anything, depth stays 0 and
        nothing is new.

    Raises:
        ValueError: Shapes differ.
    """
    shape = (pinhole.height, pinhole.width)
    for name, array in (("color", color), ("depth_m", depth_m), ("coverage", coverage)):
        if array.shape[:2] != shape:
            raise ValueError(f"{name}: expected {shape[0]}x{shape[1]} pixels like the camera, got {array.shape[:2]}")
    known = known_pixels(depth_m, coverage)
    color = np.where(known[..., None], color, np.uint8(0))
    depth_m = np.where(known, depth_m, 0.0).astype(np.float32)
    if known.all():
        return FilledView(color, depth_m, ~known, np.ones(shape, np.float32))
    _report(progress, "far side", 0.0)
    far = find_far_side(color, depth_m, known)
    taken = _choose_backdrop(far, known, None if backdrop is None else backdrop[1])
    solid = known | taken
    if not solid.any():
        return FilledView(color, depth_m, solid, np.zeros(shape, np.float32))
    tones, depths = color.astype(np.float32), depth_m
    if backdrop is not None and taken.any():
        tones, depths = _join_backdrop(tones, depths, known, taken, backdrop)
        if not solid.all():  # what is left lies in the place model's own gaps
            far = find_far_side(np.clip(tones, 0, 255).astype(np.uint8), depths, solid)
    if not solid.all():
        _report(progress, "depth", 0.2)
        inside = np.clip((far.enclosed - ENCLOSED_FROM) / (ENCLOSED_TO - ENCLOSED_FROM), 0.0, 1.0)
        depths = _fill_depth(depths, solid, far, inside)
        _report(progress, "colour", 0.4)
        tones = _fill_color(tones, solid, far, inside, depths, seed)
    _report(progress, "colour", 1.0)
    return FilledView(
        np.where(known[..., None], color, np.clip(np.rint(tones), 0, 255).astype(np.uint8)),
        np.where(known, depth_m, depths).astype(np.float32),
        ~known,
        _confidence(known, taken),
    )


def _report(progress: Progress | None, phase: str, fraction: float) -> None:
    """Tell whoever follows."""
    if progress is not None:
        progress.check(phase, fraction)


def _confidence(known: _Mask, taken: _Mask) -> npt.NDArray[np.float32]:
    """High beside the known, lower with the distance; moderate for the place model."""
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    falling = FAR_CONFIDENCE + (NEAR_CONFIDENCE - FAR_CONFIDENCE) * np.exp(-distance / CONFIDENCE_REACH_PX)
    return np.where(known, 1.0, np.where(taken, PLACE_CONFIDENCE, falling)).astype(np.float32)


def _choose_backdrop(far: FarSide, known: _Mask, backdrop_m: _Depth | None) -> _Mask:
    """Where the place model is shown: outside of the known, and deep inside holes if it agrees with the far side."""
    if backdrop_m is None:
        return np.zeros(known.shape, bool)
    outside = far.enclosed < 0.5 * (ENCLOSED_FROM + ENCLOSED_TO)
    agrees = (backdrop_m > 0.85 * far.depth_m) & (backdrop_m < 1.3 * far.depth_m)
    deep = (far.reach_px > FAR_SIDE_REACH_PX) & agrees
    return ~known & (backdrop_m > 0) & (outside | deep)


def _join_backdrop(
    tones: _Color,
    depths: _Depth,
    known: _Mask,
    taken: _Mask,
    backdrop: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]],
) -> tuple[_Color, _Depth]:
    """Put the place model in, its tone and depth bent to memory's where the two are one surface at the border."""
    back, back_m = backdrop[0].astype(np.float32), backdrop[1]
    near = cv2.distanceTransform((~taken).astype(np.uint8), cv2.DIST_L2, 3) <= JOIN_BAND_PX
    ratio = np.where(known & (back_m > 0), depths / np.maximum(back_m, 1e-3), 0.0)
    same = near & (np.abs(ratio - 1.0) < JOIN_TOLERANCE)
    if same.any():
        step = np.dstack([tones - back, ratio - 1.0]) * same[..., None]
        bent = push_pull(step.astype(np.float32), same.astype(np.float32))
        away = cv2.distanceTransform((~same).astype(np.uint8), cv2.DIST_L2, 3)
        bent *= np.exp(-away / JOIN_REACH_PX)[..., None]
        back = back + np.clip(bent[..., :3], -MAX_TONE_STEP, MAX_TONE_STEP)
        back_m = back_m * (1.0 + np.clip(bent[..., 3], -JOIN_DEPTH_LIMIT, JOIN_DEPTH_LIMIT))
    return (
        np.where(taken[..., None], back, tones).astype(np.float32),
        np.where(taken, back_m, depths).astype(np.float32),
    )


def _fill_depth(depths: _Depth, solid: _Mask, far: FarSide, inside: npt.NDArray[np.float32]) -> _Depth:
    """Depth of the far side inside, planes continued outside, blended in inverse depth."""
    outward = continue_depth(depths, solid)
    hidden = np.where(far.depth_m > 0, far.depth_m, outward)
    blended = 1.0 / (inside / hidden + (1.0 - inside) / outward)
    return np.where(solid, depths, blended).astype(np.float32)


def _fill_color(
    tones: _Color, solid: _Mask, far: FarSide, inside: npt.NDArray[np.float32], depths: _Depth, seed: int
) -> _Color:
    """Far-side colours in narrow enclosed holes; elsewhere texture whose low band follows smooth colours."""
    smooth = push_pull(tones, solid.astype(np.float32))
    from_rays = np.where((far.depth_m > 0)[..., None], far.color, smooth)
    from_rays = cv2.GaussianBlur(np.where(solid[..., None], tones, from_rays), (0, 0), FAR_SIDE_BLUR_PX)
    mixed = inside[..., None] * from_rays + (1.0 - inside[..., None]) * smooth
    smooth = np.where(solid[..., None], tones, mixed).astype(np.float32)
    enclosed = inside > 0.5
    hole = ~solid & (~enclosed | _wide_part(~solid & enclosed, solid))
    start = np.where((solid | enclosed)[..., None], smooth, from_rays).astype(np.float32)
    guide = (1.0 / np.maximum(depths, 1e-3)).astype(np.float32)
    textured = synthesize(start, hole, ~hole, guide, seed=seed)
    if textured is None:
        return smooth
    low = cv2.GaussianBlur(smooth, (0, 0), TONE_SIGMA_PX) - cv2.GaussianBlur(textured, (0, 0), TONE_SIGMA_PX)
    share = np.where(enclosed, 1.0, TONE_SHARE)[..., None]
    return np.where(hole[..., None], textured + share * low, smooth).astype(np.float32)


def _wide_part(hole: _Mask, solid: _Mask) -> _Mask:
    """The parts of a hole that belong to places wider than twice ``NARROW_PX``."""
    distance = cv2.distanceTransform((~solid).astype(np.uint8), cv2.DIST_L2, 3)
    side = 2 * int(NARROW_PX) + 1
    core = (hole & (distance > NARROW_PX)).astype(np.uint8)
    return hole & cv2.dilate(core, np.ones((side, side), np.uint8)).astype(bool)
