"""Textures of all materials, made from noise and patterns, and kept on disk once they are made.

Colours are square roots of linear light. A texture repeats after its size in metres; sizes divide 1024 m, after which
place coordinates wrap.
"""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import scipy.fft

from .scene import Textures

Array = npt.NDArray[np.floating[Any]]
TEXELS = 512
LEVELS = 10
VERSION = 6
"""Raised with every change of the textures; older files are left alone."""

SIZES_M = {
    "plaster": 2.56,
    "wallpaper": 1.28,
    "stripes": 1.28,
    "planks": 2.56,
    "parquet": 1.6,
    "tiles": 1.6,
    "checker": 1.6,
    "carpet": 0.8,
    "brick": 2.0,
    "paving": 2.56,
    "grass": 2.0,
    "wood": 1.28,
    "fabric": 0.64,
    "knit": 0.64,
    "paint": 1.28,
    "books": 1.28,
    "pictures": 1.0,
    "leaf": 0.8,
    "flowers": 0.64,
    "bark": 1.28,
    "rug": 1.0,
    "kilim": 1.0,
    "ceiling": 2.0,
    "flat": 1.0,
    "screen": 1.0,
    "curtain": 1.28,
    "cardboard": 0.64,
    "cloud": 1.0,
    "marble": 1.6,
    "soil": 0.8,
    "quilt": 0.8,
    "hedge": 0.8,
}
MATERIAL_INDEX = {name: index for index, name in enumerate(SIZES_M)}


class _Maker:
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


def _blend(a: npt.ArrayLike, b: npt.ArrayLike, t: Array) -> Array:
    t = np.clip(t, 0, 1)[..., None]
    return (np.asarray(a, np.float32) * (1 - t) + np.asarray(b, np.float32) * t).astype(np.float32)


def _f32(values: npt.ArrayLike) -> Array:
    return np.asarray(values, np.float32)


def _gray(z: Array) -> Array:
    return np.repeat(z[..., None], 3, axis=2).astype(np.float32)


def _plaster(m: _Maker) -> Array:
    crack = np.exp(-((np.abs(m.noise(1.4, 3)) / 0.012) ** 2)) * (m.noise(1.5) > 0.7)
    pits, grains = m.noise(0.9, 24) > 2.35, m.noise(0.5, 60) > 2.5
    tone = 0.86 + 0.012 * m.noise(1.7) + 0.024 * m.noise(0.9, 10) + 0.020 * m.noise(0.35, 60)
    return _gray(tone - 0.2 * crack - 0.16 * pits + 0.09 * grains) * _blend(
        (1, 0.99, 0.97), (0.96, 0.93, 0.87), m.noise(1.6) - 0.8
    )


def _wallpaper(m: _Maker) -> Array:
    u, v = m.wave("x", 6), m.wave("y", 4)
    motif = (
        u
        + v
        + 0.8 * u * m.wave("y", 8)
        + 0.5 * np.sin(m.y * 2 * np.pi * 12 / TEXELS) * np.sin(m.x * 2 * np.pi * 12 / TEXELS)
    )
    leaf = 1 / (1 + np.exp(-motif * 8))
    rim = np.exp(-((motif / 0.16) ** 2))
    return _blend((0.86, 0.84, 0.77), (0.74, 0.76, 0.69), leaf) - _gray(0.07 * rim) + _gray(0.022 * m.noise(0.4, 30))


