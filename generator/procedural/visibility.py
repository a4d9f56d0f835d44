"""Compiled loops that find which cells and primitives can be seen."""

import math

import numpy as np
from numba import njit

from .rays import OPTIONS
from .scene import (
    CO,
    HX,
    HY,
    HZ,
    PX,
    PY,
    PZ,
    SI,
    SLOT,
)


@njit(**OPTIONS)
def _clip_rect(corners, eye, out):
    """Pixel rectangle of a convex polygon in camera coordinates, clipped at the near plane; False if behind."""
    u0, u1, v0, v1 = 1e9, -1e9, 1e9, -1e9
    near = 0.02
    num = corners.shape[0]
    for q in range(num):
        ax, ay, az = corners[q, 0], corners[q, 1], corners[q, 2]
        r = q + 1 if q + 1 < num else 0
        bx, by, bz = corners[r, 0], corners[r, 1], corners[r, 2]
        if az < near and bz < near:
            continue
        if az < near:
            t = (near - az) / (bz - az)
            ax, ay, az = ax + (bx - ax) * t, ay + (by - ay) * t, near
        elif bz < near:
            t = (near - az) / (bz - az)
            bx, by, bz = ax + (bx - ax) * t, ay + (by - ay) * t, near
        u, v = ax / az * eye.fx + eye.cx, ay / az * eye.fy + eye.cy
        u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
        u, v = bx / bz * eye.fx + eye.cx, by / bz * eye.fy + eye.cy
        u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
    if u1 < u0:
        return False
    out[0] = math.floor(max(u0, -2.0))
    out[1] = math.ceil(min(u1, 1e5)) + 1
    out[2] = math.floor(max(v0, -2.0))
    out[3] = math.ceil(min(v1, 1e5)) + 1
    return True


@njit(**OPTIONS)
def walk_portals(cells, start, eye, reach_m, order, rects):
    """Cells seen through openings from the camera's own cell, with the pixel rectangle of each.

    Args:
        cells: All cells around; origins relative to the camera.
        start: Slot of the camera's cell.
        eye: The camera.
        reach_m: Cells further off are left out.
        order: (N,) slots out, nearest first.
        rects: (slots, 4) pixel rectangles out; empty where not seen.

    Returns:
        How many cells are seen.
    """
    num = 0
    rects[:, 0], rects[:, 1], rects[:, 2], rects[:, 3] = 99999, -1, 99999, -1
    stack = np.empty((600, 6), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3], stack[0, 4] = start, 0, eye.width, 0, eye.height
    stack[0, 5] = 0
    top = 1
    corners, got = np.empty((4, 3)), np.empty(4, np.int64)
    axes = eye.axes
    while top > 0:
        top -= 1
        c = stack[top, 0]
        x0, x1, y0, y1, depth = stack[top, 1], stack[top, 2], stack[top, 3], stack[top, 4], stack[top, 5]
        if rects[c, 1] < 0:
            order[num] = c
            num += 1
        elif rects[c, 0] <= x0 and rects[c, 1] >= x1 and rects[c, 2] <= y0 and rects[c, 3] >= y1:
            continue
        x0, x1 = min(x0, rects[c, 0]), max(x1, rects[c, 1])
        y0, y1 = min(y0, rects[c, 2]), max(y1, rects[c, 3])
        rects[c, 0], rects[c, 1], rects[c, 2], rects[c, 3] = x0, x1, y0, y1
        if depth > 15:
            continue
        ox, oy = cells.origin[c, 0], cells.origin[c, 1]
        for o in range(cells.num_openings[c]):
            side = int(cells.openings[c, o, 0])
            other = cells.neighbours[c, side]
            if other < 0:
                continue
            a0, a1 = cells.openings[c, o, 1], cells.openings[c, o, 2]
            z0, z1 = cells.openings[c, o, 3], cells.openings[c, o, 4]
            if side == 0:
                plane = oy
                away = -plane
            elif side == 1:
                plane = ox + cells.size[c, 0]
                away = plane
            elif side == 2:
                plane = oy + cells.size[c, 1]
                away = plane
            else:
                plane = ox
                away = -plane
            if away < -0.001 or away > reach_m:
                continue
            u0, u1, v0, v1 = x0, x1, y0, y1
            if away >= 0.3:
                for q in range(4):
                    a = a0 if q == 0 or q == 3 else a1
                    wz = (z0 if q < 2 else z1) + cells.origin[c, 2]
                    wx, wy = (ox + a, plane) if side == 0 or side == 2 else (plane, oy + a)
                    for e in range(3):
                        corners[q, e] = axes[e, 0] * wx + axes[e, 1] * wy + axes[e, 2] * wz
                if not _clip_rect(corners, eye, got):
                    continue
                u0, u1, v0, v1 = max(got[0], x0), min(got[1], x1), max(got[2], y0), min(got[3], y1)
            if u0 < u1 and v0 < v1 and top < 599:
                stack[top, 0], stack[top, 1], stack[top, 2] = other, u0, u1
                stack[top, 3], stack[top, 4], stack[top, 5] = v0, v1, depth + 1
                top += 1
    return num


