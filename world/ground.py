"""The floor under a walker: a plane fitted to points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane n·x + d = 0 in the world frame.

    Attributes:
        normal: (3,) unit normal; of a floor it points up, away from gravity.
        offset_m: d in metres; the signed height of the world's origin over the plane.
    """

    normal: tuple[float, float, float]
    offset_m: float

    def height_m(self, points_world: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(...,) signed distance of (..., 3) points, positive on the normal's side."""
        return np.asarray(points_world, np.float64) @ np.asarray(self.normal) + self.offset_m
