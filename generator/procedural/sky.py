"""Times of day, and the sky."""

import numpy as np
from numba import njit

from .plan import mix
from .rays import OPTIONS, F
from .scene import (
    Light,
)

Vector = tuple[float, ...]
NO_CLOUDS = np.int64(-1)


def _light(sun: Vector, *rows: Vector) -> Light:
    """Rows as in ``Light``; the sun's direction need not be of unit length."""
    s = np.asarray(sun, np.float64)
    return Light(*(np.asarray(row, np.float32) for row in (s / np.linalg.norm(s), *rows)))


_DAYS = (
    # Clear; in the afternoon; after rain; hazy.
    ((-0.46, -0.62, 0.66), (2.6, 2.25, 1.76), (0.16, 0.34, 0.74), (0.62, 0.75, 0.88), (0.95, 0.95, 0.95), 0.004),
    ((-0.43, -0.60, 0.61), (2.7, 2.05, 1.36), (0.20, 0.36, 0.68), (0.86, 0.77, 0.64), (1.0, 0.92, 0.82), 0.006),
    ((-0.42, -0.60, 0.72), (2.6, 2.4, 2.05), (0.10, 0.29, 0.80), (0.55, 0.74, 0.95), (1.0, 1.0, 1.0), 0.003),
    ((-0.46, -0.60, 0.68), (2.0, 1.82, 1.54), (0.36, 0.48, 0.68), (0.78, 0.81, 0.83), (0.92, 0.92, 0.92), 0.010),
)
_EVENINGS = (
    # Violet; with a red horizon; the blue hour.
    ((0.05, 0.085, 0.22), (0.50, 0.28, 0.24), (0.30, 0.19, 0.23), (1.3, 1.0, 0.68)),
    ((0.06, 0.08, 0.19), (0.74, 0.36, 0.18), (0.46, 0.22, 0.18), (1.32, 0.98, 0.64)),
    ((0.03, 0.07, 0.21), (0.22, 0.25, 0.42), (0.17, 0.19, 0.31), (1.26, 1.0, 0.72)),
)


def day(seed: int) -> Light:
    """A day; the sun stands in the south-west at about 40 degrees, so that it looks into windows."""
    sun, color, top, low, cloud, haze = _DAYS[mix(seed, 61) % len(_DAYS)]
    indoor, ground, lamps = (0.80, 0.77, 0.71), (0.36, 0.38, 0.28), (1.0, 0.84, 0.62)
    return _light(sun, color, top, low, cloud, indoor, ground, lamps, (6.2, 1.3, 0.8, haze))


def evening(seed: int) -> Light:
    """After sunset: lamps, lit windows, a coloured sky."""
    top, low, cloud, lamps = _EVENINGS[mix(seed, 62) % len(_EVENINGS)]
    indoor, ground = (0.17, 0.125, 0.085), (0.08, 0.07, 0.06)
    return _light(_DAYS[0][0], (0.0, 0.0, 0.0), top, low, cloud, indoor, ground, lamps, (1.0, 1.75, 1.08, 0.001))


@njit(**OPTIONS)
def sky(dx, dy, dz, light, tex, with_clouds):
    """Colour of the sky in a unit direction."""
    up = max(dz, F(0.0))
    w = (F(1.0) - up) * (F(1.0) - up)
    w *= w
    r = light.sky_top[0] + (light.sky_low[0] - light.sky_top[0]) * w
    g = light.sky_top[1] + (light.sky_low[1] - light.sky_top[1]) * w
    b = light.sky_top[2] + (light.sky_low[2] - light.sky_top[2]) * w
    near = max(F(0.0), dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2])
    near *= near
    near *= near
    near *= near
    glow = near * F(0.22) + (F(8.0) if near > F(0.9955) else F(0.0))
    r, g, b = r + glow * light.sun_color[0], g + glow * light.sun_color[1], b + glow * light.sun_color[2]
    if with_clouds >= 0 and dz > F(0.01):
        q = F(0.17) / (dz + F(0.12))
        fu, fv = (dx * q + F(8.0)) * F(256.0), (dy * q + F(8.0)) * F(256.0)
        iu, iv = int(fu), int(fv)
        au, av = F(fu - iu), F(fv - iv)
        c = F(0.0)
        for k in range(4):
            u, v = (iu + (k & 1)) & 255, (iv + (k >> 1)) & 255
            wk = (au if k & 1 else F(1.0) - au) * (av if k >> 1 else F(1.0) - av)
            c += wk * F(tex.texels[with_clouds + v * 256 + u] & 255)
        c = min(max(F(0.0), c * F(1.0 / 255.0) - F(0.33)) * F(1.4) * min(F(1.0), up * F(4.0)), F(0.92))
        r, g, b = r + (light.cloud[0] - r) * c, g + (light.cloud[1] - g) * c, b + (light.cloud[2] - b) * c
    return r, g, b
