"""How much work a clip may take: a ladder from the quickest to the authors' setting, and three settings on it."""

from dataclasses import dataclass

from .requests import Effort

LADDER = (
    Effort(4, 1.0, 480 * 288),
    Effort(4, 1.0, 832 * 480),
    Effort(8, 1.0, 832 * 480),
    Effort(12, 3.5, 832 * 480),
    Effort(20, 3.5, 832 * 480),
    Effort(40, 3.5, 832 * 480),
    Effort(40, 3.5, 1248 * 704),
)
"""Rungs, each at least a third more work than the one before; the last is the authors'."""


@dataclass(frozen=True, slots=True)
class Quality:
    """A setting: where on the ladder it begins, how far it may go, and how slow a clip may be.

    Attributes:
        start: Rung that it begins with, and stays on where nothing is adapted.
        lowest: Rung that it never goes below.
        highest: Rung that it never goes above.
        slowness: A clip may take so many times as long as it plays.
    """

    start: int
    lowest: int
    highest: int
    slowness: float


QUALITIES = {
    "draft": Quality(1, 0, 2, 1.0),
    "balanced": Quality(3, 1, 5, 4.0),
    "best": Quality(6, 6, 6, float("inf")),
}


def quality_of(name: str) -> Quality:
    """The setting of a name.

    Raises:
        ValueError: Unknown name.
    """
    if name not in QUALITIES:
        raise ValueError(f"quality: expected one of {', '.join(QUALITIES)}, got {name!r}")
    return QUALITIES[name]
