"""What a world file says about itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np

from ..world.transforms import Transform, as_rigid


@dataclass(frozen=True, slots=True)
class Manifest:
    """Facts about a world that change seldom.

    Attributes:
        name: Short name.
        voxel_size_m: Side of a voxel in metres (in the world's units where it is not metric).
        metric: True if lengths are metres, False if they are only up to scale.
        seed: The seed that everything random comes from.
        up_world: Direction away from gravity, need not be of unit length.
        floor: Plane n·x + d = 0 as (nx, ny, nz, d), n upwards, or None where no floor is known.
        source: Kind of the source: "photo", "7scenes", "redwood", "tum", "points", "sample".
        source_note: What was assumed about the source, in words.
        start_pose: world_T_camera of the start, 16 numbers row by row.
        generator: Name of the clip generator last used.
        prompt: Words for the generator.
        size: (width, height) that the world is shown at, or None for the source's.
        extra: Further plain values.
    """

    name: str
    voxel_size_m: float
    metric: bool = True
    seed: int = 0
    up_world: tuple[float, float, float] = (0.0, -1.0, 0.0)
    floor: tuple[float, float, float, float] | None = None
    source: str = ""
    source_note: str = ""
    start_pose: tuple[float, ...] = tuple(float(v) for v in np.eye(4).ravel())
    generator: str = ""
    prompt: str = ""
    size: tuple[int, int] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.isfinite(self.voxel_size_m) or self.voxel_size_m <= 0:
            raise ValueError(f"voxel_size_m: expected a positive number, got {self.voxel_size_m}")
        if len(self.start_pose) != 16:
            raise ValueError(f"start_pose: expected 16 numbers row by row, got {len(self.start_pose)}")
        as_rigid(np.reshape(self.start_pose, (4, 4)), "start_pose")
        if len(self.up_world) != 3 or not np.isfinite(self.up_world).all() or not np.linalg.norm(self.up_world) > 0:
            raise ValueError(f"up_world: expected a direction, got {self.up_world}")
        if self.floor is not None and (len(self.floor) != 4 or not np.isfinite(self.floor).all()):
            raise ValueError(f"floor: expected four finite numbers, got {self.floor}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"size: expected width and height, got {self.size}")

    @property
    def world_T_start(self) -> Transform:
        """The start pose as a (4, 4) matrix."""
        return as_rigid(np.reshape(self.start_pose, (4, 4)), "start_pose")

    def to_plain(self) -> dict[str, Any]:
        """As plain values for the file."""
        return asdict(self)

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """From plain values; unknown keys are kept under ``extra``.

        Raises:
            ValueError: Not a manifest.
        """
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            raise ValueError("expected a manifest")
        known = {f.name for f in fields(cls)}
        given = {k: v for k, v in value.items() if k in known}
        try:
            extra = dict(given.pop("extra", {}))
            extra.update({k: v for k, v in value.items() if k not in known})
            return cls(**_typed(given), extra=extra)
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"expected a manifest: {error}") from error


def _typed(given: dict[str, Any]) -> dict[str, Any]:
    """Values in the types that the fields have, or ``ValueError``."""
    casts = {"voxel_size_m": float, "seed": int, "metric": bool}
    texts = ("name", "source", "source_note", "generator", "prompt")
    out: dict[str, Any] = {k: cast(given[k]) for k, cast in casts.items() if k in given}
    out.update({k: str(given[k]) for k in texts if k in given})
    for key in ("up_world", "start_pose", "floor"):
        if key in given:
            out[key] = None if given[key] is None and key == "floor" else tuple(float(v) for v in given[key])
    if "size" in given:
        out["size"] = None if given["size"] is None else tuple(int(v) for v in given["size"])
    return out
