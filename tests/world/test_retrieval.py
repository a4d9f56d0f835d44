"""Choosing references: fixtures of the release, and small cases by hand."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from spatia.world.retrieval import assign_one_to_one, count_shared, round_to_bfloat16, select_greedy

PARITY = Path(os.environ.get("SPATIA_PARITY_DIR", "../shared/data/parity"))
FIXTURES = sorted(PARITY.glob("retrieval_*.npz"))


def _marks(fixture, side):
    return np.unpackbits(fixture[f"{side}_visible"], axis=1)[:, : len(fixture["points"])].astype(bool)


@pytest.mark.skipif(not FIXTURES, reason=f"no retrieval_*.npz in {PARITY} (set SPATIA_PARITY_DIR)")
def test_counts_and_assignment_equal_the_release():
    for path in FIXTURES:
        with np.load(path) as fixture:
            target, history = _marks(fixture, "target"), _marks(fixture, "history")
            np.testing.assert_array_equal(count_shared(target, history), fixture["intersection"], str(path))
            assert assign_one_to_one(target, history, len(target)) == fixture["match"].tolist(), path


def _sees(*rows):
    out = np.zeros((len(rows), 20), bool)
    for i, points in enumerate(rows):
        out[i, list(points)] = True
    return out


def test_the_assignment_is_the_best_of_all():
    rng = np.random.default_rng(1)
    target, candidate = rng.random((4, 90)) < 0.4, rng.random((6, 90)) < 0.4
    shared = target.astype(int) @ candidate.astype(int).T
    best = max(sum(shared[i, c] for i, c in enumerate(p)) for p in itertools.permutations(range(6), 4))
    chosen = assign_one_to_one(target, candidate)
    assert len(set(chosen)) == 4
    assert sum(shared[i, c] for i, c in enumerate(chosen)) == best


def test_the_first_targets_references_are_kept():
    target = candidate = np.eye(5, 20, dtype=bool)
    assert assign_one_to_one(target, candidate, 3) == [0, 1, 2]


def test_more_targets_than_candidates_are_an_error():
    with pytest.raises(ValueError, match="at least as many candidates"):
        assign_one_to_one(np.ones((3, 4), bool), np.ones((2, 4), bool))


def test_marks_over_different_points_are_an_error():
    with pytest.raises(ValueError, match="same points"):
        select_greedy(np.ones((3, 4), bool), np.ones((2, 5), bool))


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(255, 255), (257, 256), (259, 260), (258, 258), (2293, 2288), (2296, 2304), (0, 0), (1.5, 1.5)],
)
def test_bfloat16_keeps_eight_bits_and_rounds_ties_to_even(value, rounded):
    assert round_to_bfloat16([value]).tolist() == [rounded]


def test_greedy_takes_the_largest_overlap_first():
    target = _sees(range(10))
    candidate = _sees(range(3), range(9), range(6))
    assert select_greedy(target, candidate, 2) == [1, 2]


def test_greedy_prefers_overlap_over_mere_coverage():
    target = _sees(range(5))
    candidate = _sees(range(20), range(4))
    assert select_greedy(target, candidate, 1) == [1]


def test_greedy_serves_every_target_before_any_twice():
    target = _sees(range(10), range(10, 20))
    candidate = _sees(range(10), range(9), range(10, 13))
    assert select_greedy(target, candidate, 3) == [0, 2, 1]


def test_greedy_leaves_out_what_shares_nothing():
    target = _sees(range(5))
    candidate = _sees(range(5, 10), range(5))
    assert select_greedy(target, candidate) == [1]


def test_greedy_wants_more_than_epsilon():
    target = _sees(range(10))
    candidate = _sees(range(4), range(5))
    assert select_greedy(target, candidate, epsilon=0.4) == [1]


@pytest.mark.parametrize(("targets", "candidates"), [(0, 3), (3, 0)])
def test_greedy_of_nothing_is_nothing(targets, candidates):
    assert select_greedy(np.ones((targets, 4), bool), np.ones((candidates, 4), bool)) == []
