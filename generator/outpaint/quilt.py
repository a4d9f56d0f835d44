"""Texture and relief made from what is known: patches joined along the cheapest seams.

Pictures here are (H, W, K) float32. Channels beyond the third carry relief, scaled so that a step of it weighs as
much as the colour step that a person would notice as much. Quilting after Efros and Freeman (2001); the seam of
irregular overlaps is a watershed of the overlap's error, which is a cut of least greatest error.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit
from skimage.segmentation import watershed

Picture = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MIN_VALID_SHARE = 0.985
"""A patch may miss this little of its source; the rest is taken as it is."""
CHOICE_SLACK = 1.10
"""Candidates whose error is within this factor of the least are chosen from at random."""
ERROR_FLOOR = 16.0
"""Squared levels a pixel below which seams cannot be told apart."""
MAX_DIRECT_TERMS = 4_000_000
"""Up to so many differences are summed one by one; more are left to correlation by Fourier transform."""


@dataclass(slots=True)
class Source:
    """Oriented copies of an exemplar and how often each place of them was used.

    Attributes:
        pictures: (h, w, K) float32 each.
        valid: (h, w) bool each, what may be copied.
        uses: (h, w) float32 each, weight of the earlier uses near a patch centre.
        mean_relief: (h, w) float32 each, of the last channel; zero where the picture has colour only.
    """

    pictures: list[Picture]
    valid: list[Mask]
    uses: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uses = [np.zeros(v.shape, np.float32) for v in self.valid]

    @classmethod
    def mirrored(cls, picture: Picture, valid: Mask) -> "Source":
        """The picture and its mirror image: upright things stay upright."""
        return cls(
            [np.ascontiguousarray(picture), np.ascontiguousarray(picture[:, ::-1])],
            [np.ascontiguousarray(valid), np.ascontiguousarray(valid[:, ::-1])],
        )

    @classmethod
    def turned(cls, picture: Picture, valid: Mask) -> "Source":
        """All eight turns and mirror images, for surfaces without an upright direction."""
        pictures, masks = [], []
        for quarter in range(4):
            p, v = np.rot90(picture, quarter), np.rot90(valid, quarter)
            pictures += [np.ascontiguousarray(p), np.ascontiguousarray(p[:, ::-1])]
            masks += [np.ascontiguousarray(v), np.ascontiguousarray(v[:, ::-1])]
        return cls(pictures, masks)


@dataclass(frozen=True, slots=True)
class PatchRule:
    """How patches are laid and judged.

    Attributes:
        patch: Side of a patch in texels.
        overlap: Texels shared with what is there already.
        same_row: Cost of a texel of vertical distance between a patch and its source, relative to the seam's error;
            rows are counted from the bottom, so that canvas and source of different heights compare.
        low_above: Canvas row above which relief costs; 0 to switch off.
        reuse: Cost of an earlier use of the same place.
        step: Every step-th texel is compared in the search.
        floor: Squared levels below which errors count as equal, so that variety decides.
        least: Smallest patch to fall back on where the source is too narrow for ``patch``.
    """

    patch: int
    overlap: int
    same_row: float = 0.0
    low_above: int = 0
    reuse: float = 0.6
    step: int = 2
    floor: float = ERROR_FLOOR
    least: int = 10


def seam_columns(error: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Column of the cheapest top-to-bottom seam for every row.

    Args:
        error: (H, W) cost of cutting through a texel.

    Returns:
        (H,) columns; neighbours differ by at most one.
    """
    h, w = error.shape
    total = error.astype(np.float64)
    padded = np.full(w + 2, np.inf)
    for y in range(1, h):
        padded[1:-1] = total[y - 1]
        total[y] += np.minimum(np.minimum(padded[:-2], padded[2:]), padded[1:-1])
    columns = np.empty(h, np.int64)
    columns[-1] = total[-1].argmin()
    for y in range(h - 2, -1, -1):
        left = max(columns[y + 1] - 1, 0)
        columns[y] = left + total[y, left : columns[y + 1] + 2].argmin()
    return columns


