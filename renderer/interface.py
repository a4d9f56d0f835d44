"""What every renderer of the memory offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.keyframes import Keyframe
from ..world.memory import MemorySnapshot
from ..world.transforms import Transform


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """How to draw.

    Attributes:
        use_keyframes: Sample keyframes' photos at the depth that the points drew.
        tint: Tint by class: observed, estimated, invented.
        fill: True paints the unknown with fog, floor grid and horizon; False leaves it black (memory only).
        min_priority: Points below this priority are not drawn (what counts for a better generator).
        fade_tick: Present tick; surface newer than 200 ms of ticks is blended in. None draws all at once.
        up_world: Direction away from gravity, for horizon and grid.
        floor_height_m: Height of the camera above the floor, for the grid.
        max_full_points: About so many points are drawn in full detail, the nearest; what lies behind them is coarser,
            so that a picture never takes long. None draws everything as fine as pixels show.
    """

    use_keyframes: bool = True
    tint: bool = False
    fill: bool = False
    min_priority: int = 0
    fade_tick: int | None = None
    up_world: tuple[float, float, float] = (0.0, -1.0, 0.0)
    floor_height_m: float = 1.6
    max_full_points: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A rendered view of memory.

    Attributes:
        color: (H, W, 3) uint8 sRGB; black where nothing is unless filled.
        depth_m: (H, W) float32 metres along +Z; 0 where nothing is.
        coverage: (H, W) float32 in [0, 1]: how much of the pixel memory covers.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DrawStatistics:
    """Counts of the last picture: points drawn, chunks in the frustum, chunks hidden, bytes uploaded."""

    points: int = 0
    chunks_visible: int = 0
    chunks_hidden: int = 0
    uploaded_bytes: int = 0
    chunks_pending: int = 0


class Renderer(Protocol):
    """Draws memory. One thread uses one renderer; it keeps its own extracted copy of the chunks."""

    name: str

    def update(
        self,
        snapshot: MemorySnapshot,
        keyframes: Sequence[Keyframe] = (),
        *,
        budget_s: float | None = None,
        now_s: float = ...,
    ) -> bool:
        """Take over changed chunks and keyframes; revisions decide what is copied.

        Args:
            snapshot: What memory holds now.
            keyframes: Photos that may be sampled, in order of preference.
            budget_s: Stop after about this time and go on at the next call; None takes all.
            now_s: Simulation time in seconds, ticks of ``DrawOptions.fade_tick`` / 60; points that are new in this
                call fade in from here. Not given: they were always there.

        Returns:
            True when everything was taken over.
        """
        ...

    def render(self, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions = ...) -> View:
        """Draw one view. Fresh arrays."""
        ...

    @property
    def statistics(self) -> DrawStatistics:
        """Counts of the last picture."""
        ...

    def close(self) -> None:
        """Release what it holds; safe to call twice."""
        ...
