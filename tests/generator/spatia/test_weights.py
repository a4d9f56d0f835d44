"""Weights load from both layouts, exactly; what is wrong with a file is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from spatia.generator.spatia.checkpoints import WeightFiles
from spatia.generator.spatia.config import PRESETS
from spatia.generator.spatia.errors import CheckpointError, MissingWeightsError
from spatia.generator.spatia.loading import (
    Placement,
    load_text_encoder,
    load_tokenizer,
    load_transformer,
    load_vae,
)
from spatia.generator.spatia.names import from_original, text_from_original, vae_from_original
from spatia.generator.spatia.tiny import tiny_pipeline
from spatia.generator.spatia.transformer import SpatiaTransformer3DModel
from spatia.tests.generator.spatia.makers import (
    TINY,
    original_base,
    original_control,
    original_text,
    original_vae_names,
    random_tensors,
    tiny_inputs,
    write_original_base,
)

FLOAT32 = Placement("cpu", torch.float32)


@pytest.fixture
def base() -> dict[str, torch.Tensor]:
    return random_tensors(original_base(TINY))


@pytest.fixture
def original(tmp_path: Path, base: dict[str, torch.Tensor]) -> Path:
    write_original_base(tmp_path / "base", base)
    return tmp_path / "base"


@pytest.fixture
def control(tmp_path: Path) -> Path:
    path = tmp_path / "step-8500.safetensors"
    save_file(random_tensors(original_control(TINY), 1), path)
    return path


def change(path: Path, *, drop: str = "", add: dict[str, torch.Tensor] | None = None) -> None:
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if n != drop} | (add or {}), path)


def shard_with(folder: Path, name: str) -> Path:
    return next(path for path in folder.glob("*.safetensors") if name in load_file(path))


def test_every_tensor_of_the_authors_files_arrives(
    original: Path, control: Path, base: dict[str, torch.Tensor]
) -> None:
    state = load_transformer(original, control, config=TINY, placement=FLOAT32).state_dict()
    given = base | load_file(control)
    assert len(state) == len(given)
    for name, tensor in given.items():
        assert torch.equal(state[from_original(name)], tensor), name


@torch.no_grad()
def test_both_layouts_give_the_same_network(original: Path, control: Path, tmp_path: Path) -> None:
    first = load_transformer(original, control, config=TINY, placement=FLOAT32)
    folder = tmp_path / "repository/transformer"
    folder.mkdir(parents=True)
    state = {n: t.clone() for n, t in first.state_dict().items() if not n.startswith("vace_")}
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    second = load_transformer(tmp_path / "repository", control, config=TINY, placement=FLOAT32)
    assert torch.equal(first(**tiny_inputs(0)).sample, second(**tiny_inputs(0)).sample)


def test_one_file_of_the_authors_loads_as_a_single_file(base: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(base, tmp_path / "whole.safetensors")
    model = SpatiaTransformer3DModel.from_single_file(tmp_path / "whole.safetensors", config=TINY, placement=FLOAT32)
    assert torch.equal(model.proj_out.weight, base["head.head.weight"])


@torch.no_grad()
def test_without_a_control_checkpoint_hints_are_zero(original: Path) -> None:
    model = load_transformer(original, config=TINY, placement=FLOAT32)
    inputs = tiny_inputs(0)
    with_control = model(**inputs).sample
    assert torch.equal(with_control, model(**inputs | {"control_hidden_states": None}).sample)


def test_loaded_as_bfloat16_some_parts_stay_float32(original: Path, control: Path) -> None:
    model = load_transformer(original, control, config=TINY)
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert types["blocks.0.attn1.to_q.weight"] == types["vace_blocks.1.proj_out.weight"] == torch.bfloat16
    for name in ("blocks.0.scale_shift_table", "blocks.0.norm2.weight", "condition_embedder.time_proj.weight"):
        assert types[name] == torch.float32


def test_without_a_change_of_type_memory_is_the_files(original: Path) -> None:
    files = WeightFiles(sorted(original.glob("*.safetensors")))
    name = "blocks.0.ffn.0.weight"
    model = load_transformer(original, config=TINY, placement=FLOAT32)
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(original) in line]
    address = model.blocks[0].ffn.net[0].proj.weight.data_ptr()
    spans = [tuple(int(a, 16) for a in line.split()[0].split("-")) for line in mapped]
    assert any(start <= address < stop for start, stop in spans)
    assert files.shapes[name] == (TINY.ffn_dim, 48)


def test_progress_goes_from_nothing_to_all(original: Path) -> None:
    told: list[float] = []
    load_transformer(original, config=TINY, report=lambda _, fraction: told.append(fraction))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)


def test_a_missing_shard_is_named(original: Path) -> None:
    (original / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match="shard diffusion_pytorch_model-00002-of-00003"):
        load_transformer(original, config=TINY)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no diffusion_pytorch_model\*"):
        load_transformer(tmp_path, config=TINY)


def test_a_missing_tensor_and_the_layout_are_named(original: Path) -> None:
    name = "blocks.1.self_attn.q.weight"
    change(shard_with(original, name), drop=name)
    with pytest.raises(CheckpointError, match=r"1 missing \(blocks.1.attn1.to_q.weight \(48, 48\)\).*as its authors"):
        load_transformer(original, config=TINY)


def test_a_misshapen_tensor_is_named(original: Path) -> None:
    name = "blocks.1.ffn.0.bias"
    change(shard_with(original, name), add={name: torch.zeros(7)})
    with pytest.raises(CheckpointError, match=r"blocks.1.ffn.net.0.proj.bias: expected \(96,\), got \(7,\)"):
        load_transformer(original, config=TINY)


def test_a_control_checkpoint_with_a_prefix_is_refused(original: Path, control: Path) -> None:
    tensors = load_file(control)
    save_file({f"module.{n}": t for n, t in tensors.items()}, control)
    with pytest.raises(CheckpointError, match=r"62 missing.*and 59 more.*62 unknown.*no prefix"):
        load_transformer(original, control, config=TINY)


def test_a_damaged_file_is_told(original: Path) -> None:
    path = original / "diffusion_pytorch_model-00001-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"00001-of-00003.safetensors: expected safetensors.*fetch it again"):
        load_transformer(original, config=TINY)


def test_the_same_tensor_in_two_files_is_told(original: Path) -> None:
    change(
        original / "diffusion_pytorch_model-00003-of-00003.safetensors", add={"patch_embedding.bias": torch.zeros(1)}
    )
    change(
        original / "diffusion_pytorch_model-00002-of-00003.safetensors", add={"patch_embedding.bias": torch.zeros(1)}
    )
    with pytest.raises(CheckpointError, match=r"tensor .patch_embedding\.bias. is in another"):
        load_transformer(original, config=TINY)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit",)

    torch.save({"token_embedding.weight": Trap()}, tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    with pytest.raises(CheckpointError, match="expected a file of tensors"):
        load_text_encoder(tmp_path, config=PRESETS["tiny"].text)


def test_the_original_text_encoder_arrives_whole(tmp_path: Path) -> None:
    given = random_tensors(original_text())
    torch.save(given, tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    model = load_text_encoder(tmp_path, config=PRESETS["tiny"].text, placement=FLOAT32)
    state = model.state_dict()
    for name, tensor in given.items():
        assert torch.equal(state[text_from_original(name)], tensor), name
    assert model.encoder.embed_tokens.weight is model.shared.weight
    assert not any(t.is_meta for t in state.values())


@torch.no_grad()
def test_both_layouts_of_the_text_encoder_give_the_same(tmp_path: Path) -> None:
    encoder = tiny_pipeline().text_encoder
    encoder.save_pretrained(tmp_path / "text_encoder")
    loaded = load_text_encoder(tmp_path, config=PRESETS["tiny"].text, placement=FLOAT32)
    ids = torch.tensor([[5, 6, 7, 1]])
    assert torch.equal(loaded(ids).last_hidden_state, encoder(ids).last_hidden_state)


def test_every_tensor_of_the_original_vae_has_its_place() -> None:
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        vae = AutoencoderKLWan(**PRESETS["5b"].vae.as_arguments())
    assert {vae_from_original(name) for name in original_vae_names()} == set(vae.state_dict())
    assert len(original_vae_names()) == len(vae.state_dict())


@torch.no_grad()
def test_both_layouts_of_the_vae_give_the_same(tmp_path: Path) -> None:
    vae = tiny_pipeline().vae
    vae.save_pretrained(tmp_path / "one/vae")
    back = {vae_from_original(name): name for name in original_vae_names()}
    (tmp_path / "two").mkdir()
    torch.save({back[n]: t for n, t in vae.state_dict().items()}, tmp_path / "two/Wan2.2_VAE.pth")
    latents = torch.randn(1, 8, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    for folder in ("one", "two"):
        loaded = load_vae(tmp_path / folder, config=PRESETS["tiny"].vae, placement=FLOAT32)
        assert torch.equal(loaded.decode(latents).sample, vae.decode(latents).sample)


def test_channel_tables_begin_as_published() -> None:
    vae = PRESETS["5b"].vae
    assert vae.latents_mean[:3] == (-0.2289, -0.0052, -0.1323)
    assert vae.latents_std[:3] == (0.4765, 1.0364, 0.4514)
    assert len(vae.latents_mean) == len(vae.latents_std) == 48


def test_a_missing_tokenizer_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="google/umt5-xxl"):
        load_tokenizer(tmp_path)
