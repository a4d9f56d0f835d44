"""Builds the parts of the model from weight files, in the authors' layout or diffusers'.

Every part is built on the meta device, checked against its files' headers, and only then filled, each tensor going
from the mapped file straight to its type and device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoints import Report, Shapes, WeightFiles, check_shapes, fill, shapes_of, shards_in
from .config import PRESETS, TEXT_FILE, TOKENIZER_FOLDER, VAE_FILE, NetworkConfig, TextConfig, VaeConfig
from .errors import MissingWeightsError
from .memory_plans import FP8
from .names import from_original, is_original, text_from_original, vae_from_original
from .transformer import FLOAT32_PARTS, SpatiaTransformer3DModel

_CONTROL = "vace_"
_TIED = "encoder.embed_tokens.weight"
"""The same as ``shared.weight``; files may hold it twice."""


def no_report(phase: str, fraction: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where weights go.

    Attributes:
        device: Of all parameters.
        dtype: Of parameters; those of ``FLOAT32_PARTS`` stay float32. None keeps the files' types.
        fp8_names: Parameters of the network that are kept in fp8, see ``memory_plans.names_in_fp8``.
    """

    device: str | torch.device = "cpu"
    dtype: torch.dtype | None = torch.bfloat16
    fp8_names: frozenset[str] = frozenset()

    def of_network(self, name: str) -> torch.dtype | None:
        """Type of a parameter of the denoising network."""
        if name in self.fp8_names:
            return FP8
        return torch.float32 if any(part in name for part in FLOAT32_PARTS) else self.dtype

    def of_any(self, name: str) -> torch.dtype | None:
        """Type of a parameter of another part."""
        return self.dtype


def bar(title: str) -> Report:
    """A progress bar on the terminal that can be given as ``report``."""
    from tqdm.auto import tqdm

    shown = tqdm(total=100, desc=title, unit="%", leave=False)

    def report(phase: str, fraction: float) -> None:
        shown.set_description(f"{title}: {phase}")
        shown.update(round(fraction * 100) - shown.n)

    return report


def load_transformer(
    base: str | PathLike[str],
    control: str | PathLike[str] | None = None,
    *,
    config: NetworkConfig = PRESETS["5b"].network,
    placement: Placement = Placement(),
    report: Report = no_report,
    model_class: type[SpatiaTransformer3DModel] = SpatiaTransformer3DModel,
) -> SpatiaTransformer3DModel:
    """Build the denoising network.

    Args:
        base: Folder of Wan2.2-TI2V-5B in either layout, the folder with the network's shards, or one file.
        control: The authors' control checkpoint; without one all hints are zero.
        config: Sizes to expect.
        placement: Where the weights go.
        report: Told of every tensor.
        model_class: What to build.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    with torch.device("meta"):
        model = model_class(**config.as_arguments())
    sources = _base_sources(Path(base), model)
    if control is not None:
        sources += _control_sources(Path(control), model)
    _fill_reported(model, sources, placement.of_network, placement, report, "network")
    if control is None:
        zeros = ((n, torch.zeros(s)) for n, s in shapes_of(model).items() if n.startswith(_CONTROL))
        fill(model, zeros, device=torch.device(placement.device), dtype_of=placement.of_network)
    return model.eval()


def check_transformer(
    base: Path, control: Path | None = None, *, config: NetworkConfig = PRESETS["5b"].network
) -> SpatiaTransformer3DModel:
    """Check the network's files by their headers alone; the network on the meta device.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    with torch.device("meta"):
        model = SpatiaTransformer3DModel(**config.as_arguments())
    _base_sources(base, model)
    if control is not None:
        _control_sources(control, model)
    return model


def _base_sources(base: Path, model: nn.Module) -> "list[_Source]":
    files = WeightFiles(_base_paths(base))
    original = is_original(set(files.shapes))
    layout = (
        "Wan2.2-TI2V-5B as its authors publish it (blocks.0.self_attn.q.weight, …)"
        if original
        else "Wan2.2-TI2V-5B in diffusers' layout (blocks.0.attn1.to_q.weight, …)"
    )
    expected = {n: s for n, s in shapes_of(model).items() if not n.startswith(_CONTROL)}
    return _checked(files, from_original if original else _same, expected, str(base), layout)


def _control_sources(control: Path, model: nn.Module) -> "list[_Source]":
    layout = "the control checkpoint (vace_patch_embedding.*, vace_blocks.0.before_proj.weight, …, no prefix)"
    expected = {n: s for n, s in shapes_of(model).items() if n.startswith(_CONTROL)}
    return _checked(WeightFiles([control]), from_original, expected, str(control), layout)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where one of a module's tensors comes from."""

    name: str
    files: WeightFiles
    name_in_files: str


