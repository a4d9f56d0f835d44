"""What takes over when a generator cannot go on: the walk never ends because of it, and says why."""

from dataclasses import dataclass
from typing import Any

from ..generator.process import PERHAPS_OUT_OF_MEMORY
from ..generator.queue import Ended, Outcome
from ..generator.worker import OUT_OF_MEMORY

DEFAULT_FALLBACK = "outpaint"
PLACE_FALLBACK = "procedural"
"""What takes over in a procedural place, which it pictures as it is."""
LAST_RESORTS = ("none", DEFAULT_FALLBACK, PLACE_FALLBACK)
"""Generators without weights: nothing takes over from them."""
KILLS_IN_A_ROW = 2
"""A worker that the system killed may have been unlucky once."""
MAX_FAILURE_PAUSE_S = 30.0
"""A generator that keeps failing is asked ever more seldom, down to this."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A generator that took over from another.

    Attributes:
        generator: Its name.
        instead_of: The one that was asked for.
        reason: Why, for people; the first line says it in short.
        tick: Simulation tick.
    """

    generator: str
    instead_of: str
    reason: str
    tick: int

    @property
    def notice(self) -> str:
        """One line for the screen."""
        return f"{self.generator} instead of {self.instead_of}: {self.reason.splitlines()[0]}"

    def as_facts(self) -> dict[str, Any]:
        """Plain values for report and journal."""
        return {"generator": self.generator, "instead_of": self.instead_of, "reason": self.reason}


def fallback_for(generator: str, place: str) -> str:
    """Name of what takes over from a generator; empty for those without weights.

    Args:
        generator: The one that cannot go on.
        place: Name of the procedural place, empty elsewhere.
    """
    if generator in LAST_RESORTS:
        return ""
    return PLACE_FALLBACK if place else DEFAULT_FALLBACK


def why_give_up(ended: Ended, kills_in_a_row: int) -> str:
    """Why a generator is given up after one of its requests ended; empty if it is not."""
    if ended.outcome is not Outcome.FAILED:
        return ""
    if ended.reason.startswith(OUT_OF_MEMORY):
        return ended.reason
    return ended.reason if kills_in_a_row >= KILLS_IN_A_ROW else ""


def is_kill(ended: Ended) -> bool:
    """True if the system killed the worker, as it does where memory runs out."""
    return ended.outcome is Outcome.FAILED and PERHAPS_OUT_OF_MEMORY in ended.reason


class Failures:
    """How often a generator failed since it last made a clip, and why it is given up."""

    def __init__(self) -> None:
        self._in_a_row = self._kills_in_a_row = 0
        self.why_give_up = ""
        """Empty while it is not."""

    def note(self, ended: Ended) -> None:
        """A request ended; cancelled and stale ones say nothing."""
        if ended.outcome not in (Outcome.DONE, Outcome.FAILED):
            return
        self._in_a_row = 0 if ended.outcome is Outcome.DONE else min(self._in_a_row + 1, 10)
        self._kills_in_a_row = self._kills_in_a_row + 1 if is_kill(ended) else 0
        self.why_give_up = self.why_give_up or why_give_up(ended, self._kills_in_a_row)

    def pause_s(self, usual_s: float) -> float:
        """How long to wait before it is asked again."""
        return min(MAX_FAILURE_PAUSE_S, usual_s * 2**self._in_a_row)
