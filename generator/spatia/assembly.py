"""Puts the whole pipeline together from weight files, on the device that is there."""

from typing import TYPE_CHECKING, Any

import torch

from .catalogue import GB, SpatiaFiles
from .checkpoints import Report
from .loading import Placement, load_text_encoder, load_tokenizer, load_transformer, load_vae, no_report
from .lora import FusedLora, attach_lora, read_lora
from .pipeline import SpatiaPipeline
from .sampling import make_scheduler

if TYPE_CHECKING:
    from .settings import GeneratorSettings

WHOLE_ON_GPU_BYTES = 40 * GB
"""Network 12.9 GB, text encoder 11.4 GB, VAE 1.4 GB in bfloat16, and what a clip of 121 frames needs beside them."""


def chosen_device(wanted: str) -> torch.device:
    """The device of a setting: "auto" is the GPU if there is one."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def load_pipeline(
    files: SpatiaFiles, settings: "GeneratorSettings", report: Report = no_report, sizes: Any = None
) -> tuple[SpatiaPipeline, FusedLora | None]:
    """Load the model.

    Args:
        files: Where its weights lie.
        settings: Device, sampler and kind of LoRA.
        report: Told of every tensor; may raise to stop.
        sizes: ``config.Preset`` to expect; the authors' if not given.

    Returns:
        The pipeline, LoRA switched off or not yet fused, and the LoRA if it shall be fused.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    from .config import PRESETS

    sizes = sizes or PRESETS[settings.preset]
    device = chosen_device(settings.device)
    is_whole = device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory >= WHOLE_ON_GPU_BYTES
    placement = Placement(device if is_whole else "cpu", torch.bfloat16)
    part = [0]

    def report_part(phase: str, fraction: float) -> None:
        report(phase, (part[0] + fraction) / 3)

    transformer = load_transformer(
        files.base, files.control, config=sizes.network, placement=placement, report=report_part
    )
    lora = read_lora(files.lora, transformer)
    fused = FusedLora(transformer, lora) if settings.is_lora_fused else None
    if fused is None:
        attach_lora(transformer, lora)
    part[0] = 1
    text_encoder = load_text_encoder(files.base, config=sizes.text, placement=placement, report=report_part)
    part[0] = 2
    vae = load_vae(files.base, config=sizes.vae, placement=placement, report=report_part)
    pipeline = SpatiaPipeline(
        load_tokenizer(files.base), text_encoder, vae, transformer, make_scheduler(settings.sampling.sampler)
    )
    if device.type == "cuda" and not is_whole:
        pipeline.enable_model_cpu_offload(device=device)
    return pipeline, fused
