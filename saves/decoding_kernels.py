"""The compiled half of reading chunks: many of them in one call, without the interpreter's lock.

What they read may come from anybody: lengths and ranges are checked before they are used, and nothing takes longer than
the announced number of voxels allows. ``docs/save_format.md`` says what each plane means.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false

import numpy as np
from numba import njit

from ..world.raw_memory import bytes_at, load_word
from .codec_kernels import (
    MAX_RADIX,
    MAX_WEIGHT,
    NUM_PLANES,
    RADIX_BITS,
    RECIPROCALS,
    divided,
    expected_color,
    num_bits,
    packed_color,
    walk_octree,
)

RAW, ZSTD, REPEAT = 0, 1, 2
PLANE_HEAD_BYTES = 9

METHOD, SIZE, STORED, PLACE = range(4)
"""Columns of a table of planes."""

FAULTS = (
    "",
    "a weight or a weighted sum is out of range",
    "the common factor is out of range",
    "a keyframe beyond the palette",
    "an octree that does not fit the number of voxels",
    "the palette of keyframes is damaged",
    "a priority without class",
    "a plane is missing",
    "a plane's size is out of range",
    "a plane's size does not match",
    "bytes behind the last plane",
)
"""What may be found, by number."""
(_NONE, _BAD_SUM, _BAD_FACTOR, _BAD_KEYFRAME, _BAD_OCTREE, _BAD_PALETTE, _BAD_PRIORITY) = range(7)
(_MISSING, _BAD_SIZE, _OTHER_SIZE, _TOO_LONG) = range(7, 11)

_MAX_WINDOW_BITS = 25
SLACK_BYTES = 16
"""Behind a stream of bits, so that whole words may be read."""


# Where planes lie


@njit(cache=True, nogil=True)
def list_planes(blob, starts, counts, table, faults):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find the planes of chunks, and check their sizes before anybody takes memory for them.

    Args:
        blob: (B,) uint8, chunks behind one another.
        starts: (C, 2) int64, where each chunk's planes begin, and where the chunk ends.
        counts: (C,) int64, voxels of each.
        table: (C, 17, 4) int64, receives method, size when unpacked, stored size and place in ``blob``.
        faults: (C,) uint8, receives numbers of ``FAULTS``.
    """
    for c in range(len(counts)):
        n, at, end = counts[c], starts[c, 0], starts[c, 1]
        palette = np.int64(0)
        for p in range(NUM_PLANES):
            if at + PLANE_HEAD_BYTES > end:
                faults[c] = _MISSING
                break
            method = np.int64(blob[at])
            size, stored = _number(blob, at + 1, 4), _number(blob, at + 5, 4)
            at += PLANE_HEAD_BYTES
            if method > REPEAT or stored > size or stored > end - at or not _may_be(p, size, n, palette):
                faults[c] = _BAD_SIZE
                break
            is_fit = stored == size if method == RAW else stored == 1
            if method == ZSTD:
                is_fit = size > 0 and _is_frame_of(blob, at, stored, size)
            if not is_fit:
                faults[c] = _OTHER_SIZE
                break
            table[c, p, METHOD], table[c, p, SIZE], table[c, p, STORED], table[c, p, PLACE] = method, size, stored, at
            at += stored
            if p == 12:
                palette = size // 4
        if faults[c] == _NONE and at != end:
            faults[c] = _TOO_LONG


