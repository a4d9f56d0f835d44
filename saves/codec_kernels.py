"""The chunk codec's compiled loops: sums as mean and remainder, colours against neighbours, places moved to front.

What they read may come from anybody: they check ranges and lengths themselves, and none takes longer than the announced
number of voxels allows. ``docs/save_format.md`` says what each plane means.
"""

import numpy as np
from numba import njit

NUM_SUMS = 6
MAX_RADIX = 1625
"""Largest weight whose sixth power fits 64 bits: then the six remainders are the digits of one number."""
_RADIX_BITS = np.array([max(0, (w**6 - 1).bit_length()) if w else 0 for w in range(MAX_RADIX + 1)], np.uint64)
"""Bits of that number by weight."""

FAULTS = (
    "",
    "a weight or a weighted sum is out of range",
    "the common factor is out of range",
    "a keyframe beyond the palette",
)
"""What ``join_rows`` may find."""


_SHARES = np.array([0, 1 << 16, 1 << 15, 21846], np.uint64)
"""2^16 / n, rounded up: of a sum of n bytes, at most 3, the product's high bits are the mean rounded down."""


# Occupied voxels as an octree


@njit(cache=True, nogil=True)
def walk_octree(masks, codes, spare):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write the codes of an octree's leaves; False if a mask is 0 or the leaves or masks are not as many as given."""
    nodes, below = codes, spare
    nodes[0] = 0
    count, position = 1, 0
    for _ in range(6):
        found = 0
        for i in range(count):
            if position >= len(masks) or masks[position] == 0:
                return False
            mask, base = masks[position], nodes[i] << np.uint32(3)
            position += 1
            for child in range(8):
                if mask >> child & 1:
                    if found >= len(codes):
                        return False
                    below[found] = base | np.uint32(child)
                    found += 1
        nodes, below = below, nodes
        count = found
    return position == len(masks) and count == len(codes)  # after an even number of levels they stand in ``codes``


