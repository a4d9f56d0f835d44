"""Numba kernels of the spatial memory: plain loops over arrays, one thread, without the interpreter's lock.

A point on its way into memory is a record of two 64-bit words::

    word 0   bits 0-17 Morton code in its chunk, 18-49 keyframe
    word 1   bytes: offset in the voxel x, y, z, weight, red, green, blue, priority

so that one vector operation adds it to its voxel's row of eight 32-bit sums. Sums never wrap: a voxel's weight is
bounded (``chunks.MAX_VOXEL_WEIGHT``) and checked before it is kept.

Existing chunks are handed over as addresses of their arrays, because Numba takes no list of arrays without copying; the
caller keeps the arrays alive during the call.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from .chunks import ROW_BYTES, VOXEL_BYTES

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

LOW_6, LOW_8 = np.uint64(63), np.uint64(255)
LOW_21 = np.uint64((1 << 21) - 1)
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)

CODE_BITS, LOW_32 = np.uint64(0x3FFFF), np.uint64(0xFFFFFFFF)
ZERO, ONE = np.uint64(0), np.uint64(1)
SHIFT_6, SHIFT_8, SHIFT_18, SHIFT_32, SHIFT_50, SHIFT_56 = (np.uint64(shift) for shift in (6, 8, 18, 32, 50, 56))
_BITMAP_WORDS = 4096


@intrinsic
def _popcount(typing_context, word):
    """Number of set bits of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def _trailing_zeros(typing_context, word):
    """Index of the lowest set bit of a uint64 that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _pointer_u8(typing_context, address):
    """An address as a pointer to bytes."""
    signature = types.CPointer(types.uint8)(types.int64)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, generate


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
        weight = builder.extract_element(values, ir.Constant(word, 3))
        factor = builder.insert_element(splat(builder, weight), ir.Constant(word, 1), ir.Constant(word, 3))
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
def _bytes_at(address, count):
    return carray(_pointer_u8(address), (count,))


@njit(inline="always")
def _spread(v):
    """The 6 low bits of a uint64 on every third bit."""
    v = (v | (v << np.uint64(8))) & np.uint64(0x300F)
    v = (v | (v << np.uint64(4))) & np.uint64(0x30C3)
    return (v | (v << np.uint64(2))) & np.uint64(0x9249)


@njit(inline="always")
def _compact(v):
    """Every third bit of a uint64, from bit 0, as 6 low bits."""
    v = v & np.uint64(0x9249)
    v = (v | (v >> np.uint64(2))) & np.uint64(0x30C3)
    v = (v | (v >> np.uint64(4))) & np.uint64(0x300F)
    return (v | (v >> np.uint64(8))) & np.uint64(0x3F)


@njit(inline="always")
def _voxel_position(code, rows, j, origins, c, voxel_size_m):
    """Mean position of a voxel in metres, world frame; rows is (N, 8) uint32."""
    code = np.uint64(code)
    weight = np.float64(rows[j, 3])
    lx = np.float64(_compact(code)) + (np.float64(rows[j, 0]) / weight + 0.5) / 256.0
    ly = np.float64(_compact(code >> np.uint64(1))) + (np.float64(rows[j, 1]) / weight + 0.5) / 256.0
    lz = np.float64(_compact(code >> np.uint64(2))) + (np.float64(rows[j, 2]) / weight + 0.5) / 256.0
    return (
        origins[c, 0] + lx * voxel_size_m,
        origins[c, 1] + ly * voxel_size_m,
        origins[c, 2] + lz * voxel_size_m,
    )


@njit(cache=True, nogil=True)
def assign_chunks(positions, weights, priority, voxel_size_m, table, keys, counts, chunk_index, first_word):
    """Give every point its chunk's number and what its position says of its record.

    Works on blocks that stay in cache, in plain loops that compile to vector code, but for the look-up.

    Args:
        positions: (3 N,) float32 metres, world frame, x, y, z in turn.
        weights: (N,) uint8, 1 or more.
        priority: (N,) uint8, 64 or more.
        voxel_size_m: Side of a voxel.
        table: (T,) int32 hash table, T a power of two, all ``EMPTY``; receives chunk numbers.
        keys: (M,) uint64, receives the chunk keys, 21 bits an axis, by number in order of appearance; M < T / 2.
        counts: (M,) int64 zeros, receives points per chunk.
        chunk_index: (N,) uint32, receives each point's chunk number.
        first_word: (N,) uint64, receives code, offset, weight and priority of each point, behind one another from
            bit 0 on in 18, 24, 8 and 8 bits.

    Returns:
        The number of chunks, or a negative code: ``TABLE_IS_FULL``, ``IS_NOT_FINITE``, ``IS_TOO_FAR``,
        ``HAS_NO_WEIGHT``, ``HAS_NO_PRIORITY``.
    """
    num_chunks = np.int64(0)
    mask = np.uint64(len(table) - 1)
    low, high = np.float64(-(1 << 34)), np.float64(1 << 34)
    steps = np.empty(3 * BLOCK, np.int64)
    chunk_key = np.empty(BLOCK, np.uint64)
    last_key, last = np.uint64(0xFFFFFFFFFFFFFFFF), np.int64(0)
    for start in range(0, len(weights), BLOCK):
        n = min(BLOCK, len(weights) - start)
        some = positions[3 * start : 3 * start + 3 * n]
        num_bad = np.int64(0)
        for k in range(3 * n):
            q = np.floor(np.float64(some[k]) / voxel_size_m * 256.0)
            num_bad += np.int64(not (q >= low and q < high))
            steps[k] = np.int64(q)
        if num_bad > 0:
            for k in range(3 * n):
                if not np.isfinite(some[k]):
                    return IS_NOT_FINITE
            return IS_TOO_FAR
        w, p, words = weights[start : start + n], priority[start : start + n], first_word[start : start + n]
        lowest_weight, lowest_priority = np.uint8(255), np.uint8(255)
        for i in range(n):
            lowest_weight, lowest_priority = min(lowest_weight, w[i]), min(lowest_priority, p[i])
        if lowest_weight == 0:
            return HAS_NO_WEIGHT
        if lowest_priority < 64:
            return HAS_NO_PRIORITY
        for i in range(n):
            x, y, z = np.uint64(steps[3 * i]), np.uint64(steps[3 * i + 1]), np.uint64(steps[3 * i + 2])
            words[i] = (
                _spread((x >> SHIFT_8) & LOW_6)
                | (_spread((y >> SHIFT_8) & LOW_6) << np.uint64(1))
                | (_spread((z >> SHIFT_8) & LOW_6) << np.uint64(2))
                | ((x & LOW_8) << np.uint64(18))
                | ((y & LOW_8) << np.uint64(26))
                | ((z & LOW_8) << np.uint64(34))
                | (np.uint64(w[i]) << np.uint64(42))
                | (np.uint64(p[i]) << np.uint64(50))
            )
            chunk_key[i] = (
                ((x >> np.uint64(14)) & LOW_21)
                | (((y >> np.uint64(14)) & LOW_21) << np.uint64(21))
                | (((z >> np.uint64(14)) & LOW_21) << np.uint64(42))
            )
        index = chunk_index[start : start + n]
        run = np.int64(0)
        for i in range(n):
            key = chunk_key[i]
            if key != last_key:
                counts[last] += run
                run = np.int64(0)
                slot = (key * HASH_FACTOR) >> np.uint64(33) & mask
                last = np.int64(table[slot])
                while last != EMPTY and keys[last] != key:
                    slot = (slot + np.uint64(1)) & mask
                    last = np.int64(table[slot])
                if last == EMPTY:
                    if num_chunks == len(keys):
                        return TABLE_IS_FULL
                    last = num_chunks
                    table[slot] = last
                    keys[last] = key
                    num_chunks += 1
                last_key = key
            run += 1
            index[i] = last
        counts[last] += run
    return num_chunks


@njit(cache=True, nogil=True)
def scatter_records(chunk_index, first_word, colors, keyframe, cursors, records):
    """Put the points' records together by chunk.

    Args:
        chunk_index: (N,) uint32.
        first_word: (N,) uint64.
        colors: (N, 3) uint8.
        keyframe: (N,) uint32.
        cursors: (M,) int64, where each chunk's records begin; advanced to their end.
        records: (N, 2) uint64, receives the records.
    """
    for i in range(len(chunk_index)):
        c = np.int64(chunk_index[i])
        at = cursors[c]
        cursors[c] = at + 1
        word = first_word[i]
        rgb = (
            np.uint64(colors[i, 0]) | (np.uint64(colors[i, 1]) << SHIFT_8) | (np.uint64(colors[i, 2]) << np.uint64(16))
        )
        records[at, 0] = (word & CODE_BITS) | (np.uint64(keyframe[i]) << SHIFT_18)
        records[at, 1] = ((word >> SHIFT_18) & LOW_32) | (rgb << SHIFT_32) | ((word >> SHIFT_50) << SHIFT_56)


@njit(cache=True, nogil=True)
def merge_records(bounds, records, old_counts, old_addresses, max_weight, report, status):
    """Merge the records of each chunk with what it held.

    Per voxel only points of the highest priority count; every sum is an integer, so their order does not matter.

    Args:
        bounds: (M + 1,) int64, the records of chunk c are ``records[bounds[c]:bounds[c + 1]]``.
        records: (N, 2) uint64.
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
    bitmap = np.zeros(_BITMAP_WORDS, np.uint64)
    before = np.zeros(_BITMAP_WORDS, np.uint32)
    for c in range(len(bounds) - 1):
        first, end, num_old = bounds[c], bounds[c + 1], old_counts[c]
        old_codes = _bytes_at(old_addresses[c, 0], num_old * 4).view(np.uint32)
        for j in range(num_old):
            code = np.uint64(old_codes[j])
            bitmap[code >> SHIFT_6] |= ONE << (code & LOW_6)
        for i in range(first, end):
            code = records[i, 0] & CODE_BITS
            bitmap[code >> SHIFT_6] |= ONE << (code & LOW_6)
        total = np.uint64(0)
        for k in range(_BITMAP_WORDS):
            before[k] = np.uint32(total)
            total += _popcount(bitmap[k])
        n = np.int64(total)
        buffer = np.zeros(n * VOXEL_BYTES, np.uint8)  # touching it in order is faster than at random in the loop below
        rows = buffer[: n * ROW_BYTES].view(np.uint64).reshape(n, 4)
        codes = buffer[n * 32 : n * 36].view(np.uint32)
        top = buffer[n * 36 : n * 37]
        evidence = buffer[n * 37 :].reshape(n, 2)
        at = 0
        for k in range(_BITMAP_WORDS):
            word = bitmap[k]
            while word != 0:
                codes[at] = np.uint32((np.uint64(k) << SHIFT_6) | _trailing_zeros(word))
                at += 1
                word &= word - ONE
        old_rows = _bytes_at(old_addresses[c, 1], num_old * 32).view(np.uint64).reshape(num_old, 4)
        old_top = _bytes_at(old_addresses[c, 2], num_old)
        old_evidence = _bytes_at(old_addresses[c, 3], num_old * 2).reshape(num_old, 2)
        heaviest = np.uint64(0)
        for j in range(num_old):
            code = np.uint64(old_codes[j])
            word_at = code >> SHIFT_6
            r = np.uint64(before[word_at]) + _popcount(bitmap[word_at] & ((ONE << (code & LOW_6)) - ONE))
            rows[r, 0], rows[r, 1], rows[r, 2], rows[r, 3] = (
                old_rows[j, 0],
                old_rows[j, 1],
                old_rows[j, 2],
                old_rows[j, 3],
            )
            top[r] = old_top[j]
            evidence[r, 0], evidence[r, 1] = old_evidence[j, 0], old_evidence[j, 1]
            heaviest = max(heaviest, old_rows[j, 1] >> SHIFT_32)
        some = records[first:end]
        address = np.uint64(buffer.ctypes.data)
        any_used = np.uint64(0)
        lowest, highest = np.uint64(255), np.uint64(0)
        for i in range(end - first):
            a, b = some[i, 0], some[i, 1]
            code = a & CODE_BITS
            word_at = code >> SHIFT_6
            r = np.uint64(before[word_at]) + _popcount(bitmap[word_at] & ((ONE << (code & LOW_6)) - ONE))
            p = b >> SHIFT_56
            had = np.uint64(top[r])
            keep = ZERO - np.uint64(p <= had)
            use = ZERO - np.uint64(p >= had)
            _add_point(address + r * np.uint64(ROW_BYTES), b, np.uint32(a >> SHIFT_18), np.uint32(keep), np.uint32(use))
            top[r] = np.uint8(max(p, had))
            any_used |= use
            lowest, highest = min(lowest, p), max(highest, p)
        if any_used == 0:
            status[c] = UNCHANGED
        if num_old > 0 or lowest != highest:
            left_out = np.int64(0)
            for i in range(end - first):
                code = some[i, 0] & CODE_BITS
                word_at = code >> SHIFT_6
                r = np.uint64(before[word_at]) + _popcount(bitmap[word_at] & ((ONE << (code & LOW_6)) - ONE))
                left_out += np.int64((some[i, 1] >> SHIFT_56) < np.uint64(top[r]))
            report[OUTRANKED] += left_out
        may_overflow = heaviest + np.uint64(end - first) * np.uint64(255) > np.uint64(max_weight)
        report[ADDED] += n - num_old
        for j in range(num_old):
            code = np.uint64(old_codes[j])
            word_at = code >> SHIFT_6
            r = np.uint64(before[word_at]) + _popcount(bitmap[word_at] & ((ONE << (code & LOW_6)) - ONE))
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
        for k in range(_BITMAP_WORDS):
            bitmap[k] = 0
        buffers.append(buffer)
    return buffers


