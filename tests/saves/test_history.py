"""Snapshots and branches: they share what is the same, and bring back exactly what was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatia.saves.errors import MergeConflictError, WorldHistoryError
from spatia.saves.journal import JournalEntry
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.tests.saves.worlds import assert_same_chunk, frozen, make_chunk, make_keyframe, make_state
from spatia.world.chunks import ChunkKey


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.spatia"


def with_chunk(state: WorldState, key: ChunkKey, seed: int = 9) -> WorldState:
    return replace(state, chunks={**state.chunks, key: make_chunk(key, revision=50 + seed, seed=seed)})


def assert_same_content(a: WorldState, b: WorldState) -> None:
    """The same but for revisions and counters."""
    assert set(a.chunks) == set(b.chunks)
    for key in a.chunks:
        assert_same_chunk(replace(a.chunks[key], revision=1), replace(b.chunks[key], revision=1))
    assert [k.keyframe_id for k in a.keyframes] == [k.keyframe_id for k in b.keyframes]
    assert a.journal == b.journal
    assert np.array_equal(a.path, b.path)
    assert a.manifest == b.manifest


def test_a_snapshot_comes_back_after_the_world_has_changed(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path, state) as world:
        world.snapshot("before")
        world.save(replace(make_state(5, seed=3), keyframes=(make_keyframe(7),), journal=(JournalEntry("x", 1, {}),)))
        back = world.load_snapshot("before")
    assert not back.damage
    assert_same_content(back, state)
    assert np.array_equal(back.state["tails"][0]["frames"], state.state["tails"][0]["frames"])
    assert np.array_equal(back.keyframes[0].color, state.keyframes[0].color)


def test_a_snapshot_survives_closing_and_further_saves(path: Path) -> None:
    state = make_state()
    with WorldFile.create(path, state) as world:
        world.snapshot("before")
    for seed in (4, 5):
        with WorldFile.open(path) as world:
            world.load()
            world.save(make_state(4, seed=seed))
    with WorldFile.open(path, read_only=True) as world:
        assert_same_content(world.load_snapshot("before"), state)


def test_checkout_makes_a_snapshot_present_and_keeps_what_was(path: Path) -> None:
    first, second = make_state(), with_chunk(make_state(), (9, 9, 9))
    with WorldFile.create(path, first) as world:
        world.snapshot("first")
        world.save(second)
        report = world.checkout("first")
        assert report.secured is not None
        assert report.changed == ((9, 9, 9),)
        assert_same_content(world.load(), first)
        world.checkout("main")
        assert_same_content(world.load(), second)


def test_checkout_of_an_older_snapshot_starts_a_branch(path: Path) -> None:
    with WorldFile.create(path, make_state()) as world:
        world.snapshot("first")
        world.save(with_chunk(make_state(), (9, 9, 9)))
        world.snapshot("second")
        report = world.checkout("first")
        assert (report.branch, report.is_new_branch, report.secured) == ("from-first", True, None)
        assert world.checkout("second").branch == "main"


def test_saving_after_a_checkout_writes_only_what_changes(path: Path) -> None:
    with WorldFile.create(path, make_state(5)) as world:
        world.snapshot("first")
        world.save(with_chunk(make_state(5), (9, 9, 9)))
        world.checkout("first")
        state = world.load()
        assert world.save(state).num_bytes == 0
        assert world.save(with_chunk(state, (8, 8, 8))).chunks == 1
        assert (9, 9, 9) not in world.load().chunks


def test_a_branch_of_a_large_world_costs_less_than_a_hundredth(path: Path) -> None:
    keys = [(i % 10, i // 10, 0) for i in range(100)]
    state = replace(make_state(), chunks={key: make_chunk(key, num_points=2000) for key in keys})
    with WorldFile.create(path, state):
        pass
    before = path.stat().st_size
    with WorldFile.open(path) as world:
        world.branch("other")
        world.snapshot("named")
    assert path.stat().st_size - before < 0.01 * before


def test_branches_count_keyframes_and_requests_apart(path: Path) -> None:
    state = replace(make_state(), state={"next_keyframe_id": 12, "next_request_id": 4})
    with WorldFile.create(path, state) as world:
        world.branch("a")
        a = world.read_state()
        world.checkout("main")
        main = world.read_state()
        world.branch("b")
        b = world.read_state()
    assert main["next_keyframe_id"] == 12
    assert len({s["next_keyframe_id"] >> 20 for s in (main, a, b)}) == 3
    assert len({s["next_request_id"] >> 20 for s in (main, a, b)}) == 3


def branched(path: Path, ours: WorldState, theirs: WorldState, base: WorldState) -> WorldFile:
    """On main with ``ours``, and a branch "other" with ``theirs``, both from ``base``."""
    world = WorldFile.create(path, base)
    world.branch("other")
    world.save(theirs)
    world.checkout("main")
    world.load()
    world.save(ours)
    return world


def test_branches_that_changed_different_chunks_merge(path: Path) -> None:
    base = make_state()
    ours, theirs = with_chunk(base, (5, 5, 5)), with_chunk(base, (-5, 0, 0))
    gone = next(iter(base.chunks))
    theirs = replace(theirs, chunks={k: c for k, c in theirs.chunks.items() if k != gone})
    theirs = replace(theirs, keyframes=(*base.keyframes, make_keyframe(1 << 20)))
    theirs = replace(theirs, journal=(*base.journal, JournalEntry("clip", 30, {"request_id": 1})))
    with branched(path, ours, theirs, base) as world:
        report = world.merge("other")
        merged = world.load()
    assert report.merged.added == ((-5, 0, 0),)
    assert report.merged.removed == (gone,)
    assert set(merged.chunks) == {*base.chunks, (5, 5, 5), (-5, 0, 0)} - {gone}
    assert [k.keyframe_id for k in merged.keyframes] == [1, 2, 1 << 20]
    assert merged.journal[-1].kind == "clip"
    assert len(report.snapshot.parents) == 2


def test_a_chunk_changed_on_both_sides_is_a_conflict_that_changes_nothing(path: Path) -> None:
    base = make_state()
    key = next(iter(base.chunks))
    with branched(path, with_chunk(base, key, 3), with_chunk(base, key, 4), base) as world:
        before = world.load()
        with pytest.raises(MergeConflictError, match="--prefer") as caught:
            world.merge("other")
        assert [c.key for c in caught.value.conflicts] == [key]
        assert caught.value.conflicts[0].points == (20, 20, 20)
        assert_same_content(world.load(), before)


@pytest.mark.parametrize(("prefer", "seed"), [("ours", 3), ("theirs", 4)])
def test_a_conflict_is_settled_as_asked(path: Path, prefer: str, seed: int) -> None:
    base = make_state()
    key = next(iter(base.chunks))
    with branched(path, with_chunk(base, key, 3), with_chunk(base, key, 4), base) as world:
        world.merge("other", prefer)  # type: ignore[arg-type]
        chunk = world.read_chunk(key)
    assert chunk is not None
    assert_same_chunk(replace(chunk, revision=1), make_chunk(key, revision=1, seed=seed))


def test_branches_with_different_pose_corrections_are_refused(path: Path) -> None:
    base = make_state()
    pose = np.eye(4)
    pose[0, 3] = 0.25
    moved = replace(base.keyframes[0], world_T_camera=pose)
    theirs = replace(with_chunk(base, (9, 0, 0)), keyframes=(moved, base.keyframes[1]))
    with branched(path, base, theirs, base) as world, pytest.raises(MergeConflictError, match="poses"):
        world.merge("other", "theirs")


def test_merging_twice_merges_what_came_since(path: Path) -> None:
    base = make_state()
    with branched(path, base, with_chunk(base, (7, 0, 0)), base) as world:
        assert world.merge("other").merged.added == ((7, 0, 0),)
        assert world.merge("other").changed == ()
        world.checkout("other")
        world.save(with_chunk(world.load(), (7, 0, 0), 2))
        world.checkout("main")
        assert world.merge("other").merged.changed == ((7, 0, 0),)


def test_merging_what_is_here_already_keeps_no_snapshot_of_it(path: Path) -> None:
    base = make_state()
    with branched(path, base, base, base) as world:
        world.snapshot("last")
        world.save(with_chunk(base, (7, 0, 0)))
        before = world.snapshots()
        first = next(s for s in before if s.identity == min(s.identity for s in before))
        report = world.merge(f"#{first.identity}")
        assert report.snapshot.name == "last"
        assert report.changed == ()
        assert world.snapshots() == before


def test_gc_removes_what_only_a_removed_branch_named(path: Path) -> None:
    base = make_state()
    big = replace(base, chunks={**base.chunks, (9, 9, 9): make_chunk((9, 9, 9), num_points=5000)})
    with branched(path, base, big, base) as world:
        assert world.gc().objects == 0
        world.forget_name("other")
        report = world.gc()
        assert report.objects >= 1
        assert report.bytes_after < report.bytes_before - 20_000
        assert_same_content(world.load(), base)
        assert list(world.branches().tips) == ["main"]


def test_pruning_keeps_names_ends_and_forks(path: Path) -> None:
    with WorldFile.create(path, make_state()) as world:
        for seed in range(6):
            world.save(with_chunk(make_state(), (9, 9, 9), seed))
            world.snapshot("named" if seed == 2 else "")
        world.gc(prune=True)
        assert [(s.title, s.parents) for s in world.snapshots()] == [("named", ()), ("#6", (3,))]
        assert not world.load_snapshot("named").damage


@pytest.mark.parametrize("name", ["", "now", "main", "  x", "a\nb", "x" * 70, "taken"])
def test_names_that_cannot_be_given_are_refused(path: Path, name: str) -> None:
    with WorldFile.create(path, make_state()) as world:
        world.snapshot("taken")
        with pytest.raises(WorldHistoryError):
            world.branch(name)


def test_an_unknown_name_lists_what_there_is(path: Path) -> None:
    with WorldFile.create(path, make_state()) as world:
        world.snapshot("attic")
        with pytest.raises(WorldHistoryError, match="main, attic"):
            world.checkout("cellar")


def test_a_replaced_tail_of_a_snapshot_stays(path: Path) -> None:
    tails = [frozen(np.full((9, 16, 16, 3), v, np.uint8)) for v in (1, 2)]
    with WorldFile.create(path, replace(make_state(), state={"tails": [tails[0]]})) as world:
        world.snapshot("one")
        world.save(replace(make_state(), state={"tails": [tails[1]]}))
        assert np.array_equal(world.load_snapshot("one").state["tails"][0], tails[0])
