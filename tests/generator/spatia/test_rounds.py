"""Rounds, strides, padding and prompts are those of the authors' program."""

import numpy as np
import pytest
from spatia.generator.spatia.rounds import (
    candidate_frames,
    num_latents,
    padded_frames,
    padded_side,
    plan_rounds,
    prompts_for,
    stride,
    target_frames,
)


def test_up_to_121_frames_are_one_round() -> None:
    assert [r.index for r in plan_rounds(121)] == [0]
    (short,) = plan_rounds(40)
    assert (short.start, short.stop, short.num_padded, short.num_new) == (0, 40, 81, 40)


def test_later_rounds_begin_nine_frames_back() -> None:
    rounds = plan_rounds(121 + 3 * 72)
    assert [(r.start, r.stop, r.num_frames) for r in rounds] == [
        (0, 121, 121),
        (112, 193, 81),
        (184, 265, 81),
        (256, 337, 81),
    ]


def test_the_authors_longest_film_has_three_rounds() -> None:
    rounds = plan_rounds(194)
    assert len(rounds) == 3
    assert (rounds[-1].start, rounds[-1].stop, rounds[-1].num_padded, rounds[-1].num_new) == (184, 194, 71, 1)


@pytest.mark.parametrize("num_frames", [1, 120, 121, 122, 193, 194, 500])
def test_new_frames_make_the_whole_film_once(num_frames: int) -> None:
    film = [f for r in plan_rounds(num_frames) for f in r.pose_indices()[r.new_frames()]]
    assert film == list(range(num_frames))


def test_a_short_last_round_repeats_its_last_pose() -> None:
    last = plan_rounds(194)[-1]
    np.testing.assert_array_equal(last.pose_indices(), [*range(184, 194), *[193] * 71])


def test_lora_is_off_in_the_first_round_and_on_later() -> None:
    assert [r.uses_lora for r in plan_rounds(300)] == [False, True, True, True]


def test_strides_are_those_of_24_frames_a_second() -> None:
    assert [stride(hz) for hz in (4.0, 2.0, 6.0)] == [6, 12, 4]
    assert stride(100.0) == 1


def test_round_one_looks_for_seven_references_among_28() -> None:
    second = plan_rounds(193)[1]
    assert list(target_frames(second)) == [0, 12, 24, 36, 48, 60, 72]
    assert len(candidate_frames(second)) == 28


def test_voxels_grow_by_half_a_centimetre_a_round() -> None:
    assert [r.voxel_size_m() for r in plan_rounds(200)] == pytest.approx([0.01, 0.015, 0.02])


def test_prompts_are_one_for_each_round() -> None:
    assert prompts_for(["a"], 3) == ("a", "a", "a")
    assert prompts_for(["a", "", " b "], 3) == ("a", "b", "b")
    assert prompts_for(["a", "b", "c"], 2) == ("a", "b")
    with pytest.raises(ValueError, match="at least one line"):
        prompts_for([" "], 1)


def test_latents_frames_and_sides() -> None:
    assert [num_latents(f) for f in (1, 9, 81, 121)] == [1, 3, 21, 31]
    assert [padded_frames(f) for f in (1, 2, 5, 6, 82)] == [1, 5, 5, 9, 85]
    assert [padded_side(p) for p in (704, 720, 1)] == [704, 736, 32]


def test_senseless_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds: expected"):
        plan_rounds(0)
    with pytest.raises(ValueError, match="rounds: expected"):
        plan_rounds(100, history=81)