@njit(cache=True, nogil=True)
def copy_points(counts, addresses, corners, voxel_size_m, positions, colors, weights, priority, keyframe):
    """Copy the means of chunks' voxels out, chunk by chunk.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        corners: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        positions: (N, 3) float32, receives metres, world frame; N is the sum of counts, also below.
        colors: (N, 3) uint8, receives sRGB.
        weights: (N,) uint8, receives weights, at most 255.
        priority: (N,) uint8, receives class and rank.
        keyframe: (N,) uint32, receives identities.
    """
    at = np.int64(0)
    step = voxel_size_m / 256.0
    for c in range(len(counts)):
        n = counts[c]
        codes = _bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = _bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        top = _bytes_at(addresses[c, 2], n)
        for j in range(n):
            code = np.uint64(codes[j])
            weight = np.float64(rows[j, 3])
            for axis in range(3):
                mean = np.floor((2.0 * rows[j, axis] + weight) / (2.0 * weight))
                place = np.float64(_compact(code >> np.uint64(axis))) * 256.0 + mean
                positions[at, axis] = corners[c, axis] + (place + 0.5) * step
                colors[at, axis] = np.uint8(np.floor((2.0 * rows[j, 4 + axis] + weight) / (2.0 * weight)))
            weights[at] = min(rows[j, 3], np.uint32(255))
            priority[at] = top[j]
            keyframe[at] = rows[j, 7]
            at += 1


