"""The saves benchmark runs, and its ratios say how many times better ours is."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from spatia.tests.benchmarks import loaded_benchmark
from spatia.tests.saves.worlds import make_chunk
from spatia.world.chunks import Chunk


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with loaded_benchmark("saves") as module:
        yield module


@pytest.fixture(scope="module")
def chunks() -> dict[tuple[int, int, int], Chunk]:
    return {(i, 0, 0): make_chunk((i, 0, 0), num_points=400) for i in range(20)}


def test_bare_chunks_keep_positions_and_colours(benchmark: ModuleType, chunks: dict) -> None:
    for chunk in chunks.values():
        bare = benchmark.bare(chunk)
        assert (bare.local_q8() == chunk.local_q8()).all()
        assert (bare.colors() == chunk.colors()).all()


def test_codecs_are_compared_with_what_is_installed(benchmark: ModuleType, chunks: dict) -> None:
    results = benchmark.compare_codecs(list(chunks.values()), 1, "here")
    assert any(r.baseline_name.startswith("arrays") for r in results)
    for r in results:
        if r.baseline is not None and r.unit in ("ms", "B/voxel"):
            assert r.ratio == pytest.approx(r.baseline / r.ours)


def test_partial_saves_and_branches_are_measured(benchmark: ModuleType, chunks: dict, tmp_path: Path) -> None:
    results = {r.name: r for r in benchmark.compare_saving(chunks, tmp_path, 1, "here")}
    assert results["bytes written after 5 % changed"].ratio > 5
