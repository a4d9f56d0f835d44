"""Textured panels at several distances, drawn exactly: enough parallax for pictures alone."""

import numpy as np
from spatia.tests.world.slam.corner import PINHOLE, View, noise
from spatia.world.transforms import look

PANELS = (  # distance, left, right, top, bottom
    (4.0, -6.0, 6.0, -5.0, 5.0),
    (2.6, -1.9, -0.3, -1.4, 0.6),
    (2.2, 0.4, 2.2, -0.2, 1.4),
    (1.7, -0.9, 0.3, 0.2, 1.2),
    (1.5, 0.0, 0.9, -0.9, -0.3),
)
TEXTURES = [noise((600, 600), 20 + k) for k in range(len(PANELS))]
TEXEL_M = 0.008
WAY = [look((0.1 * k, -0.03 * k, 0.05 * k), -0.02 * k, 0.01 * k) for k in range(6)]


def panels(pose: np.ndarray, shown: slice = slice(None)) -> View:
    """The panels, or some of them, from a pose."""
    rays, eye = PINHOLE.rays().astype(np.float64) @ pose[:3, :3].T, pose[:3, 3]
    depth, color = np.full(rays.shape[:2], np.inf), np.zeros((*rays.shape[:2], 3), np.uint8)
    for (far, left, right, top, bottom), texture in zip(PANELS[shown], TEXTURES[shown], strict=True):
        z = (far - eye[2]) / rays[..., 2]
        x, y = eye[0] + rays[..., 0] * z, eye[1] + rays[..., 1] * z
        hit = (z > 0) & (z < depth) & (x > left) & (x < right) & (y > top) & (y < bottom)
        row, column = [np.floor((v[hit] + 8) / TEXEL_M).astype(int) % 600 for v in (y, x)]
        color[hit] = texture[row, column][:, None]
        depth[hit] = z[hit]
    return View(color, np.where(np.isfinite(depth), depth, 0).astype(np.float32), PINHOLE)
