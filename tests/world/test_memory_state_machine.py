"""Memory driven at random beside a plain dictionary that does the same one point at a time."""

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from spatia.world.errors import StaleChangeError
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_insert
from spatia.world.points import PointBatch

VOXEL_SIZE_M = 0.25

# positions on a coarse grid around chunk and voxel borders, so that points meet often
COORDINATE = st.sampled_from([-16.25, -16.0, -0.25, -0.1, 0.0, 0.1, 0.2, 15.9, 16.0])
POINT = st.tuples(
    st.tuples(COORDINATE, COORDINATE, COORDINATE),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.integers(1, 15),
    st.sampled_from([64, 65, 104, 128, 192]),
    st.integers(0, 2**32 - 1),
)
POINTS = st.lists(POINT, min_size=0, max_size=12)


def _as_batch(points):
    columns = list(zip(*points, strict=True)) if points else [[]] * 5
    return PointBatch(
        np.array(columns[0], np.float32).reshape(-1, 3),
        np.array(columns[1], np.uint8).reshape(-1, 3),
        np.array(columns[2], np.uint8),
        np.array(columns[3], np.uint8),
        np.array(columns[4], np.uint32),
    )


def _merged(voxels, points):
    """A copy of {voxel: (priority, sums)} with points merged in one after the other."""
    out = dict(voxels)
    for position, color, weight, priority, keyframe in points:
        q = [math.floor(float(np.float32(x)) / VOXEL_SIZE_M * 256) for x in position]
        voxel = tuple(v >> 8 for v in q)
        had = out.get(voxel, (0, None))
        if priority < had[0]:
            continue
        values = [*((v & 255) * weight for v in q), weight, *(c * weight for c in color)]
        if priority == had[0]:
            values = [a + b for a, b in zip(values, had[1][:7], strict=True)]
            keyframe = min(keyframe, had[1][7])
        out[voxel] = (priority, (*values, keyframe))
    return out


class MemoryMachine(RuleBasedStateMachine):
    """Inserts, edits, stages, undoes and reloads; after each step content equals the dictionary's."""

    snapshots = Bundle("snapshots")
    staged = Bundle("staged")

    def __init__(self):
        super().__init__()
        self.memory = SpatialMemory(VOXEL_SIZE_M)
        self.voxels = {}

    @rule(points=POINTS)
    def insert(self, points):
        revision = self.memory.revision
        report = self.memory.insert(_as_batch(points))
        self.voxels = _merged(self.voxels, points)
        assert self.memory.revision == revision + bool(report.changed)

    @rule(target=staged, points=POINTS)
    def stage(self, points):
        change = stage_insert(self.memory.chunks, VOXEL_SIZE_M, _as_batch(points), revision=self.memory.revision + 1)
        return change, points, dict(self.memory.chunks)

    @rule(entry=consumes(staged))
    def apply(self, entry):
        change, points, chunks = entry
        touched = {self._chunk_of(position) for position, *_ in points}
        is_stale = any(self.memory.chunks.get(key) is not chunks.get(key) for key in touched)
        try:
            self.memory.apply(change)
        except StaleChangeError:
            assert is_stale
            return
        assert not is_stale
        self.voxels = _merged(self.voxels, points)

    @rule(
        low=st.tuples(*[st.sampled_from([-20.0, -0.25, 0.0])] * 3), high=st.tuples(*[st.sampled_from([0.25, 20.0])] * 3)
    )
    def remove_box(self, low, high):
        def is_inside(voxel, entry):
            sums = entry[1]
            mean = [
                (v + ((2 * s + sums[3]) // (2 * sums[3]) + 0.5) / 256) * VOXEL_SIZE_M
                for v, s in zip(voxel, sums[:3], strict=True)
            ]
            return all(lo <= np.float32(m) < h for lo, m, h in zip(low, mean, high, strict=True))

        report = self.memory.remove_box(low, high)
        kept = {voxel: entry for voxel, entry in self.voxels.items() if not is_inside(voxel, entry)}
        assert report.removed == len(self.voxels) - len(kept)
        self.voxels = kept

    @rule(target=snapshots)
    def take_snapshot(self):
        return self.memory.snapshot(), self.voxels

    @rule(entry=snapshots)
    def restore(self, entry):
        snapshot, voxels = entry
        self.memory.restore(snapshot)
        self.voxels = voxels

    @rule()
    def reload(self):
        loaded = SpatialMemory(VOXEL_SIZE_M)
        loaded.load(self.memory.chunks.values())
        assert loaded.content_hash() == self.memory.content_hash()

    @staticmethod
    def _chunk_of(position):
        return tuple(math.floor(float(np.float32(x)) / (64 * VOXEL_SIZE_M)) for x in position)

    @invariant()
    def content_is_the_dictionarys(self):
        found = {}
        for key, chunk in self.memory.chunks.items():
            assert chunk.key == key
            assert chunk.revision <= self.memory.revision
            assert chunk.num_points > 0
            for code, row, priority in zip(chunk.codes.tolist(), chunk.rows.tolist(), chunk.priority, strict=True):
                place = [sum(((code >> (3 * bit + axis)) & 1) << bit for bit in range(6)) for axis in range(3)]
                voxel = tuple(64 * k + p for k, p in zip(key, place, strict=True))
                found[voxel] = (int(priority), tuple(row))
        assert found == self.voxels


MemoryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestMemory = MemoryMachine.TestCase
