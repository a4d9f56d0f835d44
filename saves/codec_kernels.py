"""What reading and writing chunks share: the octree, expected colours, and the sizes of remainders.

``docs/save_format.md`` says what each plane means.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false

import numpy as np
from numba import njit

from ..world.raw_memory import high_product, popcount, trailing_zeros

NUM_PLANES = 17
MAX_WEIGHT = 0xFFFFFFFF // 255
"""The largest sum of weights whose weighted sums fit 32 bits."""
MAX_RADIX = 1625
"""Largest weight whose sixth power fits 64 bits: then the six remainders are the digits of one number."""
RADIX_BITS = np.array([max(0, (w**6 - 1).bit_length()) if w else 0 for w in range(MAX_RADIX + 1)], np.uint64)
"""Bits of that number by weight."""
RECIPROCALS = np.array([0, (1 << 64) - 1] + [(1 << 64) // w for w in range(2, MAX_RADIX + 1)], np.uint64)
"""2^64 / weight, rounded down: the upper half of its product with a number is the quotient, or 1 less."""

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
            children, base = np.uint64(masks[position]), nodes[i] << np.uint32(3)
            position += 1
            if found + np.int64(popcount(children)) > len(codes):
                return False
            while children:
                below[found] = base | np.uint32(trailing_zeros(children))
                found += 1
                children &= children - np.uint64(1)
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
        found, last, children = np.int64(0), np.uint32(0xFFFFFFFF), np.uint32(0)
        for i in range(count):  # without branches: where a node ends is hard to guess
            parent = nodes[i] >> np.uint32(3)
            is_new = np.int64(parent != last)
            found += is_new
            children = (children & np.uint32(is_new - 1)) | np.uint32(1) << (nodes[i] & np.uint32(7))
            masks[start + found - 1], nodes[found - 1], last = children, parent, parent
        for i in range(found - 1, -1, -1):
            masks[end - found + i] = masks[start + i]
        end -= found
        count = found
    return end


# Colours against the mean of their neighbours


@njit(cache=True, nogil=True)
def packed_color(red, green, blue):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Three bytes and the number 1 in fields of 10 bits, so that three of them can be added."""
    return np.uint64(red) | np.uint64(green) << np.uint64(10) | np.uint64(blue) << np.uint64(20) | np.uint64(1 << 30)


@njit(cache=True, nogil=True)
def expected_color(code, seen, before):  # type: ignore[no-untyped-def]  # pragma: no cover
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
def code_colors(codes, colors, seen):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Red, green, blue as green, red - green, blue - green, each less what the neighbours let expect, in place.

    Args:
        codes: (N,) uint32, rising, below 2**18.
        colors: (3, N) uint8.
        seen: (2**18,) uint32, zeros before and after.
    """
    before = np.uint64(1 << 30)
    for i in range(len(codes)):
        code = np.uint64(codes[i])
        red, green, blue = colors[0, i], colors[1, i], colors[2, i]
        near_red, near_green, near_blue = expected_color(code, seen, before)
        rest = np.uint8(green - near_green)
        colors[0, i] = rest
        colors[1, i] = np.uint8(red - near_red - rest)
        colors[2, i] = np.uint8(blue - near_blue - rest)
        before = packed_color(red, green, blue)
        seen[code] = before
    for i in range(len(codes)):
        seen[codes[i]] = 0


@njit(cache=True, nogil=True)
def num_bits(weight):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bits that a remainder below ``weight`` needs."""
    bits = np.uint64(0)
    rest = weight - np.uint64(1)
    while rest:
        bits += np.uint64(1)
        rest >>= np.uint64(1)
    return bits


@njit(cache=True, nogil=True)
def divided(number, divisor, reciprocal):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Quotient and remainder of a number, where the ``RECIPROCALS`` of the divisor is known."""
    quotient = high_product(number, reciprocal)
    rest = number - quotient * divisor
    is_less = np.uint64(rest >= divisor)
    return quotient + is_less, rest - is_less * divisor
