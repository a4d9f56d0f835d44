"""Models: which are installed, what each needs, where its files belong, and how to get and check them.

Nothing is fetched unless a person asks for it by name. Without torch this lists and locates; checking needs it.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .config import CONTROL_FILE, LORA_FILE, NETWORK_FILES, PRESETS, TEXT_FILE, TOKENIZER_FOLDER, VAE_FILE
from .errors import CheckpointError, MissingWeightsError

FOLDER_VARIABLE = "SPATIA_MODELS"
"""Environment variable with the folder that holds all models."""
GB = 1e9
BASE_FOLDERS = ("Wan2.2-TI2V-5B", "Wan2.2-TI2V-5B-Diffusers")
SPATIA_FOLDER = "Spatia"
_HASH_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Part:
    """Files of a model that come from one place.

    Attributes:
        repository: On the Hugging Face hub.
        folder: Below the models' folder.
        files: Paths that must be there, a folder's ending in "/".
        download_gb: About what is downloaded.
    """

    repository: str
    folder: str
    files: tuple[str, ...]
    download_gb: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be used once its files are there.

    Attributes:
        name: What a person types.
        purpose: What it does.
        parts: What it consists of.
        ram_gb: About what it needs in main memory.
        vram_gb: About what it needs on a GPU, with the whole model there and with parts moved in and out.
        license: Of the weights.
        needs: Extra of this package, or a package of its authors.
    """

    name: str
    purpose: str
    parts: tuple[Part, ...]
    ram_gb: float
    vram_gb: tuple[float, float]
    license: str
    needs: str

    @property
    def download_gb(self) -> float:
        """About what is downloaded."""
        return sum(part.download_gb for part in self.parts)


_TOKENIZER = tuple(f"{TOKENIZER_FOLDER}/{name}" for name in ("tokenizer.json", "tokenizer_config.json"))
_WAN = Part(
    "Wan-AI/Wan2.2-TI2V-5B", BASE_FOLDERS[0], (*NETWORK_FILES, TEXT_FILE, VAE_FILE, *_TOKENIZER), 20.0 + 11.4 + 2.8
)
_SPATIA = Part("Jinjing713/Spatia", SPATIA_FOLDER, (CONTROL_FILE, LORA_FILE), 6.2)


def _hub_model(repository: str, folder: str, download_gb: float) -> tuple[Part, ...]:
    return (Part(repository, folder, ("config.json", "model.safetensors"), download_gb),)


MODELS = (
    Model(
        "spatia",
        "the paper's video model: makes clips that follow memory",
        (_WAN, _SPATIA),
        20.0,
        (37.0, 8.0),
        "base Apache-2.0; control and LoRA: see their page",
        "spatia[models]",
    ),
    Model(
        "mapanything",
        "the paper's estimator: depth and poses of a clip's frames",
        _hub_model("facebook/map-anything-apache", "map-anything-apache", 4.9),
        8.0,
        (12.0, 12.0),
        "Apache-2.0 (facebook/map-anything, trained on more, is CC-BY-NC-4.0)",
        "its authors' package mapanything",
    ),
    Model(
        "sam2",
        "masks of what moves",
        _hub_model("facebook/sam2.1-hiera-large", "sam2.1-hiera-large", 0.9),
        3.0,
        (4.0, 4.0),
        "Apache-2.0",
        "spatia[sam2] or spatia[models]",
    ),
    Model(
        "depth-anything",
        "metric depth of a photo, indoors",
        _hub_model(
            "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", "Depth-Anything-V2-Metric-Indoor-Small-hf", 0.1
        ),
        1.0,
        (1.0, 1.0),
        "Apache-2.0 (the larger sizes are CC-BY-NC-4.0)",
        "spatia[models]",
    ),
    Model(
        "depth-pro",
        "metric depth of a photo, sharp at edges",
        _hub_model("apple/DepthPro-hf", "DepthPro-hf", 1.9),
        6.0,
        (6.0, 6.0),
        "Apple's, research only",
        "spatia[models]",
    ),
)