def _stripes(m: _Maker) -> Array:
    band = (m.x // 32) % 2
    line = np.exp(-(((m.x % 32) - 16) ** 2) / 3.0) * (1 - band)
    dots = (m.wave("y", 16) * m.wave("x", 8) > 0.82) * band
    a = _blend((0.88, 0.86, 0.81), (0.79, 0.80, 0.79), band) + _gray(-0.10 * line - 0.12 * dots)
    return a + _gray(0.022 * m.noise(0.4, 30) + 0.012 * m.noise(1.5))


def _grain(m: _Maker, knots: int) -> Array:
    g = 0.5 * m.noise(1.3, 1, 300, (1.6, 0.12)) + 0.5 * m.noise(0.6, 8, 300, (1.0, 0.05))
    half = TEXELS // 2
    for _ in range(knots):
        x, y = m.rng.integers(0, TEXELS, 2)
        r = m.rng.uniform(4, 9)
        d = np.hypot(((m.x - x + half) % TEXELS - half) / 1.8, (m.y - y + half) % TEXELS - half)
        g = g - 0.8 * np.exp(-((d / r) ** 2)) + 0.35 * np.sin(d * 1.1) * np.exp(-((d / (3 * r)) ** 2))
    return g.astype(np.float32)


def _wood(m: _Maker) -> Array:
    return _blend((0.47, 0.33, 0.21), (0.78, 0.62, 0.44), 0.5 + 0.22 * _grain(m, 8)) + _gray(0.02 * m.noise(0.2, 60))


def _planks(m: _Maker) -> Array:
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
    a = _blend((0.46, 0.34, 0.23), (0.77, 0.61, 0.44), 0.5 + 0.18 * g + 0.15 * tone)
    return a * _gray(1 - 0.62 * gap) + _gray(0.04 * np.exp(-((dy - 2.5) ** 2)))


def _parquet(m: _Maker) -> Array:
    """Blocks of four staves, turned in turn."""
    block = ((m.x // 64).astype(int) + (m.y // 64).astype(int)) % 2
    a, b = np.where(block, m.x, m.y), np.where(block, m.y, m.x)
    stave = (a // 16).astype(int) * 37 + (b // 64).astype(int) * 101 + block * 7
    tone, move = m.rng.normal(0, 1, 2048)[stave % 2048], m.rng.integers(0, TEXELS, 2048)[stave % 2048]
    g = _grain(m, 0)[(a.astype(int) * 2 + move) % TEXELS, (b.astype(int) + 5 * move) % TEXELS]
    edge = np.minimum(np.minimum(a % 16, 15 - a % 16), np.minimum(b % 64, 63 - b % 64))
    return _blend((0.50, 0.35, 0.21), (0.80, 0.62, 0.42), 0.5 + 0.14 * g + 0.15 * tone) * _gray(
        1 - 0.5 * np.exp(-((edge / 0.8) ** 2))
    )


def _square_tiles(
    m: _Maker, count: int, grout: npt.ArrayLike, base: npt.ArrayLike, other: npt.ArrayLike, spread: float
) -> Array:
    side = TEXELS // count
    cx, cy = (m.x // side).astype(int), (m.y // side).astype(int)
    e = np.minimum(np.minimum(m.x % side, side - 1 - m.x % side), np.minimum(m.y % side, side - 1 - m.y % side))
    tone = m.rng.normal(0, 1, count * count)[cy * count + cx]
    vein = np.exp(-((m.noise(1.5, 2) / 0.08) ** 2))
    face = _gray(1 + spread * tone + 0.035 * m.noise(0.8, 8) - 0.12 * vein)
    face = face * np.where(((cx + cy) % 2 == 0)[..., None], np.asarray(base, np.float32), np.asarray(other, np.float32))
    face = face * _gray(0.94 + 0.06 * np.clip((e - 3) / 4, 0, 1))
    return _blend(np.asarray(grout, np.float32) + _gray(0.04 * m.noise(0.5, 20)), face, np.clip((e - 1.2) / 1.5, 0, 1))


def _tiles(m: _Maker) -> Array:
    return _square_tiles(m, 8, (0.55, 0.53, 0.50), (0.83, 0.83, 0.81), (0.83, 0.83, 0.81), 0.03)


def _checker(m: _Maker) -> Array:
    return _square_tiles(m, 4, (0.45, 0.43, 0.4), (0.86, 0.84, 0.79), (0.33, 0.34, 0.36), 0.03)


def _carpet(m: _Maker) -> Array:
    dots = m.wave("x", 8) * m.wave("y", 8) > 0.6
    return _blend(
        (0.46, 0.43, 0.42), (0.68, 0.64, 0.60), 0.5 + 0.2 * m.noise(0.15, 30) + 0.1 * m.noise(1.4) + 0.3 * dots
    )


def _brick(m: _Maker) -> Array:
    row = (m.y // 16).astype(int)
    xs = (m.x + (row % 2) * 32) % TEXELS
    col = (xs // 64).astype(int)
    e = np.minimum(np.minimum(xs % 64, 63 - xs % 64), np.minimum(m.y % 16, 15 - m.y % 16))
    tone = m.rng.normal(0, 1, (32, 8))[row, col]
    burnt = m.rng.uniform(0, 1, (32, 8))[row, col] > 0.9
    face = _blend((0.56, 0.33, 0.26), (0.72, 0.48, 0.37), 0.5 + 0.24 * tone + 0.16 * m.noise(0.5, 20)) * _gray(
        np.where(burnt, 0.72, 1.0)
    )
    mortar = np.asarray((0.70, 0.67, 0.62), np.float32) + _gray(0.05 * m.noise(0.4, 30))
    return _blend(mortar, face, (e - 1.0) / 1.4 + 0.15 * m.noise(0.4, 30)) + _gray(0.02 * m.noise(1.6))


def _paving(m: _Maker) -> Array:
    row = (m.y // 64).astype(int)
    xs = (m.x + 64 * (row % 2)) % TEXELS
    e = np.minimum(np.minimum(xs % 128, 127 - xs % 128), np.minimum(m.y % 64, 63 - m.y % 64))
    tone = m.rng.normal(0, 1, 64)[row * 4 + (xs // 128).astype(int)]
    pits, grains = m.noise(0.3, 50) > 2.1, m.noise(0.3, 50) > 2.1
    face = _gray(
        0.64 + 0.05 * tone + 0.045 * m.noise(0.6, 10) + 0.03 * m.noise(1.5) + 0.1 * grains - 0.12 * pits
    ) * _f32([1, 0.97, 0.92])
    return _blend(_f32([0.34, 0.36, 0.27]) + _gray(0.05 * m.noise(0.3, 40)), face, (e - 1.2) / 2)


def _grass(m: _Maker) -> Array:
    blades = m.noise(0.3, 24, 300, (1.5, 0.6)) + m.noise(0.3, 24, 300, (0.7, 1.3))
    a = _blend((0.20, 0.30, 0.10), (0.52, 0.60, 0.27), 0.45 + 0.22 * blades + 0.13 * m.noise(1.4))
    dry, daisies = m.noise(0.6, 20) > 2.1, m.noise(0.7, 40) > 3.0
    a = np.where(dry[..., None], a * 0.6 + _f32([0.25, 0.22, 0.1]), a)
    return np.where(daisies[..., None], _f32([0.9, 0.88, 0.8]), a)


def _fabric(m: _Maker) -> Array:
    over = ((m.x // 8 + m.y // 8) % 2).astype(np.float32)
    thread = (0.5 + 0.5 * m.wave("x", 64)) * over + (0.5 + 0.5 * m.wave("y", 64)) * (1 - over)
    return _gray(0.56 + 0.2 * thread + 0.06 * m.noise(0.3, 20) + 0.035 * m.noise(1.6))


def _knit(m: _Maker) -> Array:
    v = np.abs(((m.x / 16) % 1) - 0.5) * 2
    stitch = 0.5 + 0.5 * np.cos((m.y / 12 + v * 0.9) * 2 * np.pi * 12 * 43 / TEXELS)
    cable = 0.06 * np.sign(m.wave("x", 4))
    return _gray(0.52 + 0.26 * stitch * (0.35 + 0.65 * np.sin(v * np.pi * 0.9 + 0.2)) + cable + 0.05 * m.noise(0.4, 20))


def _paint(m: _Maker) -> Array:
    scratch = np.exp(-((m.noise(1.2, 2, 300, (1.2, 0.05)) / 0.01) ** 2)) * (m.noise(1.5) > 0.7)
    return _gray(
        0.82 + 0.015 * m.noise(1.4) + 0.014 * m.noise(0.3, 40) - 0.12 * scratch - 0.08 * (m.noise(0.5, 50) > 2.7)
    )


def _books(m: _Maker) -> Array:
    """Four shelves of spines."""
    a = np.full((TEXELS, TEXELS, 3), 0.07, np.float32)
    palette = _f32(
        [
            (0.55, 0.2, 0.17),
            (0.2, 0.3, 0.42),
            (0.3, 0.38, 0.27),
            (0.72, 0.66, 0.52),
            (0.5, 0.38, 0.22),
            (0.25, 0.22, 0.26),
            (0.78, 0.5, 0.26),
            (0.4, 0.5, 0.55),
            (0.82, 0.8, 0.74),
        ]
    )
    for shelf in range(4):
        x = 0
        while x < TEXELS:
            w, h = int(m.rng.integers(7, 22)), int(m.rng.integers(84, 122))
            x1 = min(x + w, TEXELS)
            spine = a[shelf * 128 + 2 : shelf * 128 + 2 + h, x:x1]
            curve = 1 - 0.4 * np.linspace(-1, 1, x1 - x, dtype=np.float32)[None, :, None] ** 2
            spine[:] = palette[m.rng.integers(len(palette))] * m.rng.uniform(0.75, 1.2) * curve
            for _ in range(int(m.rng.integers(1, 4))):
                y = int(m.rng.integers(6, h - 10))
                spine[y : y + int(m.rng.integers(2, 5))] = spine[y] * 0.4 + _f32([0.42, 0.36, 0.2])
            if w > 9:
                y = int(m.rng.integers(16, h - 44))
                for line in range(y, y + 28, 4):
                    if m.rng.random() < 0.75:
                        spine[line : line + 2, 3 : max(4, x1 - x - 3)] = _f32([0.8, 0.76, 0.66]) * m.rng.uniform(
                            0.75, 1.0
                        )
            x += w + int(m.rng.random() < 0.25) * 2
    return a + _gray(0.02 * m.noise(0.4, 30))


def _hills(m: _Maker, x: Array, y: Array, c: Array) -> Array:
    im = _blend(c[0] * 0.3 + 0.62, c[1] * 0.25 + 0.55, y)
    cx = m.rng.uniform(0.25, 0.75)
    im = np.where((np.hypot(x - cx, y - 0.25) < 0.08)[..., None], _f32([0.93, 0.84, 0.6]), im)
    for layer in range(5):
        edge = (
            0.36
            + 0.13 * layer
            + 0.06 * np.sin(x * m.rng.uniform(5, 13) + m.rng.uniform(0, 6))
            + 0.02 * np.sin(x * m.rng.uniform(20, 45))
        )
        im = np.where((y > edge)[..., None], c[1 + layer % 4] * (0.95 - 0.13 * layer), im)
    return im


def _shapes(m: _Maker, x: Array, y: Array, c: Array) -> Array:
    im = np.ones((*x.shape, 3), np.float32) * _f32([0.9, 0.87, 0.8])
    for layer in range(9):
        cx, cy, r = m.rng.uniform(0.15, 0.85), m.rng.uniform(0.15, 0.85), m.rng.uniform(0.08, 0.28)
        inside = (
            np.hypot(x - cx, y - cy) < r
            if layer % 2
            else (abs(x - cx) < r) & (abs(y - cy) < r * m.rng.uniform(0.2, 1.0))
        )
        im = np.where(inside[..., None], c[layer % 5] * m.rng.uniform(0.8, 1.1), im)
    return im


def _stems(m: _Maker, x: Array, y: Array, c: Array) -> Array:
    """Flowers in a vase."""
    im = _blend(c[0] * 0.35 + 0.5, c[0] * 0.25 + 0.35, y)
    for _ in range(11):
        tip, bend, top = m.rng.uniform(0.2, 0.8), m.rng.uniform(-0.1, 0.1), m.rng.uniform(0.14, 0.5)
        path = 0.5 + (tip - 0.5) * (0.72 - y) / (0.72 - top) + bend * np.sin((y - top) * 5)
        im = np.where(((abs(x - path) < 0.008) & (y > top) & (y < 0.75))[..., None], _f32([0.3, 0.42, 0.25]), im)
        im = np.where(
            (np.hypot(x - tip, y - top) < m.rng.uniform(0.04, 0.075))[..., None], c[int(m.rng.integers(1, 5))], im
        )
        im = np.where((np.hypot(x - tip, y - top) < 0.02)[..., None], _f32([0.85, 0.7, 0.3]), im)
    vase = (y > 0.7) & (y < 0.9) & (abs(x - 0.5) < 0.1 + 0.05 * np.sin((y - 0.7) * 14))
    return np.where(vase[..., None], c[3] * 0.9, im)


def _page(m: _Maker, x: Array, y: Array, c: Array) -> Array:
    """A print with a picture and lines of text."""
    im = np.ones((*x.shape, 3), np.float32) * _f32([0.92, 0.9, 0.84])
    art = (y < 0.5) & (y > 0.08) & (x > 0.1) & (x < 0.9)
    im = np.where(art[..., None], _blend(c[0], c[1], 0.5 + 0.5 * np.sin(9 * x + 14 * y * y)), im)
    ink = m.rng.random((32, 32))[(y * 31).astype(int), (x * 31).astype(int)] > 0.25
    text = (y > 0.56) & (y < 0.93) & (x > 0.1) & (x < 0.88) & ((y * 32) % 2 < 1) & ink
    return np.where(text[..., None], 0.16, im)


def _pictures(m: _Maker) -> Array:
    """Sixteen framed pictures in muted colours."""
    a = np.zeros((TEXELS, TEXELS, 3), np.float32)
    y, x = (np.mgrid[0:128, 0:128] / 128.0).astype(np.float32)
    hues = _f32(
        [
            (0.72, 0.42, 0.3),
            (0.32, 0.44, 0.5),
            (0.45, 0.52, 0.36),
            (0.82, 0.68, 0.42),
            (0.25, 0.28, 0.38),
            (0.66, 0.52, 0.5),
            (0.36, 0.52, 0.55),
        ]
    )
    for p in range(16):
        c = hues[m.rng.permutation(len(hues))[:5]] * m.rng.uniform(0.85, 1.15, (5, 1)).astype(np.float32)
        im = (_hills, _shapes, _stems, _page)[p % 4](m, x, y, c)
        edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
        im = im * (1 + 0.04 * m.noise(0.5, 20)[:128, :128, None])
        im = np.where((edge < 0.07)[..., None], _f32([0.93, 0.92, 0.88]), im)
        a[(p // 4) * 128 : (p // 4) * 128 + 128, (p % 4) * 128 : (p % 4) * 128 + 128] = im[::-1]
    return a


def _scatter(m: _Maker, count: int, length: tuple[float, float], width: float) -> tuple[Array, Array, Array]:
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
    m: _Maker, count: int, length: tuple[float, float], width: float, low: Array, high: Array
) -> tuple[Array, Array]:
    who, rib, along = _scatter(m, count, length, width)
    tone = m.rng.uniform(0, 1, count + 1).astype(np.float32)[who.astype(int)]
    warm = m.rng.uniform(0.85, 1.25, count + 1).astype(np.float32)[who.astype(int)]
    a = _blend(low, high, tone) * (1 + 0.25 * along)[..., None]
    a[..., 0] *= warm
    vein = (np.abs(rib) < 0.05) | (np.abs((along - np.abs(rib) * 1.2) % 0.3) < 0.03)
    a = np.where((vein & (who > 0))[..., None], a * 1.18, a) * (1 - 0.7 * np.abs(rib))[..., None]
    return np.where((who > 0)[..., None], a, _f32(low) * 0.4).astype(np.float32), who


def _leaf(m: _Maker) -> Array:
    return _foliage(m, 1500, (12, 24), 0.42, _f32([0.26, 0.40, 0.15]), _f32([0.50, 0.62, 0.27]))[0]


def _hedge(m: _Maker) -> Array:
    return _foliage(m, 5200, (5, 10), 0.5, _f32([0.20, 0.33, 0.14]), _f32([0.40, 0.53, 0.24]))[0]


def _flowers(m: _Maker) -> Array:
    a, _ = _foliage(m, 1500, (10, 18), 0.3, _f32([0.20, 0.34, 0.12]), _f32([0.42, 0.55, 0.22]))
    kinds = _f32([(0.86, 0.32, 0.38), (0.92, 0.78, 0.32), (0.85, 0.62, 0.85), (0.95, 0.93, 0.9)])
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


def _bark(m: _Maker) -> Array:
    return _blend((0.26, 0.20, 0.15), (0.56, 0.47, 0.38), 0.5 + 0.3 * m.noise(0.8, 6, 300, (0.25, 1.6)))


def _rug(m: _Maker) -> Array:
    d = np.maximum(np.abs(m.x - 255.5), np.abs(m.y - 255.5))
    lattice = np.cos(m.x * 2 * np.pi / 64) * np.cos(m.y * 2 * np.pi / 64)
    field = np.where(
        (lattice > 0.45)[..., None],
        _f32([0.78, 0.68, 0.5]),
        np.where((lattice < -0.55)[..., None], _f32([0.2, 0.25, 0.36]), _f32([0.52, 0.23, 0.2])),
    )
    frieze = np.where(
        (((m.x // 16 + m.y // 16) % 2) == 0)[..., None], _f32([0.22, 0.26, 0.36]), _f32([0.76, 0.66, 0.5])
    )
    a = np.where(((d > 200) & (d < 236))[..., None], frieze, field)
    a = np.where((((d > 196) & (d < 200)) | (d > 246))[..., None], _f32([0.82, 0.76, 0.62]), a)
    return a * _gray(1 + 0.12 * m.noise(0.1, 40) + 0.05 * m.noise(1.5))


def _kilim(m: _Maker) -> Array:
    band = (m.y // 64).astype(int)
    zig = ((m.y % 64) + 32 * np.abs(((m.x / 64) % 1) * 2 - 1)) % 64 // 16
    colors = _f32([(0.72, 0.62, 0.46), (0.62, 0.32, 0.24), (0.28, 0.36, 0.42), (0.8, 0.74, 0.62), (0.5, 0.52, 0.38)])
    a = colors[(band * 2 + zig.astype(int)) % 5]
    a = np.where((np.abs(m.y % 64 - 32) > 30)[..., None], _f32([0.85, 0.8, 0.7]), a)
    return a * _gray(0.94 + 0.12 * m.noise(0.1, 40) + 0.06 * np.sign(m.wave("x", 128)))


def _ceiling(m: _Maker) -> Array:
    return _gray(
        0.88
        + 0.008 * m.noise(1.3)
        + 0.035 * (m.noise(0.3, 40) > 1.1)
        - 0.045 * (m.noise(0.3, 40) > 1.3)
        - 0.1 * (m.noise(0.6, 30) > 2.9)
    )


def _screen(m: _Maker) -> Array:
    im = _blend((0.10, 0.14, 0.2), (0.16, 0.26, 0.36), m.y / TEXELS)
    colors = _f32([(0.75, 0.78, 0.8), (0.45, 0.72, 0.56), (0.8, 0.66, 0.4), (0.5, 0.64, 0.85)])
    for line in range(14):
        im[
            60 + line * 28 : 70 + line * 28, 40 + 30 * (line % 3) : 60 + 30 * (line % 3) + int(m.rng.integers(60, 380))
        ] = colors[line % 4]
    return im


def _curtain(m: _Maker) -> Array:
    fold = np.sin(m.x * 2 * np.pi * 16 / TEXELS + 0.8 * m.noise(1.8, 1, 300, (1, 3)))
    return _gray(0.72 + 0.15 * fold + 0.025 * m.noise(0.2, 40) + 0.03 * m.wave("y", 32))


def _cardboard(m: _Maker) -> Array:
    a = _blend((0.64, 0.50, 0.34), (0.72, 0.58, 0.40), 0.5 + 0.3 * m.noise(0.4, 1, 300, (0.2, 1)))
    a[240:272] = (0.80, 0.72, 0.55)
    a[60:180, 80:230] = (0.92, 0.91, 0.87)
    for line in range(6):
        a[75 + line * 16 : 83 + line * 16, 95 : 95 + int(m.rng.integers(40, 120))] = 0.16
    return a + _gray(0.02 * m.noise(0.4, 30))


def _cloud(m: _Maker) -> Array:
    return _gray((m.noise(1.9, 1, 300, (0.7, 1.4)) * 0.5 + 0.35 + 0.12 * m.noise(1.0)) * 0.9)


def _marble(m: _Maker) -> Array:
    vein = np.exp(-((m.noise(1.5, 2) / 0.05) ** 2)) * (0.5 + 0.5 * m.noise(1.3))
    return _gray(0.80 + 0.03 * m.noise(1.2) + 0.02 * m.noise(0.3, 40) - 0.2 * np.clip(vein, 0, 1))


def _soil(m: _Maker) -> Array:
    return _blend((0.22, 0.17, 0.13), (0.46, 0.37, 0.29), 0.5 + 0.28 * m.noise(0.5, 8))


def _quilt(m: _Maker) -> Array:
    cx, cy = (m.x // 64).astype(int), (m.y // 64).astype(int)
    kind = m.rng.integers(0, 4, (8, 8))[cy, cx]
    seam = np.minimum(np.minimum(m.x % 64, 63 - m.x % 64), np.minimum(m.y % 64, 63 - m.y % 64))
    print_ = np.where(
        kind == 1,
        0.1 * np.sign(m.wave("x", 40)),
        np.where(kind == 2, 0.14 * (m.wave("x", 32) * m.wave("y", 32) > 0.3), 0.0),
    )
    tone = _f32([0.8, 0.66, 0.74, 0.9])[kind] + print_
    return _gray(tone * (0.78 + 0.22 * np.clip(seam / 14, 0, 1)) + 0.03 * m.noise(0.3, 30))


def _flat(m: _Maker) -> Array:
    return np.full((TEXELS, TEXELS, 3), 0.8, np.float32)


_RECIPES: dict[str, Callable[[_Maker], Array]] = {name: globals()[f"_{name}"] for name in SIZES_M}


def make_textures(progress: Callable[[str, float], None] | None = None) -> Textures:
    """Make all textures with their coarser levels; takes seconds.

    Args:
        progress: Told what is going on and the share that is done.
    """
    tell = progress or (lambda what, share: None)
    fine = np.empty((len(SIZES_M), TEXELS, TEXELS, 3), np.float32)
    for name, index in MATERIAL_INDEX.items():
        tell("painting textures", index / len(SIZES_M))
        fine[index] = np.clip(_RECIPES[name](_Maker(1000 + index)), 0, 1)
    linear, levels, offsets, start = fine**2, [], [], 0
    for _ in range(LEVELS):
        offsets.append(start)
        start += linear.shape[1] ** 2
        q = np.round(np.sqrt(linear) * 255).astype(np.uint32)
        levels.append((q[..., 0] | q[..., 1] << 8 | q[..., 2] << 16).reshape(len(SIZES_M), -1))
        half = linear.shape[1] // 2
        if half:
            linear = linear.reshape(len(SIZES_M), half, 2, half, 2, 3).mean((2, 4))
    mean = linear.reshape(len(SIZES_M), 3).astype(np.float32)
    who = _scatter(_Maker(77), 520, (15.0, 27.0), 0.4)[0]
    texels = np.ascontiguousarray(np.concatenate(levels, axis=1)).reshape(-1)
    return _with_sizes(texels, np.array(offsets, np.int64), mean, (who[::2, ::2] > 0).astype(np.uint8))


def load_textures(progress: Callable[[str, float], None] | None = None, folder: Path | None = None) -> Textures:
    """The textures from the user's cache, or made anew and put there.

    Args:
        progress: Told what is going on and the share that is done.
        folder: Where they are kept; the user's cache folder if not given. One that cannot be written is no error.
    """
    where = folder or Path(platformdirs.user_cache_dir("spatia"))
    file = where / f"place-textures-{VERSION}.npz"
    damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), file.open("rb") as opened, np.load(opened) as held:
        return _with_sizes(held["texels"], held["offsets"], held["mean"], held["leaves"])
    made = make_textures(progress)
    with contextlib.suppress(OSError):
        where.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=where, suffix=".npz")
        with os.fdopen(handle, "wb") as out:
            np.savez(out, texels=made.texels, offsets=made.offsets, mean=made.mean, leaves=made.leaves)
        Path(temporary).replace(file)
    return made


def _with_sizes(
    texels: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], mean: Array, leaves: npt.NDArray[np.uint8]
) -> Textures:
    return Textures(texels, offsets, np.array([1 / v for v in SIZES_M.values()], np.float32), mean, leaves)
