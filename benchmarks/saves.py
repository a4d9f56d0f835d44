"""Saving worlds: the chunk codec beside LAZ and other stores, saving what changed beside saving all, and branches.

    python benchmarks/saves.py [--quick] [--json FILE]

The kitchen recording, merged at 1 cm and tiled; noise on planes where it is absent. Position and colour are compared at
the same precision (1/256 of a voxel, 8 bits): our chunks with nothing but them. "all content" adds weights, remainders,
provenance and evidence, which the others do not have.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from comparison import Result, compare_ms, describe_machine, measure_ms, parse_options, report
from merge import VOXEL_SIZE_M, as_batch, kitchen, moved, synthetic
from spatia.runtime.comparisons import Store, bare, laz, points_of, zstd_arrays
from spatia.saves.codec import BATCH_POINTS, decode_chunks, encode_chunks, num_points_of, warm_up
from spatia.saves.manifest import Manifest
from spatia.saves.parallel import map_batched
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.world.chunks import Chunk, ChunkKey
from spatia.world.memory import SpatialMemory

SIZE_TARGET_BYTES = 10.0
MOST_POINTS = 10_000_000
"""More of the recording adds few voxels; the rest are copies of it."""
CHANGED_SHARE = 0.05
NUM_SNAPSHOTS = 20


def world_chunks(num_voxels: int) -> dict[ChunkKey, Chunk]:
    """Chunks of at least so many voxels: clips merged one after the other, as a walk does.

    Of many voxels, ``MOST_POINTS`` points and copies of what they make: too far apart in a file to help compression.
    """
    memory, num_points = SpatialMemory(VOXEL_SIZE_M), min(num_voxels, MOST_POINTS // 2)
    while memory.num_points < num_voxels and num_points < MOST_POINTS:
        num_points = min(2 * num_points, MOST_POINTS)
        positions, colors = kitchen(num_points) or synthetic(num_points)
        memory = SpatialMemory(VOXEL_SIZE_M)
        for start in range(0, num_points, 2_000_000):
            memory.insert(as_batch(positions[start : start + 2_000_000], colors[start : start + 2_000_000]))
    chunks, first = {}, list(memory.chunks.values())
    for place in range(-(-num_voxels // memory.num_points)):
        chunks |= {copy.key: copy for copy in (moved(chunk, (64 * place, 0, 0)) for chunk in first)}
    return chunks


def ours(chunks: list[Chunk]) -> tuple[Callable[[], list[bytes]], Callable[[list[bytes]], object]]:
    """All cores, as a full save and opening a world do it."""

    def write() -> list[bytes]:
        done = map_batched(encode_chunks, chunks, len(chunks), weigh=lambda c: c.num_points, batch_weight=BATCH_POINTS)
        return list(done)

    def read(data: list[bytes]) -> object:
        return list(map_batched(decode_chunks, data, len(data), weigh=num_points_of, batch_weight=BATCH_POINTS))

    return write, read


def zarr_arrays(q8: np.ndarray, colors: np.ndarray) -> Store:
    """zarr with its default compressor, in memory."""
    import zarr

    stores: list = []

    def write() -> bytes:
        store = zarr.storage.MemoryStore()
        for name, array in (("q8", q8), ("colors", colors)):
            zarr.create_array(store, name=name, data=array)
        stores[:] = [store]
        return b"".join(v.to_bytes() for v in store._store_dict.values())

    return write, lambda _: [zarr.open_array(stores[0], path=name)[:] for name in ("q8", "colors")]


def parquet(q8: np.ndarray, colors: np.ndarray) -> Store:
    """pyarrow's Parquet with zstd."""
    import pyarrow
    import pyarrow.parquet as pq

    columns = {f"p{i}": q8[:, i].copy() for i in range(3)} | {f"c{i}": colors[:, i].copy() for i in range(3)}

    def write() -> bytes:
        sink = pyarrow.BufferOutputStream()
        pq.write_table(pyarrow.table(columns), sink, compression="zstd")
        return sink.getvalue().to_pybytes()

    return write, lambda data: pq.read_table(pyarrow.BufferReader(data))


BASELINES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Store], float | None, float | None]] = {
    "LAZ (laspy + lazrs, all cores)": (partial(laz, voxel_size_m=VOXEL_SIZE_M), 2.5, 5.0),
    "arrays + zstd 3": (zstd_arrays, None, None),
    "zarr": (zarr_arrays, None, None),
    "Parquet + zstd (pyarrow)": (parquet, None, None),
}