@dataclass(frozen=True, slots=True)
class PlanNeed:
    """What the paper's model needs with its weights kept in one way; by accounting (``accounting.need_of``), in GB.

    Attributes:
        plan: What ``SPATIA_MEMORY`` says.
        walk_gb: On the GPU at 832x480, 81 frames with 7 references.
        full_gb: On the GPU at 1248x704, 121 frames.
        ram_gb: In main memory.
        meaning: In words.
    """

    plan: str
    walk_gb: float
    full_gb: float
    ram_gb: float
    meaning: str


PLAN_NEEDS = (
    PlanNeed("whole", 31.4, 37.1, 1.5, "all on the GPU"),
    PlanNeed("encoder", 20.0, 25.7, 12.9, "text encoder in main memory"),
    PlanNeed("fp8", 13.7, 19.4, 12.9, "the same, network in 8 bits"),
    PlanNeed("group", 7.8, 13.5, 19.8, "the same, network block by block from main memory"),
)
CPU_NEED_GB = 31.8
"""Main memory that a round of 832x480 takes without a GPU."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model, and which of its files are missing.

    Attributes:
        model: The model.
        missing: Paths of files that are not there, in full.
    """

    model: Model
    missing: tuple[Path, ...]

    @property
    def is_installed(self) -> bool:
        """True if all files are there."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class SpatiaFiles:
    """Where the paper's model lies.

    Attributes:
        base: Folder of Wan2.2-TI2V-5B in either layout.
        control: The control checkpoint.
        lora: The LoRA of later rounds.
    """

    base: Path
    control: Path
    lora: Path


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder of all models: ``SPATIA_MODELS``, or one of the user's data folders."""
    if environment.get(FOLDER_VARIABLE):
        return Path(environment[FOLDER_VARIABLE]).expanduser()
    from platformdirs import user_data_path

    return user_data_path("spatia") / "models"


def model_of(name: str) -> Model:
    """The model of a name.

    Raises:
        ValueError: Unknown name.
    """
    for model in MODELS:
        if model.name == name:
            return model
    raise ValueError(f"model: expected one of {', '.join(m.name for m in MODELS)}, got {name!r}")


def list_models(folder: Path) -> tuple[ModelState, ...]:
    """All models, and what is missing of each below a folder."""
    return tuple(ModelState(model, _missing(model, folder)) for model in MODELS)


def _missing(model: Model, folder: Path) -> tuple[Path, ...]:
    if model.name == "spatia":
        return missing_of_spatia(folder)
    paths = [folder / part.folder / file for part in model.parts for file in part.files]
    return tuple(path for path in paths if not path.is_file())


def missing_of_spatia(folder: Path) -> tuple[Path, ...]:
    """Files of the paper's model that are not there; the base may be in either layout."""
    base = _base_folder(folder)
    if (base / "transformer").is_dir():
        wanted = [base / inner for inner in ("transformer", "vae", "text_encoder", "tokenizer")]
    else:
        wanted = [base / file for file in _WAN.files]
    wanted += [folder / SPATIA_FOLDER / file for file in _SPATIA.files]
    return tuple(path for path in wanted if not path.exists())


def _base_folder(folder: Path) -> Path:
    return next((folder / name for name in BASE_FOLDERS if (folder / name).is_dir()), folder / BASE_FOLDERS[0])


def find_spatia(folder: Path) -> SpatiaFiles:
    """Where the paper's model lies below a folder.

    Raises:
        MissingWeightsError: Files are missing; the message says which, and where they belong.
    """
    missing = missing_of_spatia(folder)
    if missing:
        raise MissingWeightsError(where_to_put("spatia", folder, missing), name=str(missing[0]))
    inner = folder / SPATIA_FOLDER
    return SpatiaFiles(_base_folder(folder), inner / CONTROL_FILE, inner / LORA_FILE)


