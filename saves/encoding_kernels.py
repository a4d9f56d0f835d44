"""The compiled half of writing chunks: many of them in one call, without the interpreter's lock.

``docs/save_format.md`` says what each plane means.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import numpy as np
from numba import njit

from ..world.raw_memory import bytes_at, store_word
from .codec_kernels import (
    MAX_RADIX,
    MAX_WEIGHT,
    NUM_PLANES,
    RADIX_BITS,
    RECIPROCALS,
    code_colors,
    divided,
    fold_octree,
    num_bits,
)

PLAIN, REPEATED = 0, 1
BAD_CODES, BAD_SUMS = 1, 2

METHOD, SIZE, PLACE = range(3)
"""Columns of a table of planes."""

SCRATCH_BYTES_PER_VOXEL, SCRATCH_BYTES = 50, 32
"""What the planes of a chunk may take before they are compressed."""
_STREAM_BYTES_PER_VOXEL = 24


@njit(cache=True, nogil=True)
def split_chunks(counts, addresses, scratch, table, factors, faults):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Make planes of chunks.

    Args:
        counts: (C,) int64, voxels of each.
        addresses: (C, 4) int64, where codes, rows, priorities and evidence lie.
        scratch: (S,) uint8, ``SCRATCH_BYTES`` and ``SCRATCH_BYTES_PER_VOXEL`` for all, written.
        table: (C, 17, 3) int64, receives whether a plane repeats one byte, its size, and its place in ``scratch``.
        factors: (C,) uint32, receives common factors.
        faults: (C,) uint8 zeros, receives ``BAD_CODES`` or ``BAD_SUMS``.
    """
    most = np.int64(1)
    for c in range(len(counts)):
        most = max(most, counts[c])
    nodes, places, entries = np.empty(most, np.uint32), np.empty(most, np.uint32), np.empty(most, np.uint32)
    slots = np.int64(16)
    while slots < 2 * most:
        slots *= 2
    lookup = np.empty(slots, np.int32)
    seen = np.zeros(1 << 18, np.uint32)
    start = np.int64(0)
    for c in range(len(counts)):
        n = counts[c]
        codes = bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = bytes_at(addresses[c, 1], n * 32).view(np.uint32).reshape(n, 8)
        priority, evidence = bytes_at(addresses[c, 2], n), bytes_at(addresses[c, 3], n * 2).reshape(n, 2)
        planes = scratch[start : start + SCRATCH_BYTES_PER_VOXEL * n + SCRATCH_BYTES]
        _lay_out(n, start, table[c])
        factors[c] = _common_factor(rows)
        faults[c] = (
            BAD_CODES if not _rises(codes) else _split_sums(rows, np.uint64(factors[c]), start, planes, table[c])
        )
        if faults[c] != 0:
            continue
        if n:
            octree = planes[table[c, 0, PLACE] - start :][: 6 * n]
            root = fold_octree(codes, octree, nodes[:n])
            table[c, 0, SIZE], table[c, 0, PLACE] = 6 * n - root, table[c, 0, PLACE] + root
            first = table[c, 4, PLACE] - start
            code_colors(codes, planes[first : first + 3 * n].reshape(3, n), seen)
        _split_origins(rows, priority, evidence, start, planes, table[c], lookup, places, entries)
        for p in range(NUM_PLANES):
            if _repeats(planes[table[c, p, PLACE] - start :][: table[c, p, SIZE]]):
                table[c, p, METHOD] = REPEATED
        start += SCRATCH_BYTES_PER_VOXEL * n + SCRATCH_BYTES


@njit(cache=True, nogil=True)
def _lay_out(n, start, table):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Where planes go, those of which little is used last."""
    at = start
    for p in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 14, 15, 16, 13, 12, 0, 7):
        table[p, METHOD], table[p, PLACE] = PLAIN, at
        table[p, SIZE] = 0 if p in (0, 7, 12, 13) else n
        at += 6 * n if p == 0 else 4 * n if p == 12 else 3 * n if p == 13 else n


@njit(cache=True, nogil=True)
def _rises(codes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether codes rise strictly and are below 2**18."""
    num_wrong = np.int64(0)
    for i in range(1, len(codes)):
        num_wrong += np.int64(codes[i] <= codes[i - 1])
    return num_wrong == 0 and (len(codes) == 0 or codes[-1] < 1 << 18)


