"""Blocks of the network: attention, feed-forward and their modulation by the timestep, after Wan2.2.

Module names are diffusers' (``attn1.to_q``, ``ffn.net.0.proj``, …), so that its checkpoints and PEFT find them. Norms,
modulation, gates and rotary angles are computed in float32 whatever the weights' type; matrices multiply in the text
tokens' type; the stream between blocks keeps the type that it comes in.
"""

from typing import Any, ClassVar

import torch
from diffusers.models.attention import AttentionModuleMixin, FeedForward
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn
from torch.nn import functional

from .rope import rotate
from .speed import Kept, once


def add_modulated(stream: torch.Tensor, change: torch.Tensor, gate: torch.Tensor, *, num_groups: int) -> torch.Tensor:
    """Add a gated change to the stream.

    Args:
        stream: (B, T, D).
        change: (B, T, D).
        gate: (B, G, D) float32; group g gates the g-th of G equal parts of the tokens.
        num_groups: G.

    Returns:
        Like ``stream``.
    """
    gated = change.float().unflatten(1, (num_groups, -1)) * gate[:, :, None]
    return (stream.float() + gated.flatten(1, 2)).type_as(stream)


def modulated_norm(
    stream: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor, *, num_groups: int, eps: float, dtype: torch.dtype
) -> torch.Tensor:
    """Layer norm without weights, then scaled and shifted by the timestep.

    Args:
        stream: (B, T, D).
        shift: (B, G, D) float32, as ``gate`` in ``add_modulated``.
        scale: Like ``shift``.
        num_groups: G.
        eps: Of the norm.
        dtype: Of the result.

    Returns:
        (B, T, D).
    """
    normed = functional.layer_norm(stream.float(), stream.shape[-1:], eps=eps).unflatten(1, (num_groups, -1))
    return (normed * (1.0 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2).to(dtype)


class Float32Norm(nn.LayerNorm):
    """Layer norm with weights that computes in float32."""

    def forward(self, stream: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Norm over the last axis; the result is of ``dtype``, or of the stream's."""
        normed = functional.layer_norm(
            stream.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps
        )
        return normed.to(dtype or stream.dtype)


class Float32RMSNorm(nn.RMSNorm):
    """RMS norm that computes in float32 and gives back the input's type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Norm over the last axis."""
        return functional.rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps).type_as(x)


class SpatiaAttnProcessor:
    """Computes attention through diffusers' dispatcher, so that its back-ends can be chosen."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: "SpatiaAttention",
        stream: torch.Tensor,
        context: torch.Tensor | None = None,
        cos: torch.Tensor | None = None,
        sin: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend from ``stream`` to ``context``, or to itself. Shapes as in ``SpatiaAttention.forward``."""
        if context is None and attn.qkv is not None:
            projected = functional.linear(stream, *attn.qkv).chunk(3, dim=-1)
            query, key, value = attn.norm_q(projected[0]), attn.norm_k(projected[1]), projected[2]
        else:
            query = attn.norm_q(attn.to_q(stream))
            key, value = _key_value(attn, stream if context is None else context)
        query, key, value = (heads.unflatten(2, (attn.heads, -1)) for heads in (query, key, value))
        if cos is not None and sin is not None:
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        attended = dispatch_attention_fn(
            query,
            key,
            value,
            backend=self._attention_backend,
            parallel_config=self._parallel_config if context is None else None,
        )
        return attn.to_out[0](attended.flatten(2, 3).type_as(query))


def _key_value(attn: "SpatiaAttention", source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L, D) keys and values; those of a text are made once where they are kept."""
    return once(attn.kept, attn, source, lambda: (attn.norm_k(attn.to_k(source)), attn.to_v(source)))


class SpatiaAttention(nn.Module, AttentionModuleMixin):
    """Attention whose queries and keys are normed over all heads together before they are split."""

    _default_processor_cls = SpatiaAttnProcessor
    _available_processors: ClassVar[list[type]] = [SpatiaAttnProcessor]
    _supports_qkv_fusion = False

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q = Float32RMSNorm(dim, eps=eps)
        self.norm_k = Float32RMSNorm(dim, eps=eps)
        self.kept: Kept | None = None
        self.qkv: tuple[torch.Tensor, torch.Tensor] | None = None
        """Weight (3 D, D) and bias of the fused product, or None; see ``speed.fuse_qkv``."""
        self.processor: Any
        self.set_processor(SpatiaAttnProcessor())  # pyright: ignore[reportArgumentType]

    def forward(
        self,
        stream: torch.Tensor,
        context: torch.Tensor | None = None,
        cos: torch.Tensor | None = None,
        sin: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend.

        Args:
            stream: (B, T, D).
            context: (B, L, D) for cross-attention, or None.
            cos: (1, T, 1, head_dim / 2) for self-attention, or None.
            sin: Like ``cos``.

        Returns:
            (B, T, D).
        """
        return self.processor(self, stream, context, cos, sin)


class SpatiaBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward; the first and last modulated and gated."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.attn1 = SpatiaAttention(dim, heads, eps)
        self.norm2 = Float32Norm(dim, eps=eps)
        self.attn2 = SpatiaAttention(dim, heads, eps)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        stream: torch.Tensor,
        context: torch.Tensor,
        modulation: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> torch.Tensor:
        """Run the block.

        Args:
            stream: (B, T, D), of the text's type or float32.
            context: (B, L, D) text tokens.
            modulation: (B, G, 6, D) of the timesteps; G divides T, group g holds for the g-th part of the tokens.
            cos: (1, T, 1, head_dim / 2).
            sin: Like ``cos``.

        Returns:
            (B, T, D).
        """
        groups, dtype = modulation.shape[1], context.dtype
        table = (self.scale_shift_table.float()[:, None] + modulation.float()).unbind(2)
        shift1, scale1, gate1, shift2, scale2, gate2 = table
        normed = modulated_norm(stream, shift1, scale1, num_groups=groups, eps=self.eps, dtype=dtype)
        stream = add_modulated(stream, self.attn1(normed, None, cos, sin), gate1, num_groups=groups)
        stream = stream + self.attn2(self.norm2(stream, dtype), context)
        normed = modulated_norm(stream, shift2, scale2, num_groups=groups, eps=self.eps, dtype=dtype)
        return add_modulated(stream, self.ffn(normed), gate2, num_groups=groups)


class SpatiaControlBlock(SpatiaBlock):
    """A block beside the main ones; its projected output is the hint for one of them."""

    def __init__(self, dim: int, ffn_dim: int, heads: int, eps: float, *, is_first: bool) -> None:
        super().__init__(dim, ffn_dim, heads, eps)
        self.proj_in = nn.Linear(dim, dim) if is_first else None
        self.proj_out = nn.Linear(dim, dim)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        control: torch.Tensor,
        stream: torch.Tensor,
        context: torch.Tensor,
        modulation: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the block.

        Args:
            control: (B, T, D), of the control block before, or the control's own tokens for the first.
            stream: (B, T, D) the clip's tokens before any main block; only the first block looks at them.
            context: See ``SpatiaBlock.forward``, as are the others.
            modulation: Of the clip's tokens.
            cos: Of the clip's tokens.
            sin: Of the clip's tokens.

        Returns:
            (B, T, D) for the next control block, and (B, T, D) the hint.
        """
        if self.proj_in is not None:
            control = self.proj_in(control) + stream
        control = super().forward(control, context, modulation, cos, sin)
        return control, self.proj_out(control.to(context.dtype))


class TwoLayers(nn.Module):
    """Linear, activation, linear; named as diffusers names them."""

    def __init__(self, in_dim: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)
        self.activation = activation

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (…, in_dim) to (…, dim)."""
        return self.linear_2(self.activation(self.linear_1(values)))


class ConditionEmbedder(nn.Module):
    """Embeds timesteps and text tokens for the blocks."""

    def __init__(self, dim: int, text_dim: int, freq_dim: int) -> None:
        super().__init__()
        self.freq_dim = freq_dim
        self.time_embedder = TwoLayers(freq_dim, dim, nn.SiLU())
        self.time_proj = nn.Linear(dim, 6 * dim)
        self.text_embedder = TwoLayers(text_dim, dim, nn.GELU(approximate="tanh"))

    def forward(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed timesteps.

        Args:
            timestep: (B, G), 0 to 1000.

        Returns:
            (B, G, D) for the head, (B, G, 6, D) for the blocks.
        """
        waves = sinusoid(timestep, self.freq_dim).to(self.time_embedder.linear_1.weight.dtype)
        embedded = self.time_embedder(waves)
        activated = functional.silu(embedded).to(self.time_proj.weight.dtype)
        modulation = self.time_proj(activated).unflatten(-1, (6, -1))
        return embedded, modulation

    def embed_text(self, text: torch.Tensor) -> torch.Tensor:
        """(B, L, text_dim) to (B, L, D) text tokens."""
        return self.text_embedder(text.to(self.text_embedder.linear_1.weight.dtype))


def sinusoid(timestep: torch.Tensor, channels: int) -> torch.Tensor:
    """(…, channels) float32: cosines, then sines, of falling frequencies; computed in float64."""
    half = channels // 2
    falling = torch.arange(half, dtype=torch.float64, device=timestep.device) / half
    angles = timestep.to(torch.float64)[..., None] * 10000.0**-falling
    return torch.cat((angles.cos(), angles.sin()), dim=-1).float()
