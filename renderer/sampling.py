"""Compiled loops that colour a drawn picture: photos sampled at its depth, and tints by class."""

import numpy as np
from numba import njit

from .kernels import FAR, NEAR_M, OPTIONS, PAD

f4, i4, u4, u1 = np.float32, np.int32, np.uint32, np.uint8

BLOCK = 64
"""Pixels that the photo sampler handles at a time; its scratch stays in the fastest cache."""


@njit(**OPTIONS)
def sample_photo(
    depth, color, pending, width, height, m, photo, inverse_depth, photo_width, photo_height, rank, tolerance, slack,
    strength, missing_depth, scratch,
):  # fmt: skip
    """Replace drawn colours by a photo's where the drawn depth is what the photo saw.

    The depths agree when their inverses differ by less than ``max(tolerance / depth, slack)``. The scratch is one
    array with constant offsets, so that the compiler can prove that nothing overlaps.

    Args:
        depth, color: Planes; the colours are changed.
        pending: (H, W) uint8, 1 where a photo's colour is still wanted; cleared where it is given.
        width, height: Size of the picture.
        m: (12,) float32: a pixel (u, v, 1) times its depth z lands at ``z * M @ (u, v, 1) + t`` in the photo,
            row by row M (9), then t (3).
        photo: (h * w,) uint32 colour words. photo_width, photo_height: Its size, 2 or more each.
        inverse_depth: (h * w,) float32, 1/m; 0 unknown, large where nothing may be sampled.
        rank: Class of the photo; pixels of a higher class keep their colour.
        tolerance: Relative.
        slack: In 1/m; what cannot be told apart for want of parallax.
        strength: 0..256, share of the photo's colour.
        missing_depth: Taken where nothing is drawn; ``FAR`` leaves such pixels alone.
        scratch: (10 * BLOCK,) uint32.

    Returns:
        Number of pixels that got the photo's colour.
    """
    stride = width + 2 * PAD
    fs = scratch.view(np.float32)
    even = u4(0xFF00FF)
    half = u4(0x800080)
    u_end, v_end = f4(photo_width), f4(photo_height)
    u_last, v_last = f4(photo_width) - f4(1.001), f4(photo_height) - f4(1.001)
    row_step = u4(photo_width)
    k_new, k_old = u4(strength), u4(256 - strength)
    m0, m3, m6, t0, t1, t2 = m[0], m[3], m[6], m[9], m[10], m[11]
    given = 0
    for j in range(height):
        y = f4(j) + f4(0.5)
        r0, r1, r2 = m[1] * y + m[2], m[4] * y + m[5], m[7] * y + m[8]
        wanted_row = pending[j]
        for b in range(0, width, BLOCK):
            n = min(BLOCK, width - b)
            wanted = wanted_row[b : b + n]
            any_wanted = u1(0)
            for i in range(n):
                any_wanted |= wanted[i]
            if any_wanted == u1(0):
                continue
            o = (j + PAD) * stride + PAD + b
            z_row, c_row = depth[o : o + n], color[o : o + n]
            for i in range(n):
                x = f4(b + i) + f4(0.5)
                z = z_row[i] if z_row[i] < FAR else missing_depth
                d = z * (m6 * x + r2) + t2
                w = f4(1) / max(d, f4(1e-6))
                u = (z * (m0 * x + r0) + t0) * w
                v = (z * (m3 * x + r1) + t1) * w
                inside = (z < FAR) & (d > NEAR_M) & (u >= f4(0)) & (u < u_end) & (v >= f4(0)) & (v < v_end)
                u = u if inside else f4(0)
                v = v if inside else f4(0)
                fs[i] = w if inside else f4(-1e15)
                scratch[BLOCK + i] = u4(i4(v)) * row_step + u4(i4(u))
                u = min(max(u - f4(0.5), f4(0)), u_last)
                v = min(max(v - f4(0.5), f4(0)), v_last)
                iu, iv = i4(u), i4(v)
                scratch[2 * BLOCK + i] = u4(iv) * row_step + u4(iu)
                scratch[3 * BLOCK + i] = u4(i4((u - f4(iu)) * f4(256) + f4(0.5)))
                scratch[4 * BLOCK + i] = u4(i4((v - f4(iv)) * f4(256) + f4(0.5)))
            for i in range(n):
                fs[5 * BLOCK + i] = inverse_depth[scratch[BLOCK + i]]
                p = scratch[2 * BLOCK + i]
                scratch[6 * BLOCK + i] = photo[p]
                scratch[7 * BLOCK + i] = photo[p + u4(1)]
                scratch[8 * BLOCK + i] = photo[p + row_step]
                scratch[9 * BLOCK + i] = photo[p + row_step + u4(1)]
            for i in range(n):
                fx, fy = scratch[3 * BLOCK + i], scratch[4 * BLOCK + i]
                w3 = u4(fx * fy + u4(128)) >> u4(8)
                w1, w2 = u4(fx - w3), u4(fy - w3)
                w0 = u4(u4(256) - fx - w2)
                a, bb, c, e = (
                    scratch[6 * BLOCK + i],
                    scratch[7 * BLOCK + i],
                    scratch[8 * BLOCK + i],
                    scratch[9 * BLOCK + i],
                )
                old = c_row[i]
                s = u4(8)
                rb = u4((a & even) * w0 + (bb & even) * w1 + (c & even) * w2 + (e & even) * w3 + half)
                g = u4(
                    ((a >> s) & even) * w0 + ((bb >> s) & even) * w1 + ((c >> s) & even) * w2 + ((e >> s) & even) * w3
                    + half
                )  # fmt: skip
                rb, g = (rb >> s) & even, (g >> s) & u4(0xFF)
                rb = (u4(rb * k_new + (old & even) * k_old + half) >> s) & even
                g = (u4(g * k_new + ((old >> s) & u4(0xFF)) * k_old + u4(128)) >> s) & u4(0xFF)
                inverse = fs[i]
                agree = abs(fs[5 * BLOCK + i] - inverse) <= max(tolerance * inverse, slack)
                agree = agree & (wanted[i] != u1(0)) & ((old >> u4(30)) <= u4(rank))
                c_row[i] = ((old & u4(0xFF000000)) | rb | (g << s)) if agree else old
                wanted[i] = u1(0) if agree else wanted[i]
                given += i4(agree)
    return given


@njit(**OPTIONS)
def mark_pixels(depth, width, height, drawn, pending):
    """Set ``pending`` to 1 where something is drawn (``drawn`` 1) or where nothing is (0), and to 0 elsewhere."""
    stride = width + 2 * PAD
    for j in range(height):
        o = (j + PAD) * stride + PAD
        z, out = depth[o : o + width], pending[j]
        for i in range(width):
            out[i] = u1(u1(z[i] < FAR) == drawn)


@njit(**OPTIONS)
def tint_classes(depth, color, width, height, tints, share):
    """Mix drawn pixels with the colour of their class.

    Args:
        depth, color: Planes; the colours are changed.
        tints: (4, 3) float32 RGB of each class.
        share: Of the tint.
    """
    stride = width + 2 * PAD
    for j in range(height):
        for i in range((j + PAD) * stride + PAD, (j + PAD) * stride + PAD + width):
            if depth[i] >= FAR:
                continue
            v = color[i]
            out = v & u4(0xFF000000)
            for c in range(3):
                old = f4((v >> u4(8 * c)) & u4(255))
                out |= u4(old + share * (tints[v >> u4(30), c] - old) + f4(0.5)) << u4(8 * c)
            color[i] = out