def join_columns(left: Picture, right: Picture, overlap: int) -> Picture:
    """Join two strips of equal height along the cheapest seam of their overlap.

    Args:
        left: (H, A, K).
        right: (H, B, K); its first ``overlap`` columns lie on the last ones of ``left``.
        overlap: Columns that both hold.

    Returns:
        (H, A + B - overlap, K) float32. Colour blends over three columns, relief is cut hard.
    """
    a, b = left[:, left.shape[1] - overlap :], right[:, :overlap]
    cut = seam_columns(((a - b) ** 2).sum(2))[:, None]
    x = np.arange(overlap)[None]
    share = np.clip((x - cut + 1.5) / 3.0, 0.0, 1.0)[..., None].astype(np.float32)
    middle = a * (1 - share) + b * share
    middle[..., 3:] = np.where((x >= cut)[..., None], b[..., 3:], a[..., 3:])
    joined = [left[:, : left.shape[1] - overlap], middle, right[:, overlap:]]
    return np.concatenate(joined, 1).astype(np.float32, copy=False)


def texture(source: Source, height: int, width: int, rule: PatchRule, rng: np.random.Generator) -> Picture:
    """Fill a new picture with patches of a source.

    Raises:
        ValueError: The source has no valid patch of at least ``rule.least`` texels.
    """
    canvas = np.zeros((height, width, source.pictures[0].shape[2]), np.float32)
    complete(canvas, np.zeros((height, width), bool), source, rule, rng)
    return canvas


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """What the unknown part of a canvas should roughly look like.

    Attributes:
        picture: (H, W, K) float32, like the canvas.
        weight: (K,) float32, how much each channel counts beside what is known (1.0).
        where: (H, W) bool, where it counts at all.
    """

    picture: Picture
    weight: npt.NDArray[np.float32]
    where: Mask


def complete(
    canvas: Picture,
    known: Mask,
    source: Source,
    rule: PatchRule,
    rng: np.random.Generator,
    guide: Guide | None = None,
) -> None:
    """Fill the unknown part of a canvas in place, patch by patch, best-known windows first.

    Args:
        canvas: (H, W, K) float32, changed where unknown and, by the seams, within the overlap beside it.
        known: (H, W) bool; all True afterwards.
        source: Where patches come from.
        rule: Patch size and preferences.
        rng: Breaks ties.
        guide: Rough look of the unknown part, or None.

    Raises:
        ValueError: The source has no valid patch of at least ``rule.least`` texels.
    """
    rule, allowed = _fitting_patch(source, rule, canvas.shape[:2])
    windows = _lattice(canvas.shape[0], canvas.shape[1], rule)
    open_windows = [w for w in windows if not known[w].all()]
    share = np.array([known[w].mean() for w in open_windows])
    order_bias = np.array([1e-4 * w[0].start for w in open_windows])  # of equals, the lowest first
    done = np.zeros(len(open_windows), bool)
    reach = 2 * rule.patch
    for _ in range(len(open_windows)):
        best = int(np.argmax(np.where(done, -1.0, share + order_bias)))
        window = open_windows[best]
        done[best] = True
        if known[window].all():
            continue
        _lay_patch(canvas, known, window, source, allowed, rule, rng, guide)
        for i, w in enumerate(open_windows):
            if not done[i] and abs(w[0].start - window[0].start) < reach and abs(w[1].start - window[1].start) < reach:
                share[i] = known[w].mean()


