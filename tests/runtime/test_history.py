"""Snapshots and branches of an open world."""

from pathlib import Path

import numpy as np
import pytest
import spatia
from spatia.runtime.world import World
from spatia.saves.errors import MergeConflictError, WorldHistoryError
from spatia.tests.runtime.tiny import tiny_world
from spatia.world.points import PointBatch


@pytest.fixture
def world(tmp_path: Path) -> World:
    tiny_world().save(tmp_path / "home.spatia")
    return spatia.open(tmp_path / "home.spatia")


def add_point(world: World, x: float) -> None:
    batch = PointBatch.uniform(
        np.array([[x, 0.0, 0.0]], np.float32), np.array([[9, 9, 9]], np.uint8), priority=192, keyframe=1
    )
    world.memory.insert(batch)


def test_checkout_brings_memory_pose_and_keyframes_back(world: World) -> None:
    before, pose = world.content_hash(), world.walk.world_T_camera.copy()
    world.snapshot("start")
    add_point(world, 40.0)
    moved = pose.copy()
    moved[0, 3] = 1.0
    world.walk.world_T_camera = moved
    after = world.content_hash()
    world.checkout("start")
    assert world.content_hash() == before
    assert np.array_equal(world.walk.world_T_camera, pose)
    world.checkout("main")
    assert world.content_hash() == after
    assert np.array_equal(world.walk.world_T_camera, moved)
    assert len(world.bank.keyframes) == 1
    world.close()


def test_checkout_gives_changed_chunks_a_new_revision(world: World) -> None:
    world.snapshot("start")
    add_point(world, 0.01)
    before = dict(world.memory.chunks)
    report = world.checkout("start")
    for key, chunk in world.memory.chunks.items():
        if key in report.changed:
            assert chunk.revision > before[key].revision
        else:
            assert chunk is before[key]
    world.close()


def test_branches_merge_and_the_walk_stays(world: World) -> None:
    world.branch("left")
    add_point(world, -40.0)
    world.checkout("main")
    add_point(world, 40.0)
    ours = world.walk.world_T_camera
    report = world.merge("left")
    assert len(report.merged.added) == 1
    assert {key[0] for key in world.memory.chunks} >= {int(np.floor(x / (64 * 0.04))) for x in (-40.0, 40.0)}
    assert np.array_equal(world.walk.world_T_camera, ours)
    assert next(s.note for s in world.log()) == "merge of left"
    world.close()


def test_a_conflict_is_told_and_can_be_settled(world: World) -> None:
    world.branch("left")
    add_point(world, 40.0)
    world.checkout("main")
    add_point(world, 40.1)
    with pytest.raises(MergeConflictError) as caught:
        world.merge("left")
    assert len(caught.value.conflicts) == 1
    world.merge("left", prefer="theirs")
    assert world.diff("left").is_empty
    world.close()


def test_a_diff_counts_points(world: World) -> None:
    world.snapshot("start")
    add_point(world, 40.0)
    key = next(iter(world.memory.chunks))
    gone = world.memory.chunks[key].num_points
    world.memory.remove({key: np.ones(gone, bool)})
    diff = world.diff("start")
    assert (diff.added, diff.removed, diff.changed) == (1, gone, 0)
    assert diff.same == world.memory.num_points - 1
    world.close()


def test_identities_of_branches_never_meet(world: World) -> None:
    world.branch("left")
    left = world.bank.reserve_ids(1)
    world.checkout("main")
    assert world.bank.reserve_ids(1) < left
    world.close()


def test_a_world_without_a_file_has_no_history() -> None:
    with pytest.raises(WorldHistoryError, match=r"spatia\.open"):
        tiny_world().snapshot("start")
