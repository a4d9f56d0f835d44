"""Tiny networks and weight files for the model's tests, and the authors' names, spelled out."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from spatia.generator.spatia.config import PRESETS, NetworkConfig
from spatia.generator.spatia.transformer import SpatiaTransformer3DModel

TINY = PRESETS["tiny"].network
ATTENTIONS = tuple(f"{attention}_attn.{letter}" for attention in ("self", "cross") for letter in "qkvo")
LORA_LAYERS = (*ATTENTIONS, "ffn.0", "ffn.2")


def tiny_network(seed: int = 0) -> SpatiaTransformer3DModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpatiaTransformer3DModel(**TINY.as_arguments()).eval()


def tiny_inputs(num_references: int = 2, num_frames: int = 3, seed: int = 1) -> dict[str, torch.Tensor]:
    """Keyword arguments of a forward pass but for the number of references."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    timestep = torch.full((1, num_references + num_frames), 500.0)
    timestep[:, : num_references + 1] = 0
    return {
        "hidden_states": randn(1, TINY.in_channels, num_references + num_frames, 4, 6),
        "timestep": timestep,
        "encoder_hidden_states": randn(1, 5, TINY.text_dim),
        "control_hidden_states": randn(1, TINY.control_channels, num_frames, 4, 6),
    }


