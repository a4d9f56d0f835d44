"""What ``make bench`` writes: rows of one form, and a table that says which targets are missed."""

import fcntl
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
    runs = {"speed": run_all.Run(12.4, 10.0, ""), "lost": run_all.Run(180.0, 40.0, "was ended after 180 s")}
    table = run_all.markdown(run_all.with_targets(tmp_path), runs).splitlines()
    lines = table[2:4]
    assert [line.split("|")[2].strip() for line in lines] == ["fast", "slow"]
    assert ["missed" in line for line in lines] == [False, True]
    assert "| speed | 12 | 10 | 1 of 2 |  |" in table
    assert "| lost | 180 | 40 |  | **was ended after 180 s** |" in table


def test_every_benchmark_is_run(modules: tuple[ModuleType, ModuleType]) -> None:
    _, run_all = modules
    assert {"merge", "draw", "conditioning", "saves", "scaling"} <= set(run_all.names())
    assert not {"comparison", "run_all"} & set(run_all.names())


def test_every_benchmark_states_what_it_takes(modules: tuple[ModuleType, ModuleType]) -> None:
    _, run_all = modules
    assert set(run_all.STATED_S) == set(run_all.names())
    assert all(quick <= 45 for quick, _ in run_all.STATED_S.values())
    assert sum(full for _, full in run_all.STATED_S.values()) <= 35 * 60


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


@pytest.mark.timeout(60)
def test_one_that_takes_too_long_is_ended_with_its_children(
    modules: tuple[ModuleType, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_all = modules
    lock = tmp_path / "lock"
    holds = f"import fcntl, signal; f = open({str(lock)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); signal.pause()"
    (tmp_path / "hangs.py").write_text(
        f"import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', {holds!r}]); signal.pause()"
    )
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    monkeypatch.setattr(run_all, "RESULTS", tmp_path)
    monkeypatch.setattr(run_all, "STATED_S", {"hangs": (0.1, 0.1)})
    monkeypatch.setattr(run_all, "LEAST_PATIENCE_S", 1.0)
    assert run_all.run("hangs", is_quick=True, plots=tmp_path).fault == "was ended after 1 s"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for ever if the child still holds it
