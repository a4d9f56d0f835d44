"""Numba kernels of merging: plain loops over arrays, one thread, without the interpreter's lock.

A point on its way into memory is a record of two 64-bit words::

    word 0   bits 0-17 Morton code in its chunk, 18-49 keyframe
    word 1   bytes: offset in the voxel x, y, z, weight, red, green, blue, priority

so that one vector operation adds it to its voxel's row of eight 32-bit sums. Sums never wrap: a voxel's weight is
bounded (``chunks.MAX_VOXEL_WEIGHT``) and checked before it is kept.

Records of one chunk lie on pages of a pool, each with the number of the next: a point is read once, and written where
its chunk's last point went, so that any order of points costs about the same.

Existing chunks are handed over as addresses of their arrays; the caller keeps the arrays alive during the call.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .chunks import ROW_BYTES, VOXEL_BYTES
from .raw_memory import bytes_at, popcount, prefetch_to_write, trailing_zeros

EMPTY = -1
TABLE_IS_FULL = -1
IS_NOT_FINITE = -2
IS_TOO_FAR = -3
HAS_NO_WEIGHT = -4
HAS_NO_PRIORITY = -5

UNCHANGED = 1
OVERFLOWED = 2

ADDED, REFRESHED, REPLACED, OUTRANKED, SATURATED = range(5)

BLOCK = 512
"""Points that are worked on together."""

PAGE = 512
"""Records on a page, 8 KiB: memory is read ahead within one."""

LOW_6, LOW_8 = np.uint64(63), np.uint64(255)
LOW_21 = np.uint64((1 << 21) - 1)
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)

CODE_BITS = np.uint64(0x3FFFF)
ZERO, ONE = np.uint64(0), np.uint64(1)
SHIFT_6, SHIFT_8, SHIFT_18, SHIFT_32, SHIFT_56 = (np.uint64(shift) for shift in (6, 8, 18, 32, 56))
_BITMAP_WORDS = 4096
_IN_PAGE = np.uint64(PAGE - 1)
_AHEAD = np.uint64(8)
"""Records between the one that is written and the one whose memory is asked for: two cache lines."""
_UNSURE = 2.0**-17
"""Nearer to a whole number, a product may lie on another side of it than the quotient that defines a place."""


@intrinsic
def _add_point(typing_context, address, point, keyframe, keep, use):
    """Add a point to the row at an address: the seven sums, and the smaller keyframe.

    Args:
        address: uint64 of the row's eight uint32.
        point: uint64, word 1 of the record.
        keyframe: uint32.
        keep: uint32, all ones to keep what the row holds, 0 to forget it.
        use: uint32, all ones to use the point, 0 to leave it out.
    """
    row_type, byte_type, word = ir.VectorType(ir.IntType(32), 8), ir.VectorType(ir.IntType(8), 8), ir.IntType(32)

    def constant(values):
        return ir.Constant(row_type, [ir.Constant(word, value) for value in values])

    def splat(builder, value):
        first = builder.insert_element(constant([0] * 8), value, ir.Constant(word, 0))
        return builder.shuffle_vector(first, constant([0] * 8), constant([0] * 8))

    def generate(context, builder, signature, arguments):
        address, point, keyframe, keep, use = arguments
        place = builder.inttoptr(address, row_type.as_pointer())
        row = builder.load(place, align=4)
        values = builder.zext(builder.bitcast(point, byte_type), row_type)
        factor = builder.shuffle_vector(values, constant([1] * 8), constant([3, 3, 3, 8, 3, 3, 3, 8]))
        values = builder.insert_element(builder.mul(values, factor), keyframe, ir.Constant(word, 7))
        kept, used = splat(builder, keep), splat(builder, use)
        total = builder.add(builder.and_(row, kept), builder.and_(values, used))
        a, b = builder.or_(row, builder.not_(kept)), builder.or_(values, builder.not_(used))
        smaller = builder.select(builder.icmp_unsigned("<", a, b), a, b)
        mixed = builder.shuffle_vector(total, smaller, constant([0, 1, 2, 3, 4, 5, 6, 15]))
        builder.store(mixed, place, align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint32, types.uint32, types.uint32), generate


@njit(inline="always")
def _spread(v):
    """The 6 low bits of a uint64 on every third bit."""
    v = (v | (v << np.uint64(8))) & np.uint64(0x300F)
    v = (v | (v << np.uint64(4))) & np.uint64(0x30C3)
    return (v | (v << np.uint64(2))) & np.uint64(0x9249)


@njit(cache=True, nogil=True)
def partition_points(
    positions,
    colors,
    weights,
    priority,
    keyframe,
    voxel_size_m,
    table,
    keys,
    counts,
    first_page,
    free,
    next_page,
    records,
):
    """Make records of points and put them on the pages of their chunks.

    Works on blocks that stay in cache: plain loops that compile to vector code, then a look-up for each point.

    Args:
        positions: (3 N,) float32 metres, world frame, x, y, z in turn.
        colors: (3 N,) uint8.
        weights: (N,) uint8, 1 or more.
        priority: (N,) uint8, 64 or more.
        keyframe: (N,) uint32.
        voxel_size_m: Side of a voxel.
        table: (T,) int32 hash table, T a power of two, all ``EMPTY``; receives chunk numbers.
        keys: (M,) uint64, receives the chunk keys, 21 bits an axis, by number in order of appearance; M < T / 2.
        counts: (M,) int64 zeros, receives points per chunk.
        first_page: (M,) int64, receives each chunk's first page.
        free: Number of the first page that may be used; N / ``PAGE`` + M may follow.
        next_page: (Q,) int64, receives the page that follows each, by its number.
        records: (Q * ``PAGE``, 2) uint64, receives the records.

    Returns:
        The number of chunks, or a negative code: ``TABLE_IS_FULL``, ``IS_NOT_FINITE``, ``IS_TOO_FAR``,
        ``HAS_NO_WEIGHT``, ``HAS_NO_PRIORITY``.
    """
    num_chunks, num_pages = np.int64(0), np.int64(free)
    mask = np.uint64(len(table) - 1)
    cursors = np.empty(len(keys), np.uint64)
    steps = np.empty(3 * BLOCK, np.int64)
    chunk_key, place, rest = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    pool = np.uint64(records.ctypes.data)
    last_key, last, at = np.uint64(0xFFFFFFFFFFFFFFFF), np.int64(0), ZERO
    for start in range(0, len(weights), BLOCK):
        n = min(BLOCK, len(weights) - start)
        some = positions[3 * start : 3 * start + 3 * n]
        fault = _quantise(some, voxel_size_m, steps)
        if fault:
            return fault
        w, p, rgb = weights[start : start + n], priority[start : start + n], colors[3 * start : 3 * start + 3 * n]
        ids = keyframe[start : start + n]
        lowest_weight, lowest_priority = np.uint8(255), np.uint8(255)
        for i in range(n):
            lowest_weight, lowest_priority = min(lowest_weight, w[i]), min(lowest_priority, p[i])
        if lowest_weight == 0:
            return HAS_NO_WEIGHT
        if lowest_priority < 64:
            return HAS_NO_PRIORITY
        for i in range(n):
            x, y, z = np.uint64(steps[3 * i]), np.uint64(steps[3 * i + 1]), np.uint64(steps[3 * i + 2])
            place[i] = (
                _spread((x >> SHIFT_8) & LOW_6)
                | (_spread((y >> SHIFT_8) & LOW_6) << np.uint64(1))
                | (_spread((z >> SHIFT_8) & LOW_6) << np.uint64(2))
                | (np.uint64(ids[i]) << SHIFT_18)
            )
            rest[i] = (
                (x & LOW_8)
                | ((y & LOW_8) << SHIFT_8)
                | ((z & LOW_8) << np.uint64(16))
                | (np.uint64(w[i]) << np.uint64(24))
                | (np.uint64(rgb[3 * i]) << SHIFT_32)
                | (np.uint64(rgb[3 * i + 1]) << np.uint64(40))
                | (np.uint64(rgb[3 * i + 2]) << np.uint64(48))
                | (np.uint64(p[i]) << SHIFT_56)
            )
            chunk_key[i] = (
                ((x >> np.uint64(14)) & LOW_21)
                | (((y >> np.uint64(14)) & LOW_21) << np.uint64(21))
                | (((z >> np.uint64(14)) & LOW_21) << np.uint64(42))
            )
        for i in range(n):
            key = chunk_key[i]
            if key != last_key:
                cursors[last] = at
                slot = (key * HASH_FACTOR) >> np.uint64(33) & mask
                last = np.int64(table[slot])
                while last != EMPTY and keys[last] != key:
                    slot = (slot + ONE) & mask
                    last = np.int64(table[slot])
                if last == EMPTY:
                    if num_chunks == len(keys):
                        return TABLE_IS_FULL
                    last = num_chunks
                    table[slot], keys[last] = last, key
                    first_page[last], cursors[last] = num_pages, np.uint64(num_pages * PAGE)
                    num_chunks, num_pages = num_chunks + 1, num_pages + 1
                last_key, at = key, cursors[last]
            records[at, 0], records[at, 1] = place[i], rest[i]
            prefetch_to_write(pool + ((at + _AHEAD) << np.uint64(4)))
            at += ONE
            if at & _IN_PAGE == ZERO:
                counts[last] += PAGE
                next_page[np.int64(at) // PAGE - 1] = num_pages
                at = np.uint64(num_pages * PAGE)
                num_pages += 1
    cursors[last] = at
    for c in range(num_chunks):
        counts[c] += np.int64(cursors[c] & _IN_PAGE)
    return num_chunks


@njit(cache=True, nogil=True)
def _quantise(some, voxel_size_m, steps):
    """Places in steps of 1/256 voxel: ``floor(x / voxel_size_m * 256)`` in float64; a negative code, or 0."""
    low, high = np.float64(-(1 << 34)), np.float64(1 << 34)
    scale = 256.0 / voxel_size_m
    num_unsure = np.int64(0)
    for k in range(len(some)):  # a product, since dividing takes several times as long
        t = np.float64(some[k]) * scale
        q = np.floor(t)
        is_sure = (t - q >= _UNSURE) & (t - q <= 1.0 - _UNSURE) & (q >= low) & (q < high)
        num_unsure += np.int64(not is_sure)
        steps[k] = np.int64(q)
    if num_unsure == 0:
        return 0
    num_bad = np.int64(0)
    for k in range(len(some)):
        q = np.floor(np.float64(some[k]) / voxel_size_m * 256.0)
        num_bad += np.int64(not (q >= low and q < high))
        steps[k] = np.int64(q)
    if num_bad > 0:
        for k in range(len(some)):
            if not np.isfinite(some[k]):
                return IS_NOT_FINITE
        return IS_TOO_FAR
    return 0


@njit(cache=True, nogil=True)
def merge_records(counts, first_page, next_page, records, old_counts, old_addresses, max_weight, report, status):
    """Merge the records of each chunk with what it held.

    Per voxel only points of the highest priority count; every sum is an integer, so their order does not matter.

    Args:
        counts: (R, M) int64, records of each chunk in each run of the partition.
        first_page: (R, M) int64, the page where they begin; any number where there is none.
        next_page: (Q,) int64, the page that follows each.
        records: (Q * ``PAGE``, 2) uint64.
        old_counts: (M,) int64 voxels that each chunk held.
        old_addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        max_weight: Largest weight that a voxel may hold.
        report: (5,) int64, counts are added: ``ADDED``, ``REFRESHED``, ``REPLACED``, ``OUTRANKED``, ``SATURATED``.
        status: (M,) uint8, receives ``UNCHANGED`` where nothing came of the points, ``OVERFLOWED`` where an empty
            voxel got more than it can hold.

    Returns:
        A list of M uint8 buffers: rows, codes, priority and evidence behind one another, ``VOXEL_BYTES`` a voxel.
    """
    buffers = []
    bitmap = np.zeros(_BITMAP_WORDS, np.uint64)  # which voxels there are
    in_use = np.zeros(_BITMAP_WORDS // 64, np.uint64)  # which words of it are not 0
    before = np.zeros(_BITMAP_WORDS, np.uint32)  # voxels before each word
    for c in range(counts.shape[1]):
        num_old, num_points = old_counts[c], np.int64(0)
        old_codes = bytes_at(old_addresses[c, 0], num_old * 4).view(np.uint32)
        for j in range(num_old):
            code = np.uint64(old_codes[j])
            bitmap[code >> SHIFT_6] |= ONE << (code & LOW_6)
        for run in range(len(counts)):
            page, left = first_page[run, c], counts[run, c]
            num_points += left
            while left > 0:
                some = records[page * PAGE : page * PAGE + min(left, PAGE)]
                for i in range(len(some)):
                    code = some[i, 0] & CODE_BITS
                    bitmap[code >> SHIFT_6] |= ONE << (code & LOW_6)
                page, left = next_page[page], left - PAGE
        n = _count_voxels(bitmap, in_use, before)
        buffer = np.zeros(n * VOXEL_BYTES, np.uint8)  # touching it in order is faster than at random in the loop below
        rows = buffer[: n * ROW_BYTES].view(np.uint64).reshape(n, 4)
        top = buffer[n * 36 : n * 37]
        evidence = buffer[n * 37 :].reshape(n, 2)
        _list_codes(bitmap, in_use, buffer[n * 32 : n * 36].view(np.uint32))
        old_rows = bytes_at(old_addresses[c, 1], num_old * 32).view(np.uint64).reshape(num_old, 4)
        old_top = bytes_at(old_addresses[c, 2], num_old)
        old_evidence = bytes_at(old_addresses[c, 3], num_old * 2).reshape(num_old, 2)
        heaviest = np.uint64(0)
        for j in range(num_old):
            r = _rank(np.uint64(old_codes[j]), bitmap, before)
            for column in range(4):
                rows[r, column] = old_rows[j, column]
            top[r] = old_top[j]
            evidence[r, 0], evidence[r, 1] = old_evidence[j, 0], old_evidence[j, 1]
            heaviest = max(heaviest, old_rows[j, 1] >> SHIFT_32)
        address = np.uint64(buffer.ctypes.data)
        num_below, any_above = ZERO, ZERO
        for run in range(len(counts)):
            page, left = first_page[run, c], counts[run, c]
            while left > 0:
                some = records[page * PAGE : page * PAGE + min(left, PAGE)]
                for i in range(len(some)):
                    a, b = some[i, 0], some[i, 1]
                    r = _rank(a & CODE_BITS, bitmap, before)
                    p, had = b >> SHIFT_56, np.uint64(top[r])
                    keep, use = ZERO - np.uint64(p <= had), ZERO - np.uint64(p >= had)
                    row = address + r * np.uint64(ROW_BYTES)
                    _add_point(row, b, np.uint32(a >> SHIFT_18), np.uint32(keep), np.uint32(use))
                    top[r] = np.uint8(max(p, had))
                    num_below += np.uint64(p < had)
                    any_above |= had & (ZERO - np.uint64(p > had))
                page, left = next_page[page], left - PAGE
        if num_below == np.uint64(num_points):
            status[c] = UNCHANGED
        if any_above == ZERO:
            report[OUTRANKED] += np.int64(num_below)
        else:  # there may be more: points that came before one of higher priority
            report[OUTRANKED] += _count_outranked(counts, first_page, next_page, records, c, bitmap, before, top)
        may_overflow = heaviest + np.uint64(num_points) * np.uint64(255) > np.uint64(max_weight)
        report[ADDED] += n - num_old
        for j in range(num_old):
            r = _rank(np.uint64(old_codes[j]), bitmap, before)
            if top[r] > old_top[j]:
                report[REPLACED] += 1
                evidence[r, 0], evidence[r, 1] = 0, 0
            elif rows[r, 1] != old_rows[j, 1]:
                if may_overflow and (rows[r, 1] >> SHIFT_32) > np.uint64(max_weight):
                    for column in range(4):
                        rows[r, column] = old_rows[j, column]
                    report[SATURATED] += 1
                else:
                    report[REFRESHED] += 1
        if may_overflow:
            for r in range(n):
                if (rows[r, 1] >> SHIFT_32) > np.uint64(max_weight):
                    status[c] = OVERFLOWED
        for group in range(len(in_use)):
            words = in_use[group]
            while words:
                bitmap[np.uint64(64 * group) + trailing_zeros(words)] = ZERO
                words &= words - ONE
        buffers.append(buffer)
    return buffers


@njit(cache=True, nogil=True)
def _count_voxels(bitmap, in_use, before):
    """Number of voxels; writes how many come before each word, and which words are in use."""
    total = np.uint64(0)
    for group in range(len(in_use)):
        words = ZERO
        for k in range(64):
            word = bitmap[64 * group + k]
            before[64 * group + k] = np.uint32(total)
            words |= np.uint64(word != ZERO) << np.uint64(k)
            total += popcount(word)
        in_use[group] = words
    return np.int64(total)


@njit(cache=True, nogil=True)
def _list_codes(bitmap, in_use, codes):
    """The voxels' codes, rising."""
    at = 0
    for group in range(len(in_use)):
        words = in_use[group]
        while words:
            word = np.uint64(64 * group) + trailing_zeros(words)
            voxels = bitmap[word]
            while voxels:
                codes[at] = np.uint32((word << SHIFT_6) | trailing_zeros(voxels))
                at += 1
                voxels &= voxels - ONE
            words &= words - ONE


@njit(inline="always")
def _rank(code, bitmap, before):
    """How many voxels have a smaller code."""
    word = code >> SHIFT_6
    return np.uint64(before[word]) + popcount(bitmap[word] & ((ONE << (code & LOW_6)) - ONE))


@njit(cache=True, nogil=True)
def _count_outranked(counts, first_page, next_page, records, c, bitmap, before, top):
    """Points of chunk c that fell on a voxel of higher priority."""
    total = np.int64(0)
    for run in range(len(counts)):
        page, left = first_page[run, c], counts[run, c]
        while left > 0:
            some = records[page * PAGE : page * PAGE + min(left, PAGE)]
            for i in range(len(some)):
                r = _rank(some[i, 0] & CODE_BITS, bitmap, before)
                total += np.int64((some[i, 1] >> SHIFT_56) < np.uint64(top[r]))
            page, left = next_page[page], left - PAGE
    return total
