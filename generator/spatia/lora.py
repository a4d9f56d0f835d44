"""LoRA of the later rounds: read and checked whole, then applied at run time or fused with the base kept.

The authors' file holds ``pipe.dit.NAME.lora_A.default.weight`` and ``…lora_B…`` for linear layers of the main blocks;
the change of a weight is B·A, times 1.0.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .checkpoints import MAX_NAMED, WeightFiles
from .errors import CheckpointError
from .memory_plans import FP8
from .names import from_original
from .transformer import SpatiaTransformer3DModel

ADAPTER = "spatia"
_MARK = "pipe.dit."
_KEY = re.compile(r"(?:diffusion_model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight")
_LAYOUT = "pairs pipe.dit.BLOCK.LAYER.lora_A.default.weight (rank, in) and lora_B (out, rank)"


@dataclass(frozen=True, slots=True, eq=False)
class LoraWeights:
    """A checked LoRA.

    Attributes:
        pairs: (rank, in) and (out, rank) tensors by our name of the layer.
        rank: Of all pairs.
    """

    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]
    rank: int

    @property
    def num_parameters(self) -> int:
        """Numbers in all pairs."""
        return sum(a.numel() + b.numel() for a, b in self.pairs.values())


def read_lora(path: Path, model: SpatiaTransformer3DModel) -> LoraWeights:
    """Read a LoRA and check it against the network that it shall change.

    Args:
        path: safetensors file.
        model: Only its names and shapes are looked at; it may be on the meta device.

    Raises:
        MissingWeightsError: No such file.
        CheckpointError: A pair is incomplete, its layer unknown, a shape wrong, or ranks differ.
    """
    files = WeightFiles([path])
    halves = _halves(files, path)
    faults = [fault for name, half in halves.items() if (fault := _fault(name, half, files, model))]
    ranks = {files.shapes[half["A"]][0] for half in halves.values() if "A" in half}
    if not halves:
        faults = [f"no name contains {_MARK!r}"]
    elif len(ranks) > 1:
        faults.append(f"ranks {sorted(ranks)} in one file")
    if faults:
        more = f" and {len(faults) - MAX_NAMED} more" if len(faults) > MAX_NAMED else ""
        raise CheckpointError(f"{path}: {'; '.join(faults[:MAX_NAMED])}{more}. Expected {_LAYOUT}")
    pairs = {name: (files.tensor(half["A"]), files.tensor(half["B"])) for name, half in halves.items()}
    return LoraWeights(pairs, ranks.pop())


def _halves(files: WeightFiles, path: Path) -> dict[str, dict[str, str]]:
    """Names in the file of the A and the B of every layer."""
    halves: dict[str, dict[str, str]] = {}
    for key in files.shapes:
        if _MARK not in key:
            continue
        found = _KEY.fullmatch(key.replace(_MARK, ""))
        if found is None:
            raise CheckpointError(f"{path}: {key} is no half of a pair. Expected {_LAYOUT}")
        halves.setdefault(from_original(found[1]) or found[1], {})[found[2]] = key
    return halves


def _fault(name: str, half: dict[str, str], files: WeightFiles, model: SpatiaTransformer3DModel) -> str:
    """What is wrong with a pair; empty if nothing is."""
    if len(half) < 2:
        return f"{next(iter(half.values()))} has no other half"
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        layer = None
    if not isinstance(layer, nn.Linear):
        return f"{half['A']}: no such linear layer"
    shape_a, shape_b = files.shapes[half["A"]], files.shapes[half["B"]]
    wanted = (layer.out_features, shape_b[-1]), (shape_a[0], layer.in_features)
    if (shape_b, shape_a) != wanted or shape_a[0] != shape_b[-1]:
        return f"{half['A']} {shape_a} and {shape_b} do not change ({layer.out_features}, {layer.in_features})"
    return ""


def attach_lora(model: SpatiaTransformer3DModel, lora: LoraWeights) -> None:
    """Apply a LoRA at run time, through PEFT, at scale 1.0; ``set_lora`` turns it off and on."""
    state = {
        f"{name}.lora_{letter}.weight": tensor
        for name, pair in lora.pairs.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }
    model.load_lora_adapter(state, prefix=None, adapter_name=ADAPTER)  # pyright: ignore[reportArgumentType]
    for name in lora.pairs:
        layer = model.get_submodule(name)
        base = layer.get_parameter("base_layer.weight")
        dtype = torch.bfloat16 if base.dtype == FP8 else base.dtype
        for letter in "AB":
            layer.get_submodule(f"lora_{letter}.{ADAPTER}").to(device=base.device, dtype=dtype)


def set_lora(model: SpatiaTransformer3DModel, *, is_on: bool) -> None:
    """Turn an attached LoRA on or off; off, the network is exactly the base."""
    if is_on:
        model.enable_lora()
    else:
        model.disable_lora()


class FusedLora:
    """A LoRA added into the weights, with the base's weights kept, so that taking it out leaves no rounding.

    It saves the run-time form's small products; keeping the base costs the changed layers' size in main memory.
    """

    def __init__(self, model: SpatiaTransformer3DModel, lora: LoraWeights) -> None:
        self._model, self._lora = model, lora
        self._kept: dict[str, torch.Tensor] = {}

    @property
    def is_fused(self) -> bool:
        """True while the weights hold the LoRA."""
        return bool(self._kept)

    @torch.no_grad()
    def fuse(self) -> int:
        """Add the LoRA, summed in float32; the number of layers that hold it."""
        if not self._kept:
            for name, (a, b) in self._lora.pairs.items():
                weight = self._model.get_parameter(f"{name}.weight")
                self._kept[name] = weight.detach().to("cpu", copy=True)
                change = b.to(weight.device, torch.float32) @ a.to(weight.device, torch.float32)
                weight.data = (weight.float() + change).to(weight.dtype)
        return len(self._kept)

    @torch.no_grad()
    def unfuse(self) -> None:
        """Put the base's weights back, bit by bit."""
        for name, kept in self._kept.items():
            weight = self._model.get_parameter(f"{name}.weight")
            weight.data = kept.to(weight.device)
        self._kept = {}
