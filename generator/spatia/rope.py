"""Rotary positions: where a token is in time, height and width.

A head's channels are split 44/42/42 of 128 (in general d - 4⌊d/6⌋, 2⌊d/6⌋, 2⌊d/6⌋) over time, height and width. Clip
tokens stand at (0…F-1, 0…h-1, 0…w-1). Reference tokens stand before the clip and one frame height below it, at
(-R…-1, h…2h-1, 0…w-1); nothing else tells them apart.
"""

from dataclasses import dataclass

import torch

THETA = 10000.0


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Cosines and sines of every token's angles.

    Attributes:
        cos: (1, T, 1, head_dim / 2) float32.
        sin: Like ``cos``.
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def after(self, num_tokens: int) -> "Rotation":
        """The rotation of the tokens after the first ``num_tokens``."""
        return Rotation(self.cos[:, num_tokens:], self.sin[:, num_tokens:])


def split_head(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that turn with time, height and width."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def token_positions(
    num_frames: int, height: int, width: int, num_references: int, device: torch.device | None = None
) -> torch.Tensor:
    """Time, row and column of every token, references first.

    Args:
        num_frames: Token frames of the clip.
        height: Token rows of a frame.
        width: Token columns of a frame.
        num_references: Reference frames before the clip.
        device: Of the result.

    Returns:
        ((R + F) * h * w, 3) int64.
    """
    sides = [torch.arange(a, b, device=device) for a, b in ((-num_references, num_frames), (0, height), (0, width))]
    frames = torch.cartesian_prod(*sides)
    frames[: num_references * height * width, 1] += height
    return frames


def rotation(
    num_frames: int, height: int, width: int, *, num_references: int, head_dim: int, device: torch.device | None = None
) -> Rotation:
    """Angles of all tokens, computed in float64 as the authors do."""
    positions = token_positions(num_frames, height, width, num_references, device).to(torch.float64)
    angles = [
        positions[:, axis, None] * THETA ** -(torch.arange(0, channels, 2, device=device).double() / channels)
        for axis, channels in enumerate(split_head(head_dim))
    ]
    angle = torch.cat(angles, dim=1)[None, :, None]
    return Rotation(angle.cos().float(), angle.sin().float())


def rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn adjacent pairs of channels, as complex numbers, by the tokens' angles.

    Args:
        heads: (B, T, heads, head_dim).
        cos: (1, T, 1, head_dim / 2) float32.
        sin: Like ``cos``.

    Returns:
        Like ``heads``; computed in float32.
    """
    even, odd = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).type_as(heads)
