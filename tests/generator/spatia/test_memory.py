"""Memory by accounting: what is counted, what fits, and that every way to keep weights makes clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spatia.generator.errors import TooLittleMemoryError
from spatia.generator.ledger import Outcome
from spatia.generator.pipeline import new_renderer, render_scene
from spatia.generator.queue import GenerationQueue
from spatia.generator.spatia import accounting, assembly
from spatia.generator.spatia.accounting import (
    FreeMemory,
    Work,
    active_bytes,
    check_cpu,
    choose_plan,
    largest_size,
    meta_network,
    need_of,
    need_on_cpu,
    smaller_works,
    weights_of,
)
from spatia.generator.spatia.catalogue import CPU_NEED_GB, PLAN_NEEDS, find_spatia
from spatia.generator.spatia.config import PRESETS, SamplingConfig
from spatia.generator.spatia.generator import SpatiaGenerator
from spatia.generator.spatia.memory_plans import FP8, PLANS
from spatia.generator.spatia.settings import MEMORY_PLANS, GeneratorSettings
from spatia.generator.spatia.tally import tally
from spatia.tests.contracts.generator_contract import turning_request
from spatia.tests.fakes import RecordingProgress
from spatia.tests.generator.spatia.makers import write_spatia
from torch.nn import functional

WALK = Work(832, 480, 81, 7)
SMALL = Work(64, 64, 5, 1)
PLENTY = FreeMemory(1e12, 1e12)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def test_what_lives_at_the_same_time_is_added_up_and_what_ended_is_not() -> None:
    weight = meta(32, 16)

    def run() -> torch.Tensor:
        hidden = meta(8, 32) @ weight
        hidden = hidden.relu()
        return hidden.sum(0)

    # the input and the product, then product and result of relu: 8 x 16 floats each, the input's 8 x 32 before
    assert tally(run, [weight]).peak_bytes == 4 * (8 * 32 + 8 * 16)


def test_views_of_weights_cost_nothing() -> None:
    weight = meta(64, 64)
    assert tally(lambda: weight.t().reshape(-1).view(8, -1).t(), [weight]).peak_bytes in (0, weight.nbytes)
    assert tally(lambda: weight.t(), [weight]).peak_bytes == 0


def test_arithmetic_is_two_for_a_multiplication_and_an_addition() -> None:
    a, b = meta(8, 32), meta(32, 16)
    assert tally(lambda: a @ b, [a, b]).flops == 2 * 8 * 32 * 16


def test_attention_holds_no_table_of_pairs_but_counts_its_arithmetic() -> None:
    query = meta(1, 2, 100, 16)
    counted = tally(lambda: functional.scaled_dot_product_attention(query, query, query), [query])
    assert counted.peak_bytes == query.nbytes
    assert counted.flops == 2 * 2 * 2 * 100 * 100 * 16


def test_the_real_models_weights_are_counted_by_type() -> None:
    weights, in_fp8 = weights_of("5b"), weights_of("5b", is_fp8=True)
    numbers = sum(p.numel() for p in meta_network("5b").parameters())
    assert 2 * numbers < weights.network < 1.02 * 2 * numbers
    assert numbers < in_fp8.network < 1.05 * numbers
    assert weights.text / 1e9 == pytest.approx(11.36, abs=0.01)
    assert weights.lora == 161_218_560 * 2


def test_24_gb_hold_the_real_model_where_the_encoder_is_streamed() -> None:
    assert choose_plan("5b", WALK, FreeMemory(24e9, 32e9)).name == "encoder"
    assert need_of("5b", PLANS["whole"], WALK).gpu_bytes > 24e9
    assert need_of("5b", PLANS["encoder"], WALK).gpu_bytes < 22e9


def test_12_gb_hold_the_real_model_in_fp8_block_by_block() -> None:
    assert choose_plan("5b", WALK, FreeMemory(12e9, 32e9)).name == "group"
    assert need_of("5b", PLANS["fp8"], WALK).gpu_bytes > 12e9
    assert need_of("5b", PLANS["group"], WALK).gpu_bytes < 10e9


def test_main_memory_is_asked_for_too() -> None:
    need = need_of("tiny", PLANS["group"], SMALL)
    assert choose_plan("tiny", SMALL, FreeMemory(1e12, need.ram_bytes - 1)).name == "whole"
    with pytest.raises(TooLittleMemoryError):
        choose_plan("tiny", SMALL, FreeMemory(1e12, need.ram_bytes - 1), "group")


def test_what_does_not_fit_is_told_with_what_would() -> None:
    large = Work(640, 640, 9, 1)
    free = FreeMemory(need_of("tiny", PLANS["whole"], large).gpu_bytes * 0.93, 1e12)
    with pytest.raises(TooLittleMemoryError) as caught:
        choose_plan("tiny", large, free, "whole")
    first, second = str(caught.value).splitlines()
    assert "needs" in first
    assert "640x640, 9 frames, 1 references" in first
    assert "are free" in first
    assert second.startswith("would fit: SPATIA_MEMORY=")
    assert "--size" in second


def test_where_nothing_fits_it_says_so() -> None:
    with pytest.raises(TooLittleMemoryError, match="no setting would fit"):
        choose_plan("tiny", SMALL, FreeMemory(1e6, 1e12))


def test_without_a_gpu_main_memory_must_hold_everything() -> None:
    need = need_on_cpu("tiny", SMALL)
    check_cpu("tiny", SMALL, FreeMemory(0, need))
    with pytest.raises(TooLittleMemoryError, match="without a GPU"):
        check_cpu("tiny", SMALL, FreeMemory(0, need - 1))


def test_settings_name_the_plans() -> None:
    assert tuple(PLANS) == MEMORY_PLANS


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_spatia(folder)
    return folder


def made(models: Path, memory: str) -> tuple[np.ndarray, SpatiaGenerator]:
    """A later round, with LoRA, by a generator whose weights are kept so."""
    generator = SpatiaGenerator(
        GeneratorSettings("tiny", models, SamplingConfig(num_steps=1), "cpu", memory=memory, is_lora_fused=True)
    )
    generator._files = find_spatia(models)
    request = turning_request(3)
    request = replace(request, tail=np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), dtype=np.uint8))
    scene = render_scene(request, generator.rank, new_renderer(), RecordingProgress())
    return generator.generate(request, scene, RecordingProgress()).frames, generator


def test_every_way_to_keep_weights_makes_the_clip_and_fp8_is_near(models: Path) -> None:
    whole, _ = made(models, "whole")
    encoder, _ = made(models, "encoder")
    assert encoder.tobytes() == whole.tobytes()
    in_fp8, generator = made(models, "fp8")
    block = generator._pipeline.transformer.blocks[0]
    assert block.attn1.to_q.base_layer.weight.dtype == FP8
    assert block.attn1.to_q.lora_A["spatia"].weight.dtype == torch.bfloat16
    assert generator._fused is None
    assert 0 < np.abs(in_fp8.astype(int) - whole.astype(int)).mean() < 10
    streamed, _ = made(models, "group")
    assert streamed.tobytes() == in_fp8.tobytes()


def test_weights_go_to_fp8_without_a_wide_copy(models: Path) -> None:
    network, _ = assembly._load_network(
        find_spatia(models),
        GeneratorSettings("tiny", models, device="cpu"),
        lambda phase, share: None,
        PRESETS["tiny"],
        PLANS["fp8"],
        torch.device("cpu"),
    )
    names = assembly._names_in_fp8(PRESETS["tiny"])
    assert "blocks.0.ffn.net.0.proj.weight" in names
    assert not any("norm" in name or "embed" in name or "scale_shift_table" in name for name in names)
    assert network.vace_blocks[1].proj_out.weight.dtype == FP8


def test_too_little_memory_ends_the_request_with_the_reason_before_anything_is_loaded(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "free_memory", lambda device: FreeMemory(0, 1e6))
    monkeypatch.setattr(assembly, "load_pipeline", lambda *_, **__: pytest.fail("it was loaded"))
    monkeypatch.setattr("spatia.generator.spatia.settings.models_folder", lambda environment: models)
    monkeypatch.setenv("SPATIA_PRESET", "tiny")
    monkeypatch.setattr(
        SpatiaGenerator, "_files", property(lambda self: find_spatia(models), lambda self, files: None), raising=False
    )
    with GenerationQueue("spatia", backend="inline") as queue:
        queue.submit(turning_request(2))
        (ended,) = queue.wait(5.0)
        assert ended.outcome is Outcome.FAILED
        assert "of memory at 64x48, 11 frames, 7 references without a GPU" in ended.reason
        assert queue.state == "failed"


@pytest.mark.parametrize(("work", "column"), [(WALK, "walk_gb"), (Work(1248, 704, 121, 0), "full_gb")])
def test_the_listed_needs_are_those_of_the_accounting(work: Work, column: str) -> None:
    for listed in PLAN_NEEDS:
        need = need_of("5b", PLANS[listed.plan], work)
        assert need.gpu_bytes / 1e9 == pytest.approx(getattr(listed, column), abs=0.06)
        assert need.ram_bytes / 1e9 == pytest.approx(listed.ram_gb, abs=0.06)


def test_the_listed_need_without_a_gpu_is_that_of_the_accounting() -> None:
    assert need_on_cpu("5b", WALK) / 1e9 == pytest.approx(CPU_NEED_GB, abs=0.06)


def test_with_weights_loaded_the_largest_size_that_fits_what_is_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(416, 256, 9, 1)
    small = smaller_works(work)[-1][1]
    for need, size in ((active_bytes("tiny", work), (416, 256)), (active_bytes("tiny", small), small_size(small))):
        monkeypatch.setattr(accounting, "free_memory", lambda device, need=need: FreeMemory(0, need))
        assert largest_size("tiny", work, None) == size
    monkeypatch.setattr(accounting, "free_memory", lambda device: FreeMemory(0, active_bytes("tiny", small) - 1))
    with pytest.raises(TooLittleMemoryError, match="are free now"):
        largest_size("tiny", work, None)


def small_size(work: Work) -> tuple[int, int]:
    return work.width, work.height


def test_a_clip_is_made_smaller_where_memory_became_scarce(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_at: list[tuple[int, int]] = []
    monkeypatch.setattr(accounting, "largest_size", lambda preset, work, device: (32, 32))
    control = SpatiaGenerator._control

    def noted(self: SpatiaGenerator, request, *rest):
        made_at.append(request.pinhole.size)
        return control(self, request, *rest)

    monkeypatch.setattr(SpatiaGenerator, "_control", noted)
    frames, _ = made(models, "whole")
    assert made_at == [(32, 32)]
    assert frames.shape[1:3] == (48, 64)
