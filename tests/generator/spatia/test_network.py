"""The network's layout: names and sizes, positions, references, hints, and what diffusers expects of a model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from spatia.generator.spatia import blocks
from spatia.generator.spatia.config import PRESETS
from spatia.generator.spatia.names import from_original, to_original
from spatia.generator.spatia.rope import rotation, split_head, token_positions
from spatia.generator.spatia.transformer import FLOAT32_PARTS, SpatiaTransformer3DModel
from spatia.tests.generator.spatia.makers import TINY, original_base, original_control, tiny_inputs, tiny_network

REFERENCES = 2
TOKENS_A_FRAME = 6


@pytest.fixture(scope="module")
def big() -> SpatiaTransformer3DModel:
    with torch.device("meta"):
        return SpatiaTransformer3DModel(**PRESETS["5b"].network.as_arguments())


def original_shapes(network: torch.nn.Module, *, control: bool) -> dict[str, tuple[int, ...]]:
    return {
        to_original(name): tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name.startswith("vace_") == control
    }


def test_control_has_the_names_and_shapes_of_the_authors_file(big: SpatiaTransformer3DModel) -> None:
    ours, theirs = original_shapes(big, control=True), original_control(PRESETS["5b"].network)
    assert ours == theirs
    assert len(ours) == 236
    numbers = sum(t.numel() for n, t in big.state_dict().items() if n.startswith("vace_"))
    assert numbers == 1_395_398_656


def test_base_has_the_names_and_shapes_of_the_authors_files(big: SpatiaTransformer3DModel) -> None:
    assert original_shapes(big, control=False) == original_base(PRESETS["5b"].network)


def test_base_has_the_names_and_shapes_of_diffusers_model(big: SpatiaTransformer3DModel) -> None:
    from diffusers import WanTransformer3DModel

    size = PRESETS["5b"].network
    with torch.device("meta"):
        theirs = WanTransformer3DModel(
            num_attention_heads=size.num_attention_heads,
            in_channels=size.in_channels,
            out_channels=size.out_channels,
            ffn_dim=size.ffn_dim,
            num_layers=size.num_layers,
        )
    wanted = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {n: t.shape for n, t in big.state_dict().items() if not n.startswith("vace_")} == wanted


def test_the_two_norms_swap_their_numbers() -> None:
    assert from_original("blocks.3.norm3.weight") == "blocks.3.norm2.weight"
    assert from_original("vace_blocks.0.norm2.bias") == "vace_blocks.0.norm3.bias"


def test_a_stranger_has_no_name() -> None:
    assert from_original("blocks.0.self_attn.z.weight") is None
    assert from_original("img_emb.proj.0.weight") is None


def test_small_has_about_30_million_parameters() -> None:
    with torch.device("meta"):
        small = SpatiaTransformer3DModel(**PRESETS["small"].network.as_arguments())
    assert 27e6 < sum(p.numel() for p in small.parameters()) < 33e6


def test_head_channels_are_split_as_the_authors_do() -> None:
    assert split_head(128) == (44, 42, 42)
    assert split_head(24) == (8, 8, 8)


def test_references_stand_before_and_below_the_clip() -> None:
    positions = token_positions(2, 2, 3, num_references=2).tolist()
    clip = [[t, y, x] for t in (0, 1) for y in (0, 1) for x in (0, 1, 2)]
    before = [[t, y, x] for t in (-2, -1) for y in (2, 3) for x in (0, 1, 2)]
    assert positions == before + clip


def test_rotation_is_that_of_the_position_in_float64() -> None:
    turn = rotation(1, 1, 2, num_references=1, head_dim=24)
    angles = torch.tensor([-1.0, -1.0, 0.0, 0.0], dtype=torch.float64)[:, None] * 10000.0 ** -(torch.arange(4) / 4.0)
    torch.testing.assert_close(turn.cos[0, :, 0, :4], angles.cos().float())
    torch.testing.assert_close(turn.sin[0, :, 0, :4], angles.sin().float())


class Recorder:
    """Inputs and outputs of every block."""

    def __init__(self, network: SpatiaTransformer3DModel) -> None:
        self.main: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.control: list[tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, torch.Tensor]]] = []
        for block in network.blocks:
            block.register_forward_hook(lambda _, given, got: self.main.append((given[0], got)))
        for block in network.vace_blocks:
            block.register_forward_hook(lambda _, given, got: self.control.append((given, got)))


@pytest.fixture
def recorded() -> Recorder:
    network = tiny_network()
    recorder = Recorder(network)
    with torch.no_grad():
        network(**tiny_inputs(REFERENCES), num_reference_frames=REFERENCES, control_hidden_states_scale=0.5)
    return recorder


@pytest.mark.parametrize("layer", range(TINY.num_layers - 1))
def test_hints_are_added_to_clip_tokens_after_every_fourth_block(recorded: Recorder, layer: int) -> None:
    change = recorded.main[layer + 1][0] - recorded.main[layer][1]
    first = REFERENCES * TOKENS_A_FRAME
    assert not change[:, :first].any()
    if layer in TINY.control_layers:
        hint = recorded.control[TINY.control_layers.index(layer)][1][1]
        torch.testing.assert_close(change[:, first:], 0.5 * hint, atol=1e-5, rtol=1e-4)
    else:
        assert not change.any()


def test_control_blocks_see_no_reference(recorded: Recorder) -> None:
    control, stream, _, modulation, cos, _ = recorded.control[0][0]
    assert control.shape[1] == stream.shape[1] == cos.shape[1] == 3 * TOKENS_A_FRAME
    assert modulation.shape[1] == 3
    first_stream = recorded.main[0][0][:, REFERENCES * TOKENS_A_FRAME :]
    torch.testing.assert_close(stream, first_stream)
    torch.testing.assert_close(cos, rotation(3, 2, 3, num_references=0, head_dim=24).cos)


def test_the_unprojected_control_goes_on_to_the_next_block(recorded: Recorder) -> None:
    torch.testing.assert_close(recorded.control[1][0][0], recorded.control[0][1][0])


@torch.no_grad()
def test_one_timestep_for_all_is_the_same_for_every_frame() -> None:
    network, inputs = tiny_network(), tiny_inputs(0)
    every = network(**inputs | {"timestep": torch.full((1, 3), 300.0)}).sample
    torch.testing.assert_close(network(**inputs | {"timestep": torch.tensor([300.0])}).sample, every)


def test_wrong_shapes_are_told() -> None:
    network, inputs = tiny_network(), tiny_inputs(0)
    with pytest.raises(ValueError, match=r"timestep: expected \(1,\), \(1, 3\) or \(1, 18\), got \(1, 5\)"):
        network(**inputs | {"timestep": torch.zeros(1, 5)})
    with pytest.raises(ValueError, match=r"control_hidden_states: expected \(1, 16, 2, 4, 6\)"):
        network(**inputs, num_reference_frames=1)
    with pytest.raises(ValueError, match="num_reference_frames: expected 0 to 2, got 3"):
        network(**inputs, num_reference_frames=3)
    with pytest.raises(ValueError, match="control_layers: expected rising numbers from 0"):
        SpatiaTransformer3DModel(**TINY.as_arguments() | {"control_layers": (1, 4)})


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for is_checkpointed in (False, True):
        network = tiny_network().train()
        if is_checkpointed:
            network.enable_gradient_checkpointing()
        network(**tiny_inputs(REFERENCES), num_reference_frames=REFERENCES).sample.square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(g is not None for g in gradients[0])
    torch.testing.assert_close(gradients[1], gradients[0])


@torch.no_grad()
def test_attention_goes_through_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    dispatch = blocks.dispatch_attention_fn

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(options["backend"])
        return dispatch(*arguments, **options)

    monkeypatch.setattr(blocks, "dispatch_attention_fn", counted)
    network = tiny_network()
    network.blocks[0].attn1.set_attention_backend("native")
    network(**tiny_inputs(0))
    assert len(calls) == 2 * (TINY.num_layers + len(TINY.control_layers))
    assert [str(b) for b in calls if b is not None] == ["AttentionBackendName.NATIVE"]


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    network = tiny_network()
    network.save_pretrained(tmp_path)
    loaded = SpatiaTransformer3DModel.from_pretrained(tmp_path)
    assert loaded.config.control_layers == [0, 4] or tuple(loaded.config.control_layers) == (0, 4)
    torch.testing.assert_close(loaded(**tiny_inputs(0)).sample, network(**tiny_inputs(0)).sample, rtol=0, atol=0)


def test_loaded_as_bfloat16_its_norms_and_time_stay_float32(tmp_path: Path) -> None:
    tiny_network().save_pretrained(tmp_path)
    loaded = SpatiaTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    for name, parameter in loaded.named_parameters():
        wanted = torch.float32 if any(part in name for part in FLOAT32_PARTS) else torch.bfloat16
        assert parameter.dtype == wanted, name
    assert loaded.dtype == torch.bfloat16


@torch.no_grad()
def test_group_offloading_changes_nothing() -> None:
    network = tiny_network()
    wanted = network(**tiny_inputs(0)).sample
    network.enable_group_offload(onload_device=torch.device("cpu"), offload_type="block_level", num_blocks_per_group=1)
    torch.testing.assert_close(network(**tiny_inputs(0)).sample, wanted)


@torch.no_grad()
def test_float8_storage_runs_and_stays_near() -> None:
    network = tiny_network()
    wanted = network(**tiny_inputs(0)).sample
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert network.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    assert network.condition_embedder.time_proj.weight.dtype == torch.float32
    got = network(**tiny_inputs(0)).sample
    assert 0 < float((got - wanted).norm() / wanted.norm()) < 0.1