@njit(cache=True, nogil=True)
def carve_chunks(
    counts,
    addresses,
    origins,
    voxel_size_m,
    bounds,
    view_index,
    cameras,
    view_priority,
    shapes,
    depth,
    rule,
    evidence_out,
    remove_out,
    report,
):
    """Count for every voxel which views confirm it and which see through it, and decide what goes.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        origins: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        bounds: (M + 1,) int64, the views of chunk c are ``view_index[bounds[c]:bounds[c + 1]]``.
        view_index: (P,) int64.
        cameras: (V, 16) float64: camera_R_world row by row, translation, fx, fy, cx, cy.
        view_priority: (V,) uint8.
        shapes: (V, 3) int64: where the view's pixels begin, height, width.
        depth: (D,) float32 all views' depth, 0 unknown.
        rule: (4,) float64: margin in metres, margin as a share of depth, least times seen through, ratio to confirmed.
        evidence_out: (sum of counts, 2) uint8, receives evidence, chunk by chunk.
        remove_out: (sum of counts,) bool, receives what goes.
        report: (M, 2) int64 zeros, receives voxels whose evidence changed and voxels that go.
    """
    start = np.int64(0)
    position = np.empty((np.max(counts), 3), np.float64)
    for c in range(len(counts)):
        n = counts[c]
        codes = _bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = _bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        priority = _bytes_at(addresses[c, 2], n)
        old = _bytes_at(addresses[c, 3], n * 2).reshape(n, 2)
        evidence, goes = evidence_out[start : start + n], remove_out[start : start + n]
        start += n
        for j in range(n):
            x, y, z = _voxel_position(codes[j], rows, j, origins, c, voxel_size_m)
            position[j, 0], position[j, 1], position[j, 2] = x, y, z
            evidence[j, 0], evidence[j, 1], goes[j] = old[j, 0], old[j, 1], False
        for k in range(bounds[c], bounds[c + 1]):
            v = view_index[k]
            m = cameras[v]
            first, height, width, rank = shapes[v, 0], shapes[v, 1], shapes[v, 2], view_priority[v]
            for j in range(n):
                if rank < priority[j]:
                    continue
                x, y, z = position[j, 0], position[j, 1], position[j, 2]
                depth_z = m[6] * x + m[7] * y + m[8] * z + m[11]
                if depth_z <= 1e-6:
                    continue
                scale = 1.0 / depth_z
                u = m[12] * (m[0] * x + m[1] * y + m[2] * z + m[9]) * scale + m[14]
                w = m[13] * (m[3] * x + m[4] * y + m[5] * z + m[10]) * scale + m[15]
                if not (u >= 0.0 and w >= 0.0 and u < width and w < height):
                    continue
                row, column = np.int64(w), np.int64(u)
                d = np.float64(depth[first + row * width + column])
                if d <= 0.0:
                    continue
                if depth_z < d - max(rule[0], rule[1] * d):
                    front = d
                    for r in range(max(0, row - 1), min(height, row + 2)):
                        for q in range(max(0, column - 1), min(width, column + 2)):
                            beside = np.float64(depth[first + r * width + q])
                            if beside > 0.0:
                                front = min(front, beside)
                    if depth_z < front - max(rule[0], rule[1] * front):
                        if evidence[j, 1] < 255:
                            evidence[j, 1] += 1
                        goes[j] |= (rank >> 6) > (priority[j] >> 6)
                elif depth_z <= d + max(rule[0], rule[1] * d) and evidence[j, 0] < 255:
                    evidence[j, 0] += 1
        for j in range(n):
            changed = evidence[j, 0] != old[j, 0] or evidence[j, 1] != old[j, 1]
            goes[j] |= changed and evidence[j, 1] >= rule[2] and evidence[j, 1] > rule[3] * evidence[j, 0]
            report[c, 0] += np.int64(changed)
            report[c, 1] += np.int64(goes[j])


