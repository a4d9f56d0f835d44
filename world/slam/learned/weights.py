"""Where weights lie: the models' folder, or the hub's cache. Nothing is ever downloaded here."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from ...errors import MissingLibraryError

FOLDER_VARIABLE = "SPATIA_MODELS"
CONFIG_FILE = "config.json"


def find_weights(repository: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of a model's weights.

    Args:
        repository: On the Hugging Face hub, as ``owner/name``.
        environment: Names the models' folder (``SPATIA_MODELS``) and the hub's cache (``HF_HUB_CACHE``, ``HF_HOME``).

    Raises:
        MissingLibraryError: They lie nowhere; the message says where to put them.
    """
    found = find_weights_if_any(repository, environment)
    if found is None:
        place = _models_folder(environment) / repository.partition("/")[2]
        raise MissingLibraryError(
            f"the weights {repository} are not there: put the files of that repository into {place}", name=repository
        )
    return found


def find_weights_if_any(repository: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The same, or None."""
    local = _models_folder(environment) / repository.partition("/")[2]
    if (local / CONFIG_FILE).is_file():
        return local
    snapshots = _hub_cache(environment) / f"models--{repository.replace('/', '--')}" / "snapshots"
    cached = sorted(p.parent for p in snapshots.glob(f"*/{CONFIG_FILE}")) if snapshots.is_dir() else []
    return cached[-1] if cached else None


def _models_folder(environment: Mapping[str, str]) -> Path:
    named = environment.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_data_dir("spatia")) / "models"


def _hub_cache(environment: Mapping[str, str]) -> Path:
    if "HF_HUB_CACHE" in environment:
        return Path(environment["HF_HUB_CACHE"])
    home = environment.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"


def find_file(repository: str, name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """A single file of a repository whose weights have no ``config.json``.

    Raises:
        MissingLibraryError: It lies nowhere; the message says where to put it.
    """
    found = _files(repository, name, environment)
    if not found:
        place = _models_folder(environment) / repository.partition("/")[2] / name
        raise MissingLibraryError(f"the weights {repository} are not there: put {name} at {place}", name=repository)
    return found[-1]


def has_file(repository: str, name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``find_file`` would find it."""
    return bool(_files(repository, name, environment))


def _files(repository: str, name: str, environment: Mapping[str, str]) -> list[Path]:
    place = _models_folder(environment) / repository.partition("/")[2] / name
    snapshots = _hub_cache(environment) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return [place] if place.is_file() else sorted(snapshots.glob(f"*/{name}"))
