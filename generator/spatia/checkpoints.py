"""Weight files: read without a second copy in memory, and checked tensor by tensor before anything is used.

safetensors files are memory-mapped; of a ``.pth`` file only tensors are taken, never code.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from .errors import CheckpointError, MissingWeightsError

Report = Callable[[str, float], None]
"""Told a phase and the share of it that is done; may raise to stop."""
MAX_NAMED = 3
"""Tensors that an error names of each kind."""
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")

Shapes = Mapping[str, tuple[int, ...]]


class WeightFiles:
    """The tensors of one or more files, under the names that the files use, but for those in ``without``.

    Raises:
        MissingWeightsError: A file does not exist.
        CheckpointError: A file cannot be read, or two files hold the same tensor.
    """

    def __init__(self, paths: Sequence[Path], *, without: Sequence[str] = ()) -> None:
        self.paths = tuple(paths)
        self._readers: dict[str, Callable[[str], torch.Tensor]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for path in self.paths:
            found, reader = _open(path)
            twice = found.keys() & shapes.keys()
            if twice:
                raise CheckpointError(f"{path}: tensor {min(twice)!r} is in another of the files as well")
            shapes |= found
            self._readers |= dict.fromkeys(found, reader)
        self.shapes: Shapes = {name: shape for name, shape in shapes.items() if name not in without}

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor on the CPU; its memory is the mapped file's where that is possible."""
        return self._readers[name](name)


def _open(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], torch.Tensor]]:
    if not path.is_file():
        raise MissingWeightsError(f"no weight file {path}", name=str(path))
    try:
        return _open_pickle(path) if path.suffix in (".pth", ".pt", ".bin") else _open_safetensors(path)
    except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        kind = "a file of tensors saved by torch" if path.suffix == ".pth" else "safetensors"
        size = path.stat().st_size
        raise CheckpointError(
            f"{path}: expected {kind}, got {size} bytes that are not ({error}): fetch it again"
        ) from None


def _open_safetensors(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], torch.Tensor]]:
    file = safe_open(path, framework="pt", device="cpu")
    names = file.keys()
    return {name: tuple(file.get_slice(name).get_shape()) for name in names}, file.get_tensor


def _open_pickle(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], torch.Tensor]]:
    tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, got {type(tensors).__name__}")
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__


def shards_in(folder: Path, stem: str = "diffusion_pytorch_model") -> list[Path]:
    """Files of a model in a folder, all shards of it.

    Raises:
        MissingWeightsError: There are none, or a shard is missing; the message names it.
    """
    files = sorted(folder.glob(f"{stem}*.safetensors"))
    if not files:
        raise MissingWeightsError(f"no {stem}*.safetensors in {folder}", name=str(folder))
    for stem, count in {(m[1], m[3]) for m in map(_SHARD.fullmatch, (f.name for f in files)) if m}:
        wanted = [f"{stem}-{i:05d}-of-{count}.safetensors" for i in range(1, int(count) + 1)]
        missing = [name for name in wanted if not (folder / name).is_file()]
        if missing:
            raise MissingWeightsError(f"{folder}: shard {missing[0]} is missing", name=str(folder / missing[0]))
    return files


def check_shapes(found: Shapes, expected: Shapes, *, what: str, layout: str) -> None:
    """Check that a checkpoint is whole.

    Args:
        found: Of the checkpoint.
        expected: Of the model, under the same names.
        what: Of the checkpoint, for the message: its file or folder.
        layout: What was expected, for the message.

    Raises:
        CheckpointError: Tensors are missing, misshapen or unknown; the first ones are named.
    """
    faults = []
    missing = [f"{name} {expected[name]}" for name in expected if name not in found]
    misshapen = [
        f"{name}: expected {shape}, got {found[name]}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    unknown = [name for name in found if name not in expected]
    for kind, names in (("missing", missing), ("misshapen", misshapen), ("unknown", unknown)):
        if names:
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            faults.append(f"{len(names)} {kind} ({'; '.join(names[:MAX_NAMED])}{more})")
    if faults:
        raise CheckpointError(f"{what}: {', '.join(faults)}. Expected {layout}, {len(expected)} tensors")


def fill(
    module: nn.Module,
    tensors: Iterable[tuple[str, torch.Tensor]],
    *,
    device: torch.device,
    dtype_of: Callable[[str], torch.dtype | None],
) -> None:
    """Put tensors in the place of a module's (meta) parameters, one after the other, without a second copy.

    Args:
        module: Built on the meta device.
        tensors: Names in the module, and values.
        device: Where the parameters shall be.
        dtype_of: Their type by name; None keeps the file's.
    """
    for name, tensor in tensors:
        parent, _, leaf = name.rpartition(".")
        placed = tensor.to(device=device, dtype=dtype_of(name))
        owner = module.get_submodule(parent)
        if leaf in owner._buffers:
            owner._buffers[leaf] = placed
        else:
            owner._parameters[leaf] = nn.Parameter(placed, requires_grad=False)


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's tensors, as its state holds them."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
