"""What ``make bench`` writes: rows of one form, and a table that says which targets are missed."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
KEYS = ["name", "unit", "ours", "baseline", "baseline_name", "ratio", "target", "machine"]


@pytest.fixture
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """``comparison`` and ``run_all``."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("comparison"), importlib.import_module("run_all")
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("comparison", "run_all"):
            sys.modules.pop(name, None)


def test_a_row_is_read_back_as_it_was_written(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    comparison, _ = modules
    rows = [comparison.Result("a", "ms", 1.0, 3.0, "other", 3.0, 2.0, "here")]
    comparison.write_results(rows, tmp_path / "a.json")
    assert list(json.loads((tmp_path / "a.json").read_text())[0]) == KEYS
    assert comparison.read_results(tmp_path / "a.json") == rows


@pytest.mark.parametrize(
    ("ours", "limit", "at_most", "is_met"),
    [(3.0, 4.0, True, True), (5.0, 4.0, True, False), (3.0, 4.0, False, False), (-0.2, -0.3, False, True),
     (-0.4, -0.3, False, False), (0.0, 0.0, True, True), (1.0, 0.0, True, False)],
)  # fmt: skip
def test_a_limit_is_kept_or_not(
    modules: tuple[ModuleType, ModuleType], ours: float, limit: float, at_most: bool, is_met: bool
) -> None:
    comparison, _ = modules
    assert comparison.within("x", "", ours, limit, "here", at_most=at_most).is_met is is_met


def test_the_table_says_what_was_missed(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    comparison, run_all = modules
    met = comparison.Result("fast", "ms", 1.0, 30.0, "other", 30.0, 20.0, "here")
    missed = comparison.Result("slow", "ms", 1.0, 3.0, "other", 3.0, 20.0, "here")
    untargeted = comparison.Result("idle", "ms", 1.0, None, "", None, None, "here")
    comparison.write_results([met, missed, untargeted], tmp_path / "speed.json")
    (tmp_path / "other.json").write_text('{"rows": 1}')
    lines = run_all.markdown(run_all.with_targets(tmp_path)).splitlines()[2:4]
    assert [line.split("|")[2].strip() for line in lines] == ["fast", "slow"]
    assert ["missed" in line for line in lines] == [False, True]


def test_every_benchmark_is_run(modules: tuple[ModuleType, ModuleType]) -> None:
    _, run_all = modules
    assert {"merge", "draw", "conditioning", "saves", "scaling"} <= set(run_all.names())
    assert not {"comparison", "run_all"} & set(run_all.names())


def test_a_benchmark_that_fails_is_named_and_keeps_none_from_running(
    modules: tuple[ModuleType, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, run_all = modules
    writes = "import sys, json; json.dump([], open(sys.argv[sys.argv.index('--json') + 1], 'w'))"
    (tmp_path / "breaks.py").write_text("raise SystemExit(3)")
    (tmp_path / "works.py").write_text(writes)
    results = tmp_path / "results"
    results.mkdir()
    (results / "breaks.json").write_text("[1]")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "breaks", "works"])
    assert run_all.main() == 1
    assert "breaks failed: it ended with status 3" in capfd.readouterr().err
    assert (results / "works.json").read_text() == "[]"
    assert not (results / "breaks.json").exists()  # what an earlier version measured is no figure of this one
