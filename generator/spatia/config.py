"""Sizes and settings of the model, as plain values. Imports no torch.

The ``5b`` preset is Wan2.2-TI2V-5B with the eight control blocks of the authors' release; ``small`` is for training on
one machine, ``tiny`` for tests and for trying the whole way without weights.
"""

from dataclasses import dataclass, fields
from typing import Any

ROUND_UP_PX = 32
"""Width and height are multiples of this: VAE stride 16 times patch 2."""
TEXT_TOKENS = 512
PROMPT_SUFFIX = " 4K, realistic, high quality, HDR."
"""Appended to the user's prompt, as in the authors' program."""
NEGATIVE_PROMPT = (
    "画面切换，画面切出，镜头切换，镜头渐黑，镜头渐亮，最差质量, 节目横幅, 低质量, 正常质量, JPEG压缩残留, 噪点, 模糊, "  # noqa: RUF001
    "细节缺失, 马赛克, 水印, 文字, 签名, 商标, 丑陋的, 畸形的, 毁容的, 解剖学错误, 形态糟糕, 多余的肢体, 残缺的肢体, "
    "融合的手指, 画得不好的手, 画得不好的脸, 僵硬的表情, 杂乱的构图, 不协调的元素, 空旷的画面, 透视错误, 比例失调, "
    "变形的物体, 融合的物体, 物体穿模, 漂浮的物体, 平淡的光线, 不自然的光源, 单调的色彩, 奇怪的颜色, "
    "刺眼的颜色, 画面发灰"
)
"""What the authors' release is steered away from: cuts, poor quality, deformities, flat light."""

TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
VAE_FILE = "Wan2.2_VAE.pth"
TOKENIZER_FOLDER = "google/umt5-xxl"
NETWORK_FILES = tuple(f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))
CONTROL_FILE = "step-8500.safetensors"
LORA_FILE = "lora_weights_10000.safetensors"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Size of the denoising network.

    Attributes:
        num_attention_heads: Heads of every attention.
        attention_head_dim: Channels of a head; split over time, height and width by the rotary positions.
        in_channels: Channels of a latent.
        out_channels: Channels of the velocity.
        text_dim: Channels of a text token.
        freq_dim: Channels of the sinusoid of a timestep.
        ffn_dim: Inner channels of the feed-forward layers.
        num_layers: Main blocks.
        control_layers: Main blocks after which a control block's hint is added; begins with 0.
        control_channels: Channels of a control latent: scene video, then score.
        patch_size: Latent frames, rows and columns of a token.
        eps: Of every norm.
    """

    num_attention_heads: int
    attention_head_dim: int
    in_channels: int
    out_channels: int
    text_dim: int
    ffn_dim: int
    num_layers: int
    control_layers: tuple[int, ...]
    control_channels: int
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6

    def as_arguments(self) -> dict[str, Any]:
        """The network's constructor arguments."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """Size of the video VAE: one latent for the first frame, then one for every four.

    Attributes:
        base_dim: Channels of the encoder's first stage.
        decoder_base_dim: Channels of the decoder's last stage.
        z_dim: Channels of a latent.
        latents_mean: Mean of every latent channel.
        latents_std: Standard deviation of every latent channel.
        num_res_blocks: Residual blocks in a stage of the encoder.
    """

    base_dim: int
    decoder_base_dim: int
    z_dim: int
    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    num_res_blocks: int = 2

    def as_arguments(self) -> dict[str, Any]:
        """Constructor arguments of diffusers' ``AutoencoderKLWan``."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "dim_mult": [1, 2, 4, 4],
            "attn_scales": [],
            "temperal_downsample": [False, True, True],
            "is_residual": True,
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_temporal": 4,
            "scale_factor_spatial": 16,
        }


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Size of the umT5 encoder."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int

    def as_arguments(self) -> dict[str, Any]:
        """Constructor arguments of transformers' ``UMT5Config``."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "feed_forward_proj": "gated-gelu",
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
            "tie_word_embeddings": False,
            "is_encoder_decoder": False,
            "dropout_rate": 0.0,
        }


@dataclass(frozen=True, slots=True)
class Preset:
    """Network, VAE and text encoder that fit each other."""

    network: NetworkConfig
    vae: VaeConfig
    text: TextConfig


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How a clip is sampled; the defaults are the authors'.

    Attributes:
        num_steps: Denoising steps.
        guidance: Factor of (conditional - unconditional); 1 or less needs one pass instead of two.
        shift: Timestep shift of the flow schedule.
        sampler: "uni_pc" or "euler".
        control_scale: Factor of the control blocks' hints.
    """

    num_steps: int = 40
    guidance: float = 3.5
    shift: float = 5.0
    sampler: str = "uni_pc"
    control_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """Which means are used.

    Attributes:
        is_batched: Both passes of guidance in one batch.
        is_compiled: Blocks go through ``torch.compile`` with the first clip of each size.
        is_qkv_fused: Query, key and value of self-attention are one product; only where LoRA is not applied at run time
            and weights are not in fp8.
        step_cache: Relative change of the first block below which a step is cached; 0 for none.
    """

    is_batched: bool = False
    is_compiled: bool = False
    is_qkv_fused: bool = False
    step_cache: float = 0.0


WAN22_MEAN = (
    *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891),
    *(0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
    *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723),
    *(-0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
)
WAN22_STD = (
    *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901),
    *(0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
    *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944),
    *(0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
)

_WAN22_VAE = VaeConfig(160, 256, 48, WAN22_MEAN, WAN22_STD)
_TINY_VAE = VaeConfig(4, 4, 8, (0.1, -0.1) * 4, (0.5, 0.25) * 4, num_res_blocks=2)
_UMT5_XXL = TextConfig(256384, 4096, 64, 10240, 24, 64)
_TINY_TEXT = TextConfig(300, 32, 8, 64, 2, 4)

PRESETS = {
    "tiny": Preset(NetworkConfig(2, 24, 8, 8, 32, 96, 6, (0, 4), 16), _TINY_VAE, _TINY_TEXT),
    "small": Preset(NetworkConfig(6, 64, 48, 48, 4096, 1152, 10, (0, 4, 8), 96), _WAN22_VAE, _UMT5_XXL),
    "5b": Preset(
        NetworkConfig(24, 128, 48, 48, 4096, 14336, 30, (0, 4, 8, 12, 16, 20, 24, 28), 96), _WAN22_VAE, _UMT5_XXL
    ),
}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: Unknown name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