@njit(cache=True, nogil=True)
def _number(blob, at, num_bytes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A number of at most 8 bytes, its lowest byte first; -1 where it is 2^63 or more."""
    value = np.uint64(0)
    for i in range(num_bytes):
        value |= np.uint64(blob[at + i]) << np.uint64(8 * i)
    return np.int64(value) if value >> np.uint64(63) == 0 else np.int64(-1)


@njit(cache=True, nogil=True)
def _may_be(plane, size, n, palette):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether plane number ``plane`` of n voxels with so many keyframes may unpack to so many bytes."""
    if plane == 0:
        return size <= 6 * n
    if plane == 7:
        return size <= 24 * n + 8
    if plane == 12:
        return size <= 4 * n and size % 4 == 0
    if plane == 13:
        return size == (1 if palette <= 1 << 8 else 2 if palette <= 1 << 16 else 3) * n
    return size == n


@njit(cache=True, nogil=True)
def _is_frame_of(blob, at, stored, size):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a zstd frame says that it unpacks to ``size`` bytes, with a window that may be held."""
    if stored < 6 or _number(blob, at, 4) != 0xFD2FB528:
        return False
    flags = np.int64(blob[at + 4])
    is_single = flags >> 5 & 1
    size_bytes = 1 << (flags >> 6) if flags >> 6 or is_single else 0
    head = 5 + (1 - is_single) + size_bytes
    if flags & 3 or size_bytes == 0 or head > stored:
        return False
    if not is_single and 10 + (np.int64(blob[at + 5]) >> 3) > _MAX_WINDOW_BITS:
        return False
    return _number(blob, at + head - size_bytes, size_bytes) + (256 if size_bytes == 2 else 0) == size


# What planes mean


@njit(cache=True, nogil=True)
def join_chunks(table, addresses, counts, factors, outputs, faults):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Make chunks of their planes.

    Args:
        table: (C, 17, 4) int64, see ``list_planes``; its sizes hold.
        addresses: (C, 17) int64, where each plane's bytes lie, unpacked but for those that repeat one.
        counts: (C,) int64, voxels of each.
        factors: (C,) int64, common factors.
        outputs: (C,) int64, addresses of 39 bytes a voxel, written: rows, codes, priorities and evidence.
        faults: (C,) uint8; chunks that have one are passed over, and those that turn out to have one get it.
    """
    most = np.int64(1)
    spare_bytes = np.int64(SLACK_BYTES)
    for c in range(len(counts)):
        most = max(most, counts[c])
        needed = np.int64(SLACK_BYTES)
        for p in range(NUM_PLANES):
            if table[c, p, METHOD] == REPEAT or p == 7:
                needed += table[c, p, SIZE]
        spare_bytes = max(spare_bytes, needed)
    spare = np.empty(spare_bytes, np.uint8)
    nodes = np.empty(most, np.uint32)
    colors = np.empty((3, most), np.uint8)
    seen = np.zeros(1 << 18, np.uint32)
    for c in range(len(counts)):
        if faults[c] == _NONE:
            n = counts[c]
            faults[c] = _join(
                table[c], addresses[c], n, np.uint64(factors[c]), outputs[c], spare, nodes[:n], colors, seen
            )


@njit(cache=True, nogil=True)
def _join(table, addresses, n, factor, output, spare, nodes, colors, seen):  # type: ignore[no-untyped-def]  # pragma: no cover
    """One chunk; the number of a fault."""
    buffer = bytes_at(output, 39 * n)
    rows = buffer[: 32 * n].view(np.uint32).reshape(n, 8)
    codes = buffer[32 * n : 36 * n].view(np.uint32)
    priority = buffer[36 * n : 37 * n]
    evidence = buffer[37 * n :].reshape(n, 2)
    used = np.int64(0)
    for p in range(NUM_PLANES):
        size = table[p, SIZE]
        if table[p, METHOD] == REPEAT or p == 7:  # the stream needs slack behind it
            part = spare[used : used + size]
            if table[p, METHOD] == REPEAT:
                part[:] = bytes_at(addresses[p], 1)[0]
            else:
                part[:] = bytes_at(addresses[p], size)
            addresses[p] = spare.ctypes.data + used
            used += size + (SLACK_BYTES if p == 7 else 0)
    if factor == 0:
        return _BAD_FACTOR
    masks = bytes_at(addresses[0], table[0, SIZE])
    if n == 0:
        return _BAD_OCTREE if len(masks) else _BAD_SUM if table[7, SIZE] else _NONE
    if len(masks) == 0 or not walk_octree(masks, codes, nodes):
        return _BAD_OCTREE
    _join_colors(codes, bytes_at(addresses[4], n), bytes_at(addresses[5], n), bytes_at(addresses[6], n), seen, colors)
    fault = _join_sums(addresses, n, table[7, SIZE], factor, colors, rows)
    if fault != _NONE:
        return fault
    return _join_origins(addresses, table[12, SIZE] // 4, rows, priority, evidence)


@njit(cache=True, nogil=True)
def _join_colors(codes, green_left, red_left, blue_left, seen, colors):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mean red, green and blue from what their neighbours let expect; ``seen`` is all zeros before and after."""
    before = np.uint64(1 << 30)
    for i in range(len(codes)):
        code = np.uint64(codes[i])
        red, green, blue = expected_color(code, seen, before)
        rest = green_left[i]
        red, green, blue = (
            np.uint8(red + red_left[i] + rest),
            np.uint8(green + rest),
            np.uint8(blue + blue_left[i] + rest),
        )
        colors[0, i], colors[1, i], colors[2, i] = red, green, blue
        before = packed_color(red, green, blue)
        seen[code] = before
    for i in range(len(codes)):
        seen[codes[i]] = 0


@njit(cache=True, nogil=True)
def _join_sums(addresses, n, stream_bytes, factor, colors, rows):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Weighted sums from means, weights and remainders; the keyframe of each row is left out."""
    x, y, z = bytes_at(addresses[1], n), bytes_at(addresses[2], n), bytes_at(addresses[3], n)
    w0, w1 = bytes_at(addresses[8], n), bytes_at(addresses[9], n)
    w2, w3 = bytes_at(addresses[10], n), bytes_at(addresses[11], n)
    red, green, blue = colors[0], colors[1], colors[2]
    most = np.uint64(MAX_WEIGHT) // factor
    place, end, is_wrong = np.uint64(0), np.uint64(8 * stream_bytes), False
    rests = np.empty(6, np.uint64)
    for i in range(n):
        weight = np.uint64(w0[i]) | np.uint64(w1[i]) << np.uint64(8)
        weight |= np.uint64(w2[i]) << np.uint64(16) | np.uint64(w3[i]) << np.uint64(24)
        is_exact = weight & np.uint64(1)
        weight >>= np.uint64(1)
        if weight == 0 or weight > most:
            return _BAD_SUM if weight == 0 or weight > np.uint64(MAX_WEIGHT) else _BAD_FACTOR
        scaled = np.uint32(weight * factor)
        rows[i, 0], rows[i, 1], rows[i, 2] = x[i] * scaled, y[i] * scaled, z[i] * scaled
        rows[i, 3] = scaled
        rows[i, 4], rows[i, 5], rows[i, 6] = red[i] * scaled, green[i] * scaled, blue[i] * scaled
        if is_exact:
            continue
        if weight <= np.uint64(MAX_RADIX):
            bits = RADIX_BITS[weight]
            if place + bits > end:
                return _BAD_SUM
            number, reciprocal = _bits(addresses[7], place, bits), RECIPROCALS[weight]
            place += bits
            number, rests[5] = divided(number, weight, reciprocal)
            number, rests[4] = divided(number, weight, reciprocal)
            number, rests[3] = divided(number, weight, reciprocal)
            number, rests[2] = divided(number, weight, reciprocal)
            rests[0], rests[1] = divided(number, weight, reciprocal)
        else:
            bits = num_bits(weight)
            if place + np.uint64(6) * bits > end:
                return _BAD_SUM
            for c in range(6):
                rests[c] = _bits(addresses[7], place, bits)
                is_wrong |= rests[c] >= weight
                place += bits
        is_wrong |= rests[0] >= weight
        is_wrong |= (x[i] == 255) & (rests[0] > 0) | (y[i] == 255) & (rests[1] > 0) | (z[i] == 255) & (rests[2] > 0)
        is_wrong |= (red[i] == 255) & (rests[3] > 0) | (green[i] == 255) & (rests[4] > 0)
        is_wrong |= (blue[i] == 255) & (rests[5] > 0)
        rows[i, 0] += np.uint32(rests[0] * factor)
        rows[i, 1] += np.uint32(rests[1] * factor)
        rows[i, 2] += np.uint32(rests[2] * factor)
        rows[i, 4] += np.uint32(rests[3] * factor)
        rows[i, 5] += np.uint32(rests[4] * factor)
        rows[i, 6] += np.uint32(rests[5] * factor)
    if is_wrong or (place + np.uint64(7)) >> np.uint64(3) != np.uint64(stream_bytes):
        return _BAD_SUM
    spare_bits = end - place
    return _NONE if spare_bits == 0 or _bits(addresses[7], place, spare_bits) == 0 else _BAD_SUM


@njit(cache=True, nogil=True)
def _bits(address, place, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    """At most 64 bits of a stream, the lowest first; up to 16 bytes from their first are read."""
    at = address + np.int64(place >> np.uint64(3))
    skipped = place & np.uint64(7)
    if count == 0:
        return np.uint64(0)
    word = load_word(at) >> skipped | (load_word(at + 8) << np.uint64(1)) << (np.uint64(63) - skipped)
    return word & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - count))


@njit(cache=True, nogil=True)
def _join_origins(addresses, num_keyframes, rows, priority, evidence):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Keyframes, priorities and evidence."""
    n = len(rows)
    bytes_of_palette = bytes_at(addresses[12], 4 * num_keyframes)
    palette, last = np.empty(num_keyframes, np.uint32), np.zeros(max(256, num_keyframes), np.uint8)
    for k in range(num_keyframes):
        palette[k] = _number(bytes_of_palette, 4 * k, 4)
        if k and palette[k] <= palette[k - 1]:
            return _BAD_PALETTE
    index_bytes = 1 if num_keyframes <= 1 << 8 else 2 if num_keyframes <= 1 << 16 else 3
    index = bytes_at(addresses[13], index_bytes * n)
    coded, confirmed, opposed = bytes_at(addresses[14], n), bytes_at(addresses[15], n), bytes_at(addresses[16], n)
    order = np.arange(256).astype(np.uint8)
    lowest = np.uint8(255)
    i = 0
    while i < n:
        entry = np.int64(index[i])
        if index_bytes == 1:
            place, entry = entry, np.int64(order[entry])
            while place > 0:
                order[place] = order[place - 1]
                place -= 1
            order[0] = entry
        else:
            for b in range(1, index_bytes):
                entry |= np.int64(index[b * n + i]) << (8 * b)
        if entry >= num_keyframes:
            return _BAD_KEYFRAME
        keyframe, value = palette[entry], last[entry]
        while True:  # as long as the keyframe stays the same
            value = np.uint8(value + coded[i])
            lowest = min(lowest, value)
            rows[i, 7], priority[i], evidence[i, 0], evidence[i, 1] = keyframe, value, confirmed[i], opposed[i]
            i += 1
            if i == n or index_bytes > 1 or index[i] != 0:
                break
        last[entry] = value
    return _NONE if lowest >= 64 else _BAD_PRIORITY
