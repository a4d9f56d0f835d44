"""From noise to latents: the schedule of the authors, and the loop that keeps clean latents clean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from .config import SamplingConfig

FIRST_SIGMA = {"uni_pc": float(np.float32(0.999)), "euler": 1.0}
"""Noise level at which each sampler starts, before the shift; the authors' 0.999 went through float32."""

Scheduler = UniPCMultistepScheduler | FlowMatchEulerDiscreteScheduler
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(B, C, F, H, W) latents and (F,) timesteps to (B, C, F, H, W) velocity."""


def make_scheduler(sampler: str = "uni_pc", shift: float = 5.0) -> Scheduler:
    """The scheduler of a sampler: UniPC of order 2 (bh2, data prediction), or Euler.

    Raises:
        ValueError: Unknown sampler.
    """
    if sampler == "uni_pc":
        return UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
        )
    if sampler == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift)
    raise ValueError(f"sampler: expected one of {', '.join(FIRST_SIGMA)}, got {sampler!r}")


def set_steps(scheduler: Scheduler, num_steps: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Lay out the authors' noise levels: evenly from the first to 0, which is left out, then shifted.

    diffusers would start elsewhere on its own, so they are passed explicitly; it applies the shift.

    Returns:
        (num_steps,) timesteps, on the device.
    """
    first = FIRST_SIGMA["uni_pc" if isinstance(scheduler, UniPCMultistepScheduler) else "euler"]
    sigmas: Any = np.linspace(first, 0.0, num_steps + 1)[:-1]
    scheduler.set_timesteps(device=device, sigmas=sigmas)
    return torch.as_tensor(scheduler.timesteps)


@dataclass(frozen=True, slots=True, eq=False)
class CleanLatents:
    """Latents that are known and stay so; their timestep is 0.

    Attributes:
        references: (B, C, R, H, W), before the clip, or None.
        beginning: (B, C, K, H, W), the image or the history at the beginning of the clip, or None.
    """

    references: torch.Tensor | None = None
    beginning: torch.Tensor | None = None

    @property
    def num_references(self) -> int:
        """R."""
        return 0 if self.references is None else self.references.shape[2]

    @property
    def num_beginning(self) -> int:
        """K."""
        return 0 if self.beginning is None else self.beginning.shape[2]

    def written_to(self, clip: torch.Tensor) -> torch.Tensor:
        """The clip's latents with the beginning in place; fresh memory if there is one."""
        if self.beginning is None:
            return clip
        return torch.cat((self.beginning.to(clip), clip[:, :, self.num_beginning :]), dim=2)

    def before(self, clip: torch.Tensor) -> torch.Tensor:
        """What the network sees: references, then the clip."""
        return clip if self.references is None else torch.cat((self.references.to(clip), clip), dim=2)

    def timesteps(self, timestep: torch.Tensor, num_latents: int) -> torch.Tensor:
        """(R + F,) timestep of every latent frame: 0 where it is clean."""
        known = self.num_references + self.num_beginning
        moving = timestep.reshape(1).expand(self.num_references + num_latents - known)
        return torch.cat((moving.new_zeros(known), moving))


def guided(positive: torch.Tensor, negative: torch.Tensor | None, guidance: float) -> torch.Tensor:
    """Velocity pushed away from the negative prompt's: neg + guidance · (pos - neg)."""
    return positive if negative is None else negative + guidance * (positive - negative)


def sample(
    velocity: Velocity,
    noise: torch.Tensor,
    clean: CleanLatents,
    *,
    scheduler: Scheduler,
    config: SamplingConfig,
    on_step: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor | None] = lambda *_: None,
) -> torch.Tensor:
    """Denoise a clip.

    Args:
        velocity: Of references and clip; guidance is its business. References' velocities are dropped.
        noise: (B, C, F, H, W).
        clean: Written back after every step.
        scheduler: Its steps are laid out here.
        config: Number of steps.
        on_step: Told of every step: its number, timestep and latents; may give back others, or raise to stop.

    Returns:
        (B, C, F, H, W) of the noise's type, without references.
    """
    timesteps = set_steps(scheduler, config.num_steps, noise.device)
    step: Any = scheduler.step
    latents = clean.written_to(noise)
    for index, timestep in enumerate(timesteps):
        per_frame = clean.timesteps(timestep, latents.shape[2])
        change = velocity(clean.before(latents), per_frame)[:, :, clean.num_references :]
        latents = step(change.to(latents.dtype), timestep, latents, return_dict=False)[0]
        latents = clean.written_to(latents)
        replaced = on_step(index, timestep, latents)
        latents = latents if replaced is None else replaced
    return latents