@njit(cache=True, nogil=True)
def splat_depth(
    counts, addresses, origins, voxel_size_m, camera, width, height, tolerance, min_priority, depth_out, priority_out
):
    """Draw voxels as squares of their footprint; depth is the mean of what lies near the front.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        origins: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        camera: (16,) float64, as a row of ``carve_chunks``' cameras.
        width: Of the image, pixels.
        height: Of the image, pixels.
        tolerance: (2,) float64: metres, and share of the front's depth, that still count as the front.
        min_priority: Voxels below are not drawn.
        depth_out: (H, W) float32 zeros, receives metres along +Z; 0 where nothing is.
        priority_out: (H, W) uint8 zeros, receives the highest priority of what counts.
    """
    total = np.int64(0)
    for c in range(len(counts)):
        total += counts[c]
    spans = np.empty((total, 4), np.int16)
    depths = np.empty(total, np.float32)
    ranks = np.empty(total, np.uint8)
    front = np.full((height, width), np.float32(np.inf), np.float32)
    drawn = np.int64(0)
    for c in range(len(counts)):
        n = counts[c]
        codes = _bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = _bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        priority = _bytes_at(addresses[c, 2], n)
        for j in range(n):
            if priority[j] < min_priority:
                continue
            x, y, z = _voxel_position(codes[j], rows, j, origins, c, voxel_size_m)
            depth_z = camera[6] * x + camera[7] * y + camera[8] * z + camera[11]
            if depth_z <= 0.01:
                continue
            u = camera[12] * (camera[0] * x + camera[1] * y + camera[2] * z + camera[9]) / depth_z + camera[14]
            v = camera[13] * (camera[3] * x + camera[4] * y + camera[5] * z + camera[10]) / depth_z + camera[15]
            half_u = min(camera[12] * voxel_size_m / depth_z * 0.5, 12.0)
            half_v = min(camera[13] * voxel_size_m / depth_z * 0.5, 12.0)
            if not (u + half_u >= 0.0 and v + half_v >= 0.0 and u - half_u < width and v - half_v < height):
                continue
            u0, u1 = max(0, np.int64(np.floor(u - half_u))), min(width - 1, np.int64(np.floor(u + half_u)))
            v0, v1 = max(0, np.int64(np.floor(v - half_v))), min(height - 1, np.int64(np.floor(v + half_v)))
            spans[drawn, 0], spans[drawn, 1], spans[drawn, 2], spans[drawn, 3] = u0, u1, v0, v1
            depths[drawn] = depth_z
            ranks[drawn] = priority[j]
            drawn += 1
            for row in range(v0, v1 + 1):
                for column in range(u0, u1 + 1):
                    front[row, column] = min(front[row, column], np.float32(depth_z))
    hits = np.zeros((height, width), np.float32)
    for i in range(drawn):
        for row in range(spans[i, 2], spans[i, 3] + 1):
            for column in range(spans[i, 0], spans[i, 1] + 1):
                near = front[row, column]
                if depths[i] <= near + max(tolerance[0], tolerance[1] * near):
                    hits[row, column] += np.float32(1.0)
                    depth_out[row, column] += depths[i] - near
                    priority_out[row, column] = max(priority_out[row, column], ranks[i])
    for row in range(height):
        for column in range(width):
            if hits[row, column] > 0:
                depth_out[row, column] = front[row, column] + depth_out[row, column] / hits[row, column]


