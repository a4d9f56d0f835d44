"""Textures of what houses and the ground are made of."""

import numpy as np
import numpy.typing as npt

from .noise import TEXELS, Array, Maker, blend, f32, gray


def plaster(m: Maker) -> Array:
    crack = np.exp(-((np.abs(m.noise(1.4, 3)) / 0.012) ** 2)) * (m.noise(1.5) > 0.7)
    pits, grains = m.noise(0.9, 24) > 2.35, m.noise(0.5, 60) > 2.5
    tone = 0.86 + 0.012 * m.noise(1.7) + 0.024 * m.noise(0.9, 10) + 0.020 * m.noise(0.35, 60)
    return gray(tone - 0.2 * crack - 0.16 * pits + 0.09 * grains) * blend(
        (1, 0.99, 0.97), (0.96, 0.93, 0.87), m.noise(1.6) - 0.8
    )


def wallpaper(m: Maker) -> Array:
    u, v = m.wave("x", 6), m.wave("y", 4)
    motif = (
        u
        + v
        + 0.8 * u * m.wave("y", 8)
        + 0.5 * np.sin(m.y * 2 * np.pi * 12 / TEXELS) * np.sin(m.x * 2 * np.pi * 12 / TEXELS)
    )
    leaf = 1 / (1 + np.exp(-motif * 8))
    rim = np.exp(-((motif / 0.16) ** 2))
    return blend((0.86, 0.84, 0.77), (0.74, 0.76, 0.69), leaf) - gray(0.07 * rim) + gray(0.022 * m.noise(0.4, 30))