def compare_codecs(chunks: list[Chunk], repetitions: int, machine: str) -> list[Result]:
    """Size, writing and reading of position and colour, and the size of all content."""
    n = sum(c.num_points for c in chunks)
    bares = [bare(c) for c in chunks]
    q8, colors = points_of(bares)
    stores: dict[str, Store] = {}
    for name, (make, _, _) in BASELINES.items():
        try:
            stores[name] = make(q8, colors)
        except ImportError:
            print(f"{name}: not installed")
    encode, decode = ours(bares)
    packed, others = encode(), {name: write() for name, (write, _) in stores.items()}
    everything = encode_chunks(chunks)
    all_bytes = sum(map(len, everything)) / n
    results = [
        Result("all content (fixed limit)", "B/voxel", all_bytes, SIZE_TARGET_BYTES, "10 B a voxel",
               SIZE_TARGET_BYTES / all_bytes, 1.0, machine)
    ]  # fmt: skip
    size = sum(map(len, packed)) / n
    for name, data in others.items():
        target = 1.0 if name.startswith("LAZ") else None
        other = len(data) / n
        results.append(Result("position + colour, size", "B/voxel", size, other, name, other / size, target, machine))
    writing = {"ours": encode, **{name: write for name, (write, _) in stores.items()}}
    reading = {"ours": lambda: decode(packed)}
    reading |= {name: (lambda read=read, name=name: read(others[name])) for name, (_, read) in stores.items()}
    for what, runs, place in (("writing", writing, 1), ("reading", reading, 2)):
        times = measure_ms(runs, repetitions)
        targets = {name: t for name, parts in BASELINES.items() if (t := parts[place]) is not None}
        results += compare_ms(f"position + colour, {what}", times, "ours", targets, machine)
    write, read = ours(chunks)
    runs = {
        "write, all cores": write,
        "read, all cores": lambda: read(everything),
        "write, one thread": lambda: [encode_chunks(chunks[i : i + 8]) for i in range(0, len(chunks), 8)],
        "read, one thread": lambda: [decode_chunks(everything[i : i + 8]) for i in range(0, len(chunks), 8)],
    }
    for what, ms in measure_ms(runs, repetitions).items():
        results.append(Result(f"all content, {what}", "million voxels/s", n / ms / 1e3, None, "", None, None, machine))
    return results


def compare_saving(chunks: dict, folder: Path, repetitions: int, machine: str) -> list[Result]:
    """Saving after 5 % of the chunks changed beside saving all; a branch beside the world."""
    manifest = Manifest("bench", VOXEL_SIZE_M)
    state = WorldState(chunks, (), manifest, {"tick": 0})
    changed_keys = sorted(chunks)[: max(1, round(len(chunks) * CHANGED_SHARE))]
    path, counter, sizes = folder / "bench.spatia", iter(range(1, 1 << 30)), {}
    world = WorldFile.create(path, state)

    def full() -> None:
        file = folder / "full.spatia"
        WorldFile.create(file, state, replace=True).close()
        sizes["full"] = file.stat().st_size

    def partial() -> None:
        number = next(counter)
        sizes["partial"] = world.save(replace(state, chunks=_touched(chunks, changed_keys, number))).num_bytes

    times = measure_ms({"a full save": full, "saving 5 % of the chunks": partial}, repetitions)
    world.close()
    ratio = sizes["full"] / sizes["partial"]
    results = compare_ms("saving after 5 % of the chunks changed", times, "saving 5 % of the chunks",
                         {"a full save": 10.0}, machine)  # fmt: skip
    results.append(Result("bytes written after 5 % changed", "MB", sizes["partial"] / 1e6, sizes["full"] / 1e6,
                          "a full save", ratio, 10.0, machine))  # fmt: skip
    path = folder / "full.spatia"
    before = path.stat().st_size
    with WorldFile.open(path) as world:
        world.branch("other")
        seconds = measure_ms({"snapshot": lambda: world.snapshot()}, NUM_SNAPSHOTS)
    grown = (path.stat().st_size - before) / (NUM_SNAPSHOTS + 2)  # each of them lists all chunks, as a branch does
    results.append(Result("a branch (1 % of the world is the limit)", "KB", grown / 1e3, before / 1e5,
                          "1 % of the world", before / 100 / grown, 1.0, machine))  # fmt: skip
    results.append(Result("a snapshot", "ms", seconds["snapshot"], None, "", None, None, machine))
    return results


def _touched(chunks: dict, keys: list, number: int) -> dict:
    """The chunks with those of some keys changed: one more point each."""
    out = dict(chunks)
    for key in keys:
        chunk = chunks[key]
        evidence = chunk.evidence.copy()
        evidence[number % len(evidence), 0] += 1
        out[key] = Chunk(key, chunk.revision + number, chunk.codes, chunk.rows, chunk.priority, evidence)
    return out


def main() -> None:
    """Run all and print the table."""
    options = parse_options(__doc__.splitlines()[0])
    repetitions = 3 if options.quick else 5
    machine = describe_machine()
    warm_up()
    chunks = world_chunks(400_000 if options.quick else 5_000_000)
    results = compare_codecs(list(chunks.values()), repetitions, machine)
    with tempfile.TemporaryDirectory() as folder:
        results += compare_saving(chunks, Path(folder), repetitions, machine)
    report(results, options.json)


if __name__ == "__main__":
    main()
