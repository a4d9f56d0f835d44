"""A textured corner of a room, ray-cast exactly: pictures whose corners can be matched, with true depth and poses."""

from dataclasses import dataclass

import cv2
import numpy as np
from spatia.world.camera import Pinhole
from spatia.world.transforms import look


@dataclass(frozen=True)
class View:
    color: np.ndarray
    depth_m: np.ndarray | None
    pinhole: Pinhole
    moving: np.ndarray | None = None


PINHOLE = Pinhole(320, 240, 260.0, 260.0, 160.0, 120.0)


def noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Smooth random texture."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((n, n)).astype(np.float32), shape[::-1]) for n in (24, 60, 150)]
    return np.clip(sum(layers) / 3 * 330 - 40, 0, 255).astype(np.uint8)


TEXTURES = [noise((600, 600), seed) for seed in range(3)]


def view(pose: np.ndarray, pinhole: Pinhole = PINHOLE) -> View:
    """A corner of a room: back wall at 3 m, left wall at -1.5 m, floor at 1 m, all textured."""
    rays = pinhole.rays().astype(np.float64) @ pose[:3, :3].T
    eye = pose[:3, 3]
    depth = np.full(rays.shape[:2], np.inf)
    color = np.zeros((*rays.shape[:2], 3), np.uint8)
    for k, (axis, place) in enumerate(((2, 3.0), (0, -1.5), (1, 1.0))):
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (place - eye[axis]) / rays[..., axis]
        nearer = (z > 0) & (z < depth)
        hit = eye + rays * np.where(nearer, z, 1.0)[..., None]
        a, b = [np.floor((hit[..., i] + 3) * 100).astype(int) % 600 for i in range(3) if i != axis]
        depth = np.where(nearer, z, depth)
        color[nearer] = np.repeat(TEXTURES[k][a, b][..., None], 3, axis=2)[nearer]
    depth[~np.isfinite(depth) | (depth > 8)] = 0
    return View(color, depth.astype(np.float32), pinhole)


POSES = [look((0.05 * k, -0.02 * k, 0.04 * k), 0.03 * k, 0.01 * k) for k in range(8)]
BLANK = View(np.full((240, 320, 3), 128, np.uint8), np.zeros((240, 320), np.float32), PINHOLE)
