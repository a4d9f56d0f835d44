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
SMOOTH_REACH_PX = 3.0
"""Holes narrower than about twice this are interpolated: patches could only blur them."""


@dataclass(frozen=True, slots=True, eq=False)
class FilledView:
    """A view without holes.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z, positive everywhere.
        new_surface: (H, W) bool, True where something was filled in.
        confidence: (H, W) float32 in [0, 1]: 1 where known, falling with the distance from it.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    new_surface: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]


class _Silent:
    """Progress that nobody follows."""

    def check(self, phase: str, fraction: float) -> None:
        """Take no notice."""


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
        progress: Told about the steps.

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
    check = (progress or _Silent()).check
    known = (depth_m > 0) & (coverage >= KNOWN_COVERAGE)
    check("far side", 0.1)
    if not known.any():
        return _only_backdrop(color, depth_m, known, backdrop)
    far = find_far_side(np.ascontiguousarray(color), np.ascontiguousarray(depth_m), known)
    inside = np.clip((far.enclosed - ENCLOSED_FROM) / (ENCLOSED_TO - ENCLOSED_FROM), 0.0, 1.0)
    check("depth", 0.3)
    filled_depth = _fill_depth(depth_m, known, far, inside)
    check("colour", 0.4)
    filled = _fill_color(color, known, far, inside, filled_depth, seed)
    check("colour", 1.0)
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    return FilledView(
        np.where(known[..., None], color, np.clip(np.rint(filled), 0, 255).astype(np.uint8)),
        np.where(known, depth_m, filled_depth).astype(np.float32),
        ~known,
        np.where(known, 1.0, 0.2 + 0.5 * np.exp(-distance / 20.0)).astype(np.float32),
    )


def _only_backdrop(color, depth_m, known, backdrop):
    return FilledView(color.copy(), depth_m.copy(), ~known, known.astype(np.float32))


def _fill_depth(
    depth_m: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    far: FarSide,
    inside: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Depth of the far side inside, planes continued outside, blended in inverse depth."""
    outward = continue_depth(depth_m, known)
    hidden = np.where(far.depth_m > 0, far.depth_m, outward)
    return (1.0 / (inside / hidden + (1.0 - inside) / outward)).astype(np.float32)


def _fill_color(
    color: npt.NDArray[np.uint8],
    known: npt.NDArray[np.bool_],
    far: FarSide,
    inside: npt.NDArray[np.float32],
    depth_m: npt.NDArray[np.float32],
    seed: int,
) -> npt.NDArray[np.float32]:
    """Smooth colours first, then texture where a hole is wide."""
    smooth = push_pull(color.astype(np.float32), known.astype(np.float32))
    hidden = cv2.GaussianBlur(np.where(known[..., None], smooth, far.color), (0, 0), 2.0)
    hidden = np.where((far.depth_m > 0)[..., None], hidden, smooth)
    smooth = np.where(known[..., None], smooth, inside[..., None] * hidden + (1.0 - inside[..., None]) * smooth)
    textured = synthesize(smooth.astype(np.float32), ~known, known, 1.0 / np.maximum(depth_m, 1e-3), seed=seed)
    if textured is None:
        return smooth
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    wide = cv2.dilate(distance, np.ones((9, 9), np.uint8)) > SMOOTH_REACH_PX
    return np.where(wide[..., None], textured, smooth)