@njit(**OPTIONS)
def gather(cells, order, num_cells, rects, movers, eye, floats, ints, boxes):
    """Copy the primitives that can be seen, relative to the camera, with their pixel rectangles.

    Returns:
        (first mover, number of primitives).
    """
    m, first = 0, 0
    corners = np.empty((8, 3))
    flat, got = np.empty((2, 3)), np.empty(4, np.int64)
    for a in range(num_cells + 1):
        if a == num_cells:
            first = m
            count, c = movers.num, 0
        else:
            c = order[a]
            count = cells.num_prims[c]
        for k in range(count):
            if a == num_cells:
                src, isrc = movers.floats[k], movers.ints[k]
                c = isrc[SLOT]
                if rects[c, 1] < 0:
                    continue
            else:
                src, isrc = cells.floats[c, k], cells.ints[c, k]
            ox, oy, oz = cells.origin[c, 0], cells.origin[c, 1], cells.origin[c, 2]
            behind, near = True, False
            u0, u1, v0, v1 = 1e9, -1e9, 1e9, -1e9
            for q in range(8):
                lx = src[HX] if q & 1 else -src[HX]
                ly = src[HY] if q & 2 else -src[HY]
                lz = src[HZ] if q & 4 else -src[HZ]
                wx = src[CO] * lx - src[SI] * ly + src[PX] + ox
                wy = src[SI] * lx + src[CO] * ly + src[PY] + oy
                wz = lz + src[PZ] + oz
                for e in range(3):
                    corners[q, e] = eye.axes[e, 0] * wx + eye.axes[e, 1] * wy + eye.axes[e, 2] * wz
                if corners[q, 2] < 0.02:
                    near = True
                else:
                    behind = False
                    u = corners[q, 0] / corners[q, 2] * eye.fx + eye.cx
                    v = corners[q, 1] / corners[q, 2] * eye.fy + eye.cy
                    u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
            if behind:
                continue
            if near:
                for q in range(8):
                    for bit in range(3):
                        w = q ^ (1 << bit)
                        if corners[q, 2] < 0.02 <= corners[w, 2]:
                            for e in range(3):
                                flat[0, e], flat[1, e] = corners[q, e], corners[w, e]
                            if _clip_rect(flat, eye, got):
                                u0, u1 = min(u0, float(got[0])), max(u1, float(got[1]))
                                v0, v1 = min(v0, float(got[2])), max(v1, float(got[3]))
            x0, x1 = max(int(max(u0, -2.0)), rects[c, 0]), min(int(min(u1, 1e5)) + 2, rects[c, 1])
            y0, y1 = max(int(max(v0, -2.0)), rects[c, 2]), min(int(min(v1, 1e5)) + 2, rects[c, 3])
            if x0 >= x1 or y0 >= y1 or m >= floats.shape[0]:
                continue
            for e in range(src.shape[0]):
                floats[m, e] = src[e]
            floats[m, PX], floats[m, PY], floats[m, PZ] = src[PX] + ox, src[PY] + oy, src[PZ] + oz
            for e in range(isrc.shape[0]):
                ints[m, e] = isrc[e]
            ints[m, SLOT] = c
            boxes[m, 0], boxes[m, 1], boxes[m, 2], boxes[m, 3] = x0, x1, y0, y1
            m += 1
    return first, m
