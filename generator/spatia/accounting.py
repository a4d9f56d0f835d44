"""Memory that the model needs, by accounting: its parts on the meta device, run once without computing anything.

Weights are counted by type, activations by following every tensor of the real code at the real size. What no account
can see is allowed for: the CUDA context, and a tenth for pieces that the allocator cannot use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..errors import TooLittleMemoryError
from ..quality import LADDER
from .catalogue import GB
from .config import PRESETS, ROUND_UP_PX, TEXT_TOKENS
from .loading import Placement
from .memory_plans import PLANS, MemoryPlan, cast_to_fp8
from .rounds import FIRST_ROUND_FRAMES, num_latents, padded_frames, padded_side
from .tally import Tally, tally
from .transformer import SpatiaTransformer3DModel
from .vae import decode_pieces, encode

CONTEXT_BYTES = 0.6 * GB
"""What CUDA and its libraries take before the first tensor."""
SLACK = 1.1
"""Memory that the allocator holds for a byte of activations: it cannot use every gap."""
PROCESS_BYTES = 1.5 * GB
"""Main memory of Python, torch and the memory of the world."""
STREAMED_BLOCKS = 2
"""Blocks on the GPU at a time where they are streamed: the one at work and the next one."""
LORA_RANK = 64
FULL_CACHE_LATENTS = 4
"""After so many the VAE's cache of earlier latents is full."""
SMALLEST_PIXELS = 320 * 192


