"""The pinhole camera and pixel grid conventions."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .transforms import Transform, apply, invert


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics in pixels of an image of a given size.

    Pixel (0, 0)'s top-left corner is the origin and pixel centres lie at +0.5: a camera point (X, Y, Z) falls on
    pixel ``floor(fx * X / Z + cx), floor(fy * Y / Z + cy)``.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size: expected at least 1x1, got {self.width}x{self.height}")
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(np.isfinite(numbers)) or self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"intrinsics: expected finite fx, fy > 0, cx, cy in pixels, got {numbers}")

    @classmethod
    def from_fov(cls, width: int, height: int, fov_x_rad: float) -> Self:
        """Centred camera with square pixels and the given horizontal field of view."""
        f = width / 2.0 / float(np.tan(fov_x_rad / 2.0))
        return cls(width, height, f, f, width / 2.0, height / 2.0)

    @classmethod
    def from_normalized(cls, width: int, height: int, values: npt.ArrayLike) -> Self:
        """From (fx, fy, cx, cy) divided by width and height, as in the authors' files."""
        fx, fy, cx, cy = (float(v) for v in np.asarray(values, dtype=np.float64).reshape(4))
        return cls(width, height, fx * width, fy * height, cx * width, cy * height)

    def normalized(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) divided by width and height."""
        return self.fx / self.width, self.fy / self.height, self.cx / self.width, self.cy / self.height

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64 camera matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def warp_matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64 ``matrix`` for pixel centres on whole numbers, as OpenCV's warps count. Fresh memory."""
        out = self.matrix
        out[:2, 2] -= 0.5
        return out

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    @property
    def fov_x_rad(self) -> float:
        """Horizontal field of view."""
        return float(np.arctan(self.cx / self.fx) + np.arctan((self.width - self.cx) / self.fx))

    @property
    def fov_y_rad(self) -> float:
        """Vertical field of view."""
        return float(np.arctan(self.cy / self.fy) + np.arctan((self.height - self.cy) / self.fy))

    def resized(self, width: int, height: int) -> Self:
        """The same view on another pixel grid (the picture is stretched to it)."""
        sx, sy = width / self.width, height / self.height
        return type(self)(width, height, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)

    def covering(self, width: int, height: int) -> Self:
        """Scale uniformly until width x height is covered, then crop the centre.

        ``images.cover`` does the same to the pixels.
        """
        s = max(width / self.width, height / self.height)
        dx, dy = (self.width * s - width) / 2.0, (self.height * s - height) / 2.0
        return type(self)(width, height, self.fx * s, self.fy * s, self.cx * s - dx, self.cy * s - dy)

    def rays(self) -> npt.NDArray[np.float32]:
        """(H, W, 3) float32 camera-frame directions through the pixel centres, with Z = 1."""
        x = (np.arange(self.width) + 0.5 - self.cx) / self.fx
        y = (np.arange(self.height) + 0.5 - self.cy) / self.fy
        out = np.ones((self.height, self.width, 3), np.float32)
        out[..., 0] = x[None, :]
        out[..., 1] = y[:, None]
        return out

    def project(
        self, points_world: npt.NDArray[np.floating], world_T_camera: Transform
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Project (N, 3) world points.

        Returns:
            (N, 2) pixel coordinates (NaN behind the camera) and (N,) depth along +Z in metres.
        """
        camera = apply(invert(world_T_camera), points_world)
        z = camera[:, 2]
        safe = np.where(z > 1e-9, z, np.nan)
        u = self.fx * camera[:, 0] / safe + self.cx
        v = self.fy * camera[:, 1] / safe + self.cy
        return np.stack([u, v], axis=1), z


def unproject(
    depth_m: npt.NDArray[np.float32], intrinsics: Pinhole, world_T_camera: Transform
) -> npt.NDArray[np.float32]:
    """Lift a depth image to world points.

    Args:
        depth_m: (H, W) float32, metres along camera +Z; 0 marks missing pixels.
        intrinsics: Pinhole in pixels for the same H and W.
        world_T_camera: Camera pose, OpenCV axes.

    Returns:
        (N, 3) float32 points in the world frame, one per valid pixel, row-major order. Fresh memory.

    Raises:
        ValueError: The depth's shape is not the camera's.
    """
    if depth_m.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(f"depth: expected {intrinsics.height}x{intrinsics.width}, got {depth_m.shape}")
    valid = depth_m > 0
    points = intrinsics.rays()[valid] * depth_m[valid][:, None]
    return apply(world_T_camera, points.astype(np.float64)).astype(np.float32)
