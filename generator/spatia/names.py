"""Names of tensors: the authors' (original) against diffusers', which are ours.

The two norms swap their numbers: the original runs norm1, norm3, norm2; diffusers counts in order of use.
"""

import re

_TOP = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "patch_embedding": "patch_embedding",
    "vace_patch_embedding": "vace_patch_embedding",
}
_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}
_BLOCK = {
    **{f"self_attn.{theirs}": f"attn1.{ours}" for theirs, ours in _ATTENTION.items()},
    **{f"cross_attn.{theirs}": f"attn2.{ours}" for theirs, ours in _ATTENTION.items()},
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
    "norm2": "norm3",
    "modulation": "scale_shift_table",
    "before_proj": "proj_in",
    "after_proj": "proj_out",
}
_TOP_BACK = {ours: theirs for theirs, ours in _TOP.items()}
_BLOCK_BACK = {ours: theirs for theirs, ours in _BLOCK.items()}
_BLOCK_NAME = re.compile(r"((?:vace_)?blocks\.\d+)\.(.+)")
_LEAVES = (".weight", ".bias")


def from_original(name: str) -> str | None:
    """Our name of an original tensor or module, or None if there is none."""
    return _renamed(name, _TOP, _BLOCK)


def to_original(name: str) -> str | None:
    """The original name of one of our tensors or modules, or None if there is none."""
    return _renamed(name, _TOP_BACK, _BLOCK_BACK)


def is_original(names: set[str]) -> bool:
    """True if the names are the authors', False if they are diffusers'."""
    return any(".self_attn." in name or ".cross_attn." in name for name in names)


def _renamed(name: str, top: dict[str, str], block: dict[str, str]) -> str | None:
    leaf = next((leaf for leaf in _LEAVES if name.endswith(leaf)), "")
    stem = name.removesuffix(leaf)
    found = _BLOCK_NAME.fullmatch(stem)
    if found is None:
        return top[stem] + leaf if stem in top else None
    inner = block.get(found[2])
    return None if inner is None else f"{found[1]}.{inner}{leaf}"


_T5_BLOCK = {
    "norm1": "layer.0.layer_norm",
    **{f"attn.{letter}": f"layer.0.SelfAttention.{letter}" for letter in "qkvo"},
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}
_T5_TOP = {"token_embedding.weight": "shared.weight", "norm.weight": "encoder.final_layer_norm.weight"}


def text_from_original(name: str) -> str | None:
    """The name in transformers' ``UMT5EncoderModel`` of a tensor in the original umT5 file."""
    if name in _T5_TOP:
        return _T5_TOP[name]
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name)
    inner = _T5_BLOCK.get(found[2]) if found else None
    return f"encoder.block.{found[1]}.{inner}.weight" if found and inner else None


_RESNET = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_VAE_TOP = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
_VAE_SIDE = {"conv1": "conv_in", "head.0": "norm_out", "head.2": "conv_out"}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_STAGE = {"downsamples": ("down_blocks", "downsampler"), "upsamples": ("up_blocks", "upsampler")}


def vae_from_original(name: str) -> str | None:
    """The name in diffusers' ``AutoencoderKLWan`` of a tensor in the original Wan2.2 VAE file."""
    stem, _, leaf = name.rpartition(".")
    if stem in _VAE_TOP:
        return f"{_VAE_TOP[stem]}.{leaf}"
    side, _, rest = stem.partition(".")
    if side not in ("encoder", "decoder"):
        return None
    inner = _VAE_SIDE.get(rest) or _vae_middle(rest) or _vae_stage(rest)
    return f"{side}.{inner}.{leaf}" if inner else None


def _vae_middle(rest: str) -> str | None:
    found = re.fullmatch(r"middle\.([012])\.(.+)", rest)
    if found is None:
        return None
    inner = found[2] if found[1] == "1" else _RESNET.get(found[2])
    return f"mid_block.{_MIDDLE[found[1]]}.{inner}" if inner else None


def _vae_stage(rest: str) -> str | None:
    found = re.fullmatch(r"(downsamples|upsamples)\.(\d+)\.\1\.(\d+)\.(.+)", rest)
    if found is None:
        return None
    stage, sampler = _STAGE[found[1]]
    if found[4] in ("resample.1", "time_conv"):
        return f"{stage}.{found[2]}.{sampler}.{found[4]}"
    inner = _RESNET.get(found[4])
    return f"{stage}.{found[2]}.resnets.{found[3]}.{inner}" if inner else None
