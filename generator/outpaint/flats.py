"""Floor and ceiling: known texture carried outward, its light kept near the known and evened out far from it."""

import cv2
import numpy as np
import numpy.typing as npt

from .quilt import PatchRule, Source, texture
from .relief import Surface, nearest_filled

Color = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

FLOOR_TOLERANCE_M = 0.03
"""Known points this near to the floor's plane are floor."""
LIGHT_SIGMA_M = 0.10
"""Wider changes are light and stains, which stay where they are; narrower ones are texture, which repeats."""
FLOOR_PATCH_M = 0.36
SHARP_FOOTPRINT_M = 0.012
"""Floor seen at a flatter angle than this is too blurred to lend its texture."""
FADE_M = 1.0
"""Distance over which known light fades to its mean."""
CORNER_SHADE_M = 0.5
"""Reach of the darkening towards walls."""
JOIST_PITCH_M, JOIST_WIDTH_M, JOIST_HEIGHT_M = 0.61, 0.05, 0.16
"""Timber over a bare wooden wall, as it is built."""


def floor_surface(
    points_room: npt.NDArray[np.float32],
    standing_room: npt.NDArray[np.float32],
    colors: npt.NDArray[np.uint8],
    footprint_m: npt.NDArray[np.float32],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    texel_m: float,
    rng: np.random.Generator,
) -> Surface:
    """The whole floor; where it is known, its own texels again.

    Args:
        points_room: (N, 3) known points, room axes.
        standing_room: (M, 3) points of what stands at the walls; the floor darkens towards it.
        colors: (N, 3) uint8.
        footprint_m: (N,) extent of each point's pixel on a level surface.
        low: (3,) corner of the room.
        high: (3,) opposite corner.
        texel_m: Side of a texel.
        rng: Chooses patches.
    """
    on_floor = np.abs(points_room[:, 1]) < FLOOR_TOLERANCE_M
    shape = (max(24, round((high[2] - low[2]) / texel_m)), max(24, round((high[0] - low[0]) / texel_m)))
    u = np.floor((points_room[on_floor, 0] - low[0]) / texel_m).astype(np.int64)
    v = np.floor((points_room[on_floor, 2] - low[2]) / texel_m).astype(np.int64)
    inside = (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0])
    index = v[inside] * shape[1] + u[inside]
    picture, known = _mean_per_texel(index, colors[on_floor][inside], shape)
    blur, _ = _mean_per_texel(index, footprint_m[on_floor][inside][:, None], shape)
    if not known.any():
        picture[:], known[:] = 110.0, True
    kernel = np.ones((5, 5), np.uint8)
    closed = cv2.morphologyEx(known.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    filled = _closed_picture(picture, known, closed)
    result = _carried_outward(filled, closed, blur[..., 0], texel_m, rng)
    result *= _contact_shade(standing_room, closed, low, texel_m)[..., None]
    z, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    points = np.stack([low[0] + (x + 0.5) * texel_m, np.zeros_like(x), low[2] + (z + 0.5) * texel_m], -1).astype(
        np.float32
    )
    return Surface(points.reshape(-1, 3), result.reshape(-1, 3), np.full(x.size, 1.15 * texel_m, np.float32))


def _mean_per_texel(index: npt.NDArray[np.int64], values: npt.NDArray, shape: tuple[int, int]) -> tuple[Color, Mask]:
    """Mean of (N, K) values that fall on each texel, and where any does."""
    size = shape[0] * shape[1]
    count = np.bincount(index, minlength=size)
    sums = [np.bincount(index, values[:, k], size) for k in range(values.shape[1])]
    mean = np.stack(sums, -1) / np.maximum(count, 1)[:, None]
    return mean.reshape(*shape, -1).astype(np.float32), (count > 0).reshape(shape)


def _closed_picture(picture: Color, known: Mask, closed: Mask) -> Color:
    """Fill small gaps with the mean around them."""
    small, weight = _blur_known(picture, known, 1.5)
    gaps = closed & ~known
    out = picture.copy()
    out[gaps] = small[gaps]
    return np.where(weight[..., None] > 1e-4, out, 0.0).astype(np.float32)


def _blur_known(picture: Color, known: Mask, sigma: float) -> tuple[Color, npt.NDArray[np.float32]]:
    """Gaussian mean over known texels only, and the weight that went into it."""
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    total = cv2.GaussianBlur(np.where(known[..., None], picture, 0.0).astype(np.float32), (0, 0), sigma)
    total = total.reshape(picture.shape)
    mean = total / np.maximum(weight, 1e-6)[..., None]
    return mean.astype(np.float32), np.asarray(weight, np.float32)


def _carried_outward(
    picture: Color, known: Mask, blur_m: npt.NDArray[np.float32], texel_m: float, rng: np.random.Generator
) -> Color:
    """Known light near the known, its mean far away, with quilted texture on top."""
    light, _ = _blur_known(picture, known, LIGHT_SIGMA_M / texel_m)
    detail = np.where(known[..., None], picture - light, 0.0)
    opened = cv2.morphologyEx(known.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    core = cv2.erode(opened, np.ones((9, 9), np.uint8))
    grain = _quilted_grain(detail, core > 0, blur_m, texel_m, rng)
    distance = (cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5) * texel_m).astype(np.float32)
    base = _light_far_from_known(picture, light, known, core > 0, distance, texel_m)
    stains = _stains(known.shape, texel_m, rng)[..., None] * np.clip(distance / FADE_M, 0, 1)[..., None]
    return np.where(known[..., None], picture, base + grain + 3.0 * stains).astype(np.float32)


def _quilted_grain(
    detail: Color, core: Mask, blur_m: npt.NDArray[np.float32], texel_m: float, rng: np.random.Generator
) -> Color:
    """Texture for the whole floor from its sharp, evenly lit part; (H, W, K) with K 1 or 3."""
    strength = np.abs(detail).max(2)
    usual = float(np.percentile(strength[core], 60)) if core.any() else 0.0
    wild = cv2.blur(strength, (9, 9)) > max(8.0, 3.0 * usual)
    even = core & (cv2.dilate(wild.astype(np.uint8), np.ones((7, 7))) == 0)
    grey = detail.mean(2, keepdims=True)
    patch = round(FLOOR_PATCH_M / texel_m)
    rule = PatchRule(patch, round(0.22 * patch), reuse=0.3, step=3, least=max(8, patch // 3))
    for footprint in (SHARP_FOOTPRINT_M, 2 * SHARP_FOOTPRINT_M, np.inf):
        valid = even & (blur_m < footprint)
        if valid.sum() * texel_m**2 < 0.3 and np.isfinite(footprint):
            continue
        rows, columns = np.nonzero(valid)
        if len(rows) == 0:
            break
        box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        try:
            return texture(Source.turned(grey[box], valid[box]), core.shape[0], core.shape[1], rule, rng)
        except ValueError:
            continue
    return rng.normal(scale=max(2.0, 0.5 * usual), size=(*core.shape, 1)).astype(np.float32)


def _light_far_from_known(
    picture: Color, light: Color, known: Mask, core: Mask, distance: npt.NDArray[np.float32], texel_m: float
) -> Color:
    """Light of the nearest known floor, fading to the brighter half's mean."""
    sharp, _ = _blur_known(picture, known, 3.0)
    source = core if core.any() else known
    nearest = nearest_filled(sharp, source)
    wide = cv2.GaussianBlur(nearest, (0, 0), 0.25 / texel_m)
    near = np.exp(-((distance / 0.35) ** 2))[..., None]
    lit = light[source]
    level = lit.mean(1)
    mean = np.median(lit[level >= np.median(level)], axis=0) * 0.88
    fade = np.exp(-distance / FADE_M)[..., None]
    return (cv2.GaussianBlur(nearest, (0, 0), 3.0) * near + wide * (1 - near)) * fade + mean * (1 - fade)


def _stains(shape: tuple[int, int], texel_m: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Slow variation of unit strength."""
    coarse = (max(2, round(shape[0] * texel_m / 0.08)), max(2, round(shape[1] * texel_m / 0.08)))
    noise = cv2.GaussianBlur(rng.normal(size=coarse).astype(np.float32), (0, 0), 4.0)
    noise = cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return (noise / max(float(noise.std()), 1e-6)).astype(np.float32)


def _contact_shade(
    standing_room: npt.NDArray[np.float32], known: Mask, low: npt.NDArray[np.float64], texel_m: float
) -> npt.NDArray[np.float32]:
    """Darkening of the invented floor towards what stands on it."""
    h, w = known.shape
    foot = standing_room[standing_room[:, 1] > -0.3]
    u = np.floor((foot[:, 0] - low[0]) / texel_m).astype(np.int64)
    v = np.floor((foot[:, 2] - low[2]) / texel_m).astype(np.int64)
    free = np.ones((h, w), np.uint8)
    inside = (u >= 0) & (v >= 0) & (u < w) & (v < h)
    free[v[inside], u[inside]] = 0
    free[[0, -1]], free[:, [0, -1]] = 0, 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5) * texel_m
    shade = 0.45 * np.exp(-distance / (0.3 * CORNER_SHADE_M)) + 0.15 * np.exp(-distance / CORNER_SHADE_M)
    away = np.clip(cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5) * texel_m / 0.4, 0, 1)
    return (1.0 - shade * away).astype(np.float32)


def ceiling_surface(
    plain: Color,
    plain_known: Mask,
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    texel_m: float,
    white: float,
    rng: np.random.Generator,
) -> Surface:
    """A ceiling from the plain parts of the walls: timber where they are dark, a light plain one otherwise.

    Args:
        plain: (h, w, 3) wall texture, at the ceiling's texels.
        plain_known: (h, w) bool, its plain parts.
        low: (3,) corner of the room; y is the ceiling.
        high: (3,) opposite corner.
        texel_m: Side of a texel.
        white: Level of white in the photo.
        rng: Chooses patches.
    """
    shape = (round((high[2] - low[2]) / texel_m), round((high[0] - low[0]) / texel_m))
    mean = plain[plain_known].mean(0) if plain_known.any() else np.full(3, 160.0)
    dark = float(mean.mean()) < 0.5 * white
    patch = round(0.3 / texel_m)
    rule = PatchRule(patch, patch // 5, reuse=0.4, step=4, least=max(8, patch // 2))
    try:
        cover = texture(Source.turned(plain, plain_known), *shape, rule, rng)
    except ValueError:
        cover = mean + _stains(shape, texel_m, rng)[..., None] * 2.0 + rng.normal(scale=2.5, size=(*shape, 1))
    if not dark:  # whitewash: brighter than the walls, hardly any texture
        tone = np.minimum(mean + 0.35 * (white - mean.mean()), white)
        cover = tone + 0.35 * (cover - mean)
    else:
        cover = cover * 0.5
    z, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    points = np.stack([low[0] + (x + 0.5) * texel_m, np.full_like(x, low[1]), low[2] + (z + 0.5) * texel_m], -1).astype(
        np.float32
    )
    boards = Surface(
        points.reshape(-1, 3),
        cover.reshape(-1, 3).astype(np.float32),
        np.full(x.size, 1.15 * texel_m, np.float32),
    )
    return Surface.concatenate([boards, _joists(cover, low, high, texel_m)]) if dark else boards


def _joists(cover: Color, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], texel_m: float) -> Surface:
    """Beams under a timber ceiling, along z, in the ceiling's own texture."""
    parts = []
    z = (low[2] + (np.arange(cover.shape[0]) + 0.5) * texel_m).astype(np.float32)
    for left in np.arange(low[0] + 0.3, high[0] - 0.1, JOIST_PITCH_M):
        first = round((left - low[0]) / texel_m)
        for face, shade in (("left", 1.2), ("under", 0.75), ("right", 1.0)):
            across = JOIST_WIDTH_M if face == "under" else JOIST_HEIGHT_M
            k = np.arange(max(1, round(across / texel_m)))
            gz, gk = np.meshgrid(z, k * texel_m, indexing="ij")
            columns = np.clip(first + np.broadcast_to(k, gz.shape), 0, cover.shape[1] - 1)
            color = cover[np.arange(cover.shape[0])[:, None], columns] * shade
            x = left + (gk if face == "under" else np.full_like(gk, JOIST_WIDTH_M if face == "right" else 0.0))
            y = low[1] + (np.full_like(gk, JOIST_HEIGHT_M) if face == "under" else gk)
            points = np.stack([x, y, gz], -1).reshape(-1, 3).astype(np.float32)
            spacing = np.full(len(points), 1.15 * texel_m, np.float32)
            parts.append(Surface(points, color.reshape(-1, 3).astype(np.float32), spacing))
    return Surface.concatenate(parts)
