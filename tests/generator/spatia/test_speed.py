"""Means that make a clip cheaper: the exact ones change nothing, the step cache changes little and computes less."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spatia.generator.pipeline import new_renderer, render_scene
from spatia.generator.spatia.config import SamplingConfig, SpeedOptions
from spatia.generator.spatia.generator import SpatiaGenerator
from spatia.generator.spatia.memory_plans import cast_to_fp8
from spatia.generator.spatia.settings import GeneratorSettings, settings_from, speed_of
from spatia.generator.spatia.speed import StepCache, cache_steps, fuse_qkv, keep_conditions, split_qkv
from spatia.generator.spatia.tiny import tiny_pipeline
from spatia.tests.contracts.generator_contract import turning_request
from spatia.tests.fakes import RecordingProgress
from spatia.tests.generator.spatia.makers import tiny_inputs, tiny_network


@torch.no_grad()
def velocity(network: Any, inputs: dict[str, torch.Tensor], num_references: int = 2) -> torch.Tensor:
    return network(**inputs, num_reference_frames=num_references).sample


def count_calls(layer: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_kept_conditions_are_made_once_and_change_nothing() -> None:
    network, inputs = tiny_network(), tiny_inputs()
    wanted = velocity(network, inputs)
    embedded, keys = count_calls(network.condition_embedder.text_embedder), count_calls(network.blocks[1].attn2.to_k)
    control = count_calls(network.vace_patch_embedding)
    with keep_conditions(network):
        for _ in range(3):
            torch.testing.assert_close(velocity(network, inputs), wanted, rtol=0, atol=0)
    assert (len(embedded), len(keys), len(control)) == (1, 1, 1)
    velocity(network, inputs)
    assert len(keys) == 2


def test_kept_conditions_follow_another_text() -> None:
    network, inputs, other = tiny_network(), tiny_inputs(), tiny_inputs(seed=9)
    mixed = inputs | {"encoder_hidden_states": other["encoder_hidden_states"]}
    wanted = velocity(network, mixed)
    with keep_conditions(network):
        velocity(network, inputs)
        torch.testing.assert_close(velocity(network, mixed), wanted, rtol=0, atol=0)


def test_one_product_for_query_key_and_value_changes_only_rounding() -> None:
    network, inputs = tiny_network(), tiny_inputs()
    wanted = velocity(network, inputs)
    fuse_qkv(network)
    calls = count_calls(network.blocks[0].attn1.to_q)
    torch.testing.assert_close(velocity(network, inputs), wanted, rtol=1e-5, atol=1e-5)
    assert not calls
    split_qkv(network)
    torch.testing.assert_close(velocity(network, inputs), wanted, rtol=0, atol=0)


def test_one_product_takes_no_more_memory() -> None:
    network = tiny_network()
    fuse_qkv(network)
    attn = network.blocks[0].attn1
    assert attn.to_v.weight.untyped_storage().data_ptr() == attn.qkv[0].untyped_storage().data_ptr()


def test_one_product_is_refused_in_fp8() -> None:
    network = tiny_network()
    cast_to_fp8(network, torch.float32)
    with pytest.raises(ValueError, match="use no fp8"):
        fuse_qkv(network)


def test_a_step_like_the_one_before_runs_the_first_block_only() -> None:
    network, inputs = tiny_network(), tiny_inputs()
    wanted = velocity(network, inputs)
    first, last = count_calls(network.blocks[0]), count_calls(network.blocks[-1])
    with keep_conditions(network), cache_steps(network, 0.05) as cache:
        velocity(network, inputs)
        torch.testing.assert_close(velocity(network, inputs), wanted, rtol=1e-5, atol=1e-5)
    assert (len(first), len(last)) == (2, 1)
    assert cache is not None
    assert (cache.num_steps, cache.num_cached) == (2, 1)


def test_a_step_that_differs_is_computed() -> None:
    network, inputs, other = tiny_network(), tiny_inputs(), tiny_inputs(seed=9)
    moved = inputs | {"hidden_states": other["hidden_states"]}
    wanted = velocity(network, moved)
    with keep_conditions(network), cache_steps(network, 0.05):
        velocity(network, inputs)
        torch.testing.assert_close(velocity(network, moved), wanted, rtol=1e-5, atol=1e-5)


def test_passes_with_different_texts_are_cached_apart() -> None:
    cache, one, other = StepCache(0.1), object(), object()
    first, rest = torch.ones(1, 2, 3), torch.full((1, 2, 3), 7.0)
    cache.keep(one, first, rest)
    assert cache.rest(one, first * 1.05) is rest
    assert cache.rest(other, first) is None


def test_nothing_is_kept_after_the_clip() -> None:
    network = tiny_network()
    with pytest.raises(RuntimeError, match="stop"), keep_conditions(network), cache_steps(network, 0.1):
        raise RuntimeError("stop")
    assert network.kept is None
    assert network.step_cache is None
    assert network.blocks[0].attn2.kept is None


def clip_with(speed: SpeedOptions, guidance: float = 3.0) -> np.ndarray:
    settings = GeneratorSettings("tiny", Path("nowhere"), SamplingConfig(num_steps=4, guidance=guidance), speed=speed)
    request = turning_request(3)
    scene = render_scene(request, SpatiaGenerator.rank, new_renderer(), RecordingProgress())
    return SpatiaGenerator(settings).generate(request, scene, RecordingProgress()).frames


def test_a_clip_with_batch_and_one_product_is_the_same_within_rounding() -> None:
    wanted = clip_with(SpeedOptions())
    made = clip_with(SpeedOptions(is_batched=True, is_qkv_fused=True))
    assert np.abs(made.astype(int) - wanted.astype(int)).max() <= 1


def test_a_clip_with_a_step_cache_is_near() -> None:
    wanted, made = clip_with(SpeedOptions()), clip_with(SpeedOptions(step_cache=0.5))
    difference = np.abs(made.astype(int) - wanted.astype(int)).mean()
    assert 0 < difference < 10


def test_batched_guidance_embeds_each_text_once() -> None:
    pipeline = tiny_pipeline()
    calls = count_calls(pipeline.transformer.condition_embedder.text_embedder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline("a", height=32, width=32, num_frames=5, num_inference_steps=3, batch_guidance=True, output_type="latent")
    assert len(calls) == 1


def test_speed_is_read_from_the_environment() -> None:
    assert settings_from({"SPATIA_SPEED": "batch, qkv,cache=0.1"}).speed == SpeedOptions(True, False, True, 0.1)
    assert settings_from({}).speed == SpeedOptions()
    assert replace(SpeedOptions(), is_compiled=True) == speed_of("compile")


@pytest.mark.parametrize("text", ["fast", "cache", "cache=0", "cache=much", "batch=2"])
def test_a_wrong_word_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="SPATIA_SPEED"):
        speed_of(text)