def stripes(m: Maker) -> Array:
    band = (m.x // 32) % 2
    line = np.exp(-(((m.x % 32) - 16) ** 2) / 3.0) * (1 - band)
    dots = (m.wave("y", 16) * m.wave("x", 8) > 0.82) * band
    a = blend((0.88, 0.86, 0.81), (0.79, 0.80, 0.79), band) + gray(-0.10 * line - 0.12 * dots)
    return a + gray(0.022 * m.noise(0.4, 30) + 0.012 * m.noise(1.5))


def _grain(m: Maker, knots: int) -> Array:
    g = 0.5 * m.noise(1.3, 1, 300, (1.6, 0.12)) + 0.5 * m.noise(0.6, 8, 300, (1.0, 0.05))
    half = TEXELS // 2
    for _ in range(knots):
        x, y = m.rng.integers(0, TEXELS, 2)
        r = m.rng.uniform(4, 9)
        d = np.hypot(((m.x - x + half) % TEXELS - half) / 1.8, (m.y - y + half) % TEXELS - half)
        g = g - 0.8 * np.exp(-((d / r) ** 2)) + 0.35 * np.sin(d * 1.1) * np.exp(-((d / (3 * r)) ** 2))
    return g.astype(np.float32)


def wood(m: Maker) -> Array:
    return blend((0.47, 0.33, 0.21), (0.78, 0.62, 0.44), 0.5 + 0.22 * _grain(m, 8)) + gray(0.02 * m.noise(0.2, 60))


def planks(m: Maker) -> Array:
    g = _grain(m, 12)
    row = (m.y // 32).astype(int)
    shift = m.rng.integers(0, TEXELS, TEXELS // 32)[row]
    along = (m.x + shift) % TEXELS
    plank = row * 2 + (along // (TEXELS // 2)).astype(int)
    tone, move = m.rng.normal(0, 1, 64)[plank], m.rng.integers(0, TEXELS, 64)[plank]
    g = g[(m.y.astype(int) + move) % TEXELS, (m.x.astype(int) + move * 7) % TEXELS]
    end = along % (TEXELS // 2)
    dx, dy = np.minimum(end, TEXELS // 2 - 1 - end), np.minimum(m.y % 32, 31 - m.y % 32)
    gap = np.maximum(np.exp(-((dx / 0.9) ** 2)), np.exp(-((dy / 0.9) ** 2)))
    a = blend((0.46, 0.34, 0.23), (0.77, 0.61, 0.44), 0.5 + 0.18 * g + 0.15 * tone)
    return a * gray(1 - 0.62 * gap) + gray(0.04 * np.exp(-((dy - 2.5) ** 2)))


def parquet(m: Maker) -> Array:
    """Blocks of four staves, turned in turn."""
    block = ((m.x // 64).astype(int) + (m.y // 64).astype(int)) % 2
    a, b = np.where(block, m.x, m.y), np.where(block, m.y, m.x)
    stave = (a // 16).astype(int) * 37 + (b // 64).astype(int) * 101 + block * 7
    tone, move = m.rng.normal(0, 1, 2048)[stave % 2048], m.rng.integers(0, TEXELS, 2048)[stave % 2048]
    g = _grain(m, 0)[(a.astype(int) * 2 + move) % TEXELS, (b.astype(int) + 5 * move) % TEXELS]
    edge = np.minimum(np.minimum(a % 16, 15 - a % 16), np.minimum(b % 64, 63 - b % 64))
    return blend((0.50, 0.35, 0.21), (0.80, 0.62, 0.42), 0.5 + 0.14 * g + 0.15 * tone) * gray(
        1 - 0.5 * np.exp(-((edge / 0.8) ** 2))
    )


def _square_tiles(
    m: Maker, count: int, grout: npt.ArrayLike, base: npt.ArrayLike, other: npt.ArrayLike, spread: float
) -> Array:
    side = TEXELS // count
    cx, cy = (m.x // side).astype(int), (m.y // side).astype(int)
    e = np.minimum(np.minimum(m.x % side, side - 1 - m.x % side), np.minimum(m.y % side, side - 1 - m.y % side))
    tone = m.rng.normal(0, 1, count * count)[cy * count + cx]
    vein = np.exp(-((m.noise(1.5, 2) / 0.08) ** 2))
    face = gray(1 + spread * tone + 0.035 * m.noise(0.8, 8) - 0.12 * vein)
    face = face * np.where(((cx + cy) % 2 == 0)[..., None], np.asarray(base, np.float32), np.asarray(other, np.float32))
    face = face * gray(0.94 + 0.06 * np.clip((e - 3) / 4, 0, 1))
    return blend(np.asarray(grout, np.float32) + gray(0.04 * m.noise(0.5, 20)), face, np.clip((e - 1.2) / 1.5, 0, 1))


def tiles(m: Maker) -> Array:
    return _square_tiles(m, 8, (0.55, 0.53, 0.50), (0.83, 0.83, 0.81), (0.83, 0.83, 0.81), 0.03)


def checker(m: Maker) -> Array:
    return _square_tiles(m, 4, (0.45, 0.43, 0.4), (0.86, 0.84, 0.79), (0.33, 0.34, 0.36), 0.03)


def carpet(m: Maker) -> Array:
    dots = m.wave("x", 8) * m.wave("y", 8) > 0.6
    return blend(
        (0.46, 0.43, 0.42), (0.68, 0.64, 0.60), 0.5 + 0.2 * m.noise(0.15, 30) + 0.1 * m.noise(1.4) + 0.3 * dots
    )


def brick(m: Maker) -> Array:
    row = (m.y // 16).astype(int)
    xs = (m.x + (row % 2) * 32) % TEXELS
    col = (xs // 64).astype(int)
    e = np.minimum(np.minimum(xs % 64, 63 - xs % 64), np.minimum(m.y % 16, 15 - m.y % 16))
    tone = m.rng.normal(0, 1, (32, 8))[row, col]
    burnt = m.rng.uniform(0, 1, (32, 8))[row, col] > 0.9
    face = blend((0.56, 0.33, 0.26), (0.72, 0.48, 0.37), 0.5 + 0.24 * tone + 0.16 * m.noise(0.5, 20)) * gray(
        np.where(burnt, 0.72, 1.0)
    )
    mortar = np.asarray((0.70, 0.67, 0.62), np.float32) + gray(0.05 * m.noise(0.4, 30))
    return blend(mortar, face, (e - 1.0) / 1.4 + 0.15 * m.noise(0.4, 30)) + gray(0.02 * m.noise(1.6))


def paving(m: Maker) -> Array:
    row = (m.y // 64).astype(int)
    xs = (m.x + 64 * (row % 2)) % TEXELS
    e = np.minimum(np.minimum(xs % 128, 127 - xs % 128), np.minimum(m.y % 64, 63 - m.y % 64))
    tone = m.rng.normal(0, 1, 64)[row * 4 + (xs // 128).astype(int)]
    pits, grains = m.noise(0.3, 50) > 2.1, m.noise(0.3, 50) > 2.1
    face = gray(0.64 + 0.05 * tone + 0.045 * m.noise(0.6, 10) + 0.03 * m.noise(1.5) + 0.1 * grains - 0.12 * pits) * f32(
        [1, 0.97, 0.92]
    )
    return blend(f32([0.34, 0.36, 0.27]) + gray(0.05 * m.noise(0.3, 40)), face, (e - 1.2) / 2)


def grass(m: Maker) -> Array:
    blades = m.noise(0.3, 24, 300, (1.5, 0.6)) + m.noise(0.3, 24, 300, (0.7, 1.3))
    a = blend((0.22, 0.29, 0.11), (0.50, 0.56, 0.28), 0.45 + 0.22 * blades + 0.13 * m.noise(1.4))
    dry, daisies = m.noise(0.6, 20) > 2.1, m.noise(0.7, 40) > 3.0
    a = np.where(dry[..., None], a * 0.6 + f32([0.25, 0.22, 0.1]), a)
    return _sprinkle(m, np.where(daisies[..., None], f32([0.9, 0.88, 0.8]), a), 22, 2.6, (0.92, 0.91, 0.86))


def _sprinkle(m: Maker, a: Array, count: int, radius: float, color: npt.ArrayLike) -> Array:
    """Small round flowers, strewn over a tile."""
    for x, y in m.rng.uniform(0, TEXELS, (count, 2)):
        size = int(radius) + 1
        xi, yi = (
            np.arange(int(x) - size, int(x) + size + 1) % TEXELS,
            np.arange(int(y) - size, int(y) + size + 1) % TEXELS,
        )
        yy, xx = np.mgrid[-size : size + 1, -size : size + 1]
        part = a[np.ix_(yi, xi)]
        part[np.hypot(xx, yy) <= radius] = color
        part[np.hypot(xx, yy) < 0.4 * radius] = (0.9, 0.75, 0.25)
        a[np.ix_(yi, xi)] = part
    return a


def fabric(m: Maker) -> Array:
    over = ((m.x // 8 + m.y // 8) % 2).astype(np.float32)
    thread = (0.5 + 0.5 * m.wave("x", 64)) * over + (0.5 + 0.5 * m.wave("y", 64)) * (1 - over)
    return gray(0.56 + 0.2 * thread + 0.06 * m.noise(0.3, 20) + 0.035 * m.noise(1.6))


def knit(m: Maker) -> Array:
    v = np.abs(((m.x / 16) % 1) - 0.5) * 2
    stitch = 0.5 + 0.5 * np.cos((m.y / 12 + v * 0.9) * 2 * np.pi * 12 * 43 / TEXELS)
    cable = 0.06 * np.sign(m.wave("x", 4))
    return gray(0.52 + 0.26 * stitch * (0.35 + 0.65 * np.sin(v * np.pi * 0.9 + 0.2)) + cable + 0.05 * m.noise(0.4, 20))


def paint(m: Maker) -> Array:
    scratch = np.exp(-((m.noise(1.2, 2, 300, (1.2, 0.05)) / 0.01) ** 2)) * (m.noise(1.5) > 0.7)
    return gray(
        0.82 + 0.015 * m.noise(1.4) + 0.014 * m.noise(0.3, 40) - 0.12 * scratch - 0.08 * (m.noise(0.5, 50) > 2.7)
    )


def ceiling(m: Maker) -> Array:
    return gray(
        0.88
        + 0.008 * m.noise(1.3)
        + 0.035 * (m.noise(0.3, 40) > 1.1)
        - 0.045 * (m.noise(0.3, 40) > 1.3)
        - 0.1 * (m.noise(0.6, 30) > 2.9)
    )


def curtain(m: Maker) -> Array:
    fold = np.sin(m.x * 2 * np.pi * 16 / TEXELS + 0.8 * m.noise(1.8, 1, 300, (1, 3)))
    return gray(0.72 + 0.15 * fold + 0.025 * m.noise(0.2, 40) + 0.03 * m.wave("y", 32))


def cardboard(m: Maker) -> Array:
    a = blend((0.64, 0.50, 0.34), (0.72, 0.58, 0.40), 0.5 + 0.3 * m.noise(0.4, 1, 300, (0.2, 1)))
    a[240:272] = (0.80, 0.72, 0.55)
    a[60:180, 80:230] = (0.92, 0.91, 0.87)
    for line in range(6):
        a[75 + line * 16 : 83 + line * 16, 95 : 95 + int(m.rng.integers(40, 120))] = 0.16
    return a + gray(0.02 * m.noise(0.4, 30))


def cloud(m: Maker) -> Array:
    return gray((m.noise(1.9, 1, 300, (0.7, 1.4)) * 0.5 + 0.35 + 0.12 * m.noise(1.0)) * 0.9)


def marble(m: Maker) -> Array:
    vein = np.exp(-((m.noise(1.5, 2) / 0.05) ** 2)) * (0.5 + 0.5 * m.noise(1.3))
    return gray(0.80 + 0.03 * m.noise(1.2) + 0.02 * m.noise(0.3, 40) - 0.2 * np.clip(vein, 0, 1))


def soil(m: Maker) -> Array:
    return blend((0.22, 0.17, 0.13), (0.46, 0.37, 0.29), 0.5 + 0.28 * m.noise(0.5, 8))


def flat(m: Maker) -> Array:
    return np.full((TEXELS, TEXELS, 3), 0.8, np.float32)


def panel(m: Maker) -> Array:
    """Upright boards, painted: tongue and groove."""
    e = np.minimum(m.x % 64, 63 - m.x % 64)
    tone = m.rng.normal(0, 1, TEXELS // 64)[(m.x // 64).astype(int)]
    grain = m.noise(0.9, 4, 300, (1.6, 0.06))
    face = 0.84 + 0.012 * tone + 0.022 * grain + 0.012 * m.noise(0.3, 60)
    return gray(face - 0.3 * np.exp(-((e / 1.1) ** 2)) + 0.05 * np.exp(-(((e - 4.0) / 1.5) ** 2)))