@njit(cache=True, nogil=True)
def _common_factor(rows):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What divides all weights and weighted sums; points of one confidence have it in common."""
    factor = np.uint32(0)
    for i in range(len(rows)):
        rest = rows[i, 3]
        while rest:
            factor, rest = rest, factor % rest
        if factor == 1:
            return factor
    if factor == 0:
        return np.uint32(1)
    for i in range(len(rows)):
        for column in (0, 1, 2, 4, 5, 6):
            if rows[i, column] % factor:
                return np.uint32(1)
    return factor


@njit(cache=True, nogil=True)
def _split_sums(rows, factor, start, planes, table):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Means, weights with what says that nothing remains, and the stream of what remains; ``BAD_SUMS`` or 0."""
    n = len(rows)
    x, y, z = planes[:n], planes[n : 2 * n], planes[2 * n : 3 * n]
    red, green, blue = planes[3 * n : 4 * n], planes[4 * n : 5 * n], planes[5 * n : 6 * n]
    w0, w1, w2, w3 = planes[6 * n : 7 * n], planes[7 * n : 8 * n], planes[8 * n : 9 * n], planes[9 * n : 10 * n]
    stream = planes.ctypes.data + table[7, PLACE] - start
    fill, waiting, num_bytes = np.uint64(0), np.uint64(0), np.int64(0)
    sums, means, rests = np.empty(6, np.uint64), np.empty(6, np.uint64), np.empty(6, np.uint64)
    for i in range(n):
        weight = np.uint64(rows[i, 3])
        sums[0], sums[1], sums[2] = rows[i, 0], rows[i, 1], rows[i, 2]
        sums[3], sums[4], sums[5] = rows[i, 4], rows[i, 5], rows[i, 6]
        most = max(max(max(sums[0], sums[1]), max(sums[2], sums[3])), max(sums[4], sums[5]))
        if weight == 0 or weight > np.uint64(MAX_WEIGHT) or most > weight * np.uint64(255):
            return BAD_SUMS
        if factor > np.uint64(1):
            weight //= factor
            for c in range(6):
                sums[c] //= factor
        any_rest = np.uint64(0)
        if weight == np.uint64(1):
            means[:] = sums
        elif weight <= np.uint64(MAX_RADIX):
            reciprocal = RECIPROCALS[weight]
            for c in range(6):
                means[c], rests[c] = divided(sums[c], weight, reciprocal)
                any_rest |= rests[c]
        else:
            for c in range(6):
                means[c] = sums[c] // weight
                rests[c] = sums[c] - means[c] * weight
                any_rest |= rests[c]
        x[i], y[i], z[i], red[i], green[i], blue[i] = means[0], means[1], means[2], means[3], means[4], means[5]
        stored = weight << np.uint64(1) | np.uint64(any_rest == 0)
        w0[i], w1[i] = stored & np.uint64(255), stored >> np.uint64(8) & np.uint64(255)
        w2[i], w3[i] = stored >> np.uint64(16) & np.uint64(255), stored >> np.uint64(24)
        if any_rest == 0:
            continue
        is_radix = weight <= np.uint64(MAX_RADIX)
        bits = RADIX_BITS[weight] if is_radix else num_bits(weight)
        if is_radix:
            number = (((rests[0] * weight + rests[1]) * weight + rests[2]) * weight + rests[3]) * weight + rests[4]
            rests[0] = number * weight + rests[5]
        for c in range(1 if is_radix else 6):
            number = rests[c]
            waiting |= number << fill
            store_word(stream + num_bytes, waiting)
            end = fill + bits
            if end >= np.uint64(64):
                num_bytes += 8
                waiting = number >> np.uint64(1) >> (np.uint64(63) - fill)
                store_word(stream + num_bytes, waiting)
            fill = end & np.uint64(63)
    table[7, SIZE] = num_bytes + np.int64((fill + np.uint64(7)) >> np.uint64(3))
    return 0


@njit(cache=True, nogil=True)
def _split_origins(rows, priority, evidence, start, planes, table, lookup, places, entries):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Keyframes as places in their sorted list, priorities against what their keyframe had before, and evidence."""
    n = len(rows)
    slots = np.int64(16)
    while slots < 2 * n:
        slots *= 2
    found = lookup[:slots]
    found[:] = -1
    mask = np.uint64(slots - 1)
    count, last = np.int64(0), np.int64(-1)
    keys = np.empty(max(n, 1), np.uint32)
    for i in range(n):
        key = rows[i, 7]
        if last < 0 or keys[last] != key:
            slot = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33) & mask
            while found[slot] >= 0 and keys[found[slot]] != key:
                slot = (slot + np.uint64(1)) & mask
            if found[slot] < 0:
                found[slot] = count
                keys[count] = key
                count += 1
            last = np.int64(found[slot])
        places[i] = last
    palette = planes[table[12, PLACE] - start :][: 4 * count]
    _rank(keys[:count], entries[:count], palette)
    table[12, SIZE] = 4 * count
    index_bytes = 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 3
    table[13, SIZE] = index_bytes * n
    index = planes[table[13, PLACE] - start :][: index_bytes * n]
    coded = planes[table[14, PLACE] - start :][:n]
    confirmed, opposed = planes[table[15, PLACE] - start :][:n], planes[table[16, PLACE] - start :][:n]
    before = np.zeros(max(count, 1), np.uint8)
    order = np.arange(256).astype(np.uint8)
    for i in range(n):
        entry = entries[places[i]]
        coded[i] = np.uint8(priority[i] - before[entry])
        before[entry] = priority[i]
        confirmed[i], opposed[i] = evidence[i, 0], evidence[i, 1]
        if index_bytes == 1:
            place, moved, value = 0, order[0], np.uint8(entry)
            if moved != value:
                order[0] = value
                while moved != value:
                    place += 1
                    order[place], moved = moved, order[place]
            index[i] = place
        else:
            for b in range(index_bytes):
                index[b * n + i] = entry >> np.uint32(8 * b) & np.uint32(255)


@njit(cache=True, nogil=True)
def _rank(keys, ranks, palette):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The place of each key in rising order, and the keys in that order as bytes."""
    n = len(keys)
    order = np.arange(n)
    gap = n // 2
    while gap > 0:  # Shell's sort: mostly a few dozen keys
        for i in range(gap, n):
            moved = order[i]
            at = i
            while at >= gap and keys[order[at - gap]] > keys[moved]:
                order[at] = order[at - gap]
                at -= gap
            order[at] = moved
        gap = 1 if gap == 2 else gap * 5 // 11
    for place in range(n):
        key = keys[order[place]]
        ranks[order[place]] = place
        for b in range(4):
            palette[4 * place + b] = key >> np.uint32(8 * b) & np.uint32(255)


@njit(cache=True, nogil=True)
def _repeats(plane):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a plane of two bytes or more holds one value."""
    if len(plane) < 2 or plane[0] != plane[len(plane) // 2] or plane[0] != plane[-1]:
        return False
    first, differing = plane[0], np.uint8(0)
    for i in range(len(plane)):
        differing |= plane[i] ^ first
    return differing == 0
