"""What is really there: the truth of a procedural place, beside what a walk's memory holds of it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .collision import BODY_RADIUS_M

if TYPE_CHECKING:
    from .session import Session


class Truth:
    """Pictures the place itself at the agent's pose.

    Args:
        place: Name of the place that the world is, such as "rooms:7:day".

    Raises:
        ValueError: There is no such place.
    """

    def __init__(self, place: str) -> None:
        from ..generator.procedural.place import Place, PlaceSpec  # imports compiled loops

        self._place = Place(PlaceSpec.parse(place))

    def tell(self, session: "Session") -> dict[str, Any]:
        """The truth of this moment, fresh.

        Returns:
            "rgb" (H, W, 3) uint8, "depth" (H, W) float32 metres along +Z (0 sky), "surface_class" (H, W) uint8 index
            into ``generator.procedural.classes.SURFACE_CLASSES``, "moving" (H, W) bool, "pose" (4, 4) float64
            world_T_camera, "is_blocked": a body here would touch a wall or a thing.
        """
        pose = session.rig.world_T_camera
        view = self._place.render(pose, session.pinhole, session.tick_count * session.tick_s)
        x, y, z = (float(v) for v in pose[:3, 3])
        return {
            "rgb": view.color,
            "depth": view.depth_m,
            "surface_class": view.surface_class,
            "moving": view.moving,
            "pose": np.array(pose, np.float64),
            "is_blocked": bool(self._place.is_blocked((x, y, z), BODY_RADIUS_M)),
        }

    def close(self) -> None:
        """Release the place."""
        self._place.close()
