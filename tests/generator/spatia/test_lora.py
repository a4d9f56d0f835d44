"""LoRA is read whole, changes the network by B·A at scale 1.0, and comes off without a trace."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from spatia.generator.spatia.config import PRESETS
from spatia.generator.spatia.errors import CheckpointError
from spatia.generator.spatia.lora import FusedLora, LoraWeights, attach_lora, read_lora, set_lora
from spatia.generator.spatia.names import from_original
from spatia.generator.spatia.transformer import SpatiaTransformer3DModel
from spatia.tests.generator.spatia.makers import (
    LORA_LAYERS,
    TINY,
    lora_tensors,
    original_base,
    tiny_inputs,
    tiny_network,
)

LAYER = "pipe.dit.blocks.2.cross_attn.o"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lora_weights_10000.safetensors"


@pytest.fixture
def lora(path: Path) -> LoraWeights:
    save_file(lora_tensors(), path)
    return read_lora(path, tiny_network())


@torch.no_grad()
def velocity(network: SpatiaTransformer3DModel) -> torch.Tensor:
    return network(**tiny_inputs(1), num_reference_frames=1).sample


@torch.no_grad()
def changed_by_hand(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    network = tiny_network()
    for name, a in tensors.items():
        if ".lora_A." in name:
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            weight = network.get_parameter(from_original(name.split(".lora_")[0].removeprefix("pipe.dit.") + ".weight"))
            weight += b @ a
    return velocity(network)


def test_rank_and_layers_are_read(lora: LoraWeights) -> None:
    assert (lora.rank, len(lora.pairs)) == (4, TINY.num_layers * len(LORA_LAYERS))


def test_at_rank_64_the_big_network_takes_600_tensors(path: Path) -> None:
    size, rank = PRESETS["5b"].network, 64
    base = original_base(size)
    layers = [f"blocks.{b}.{layer}.weight" for b in range(size.num_layers) for layer in LORA_LAYERS]
    halves = [half for name in layers for half in ((rank, base[name][1]), (base[name][0], rank))]
    assert len(halves) == 600
    assert sum(rows * columns for rows, columns in halves) == 83_968 * rank * 30 == 161_218_560


def test_names_without_an_adapter_are_read_as_well(path: Path) -> None:
    tensors = {n.replace(".default.", "."): t for n, t in lora_tensors().items()}
    save_file(tensors | {"pipe.vace.other": torch.zeros(1)}, path)
    assert read_lora(path, tiny_network()).rank == 4


def test_a_half_without_its_other_half_is_named(path: Path) -> None:
    tensors = lora_tensors()
    del tensors[f"{LAYER}.lora_B.default.weight"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"blocks.2.cross_attn.o.lora_A.default.weight has no other half"):
        read_lora(path, tiny_network())


def test_an_unknown_layer_is_named(path: Path) -> None:
    tensors = lora_tensors() | {f"pipe.dit.blocks.9.self_attn.q.lora_{x}.weight": torch.zeros(4, 4) for x in "AB"}
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"blocks.9.self_attn.q.lora_A.weight: no such linear layer"):
        read_lora(path, tiny_network())


def test_a_wrong_shape_is_named(path: Path) -> None:
    save_file(lora_tensors() | {f"{LAYER}.lora_B.default.weight": torch.zeros(47, 4)}, path)
    with pytest.raises(CheckpointError, match=r"do not change \(48, 48\)"):
        read_lora(path, tiny_network())


def test_two_ranks_in_one_file_are_told(path: Path) -> None:
    other = {f"{LAYER}.lora_A.default.weight": torch.zeros(2, 48), f"{LAYER}.lora_B.default.weight": torch.zeros(48, 2)}
    save_file(lora_tensors() | other, path)
    with pytest.raises(CheckpointError, match=r"ranks \[2, 4\]"):
        read_lora(path, tiny_network())


def test_a_file_without_the_mark_is_refused(path: Path) -> None:
    save_file({"blocks.0.self_attn.q.lora_A.weight": torch.zeros(4, 48)}, path)
    with pytest.raises(CheckpointError, match=r"no name contains 'pipe.dit.'"):
        read_lora(path, tiny_network())


def test_at_run_time_it_changes_the_velocity_by_the_product(lora: LoraWeights) -> None:
    network = tiny_network()
    base = velocity(network)
    attach_lora(network, lora)
    wanted = changed_by_hand(lora_tensors())
    assert float((wanted - base).norm() / base.norm()) > 0.1
    torch.testing.assert_close(velocity(network), wanted, rtol=1e-4, atol=1e-5)


def test_switched_off_the_network_is_exactly_the_base(lora: LoraWeights) -> None:
    network = tiny_network()
    base = velocity(network)
    attach_lora(network, lora)
    changed = velocity(network)
    set_lora(network, is_on=False)
    assert torch.equal(velocity(network), base)
    set_lora(network, is_on=True)
    assert torch.equal(velocity(network), changed)


def test_control_blocks_stay_as_they_are(lora: LoraWeights) -> None:
    network = tiny_network()
    attach_lora(network, lora)
    changed = {name.split(".lora_")[0] for name, _ in network.named_parameters() if ".lora_" in name}
    assert changed == set(lora.pairs)


def test_fused_it_changes_the_velocity_by_the_product(lora: LoraWeights) -> None:
    network = tiny_network()
    assert FusedLora(network, lora).fuse() == len(lora.pairs)
    torch.testing.assert_close(velocity(network), changed_by_hand(lora_tensors()), rtol=1e-4, atol=1e-5)


def test_taken_out_again_in_bfloat16_every_bit_is_the_base(lora: LoraWeights) -> None:
    network = tiny_network()
    for block in network.blocks:
        block.to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = FusedLora(network, lora)
    fused.fuse()
    fused.fuse()
    assert fused.is_fused
    assert not torch.equal(network.state_dict()["blocks.0.attn1.to_q.weight"], before["blocks.0.attn1.to_q.weight"])
    fused.unfuse()
    assert not fused.is_fused
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
