"""Read a ``.spatia`` file without the package: SQLite, zstd, msgpack and NumPy, by ``docs/save_format.md`` alone.

    python examples/read_world.py WORLD.spatia [OUT.ply]

You will see the world's name, branch and snapshots, and how many points and keyframes it holds. OUT.ply gets points.
"""

import sqlite3
import struct
import sys
import zlib

import msgpack
import numpy as np
import zstandard


def unpack_planes(data: bytes, position: int):
    """The planes of a chunk, one after another."""
    while position < len(data):
        method, size, stored = struct.unpack_from("<BII", data, position)
        body = data[position + 9 : position + 9 + stored]
        position += 9 + stored
        plain = zstandard.ZstdDecompressor().decompress(body, size) if method == 1 else body * [1, 1, size][method]
        yield np.frombuffer(plain, np.uint8)


def unseal(data: bytes):
    """A sealed value; arrays in it are read, too."""
    magic, method, zero, version, checksum, _ = struct.unpack_from("<4sBBHIQ", data)
    assert (magic, zero, version, zlib.crc32(data[:8] + bytes(4) + data[12:])) == (b"SPVL", 0, 1, checksum)
    body = zstandard.ZstdDecompressor().decompress(data[20:]) if method else data[20:]
    return msgpack.unpackb(body, ext_hook=read_extension, strict_map_key=False)


def read_extension(code: int, data: bytes):
    """An array (1) or a large integer (2)."""
    if code == 2:
        return int.from_bytes(data, "little", signed=True)
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    dtype, shape = unpacker.unpack()
    return np.frombuffer(data[unpacker.tell() :], dtype).reshape(shape)


def read_codes(octree: np.ndarray) -> np.ndarray:
    """Morton codes of the occupied voxels."""
    nodes = np.zeros(1, np.int64)
    for _ in range(6):
        masks, octree = np.split(octree, [len(nodes)])
        parent, child = np.nonzero(np.unpackbits(masks[:, None], axis=1, bitorder="little"))
        nodes = nodes[parent] * 8 + child
    return nodes


def read_colors(codes: list[int], planes: list[np.ndarray]) -> np.ndarray:
    """(N, 3) mean red, green, blue: what is stored, and the mean of the neighbours before along x, y and z."""
    known, before = {}, (0, 0, 0)
    for code, g, rg, bg in zip(codes, *(plane.tolist() for plane in planes), strict=True):
        steps = (code & ~mask | (code & mask) - (mask & -mask) & mask for mask in (0x9249, 0x12492, 0x24924))
        near = [known[step] for step in steps if step in known] or [before]
        red, green, blue = (sum(channel) // len(near) for channel in zip(*near, strict=True))
        known[code] = before = ((red + rg + g) & 255, (green + g) & 255, (blue + bg + g) & 255)
    return np.array(list(known.values()), np.uint8)


def read_points(data: bytes, voxel_size_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) positions in metres, to 1/256 of a voxel, and (N, 3) colours, both rounded down."""
    version, _, x, y, z, _, _, checksum = struct.unpack_from("<HHiiiIII", data, 4)
    assert (data[:4], version, zlib.crc32(data[:28] + bytes(4) + data[32:])) == (b"SPCK", 2, checksum)
    planes = list(unpack_planes(data, 32))
    codes = read_codes(planes[0])
    bits = codes[:, None] >> np.arange(18) & 1
    voxel = np.stack([(bits[:, axis::3] << np.arange(6)).sum(axis=1) for axis in range(3)], axis=1)
    steps = (np.array([x, y, z]) * 64 + voxel) * 256 + np.stack(planes[1:4], axis=1)
    return (steps + 0.5) * voxel_size_m / 256, read_colors(codes.tolist(), planes[4:7])


def main() -> None:
    """Print what is in a world."""
    db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    facts = dict(db.execute("SELECT name, data FROM facts"))
    manifest = unseal(facts["manifest"])
    branches = unseal(facts["branches"]) if "branches" in facts else {"current": "main", "tips": {}}
    rows = db.execute("SELECT data FROM chunks JOIN objects USING (digest) ORDER BY x, y, z")
    parts = [read_points(data, manifest["voxel_size_m"]) for (data,) in rows]
    positions, colors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    print(f"{manifest['name']}: {len(positions)} points in {len(parts)} chunks")
    print(f"{db.execute('SELECT count(*) FROM keyframes').fetchone()[0]} keyframes, on branch {branches['current']}")
    for name, data in db.execute("SELECT name, data FROM snapshots ORDER BY id"):
        print(f"snapshot {name or '-'}: {int(unseal(data)['points'].sum())} points")
    if len(sys.argv) > 2:
        fields = [f"property float {n}" for n in "xyz"] + [f"property uchar {n}" for n in ("red", "green", "blue")]
        head = "\n".join(["ply\nformat ascii 1.0", f"element vertex {len(positions)}", *fields, "end_header"])
        np.savetxt(sys.argv[2], np.hstack([positions, colors]), "%.5f %.5f %.5f %d %d %d", header=head, comments="")


if __name__ == "__main__":
    main()