def original_block(prefix: str, config: NetworkConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a block as the authors write them."""
    dim, ffn = config.num_attention_heads * config.attention_head_dim, config.ffn_dim
    for attention in ("self_attn", "cross_attn"):
        for letter in "qkvo":
            yield f"{prefix}{attention}.{letter}.weight", (dim, dim)
            yield f"{prefix}{attention}.{letter}.bias", (dim,)
        yield f"{prefix}{attention}.norm_q.weight", (dim,)
        yield f"{prefix}{attention}.norm_k.weight", (dim,)
    yield f"{prefix}norm3.weight", (dim,)
    yield f"{prefix}norm3.bias", (dim,)
    yield f"{prefix}ffn.0.weight", (ffn, dim)
    yield f"{prefix}ffn.0.bias", (ffn,)
    yield f"{prefix}ffn.2.weight", (dim, ffn)
    yield f"{prefix}ffn.2.bias", (dim,)
    yield f"{prefix}modulation", (1, 6, dim)


def original_control(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the control checkpoint."""
    dim = config.num_attention_heads * config.attention_head_dim
    shapes = {
        "vace_patch_embedding.weight": (dim, config.control_channels, 1, 2, 2),
        "vace_patch_embedding.bias": (dim,),
    }
    for index in range(len(config.control_layers)):
        prefix = f"vace_blocks.{index}."
        shapes |= dict(original_block(prefix, config))
        for name in ("after_proj",) if index else ("after_proj", "before_proj"):
            shapes |= {f"{prefix}{name}.weight": (dim, dim), f"{prefix}{name}.bias": (dim,)}
    return shapes


def original_base(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the base model's network."""
    dim = config.num_attention_heads * config.attention_head_dim
    shapes = {
        "patch_embedding.weight": (dim, config.in_channels, 1, 2, 2),
        "patch_embedding.bias": (dim,),
        "head.modulation": (1, 2, dim),
        "head.head.weight": (4 * config.out_channels, dim),
        "head.head.bias": (4 * config.out_channels,),
        "time_projection.1.weight": (6 * dim, dim),
        "time_projection.1.bias": (6 * dim,),
    }
    for name, inner in (("text_embedding", config.text_dim), ("time_embedding", config.freq_dim)):
        shapes |= {f"{name}.0.weight": (dim, inner), f"{name}.0.bias": (dim,)}
        shapes |= {f"{name}.2.weight": (dim, dim), f"{name}.2.bias": (dim,)}
    for index in range(config.num_layers):
        shapes |= dict(original_block(f"blocks.{index}.", config))
    return shapes


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = 0, scale: float = 0.2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * scale for name, shape in shapes.items()}


def write_original_base(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write three shards under the authors' names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    for index in range(3):
        part = {name: tensors[name] for name in names[index::3]}
        save_file(part, folder / f"diffusion_pytorch_model-0000{index + 1}-of-00003.safetensors")


def lora_tensors(rank: int = 4, layers: tuple[str, ...] = LORA_LAYERS, seed: int = 5) -> dict[str, torch.Tensor]:
    """A LoRA of all main blocks, named as in the authors' file."""
    shapes = {}
    base = original_base(TINY)
    for block in range(TINY.num_layers):
        for layer in layers:
            out, inner = base[f"blocks.{block}.{layer}.weight"]
            shapes[f"pipe.dit.blocks.{block}.{layer}.lora_A.default.weight"] = (rank, inner)
            shapes[f"pipe.dit.blocks.{block}.{layer}.lora_B.default.weight"] = (out, rank)
    return random_tensors(shapes, seed)


def original_text() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tiny preset's umT5 encoder as Wan2.2 writes them."""
    size = PRESETS["tiny"].text
    inner = size.num_heads * size.d_kv
    shapes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (size.vocab_size, size.d_model)}
    for index in range(size.num_layers):
        prefix = f"blocks.{index}."
        shapes |= {f"{prefix}attn.{letter}.weight": (inner, size.d_model) for letter in "qkv"}
        shapes |= {
            f"{prefix}attn.o.weight": (size.d_model, inner),
            f"{prefix}pos_embedding.embedding.weight": (32, size.num_heads),
            f"{prefix}norm1.weight": (size.d_model,),
            f"{prefix}norm2.weight": (size.d_model,),
            f"{prefix}ffn.gate.0.weight": (size.d_ff, size.d_model),
            f"{prefix}ffn.fc1.weight": (size.d_ff, size.d_model),
            f"{prefix}ffn.fc2.weight": (size.d_model, size.d_ff),
        }
    return shapes | {"norm.weight": (size.d_model,)}


def original_vae_names() -> set[str]:
    """Names in Wan2.2's VAE file: two residual blocks a stage in the encoder, three in the decoder."""
    names = {f"{name}.{leaf}" for name in ("conv1", "conv2") for leaf in ("weight", "bias")}
    for side, stages, blocks in (("encoder", "downsamples", 2), ("decoder", "upsamples", 3)):
        names |= {f"{side}.{name}.{leaf}" for name in ("conv1", "head.2") for leaf in ("weight", "bias")}
        names |= {f"{side}.head.0.gamma", f"{side}.middle.1.norm.gamma"}
        names |= {f"{side}.middle.1.{name}.{leaf}" for name in ("to_qkv", "proj") for leaf in ("weight", "bias")}
        residual = [f"{side}.middle.{i}" for i in (0, 2)]
        residual += [f"{side}.{stages}.{i}.{stages}.{j}" for i in range(4) for j in range(blocks)]
        for prefix in residual:
            names |= {f"{prefix}.residual.{i}.gamma" for i in (0, 3)}
            names |= {f"{prefix}.residual.{i}.{leaf}" for i in (2, 6) for leaf in ("weight", "bias")}
        widened = (1, 2) if side == "encoder" else (2, 3)
        first = [f"{side}.{stages}.{i}.{stages}.0.shortcut" for i in widened]
        resampled = [f"{side}.{stages}.{i}.{stages}.{blocks}.resample.1" for i in range(3)]
        in_time = (1, 2) if side == "encoder" else (0, 1)
        resampled += [f"{side}.{stages}.{i}.{stages}.{blocks}.time_conv" for i in in_time]
        names |= {f"{prefix}.{leaf}" for prefix in first + resampled for leaf in ("weight", "bias")}
    return names


def write_spatia(folder: Path, *, rank: int = 4) -> None:
    """A models' folder with the whole tiny model in the authors' layout."""
    from spatia.generator.spatia.names import vae_from_original
    from spatia.generator.spatia.tiny import tiny_pipeline, tiny_tokenizer

    base, spatia = folder / "Wan2.2-TI2V-5B", folder / "Spatia"
    write_original_base(base, random_tensors(original_base(TINY)))
    spatia.mkdir(parents=True)
    save_file(random_tensors(original_control(TINY), 1), spatia / "step-8500.safetensors")
    save_file(lora_tensors(rank), spatia / "lora_weights_10000.safetensors")
    torch.save(random_tensors(original_text(), 2), base / "models_t5_umt5-xxl-enc-bf16.pth")
    vae = tiny_pipeline().vae.state_dict()
    back = {vae_from_original(name): name for name in original_vae_names()}
    torch.save({back[name]: tensor for name, tensor in vae.items()}, base / "Wan2.2_VAE.pth")
    tiny_tokenizer().save_pretrained(base / "google/umt5-xxl")
