"""Long walls from a short one: full-height strips of an exemplar in an order that hides the repetition."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .quilt import Picture, join_columns

BEAM = 20
"""Orders of strips that are followed at a time."""
BRANCH = 8
"""Continuations of each that are looked at."""
SEAM_FLOOR = 60.0
"""Mean squared levels below which two seams count as equally good."""
FAR_M = 3.0
"""Repeats within this distance disturb most."""
BUTTERFLY_COST = 5.0
"""Added for columns that the strip beside shows already."""
CORNER_RELIEF_LEVELS = 30.0
"""Relief (scaled) that may stand in a corner; more would run into the next wall's."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A stretch of exemplar columns that stands somewhere already.

    Attributes:
        first: First column.
        last: One past the last column.
        place: (x, z) of its middle, metres.
    """

    first: int
    last: int
    place: tuple[float, float]


@dataclass(slots=True, eq=False)
class Exemplar:
    """A stretch of wall that lends its looks, prepared for the search.

    Attributes:
        band: (H, W, 4) float32, complete.
        overlap: Columns that neighbouring strips share.
        texel_m: Side of a texel.
        poor: (W,) float32, share of each column that was invented itself.
        breaks: Columns where unrelated pieces meet; no strip runs across them.
        placed: What was used where.
        pieces: The band and its mirror image.
        features: (2 (W - overlap + 1), D) thinned texels of every seam of both.
        seams: Mean squared difference of every two of them.
        distinct: (W,) in 0..1, how much a column catches the eye.
        high: (W,) 1 where deep relief stands.
    """

    band: Picture
    overlap: int
    texel_m: float
    poor: npt.NDArray[np.float32]
    breaks: tuple[int, ...] = ()
    placed: list[Placed] = field(default_factory=list)
    pieces: list[Picture] = field(init=False)
    features: npt.NDArray[np.float32] = field(init=False)
    seams: npt.NDArray[np.float32] = field(init=False)
    distinct: npt.NDArray[np.float32] = field(init=False)
    high: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        mirror = np.ascontiguousarray(self.band[:, ::-1])
        self.pieces = [self.band, mirror]
        self.features = np.concatenate([_window_features(p, self.overlap) for p in self.pieces])
        norm = (self.features**2).sum(1)
        gram = self.features @ self.features.T
        self.seams = np.maximum(norm[:, None] + norm[None] - 2 * gram, 0.0) / self.features.shape[1]
        self.high = (np.percentile(self.band[..., 3], 85, axis=0) > CORNER_RELIEF_LEVELS).astype(np.float32)
        spread = self.band.std(axis=0).mean(1)
        smooth = np.convolve(spread, np.ones(9) / 9, "same")
        self.distinct = (smooth / max(float(smooth.max()), 1e-6)).astype(np.float32)

    @property
    def width(self) -> int:
        """Columns of the exemplar."""
        return self.band.shape[1]


def _window_features(band: Picture, overlap: int) -> npt.NDArray[np.float32]:
    """(W - overlap + 1, D) thinned texels of every window of ``overlap`` columns."""
    thin = band[::4]
    count = band.shape[1] - overlap + 1
    columns = np.arange(count)[:, None] + np.arange(0, overlap, 2)[None]
    return np.ascontiguousarray(thin[:, columns].transpose(1, 0, 2, 3)).reshape(count, -1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is to be made: so many columns from a place along a direction.

    Attributes:
        length: Columns.
        start: (x, z) of the first column, metres.
        step: (x, z) from column to column, metres.
        texel_m: Side of a texel.
        corner_left: True if a corner of the room is at its left end.
        corner_right: True if a corner is at its right end.
    """

    length: int
    start: tuple[float, float]
    step: tuple[float, float]
    texel_m: float
    corner_left: bool
    corner_right: bool

    def place(self, column: float) -> tuple[float, float]:
        """(x, z) of a column."""
        return self.start[0] + self.step[0] * column, self.start[1] + self.step[1] * column


@dataclass(frozen=True, slots=True)
class _Order:
    """A partial order of strips: (variant, first column, columns added) each."""

    cost: float
    done: int
    end: int
    strips: tuple[tuple[int, int, int], ...]
    placed: tuple[Placed, ...]


def fill_stretch(
    exemplar: Exemplar,
    stretch: Stretch,
    left: Picture | None,
    right: Picture | None,
    rng: np.random.Generator,
) -> Picture:
    """Make a stretch of wall.

    Args:
        exemplar: Its looks; what is used is noted there.
        stretch: Length and place.
        left: (H, overlap, 4) known columns that end where the stretch begins, or None.
        right: (H, overlap, 4) known columns that begin where it ends, or None.
        rng: Breaks ties between equal orders.

    Returns:
        (H, length, 4) float32.
    """
    first = _feature_of(left, exemplar)
    last = _feature_of(right, exemplar)
    orders = [_Order(0.0, 0, -1, (), ())]
    finished: list[_Order] = []
    while orders:
        grown: list[_Order] = []
        for order in orders:
            for new in _continuations(exemplar, stretch, order, first, last, rng):
                (finished if new.done >= stretch.length else grown).append(new)
        grown.sort(key=lambda o: o.cost / (o.done + 0.15 * stretch.length))
        orders = grown[:BEAM]
    best = min(finished, key=lambda o: o.cost)
    exemplar.placed.extend(best.placed)
    return _assemble(exemplar, best, left, right, stretch.length)


def _feature_of(piece: Picture | None, exemplar: Exemplar) -> npt.NDArray[np.float32] | None:
    """Mean squared difference of a piece to every window of the exemplar."""
    if piece is None:
        return None
    own = np.ascontiguousarray(piece[::4, ::2]).ravel()
    return ((exemplar.features - own) ** 2).mean(1)


