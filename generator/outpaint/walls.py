"""What a wall of which a part is known looks like in full: its rows, its holes, its pitch, its bare parts."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .quilt import Guide, PatchRule, Source, complete, texture
from .relief import RELIEF_WEIGHT, WallMap, nearest_filled

HOLE_PATCH = 36
"""Side in texels of the patches that fill holes: a box, a board; coarser walls are made of larger ones."""
COLUMN_SHARE = 0.25
"""A column known to this share of the band's height can be completed; others are replaced."""
MIN_BAND_M, MIN_RUN_M = 0.6, 0.5
"""Least height and width of known wall to work from."""


def known_rows(wall: WallMap) -> int:
    """Rows from the floor up to the height that enough of the known columns reach; 0 if that is too little."""
    columns = wall.known.any(0)
    share = wall.known[:, columns].mean(1) if columns.any() else np.zeros(1)
    rows = np.nonzero(share > 0.3)[0]
    band = wall.known.shape[0] - int(rows[0]) if len(rows) else 0
    enough = band * wall.texel_m > MIN_BAND_M and len(known_runs(wall, band)) > 0
    return band if enough else 0


def known_runs(wall: WallMap, band: int) -> list[slice]:
    """Stretches of columns that are known well enough to be completed."""
    share = wall.known[-band:].mean(0) > COLUMN_SHARE
    gap = np.ones((1, round(0.4 / wall.texel_m) | 1), np.uint8)
    joined = cv2.morphologyEx(np.pad(share, gap.shape[1])[None].astype(np.uint8), cv2.MORPH_CLOSE, gap)[0]
    flags = np.diff(np.pad(joined[gap.shape[1] : -gap.shape[1]].astype(np.int8), 1))
    runs = zip(np.nonzero(flags == 1)[0], np.nonzero(flags == -1)[0], strict=True)
    return [slice(int(a), int(b)) for a, b in runs if (b - a) * wall.texel_m > MIN_RUN_M]


def complete_band(
    picture: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    source: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    texel_m: float,
    rng: np.random.Generator,
) -> None:
    """Fill the holes of a stretch from an exemplar, at like heights. In place."""
    rule = PatchRule(HOLE_PATCH, HOLE_PATCH // 3, same_row=0.004, reuse=0.04)
    rough = nearest_filled(picture, known, upright=0.35)
    rough[..., 3] = cv2.medianBlur(np.ascontiguousarray(rough[..., 3]), 5)
    guide = Guide(rough, np.array([0.15, 0.15, 0.15, 3.0], np.float32), ~known)
    complete(picture, known, Source.mirrored(source, valid), rule, rng, guide)


@dataclass(slots=True, eq=False)
class BareWall:
    """How the wall looks where nothing stands at it.

    Attributes:
        source: Its plain parts, without relief.
        paint: (3,) float32, usual colour.
    """

    source: Source
    paint: npt.NDArray[np.float32]


def bare_looks(band: npt.NDArray[np.float32]) -> BareWall:
    """Plain parts and usual colour of an exemplar.

    Args:
        band: (H, W, 4) colour and scaled relief.
    """
    flat = band.copy()
    flat[..., 3] = 0.0
    upper = band[: max(8, band.shape[0] // 3)]
    shallow = upper[upper[..., 3] < 0.2 * RELIEF_WEIGHT]
    colors = shallow if len(shallow) else upper.reshape(-1, 4)
    paint = np.median(colors[:, :3], axis=0).astype(np.float32)
    return BareWall(Source.mirrored(flat, plain_parts(band)), paint)


def bare_wall(
    plain: BareWall, height: int, width: int, texel_m: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Wall without anything at it: quilted where a fair piece of it is known, painted in its colour otherwise.

    Args:
        plain: Its looks.
        height: Rows.
        width: Columns.
        texel_m: Side of a texel.
        rng: Chooses patches and grain.

    Returns:
        (height, width, 4) float32, relief 0.
    """
    valid = plain.source.valid[0].astype(np.uint8)
    least = np.ones((round(0.2 / texel_m),) * 2, np.uint8)
    if cv2.erode(valid, least, borderType=cv2.BORDER_CONSTANT, borderValue=0).any():
        rule = PatchRule(round(0.3 / texel_m), round(0.06 / texel_m), reuse=0.3, step=3)
        return texture(plain.source, max(height, rule.patch), max(width, rule.patch), rule, rng)[:height, :width]
    out = np.zeros((height, width, 4), np.float32)
    coarse = rng.normal(size=(height // 40 + 2, width // 40 + 2)).astype(np.float32)
    out[..., :3] = plain.paint + 3.0 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    out[..., :3] += rng.normal(scale=2.5, size=(height, width, 1)).astype(np.float32)
    return out


def ended_columns(wall: WallMap, band: int) -> npt.NDArray[np.bool_]:
    """Columns with furniture below and bare wall at the top of what is known."""
    relief = wall.relief_m[-band:]
    strip = max(3, round(0.15 / wall.texel_m))
    face = np.percentile(relief, 85, axis=0)
    stands = (relief > 0.25).sum(0) * wall.texel_m > 0.25
    bare_top = np.percentile(relief[:strip], 90, axis=0) < face - 0.15
    votes = cv2.blur((stands & bare_top).astype(np.float32)[None], (round(0.4 / wall.texel_m) | 1, 1))[0]
    if stands.any() and votes[stands].mean() > 0.5:  # the room's furniture is low: none goes on
        return np.ones(len(votes), bool)
    width = np.ones((1, round(0.3 / wall.texel_m) | 1), np.uint8)
    return cv2.morphologyEx((votes > 0.5).astype(np.uint8)[None], cv2.MORPH_OPEN, width)[0] > 0


def vertical_pitch(band: npt.NDArray[np.float32], overlap: int) -> int:
    """Rows after which a wall continues best upwards with its own rows: the distance of shelves, of boards.

    Args:
        band: (H, W, 4) complete exemplar.
        overlap: Rows compared.

    Returns:
        A number of rows, at least a third of the band's.
    """
    top = band[:overlap]
    least = max(overlap, round(0.35 * band.shape[0]))
    costs = [float(((top - band[y : y + overlap]) ** 2).mean()) for y in range(least, band.shape[0] - overlap)]
    return least + int(np.argmin(costs)) if costs else band.shape[0]


def plain_parts(band: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where an exemplar is bare wall: the largest kind of shallow, even colour.

    Args:
        band: (H, W, 4) colour and scaled relief.

    Returns:
        (H, W) bool.
    """
    relief = band[..., 3] / RELIEF_WEIGHT
    shallow = relief < max(0.15, float(np.percentile(relief, 20)))
    pixels = np.ascontiguousarray(band[..., :3][shallow][::5])
    if len(pixels) < 50:
        return shallow
    criteria = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 20, 1.0)
    cv2.setRNGSeed(1)
    _, _, centers = cv2.kmeans(pixels, 4, np.zeros((len(pixels), 1), np.int32), criteria, 2, cv2.KMEANS_PP_CENTERS)
    nearest = ((band[..., None, :3] - centers) ** 2).sum(-1).argmin(-1)
    kernel = np.ones((7, 7), np.uint8)
    masks = [
        cv2.morphologyEx(
            cv2.morphologyEx((shallow & (nearest == k)).astype(np.uint8), cv2.MORPH_CLOSE, kernel),
            cv2.MORPH_OPEN,
            np.ones((9, 9), np.uint8),
        )
        for k in range(len(centers))
    ]
    return max(masks, key=lambda m: int(m.sum())) > 0
