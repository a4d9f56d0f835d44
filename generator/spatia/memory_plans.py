"""How weights are kept so that the model fits: all on the GPU, some streamed from main memory, the network in fp8."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks.group_offloading import apply_group_offloading
from torch import nn

FP8 = torch.float8_e4m3fn


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A way to keep weights.

    Attributes:
        name: What ``SPATIA_MEMORY`` says.
        is_text_streamed: The text encoder lies in main memory and comes layer by layer, once for each new prompt.
        is_fp8: The network's matrices are kept in 8 bits and widened one by one when they are used.
        is_network_streamed: The network lies in main memory and comes block by block, in each step.
    """

    name: str
    is_text_streamed: bool
    is_fp8: bool
    is_network_streamed: bool


PLANS = {
    plan.name: plan
    for plan in (
        MemoryPlan("whole", False, False, False),
        MemoryPlan("encoder", True, False, False),
        MemoryPlan("fp8", True, True, False),
        MemoryPlan("group", True, True, True),
    )
}
"""From the quickest to the smallest."""


def cast_to_fp8(network: Any, compute_dtype: torch.dtype) -> None:
    """Keep a network's matrices in fp8, as diffusers casts layer by layer; norms, tables and embeddings stay.

    Call it before a LoRA is attached, which then keeps its own type.
    """
    network.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=compute_dtype)


def names_in_fp8(network: Any) -> frozenset[str]:
    """Names of the parameters that ``cast_to_fp8`` casts.

    Args:
        network: One on the meta device, of its own; it is cast.
    """
    cast_to_fp8(network, torch.bfloat16)
    return frozenset(name for name, parameter in network.named_parameters() if parameter.dtype == FP8)


def stream_text(encoder: nn.Module, onload: torch.device) -> None:
    """Keep the text encoder in main memory; each layer comes to the device when it is used."""
    apply_group_offloading(encoder, onload_device=onload, offload_device=torch.device("cpu"), offload_type="leaf_level")


def stream_network(network: Any, onload: torch.device) -> None:
    """Keep the network in main memory; each block comes to the device when it is used, the next one beside it."""
    network.enable_group_offload(
        onload_device=onload,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=onload.type == "cuda",
    )
