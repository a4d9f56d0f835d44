"""Quality: the ladder, what is predicted, and how a walk goes up and down on it."""

from itertools import pairwise

import pytest
from spatia.generator.quality import LADDER, QUALITIES, quality_of
from spatia.generator.requests import Effort
from spatia.input.intents import Intent
from spatia.runtime.pacer import Pacer, predicted_s
from spatia.runtime.session import Session
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world, walk_until_done

PIXELS = 832 * 480


def seconds(denoise: float, decode: float = 0.0, rest: float = 0.0) -> dict[str, float]:
    """As a queue reports them: phases, and parts of the phase "generate"."""
    return {"generate": denoise + decode, "lift": rest, "generate/denoise": denoise, "generate/decode": decode}


def noted(pacer: Pacer, denoise: float, num_frames: int = 72) -> Effort:
    pacer.note(seconds(denoise), pacer.effort, num_frames=num_frames, num_pixels=PIXELS)
    return pacer.effort


def test_each_rung_is_a_third_more_work_than_the_one_before() -> None:
    work = [rung.num_passes * rung.max_pixels for rung in LADDER]
    assert all(b >= 1.33 * a for a, b in pairwise(work))


def test_best_is_the_authors_setting_and_does_not_change() -> None:
    pacer = Pacer("best", is_adaptive=True)
    assert pacer.effort == Effort(40, 3.5, 1248 * 704)
    assert noted(pacer, 1e6) == Effort(40, 3.5, 1248 * 704)


def test_denoising_is_predicted_by_steps_passes_and_pixels() -> None:
    was, would = Effort(4, 1.0, PIXELS), Effort(8, 2.0, PIXELS // 2)
    assert predicted_s(seconds(10.0, 2.0, 3.0), was, would, PIXELS) == pytest.approx(10.0 * 4 / 2 + 2.0 / 2 + 3.0)


def test_a_picture_smaller_than_both_caps_costs_the_same_for_each() -> None:
    assert predicted_s(seconds(10.0), LADDER[5], LADDER[6], 320 * 240) == pytest.approx(10.0)


def test_too_slow_a_clip_steps_down_at_once_as_far_as_needed() -> None:
    pacer = Pacer("balanced", is_adaptive=True)
    assert pacer.effort == LADDER[3]
    assert noted(pacer, 12.0) == LADDER[3]
    assert noted(pacer, 13.0) == LADDER[2]
    assert noted(pacer, 120.0) == LADDER[1]


def test_a_quick_clip_steps_up_by_one_where_room_is_left() -> None:
    pacer = Pacer("draft", is_adaptive=True)
    assert pacer.effort == LADDER[1]
    assert noted(pacer, 1.3) == LADDER[1]
    assert noted(pacer, 1.1) == LADDER[2]
    assert noted(pacer, 0.1) == LADDER[2]


def test_loading_weights_does_not_count() -> None:
    pacer = Pacer("draft", is_adaptive=True)
    slow = seconds(1.0) | {"generate": 301.0, "generate/load": 300.0}
    pacer.note(slow, pacer.effort, num_frames=72, num_pixels=PIXELS)
    assert pacer.effort == LADDER[2]


def test_generators_without_denoising_change_nothing() -> None:
    pacer = Pacer("balanced", is_adaptive=True)
    pacer.note({"generate": 900.0}, pacer.effort, num_frames=1, num_pixels=PIXELS)
    assert pacer.effort == LADDER[3]


def test_a_walk_that_waits_keeps_its_setting_however_slow_it_is() -> None:
    with Session(tiny_world(), f"{MODULE}:DiffusingGenerator", wait=True, size=SIZE, quality="balanced") as session:
        for _ in range(4):
            session.step(Intent(yaw=1.0))
        assert session.status.merged_clips > 0
        assert session.clips.quality_facts() == {
            "setting": "balanced",
            "adapts": False,
            "num_steps": 12,
            "guidance": 3.5,
            "max_pixels": 832 * 480,
        }


def test_a_walk_that_does_not_wait_adapts() -> None:
    with Session(tiny_world(), f"{MODULE}:DiffusingGenerator", wait=False, size=SIZE, quality="balanced") as session:
        walk_until_done(session)
        assert session.status.outcomes == {"done": 1}
        assert session.clips.quality_facts()["num_steps"] == LADDER[QUALITIES["balanced"].lowest].num_steps


def test_an_unknown_quality_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match="expected one of draft, balanced, best, got 'ultra'"):
        quality_of("ultra")
