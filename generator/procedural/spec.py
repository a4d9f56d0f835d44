"""Which place is meant: a name that worlds, requests and the command line use. Imports nothing heavy."""

from dataclasses import dataclass

KINDS = ("rooms", "yard")
TIMES = ("day", "evening")


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """Which place: where one starts in it, its seed, and the time of day.

    Attributes:
        kind: "rooms" or "yard".
        seed: Of everything in it, 0 or more.
        light: "day" or "evening".
    """

    kind: str = "rooms"
    seed: int = 0
    light: str = "day"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"place: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.light not in TIMES:
            raise ValueError(f"light of a place: expected one of {', '.join(TIMES)}, got {self.light!r}")
        if self.seed < 0:
            raise ValueError(f"seed of a place: expected 0 or more, got {self.seed}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}:{self.light}"

    @classmethod
    def parse(cls, text: str, *, default_seed: int = 0) -> "PlaceSpec":
        """The place that ``str`` wrote, such as ``rooms:7:evening``; seed, light or both may be missing.

        Args:
            text: Kind, seed and light with colons between.
            default_seed: Where none is named.

        Raises:
            ValueError: It is no such text.
        """
        kind, *rest = text.split(":")
        seed = int(rest.pop(0)) if rest and rest[0].isdecimal() else default_seed
        light = rest.pop(0) if rest else "day"
        if rest or not kind:
            raise ValueError(f"place: expected kind:seed:light such as rooms:7:day, got {text!r}")
        return cls(kind, seed, light)