def _continuations(
    exemplar: Exemplar,
    stretch: Stretch,
    order: _Order,
    first: npt.NDArray[np.float32] | None,
    last: npt.NDArray[np.float32] | None,
    rng: np.random.Generator,
) -> list[_Order]:
    """The best next strips of an order."""
    windows = exemplar.width - exemplar.overlap + 1
    seam = np.zeros(2 * windows, np.float32)
    if order.end >= 0:
        seam = exemplar.seams[order.end]
    elif first is not None:
        seam = first
    remaining = stretch.length - order.done
    out: list[_Order] = []
    for width in _widths(exemplar, stretch, remaining, rng):
        starts = np.arange(windows - width)
        if len(starts) == 0:
            continue
        used = _use_cost(exemplar, stretch, order, width)
        for variant in (0, 1):
            index = variant * windows + starts
            low = (starts, starts + exemplar.overlap + width)
            if variant:
                low = (exemplar.width - low[1], exemplar.width - low[0])
            cost = seam[index] + SEAM_FLOOR
            if width == remaining and last is not None:
                cost = cost + last[index + width]
            cost = cost * (1.0 + _mean(used, *low)) * (1.0 + 2.0 * _mean(exemplar.poor, *low))
            cost = cost * _corner_factor(exemplar, stretch, order, width, starts, variant)
            for column in exemplar.breaks:
                cost = np.where((low[0] < column) & (low[1] > column), np.inf, cost)
            for k in np.argpartition(cost, min(BRANCH, len(cost) - 1))[:BRANCH]:
                if np.isfinite(cost[k]):
                    out.append(_extended(exemplar, stretch, order, variant, int(starts[k]), width, float(cost[k])))
    out.sort(key=lambda o: o.cost / (o.done + 1))
    return out[:BRANCH]


def _widths(exemplar: Exemplar, stretch: Stretch, remaining: int, rng: np.random.Generator) -> list[int]:
    """Strip widths to try: about 0.4 to 1.3 m, and the rest if it is short."""
    most = exemplar.width - exemplar.overlap - 1
    least = round(0.4 / stretch.texel_m)
    usual = round(1.3 / stretch.texel_m)
    if remaining <= min(usual, most):
        return [remaining]
    widths = {min(most, int(w)) for w in rng.integers(least, usual, 3)}
    return sorted(min(w, remaining - least) if remaining - w < least else w for w in widths)


def _mean(values: npt.NDArray[np.float32], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> npt.NDArray:
    """Mean of values over [low, high) for each pair."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[high] - sums[low]) / np.maximum(high - low, 1)


def _use_cost(exemplar: Exemplar, stretch: Stretch, order: _Order, width: int) -> npt.NDArray[np.float32]:
    """(W,) cost of each exemplar column at this place: what stands nearby and catches the eye costs most."""
    x, z = stretch.place(order.done + 0.5 * width)
    cost = np.zeros(exemplar.width, np.float32)
    for old in (*exemplar.placed, *order.placed):
        distance = float(np.hypot(old.place[0] - x, old.place[1] - z))
        cost[old.first : old.last] += 0.6 + 2.4 * np.exp(-distance / FAR_M)
    cost *= 0.25 + exemplar.distinct
    if order.placed:  # a strip beside its own mirror image makes a butterfly
        cost[order.placed[-1].first : order.placed[-1].last] += BUTTERFLY_COST
    return cost


def _corner_factor(
    exemplar: Exemplar, stretch: Stretch, order: _Order, width: int, starts: npt.NDArray[np.int64], variant: int
) -> npt.NDArray[np.float64]:
    """Cost factor that keeps deep relief out of the room's corners."""
    high = exemplar.high[::-1] if variant else exemplar.high
    zone = round(0.6 / stretch.texel_m)
    factor = np.ones(len(starts))
    if stretch.corner_left and order.done < zone:
        reach = min(width, zone - order.done)
        factor = factor * (1.0 + 6.0 * _mean(high, starts, starts + exemplar.overlap + reach))
    beyond = stretch.length - zone
    if stretch.corner_right and order.done + width > beyond:
        reach = min(width, order.done + width - beyond)
        end = starts + exemplar.overlap + width
        factor = factor * (1.0 + 6.0 * _mean(high, end - reach, end))
    return factor


def _extended(
    exemplar: Exemplar, stretch: Stretch, order: _Order, variant: int, start: int, width: int, cost: float
) -> _Order:
    """The order with one more strip."""
    windows = exemplar.width - exemplar.overlap + 1
    low, high = start, start + exemplar.overlap + width
    if variant:
        low, high = exemplar.width - high, exemplar.width - low
    placed = Placed(low, high, stretch.place(order.done + 0.5 * width))
    return _Order(
        order.cost + cost,
        order.done + width,
        variant * windows + start + width,
        (*order.strips, (variant, start, width)),
        (*order.placed, placed),
    )


def _assemble(exemplar: Exemplar, order: _Order, left: Picture | None, right: Picture | None, length: int) -> Picture:
    """Join the strips of an order."""
    overlap = exemplar.overlap
    out = left
    for variant, start, width in order.strips:
        piece = exemplar.pieces[variant][:, start : start + overlap + width]
        out = piece.copy() if out is None else join_columns(out, piece, overlap)
    assert out is not None
    if right is not None:
        tail = out[:, -overlap:]
        out = np.concatenate([out[:, :-overlap], join_columns(tail, right, overlap)], 1)
    return out[:, overlap : overlap + length]