@njit(cache=True, nogil=True)
def see_points(points, cameras, width, height, visible):
    """Mark the points that are nearest in their pixel, by the rule of the authors' release.

    A pixel is the truncated projection (toward zero, so (-1, 0) counts as 0); a point is visible if its depth is at
    most 1e-6 behind the pixel's smallest. All in float32.

    Args:
        points: (N, 3) float32, world frame.
        cameras: (V, 16) float32, as a row of ``carve_chunks``' cameras.
        width: Of the image, pixels.
        height: Of the image, pixels.
        visible: (V, N) bool, False; receives the marks.
    """
    pixels = np.empty(len(points), np.int64)
    depths = np.empty(len(points), np.float32)
    front = np.empty(height * width, np.float32)
    for v in range(len(cameras)):
        m = cameras[v]
        front[:] = np.float32(np.inf)
        for i in range(len(points)):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            depth_z = m[6] * x + m[7] * y + m[8] * z + m[11]
            pixels[i] = -1
            depths[i] = depth_z
            if depth_z > np.float32(0.0):
                u = m[12] * ((m[0] * x + m[1] * y + m[2] * z + m[9]) / depth_z) + m[14]
                w = m[13] * ((m[3] * x + m[4] * y + m[5] * z + m[10]) / depth_z) + m[15]
                if u > -1.0 and w > -1.0 and u < width and w < height:
                    pixels[i] = np.int64(w) * width + np.int64(u)
                    front[pixels[i]] = min(front[pixels[i]], depth_z)
        for i in range(len(points)):
            if pixels[i] >= 0:
                visible[v, i] = depths[i] <= front[pixels[i]] + np.float32(1e-6)
