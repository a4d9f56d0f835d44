"""A long path is made in rounds: history, references, LoRA and padding are each where they belong."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from spatia.generator.spatia import film, rounds
from spatia.generator.spatia.config import SamplingConfig
from spatia.generator.spatia.film import Conditions, FilmRound, film_rounds, final_film
from spatia.generator.spatia.pipeline import SpatiaPipeline
from spatia.generator.spatia.rounds import Round
from spatia.generator.spatia.tiny import tiny_pipeline
from spatia.generator.spatia.vae import encode, pixels_of
from spatia.renderer.conditioning import render_scene_video
from spatia.saves.intrinsics import read_intrinsics
from spatia.saves.trajectories import read_trajectory
from spatia.tests.saves.pictures import shared_data

SIZE = (32, 32)
NUM_FRAMES = 22


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of 17 and 13 frames instead of 121 and 81."""
    monkeypatch.setattr(film, "plan_rounds", lambda n: rounds.plan_rounds(n, first_round=17, later_round=13))


@pytest.fixture(scope="module")
def pipeline() -> SpatiaPipeline:
    made = tiny_pipeline()
    made.set_progress_bar_config(disable=True)
    return made


class Caller:
    """Gives grey conditions and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.lora: list[bool] = []

    def conditions(self, this: Round, frames: np.ndarray) -> Conditions:
        self.asked.append((this.index, len(frames)))
        shape = (this.num_frames, *SIZE)
        references = (frames[0],) * 2 if this.index else ()
        return Conditions(np.full((*shape, 3), 90, np.uint8), np.ones(shape, np.float32), references)

    def make(self, pipeline: SpatiaPipeline, **other: Any) -> list[FilmRound]:
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        return list(
            film_rounds(
                pipeline,
                image,
                num_frames=NUM_FRAMES,
                prompts=["a room"],
                conditions=self.conditions,
                set_lora=self.lora.append,
                sampling=SamplingConfig(num_steps=1, guidance=1.0),
                options={"max_sequence_length": 16},
                **other,
            )
        )


def test_the_film_has_every_frame_once(pipeline: SpatiaPipeline) -> None:
    caller = Caller()
    made = caller.make(pipeline)
    assert [len(r.frames) for r in made] == [17, 4, 1]
    assert caller.asked == [(0, 1), (1, 17), (2, 21)]
    assert caller.lora == [False, True, True]
    assert len(final_film(pipeline, made)) == NUM_FRAMES


def test_history_is_encoded_from_the_last_nine_frames(pipeline: SpatiaPipeline) -> None:
    made = Caller().make(pipeline)
    wanted = encode(pipeline.vae, pixels_of(made[0].frames[-9:]))
    torch.testing.assert_close(made[1].latents[:, :, :3], wanted)


def test_the_samplers_own_latents_can_be_carried_on(pipeline: SpatiaPipeline) -> None:
    made = Caller().make(pipeline, history="latents")
    assert torch.equal(made[1].latents[:, :, :3], made[0].latents[:, :, -3:])


def test_a_wrong_kind_of_history_is_told(pipeline: SpatiaPipeline) -> None:
    with pytest.raises(ValueError, match="one of pixels, latents"):
        Caller().make(pipeline, history="mp4")


@pytest.mark.parametrize("case", ["1", "2", "3"])
def test_the_authors_cases_run_through_their_rounds(pipeline: SpatiaPipeline, case: str) -> None:
    folder = shared_data(f"cases/{case}")
    photo = Image.open(folder / "img.jpg").convert("RGB")
    camera = read_intrinsics(folder / "intrinsics.txt", *photo.size).resized(64, 32)
    image = np.asarray(photo.resize((64, 32), Image.Resampling.BICUBIC))
    path = read_trajectory(folder / "w2c.txt")[:21]
    points = (camera.rays().reshape(-1, 3) * 2.0).astype(np.float32)

    def conditions(this: Round, frames: np.ndarray) -> Conditions:
        drawn = render_scene_video(points, image.reshape(-1, 3), path[this.pose_indices()], camera)
        return Conditions(drawn.color, drawn.coverage, (frames[0],) if this.index else ())

    told: list[bool] = []
    made = list(
        film_rounds(
            pipeline,
            image,
            num_frames=len(path),
            prompts=(folder / "prompt.txt").read_text(encoding="utf-8").splitlines(),
            conditions=conditions,
            set_lora=told.append,
            sampling=SamplingConfig(num_steps=1, guidance=1.0),
        )
    )
    assert told == [False, True]
    assert final_film(pipeline, made).shape == (21, 32, 64, 3)
