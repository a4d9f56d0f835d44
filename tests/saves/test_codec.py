"""The chunk codec: lossless, small, and safe against any bytes."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from spatia.saves.coarse_codec import decode_coarse, encode_coarse
from spatia.saves.codec import (
    MAX_CHUNK_WEIGHT,
    ChunkDecodeError,
    decode_chunk,
    decode_chunks,
    encode_chunk,
    encode_chunks,
)
from spatia.tests.saves.worlds import assert_same_chunk, make_chunk
from spatia.world.chunks import MAX_CHUNK_KEY, Chunk, check_chunk, morton, unmorton
from spatia.world.coarse import coarsen


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """Any chunk that memory may hold."""
    codes = sorted(draw(st.sets(st.integers(0, 64**3 - 1), min_size=1, max_size=12)))
    n = len(codes)
    rows = np.zeros((n, 8), np.uint32)
    factor = draw(st.sampled_from([1, 1, 8]))
    for i in range(n):
        weight = draw(st.one_of(st.integers(1, 20), st.integers(1, MAX_CHUNK_WEIGHT // factor)))
        sums = draw(st.lists(st.integers(0, weight * 255), min_size=6, max_size=6))
        rows[i] = [*(s * factor for s in sums[:3]), weight * factor, *(s * factor for s in sums[3:]), 0]
        rows[i, 7] = draw(st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)))
    key = draw(st.tuples(*[st.integers(-(2**20) + 1, 2**20 - 1)] * 3))
    bytes_of = st.binary(min_size=n, max_size=n)
    priority = np.frombuffer(draw(bytes_of), np.uint8) | np.uint8(64)
    evidence = np.stack([np.frombuffer(draw(bytes_of), np.uint8) for _ in range(2)], axis=1)
    return Chunk(key, draw(st.integers(0, 2**63 - 1)), np.array(codes, np.uint32), rows, priority, evidence)


@given(chunks())
@settings(max_examples=150, deadline=None)
def test_any_chunk_comes_back_bit_for_bit(chunk: Chunk) -> None:
    back = decode_chunk(encode_chunk(chunk), chunk.revision)
    assert_same_chunk(back, chunk)
    check_chunk(back)


@pytest.mark.parametrize("num_points", [1, 2, 63, 5000])
def test_a_random_chunk_comes_back_bit_for_bit(num_points: int) -> None:
    chunk = make_chunk((-1, 0, 7), num_points=num_points)
    assert_same_chunk(decode_chunk(encode_chunk(chunk), chunk.revision), chunk)


def test_a_full_chunk_comes_back_bit_for_bit() -> None:
    n = 64**3
    rows = np.full((n, 8), 3, np.uint32)
    chunk = Chunk(
        (0, 0, 0), 1, np.arange(n, dtype=np.uint32), rows, np.full(n, 200, np.uint8), np.zeros((n, 2), np.uint8)
    )
    assert_same_chunk(decode_chunk(encode_chunk(chunk), chunk.revision), chunk)


def test_a_flat_surface_takes_less_than_ten_bytes_a_voxel() -> None:
    rng = np.random.default_rng(0)
    x, z = (v.ravel() for v in np.meshgrid(np.arange(64), np.arange(64)))
    codes = np.sort(morton(x, 30 + (x + z) // 16, z))
    n = len(codes)
    weight = rng.integers(1, 16, n)
    rows = np.zeros((n, 8), np.uint32)
    for column in (0, 1, 2):
        rows[:, column] = rng.integers(0, 256, n) * weight
    for column in (4, 5, 6):
        rows[:, column] = (120 + rng.integers(-6, 7, n)) * weight
    rows[:, 3], rows[:, 7] = weight, rng.integers(1, 5, n)
    chunk = Chunk((0, 0, 0), 1, codes, rows, np.full(n, 192, np.uint8), np.zeros((n, 2), np.uint8))
    assert len(encode_chunk(chunk)) <= 10 * n


def _surface(*, keyframes: np.ndarray | int = 1) -> Chunk:
    """A level square of 64 x 64 voxels, a point each."""
    rng = np.random.default_rng(0)
    x, z = (v.ravel() for v in np.meshgrid(np.arange(64), np.arange(64)))
    codes = np.sort(morton(x, np.full(64 * 64, 9), z))
    n = len(codes)
    rows = np.zeros((n, 8), np.uint32)
    rows[:, 3], rows[:, 7] = rng.integers(1, 16, n), keyframes
    rows[:, :3] = rng.integers(0, 256, (n, 3)) * rows[:, 3:4]
    rows[:, 4:7] = rng.integers(0, 256, (n, 3)) * rows[:, 3:4]
    return Chunk((0, 0, 0), 1, codes, rows, np.full(n, 192, np.uint8), np.zeros((n, 2), np.uint8))


def _size_of_planes(chunk: Chunk) -> list[int]:
    data, at, sizes = encode_chunk(chunk), 32, []
    while at < len(data):
        sizes.append(struct.unpack_from("<I", data, at + 5)[0])
        at += 9 + sizes[-1]
    return sizes


def test_voxels_of_a_single_point_store_no_remainder() -> None:
    assert _size_of_planes(_surface())[7] == 0


def test_a_plane_of_one_value_stores_a_byte() -> None:
    assert _size_of_planes(_surface())[15:] == [1, 1]


def test_a_priority_that_follows_from_the_keyframe_takes_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    keyframes = rng.integers(1, 9, 64 * 64)
    chunk = _surface(keyframes=keyframes)
    priority = rng.integers(64, 256, 9).astype(np.uint8)[keyframes]
    mixed = Chunk(chunk.key, 1, chunk.codes, chunk.rows, priority, chunk.evidence)
    assert _size_of_planes(mixed)[14] < 64


def test_a_colour_that_goes_evenly_along_a_surface_takes_less_than_in_morton_order_alone() -> None:
    chunk = _surface()
    rows, place = chunk.rows.copy(), unmorton(chunk.codes)
    rows[:, 4:7] = (3 * place[:, [0]] + place[:, [2]]) * rows[:, 3:4]
    smooth = Chunk(chunk.key, 1, chunk.codes, rows, chunk.priority, chunk.evidence)
    green = (rows[:, 5] // rows[:, 3]).astype(np.uint8)
    in_order = np.diff(green, prepend=np.uint8(0)).tobytes()
    assert _size_of_planes(smooth)[4] < len(zstandard.compress(in_order, 3))


@pytest.mark.parametrize("num_keyframes", [256, 257])
def test_as_many_keyframes_as_a_byte_holds_and_one_more_come_back(num_keyframes: int) -> None:
    rng = np.random.default_rng(2)
    chunk = _surface(keyframes=rng.permutation(np.arange(64 * 64) % num_keyframes))
    assert_same_chunk(decode_chunk(encode_chunk(chunk), 1), chunk)


def test_the_same_content_gives_the_same_bytes() -> None:
    assert encode_chunk(make_chunk((1, 2, 3))) == encode_chunk(make_chunk((1, 2, 3)))


def test_every_single_flipped_byte_is_noticed() -> None:
    data = encode_chunk(make_chunk((0, -1, 2), num_points=9))
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            broken = bytearray(data)
            broken[position] ^= flip
            with pytest.raises(ChunkDecodeError):
                decode_chunk(bytes(broken))


def test_every_truncation_is_noticed() -> None:
    data = encode_chunk(make_chunk((0, -1, 2), num_points=9))
    for length in range(len(data)):
        with pytest.raises(ChunkDecodeError):
            decode_chunk(data[:length])


def test_bytes_behind_the_end_are_noticed() -> None:
    with pytest.raises(ChunkDecodeError):
        decode_chunk(resealed(encode_chunk(make_chunk((0, 0, 0))) + b"\0"))


def resealed(data: bytes) -> bytes:
    """The same bytes with a checksum that fits: what somebody would make who wants to do harm."""
    from spatia.saves.codec import HEADER

    head = data[: HEADER.size - 4]
    body = data[HEADER.size :]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head + b"\0\0\0\0"))) + body


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_forged_bytes_are_refused_or_give_a_valid_chunk(data: st.DataObject) -> None:
    forged = bytearray(encode_chunk(make_chunk((3, -4, 5), num_points=data.draw(st.integers(1, 30)))))
    for _ in range(data.draw(st.integers(1, 4))):
        forged[data.draw(st.integers(4, len(forged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(44, len(forged)))
    try:
        chunk = decode_chunk(resealed(bytes(forged[:cut])))
    except ChunkDecodeError:
        return
    check_chunk(chunk)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ChunkDecodeError):
        decode_chunk(data)


def test_a_size_out_of_bounds_is_refused_before_memory_is_taken() -> None:
    data = bytearray(encode_chunk(make_chunk((0, 0, 0))))
    from spatia.saves.codec import HEADER

    data[HEADER.size + 1 : HEADER.size + 5] = struct.pack("<I", 0xFFFFFFFF)  # first plane: 4 GiB when decoded
    with pytest.raises(ChunkDecodeError, match="size"):
        decode_chunk(resealed(bytes(data)))


def test_a_plane_that_repeats_more_than_a_byte_is_refused() -> None:
    data = encode_chunk(_surface())
    assert data[-10] == 2  # the last plane: method, sizes, and the byte
    with pytest.raises(ChunkDecodeError, match="size"):
        decode_chunk(resealed(data[:-5] + struct.pack("<I", 2) + b"\0\0"))


def test_another_version_is_named() -> None:
    data = bytearray(encode_chunk(make_chunk((0, 0, 0))))
    data[4] = 9
    with pytest.raises(ChunkDecodeError, match="version 2, got 9"):
        decode_chunk(bytes(data))


@pytest.mark.parametrize("column", [3, 0])
def test_a_chunk_that_breaks_its_rules_is_not_written(column: int) -> None:
    chunk = make_chunk((0, 0, 0))
    rows = chunk.rows.copy()
    rows[5, column] = 0 if column == 3 else rows[5, 3] * 255 + 1
    broken = Chunk(chunk.key, 1, chunk.codes, rows, chunk.priority, chunk.evidence)
    with pytest.raises(ValueError, match="expected weights"):
        encode_chunk(broken)


@pytest.mark.parametrize(("value", "is_valid"), [(2**20, False), (2**20 - 1, True), (-(2**20), True)])
def test_a_key_is_as_far_out_as_memory_allows_or_refused(value: int, is_valid: bool) -> None:
    data = encode_chunk(make_chunk((0, value, 0), num_points=2))
    if is_valid:
        check_chunk(decode_chunk(data))
    else:
        with pytest.raises(ChunkDecodeError, match="out of range"):
            decode_chunk(data)


def test_many_chunks_at_once_give_the_bytes_of_each_alone() -> None:
    chunks = [make_chunk((i, 0, 0), num_points=n) for i, n in enumerate((1, 700, 20, 3))]
    assert encode_chunks(chunks) == [encode_chunk(chunk) for chunk in chunks]


def test_of_many_chunks_the_damaged_ones_are_told_apart() -> None:
    chunks = [make_chunk((i, 0, 0), num_points=300) for i in range(5)]
    data = encode_chunks(chunks)
    data[1] = data[1][:-1]
    frame = data[3].index(b"\x28\xb5\x2f\xfd")
    torn = bytearray(data[3])
    torn[frame + 12 : frame + 20] = bytes(8)
    data[3] = resealed(bytes(torn))  # a plane that zstd refuses, behind a checksum that fits
    found = decode_chunks(data, [7] * 5)
    assert [isinstance(item, ChunkDecodeError) for item in found] == [False, True, False, True, False]
    for place in (0, 2, 4):
        item = found[place]
        assert isinstance(item, Chunk)
        assert item.revision == 7
        assert_same_chunk(replace(item, revision=chunks[place].revision), chunks[place])


def test_planes_are_told_apart_without_calls_for_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = make_chunk((2, 0, 0), num_points=900)
    expected = encode_chunk(chunk)
    monkeypatch.setattr(zstandard, "backend_features", set())
    assert encode_chunk(chunk) == expected
    assert_same_chunk(decode_chunk(expected, chunk.revision), chunk)


def test_as_many_keyframes_as_two_bytes_hold_and_one_more_come_back() -> None:
    n = (1 << 16) + 1
    rows = np.full((n, 8), 1, np.uint32)
    rows[:, 7] = np.random.default_rng(3).permutation(n) * 7
    codes = np.arange(n, dtype=np.uint32)
    chunk = Chunk((0, 0, 0), 1, codes, rows, np.full(n, 192, np.uint8), np.zeros((n, 2), np.uint8))
    assert_same_chunk(decode_chunk(encode_chunk(chunk), 1), chunk)


@pytest.mark.parametrize(
    ("end", "is_read"), [(MAX_CHUNK_KEY - 1, True), (-MAX_CHUNK_KEY, True), (MAX_CHUNK_KEY, False)]
)
def test_a_coarser_level_lies_where_chunks_can(end: int, is_read: bool) -> None:
    data = encode_coarse(replace(coarsen(make_chunk((0, 0, 0), num_points=20)), key=(0, end, 0)))
    if is_read:
        assert decode_coarse(data).key == (0, end, 0)
    else:
        with pytest.raises(ChunkDecodeError, match="key"):
            decode_coarse(data)