@njit(cache=True, nogil=True)
def fold_octree(codes, masks, nodes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The reverse of ``walk_octree``: write children masks from the end of ``masks`` back, the root's first of all.

    Args:
        codes: (N,) uint32, N > 0, rising, below 2**18.
        masks: (6 N,) uint8.
        nodes: (N,) uint32; spoilt.

    Returns:
        Where in ``masks`` the root stands.
    """
    count, end = len(codes), len(masks)
    nodes[:] = codes
    for _ in range(6):
        start = end - count  # more than this level can need
        found = 0
        for i in range(count):
            parent = nodes[i] >> np.uint32(3)
            bit = np.uint8(1 << (nodes[i] & np.uint32(7)))
            if found and nodes[found - 1] == parent:
                masks[start + found - 1] |= bit
            else:
                masks[start + found] = bit
                nodes[found] = parent
                found += 1
        for i in range(found - 1, -1, -1):
            masks[end - found + i] = masks[start + i]
        end -= found
        count = found
    return end


# Colours against the mean of their neighbours


@njit(cache=True, nogil=True)
def _packed(red, green, blue):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Three bytes and the number 1 in fields of 10 bits, so that three of them can be added."""
    return np.uint64(red) | np.uint64(green) << np.uint64(10) | np.uint64(blue) << np.uint64(20) | np.uint64(1 << 30)


@njit(cache=True, nogil=True)
def _expected(code, seen, before):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mean red, green and blue of the voxels one step back along each axis, rounded down, or of the one before.

    ``seen`` holds the packed colours of smaller codes by code. A step back out of the chunk ends at a larger code.
    """
    total = np.uint64(0)
    for axis in range(3):
        mask = np.uint64(0x9249 << axis)
        place = ((code & mask) - np.uint64(1 << axis)) & mask
        total += np.uint64(seen[place | (code & ~mask)])
    if total == np.uint64(0):
        total = before
    share, field = _SHARES[total >> np.uint64(30)], np.uint64(1023)  # without branches: the number is hard to guess
    red = (total & field) * share >> np.uint64(16)
    green = (total >> np.uint64(10) & field) * share >> np.uint64(16)
    blue = (total >> np.uint64(20) & field) * share >> np.uint64(16)
    return np.uint8(red), np.uint8(green), np.uint8(blue)


@njit(cache=True, nogil=True)
def code_colors(codes, colors, seen, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(3, N) red, green, blue as (3, N) green, red - green, blue - green, less what the neighbours let expect.

    Args:
        codes: (N,) uint32, rising, below 2**18.
        colors: (3, N) uint8.
        seen: (2**18,) uint32 zeros; spoilt.
        out: (3, N) uint8.
    """
    before = np.uint64(1 << 30)
    for i in range(len(codes)):
        code = np.uint64(codes[i])
        red, green, blue = colors[0, i], colors[1, i], colors[2, i]
        near_red, near_green, near_blue = _expected(code, seen, before)
        rest = np.uint8(green - near_green)
        out[0, i] = rest
        out[1, i] = np.uint8(red - near_red - rest)
        out[2, i] = np.uint8(blue - near_blue - rest)
        before = _packed(red, green, blue)
        seen[code] = before


# Keyframes and priorities


@njit(cache=True, nogil=True)
def move_to_front(index):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(N,) uint8 values as their places in a list of all bytes, in which each goes to the front after it was named."""
    out = np.empty_like(index)
    order = np.arange(256).astype(np.uint8)
    for i in range(len(index)):
        place = 0
        while order[place] != index[i]:
            place += 1
        out[i] = place
        for p in range(place, 0, -1):
            order[p] = order[p - 1]
        order[0] = index[i]
    return out


@njit(cache=True, nogil=True)
def move_from_front(places):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The reverse of ``move_to_front``."""
    out = np.empty_like(places)
    order = np.arange(256).astype(np.uint8)
    for i in range(len(places)):
        place = np.int64(places[i])
        value = order[place]
        for p in range(place, 0, -1):
            order[p] = order[p - 1]
        order[0] = value
        out[i] = value
    return out


@njit(cache=True, nogil=True)
def code_priorities(priority, index, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(N,) uint8 priorities as differences to the last of the same keyframe.

    Args:
        priority: (N,) uint8.
        index: (N,) each voxel's keyframe as a place in ``last``.
        last: (K,) uint8 zeros; spoilt.
    """
    out = np.empty_like(priority)
    for i in range(len(priority)):
        out[i] = np.uint8(priority[i] - last[index[i]])
        last[index[i]] = priority[i]
    return out


# Sums as mean and remainder


@njit(cache=True, nogil=True)
def _num_bits(weight):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bits that a remainder below ``weight`` needs."""
    bits = 0
    rest = weight - np.uint64(1)
    while rest:
        bits += 1
        rest >>= np.uint64(1)
    return bits


@njit(cache=True, nogil=True)
def split_sums(rows, means, weights, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sums of (N, 8) rows as means, weights that say whether nothing remains, and a stream of what does.

    Args:
        rows: (N, 8) uint32.
        means: (6, N) uint8, written.
        weights: (N,) uint32, written: twice the weight, and 1 more if all six remainders are 0.
        out: 24 bytes a voxel and 8 more, written: remainder bits of the others, lowest bit first.

    Returns:
        Bytes of the stream, or -1 if a weight or a sum is out of range.
    """
    fill = np.uint64(0)  # bits waiting in the accumulator, below 8 between values
    waiting = np.uint64(0)
    num_bytes = 0
    low = np.uint64(0xFFFFFFFF)
    rests = np.empty(6, np.uint64)
    for i in range(len(rows)):
        weight = np.uint64(rows[i, 3])
        if weight == 0 or weight > 16843009:
            return -1
        any_rest = np.uint64(0)
        for c in range(6):
            total = np.uint64(rows[i, c if c < 3 else c + 1])
            if total > weight * np.uint64(255):
                return -1
            mean = total // weight
            means[c, i] = mean
            rests[c] = total - mean * weight
            any_rest |= rests[c]
        if any_rest == 0:
            weights[i] = weight << np.uint64(1) | np.uint64(1)
            continue
        weights[i] = weight << np.uint64(1)
        is_radix = weight <= np.uint64(1625)
        bits = _RADIX_BITS[weight] if is_radix else np.uint64(_num_bits(weight))
        number = np.uint64(0)
        for c in range(6):
            number = number * weight + rests[c] if is_radix else rests[c]
            if is_radix and c < 5:
                continue
            left = bits
            while left > np.uint64(0):
                some = min(left, np.uint64(32))
                waiting |= (number & low) << fill
                number >>= some
                fill += some
                left -= some
                while fill >= np.uint64(8):
                    out[num_bytes] = waiting & np.uint64(255)
                    num_bytes += 1
                    waiting >>= np.uint64(8)
                    fill -= np.uint64(8)
    if fill:
        out[num_bytes] = waiting & np.uint64(255)
        num_bytes += 1
    return num_bytes


@njit(cache=True, nogil=True)
def join_rows(  # type: ignore[no-untyped-def]  # pragma: no cover
    x, y, z, g, rg, bg, w0, w1, w2, w3, priority, stream, palette, index, factor, codes, seen, last, rows, priorities
):
    """The reverse of ``split_sums``, ``code_colors`` and ``code_priorities``, and the rest of each row.

    ``seen`` and ``last`` are zeros as for the coders; ``rows`` and ``priorities`` are written.

    Returns:
        A number of ``FAULTS``; 0 if all numbers are in range, the stream's length is what the weights need, and the
        spare bits of its last byte are 0.
    """
    n = len(rows)
    fill, waiting, position = np.uint64(0), np.uint64(0), 0
    before = np.uint64(1 << 30)
    means = np.empty(6, np.uint64)
    index_bytes = len(index) // max(n, 1)
    if factor == 0:
        return 2
    for i in range(n):
        code = np.uint64(codes[i])
        red, green, blue = _expected(code, seen, before)
        red, green, blue = np.uint8(red + rg[i] + g[i]), np.uint8(green + g[i]), np.uint8(blue + bg[i] + g[i])
        before = _packed(red, green, blue)
        seen[code] = before
        weight = np.uint64(w0[i]) | np.uint64(w1[i]) << np.uint64(8)
        weight |= np.uint64(w2[i]) << np.uint64(16) | np.uint64(w3[i]) << np.uint64(24)
        is_exact = weight & np.uint64(1)
        weight >>= np.uint64(1)
        if weight == 0 or weight > 16843009:
            return 1
        if weight * factor > 16843009:
            return 2
        scaled = weight * factor
        rows[i, 0], rows[i, 1], rows[i, 2] = x[i] * scaled, y[i] * scaled, z[i] * scaled
        rows[i, 3] = scaled
        rows[i, 4], rows[i, 5], rows[i, 6] = red * scaled, green * scaled, blue * scaled
        entry = np.int64(index[i])
        for b in range(1, index_bytes):
            entry |= np.int64(index[b * n + i]) << (8 * b)
        if entry >= len(palette):
            return 3
        rows[i, 7] = palette[entry]
        last[entry] = np.uint8(last[entry] + priority[i])
        priorities[i] = last[entry]
        if is_exact:
            continue
        means[0], means[1], means[2], means[3], means[4], means[5] = x[i], y[i], z[i], red, green, blue
        is_radix = weight <= np.uint64(1625)
        bits = _RADIX_BITS[weight] if is_radix else np.uint64(_num_bits(weight))
        number = np.uint64(0)
        for step in range(6):
            c = 5 - step if is_radix else step
            if step == 0 or not is_radix:
                number, got = np.uint64(0), np.uint64(0)
                while got < bits:
                    some = min(bits - got, np.uint64(32))
                    while fill < some:
                        if position >= len(stream):
                            return 1
                        waiting |= np.uint64(stream[position]) << fill
                        position += 1
                        fill += np.uint64(8)
                    number |= (waiting & ((np.uint64(1) << some) - np.uint64(1))) << got
                    waiting >>= some
                    fill -= some
                    got += some
            remainder = number
            if is_radix and c > 0:
                number = remainder // weight
                remainder -= number * weight
            if remainder >= weight or (means[c] == np.uint64(255) and remainder > np.uint64(0)):
                return 1
            rows[i, c if c < 3 else c + 1] = (means[c] * weight + remainder) * factor
    return 0 if position == len(stream) and waiting == 0 else 1
