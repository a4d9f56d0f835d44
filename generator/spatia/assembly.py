"""Puts the whole pipeline together from weight files, on the device that is there."""

from typing import TYPE_CHECKING

import torch

from .accounting import Work, check_cpu, choose_plan, free_memory
from .catalogue import SpatiaFiles
from .checkpoints import Report
from .config import PRESETS, Preset
from .loading import Placement, load_text_encoder, load_tokenizer, load_transformer, load_vae, no_report
from .lora import FusedLora, attach_lora, read_lora
from .memory_plans import PLANS, MemoryPlan, cast_to_fp8, names_in_fp8, stream_network, stream_text
from .pipeline import SpatiaPipeline
from .sampling import make_scheduler
from .transformer import SpatiaTransformer3DModel

if TYPE_CHECKING:
    from .settings import GeneratorSettings


def chosen_device(wanted: str) -> torch.device:
    """The device of a setting: "auto" is the GPU if there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def plan_for(settings: "GeneratorSettings", work: Work) -> MemoryPlan:
    """How weights are kept so that a round fits into what is free now.

    Raises:
        TooLittleMemoryError: It does not fit; the message names what would.
    """
    device = chosen_device(settings.device)
    free = free_memory(device)
    if device.type == "cuda":
        return choose_plan(settings.preset, work, free, settings.memory)
    check_cpu(settings.preset, work, free)
    return PLANS["whole" if settings.memory == "auto" else settings.memory]


def load_pipeline(
    files: SpatiaFiles,
    settings: "GeneratorSettings",
    report: Report = no_report,
    sizes: Preset | None = None,
    plan: MemoryPlan = PLANS["whole"],
) -> tuple[SpatiaPipeline, FusedLora | None]:
    """Load the model.

    Args:
        files: Where its weights lie.
        settings: Device, sampler and kind of LoRA.
        report: Told of every tensor; may raise to stop.
        sizes: What to expect; those of the settings' preset if not given.
        plan: How weights are kept. LoRA is not fused into a network in fp8, which would round it away.

    Returns:
        The pipeline, LoRA switched off or not yet fused, and the LoRA if it shall be fused.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    sizes = sizes or PRESETS[settings.preset]
    device = chosen_device(settings.device)
    part = [0]

    def report_part(phase: str, fraction: float) -> None:
        report(phase, (part[0] + fraction) / 3)

    transformer, fused = _load_network(files, settings, report_part, sizes, plan, device)
    part[0] = 1
    placement = Placement("cpu" if plan.is_text_streamed else device, torch.bfloat16)
    text_encoder = load_text_encoder(files.base, config=sizes.text, placement=placement, report=report_part)
    if plan.is_text_streamed:
        stream_text(text_encoder, device)
    part[0] = 2
    placement = Placement(device, torch.bfloat16)
    vae = load_vae(files.base, config=sizes.vae, placement=placement, report=report_part)
    scheduler = make_scheduler(settings.sampling.sampler)
    return SpatiaPipeline(load_tokenizer(files.base), text_encoder, vae, transformer, scheduler), fused


def _load_network(
    files: SpatiaFiles,
    settings: "GeneratorSettings",
    report: Report,
    sizes: Preset,
    plan: MemoryPlan,
    device: torch.device,
) -> tuple[SpatiaTransformer3DModel, FusedLora | None]:
    """The network with its LoRA, kept as the plan says."""
    names = _names_in_fp8(sizes) if plan.is_fp8 else frozenset[str]()
    placement = Placement("cpu" if plan.is_network_streamed else device, torch.bfloat16, names)
    network = load_transformer(files.base, files.control, config=sizes.network, placement=placement, report=report)
    if plan.is_fp8:
        cast_to_fp8(network, torch.bfloat16)
    lora = read_lora(files.lora, network)
    is_fused = settings.is_lora_fused and not plan.is_fp8
    if not is_fused:
        attach_lora(network, lora)
    if plan.is_network_streamed:
        stream_network(network, device)
    return network, FusedLora(network, lora) if is_fused else None


def _names_in_fp8(sizes: Preset) -> frozenset[str]:
    with torch.device("meta"):
        return names_in_fp8(SpatiaTransformer3DModel(**sizes.network.as_arguments()))
