"""Textures of leaves, flowers and bark."""

import numpy as np

from .noise import TEXELS, Array, Maker, blend, f32


def scatter(m: Maker, count: int, length: tuple[float, float], width: float) -> tuple[Array, Array, Array]:
    """Leaves strewn over a tile: whose each texel is (0 none), distance from the rib, place along the leaf."""
    who = np.zeros((TEXELS, TEXELS), np.float32)
    rib, along = np.zeros_like(who), np.zeros_like(who)
    for k in range(count):
        cx, cy, turn = m.rng.uniform(0, TEXELS), m.rng.uniform(0, TEXELS), m.rng.uniform(0, 2 * np.pi)
        half = m.rng.uniform(*length)
        size = int(half) + 2
        xi, yi = np.arange(int(cx) - size, int(cx) + size) % TEXELS, np.arange(int(cy) - size, int(cy) + size) % TEXELS
        yy, xx = np.mgrid[-size:size, -size:size].astype(np.float32)
        q = (xx * np.cos(turn) + yy * np.sin(turn)) / half
        w = (yy * np.cos(turn) - xx * np.sin(turn)) / half
        inside = (np.abs(q) < 1) & (np.abs(w) < width * (1 - q * q) * (1 - 0.35 * q))
        for target, value in ((who, np.full_like(q, k + 1)), (rib, w), (along, q)):
            part = target[np.ix_(yi, xi)]
            part[inside] = value[inside]
            target[np.ix_(yi, xi)] = part
    return who, rib, along


def _foliage(
    m: Maker, count: int, length: tuple[float, float], width: float, low: Array, high: Array
) -> tuple[Array, Array]:
    who, rib, along = scatter(m, count, length, width)
    tone = m.rng.uniform(0, 1, count + 1).astype(np.float32)[who.astype(int)]
    warm = m.rng.uniform(0.85, 1.25, count + 1).astype(np.float32)[who.astype(int)]
    a = blend(low, high, tone) * (1 + 0.25 * along)[..., None]
    a[..., 0] *= warm
    vein = (np.abs(rib) < 0.05) | (np.abs((along - np.abs(rib) * 1.2) % 0.3) < 0.03)
    a = np.where((vein & (who > 0))[..., None], a * 1.18, a) * (1 - 0.7 * np.abs(rib))[..., None]
    return np.where((who > 0)[..., None], a, f32(low) * 0.4).astype(np.float32), who


def leaf(m: Maker) -> Array:
    return _foliage(m, 1500, (12, 24), 0.42, f32([0.26, 0.40, 0.15]), f32([0.50, 0.62, 0.27]))[0]


def hedge(m: Maker) -> Array:
    return _foliage(m, 5200, (5, 10), 0.5, f32([0.20, 0.33, 0.14]), f32([0.40, 0.53, 0.24]))[0]


def flowers(m: Maker) -> Array:
    a, _ = _foliage(m, 1500, (10, 18), 0.3, f32([0.20, 0.34, 0.12]), f32([0.42, 0.55, 0.22]))
    kinds = f32([(0.86, 0.32, 0.38), (0.92, 0.78, 0.32), (0.85, 0.62, 0.85), (0.95, 0.93, 0.9)])
    for _ in range(130):
        cx, cy, r, c = (
            m.rng.uniform(0, TEXELS),
            m.rng.uniform(0, TEXELS),
            m.rng.uniform(8, 16),
            kinds[m.rng.integers(4)],
        )
        size = int(r) + 1
        xi, yi = np.arange(int(cx) - size, int(cx) + size) % TEXELS, np.arange(int(cy) - size, int(cy) + size) % TEXELS
        yy, xx = np.mgrid[-size:size, -size:size]
        d, t = np.hypot(xx, yy), np.arctan2(yy, xx)
        petal = d < r * (0.72 + 0.28 * np.cos(5 * t))
        part = a[np.ix_(yi, xi)]
        part[petal] = c * (0.8 + 0.25 * (d[petal] / r))[:, None]
        part[d < r * 0.25] = (0.9, 0.75, 0.2)
        a[np.ix_(yi, xi)] = part
    return a


def bark(m: Maker) -> Array:
    return blend((0.26, 0.20, 0.15), (0.56, 0.47, 0.38), 0.5 + 0.3 * m.noise(0.8, 6, 300, (0.25, 1.6)))
