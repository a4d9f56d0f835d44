"""Pictures to latents and back, through diffusers' ``AutoencoderKLWan``.

A latent is the mean that the encoder gives, normed by channel: (mean - latents_mean) / latents_std. The first frame is
encoded alone, then groups of four.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify


def pixels_of(frames: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(F, H, W, 3) uint8 to (1, 3, F, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float() * (2.0 / 255.0) - 1.0


def score_of(coverage: npt.NDArray[np.uint8] | npt.NDArray[np.floating]) -> torch.Tensor:
    """Coverage to (1, 3, F, H, W) float32 score: 1 where memory is empty, 0 where it has points.

    The score stays in [0, 1], unlike pictures.

    Args:
        coverage: (F, H, W), 0 to 255 if uint8, otherwise 0 to 1 and cut to 8 bits as the authors do.
    """
    if coverage.dtype != np.uint8:
        coverage = (np.clip(coverage, 0.0, 1.0) * 255.0 + 1e-3).astype(
            np.uint8
        )  # n / 255 * 255 is n in spite of rounding
    return torch.from_numpy(255 - coverage).float()[None, None].expand(1, 3, -1, -1, -1) / 255.0


def frames_of(pixels: torch.Tensor) -> npt.NDArray[np.uint8]:
    """(1, 3, F, H, W) in [-1, 1] to (F, H, W, 3) uint8."""
    scaled = (pixels[0].float().clamp(-1.0, 1.0) + 1.0) * 127.5
    return scaled.round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


@torch.no_grad()
def encode(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Encode one clip.

    Args:
        vae: diffusers' ``AutoencoderKLWan``.
        pixels: (B, 3, F, H, W) with F = 4k + 1, H and W multiples of 16.

    Returns:
        (B, z, k + 1, H / 16, W / 16) float32.
    """
    mean = vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float()
    shift, scale = _norm(vae, mean)
    return (mean - shift) / scale


def encode_each(vae: Any, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
    """Encode pictures, each alone as a clip of one frame.

    Args:
        vae: diffusers' ``AutoencoderKLWan``.
        pictures: R of (1, 3, 1, H, W).

    Returns:
        (1, z, R, H / 16, W / 16) float32, one latent for each.
    """
    return torch.cat([encode(vae, picture) for picture in pictures], dim=2)


@torch.no_grad()
def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """(B, z, k + 1, h, w) latents to (B, 3, 4k + 1, 16h, 16w) float32 in [-1, 1]."""
    shift, scale = _norm(vae, latents)
    return vae.decode((latents.float() * scale + shift).to(vae.dtype), return_dict=False)[0].float()


@torch.no_grad()
def decode_pieces(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Decode latent by latent, so that the first frames are there before the last are decoded.

    The pieces put together are what ``decode`` gives without tiling.

    Args:
        vae: diffusers' ``AutoencoderKLWan``; its cache is in use until the iteration ends.
        latents: (B, z, k + 1, h, w).

    Yields:
        (B, 3, 1, 16h, 16w), then k times (B, 3, 4, 16h, 16w), float32 in [-1, 1].
    """
    hook = getattr(vae, "_hf_hook", None)
    if hook is not None and hasattr(hook, "pre_forward"):
        hook.pre_forward(vae)
    shift, scale = _norm(vae, latents)
    vae.clear_cache()
    states = vae.post_quant_conv((latents.float() * scale + shift).to(vae.dtype))
    try:
        for index in range(states.shape[2]):
            vae._conv_idx = [0]
            piece = vae.decoder(
                states[:, :, index : index + 1],
                feat_cache=vae._feat_map,
                feat_idx=vae._conv_idx,
                first_chunk=index == 0,
            )
            yield unpatchify(piece, vae.config.patch_size or 1).clamp(-1.0, 1.0).float()
    finally:
        vae.clear_cache()


def _norm(vae: Any, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, z, 1, 1, 1) float32 mean and standard deviation of the channels."""
    tables = (vae.config.latents_mean, vae.config.latents_std)
    mean, std = (torch.tensor(t, dtype=torch.float32, device=like.device).view(1, -1, 1, 1, 1) for t in tables)
    return mean, std
