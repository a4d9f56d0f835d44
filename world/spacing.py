"""How far apart a chunk's points lie on their surface."""

import numpy as np
import numpy.typing as npt
from numba import njit

from .chunks import CHUNK_SIDE, OFFSET_STEPS

MAX_SPACING_VOXELS = 4.0
"""Points farther apart than this are drawn as separate dots."""

MAX_LOOSE_SPACING_VOXELS = 2.0
"""The same in a chunk whose points are too few for a surface of their spacing: strays, such as at silhouettes."""

MIN_SPACING_VOXELS = 0.8
"""A smaller spacing is that of a thick cloud, whose front still has gaps of about this size."""

SPACING_SAMPLES, SPACING_REACH = 48, 64
"""Points looked at for the spacing of a chunk, and how far around each: 10 µs a chunk."""

NEIGHBOURS = 6
"""The neighbour whose distance tells how far apart points lie."""

SIDE_OF_REACH = 0.72
"""Side of a regular grid over the distance to that neighbour, its diagonal."""


def spacing_voxels(local_q8: npt.NDArray[np.uint16]) -> float:
    """Typical distance between neighbouring points on the surface, in voxels, as a float32 has it.

    Args:
        local_q8: (N, 3) positions in the chunk, 256 steps a voxel, in Morton order.
    """
    spacing = float(measure_spacing(local_q8, SPACING_SAMPLES, SPACING_REACH)) / OFFSET_STEPS
    is_surface = len(local_q8) * spacing**2 > 0.5 * CHUNK_SIDE**2
    clipped = min(max(spacing, MIN_SPACING_VOXELS), MAX_SPACING_VOXELS if is_surface else MAX_LOOSE_SPACING_VOXELS)
    return float(np.float32(clipped))


@njit(cache=True, nogil=True)
def measure_spacing(local, samples, reach):
    """How far apart points lie on their surface: the side of the square that each has for itself.

    Measured by the median distance to a neighbour that is not among the four next: so rows that lie far apart count
    although their points are dense. Looks only at neighbours in storage order, which is near in space for Morton order.

    Args:
        local: (N, 3) uint16 positions.
        samples: About how many points to look at.
        reach: How many points before and after each of them to search.

    Returns:
        Local steps; 0 for fewer than 7 points.
    """
    n = local.shape[0]
    if n <= NEIGHBOURS:
        return 0.0
    every = max(1, n // samples)
    found = np.empty((n + every - 1) // every, np.float64)
    nearest = np.empty(NEIGHBOURS, np.float64)
    num = 0
    for i in range(every // 2, n, every):
        nearest[:] = 1e18
        for k in range(max(0, i - reach), min(n, i + reach + 1)):
            dx = float(local[k, 0]) - float(local[i, 0])
            dy = float(local[k, 1]) - float(local[i, 1])
            dz = float(local[k, 2]) - float(local[i, 2])
            d = dx * dx + dy * dy + dz * dz
            if k == i or d >= nearest[NEIGHBOURS - 1]:
                continue
            at = NEIGHBOURS - 1
            while at > 0 and nearest[at - 1] > d:
                nearest[at] = nearest[at - 1]
                at -= 1
            nearest[at] = d
        found[num] = nearest[NEIGHBOURS - 1]
        num += 1
    return SIDE_OF_REACH * np.sqrt(np.median(found[:num]))