def _same(name: str) -> str:
    return name


def _checked(
    files: WeightFiles, rename: Callable[[str], str | None], expected: Shapes, what: str, layout: str
) -> list[_Source]:
    """The files' tensors, after their names and shapes were checked."""
    names = {name: rename(name) or name for name in files.shapes}
    found = {ours: files.shapes[name] for name, ours in names.items()}
    check_shapes(found, expected, what=what, layout=layout)
    return [_Source(ours, files, name) for name, ours in names.items()]


def _base_paths(base: Path) -> list[Path]:
    if base.is_file():
        return [base]
    inner = base / "transformer"
    return shards_in(inner if inner.is_dir() else base)


def load_text_encoder(
    base: Path,
    *,
    config: TextConfig = PRESETS["5b"].text,
    placement: Placement = Placement(),
    report: Report = no_report,
) -> Any:
    """Build the umT5 encoder (transformers' ``UMT5EncoderModel``) from either layout.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    model, sources = _text_sources(base, config)
    _fill_reported(model, sources, placement.of_any, placement, report, "text encoder")
    model.encoder.embed_tokens.weight = model.shared.weight
    return model.eval()


def check_text_encoder(base: Path, *, config: TextConfig = PRESETS["5b"].text) -> int:
    """Check the text encoder's files by their headers; the number of tensors. Raises as ``load_text_encoder``."""
    return len(_text_sources(base, config)[1])


def _text_sources(base: Path, config: TextConfig) -> tuple[Any, list[_Source]]:
    from transformers import UMT5Config, UMT5EncoderModel

    folder = base / "text_encoder"
    sizes = UMT5Config.from_pretrained(folder) if folder.is_dir() else UMT5Config(**config.as_arguments())
    with torch.device("meta"):
        model = UMT5EncoderModel(sizes)
    expected = shapes_of(model)
    del expected[_TIED]
    if folder.is_dir():
        files = WeightFiles(shards_in(folder, "model"), without=(_TIED,))
        return model, _checked(files, _same, expected, str(folder), "umT5's encoder in transformers' layout")
    layout = "umT5-XXL's encoder as Wan2.2 publishes it"
    path = base / TEXT_FILE
    return model, _checked(WeightFiles([path]), text_from_original, expected, str(path), layout)


def load_tokenizer(base: Path) -> Any:
    """The umT5 tokenizer from either layout.

    Raises:
        MissingWeightsError: Its folder is not there.
    """
    from transformers import AutoTokenizer

    folders = [base / "tokenizer", base / TOKENIZER_FOLDER]
    folder = next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise MissingWeightsError(f"no tokenizer folder {folders[0]} or {folders[1]}", name=str(folders[1]))
    return AutoTokenizer.from_pretrained(folder)


def load_vae(
    base: Path,
    *,
    config: VaeConfig = PRESETS["5b"].vae,
    placement: Placement = Placement(),
    report: Report = no_report,
) -> Any:
    """Build the video VAE (diffusers' ``AutoencoderKLWan``) from either layout.

    Raises:
        MissingWeightsError: A file is not there.
        CheckpointError: A file is wrong, incomplete or damaged.
    """
    model, sources = _vae_sources(base, config)
    _fill_reported(model, sources, placement.of_any, placement, report, "vae")
    return model.eval()


def check_vae(base: Path, *, config: VaeConfig = PRESETS["5b"].vae) -> int:
    """Check the VAE's files by their headers; the number of tensors. Raises as ``load_vae``."""
    return len(_vae_sources(base, config)[1])


def _vae_sources(base: Path, config: VaeConfig) -> tuple[Any, list[_Source]]:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    folder = base / "vae"
    sizes: Any = AutoencoderKLWan.load_config(folder) if folder.is_dir() else config.as_arguments()
    with torch.device("meta"):
        model: Any = AutoencoderKLWan.from_config(sizes)
    if folder.is_dir():
        files, rename, layout = WeightFiles(shards_in(folder)), _same, "the Wan2.2 VAE in diffusers' layout"
    else:
        files, rename, layout = WeightFiles([base / VAE_FILE]), vae_from_original, "the VAE as Wan2.2 publishes it"
    return model, _checked(files, rename, shapes_of(model), str(files.paths[0]), layout)


def _fill_reported(
    model: nn.Module,
    sources: list[_Source],
    dtype_of: Callable[[str], torch.dtype | None],
    placement: Placement,
    report: Report,
    phase: str,
) -> None:
    device = torch.device(placement.device)
    for index, source in enumerate(sources):
        report(f"load {phase}", index / len(sources))
        fill(model, [(source.name, source.files.tensor(source.name_in_files))], device=device, dtype_of=dtype_of)
    report(f"load {phase}", 1.0)