def _fitting_patch(source: Source, rule: PatchRule, canvas_shape: tuple[int, int]) -> tuple[PatchRule, list[Mask]]:
    """Shrink the patch until the source holds one, and mark where its corner may lie."""
    patch = min(rule.patch, *canvas_shape)
    while patch >= rule.least:
        allowed = [_patch_corners(v, patch) for v in source.valid]
        if any(a.any() for a in allowed):
            overlap = max(3, min(rule.overlap, patch // 3))
            return replace(rule, patch=patch, overlap=overlap), allowed
        patch = int(patch * 0.8)
    raise ValueError(f"quilting: the exemplar holds no valid patch of {rule.least} texels")


def _patch_corners(valid: Mask, patch: int) -> Mask:
    """(h - patch + 1, w - patch + 1) bool: the patch from this corner is valid."""
    if valid.shape[0] < patch or valid.shape[1] < patch:
        return np.zeros((0, 0), bool)
    sums = cv2.integral(valid.astype(np.uint8))
    inside = sums[patch:, patch:] - sums[:-patch, patch:] - sums[patch:, :-patch] + sums[:-patch, :-patch]
    return inside >= MIN_VALID_SHARE * patch * patch


def _lattice(height: int, width: int, rule: PatchRule) -> list[tuple[slice, slice]]:
    """Windows of patch size that cover the canvas, overlapping their neighbours."""
    step = rule.patch - rule.overlap

    def starts(n: int) -> list[int]:
        return sorted({max(0, min(s, n - rule.patch)) for s in range(0, n, step)})

    rows = {
        height - rule.patch - s for s in starts(height)
    }  # counted from the bottom: the floor line is a patch's edge
    return [(slice(y, y + rule.patch), slice(x, x + rule.patch)) for y in sorted(rows) for x in starts(width)]


def _lay_patch(
    canvas: Picture,
    known: Mask,
    window: tuple[slice, slice],
    source: Source,
    allowed: list[Mask],
    rule: PatchRule,
    rng: np.random.Generator,
    guide: Guide | None,
) -> None:
    """Find the best patch for a window and cut it in."""
    target, weight = _target(canvas[window], known[window], window, rule.step, guide)
    variant, y, x = _search(target, weight, window, canvas.shape[0], source, allowed, rule, rng)
    patch = source.pictures[variant][y : y + rule.patch, x : x + rule.patch]
    take = _take_mask(canvas[window], known[window], patch, rule.overlap)
    soft = cv2.blur(take.astype(np.float32), (3, 3))[..., None]
    soft[~known[window]] = 1.0
    view = canvas[window]
    view[..., :3] = view[..., :3] * (1 - soft) + patch[..., :3] * soft
    view[..., 3:] = np.where(take[..., None], patch[..., 3:], view[..., 3:])
    known[window] = True
    r = rule.patch // 3
    source.uses[variant][max(0, y - r) : y + r, max(0, x - r) : x + r] += 1.0


def _target(
    view: Picture, known: Mask, window: tuple[slice, slice], step: int, guide: Guide | None
) -> tuple[Picture, npt.NDArray[np.float32]]:
    """Thinned picture that a patch should match, and the weight of each channel of each texel."""
    mask = known[::step, ::step]
    target = view[::step, ::step]
    weight = np.repeat(mask[..., None], view.shape[2], 2).astype(np.float32)
    if guide is not None:
        hinted = ~mask & guide.where[window][::step, ::step]
        weight = np.where(hinted[..., None], guide.weight, weight)
        target = np.where(hinted[..., None], guide.picture[window][::step, ::step], target)
    target = np.where(weight > 0, target, 0.0)
    return np.ascontiguousarray(target, dtype=np.float32), np.ascontiguousarray(weight, dtype=np.float32)


def _search(
    template: Picture,
    weight: npt.NDArray[np.float32],
    window: tuple[slice, slice],
    canvas_height: int,
    source: Source,
    allowed: list[Mask],
    rule: PatchRule,
    rng: np.random.Generator,
) -> tuple[int, int, int]:
    """(variant, row, column) of a patch that fits what the window holds."""
    s, p = rule.step, rule.patch
    total = max(float(weight.max(2).sum()), 1.0)
    scores = []
    usable = [v for v, corner in enumerate(allowed) if corner.any()]
    tried = set(usable if len(usable) <= 2 else rng.choice(usable, 2, replace=False).tolist())
    for v, (picture, corner, used) in enumerate(zip(source.pictures, allowed, source.uses, strict=True)):
        if v not in tried:
            scores.append(np.full((1, 1), np.inf))
            continue
        ok = corner[::s, ::s]
        if weight.any():
            error = _seam_errors(np.ascontiguousarray(picture[::s, ::s]), template, weight, ok) / total + rule.floor
        else:
            error = np.full((ok.shape[0], ok.shape[1]), rule.floor)
        ok = ok[: error.shape[0], : error.shape[1]]
        error = error * (
            1.0 + rule.reuse * used[: corner.shape[0] : s, : corner.shape[1] : s][: ok.shape[0], : ok.shape[1]]
        )
        if rule.same_row:
            from_bottom = (canvas_height - window[0].start) - (picture.shape[0] - np.arange(ok.shape[0]) * s)
            error = error * (1.0 + rule.same_row * np.abs(from_bottom))[:, None]
        if rule.low_above and window[0].start + p // 2 < rule.low_above:
            error = error + _relief_cost(picture, p, s)[: ok.shape[0], : ok.shape[1]]
        scores.append(np.where(ok, error, np.inf))
    least = min(float(e.min()) for e in scores)
    choices = [(v, *c) for v, e in enumerate(scores) for c in np.argwhere(e <= least * CHOICE_SLACK)]
    variant, y, x = choices[int(rng.integers(len(choices)))]
    return int(variant), int(y) * s, int(x) * s


def _seam_errors(
    picture: Picture, template: Picture, weight: npt.NDArray[np.float32], ok: Mask
) -> npt.NDArray[np.float32]:
    """Weighted square error of a template at every place of a picture; places that are not ``ok`` may hold anything."""
    height, width = (picture.shape[i] - template.shape[i] + 1 for i in range(2))
    ok = np.ascontiguousarray(ok[:height, :width])
    if np.count_nonzero(ok) * template.size > MAX_DIRECT_TERMS:
        root = np.sqrt(weight)  # OpenCV squares the mask
        whole = np.asarray(cv2.matchTemplate(picture, template, cv2.TM_SQDIFF, mask=root), np.float32)
        return np.maximum(whole[: ok.shape[0], : ok.shape[1]], 0.0)
    out = np.zeros(ok.shape, np.float32)
    rows = picture.reshape(picture.shape[0], -1)
    _sum_errors(rows, template.reshape(len(template), -1), weight.reshape(len(weight), -1), ok, picture.shape[2], out)
    return out


@njit(cache=True, nogil=True, fastmath=True, boundscheck=False)
def _sum_errors(rows, template, weight, ok, num_channels, out):
    """The sums of ``_seam_errors``.

    Args:
        rows: (H, W * K) float32.
        template, weight: (h, w * K) float32.
        ok: (H', W') bool, the places that count.
        num_channels: K.
        out: (H', W') float32, changed there.
    """
    height, width = template.shape
    for y in range(ok.shape[0]):
        for x in range(ok.shape[1]):
            if not ok[y, x]:
                continue
            total = np.float32(0)
            for j in range(height):
                row = rows[y + j, x * num_channels : x * num_channels + width]
                for i in range(width):
                    difference = row[i] - template[j, i]
                    total += weight[j, i] * difference * difference
            out[y, x] = total


def _relief_cost(picture: Picture, patch: int, step: int) -> npt.NDArray[np.float32]:
    """Mean square of the scaled relief of each patch, by its corner."""
    square = cv2.boxFilter(picture[..., 3] ** 2, -1, (patch, patch), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(square, np.float32)[::step, ::step]


def _take_mask(view: Picture, known: Mask, patch: Picture, overlap: int) -> Mask:
    """Where the patch replaces the view: all that is unknown, and up to the seam within the overlap."""
    if not known.any():
        return np.ones(known.shape, bool)
    if known.all():
        return np.zeros(known.shape, bool)
    distance = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_C, 3)
    error = ((view - patch) ** 2).sum(2)
    levels = np.clip(np.sqrt(error), 0, 255)
    markers = np.where(~known, 2, np.where(distance > overlap, 1, 0)).astype(np.int32)
    if not (markers == 1).any():
        return ~known
    return watershed((255 - levels).astype(np.uint8), markers) == 2
