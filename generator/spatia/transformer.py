"""The denoising network: Wan2.2's blocks, with control blocks beside them and reference frames before the clip."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.loaders.single_file_model import FromOriginalModelMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.peft_utils import apply_lora_scale
from torch import nn

from .blocks import ConditionEmbedder, SpatiaBlock, SpatiaControlBlock, modulated_norm
from .rope import Rotation, rotation
from .speed import Kept, StepCache, once

FLOAT32_PARTS = ("time_embedder", "time_proj", "scale_shift_table", "norm2", "norm_q", "norm_k")
"""Parts of parameter names that stay float32 in a network of a shorter type; docs/models.md says what that is worth."""


class SpatiaTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, FromOriginalModelMixin, AttentionMixin):
    """Predicts the flow velocity of video latents from text, reference frames and a rendered scene.

    The latents' time axis holds R reference frames, then the clip. Reference tokens take part in the main blocks'
    attention only: they enter no control block and get no hint.

    Arguments of the constructor are those of ``config.NetworkConfig``.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["SpatiaBlock", "SpatiaControlBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["SpatiaBlock", "SpatiaControlBlock"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = [
        "patch_embedding",
        "condition_embedder",
        "norm",
        "^proj_out$",
    ]
    _keep_in_fp32_modules: ClassVar[list[str]] = list(FLOAT32_PARTS)

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        in_channels: int = 48,
        out_channels: int = 48,
        text_dim: int = 4096,
        ffn_dim: int = 14336,
        num_layers: int = 30,
        control_layers: Sequence[int] = (0, 4, 8, 12, 16, 20, 24, 28),
        control_channels: int = 96,
        freq_dim: int = 256,
        patch_size: Sequence[int] = (1, 2, 2),
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        _check_control_layers(control_layers, num_layers)
        patch = (patch_size[0], patch_size[1], patch_size[2])
        dim = num_attention_heads * attention_head_dim
        self.patch_size, self.head_dim, self.eps = patch, attention_head_dim, eps
        self.in_channels, self.control_channels = in_channels, control_channels
        self.control_layers = tuple(control_layers)
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=patch, stride=patch)
        self.vace_patch_embedding = nn.Conv3d(control_channels, dim, kernel_size=patch, stride=patch)
        self.condition_embedder = ConditionEmbedder(dim, text_dim, freq_dim)
        self.blocks = nn.ModuleList(SpatiaBlock(dim, ffn_dim, num_attention_heads, eps) for _ in range(num_layers))
        self.vace_blocks = nn.ModuleList(
            SpatiaControlBlock(dim, ffn_dim, num_attention_heads, eps, is_first=i == 0)
            for i in range(len(control_layers))
        )
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.proj_out = nn.Linear(dim, out_channels * patch[0] * patch[1] * patch[2])
        self.gradient_checkpointing = False
        self.float32_stream = True
        """False keeps the stream between blocks in the weights' type, as the authors' program does."""
        self.kept: Kept | None = None
        self.step_cache: StepCache | None = None
        """Both are set for one clip, see ``speed``."""

    @classmethod
    def from_single_file(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, base: str | PathLike[str], control: str | PathLike[str] | None = None, **kwargs: Any
    ) -> "SpatiaTransformer3DModel":
        """Load weights under their authors' names, or under diffusers'.

        Args:
            base: A file, or the folder with the base model's shards, in either layout.
            control: File of the control blocks; they keep zero hints without one.
            **kwargs: Options of ``loading.load_transformer``.

        Raises:
            CheckpointError: A file is wrong, incomplete or damaged.
        """
        from .loading import load_transformer

        return load_transformer(base, control, model_class=cls, **kwargs)

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        control_hidden_states: torch.Tensor | None = None,
        num_reference_frames: int = 0,
        control_hidden_states_scale: float | Sequence[float] = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predict the velocity.

        Args:
            hidden_states: (B, C, R + F, H, W) latents, references first.
            timestep: 0 to 1000: (B,) for all, (B, R + F) for every latent frame, or (B, T) for every token.
            encoder_hidden_states: (B, L, text_dim) text tokens.
            control_hidden_states: (B, control_channels, F, H, W) of the clip's frames, or None for no control.
            num_reference_frames: R.
            control_hidden_states_scale: Factor of the hints, one for all or one for each control block.
            attention_kwargs: ``{"scale": s}`` scales LoRA.
            return_dict: False for a tuple.

        Returns:
            (B, C, R + F, H, W) velocity; that of the references means nothing.

        Raises:
            ValueError: Shapes do not fit each other.
        """
        frames, height, width = self._token_grid(hidden_states, num_reference_frames, control_hidden_states)
        tokens_per_frame, num_references = height * width, num_reference_frames // self.patch_size[0]
        num_tokens, reference_tokens = frames * tokens_per_frame, num_references * tokens_per_frame
        timestep = _grouped_timestep(timestep, hidden_states.shape[0], num_tokens, frames)
        embedded, modulation = self.condition_embedder(timestep)
        embed = self.condition_embedder.embed_text
        context = once(self.kept, "text", encoder_hidden_states, lambda: embed(encoder_hidden_states))
        grid = (frames - num_references, height, width)
        turn = once(
            self.kept,
            (grid, num_references),
            self,
            lambda: rotation(*grid, num_references=num_references, head_dim=self.head_dim, device=hidden_states.device),
        )
        stream = _tokens(self.patch_embedding, hidden_states)
        stream = stream.float() if self.float32_stream else stream
        control = None
        if control_hidden_states is not None:
            control = _Control(
                tokens=once(
                    self.kept,
                    "control",
                    control_hidden_states,
                    lambda: _tokens(self.vace_patch_embedding, control_hidden_states),
                ),
                stream=stream[:, reference_tokens:],
                modulation=_after_references(modulation, reference_tokens, num_tokens),
                turn=turn.after(reference_tokens),
                scales=_scales(control_hidden_states_scale, len(self.vace_blocks)),
            )
        stream = self._run_blocks(stream, context, modulation, turn, control, reference_tokens)
        velocity = self._head(stream, embedded, (frames, height, width))
        return Transformer2DModelOutput(sample=velocity) if return_dict else (velocity,)

    def _token_grid(
        self, latents: torch.Tensor, num_reference_frames: int, control: torch.Tensor | None
    ) -> tuple[int, int, int]:
        """Token frames, rows and columns of checked latents."""
        _, channels, *sizes = latents.shape
        patch = self.patch_size
        if channels != self.in_channels or any(s % p for s, p in zip(sizes, patch, strict=True)):
            wanted = f"(B, {self.in_channels}, F, H, W) with F, H, W multiples of {patch}"
            raise ValueError(f"hidden_states: expected {wanted}, got {tuple(latents.shape)}")
        if not 0 <= num_reference_frames < sizes[0] or num_reference_frames % patch[0]:
            raise ValueError(f"num_reference_frames: expected 0 to {sizes[0] - 1}, got {num_reference_frames}")
        clip = (latents.shape[0], self.control_channels, sizes[0] - num_reference_frames, *sizes[1:])
        if control is not None and tuple(control.shape) != clip:
            raise ValueError(f"control_hidden_states: expected {clip}, got {tuple(control.shape)}")
        frames, height, width = (s // p for s, p in zip(sizes, patch, strict=True))
        return frames, height, width

    def _run_blocks(
        self,
        stream: torch.Tensor,
        context: torch.Tensor,
        modulation: torch.Tensor,
        turn: Rotation,
        control: "_Control | None",
        reference_tokens: int,
    ) -> torch.Tensor:
        """Main blocks with the control blocks beside them, each run just before its hint is wanted."""
        cache, before = self.step_cache, stream
        if cache is None:
            return self._run_some(range(len(self.blocks)), stream, context, modulation, turn, control, reference_tokens)
        stream = self._run_some(range(1), stream, context, modulation, turn, control, reference_tokens)
        first = stream - before
        rest = cache.rest(context, first)
        if rest is None:
            others = range(1, len(self.blocks))
            done = self._run_some(others, stream, context, modulation, turn, control, reference_tokens)
            rest = done - stream
            cache.keep(context, first, rest)
        return stream + rest

    def _run_some(
        self,
        indices: range,
        stream: torch.Tensor,
        context: torch.Tensor,
        modulation: torch.Tensor,
        turn: Rotation,
        control: "_Control | None",
        reference_tokens: int,
    ) -> torch.Tensor:
        for index in indices:
            hint = None
            if control is not None and index in self.control_layers:
                hint = self._hint(self.control_layers.index(index), control, context)
            stream = self._call(self.blocks[index], stream, context, modulation, turn.cos, turn.sin)
            if hint is not None and reference_tokens:
                stream = torch.cat((stream[:, :reference_tokens], stream[:, reference_tokens:] + hint), dim=1)
            elif hint is not None:
                stream = stream + hint
        return stream

    def _hint(self, index: int, control: "_Control", context: torch.Tensor) -> torch.Tensor:
        """Run a control block; its scaled hint."""
        turn = control.turn
        control.tokens, hint = self._call(
            self.vace_blocks[index], control.tokens, control.stream, context, control.modulation, turn.cos, turn.sin
        )
        return hint * control.scales[index]

    def _call(self, block: nn.Module, *arguments: torch.Tensor) -> Any:
        if torch.is_grad_enabled() and self.gradient_checkpointing and self._gradient_checkpointing_func is not None:
            return self._gradient_checkpointing_func(block, *arguments)
        return block(*arguments)

    def _head(self, stream: torch.Tensor, embedded: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """Velocity of all latents from the last tokens."""
        shift, scale = (self.scale_shift_table.float()[:, None] + embedded.float()[:, :, None]).unbind(2)
        dtype = self.proj_out.weight.dtype
        normed = modulated_norm(stream, shift, scale, num_groups=embedded.shape[1], eps=self.eps, dtype=dtype)
        patches = self.proj_out(normed).unflatten(2, (*self.patch_size, -1)).unflatten(1, grid)
        return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class _Control:
    """What the control blocks work on, and how far they have got."""

    def __init__(
        self,
        tokens: torch.Tensor,
        stream: torch.Tensor,
        modulation: torch.Tensor,
        turn: Rotation,
        scales: tuple[float, ...],
    ) -> None:
        self.tokens, self.stream, self.modulation, self.turn, self.scales = tokens, stream, modulation, turn, scales


def _check_control_layers(control_layers: Sequence[int], num_layers: int) -> None:
    layers = list(control_layers)
    if not layers or layers[0] != 0 or layers != sorted(set(layers)) or layers[-1] >= num_layers:
        raise ValueError(f"control_layers: expected rising numbers from 0 below {num_layers}, got {tuple(layers)}")


def _tokens(embedding: nn.Conv3d, latents: torch.Tensor) -> torch.Tensor:
    """(B, T, D) tokens of (B, C, F, H, W) latents; frames, then rows, then columns."""
    return embedding(latents.to(embedding.weight.dtype)).flatten(2).transpose(1, 2).contiguous()


def _grouped_timestep(timestep: torch.Tensor, batch: int, num_tokens: int, frames: int) -> torch.Tensor:
    """(B, G) timesteps with G of 1, the frames, or the tokens."""
    if timestep.ndim < 2:
        timestep = timestep.reshape(-1, 1).expand(batch, 1)
    if timestep.shape[0] != batch or timestep.shape[1] not in (1, frames, num_tokens):
        wanted = f"({batch},), ({batch}, {frames}) or ({batch}, {num_tokens})"
        raise ValueError(f"timestep: expected {wanted}, got {tuple(timestep.shape)}")
    return timestep


def _after_references(modulation: torch.Tensor, reference_tokens: int, num_tokens: int) -> torch.Tensor:
    """Modulation of the clip's tokens alone."""
    groups = modulation.shape[1]
    return modulation if groups == 1 else modulation[:, reference_tokens * groups // num_tokens :]


def _scales(scale: float | Sequence[float], count: int) -> tuple[float, ...]:
    scales = (float(scale),) * count if isinstance(scale, int | float) else tuple(float(s) for s in scale)
    if len(scales) != count:
        raise ValueError(f"control_hidden_states_scale: expected one factor or {count}, got {len(scales)}")
    return scales
