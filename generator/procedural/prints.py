"""Textures with pictures: books, paintings, screens, and what is woven."""

import math

import numpy as np

from .noise import TEXELS, Array, Maker, blend, f32, gray

HUES = f32(
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
"""Of pictures."""


def books(m: Maker) -> Array:
    """Four shelves of spines."""
    a = np.full((TEXELS, TEXELS, 3), 0.07, np.float32)
    palette = f32(
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
                spine[y : y + int(m.rng.integers(2, 5))] = spine[y] * 0.4 + f32([0.42, 0.36, 0.2])
            if w > 9:
                y = int(m.rng.integers(16, h - 44))
                for line in range(y, y + 28, 4):
                    if m.rng.random() < 0.75:
                        spine[line : line + 2, 3 : max(4, x1 - x - 3)] = f32([0.8, 0.76, 0.66]) * m.rng.uniform(
                            0.75, 1.0
                        )
            x += w + int(m.rng.random() < 0.25) * 2
    return a + gray(0.02 * m.noise(0.4, 30))


def _hills(m: Maker, x: Array, y: Array, c: Array) -> Array:
    im = blend(c[0] * 0.3 + 0.62, c[1] * 0.25 + 0.55, y)
    cx = m.rng.uniform(0.25, 0.75)
    im = np.where((np.hypot(x - cx, y - 0.25) < 0.08)[..., None], f32([0.93, 0.84, 0.6]), im)
    for layer in range(5):
        edge = (
            0.36
            + 0.13 * layer
            + 0.06 * np.sin(x * m.rng.uniform(5, 13) + m.rng.uniform(0, 6))
            + 0.02 * np.sin(x * m.rng.uniform(20, 45))
        )
        im = np.where((y > edge)[..., None], c[1 + layer % 4] * (0.95 - 0.13 * layer), im)
    return im


def _shapes(m: Maker, x: Array, y: Array, c: Array) -> Array:
    im = np.ones((*x.shape, 3), np.float32) * f32([0.9, 0.87, 0.8])
    for layer in range(9):
        cx, cy, r = m.rng.uniform(0.15, 0.85), m.rng.uniform(0.15, 0.85), m.rng.uniform(0.08, 0.28)
        inside = (
            np.hypot(x - cx, y - cy) < r
            if layer % 2
            else (abs(x - cx) < r) & (abs(y - cy) < r * m.rng.uniform(0.2, 1.0))
        )
        im = np.where(inside[..., None], c[layer % 5] * m.rng.uniform(0.8, 1.1), im)
    return im


def _stems(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """Flowers in a vase."""
    im = blend(c[0] * 0.35 + 0.5, c[0] * 0.25 + 0.35, y)
    for _ in range(11):
        tip, bend, top = m.rng.uniform(0.2, 0.8), m.rng.uniform(-0.1, 0.1), m.rng.uniform(0.14, 0.5)
        path = 0.5 + (tip - 0.5) * (0.72 - y) / (0.72 - top) + bend * np.sin((y - top) * 5)
        im = np.where(((abs(x - path) < 0.008) & (y > top) & (y < 0.75))[..., None], f32([0.3, 0.42, 0.25]), im)
        im = np.where(
            (np.hypot(x - tip, y - top) < m.rng.uniform(0.04, 0.075))[..., None], c[int(m.rng.integers(1, 5))], im
        )
        im = np.where((np.hypot(x - tip, y - top) < 0.02)[..., None], f32([0.85, 0.7, 0.3]), im)
    vase = (y > 0.7) & (y < 0.9) & (abs(x - 0.5) < 0.1 + 0.05 * np.sin((y - 0.7) * 14))
    return np.where(vase[..., None], c[3] * 0.9, im)


def _page(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """A print with a picture and lines of text."""
    im = np.ones((*x.shape, 3), np.float32) * f32([0.92, 0.9, 0.84])
    art = (y < 0.5) & (y > 0.08) & (x > 0.1) & (x < 0.9)
    im = np.where(art[..., None], blend(c[0], c[1], 0.5 + 0.5 * np.sin(9 * x + 14 * y * y)), im)
    ink = m.rng.random((32, 32))[(y * 31).astype(int), (x * 31).astype(int)] > 0.25
    text = (y > 0.56) & (y < 0.93) & (x > 0.1) & (x < 0.88) & ((y * 32) % 2 < 1) & ink
    return np.where(text[..., None], 0.16, im)


def pictures(m: Maker) -> Array:
    """Sixteen framed pictures in muted colours."""
    a = np.zeros((TEXELS, TEXELS, 3), np.float32)
    y, x = (np.mgrid[0:128, 0:128] / 128.0).astype(np.float32)
    for p in range(16):
        c = HUES[m.rng.permutation(len(HUES))[:5]] * m.rng.uniform(0.85, 1.15, (5, 1)).astype(np.float32)
        im = (_hills, _shapes, _stems, _page)[p % 4](m, x, y, c)
        edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
        im = im * (1 + 0.04 * m.noise(0.5, 20)[:128, :128, None])
        im = np.where((edge < 0.07)[..., None], f32([0.93, 0.92, 0.88]), im)
        a[(p // 4) * 128 : (p // 4) * 128 + 128, (p % 4) * 128 : (p % 4) * 128 + 128] = im[::-1]
    return a


def rug(m: Maker) -> Array:
    d = np.maximum(np.abs(m.x - 255.5), np.abs(m.y - 255.5))
    lattice = np.cos(m.x * 2 * np.pi / 64) * np.cos(m.y * 2 * np.pi / 64)
    field = np.where(
        (lattice > 0.45)[..., None],
        f32([0.78, 0.68, 0.5]),
        np.where((lattice < -0.55)[..., None], f32([0.2, 0.25, 0.36]), f32([0.52, 0.23, 0.2])),
    )
    frieze = np.where((((m.x // 16 + m.y // 16) % 2) == 0)[..., None], f32([0.22, 0.26, 0.36]), f32([0.76, 0.66, 0.5]))
    a = np.where(((d > 200) & (d < 236))[..., None], frieze, field)
    a = np.where((((d > 196) & (d < 200)) | (d > 246))[..., None], f32([0.82, 0.76, 0.62]), a)
    return a * gray(1 + 0.12 * m.noise(0.1, 40) + 0.05 * m.noise(1.5))


def kilim(m: Maker) -> Array:
    band = (m.y // 64).astype(int)
    zig = ((m.y % 64) + 32 * np.abs(((m.x / 64) % 1) * 2 - 1)) % 64 // 16
    colors = f32([(0.72, 0.62, 0.46), (0.62, 0.32, 0.24), (0.28, 0.36, 0.42), (0.8, 0.74, 0.62), (0.5, 0.52, 0.38)])
    a = colors[(band * 2 + zig.astype(int)) % 5]
    a = np.where((np.abs(m.y % 64 - 32) > 30)[..., None], f32([0.85, 0.8, 0.7]), a)
    return a * gray(0.94 + 0.12 * m.noise(0.1, 40) + 0.06 * np.sign(m.wave("x", 128)))


def screen(m: Maker) -> Array:
    im = blend((0.10, 0.14, 0.2), (0.16, 0.26, 0.36), m.y / TEXELS)
    colors = f32([(0.75, 0.78, 0.8), (0.45, 0.72, 0.56), (0.8, 0.66, 0.4), (0.5, 0.64, 0.85)])
    for line in range(14):
        im[
            60 + line * 28 : 70 + line * 28, 40 + 30 * (line % 3) : 60 + 30 * (line % 3) + int(m.rng.integers(60, 380))
        ] = colors[line % 4]
    return im


def quilt(m: Maker) -> Array:
    cx, cy = (m.x // 64).astype(int), (m.y // 64).astype(int)
    kind = m.rng.integers(0, 4, (8, 8))[cy, cx]
    seam = np.minimum(np.minimum(m.x % 64, 63 - m.x % 64), np.minimum(m.y % 64, 63 - m.y % 64))
    print_ = np.where(
        kind == 1,
        0.1 * np.sign(m.wave("x", 40)),
        np.where(kind == 2, 0.14 * (m.wave("x", 32) * m.wave("y", 32) > 0.3), 0.0),
    )
    tone = f32([0.8, 0.66, 0.74, 0.9])[kind] + print_
    return gray(tone * (0.78 + 0.22 * np.clip(seam / 14, 0, 1)) + 0.03 * m.noise(0.3, 30))


def _sea(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """Boats on the sea."""
    line = m.rng.uniform(0.45, 0.6)
    im = np.where(
        (y > line)[..., None], blend(c[1] * 0.9, c[1] * 0.5, (y - line) * 2), blend(c[0] + 0.25, c[2] + 0.3, y)
    )
    im = im * gray(1 + 0.06 * np.sin(y * 150 + 9 * np.sin(x * 7)) * (y > line))
    for _ in range(3):
        bx, by, size = m.rng.uniform(0.2, 0.8), line + m.rng.uniform(0.0, 0.2), m.rng.uniform(0.06, 0.14)
        sail = (x > bx) & (x - bx < (y - by + 2 * size) * 0.5) & (y < by)
        hull = (abs(x - bx) < size * 0.6) & (y >= by) & (y < by + 0.2 * size)
        im = np.where(sail[..., None], f32([0.94, 0.92, 0.86]), np.where(hull[..., None], f32([0.3, 0.2, 0.16]), im))
    return im


def _skyline(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """A town at dusk."""
    im = blend(c[0] * 0.6, c[3] + 0.2, y)
    for layer in range(3):
        count = 7 + 3 * layer
        tops = m.rng.uniform(0.3, 0.62, count) + 0.1 * layer
        house = y > tops[np.minimum((x * count).astype(int), count - 1)]
        im = np.where(house[..., None], c[4] * (0.9 - 0.25 * layer), im)
        lit = (m.rng.random((26, 26)) > 0.82)[(y * 25).astype(int), (x * 25).astype(int)]
        im = np.where(
            (house & lit & ((x * 25) % 1 > 0.4) & ((y * 25) % 1 > 0.4))[..., None], f32([0.95, 0.8, 0.45]), im
        )
    return im


def _sprig(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """A pressed twig on paper."""
    im = np.ones((*x.shape, 3), np.float32) * f32([0.93, 0.91, 0.84])
    bend = m.rng.uniform(-0.12, 0.12)
    path = 0.5 + bend * np.sin(y * 4)
    im = np.where(((abs(x - path) < 0.007) & (y > 0.15) & (y < 0.9))[..., None], f32([0.35, 0.3, 0.2]), im)
    for k in range(12):
        cy, side = 0.82 - 0.055 * k, 1 if k % 2 else -1
        cx, length = 0.5 + bend * math.sin(cy * 4) + side * 0.11, 0.13 - 0.005 * k
        q = ((x - cx) + (y - cy) * -0.5 * side) / length
        w = ((y - cy) + (x - cx) * 0.5 * side) / (0.3 * length)
        im = np.where((q * q + w * w < 1)[..., None], c[2] * (0.85 + 0.2 * (w > 0))[..., None], im)
    return im


def _fields(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """Blocks of colour between dark bars."""
    im = np.ones((*x.shape, 3), np.float32) * f32([0.9, 0.88, 0.82])
    xs, ys = np.sort(m.rng.uniform(0.1, 0.9, 4)), np.sort(m.rng.uniform(0.1, 0.9, 4))
    which = np.searchsorted(xs, x.ravel()).reshape(x.shape) * 5 + np.searchsorted(ys, y.ravel()).reshape(y.shape)
    for k in m.rng.permutation(25)[:9]:
        im = np.where((which == k)[..., None], c[k % 5], im)
    bar = np.zeros(x.shape, bool)
    for v in xs:
        bar |= abs(x - v) < 0.012
    for v in ys:
        bar |= abs(y - v) < 0.012
    return np.where(bar[..., None], f32([0.13, 0.12, 0.12]), im)


def _moon(m: Maker, x: Array, y: Array, c: Array) -> Array:
    """A moon over water."""
    cx, cy, r = m.rng.uniform(0.3, 0.7), m.rng.uniform(0.22, 0.35), m.rng.uniform(0.1, 0.17)
    im = blend(c[4] * 0.5, c[1] * 0.9, y * 1.4)
    im = np.where((np.hypot(x - cx, y - cy) < r)[..., None], f32([0.93, 0.88, 0.74]), im)
    glint = (y > 0.6) & (abs(x - cx) < 0.05 + 0.35 * (y - 0.6)) & (np.sin(y * 90 + 3 * np.sin(x * 20)) > 0.2)
    im = np.where((y > 0.6)[..., None], c[4] * 0.35, im)
    return np.where(glint[..., None], f32([0.85, 0.8, 0.62]), im)


def paintings(m: Maker) -> Array:
    """Sixteen more pictures, without a mount."""
    a = np.zeros((TEXELS, TEXELS, 3), np.float32)
    y, x = (np.mgrid[0:128, 0:128] / 128.0).astype(np.float32)
    for p in range(16):
        c = HUES[m.rng.permutation(len(HUES))[:5]] * m.rng.uniform(0.85, 1.15, (5, 1)).astype(np.float32)
        im = (_sea, _skyline, _sprig, _fields, _moon)[p % 5](m, x, y, c)
        im = im * (1 + 0.05 * m.noise(0.5, 20)[:128, :128, None])
        a[(p // 4) * 128 : (p // 4) * 128 + 128, (p % 4) * 128 : (p % 4) * 128 + 128] = im[::-1]
    return a


def rounds(m: Maker) -> Array:
    """A round carpet: rings, petals and a rim."""
    d, t = np.hypot(m.x - 255.5, m.y - 255.5) / 256.0, np.arctan2(m.y - 255.5, m.x - 255.5)
    colors = f32([(0.8, 0.72, 0.58), (0.3, 0.38, 0.44), (0.66, 0.36, 0.28), (0.82, 0.78, 0.68), (0.46, 0.5, 0.38)])
    a = colors[((d * 9 + 0.35 * np.cos(t * 12)).astype(int)) % 5]
    a = np.where((d > 0.93)[..., None], f32([0.85, 0.8, 0.7]), a)
    return a * gray(1 + 0.1 * m.noise(0.1, 40) + 0.05 * np.sign(np.sin(d * 300)))
