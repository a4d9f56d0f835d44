"""The merge benchmark runs, and what it compares is the same result."""

import numpy as np
import pytest
from spatia.tests.benchmarks import loaded_benchmark


@pytest.fixture(scope="module")
def benchmark():
    with loaded_benchmark("merge") as module:
        yield module


def test_contestants_find_the_same_number_of_voxels(benchmark):
    batch = benchmark.as_batch(*benchmark.synthetic(5000))
    assert benchmark.ours(1)(batch).num_points == len(benchmark.numpy_sort()(batch))


def test_ratios_are_ours_over_the_baseline_and_absent_ones_are_named(benchmark, monkeypatch):
    def absent():
        raise ImportError

    baselines = {"NumPy sort + reduceat": (benchmark.numpy_sort, 2.0), "something else": (absent, 2.0)}
    monkeypatch.setattr(benchmark, "BASELINES", baselines)
    results = []
    missing = benchmark.compare_merging(results, "tiny", benchmark.as_batch(*benchmark.synthetic(5000)), repetitions=1)
    assert missing == ["something else"]
    assert len(results) == 2
    for result in results:
        assert result.ratio == pytest.approx(result.ours / result.baseline)
    assert np.isfinite([result.ours for result in results]).all()
