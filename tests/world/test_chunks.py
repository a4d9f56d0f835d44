"""Chunks: codes, means, and what is refused from outside."""

import dataclasses

import numpy as np
import pytest
from spatia.world.chunks import CHUNK_SIDE, MAX_VOXEL_WEIGHT, Chunk, addresses_of, check_chunk, morton, unmorton


def _chunk(key=(0, 0, 0)):
    rows = np.array([[10, 20, 30, 2, 100, 200, 300, 5], [1, 2, 3, 1, 7, 8, 9, 6]], np.uint32)
    return Chunk(key, 1, np.array([3, 9], np.uint32), rows, np.array([64, 192], np.uint8), np.zeros((2, 2), np.uint8))


def test_morton_codes_give_back_every_place_in_a_chunk():
    places = np.stack(np.meshgrid(*[np.arange(CHUNK_SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    codes = morton(places[:, 0], places[:, 1], places[:, 2])
    assert len(np.unique(codes)) == CHUNK_SIDE**3
    np.testing.assert_array_equal(unmorton(codes), places)


def test_morton_interleaves_x_lowest():
    assert [int(morton(*np.eye(3, dtype=np.int64)[axis])) for axis in range(3)] == [1, 2, 4]


def test_means_are_rounded_to_nearest():
    chunk = _chunk()
    np.testing.assert_array_equal(chunk.colors(), [[50, 100, 150], [7, 8, 9]])
    places = np.array([[1, 1, 0], [3, 0, 0]])
    np.testing.assert_array_equal(chunk.local_q8(), places * 256 + [[5, 10, 15], [1, 2, 3]])


def test_means_are_exact_up_to_the_largest_weights():
    rng = np.random.default_rng(0)
    weight = rng.integers(1, MAX_VOXEL_WEIGHT + 1, 5000)
    steps = rng.integers(0, 510, 5000)
    sums = np.minimum((steps * weight + rng.integers(-1, 2, 5000)) // 2, 255 * weight).clip(0)
    rows = np.stack([sums] * 3 + [weight] + [sums] * 3 + [weight], 1).astype(np.uint32)
    chunk = Chunk((0, 0, 0), 1, np.arange(5000, dtype=np.uint32), rows, np.full(5000, 64, np.uint8),
                  np.zeros((5000, 2), np.uint8))  # fmt: skip
    expected = (2 * sums + weight) // (2 * weight)
    np.testing.assert_array_equal(chunk.colors()[:, 1], expected)
    np.testing.assert_array_equal(chunk.local_q8()[:, 0] & 255, expected)


def test_positions_start_at_the_chunks_corner_and_stand_mid_step():
    chunk = _chunk((-1, 0, 2))
    expected = (np.array([-1, 0, 2]) * 64 + (chunk.local_q8() + 0.5) / 256) * 0.02
    np.testing.assert_allclose(chunk.positions_world(0.02), expected, rtol=1e-6)


def test_arrays_of_a_chunk_cannot_be_written():
    chunk = _chunk()
    for name in ("codes", "rows", "priority", "evidence"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(chunk, name)[0] = 0


def test_addresses_point_at_the_arrays():
    chunk = _chunk()
    counts, addresses = addresses_of([None, chunk])
    np.testing.assert_array_equal(counts, [0, 2])
    assert addresses[1, 1] == chunk.rows.ctypes.data
    assert not addresses[0].any()


def test_a_sound_chunk_passes_the_check():
    check_chunk(_chunk())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codes": np.array([9, 3], np.uint32)}, "rise strictly"),
        ({"codes": np.array([3, 3], np.uint32)}, "rise strictly"),
        ({"codes": np.array([3, CHUNK_SIDE**3], np.uint32)}, "rise strictly"),
        ({"codes": np.array([3, 9], np.int64)}, "codes"),
        ({"codes": np.array([3, 9], np.int32)}, "uint32"),
        ({"priority": np.array([0, 64], np.uint8)}, "priorities"),
        ({"priority": np.array([64], np.uint8)}, "2 contiguous items of 1 byte"),
        ({"rows": np.ones((2, 16), np.uint32)[:, ::2]}, "contiguous"),
        ({"evidence": np.zeros((2, 2), np.int16)}, "evidence"),
        ({"rows": np.zeros((2, 8), np.uint32)}, "weights"),
        ({"rows": np.full((2, 8), MAX_VOXEL_WEIGHT + 1, np.uint32)}, "weights"),
        ({"rows": np.array([[256, 0, 0, 1, 0, 0, 0, 0]] * 2, np.uint32)}, "255 times"),
        ({"key": (1 << 20, 0, 0)}, "key"),
    ],
)
def test_a_malformed_chunk_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        check_chunk(dataclasses.replace(_chunk(), **change))


def test_an_empty_chunk_is_refused():
    empty = Chunk((0, 0, 0), 1, np.zeros(0, np.uint32), np.zeros((0, 8), np.uint32), np.zeros(0, np.uint8),
                  np.zeros((0, 2), np.uint8))  # fmt: skip
    with pytest.raises(ValueError, match="at least one voxel"):
        check_chunk(empty)