def where_to_put(name: str, folder: Path, missing: tuple[Path, ...]) -> str:
    """In words: which files are missing, where they come from, and where they belong."""
    model = model_of(name)
    lines = [f"model {name!r} is not complete in {folder} ({FOLDER_VARIABLE} names another folder). Missing:"]
    for part in model.parts:
        inside = [p for p in missing if part.folder in p.parts or (part is _WAN and SPATIA_FOLDER not in p.parts)]
        if inside:
            files = ", ".join(str(p.relative_to(folder)) for p in inside)
            lines.append(f"from {part.repository} on the Hugging Face hub: {files}")
    lines.append(f"`spatia models fetch {name}` gets them ({model.download_gb:.0f} GB; licence: {model.license})")
    return "\n".join(lines)


def fetch(name: str, folder: Path, report: Callable[[str], None] = lambda line: None) -> None:
    """Download a model's files from the hub; what is there already is kept, what broke off is resumed.

    Args:
        name: Of the model.
        folder: Of all models.
        report: Told in words what is going on.

    Raises:
        MissingWeightsError: The hub cannot be reached; the message says which files to put where.
        CheckpointError: A file's checksum is wrong.
        MissingExtraError: huggingface_hub is not installed.
    """
    from huggingface_hub import HfApi, hf_hub_download

    for part in model_of(name).parts:
        target = folder / part.folder
        try:
            known = HfApi().model_info(part.repository, files_metadata=True).siblings or []
            sums = {s.rfilename: s.lfs.sha256 for s in known if s.lfs is not None}
            for file in part.files:
                report(f"{part.repository}: {file}")
                if file in sums and (target / file).is_file() and sha256_of(target / file) == sums[file]:
                    continue  # also where it was put by hand
                path = Path(hf_hub_download(part.repository, file, local_dir=target))
                if file in sums and sha256_of(path) != sums[file]:
                    raise CheckpointError(f"{path}: wrong checksum: delete it and fetch again")
        except CheckpointError:
            raise
        except Exception as error:  # the hub's client raises those of several libraries
            missing = _missing(model_of(name), folder)
            told = f"the hub cannot be reached or refused ({type(error).__name__})\n"
            raise MissingWeightsError(told + where_to_put(name, folder, missing), name=str(folder)) from error


def sha256_of(path: Path) -> str:
    """Checksum of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What ``check_spatia`` found.

    Attributes:
        lines: What was checked, in words.
        lora_rank: Of the LoRA.
        lora_layers: Layers that it changes.
    """

    lines: tuple[str, ...]
    lora_rank: int
    lora_layers: int


def check_spatia(folder: Path, preset: str = "5b") -> CheckReport:
    """Verify the paper's model by its files' headers; needs torch, no GPU, and seconds.

    Args:
        folder: Of all models.
        preset: Sizes to expect.

    Raises:
        MissingWeightsError: Files are missing.
        CheckpointError: A file is wrong, incomplete or damaged; the message names the first tensors.
    """
    from .loading import check_text_encoder, check_transformer, check_vae
    from .lora import read_lora

    files, sizes = find_spatia(folder), PRESETS[preset]
    network = check_transformer(files.base, files.control, config=sizes.network)
    lora = read_lora(files.lora, network)
    texts = check_text_encoder(files.base, config=sizes.text)
    vae = check_vae(files.base, config=sizes.vae)
    lines = (
        f"{files.base}: network, {_count(network, 'vace_', is_inside=False)} tensors",
        f"{files.control}: control, {_count(network, 'vace_', is_inside=True)} tensors",
        f"{files.lora}: LoRA, rank {lora.rank}, {len(lora.pairs)} layers, {lora.num_parameters / 1e6:.1f} M numbers",
        f"{files.base}: text encoder, {texts} tensors; VAE, {vae} tensors",
    )
    return CheckReport(lines, lora.rank, len(lora.pairs))


def _count(network: object, prefix: str, *, is_inside: bool) -> int:
    from torch import nn

    assert isinstance(network, nn.Module)
    return sum(name.startswith(prefix) == is_inside for name in network.state_dict())
