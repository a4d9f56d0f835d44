"""A round runs end to end on a CPU, keeps what is known, and behaves as a diffusers pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from PIL import Image
from spatia.generator.spatia.pipeline import SpatiaPipeline
from spatia.generator.spatia.tiny import tiny_pipeline
from spatia.generator.spatia.vae import decode_pieces, encode, frames_of, pixels_of

HEIGHT, WIDTH, STEPS = 32, 64, 2


@pytest.fixture(scope="module")
def pipeline() -> SpatiaPipeline:
    made = tiny_pipeline()
    made.set_progress_bar_config(disable=True)
    return made


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def arguments(num_frames: int = 5, **other: Any) -> dict[str, Any]:
    return {
        "prompt": "a room",
        "scene_video": frames(num_frames, 1),
        "coverage": np.full((num_frames, HEIGHT, WIDTH), 0.5, np.float32),
        "height": HEIGHT,
        "width": WIDTH,
        "num_frames": num_frames,
        "num_inference_steps": STEPS,
        "max_sequence_length": 32,
        "generator": torch.Generator().manual_seed(3),
    } | other


def test_a_first_round_begins_with_the_images_latent(pipeline: SpatiaPipeline) -> None:
    image = frames(1)[0]
    made = pipeline(**arguments(image=image))
    assert made.frames.shape == (1, 5, HEIGHT, WIDTH, 3)
    torch.testing.assert_close(made.latents[:, :, :1], encode(pipeline.vae, pixels_of(image[None])))


def test_a_later_round_begins_with_the_historys_latents(pipeline: SpatiaPipeline) -> None:
    history = frames(9)
    made = pipeline(**arguments(13, history=history, references=[frames(1, 5)[0]] * 3))
    assert made.latents.shape == (1, 8, 4, 2, 4)
    torch.testing.assert_close(made.latents[:, :, :3], encode(pipeline.vae, pixels_of(history)))


def test_the_samplers_own_latents_can_be_the_history(pipeline: SpatiaPipeline) -> None:
    own = torch.randn(1, 8, 3, 2, 4)
    made = pipeline(**arguments(13, history_latents=own))
    assert torch.equal(made.latents[:, :, :3], own)


def test_references_scene_coverage_and_prompt_all_count(pipeline: SpatiaPipeline) -> None:
    base = pipeline(**arguments(output_type="latent")).latents
    others = {
        "references": [frames(1, 5)[0]],
        "scene_video": frames(5, 6),
        "coverage": np.ones((5, HEIGHT, WIDTH), np.float32),
        "prompt": "a forest",
        "negative_prompt": "blur",
        "guidance_scale": 1.0,
        "control_scale": 0.5,
        "generator": torch.Generator().manual_seed(4),
    }
    for name, value in others.items():
        made = pipeline(**arguments(output_type="latent", **{name: value}))
        assert not torch.allclose(made.latents, base), name


def test_the_order_of_references_counts(pipeline: SpatiaPipeline) -> None:
    one, two = frames(1, 5)[0], frames(1, 6)[0]
    made = [pipeline(**arguments(references=order, output_type="latent")).latents for order in ([one, two], [two, one])]
    assert not torch.allclose(made[0], made[1])


def test_the_same_seed_gives_the_same_clip(pipeline: SpatiaPipeline) -> None:
    first, second = (pipeline(**arguments(output_type="uint8")).frames for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_noise_is_drawn_on_the_cpu_in_float32(pipeline: SpatiaPipeline) -> None:
    noise = torch.randn(1, 8, 2, 2, 4, generator=torch.Generator().manual_seed(3))
    given = pipeline(**arguments(latents=noise, output_type="latent")).latents
    assert torch.equal(given, pipeline(**arguments(output_type="latent")).latents)


def test_both_passes_in_one_batch_give_nearly_the_same(pipeline: SpatiaPipeline) -> None:
    apart = pipeline(**arguments(output_type="latent", references=[frames(1)[0]])).latents
    together = pipeline(**arguments(output_type="latent", references=[frames(1)[0]], batch_guidance=True)).latents
    torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("output_type", "kind"), [("np", np.ndarray), ("pt", torch.Tensor), ("pil", list)])
def test_output_types_hold_the_same_pictures(pipeline: SpatiaPipeline, output_type: str, kind: type) -> None:
    made = pipeline(**arguments(output_type=output_type)).frames
    assert isinstance(made, kind)
    wanted = pipeline(**arguments(output_type="uint8")).frames[0].astype(float)
    got = {
        "np": lambda: made[0] * 255.0,
        "pt": lambda: made[0].permute(0, 2, 3, 1).numpy() * 255.0,
        "pil": lambda: np.stack([np.asarray(picture, float) for picture in made[0]]),
    }[output_type]()
    assert np.abs(got - wanted).max() <= 1.0


def test_the_callback_sees_every_step_and_may_change_the_latents(pipeline: SpatiaPipeline) -> None:
    seen: list[tuple[int, int]] = []

    def callback(_: Any, index: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((index, int(timestep)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    made = pipeline(**arguments(output_type="latent", callback_on_step_end=callback))
    assert [index for index, _ in seen] == [0, 1]
    assert seen[0][1] == 999
    assert not made.latents.any()


def test_what_the_callback_raises_passes_through(pipeline: SpatiaPipeline) -> None:
    class StopError(Exception):
        pass

    def callback(*_: Any) -> dict[str, Any]:
        raise StopError

    with pytest.raises(StopError):
        pipeline(**arguments(callback_on_step_end=callback))


def test_pictures_of_another_size_are_resized(pipeline: SpatiaPipeline) -> None:
    made = pipeline(**arguments(image=Image.new("RGB", (100, 40), (200, 10, 10))))
    wanted = encode(pipeline.vae, pixels_of(np.full((1, HEIGHT, WIDTH, 3), (200, 10, 10), np.uint8)))
    torch.testing.assert_close(made.latents[:, :, :1], wanted)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"height": 40}, "multiples of 32"),
        ({"num_frames": 6}, r"4k \+ 1 such as 9, got 6"),
        ({"output_type": "gif"}, "one of np, pil, pt, uint8, latent"),
        ({"prompt": None}, "either prompt or prompt_embeds"),
        ({"image": frames(1)[0], "history": frames(1)}, "one of them at most"),
        ({"history": frames(5)}, "fewer than 5, got 5"),
        ({"scene_video": frames(4)}, r"scene_video: expected \(5, 32, 64\), got \(4, 32, 64\)"),
        ({"latents": torch.zeros(1)}, r"latents: expected \(1, 8, 2, 2, 4\)"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "some of latents, prompt_embeds"),
    ],
)
def test_arguments_that_do_not_fit_are_told(pipeline: SpatiaPipeline, other: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline(**arguments(**other))


def test_saved_and_loaded_it_makes_the_same_clip(pipeline: SpatiaPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    loaded = SpatiaPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    wanted = pipeline(**arguments(output_type="latent")).latents
    assert torch.equal(loaded(**arguments(output_type="latent")).latents, wanted)


def test_tiles_can_be_decoded_one_by_one() -> None:
    pipeline = tiny_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.enable_tiling(32, 32, 32, 32)
    pipeline.vae.enable_slicing()
    made = pipeline(**arguments(output_type="uint8"))
    assert made.frames.shape == (1, 5, HEIGHT, WIDTH, 3)


def test_bfloat16_latents_round_between_steps(pipeline: SpatiaPipeline) -> None:
    made = pipeline(**arguments(output_type="latent", latents_dtype=torch.bfloat16)).latents
    assert torch.equal(made, made.bfloat16().float())


def test_offloaded_parts_come_back_when_they_are_used_and_change_nothing() -> None:
    offloaded, names = tiny_pipeline(), ("text_encoder", "transformer", "vae")
    offloaded.set_progress_bar_config(disable=True)
    assert SpatiaPipeline.model_cpu_offload_seq == "->".join(names)
    used: list[str] = []

    class Onload(ModelHook):
        """What accelerate's offloading puts on a part, here without another device."""

        def __init__(self, name: str) -> None:
            self.name = name

        def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            used.append(self.name)
            return args, kwargs

    for name in names:
        add_hook_to_module(getattr(offloaded, name), Onload(name))
    clip = offloaded(**arguments(output_type="latent"))
    frames = [frames_of(piece) for piece in decode_pieces(offloaded.vae, clip.latents)]
    assert list(dict.fromkeys(used)) == ["text_encoder", "vae", "transformer"]
    assert used[-1] == "vae"
    plain = tiny_pipeline()
    plain.set_progress_bar_config(disable=True)
    torch.testing.assert_close(clip.latents, plain(**arguments(output_type="latent")).latents, rtol=0, atol=0)
    assert sum(len(f) for f in frames) > 0
