"""A path that is known to its end, made in the rounds that its generator was trained for.

No director judges what lacks here, as in the authors' program: each round is asked for when the walk comes to its first
new frame, on memory with all rounds before it and from their last frames, whatever memory holds already.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..generator.pipeline import ClipResult
from ..generator.registry import generator_class
from ..generator.spatia.rounds import Round, plan_rounds
from ..saves.journal import JournalEntry
from ..world.keyframes import BankSnapshot, FrameBank
from .director import ClipPlan, Tail
from .drafting import moment_of, prompt_of_round

if TYPE_CHECKING:
    from .clips import ClipLoop

ROUND = "round"
"""Purpose of these requests, and kind of the journal's entries about them."""


def rounds_of(generator: str, num_frames: int) -> tuple[Round, ...]:
    """Rounds in which a generator makes a path of so many frames; none if it makes no path in rounds."""
    lengths = getattr(generator_class(generator), "rounds", None)
    if lengths is None:
        return ()
    first, later, history = lengths
    return plan_rounds(num_frames, first_round=first, later_round=later, history=history)


class PathRounds:
    """Asks for the rounds of a path and waits for each. On the session's thread; the session waits for its clips.

    Where rounds were made before the walk was cut off is known from the world's journal.

    Args:
        clips: What asks for clips.
        world_T_camera: (N, 4, 4) the whole path.
        first_tick: The world's tick at the path's first frame.
    """

    def __init__(self, clips: "ClipLoop", world_T_camera: npt.NDArray[np.float64], first_tick: int) -> None:
        self._clips, self._path, self._first_tick = clips, world_T_camera, first_tick
        self._generator = clips.generator
        self._rounds = rounds_of(clips.generator, len(world_T_camera))
        self._made: ClipResult | None = None

    @property
    def is_in_charge(self) -> bool:
        """Whether the path is made in rounds; not any more where another generator took over."""
        return bool(self._rounds) and self._clips.generator == self._generator

    def take(self, made: ClipResult) -> None:
        """A clip was made; it is not merged yet."""
        self._made = made

    def plan(self) -> None:
        """Make the round whose first new frame the walk has come to, if it has come to one."""
        frame = self._clips.world.walk.tick - self._first_tick
        past = [facts["round"] for facts in self.facts()]
        due = [r for r in self._rounds[max(past, default=-1) + 1 :] if r.start + r.num_history <= frame < r.stop]
        if due:
            self._make(due[0])

    def facts(self) -> list[dict[str, Any]]:
        """What became of every round so far, as plain values.

        ``round`` counts from 0; ``frames`` are the path's [first, one after the last] that it was asked for; ``made``
        is how many came, and ``reason`` says why they, or what memory takes of them, are none.
        """
        entries = self._clips.world.journal
        return [dict(e.data) for e in entries if e.kind == ROUND and e.tick >= self._first_tick]

    def _make(self, this: Round) -> None:
        clips, world = self._clips, self._clips.world
        plan = self._plan_of(this)
        prompt = prompt_of_round(world.walk.prompt, this.index)
        draft = clips.request_of(plan, replace(moment_of(world), prompt=prompt))
        request_id, undo, self._made = world.walk.next_request_id, self._counters(), None
        try:
            clips.submit(plan, draft)
            clips.wait_for_all()
        except BaseException:
            if clips.plan_of(request_id) is not None:  # it comes again, under the same number
                undo()
            raise
        self._keep_tail(request_id, plan)
        self._note(this, request_id)

    def _plan_of(self, this: Round) -> ClipPlan:
        new = this.pose_indices()[this.num_history :]
        return ClipPlan(
            np.ascontiguousarray(self._path[new]),
            self._clips.pinhole,
            ROUND,
            1.0,
            tail=self._last_tail(this),
            num_padded=this.num_padded,
        )

    def _last_tail(self, this: Round) -> Tail | None:
        """The end of the last round that came to something."""
        ours = {facts["request_id"] for facts in self.facts()}
        tails = [t for t in self._clips.director.tails if t.request_id in ours]
        if not tails:
            return None
        first = max(0, len(tails[-1].frames) - this.num_history)
        return replace(tails[-1], frames=tails[-1].frames[first:], world_T_camera=tails[-1].world_T_camera[first:])

    def _keep_tail(self, request_id: int, plan: ClipPlan) -> None:
        """The next round goes on from frames that memory did not take, too, at the poses asked for."""
        director, made = self._clips.director, self._made
        if made is None or any(t.request_id == request_id for t in director.tails):
            return
        frames = np.ascontiguousarray(made.tail)
        frames.flags.writeable = False
        asked = plan.world_T_camera[: len(plan.world_T_camera) - plan.num_padded]
        director.keep_tail(Tail(request_id, frames, asked[-len(frames) :]))

    def _note(self, this: Round, request_id: int) -> None:
        world, made = self._clips.world, self._made
        clip = next(e.data for e in reversed(world.journal) if e.kind == "clip" and e.data["request_id"] == request_id)
        facts = {
            "round": this.index,
            "frames": [this.start + this.num_history, this.stop],
            "request_id": request_id,
            "outcome": clip["outcome"],
            "made": 0 if made is None or made.frames is None else len(made.frames),
            "reason": clip.get("reason") or clip.get("update", {}).get("rejected", ""),
        }
        world.journal.append(JournalEntry(ROUND, world.walk.tick, facts))

    def _counters(self) -> Callable[[], None]:
        """What goes back to the identities that are given out now."""
        world = self._clips.world
        next_request_id, bank = world.walk.next_request_id, world.bank.snapshot()

        def undo() -> None:
            world.walk.next_request_id = next_request_id
            world.bank = FrameBank(world.bank.max_bytes)
            world.bank.restore(BankSnapshot(bank.entries, bank.next_id))

        return undo


def shortfalls(facts: dict[str, Any]) -> list[str]:
    """Of a report's facts a line for every round that was not made, or that memory did not take."""
    return [
        f"round {r['round']} (frames {r['frames'][0]} to {r['frames'][1] - 1}): "
        f"{'memory took nothing' if r['made'] else 'not made'}: {r['reason'].splitlines()[0]}"
        for r in facts.get("rounds", ())
        if r["reason"]
    ]
