"""Rows and columns of the arrays that the compiled loops share.

Inside the place x points east, y north and z up, in metres, with the floor at z = 0; ``place.py`` turns OpenCV's axes
into these. A cell's primitives are relative to its south-west corner, so an endless place loses no precision.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]

# Columns of a primitive's numbers.
PX, PY, PZ, HX, HY, HZ, CO, SI = range(8)
"""Centre, half extents of the bounding box before turning, cosine and sine of the turn round z."""
TR, TG, TB, U0, V0, SU, SV, EM = range(8, 16)
"""Tint, texture offset and scale, emitted light."""
AX, AY, AZ, RA, GL, SP = range(16, 22)
"""A capsule's half axis and radius; gloss; the spin of a rolling ball."""
NUM_FLOATS = 24

# Columns of a primitive's integers.
TYPE, MAT, TOP, CLS, MOV, UV, FLAGS, SLOT = range(8)
NUM_INTS = 8

BOX, TURNED_BOX, CYLINDER, ELLIPSOID, LEAVES, CAPSULE = range(6)
UV_LOCAL, UV_UPRIGHT, UV_STRETCHED, UV_PLACE, UV_BOOKS = range(5)
NO_SHADOW, SMALL = 1, 2

ROOM, CORRIDOR, PASSAGE, YARD = range(4)
SOUTH, EAST, NORTH, WEST = range(4)

MAX_PRIMS = 400
MAX_OPENINGS = 10
MAX_LAMPS = 8
MAX_SLOTS = 560
MAX_COARSE = 160
"""Boxes of a cell that light is bounced off."""
NUM_COARSE = 10
"""Rows of a coarse box: centre, half extents, linear colour, emission."""

# Light kept for a cell.
NX, NY, NZ = 11, 11, 6
"""Samples of the ambient cube's grid along x, y, z."""
SUN_TEXEL_M = 0.025
SUN_W, SUN_D = 308, 400
"""Texels of a cell's sun map along x and y, with one beyond each border and, inside, what its height shifts it by."""
SUN_UNITS = 8000.0
"""Heights in the sun map are kept in eighths of a millimetre."""
LAMP_TEXELS = 128
LAMP_SPAN = 1.25
"""A lamp's map reaches this far from its middle; 1 is the horizon."""
LAMP_UNITS = 4000.0
LAMP_REACH_M = 6.5
"""Light of a yard's lamp ends here, within the next cell."""
FLOOR_TEXEL_M = 0.05
FLOOR_W, FLOOR_D = 116, 200
CEILING_M = 2.7
ROOF_M = 3.3
TOP_M = 4.6
"""Nothing is higher."""


class Cells(NamedTuple):
    """Cells by slot. Only ``origin`` depends on the camera; it is relative to it.

    Attributes:
        kind: (S,) what each is.
        size: (S, 2) along x and y, metres.
        origin: (S, 3) south-west corner relative to the camera.
        phase: (S, 2) south-west corner modulo 1024 m, for textures that run on.
        cube: (S, 6) where the ambient cubes lie: x0, x1, y0, y1, z0, z1.
        neighbours: (S, 4) slots to the south, east, north and west, -1 outside the window.
        openings: (S, MAX_OPENINGS, 6) side, low, high, sill, top, 1 if there is no wall at all.
        num_openings: (S,).
        floats, ints, num_prims: Primitives, relative to the corner.
        coarse, num_coarse: (S, NUM_COARSE, MAX_COARSE) larger primitives as boxes, for bounced light.
        lamps: (S, MAX_LAMPS, 6) position relative to the corner, power, slot of its shadow map or -1, reach.
        num_lamps: (S,) of them lit.
        is_sunny: (S,) 1 if the sun can shine in.
        ambient: (S, NX·NY·NZ, 18) red, green, blue from +x, -x, +y, -y, +z, -z.
        sun: (S, SUN_D, SUN_W) height of what the sun sees, by where its ray meets the ground.
        lamp_map: (S, LAMP_TEXELS, LAMP_TEXELS) distance that the cell's first lamp sees.
        floor: (S, FLOOR_D, FLOOR_W) openness of the floor to light, 255 free.
        solid: (S, FLOOR_D, FLOOR_W) 1 where something stands in the way of a walker.
    """

    kind: I64
    size: F32
    origin: F32
    phase: F32
    cube: F32
    neighbours: I64
    openings: F32
    num_openings: I64
    floats: F32
    ints: I32
    num_prims: I64
    coarse: F32
    num_coarse: I64
    lamps: F32
    num_lamps: I64
    is_sunny: I64
    ambient: F32
    sun: U16
    lamp_map: U16
    floor: U8
    solid: U8


class Light(NamedTuple):
    """A time of day; see ``light.day`` and ``light.evening``. Colours are linear.

    Attributes:
        sun: (3,) unit vector to the sun.
        sun_color: (3,) 0 without a sun.
        sky_top, sky_low, cloud: (3,) colours of the sky.
        indoor: (3,) what comes from rooms that are not traced.
        ground: (3,) what comes from the ground outside.
        lamp_color: (3,).
        levels: (4,) gain of light through windows, of lamps, exposure, haze a metre.
    """

    sun: F32
    sun_color: F32
    sky_top: F32
    sky_low: F32
    cloud: F32
    indoor: F32
    ground: F32
    lamp_color: F32
    levels: F32


class Textures(NamedTuple):
    """Packed texels 0x00BBGGRR of all materials, coarser and coarser, square roots of linear light.

    Attributes:
        texels: All levels of the first material, then of the second, …
        offsets: (LEVELS,) where each level starts within a material.
        inverse_size: (M,) tiles a metre.
        mean: (M, 3) mean linear colour.
        leaves: (256, 256) 1 where foliage has a leaf.
    """

    texels: U32
    offsets: I64
    inverse_size: F32
    mean: F32
    leaves: U8


class Movers(NamedTuple):
    """What moves, now.

    Attributes:
        floats, ints: Primitives relative to the corner of the cell whose slot they name.
        num: How many.
        shadow_floats, shadow_ints: Simpler ones for shadows, sorted by slot.
        first, count: (S,) those of each cell.
        bounds: (S, 4) a sphere around a cell's movers: centre relative to its corner, radius.
        blobs: (B, 4) slot, x, y, radius: where they darken the ground.
        num_blobs: How many.
    """

    floats: F32
    ints: I32
    num: int
    shadow_floats: F32
    shadow_ints: I32
    first: I64
    count: I64
    bounds: F32
    blobs: F32
    num_blobs: int


class Eye(NamedTuple):
    """A camera: rows of ``axes`` are right, down, forward in the place's axes."""

    axes: F32
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


class Seen(NamedTuple):
    """Primitives in view, relative to the camera, with their pixel rectangles (x0, x1, y0, y1)."""

    floats: F32
    ints: I32
    rects: I64
    first_mover: int
    num: int
