"""What memory has seen often enough refutes: depth far before or behind surface whose very picture a frame shows.

What moves in front of a surface hides its picture, and what was taken away leaves another one. Where the picture is
the surface's own and the depth is not, the depth is wrong.
"""

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..carve import RATIO_TO_CONFIRMED
from ..chunks import Chunk
from ..memory import MemorySnapshot
from ..points import PointClass, priority_of
from ..transforms import Transform
from ..visibility import render_depth

LEAST_CONFIRMED = 2
"""Invented and estimated surface counts as well observed when so many later views confirmed it."""
FALSE_M, FALSE_SHARE = 0.15, 0.06
"""Depth that differs from the surface by more than the larger of these is no noise."""
SAME_M, SAME_SHARE = 0.03, 0.01
SURROUNDINGS_PX = 7
"""The surface must be firm and its depth even within so many pixels, so that rims tell nothing."""
MIN_AREA_SHARE = 0.002
MIN_CORRELATION = 0.6
"""Of a region's picture with memory's; what moves before a surface has less in common with it."""
MIN_CONTRAST = 4.0
"""Standard deviation of 8-bit grey below which a region shows nothing to compare."""
MAX_FALSE_SHARE = 0.2
"""If more of the well observed surface in a frame's view is refuted, the frame is not believed at all."""


def well_observed(memory: MemorySnapshot) -> MemorySnapshot:
    """The voxels that are observed, or that later views confirmed twice, and clearly oftener than they saw through.

    The cost follows the chunks.
    """
    chunks = {}
    for key in memory.chunks:
        chunk = memory.chunks[key]
        confirmed, through = chunk.evidence[:, 0], chunk.evidence[:, 1]
        firm = (confirmed >= LEAST_CONFIRMED) & (confirmed > RATIO_TO_CONFIRMED * through)
        firm |= chunk.priority >= priority_of(PointClass.OBSERVED)
        if firm.all():
            chunks[key] = chunk
        elif firm.any():
            columns = (chunk.codes[firm], chunk.rows[firm], chunk.priority[firm], chunk.evidence[firm])
            chunks[key] = Chunk(key, chunk.revision, *columns)
    return MemorySnapshot(memory.voxel_size_m, memory.revision, chunks)


class Witness:
    """Memory's well observed part, put together when it is first asked for.

    Args:
        memory: All of memory around the clip.
    """

    def __init__(self, memory: MemorySnapshot) -> None:
        self._memory = memory
        self._firm: MemorySnapshot | None = None

    def surface_m(self, pinhole: Pinhole, world_T_camera: Transform, front_m: float) -> npt.NDArray[np.float32]:
        """(H, W) float32 depth of the well observed part alone; 0 where there is none."""
        if self._firm is None:
            self._firm = well_observed(self._memory)
        return render_depth(self._firm, pinhole, world_T_camera, front_m=front_m).depth_m


def apart(depth_m: npt.NDArray[np.float32], shown_m: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(H, W) bool: depth far before or behind memory's surface, which is even around; rims and specks left out."""
    kernel = np.ones((SURROUNDINGS_PX, SURROUNDINGS_PX), np.uint8)
    farthest = cv2.dilate(shown_m, kernel)
    nearest = cv2.erode(np.where(shown_m > 0, shown_m, np.float32(1e6)), kernel)
    margin = np.maximum(FALSE_M, FALSE_SHARE * shown_m)
    differs = (depth_m > 0) & (shown_m > 0) & ((depth_m < nearest - margin) | (depth_m > farthest + margin))
    opened = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return np.asarray(opened, np.uint8) > 0


def refuted(
    differs: npt.NDArray[np.bool_],
    depth_m: npt.NDArray[np.float32],
    shown_m: npt.NDArray[np.float32],
    firm_m: npt.NDArray[np.float32],
    color: npt.NDArray[np.float32],
    shown_color: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Where well observed surface refutes a frame's depth.

    Args:
        differs: (H, W) bool, see ``apart``.
        depth_m: (H, W) float32, the frame's.
        shown_m: (H, W) float32, what memory shows.
        firm_m: (H, W) float32, what its well observed part shows.
        color: (H, W, 3) float32 sRGB in 0..255, the frame's.
        shown_color: (H, W, 3) float32, memory's.

    Returns:
        (H, W) bool: regions, near ones and far ones apart, that show memory's own picture.
    """
    is_firm = (firm_m > 0) & (np.abs(firm_m - shown_m) <= np.maximum(SAME_M, SAME_SHARE * shown_m))
    ours, theirs = (cv2.blur(c.mean(axis=2), (3, 3)) for c in (color, shown_color))
    out = np.zeros(differs.shape, bool)
    for side in (depth_m < shown_m, depth_m > shown_m):
        candidates = differs & side & is_firm
        count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.astype(np.uint8))
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < MIN_AREA_SHARE * differs.size:
                continue
            region = labels == label
            if _are_alike(ours[region], theirs[region]):
                out |= region
    return out


def _are_alike(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> bool:
    """Whether two pictures of a region show the same, whatever their exposure."""
    if min(a.std(), b.std()) < MIN_CONTRAST:
        return False
    return float(np.corrcoef(a, b)[0, 1]) > MIN_CORRELATION


def why_refuted(refuted_share: npt.NDArray[np.floating]) -> str:
    """Say why a clip is not believed most of whose frames contradict what memory has seen often; empty if it is.

    Args:
        refuted_share: (F,) share of the well observed surface in each frame's view that is refuted.
    """
    bad = refuted_share > MAX_FALSE_SHARE
    if 2 * int(bad.sum()) <= len(bad):
        return ""
    share = float(np.median(refuted_share[bad]))
    return f"does not fit memory: contradicts {share:.0%} of the well observed surface in view, whose picture it shows"