@dataclass(frozen=True, slots=True)
class Work:
    """One round.

    Attributes:
        width: Of a frame, pixels.
        height: Of a frame, pixels.
        num_frames: History included.
        num_references: References before the clip.
    """

    width: int
    height: int
    num_frames: int = FIRST_ROUND_FRAMES
    num_references: int = 0

    @property
    def padded(self) -> "Work":
        """With sides and frames as the network takes them."""
        width, height = padded_side(self.width), padded_side(self.height)
        return replace(self, width=width, height=height, num_frames=padded_frames(self.num_frames))

    @property
    def num_tokens(self) -> int:
        """Tokens of the main blocks."""
        work = self.padded
        area = (work.width // ROUND_UP_PX) * (work.height // ROUND_UP_PX)
        return area * (num_latents(work.num_frames) + work.num_references)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, {self.num_frames} frames, {self.num_references} references"


@dataclass(frozen=True, slots=True)
class Stages:
    """Peak of activations and arithmetic of each stage; ``denoise`` is one pass."""

    text: Tally
    encode: Tally
    denoise: Tally
    decode: Tally


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the parts.

    Attributes:
        network: Network with control.
        outside_blocks: Of ``network``, what lies outside of its blocks.
        largest_block: Of ``network``.
        lora: LoRA at run time.
        text: Text encoder.
        largest_text: Its largest tensor: what is on the GPU at a time where it is streamed.
        vae: VAE.
    """

    network: int
    outside_blocks: int
    largest_block: int
    lora: int
    text: int
    largest_text: int
    vae: int


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Bytes that are free on the GPU and in main memory."""

    gpu_bytes: float
    ram_bytes: float


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a plan needs for a piece of work.

    Attributes:
        plan: How weights are kept.
        parts: Bytes on the GPU at its peak, by what they are for.
        ram_bytes: In main memory.
    """

    plan: MemoryPlan
    parts: Mapping[str, int]
    ram_bytes: int

    @property
    def gpu_bytes(self) -> int:
        """On the GPU at its peak."""
        return sum(self.parts.values())

    def fits(self, free: FreeMemory) -> bool:
        """Whether both memories suffice."""
        return self.gpu_bytes <= free.gpu_bytes and self.ram_bytes <= free.ram_bytes


def need_of(preset: str, plan: MemoryPlan, work: Work) -> MemoryNeed:
    """What a plan needs on a GPU.

    Args:
        preset: Sizes of the model.
        plan: How weights are kept.
        work: The round.
    """
    weights, stages = weights_of(preset, is_fp8=plan.is_fp8), stages_of(preset, work.padded)
    blocks = weights.network - weights.outside_blocks
    at_once = STREAMED_BLOCKS * weights.largest_block if plan.is_network_streamed else blocks
    streamed_text = weights.largest_text if plan.is_text_streamed else 0
    peaks = (stages.encode, stages.denoise, stages.decode)
    active = max(streamed_text + stages.text.peak_bytes, *(stage.peak_bytes for stage in peaks))
    parts = {
        "network": weights.outside_blocks + at_once,
        "lora": weights.lora,
        "text encoder": 0 if plan.is_text_streamed else weights.text,
        "vae": weights.vae,
        "activations": round(active * SLACK),
        "context": round(CONTEXT_BYTES),
    }
    ram = PROCESS_BYTES + plan.is_text_streamed * weights.text
    return MemoryNeed(plan, parts, round(ram + plan.is_network_streamed * (weights.network + weights.lora)))


def need_on_cpu(preset: str, work: Work) -> int:
    """Bytes of main memory that everything takes where there is no GPU."""
    weights, stages = weights_of(preset), stages_of(preset, work.padded)
    active = max(s.peak_bytes for s in (stages.text, stages.encode, stages.denoise, stages.decode))
    return round(weights.network + weights.lora + weights.text + weights.vae + active + PROCESS_BYTES)


@lru_cache
def weights_of(preset: str, *, is_fp8: bool = False) -> Weights:
    """Bytes of the parts' weights in bfloat16, the network's matrices in fp8 where that is asked for."""
    network, text, sizes = meta_network(preset, is_fp8=is_fp8), meta_text(preset), PRESETS[preset].network
    blocks = [_num_bytes(block) for block in (*network.blocks, *network.vace_blocks)]
    dim = sizes.num_attention_heads * sizes.attention_head_dim
    # two factors for each of a block's eight projections and its two feed-forward layers
    lora = (16 * dim + 2 * (dim + sizes.ffn_dim)) * LORA_RANK * sizes.num_layers * 2
    total = _num_bytes(network)
    largest = max(p.nbytes for p in text.parameters())
    return Weights(
        total, total - sum(blocks), max(blocks), lora, _num_bytes(text), largest, _num_bytes(meta_vae(preset))
    )


def _num_bytes(module: nn.Module) -> int:
    return sum(p.nbytes for p in module.parameters())


@lru_cache
def stages_of(preset: str, work: Work) -> Stages:
    """Run every stage on the meta device at the padded size; takes seconds for the large preset."""
    sizes, network, vae, text = PRESETS[preset].network, meta_network(preset), meta_vae(preset), meta_text(preset)
    rows, columns, latents = work.height // 16, work.width // 16, num_latents(work.num_frames)

    def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    clip = empty(1, sizes.in_channels, work.num_references + latents, rows, columns)
    timesteps = empty(1, work.num_references + latents, dtype=torch.float32)
    told = empty(1, TEXT_TOKENS, sizes.text_dim)
    control = empty(1, sizes.control_channels, latents, rows, columns)
    pixels = empty(1, 3, work.num_frames, work.height, work.width, dtype=torch.float32)
    ids = torch.zeros(1, TEXT_TOKENS, dtype=torch.long, device="meta")
    made = empty(1, sizes.in_channels, min(latents, FULL_CACHE_LATENTS), rows, columns, dtype=torch.float32)
    return Stages(
        text=_tally_of(text, lambda: text(ids)),
        encode=_tally_of(vae, lambda: encode(vae, pixels)),
        denoise=_tally_of(network, lambda: network(clip, timesteps, told, control, work.num_references)),
        decode=_decode_tally(vae, made, latents),
    )


def _decode_tally(vae: Any, made: torch.Tensor, latents: int) -> Tally:
    """Decoding goes latent by latent: with its cache full, each is like the one before."""
    whole = _tally_of(vae, lambda: [None for _ in decode_pieces(vae, made)])
    if latents == made.shape[2]:
        return whole
    less = _tally_of(vae, lambda: [None for _ in decode_pieces(vae, made[:, :, :-1])])
    return replace(whole, flops=whole.flops + (latents - made.shape[2]) * (whole.flops - less.flops))


def _tally_of(module: nn.Module, run: Callable[[], Any]) -> Tally:
    return tally(run, module.parameters())


@lru_cache
def meta_network(preset: str, *, is_fp8: bool = False) -> SpatiaTransformer3DModel:
    """The network without numbers, each weight of the type that it is kept in."""
    placement = Placement("meta", torch.bfloat16)
    with torch.device("meta"):
        network = SpatiaTransformer3DModel(**PRESETS[preset].network.as_arguments()).eval()
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.to(placement.of_network(name))
    if is_fp8:
        cast_to_fp8(network, torch.bfloat16)
    return network


@lru_cache
def meta_text(preset: str) -> Any:
    """The text encoder without numbers."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        return UMT5EncoderModel(UMT5Config(**PRESETS[preset].text.as_arguments())).bfloat16().eval()


@lru_cache
def meta_vae(preset: str) -> Any:
    """The VAE without numbers."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    with torch.device("meta"):
        vae = AutoencoderKLWan(**PRESETS[preset].vae.as_arguments()).eval()
    for parameter in vae.parameters():
        parameter.data = parameter.data.bfloat16()
    return vae


def choose_plan(preset: str, work: Work, free: FreeMemory, wanted: str = "auto") -> MemoryPlan:
    """The quickest plan that fits, or the one that is wanted if it does.

    Args:
        preset: Sizes of the model.
        work: The round that is to be made first.
        free: What is free before anything is loaded.
        wanted: Name of a plan, or "auto".

    Raises:
        TooLittleMemoryError: It does not fit; the message names what would.
    """
    needs = [need_of(preset, plan, work) for plan in PLANS.values() if wanted in ("auto", plan.name)]
    for need in needs:
        if need.fits(free):
            return need.plan
    least = min(needs, key=lambda need: need.gpu_bytes)
    raise TooLittleMemoryError(
        f"spatia needs {gb(least.gpu_bytes)} on the GPU and {gb(least.ram_bytes)} of memory at {work}; "
        f"{gb(free.gpu_bytes)} and {gb(free.ram_bytes)} are free\n{what_fits(preset, work, free)}"
    )


def check_cpu(preset: str, work: Work, free: FreeMemory) -> None:
    """Refuse a model that does not fit into main memory.

    Raises:
        TooLittleMemoryError: It does not fit; the message names what would.
    """
    need = need_on_cpu(preset, work)
    if need <= free.ram_bytes:
        return
    fits = [how for how, smaller in smaller_works(work) if need_on_cpu(preset, smaller) <= free.ram_bytes]
    raise TooLittleMemoryError(
        f"spatia needs {gb(need)} of memory at {work} without a GPU, {gb(free.ram_bytes)} are free\n"
        + (f"would fit: {fits[0]}" if fits else "no smaller size would fit")
    )


def largest_size(preset: str, work: Work, device: torch.device | None) -> tuple[int, int]:
    """(width, height) of the round, or the largest smaller size whose activations fit into what is free now.

    Args:
        preset: Sizes of the model, whose weights are loaded already.
        work: The round.
        device: Where the model computes; None for the processor.

    Raises:
        TooLittleMemoryError: Not even the smallest size fits.
    """
    room = room_for_activations(device or torch.device("cpu"))
    for _, smaller in (("", work), *smaller_works(work)):
        if active_bytes(preset, smaller) <= room:
            return smaller.width, smaller.height
    raise TooLittleMemoryError(
        f"spatia needs {gb(active_bytes(preset, work))} more at {work}, {gb(room)} are free now: too little for any "
        "smaller size; something else may use the memory"
    )


@lru_cache
def active_bytes(preset: str, work: Work) -> float:
    """What a round takes beside the weights, gaps included."""
    stages = stages_of(preset, work.padded)
    return SLACK * max(s.peak_bytes for s in (stages.text, stages.encode, stages.denoise, stages.decode))


def room_for_activations(device: torch.device) -> float:
    """Bytes that are free now, those included that torch holds for nothing."""
    free = free_memory(device)
    if device.type != "cuda":
        return free.ram_bytes
    return free.gpu_bytes + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def what_fits(preset: str, work: Work, free: FreeMemory) -> str:
    """In words: for every plan the largest size that fits into what is free."""
    found = []
    for plan in PLANS.values():
        for how, smaller in (("", work), *smaller_works(work)):
            need = need_of(preset, plan, smaller)
            if need.fits(free):
                found.append(f"SPATIA_MEMORY={plan.name} {how}".strip() + f" ({gb(need.gpu_bytes)})")
                break
    return "would fit: " + "; ".join(found) if found else "no setting would fit"


def smaller_works(work: Work) -> list[tuple[str, Work]]:
    """The same round at the smaller sizes of the ladder, and the options that lead there."""
    caps = sorted({rung.max_pixels for rung in LADDER} | {SMALLEST_PIXELS}, reverse=True)
    out = []
    for cap in caps:
        if cap < work.width * work.height:
            factor = (cap / (work.width * work.height)) ** 0.5
            sides = (int(side * factor) // ROUND_UP_PX * ROUND_UP_PX for side in (work.width, work.height))
            width, height = (max(ROUND_UP_PX, side) for side in sides)
            how = "--quality balanced" if cap == LADDER[-2].max_pixels else f"--size {width}x{height}"
            out.append((how, replace(work, width=width, height=height)))
    return out


def gb(count: float) -> str:
    """Bytes in words."""
    return f"{count / GB:.1f} GB"


def free_memory(device: torch.device) -> FreeMemory:
    """What is free now."""
    gpu = float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0.0
    return FreeMemory(gpu, _free_ram())


def _free_ram() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return float("inf")  # unknown here: nothing is refused
