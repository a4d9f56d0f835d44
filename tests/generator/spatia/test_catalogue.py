"""The list of models: what is there, what is missing, and whether files are whole."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from spatia.generator.spatia.catalogue import (
    MODELS,
    check_spatia,
    fetch,
    find_spatia,
    list_models,
    model_of,
    models_folder,
    sha256_of,
)
from spatia.generator.spatia.errors import CheckpointError, MissingWeightsError
from spatia.tests.generator.spatia.makers import write_spatia


def test_nothing_is_installed_in_an_empty_folder(tmp_path: Path) -> None:
    states = list_models(tmp_path)
    assert [s.model for s in states] == list(MODELS)
    assert not any(s.is_installed for s in states)


def test_a_whole_model_is_installed_and_found(tmp_path: Path) -> None:
    write_spatia(tmp_path)
    state = next(s for s in list_models(tmp_path) if s.model.name == "spatia")
    assert state.missing == ()
    files = find_spatia(tmp_path)
    assert files.lora == tmp_path / "Spatia/lora_weights_10000.safetensors"


def test_the_base_may_lie_in_diffusers_layout(tmp_path: Path) -> None:
    write_spatia(tmp_path)
    (tmp_path / "Wan2.2-TI2V-5B").rename(tmp_path / "elsewhere")
    for name in ("transformer", "vae", "text_encoder", "tokenizer"):
        (tmp_path / "Wan2.2-TI2V-5B-Diffusers" / name).mkdir(parents=True)
    assert find_spatia(tmp_path).base.name == "Wan2.2-TI2V-5B-Diffusers"


def test_one_missing_file_is_the_only_one_named(tmp_path: Path) -> None:
    write_spatia(tmp_path)
    (tmp_path / "Spatia/step-8500.safetensors").unlink()
    with pytest.raises(MissingWeightsError) as caught:
        find_spatia(tmp_path)
    assert "Jinjing713/Spatia on the Hugging Face hub: Spatia/step-8500.safetensors" in str(caught.value)
    assert "Wan-AI" not in str(caught.value)


def test_a_whole_folder_passes_the_check(tmp_path: Path) -> None:
    write_spatia(tmp_path, rank=3)
    report = check_spatia(tmp_path, "tiny")
    assert (report.lora_rank, report.lora_layers) == (3, 60)
    assert "network, 177 tensors" in report.lines[0]
    assert "control, 62 tensors" in report.lines[1]


def test_a_wrong_tensor_fails_the_check(tmp_path: Path) -> None:
    write_spatia(tmp_path)
    path = tmp_path / "Spatia/step-8500.safetensors"
    tensors = load_file(path)
    del tensors["vace_blocks.0.before_proj.weight"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"vace_blocks.0.proj_in.weight"):
        check_spatia(tmp_path, "tiny")


def test_where_no_hub_is_reached_the_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(MissingWeightsError, match=r"cannot be reached[\s\S]*Spatia/lora_weights_10000.safetensors"):
        fetch("spatia", tmp_path)


class _Hub:
    """A hub with one file's checksum."""

    def __init__(self, checksum: str) -> None:
        self.checksum = checksum

    def model_info(self, repository: str, files_metadata: bool) -> object:
        from types import SimpleNamespace

        lfs = SimpleNamespace(sha256=self.checksum)
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename="model.safetensors", lfs=lfs)])


@pytest.mark.parametrize("is_whole", [True, False])
def test_fetched_files_are_compared_with_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    import huggingface_hub

    def download(repository: str, file: str, local_dir: Path) -> str:
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / file).write_bytes(b"weights")
        return str(local_dir / file)

    (tmp_path / "wanted").write_bytes(b"weights" if is_whole else b"other")
    hub = _Hub(sha256_of(tmp_path / "wanted"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    told: list[str] = []
    if is_whole:
        fetch("sam2", tmp_path, told.append)
        assert told == [f"facebook/sam2.1-hiera-large: {n}" for n in ("config.json", "model.safetensors")]
        assert next(s for s in list_models(tmp_path) if s.model.name == "sam2").is_installed
    else:
        with pytest.raises(CheckpointError, match="wrong checksum"):
            fetch("sam2", tmp_path)


def test_what_is_there_and_whole_is_not_fetched_again_and_what_broke_off_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[str] = []

    def download(repository: str, file: str, local_dir: Path) -> str:
        asked.append(file)
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / file).write_bytes(b"weights")
        return str(local_dir / file)

    (tmp_path / "wanted").write_bytes(b"weights")
    hub = _Hub(sha256_of(tmp_path / "wanted"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    fetch("sam2", tmp_path)
    assert asked == ["config.json", "model.safetensors"]
    fetch("sam2", tmp_path)
    assert asked[2:] == ["config.json"]  # a small file without a checksum; the hub's client compares it by itself
    whole = next(tmp_path.glob("*/model.safetensors"))
    whole.write_bytes(b"weig")
    fetch("sam2", tmp_path)
    assert asked[-1] == "model.safetensors"
    assert whole.read_bytes() == b"weights"


def test_a_wrong_name_lists_the_models() -> None:
    with pytest.raises(ValueError, match="one of spatia, mapanything"):
        model_of("sptia")


def test_the_default_estimator_is_the_free_one() -> None:
    assert model_of("mapanything").parts[0].repository.endswith("-apache")


def test_the_folder_can_be_named_by_the_environment(tmp_path: Path) -> None:
    assert models_folder({"SPATIA_MODELS": str(tmp_path)}) == tmp_path
    assert models_folder({}).name == "models"
