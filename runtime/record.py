"""The log of a walk: intents per tick, and the ticks of requests and merges; enough to play it again exactly.

The file is a msgpack stream: a header, then one map for each tick, request and merge. A request is stored in full, so
that a replay does not depend on when planning finished.
"""

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np
import numpy.typing as npt

from ..generator.requests import ClipRequest, Effort
from ..input.intents import Intent
from ..world.camera import Pinhole
from ..world.transforms import Transform
from .director import ClipPlan
from .errors import UserError

RECORD_FORMAT = "spatia-record"
RECORD_VERSION = 1


class Recorder:
    """Appends to a log; one thread uses it."""

    def __init__(self, path: str | PathLike[str], header: dict[str, Any]) -> None:
        self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115  (closed by close)
        self._write({"format": RECORD_FORMAT, "version": RECORD_VERSION, **header})

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(msgpack.packb(entry) or b"")

    def tick(self, tick: int, intent: Intent, pace: float, world_T_camera: Transform) -> None:
        """A tick was run; the pose is kept to check a replay, not to drive it."""
        self._write({"tick": tick, "intent": asdict(intent), "pace": pace, "pose": world_T_camera.tobytes()})

    def request(self, tick: int, request: ClipRequest, plan: ClipPlan, planned_at: int) -> None:
        """A clip was asked for in a tick, from what memory held at the end of tick ``planned_at``."""
        entry = {
            "planned_at": planned_at,
            "request": request.request_id,
            "at": tick,
            "poses": request.world_T_camera.astype(np.float64).tobytes(),
            "pinhole": asdict(request.pinhole),
            "purpose": request.purpose,
            "missing": plan.missing_share,
            "continues": 0 if plan.tail is None else plan.tail.request_id,
            "early": plan.tail is not None and plan.tail.is_early,
            "effort": None if request.effort is None else astuple(request.effort),
            "clicks": request.clicks,
        }
        self._write(entry)

    def merge(self, tick: int, request_id: int) -> None:
        """A clip was merged."""
        self._write({"merge": request_id, "at": tick})

    def closure(self, tick: int, facts: dict[str, Any]) -> None:
        """Loops were closed."""
        self._write({"closure": facts, "at": tick})

    def closure_undone(self, tick: int) -> None:
        """The last correction was taken back."""
        self._write({"closure_undone": True, "at": tick})

    def fallback(self, tick: int, generator: str) -> None:
        """Another generator took over."""
        self._write({"fallback": generator, "at": tick})

    def rewind(self, tick: int, to_tick: int) -> None:
        """The tick was spent on going back to the end of an earlier one."""
        self._write({"rewind": to_tick, "at": tick})

    def counters(self, tick: int, next_request_id: int, next_keyframe_id: int) -> None:
        """Identities are given out from these on, at the begin of a tick."""
        self._write({"counters": [next_request_id, next_keyframe_id], "at": tick})

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        self._file.close()


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTick:
    """What a tick was given, and the (4, 4) pose that it led to."""

    tick: int
    intent: Intent
    pace: float
    world_T_camera: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRequest:
    """A request, the tick whose memory it was planned from, the tick that it was submitted in, and what else it had."""

    request_id: int
    plan: ClipPlan
    planned_at: int
    at: int
    effort: Effort | None = None
    clicks: tuple[tuple[float, float, float], ...] = ()
    continues: int = 0
    """Request of the clip whose tail it goes on from, or 0."""
    is_early: bool = False
    """Whether memory did not hold that clip yet."""


@dataclass(frozen=True, slots=True)
class RecordedMerge:
    """A request's result was merged."""

    request_id: int


@dataclass(frozen=True, slots=True)
class RecordedFallback:
    """Another generator took over."""

    generator: str


