"""The table of ``spatia bench``."""

import pytest
from spatia.runtime.bench import WALK_OVER_IDLE, _verdict


@pytest.mark.parametrize(("value", "word"), [(1.05, "met"), (1.10, "met"), (1.2, "missed")])
def test_a_figure_with_a_target_says_whether_it_is_met(value: float, word: str) -> None:
    assert _verdict(value, WALK_OVER_IDLE) == f"  (at most 1.1: {word})"
