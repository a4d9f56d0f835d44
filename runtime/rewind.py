"""Going back while walking: walk and world return along the way that was come, for as long as it is wished.

Moments are kept as the walk goes on: references to immutable chunks and keyframes, so that one costs next to nothing
until what it refers to is replaced. What the moments alone keep alive is counted and bounded. Time itself never goes
back: ticks and identities of requests and keyframes go on, so that what was left behind and what comes next never get
mixed up.

Where the walk goes on after going back, the world's file starts a branch (``start_branch``); the way that was left
stays on the old one. A record holds where each step led and where the branch counts from; a replay does the same.
"""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..input.intents import Intent
from ..saves.autosave import Saver
from ..saves.state import WorldState
from ..saves.store import WorldFile
from ..world.chunks import Chunk
from ..world.keyframes import BankSnapshot
from ..world.memory import MemorySnapshot
from ..world.stored import entries_of
from .director import DirectorState
from .history import time_now
from .persistence import state_of
from .rig import RigState

if TYPE_CHECKING:
    from .record import Recorder, Recording
    from .session import Session

MOMENT_S = 0.1
"""A moment is kept this often while something changes."""
SPEED = 4.0
"""Going back is so many times as fast as walking there was; time in which nothing changed is passed over."""
MAX_MOMENTS = 6000
"""Ten minutes of walking."""
MAX_BYTES = 32 << 20
"""Chunks, keyframes and tails that nothing but the moments keeps alive; beyond it the oldest are forgotten."""
BRANCH_PREFIX = "rewind-"


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Where a walk stood at the end of a tick: references, no copies.

    Attributes:
        tick: The tick.
        rig: The walker.
        memory: Points.
        bank: Keyframes.
        director: What was generated and what waits.
        num_journal: Length of the journal.
        num_path: Length of the walked path.
    """

    tick: int
    rig: RigState
    memory: MemorySnapshot
    bank: BankSnapshot
    director: DirectorState
    num_journal: int
    num_path: int


class Rewinder:
    """The moments that a session can go back to. Used by the session's thread alone.

    Args:
        session: Whose moments; it calls ``tick`` and ``note``.
        recorder: Told where each step back led, or None.
        recording: Go back where this log says, whatever the intents say, or None.
        max_moments: Most that are kept; 0 keeps none, and nothing is gone back to.
        max_bytes: Most that they alone may keep alive.
    """

    def __init__(
        self,
        session: "Session",
        *,
        recorder: "Recorder | None" = None,
        recording: "Recording | None" = None,
        max_moments: int = MAX_MOMENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._session, self._recorder, self._recording = session, recorder, recording
        self._wanted = None if recording is None else frozenset(recording.rewinds.values())
        self._max_moments, self._max_bytes = max_moments, max_bytes
        self._every = max(1, round(MOMENT_S / session.tick_s))
        self._moments: deque[Moment] = deque()
        self._costs: deque[int] = deque()  # bytes that each moment has and the one after it lacks
        self._present: Moment | None = None  # whose content the world has while going back
        self._due = 0.0
        self._left_at = 0
        self.num_bytes = 0
        self.is_active = False

    @property
    def num_moments(self) -> int:
        """Moments that can be gone back to."""
        return len(self._moments)

    @property
    def seconds_back(self) -> float:
        """How long ago the moment was that the walk went back to; 0 while it goes on."""
        if not self.is_active or not self._moments:
            return 0.0
        return (self._left_at - self._moments[-1].tick) * self._session.tick_s

    def forget(self) -> None:
        """Drop all moments, where the session goes back by itself."""
        self._end()
        self._moments.clear()
        self._costs.clear()
        self.num_bytes = 0

    def note(self) -> None:
        """Keep the present moment if one is due and something changed; the session calls it at the end of a tick."""
        tick = self._session.tick_count
        if self._wanted is not None:
            if tick in self._wanted:
                self._moments.append(self._moment())
                self._costs.append(0)
            return
        if not self._max_moments or (tick % self._every and self._moments):
            return
        moment = self._moment()
        if self._moments:
            before = self._moments[-1]
            if _is_same(before, moment):
                return
            self._costs[-1] = _bytes_left_behind(before, moment)
            self.num_bytes += self._costs[-1]
        self._moments.append(moment)
        self._costs.append(0)
        while len(self._moments) > self._max_moments or (self.num_bytes > self._max_bytes and len(self._moments) > 1):
            self._moments.popleft()
            self.num_bytes -= self._costs.popleft()

    def tick(self, *, is_wished: bool) -> bool:
        """Go back by a tick if it is wished; the session calls it at the begin of a tick.

        Returns:
            True if the tick was spent on going back, so that nothing else happens in it.
        """
        if self._recording is not None:
            self._follow_record(self._recording)
            return self.is_active
        if not is_wished or not self._moments:
            self._end()
            return False
        if not self.is_active:
            self._begin()
        self._due += SPEED / self._every
        while self._due >= 1.0:
            self._due -= 1.0
            if len(self._moments) > 1:
                self._moments.pop()
                self._costs.pop()
                self.num_bytes -= self._costs[-1]
                self._costs[-1] = 0
        self._go_to(self._moments[-1])
        return True

    def count_from(self, next_request_id: int, next_keyframe_id: int) -> None:
        """Give out identities from these on, as a branch of a file counts its own."""
        session = self._session
        session.world.walk.next_request_id = max(session.world.walk.next_request_id, next_request_id)
        entries = session.world.bank.snapshot().entries
        session.world.bank.restore(BankSnapshot(entries, next_keyframe_id))
        if self._recorder is not None:
            self._recorder.counters(session.tick_count + 1, next_request_id, next_keyframe_id)  # in the tick to come

    def _follow_record(self, recording: "Recording") -> None:
        tick = self._session.tick_count
        counters = recording.counters.get(tick)
        if counters is not None:
            self.count_from(*counters)
        to_tick = recording.rewinds.get(tick)
        if to_tick is None:
            self._end()
            return
        if not self.is_active:
            self._begin()
        moment = next((m for m in reversed(self._moments) if m.tick == to_tick), None)
        if moment is None:
            raise RuntimeError(f"the record goes back to tick {to_tick}, which this replay never passed")
        self._go_to(moment)

    def _begin(self) -> None:
        self.is_active, self._due, self._left_at, self._present = True, 0.0, self._session.tick_count, None
        self._session.clips.abandon("the walk went back")

    def _end(self) -> None:
        if self.is_active:
            self.is_active, self._present = False, None
            self._session.clips.planner.plan_soon()

    def _go_to(self, moment: Moment) -> None:
        session = self._session
        world = session.world
        present, self._present = self._present, moment
        if present is None or present.memory is not moment.memory:
            changed = world.memory.restore(moment.memory).changed
            session.collision.merged(changed, moment.rig)
            steps = session.clips.undo_steps
            session.clips.undo_steps = [s for s in steps if s.memory.revision < moment.memory.revision]
        if present is None or present.bank is not moment.bank:
            world.bank.restore(moment.bank)
        session.director.recall(moment.director)
        del world.journal[moment.num_journal :]
        del world.walk.path[moment.num_path :]
        session.stand(moment.rig)
        if self._recorder is not None:
            self._recorder.rewind(session.tick_count, moment.tick)

    def _moment(self) -> Moment:
        session = self._session
        world, last = session.world, self._moments[-1] if self._moments else None
        director = session.director.remember()
        if last is not None and _is_same_director(last.director, director):
            director = last.director
        bank = world.bank.snapshot()
        return Moment(
            session.tick_count,
            session.rig.state,
            world.memory.snapshot(),
            bank if last is None or bank.entries is not last.bank.entries else last.bank,
            director,
            len(world.journal),
            len(world.walk.path),
        )


def _is_same(a: Moment, b: Moment) -> bool:
    return a.rig == b.rig and a.memory.revision == b.memory.revision and a.bank.entries is b.bank.entries


def _is_same_director(a: DirectorState, b: DirectorState) -> bool:
    return all(
        len(x) == len(y) and all(p is q for p, q in zip(x, y, strict=True))
        for x, y in ((a.settled, b.settled), (a.held, b.held), (a.tails, b.tails), (a.unmeasured, b.unmeasured))
    )


def _bytes_left_behind(a: Moment, b: Moment) -> int:
    """What moment a refers to and the later moment b does not: what going on has made free but for a."""
    num_bytes = 0
    if a.memory is not b.memory:
        after: Mapping[Any, Any] = entries_of(b.memory.chunks)
        for key, chunk in entries_of(a.memory.chunks).items():
            if isinstance(chunk, Chunk) and getattr(after.get(key), "rows", None) is not chunk.rows:
                num_bytes += chunk.num_bytes
    if a.bank.entries is not b.bank.entries:
        kept = {id(entry.frame) for entry in b.bank.entries}
        num_bytes += sum(entry.frame.num_bytes for entry in a.bank.entries if id(entry.frame) not in kept)
    tails = {id(tail) for tail in b.director.tails}
    return num_bytes + sum(tail.frames.nbytes for tail in a.director.tails if id(tail) not in tails)


@dataclass(frozen=True, slots=True)
class StartedBranch:
    """A branch that a walk goes on on.

    Attributes:
        name: Its name.
        next_request_id: It counts requests from here.
        next_keyframe_id: It counts keyframes from here.
    """

    name: str
    next_request_id: int
    next_keyframe_id: int


def start_branch(file: WorldFile, left: WorldState) -> StartedBranch:
    """Save what was left behind at the end of the present branch, and start another. Any thread, one at a time.

    Args:
        file: The walked world's file.
        left: The state before the walk went back.

    Raises:
        SaveError: The disk refused, or there are too many branches.
    """
    file.save(left)
    taken = {*file.branches().tips, *(s.name for s in file.snapshots())}
    number = next(n for n in range(1, len(taken) + 2) if f"{BRANCH_PREFIX}{n}" not in taken)
    name = f"{BRANCH_PREFIX}{number}"
    file.branch(name, when=time_now())
    state = file.read_state()
    return StartedBranch(name, int(state["next_request_id"]), int(state["next_keyframe_id"]))


class BranchStarter:
    """Watches a walk that goes back, and starts a branch where it goes on. One thread, the session's, uses it.

    The file's part is done on the saver's thread. Until the branch is there nothing new is generated and the walk does
    not go back again.

    Args:
        session: The walk.
        saver: Saves the walked world's file, or None where nothing is saved.
    """

    def __init__(self, session: "Session", saver: Saver | None) -> None:
        self._session, self._saver = session, saver
        self._left: WorldState | None = None  # while the walk goes back
        self._seconds = 0.0
        self._starting: Future[StartedBranch] | None = None
        self.text = ""
        """What there is to tell, until the next ``watch``."""

    @property
    def is_busy(self) -> bool:
        """What the world holds is not to be saved yet: it belongs on a branch that is not there."""
        return self._left is not None or self._starting is not None

    def watch(self, intent: Intent) -> Intent:
        """Look at a frame's intent before its ticks run; what they may be given in its place."""
        self.text = ""
        if self._starting is not None:
            self._take(self._starting)
            return replace(intent, rewind=False)
        if intent.rewind:
            self._go_back()
        elif self._left is not None:
            self._go_on()
        return intent

    def finish(self) -> None:
        """Start the branch that is due and wait for it, before the world is saved for the last time."""
        if self._left is not None:
            self._go_on()
        if self._starting is not None:
            wait([self._starting])
            self._take(self._starting)

    def _go_back(self) -> None:
        rewinder = self._session.rewinder
        if self._left is None and rewinder.num_moments < 2:
            self.text = "nothing to go back to"
        elif self._left is None:
            self._left = state_of(self._session.world)
        self._seconds = rewinder.seconds_back or self._seconds
        if self._left is not None:
            self.text = f"going back: {self._seconds:.1f} s"

    def _go_on(self) -> None:
        left, self._left = self._left, None
        file = self._session.world.file
        self.text = f"went back {self._seconds:.1f} s"
        if left is None or self._saver is None or file is None:
            return
        self._session.clips.is_paused = True
        self._starting = self._saver.submit(lambda: start_branch(file, left))

    def _take(self, starting: "Future[StartedBranch]") -> None:
        if not starting.done():
            return
        self._starting, self._session.clips.is_paused = None, False
        error = starting.exception()
        if error is not None:
            self.text = f"no branch was started: {str(error).splitlines()[0]}"
            return
        branch = starting.result()
        self._session.rewinder.count_from(branch.next_request_id, branch.next_keyframe_id)
        if self._saver is not None:
            self._saver.request(state_of(self._session.world))
        self.text = f"went back {self._seconds:.1f} s, on the branch {branch.name} now"
