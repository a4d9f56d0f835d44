"""Any order of changes, saves, openings and failed saves keeps the file equal to a plain dictionary."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from spatia.saves.errors import WorldWriteError
from spatia.saves.journal import JournalEntry
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import assert_same_state, frozen, make_chunk, make_keyframe, make_state

KEYS = st.tuples(*[st.integers(-2, 1)] * 3)


class SavedWorld(RuleBasedStateMachine):
    """``now`` is what memory holds, ``saved`` what the last successful save held."""

    @initialize()
    def create(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "home.spatia"
        self.now: WorldState = replace(make_state(), chunks={}, keyframes=())
        self.saved = self.now
        self.revision = 0
        self.world = WorldFile.create(self.path, self.now)

    @rule(key=KEYS, seed=st.integers(0, 3))
    def put_chunk(self, key: tuple[int, int, int], seed: int) -> None:
        self.revision += 1
        chunk = make_chunk(key, revision=self.revision, num_points=5, seed=seed)
        self.now = replace(self.now, chunks={**self.now.chunks, key: chunk})

    @rule(key=KEYS)
    def remove_chunk(self, key: tuple[int, int, int]) -> None:
        self.now = replace(self.now, chunks={k: c for k, c in self.now.chunks.items() if k != key})

    @rule(identity=st.integers(1, 4))
    def put_keyframe(self, identity: int) -> None:
        others = [k for k in self.now.keyframes if k.keyframe_id != identity]
        frames = sorted([*others, make_keyframe(identity)], key=lambda k: k.keyframe_id)
        self.now = replace(self.now, keyframes=tuple(frames))

    @rule(identity=st.integers(1, 4))
    def remove_keyframe(self, identity: int) -> None:
        frames = tuple(k for k in self.now.keyframes if k.keyframe_id != identity)
        self.now = replace(self.now, keyframes=frames)

    @rule(tick=st.integers(0, 9))
    def note(self, tick: int) -> None:
        self.now = replace(self.now, journal=(*self.now.journal, JournalEntry("edit", tick, {"n": tick})))

    @rule()
    def undo_note(self) -> None:
        self.now = replace(self.now, journal=self.now.journal[:-1])

    @rule(value=st.integers(0, 3))
    def change_state(self, value: int) -> None:
        tail = frozen(np.full((9, 16, 16, 3), value, np.uint8))
        self.now = replace(self.now, state={"value": value, "tails": [tail]})

    @rule()
    def save(self) -> None:
        self.world.save(self.now)
        self.saved = self.now

    @rule()
    def fail_to_save(self) -> None:
        writer = self.world._writer
        writer.execute("PRAGMA max_page_count=1")  # SQLite takes the present size at least
        big = {(9, i, 9): make_chunk((9, i, 9), num_points=2000) for i in range(30)}
        with pytest.raises(WorldWriteError):
            self.world.save(replace(self.now, chunks=big))
        writer.execute("PRAGMA max_page_count=1073741823")

    @rule(read_first=st.booleans())
    def reopen(self, read_first: bool) -> None:
        self.world.close()
        self.world = WorldFile.open(self.path)
        self.now = self.world.load() if read_first else self.saved
        if not read_first:
            self.world.load()

    @invariant()
    def the_file_holds_what_was_saved(self) -> None:
        if hasattr(self, "path"):
            with WorldFile.open(self.path, read_only=True) as reader:
                assert_same_state(reader.load(), self.saved)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
            self.folder.cleanup()


SavedWorld.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestSavedWorld = SavedWorld.TestCase
