"""Compiled look-ups in the packed, mip-mapped textures."""

import math

import numpy as np
from numba import njit

from .noise import TEXELS
from .rays import OPTIONS, F

U = np.uint64
_LOW, LANES = U(0xFF), U(0x1FFFFF)


@njit(inline="always", **OPTIONS)
def _lanes(texel):
    """A packed texel as three lanes of 21 bits."""
    t = U(texel)
    return (t & _LOW) | ((t & U(0xFF00)) << U(13)) | ((t & U(0xFF0000)) << U(26))


@njit(**OPTIONS)
def bilinear(texels, base, u, v, level):
    """Three lanes, each 256 times the texels' mean, at texture coordinates of one level."""
    side = TEXELS >> level
    fixed_u = math.floor(u * F(side * 16) - F(8.0))
    fixed_v = math.floor(v * F(side * 16) - F(8.0))
    a, b = U(fixed_u & 15), U(fixed_v & 15)
    mask = side - 1
    x0, y0 = (fixed_u >> 4) & mask, (fixed_v >> 4) & mask
    x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
    start = base + (TEXELS * TEXELS - side * side) // 3 * 4
    top, low = U(start + y0 * side), U(start + y1 * side)
    na, nb = U(16) - a, U(16) - b
    upper = _lanes(texels[top + U(x0)]) * na + _lanes(texels[top + U(x1)]) * a
    lower = _lanes(texels[low + U(x0)]) * na + _lanes(texels[low + U(x1)]) * a
    return upper * nb + lower * b


@njit(inline="always", **OPTIONS)
def _log2(x):
    """Logarithm to base 2 of a positive number, within 0.01: the exponent, and a parabola for the mantissa."""
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    return F((bits >> 23) - 128) + (F(-0.33582878) * m + F(2.0)) * m - F(0.65871759)


@njit(**OPTIONS)
def _trilinear(texels, base, u, v, lod):
    """Three lanes, each 4096 times the texels' mean, between two levels."""
    lod = min(max(lod, F(0.0)), F(7.9))
    level = int(lod)
    w = U(int((lod - F(level)) * F(16.0)))
    if w < U(2):
        return bilinear(texels, base, u, v, level) << U(4)
    far = bilinear(texels, base, u, v, level + 1)
    if w > U(13):
        return far << U(4)
    return bilinear(texels, base, u, v, level) * (U(16) - w) + far * w


@njit(**OPTIONS)
def albedo(texels, base, u, v, footprint, stretch, du, dv):
    """Linear colour of a material; two samples along (du, dv) where the view is slanted.

    Args:
        texels: Of all materials.
        base: Where the material begins.
        u, v: Coordinates in tiles.
        footprint: Of a pixel across the view, in finest texels.
        stretch: How much longer it is along the view.
        du, dv: Direction of the view on the surface, of any length.
    """
    if stretch > F(2.2) and footprint * stretch > F(1.0):
        wide = footprint * max(F(1.0), min(stretch, F(8.0)) * F(0.5))
        step = footprint * min(stretch, F(16.0)) * F(0.25 / 512.0) / (math.sqrt(du * du + dv * dv) + F(1e-6))
        lod = _log2(wide) - F(0.15)
        e = _trilinear(texels, base, u - du * step, v - dv * step, lod) + _trilinear(
            texels, base, u + du * step, v + dv * step, lod
        )
        scale = F(1.0 / (255.0 * 8192.0))
    else:
        e = _trilinear(texels, base, u, v, _log2(footprint * min(stretch, F(1.6))) - F(0.1))
        scale = F(1.0 / (255.0 * 4096.0))
    r = F(e & LANES) * scale
    g = F((e >> U(21)) & LANES) * scale
    b = F((e >> U(42)) & LANES) * scale
    return r * r, g * g, b * b
