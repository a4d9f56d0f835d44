"""Periodic noise and waves that textures are made of."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

Array = npt.NDArray[np.floating[Any]]
TEXELS = 512


class Maker:
    """Makes textures from one seeded source."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.y, self.x = np.mgrid[0:TEXELS, 0:TEXELS].astype(np.float32)
        fy = np.fft.fftfreq(TEXELS)[:, None] * TEXELS
        fx = np.fft.rfftfreq(TEXELS)[None, :] * TEXELS
        self._fy, self._fx = fy.astype(np.float32), fx.astype(np.float32)

    def noise(
        self, slope: float, low: float = 1.0, high: float = 300.0, stretch: tuple[float, float] = (1, 1)
    ) -> Array:
        """Periodic noise of unit variance whose amplitude falls with frequency to the power ``slope``."""
        k = np.hypot(self._fx * stretch[0], self._fy * stretch[1])
        gain = np.where((k >= low) & (k <= high * max(stretch)), np.maximum(k, 1) ** -slope, 0).astype(np.float32)
        white = self.rng.standard_normal((TEXELS, TEXELS)).astype(np.float32)
        spectrum = np.asarray(scipy.fft.rfft2(white)) * gain
        z = np.asarray(scipy.fft.irfft2(spectrum, s=(TEXELS, TEXELS)))
        return ((z - z.mean()) / (z.std() + 1e-9)).astype(np.float32)

    def wave(self, axis: str, count: float) -> Array:
        """``count`` whole waves along an axis."""
        return np.cos((self.x if axis == "x" else self.y) * np.float32(2 * np.pi * count / TEXELS))


def blend(a: npt.ArrayLike, b: npt.ArrayLike, t: Array) -> Array:
    t = np.clip(t, 0, 1)[..., None]
    return (np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t).astype(np.float32)


def f32(values: npt.ArrayLike) -> Array:
    return np.asarray(values, np.float32)


def gray(z: Array) -> Array:
    return np.repeat(z[..., None], 3, axis=2).astype(np.float32)