@dataclass(frozen=True, slots=True)
class RecordedClosure:
    """Loops were closed: the journal's facts of it."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedTakeBack:
    """The last correction was taken back."""


RecordedEvent = RecordedRequest | RecordedMerge | RecordedFallback | RecordedClosure | RecordedTakeBack


@dataclass(slots=True)
class Recording:
    """A log that was read.

    Attributes:
        header: World, generator, seed and tick length.
        ticks: In order.
        events: Requests, merges and fallbacks by the tick that they happened in, in their order.
        rewinds: Ticks that were spent on going back, and the tick whose end each led to.
        counters: Identities of requests and keyframes that are next from a tick on.
    """

    header: dict[str, Any]
    ticks: list[RecordedTick] = field(default_factory=list)
    events: dict[int, list[RecordedEvent]] = field(default_factory=dict)

    rewinds: dict[int, int] = field(default_factory=dict)
    counters: dict[int, tuple[int, int]] = field(default_factory=dict)
    _planned: dict[int, list[RecordedRequest]] = field(default_factory=dict)

    def planned_at(self, tick: int) -> list[RecordedRequest]:
        """Requests that were planned in a tick and submitted in a later one."""
        return self._planned.get(tick, [])

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "Recording":
        """Read a log.

        Raises:
            UserError: It is no log of ours, damaged, or cut off before its first tick.
        """
        entries = _entries(Path(path))
        header = next(entries, None)
        if not isinstance(header, dict) or header.get("format") != RECORD_FORMAT:
            raise UserError("a file written by --record", str(path), "record a walk with `spatia walk --record FILE`")
        if header.get("version") != RECORD_VERSION:
            raise UserError(
                f"a record of version {RECORD_VERSION}", f"version {header.get('version')}", "record the walk again"
            )
        recording = cls(header)
        for number, entry in enumerate(entries, start=1):
            try:
                recording._take(entry)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                got = f"entry {number} of {path}: {type(error).__name__}: {error}"
                raise UserError("whole entries", got.splitlines()[0], "record the walk again") from error
        if not recording.ticks:
            raise UserError("a record with at least one tick", f"none in {path}", "record the walk again")
        return recording

    def _take(self, entry: dict[str, Any]) -> None:
        if "tick" in entry:
            values = dict(entry["intent"])
            values["commands"] = tuple(values["commands"])
            pose = np.frombuffer(entry["pose"], np.float64).reshape(4, 4)
            self.ticks.append(RecordedTick(entry["tick"], Intent(**values), entry["pace"], pose))
        elif "request" in entry:
            poses = np.frombuffer(entry["poses"], np.float64).reshape(-1, 4, 4).copy()
            plan = ClipPlan(poses, Pinhole(**entry["pinhole"]), entry["purpose"], entry["missing"])
            effort = Effort(*entry["effort"]) if entry.get("effort") else None
            clicks = tuple((float(x), float(y), float(z)) for x, y, z in entry.get("clicks", ()))
            ticks, continues = (entry["planned_at"], entry["at"]), int(entry.get("continues", 0))
            request = RecordedRequest(
                entry["request"], plan, *ticks, effort, clicks, continues, bool(entry.get("early"))
            )
            self.events.setdefault(request.at, []).append(request)
            if request.planned_at < request.at:
                self._planned.setdefault(request.planned_at, []).append(request)
        elif "merge" in entry:
            self.events.setdefault(entry["at"], []).append(RecordedMerge(entry["merge"]))
        elif "rewind" in entry:
            self.rewinds[entry["at"]] = entry["rewind"]
        elif "counters" in entry:
            first, second = entry["counters"]
            self.counters[entry["at"]] = (first, second)
        elif "closure_undone" in entry:
            self.events.setdefault(entry["at"], []).append(RecordedTakeBack())
        elif "closure" in entry:
            self.events.setdefault(entry["at"], []).append(RecordedClosure(entry["closure"]))
        elif "fallback" in entry:
            self.events.setdefault(entry["at"], []).append(RecordedFallback(entry["fallback"]))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError("a readable record", f"{path}: {error.strerror}", "check the path") from None
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    try:
        yield from unpacker
    except (ValueError, msgpack.UnpackException):
        return  # a walk that was killed leaves a cut last entry: what came before is whole
