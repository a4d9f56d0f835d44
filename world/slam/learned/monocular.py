"""Depth of one picture at a time, in metres, by a network through transformers: Depth Anything V2 (metric), Depth Pro.

Weights are used where they lie already, in the models' folder or the hub's cache; nothing is downloaded here.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ...camera import Pinhole
from ...memory import MemorySnapshot
from ..estimators import FrameStack, GeometryEstimate
from ..given import depth_confidence, find_flying
from .weights import find_weights, find_weights_if_any

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH = 1e-4, 1e4
"""Limits of the release of Depth Pro, 1/m."""
MAX_DEPTH_M = 200.0
"""Beyond, a network means the sky."""
CONFIDENCE = 0.5
"""What is estimated counts half of what was measured."""


class DepthNetwork(Protocol):
    """A network that sees one picture."""

    def depth(self, color: npt.NDArray[np.uint8], pinhole: Pinhole) -> npt.NDArray[np.float32]:
        """Metres along +Z.

        Args:
            color: (H, W, 3) uint8 sRGB.
            pinhole: Its intrinsics.

        Returns:
            (H, W) float32; 0 or not finite where it does not know.
        """
        ...


class _Monocular:
    """What both have in common: each frame alone, cleaned."""

    name: ClassVar[str]
    repositories: ClassVar[tuple[str, ...]]
    uses_all_frames = False

    def __init__(self, network: DepthNetwork | None = None) -> None:
        self._network = self._load() if network is None else network

    @classmethod
    def _load(cls) -> DepthNetwork:
        raise NotImplementedError

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Estimate each frame's depth; where memory holds something the scale is locked to it afterwards.

        Raises:
            ValueError: The network's answer has another shape than the frame.
        """
        depth = np.zeros(frames.color.shape[:3], np.float32)
        confidence = np.zeros_like(depth)
        for k, color in enumerate(frames.color):
            depth[k] = _cleaned(self._network.depth(color, frames.pinhole), color.shape[:2])
            confidence[k] = np.float32(CONFIDENCE) * depth_confidence(depth[k], frames.pinhole)
        return GeometryEstimate(
            depth,
            confidence,
            frames.world_T_camera,
            is_metric=True,
            sees_free_space=False,
            is_up_to_scale=bool(memory.chunks),
        )


def _cleaned(depth: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if depth.shape != shape:
        raise ValueError(f"monocular depth: expected {shape}, the network gave {depth.shape}")
    with np.errstate(invalid="ignore"):
        known = np.where(np.isfinite(depth) & (depth > 0) & (depth < MAX_DEPTH_M), depth, 0).astype(np.float32)
    return np.where(find_flying(known), np.float32(0), known)


class DepthAnything(_Monocular):
    """Depth Anything V2 with a metric head.

    Args:
        network: Loaded from weights that are installed if not given.

    Raises:
        MissingLibraryError: The weights are not there.
        ValueError: They give relative depth only.
    """

    name = "depth-anything"
    repositories = (
        "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
        "depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf",
        "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
        "depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf",
        "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
    )

    @classmethod
    def _load(cls) -> DepthNetwork:
        return DepthAnythingNetwork(_folder_of(cls))


class DepthPro(_Monocular):
    """Depth Pro.

    Args:
        network: Loaded from weights that are installed if not given.

    Raises:
        MissingLibraryError: The weights are not there.
    """

    name = "depth-pro"
    repositories = ("apple/DepthPro-hf",)

    @classmethod
    def _load(cls) -> DepthNetwork:
        return DepthProNetwork(_folder_of(cls))


def _folder_of(kind: type[_Monocular]) -> Path:
    found = [place for r in kind.repositories if (place := find_weights_if_any(r)) is not None]
    return found[0] if found else find_weights(kind.repositories[0])


def installed_monocular() -> str:
    """Name of the estimator of lone pictures that can be used at once, or "" where none can. Imports no network."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        return ""
    for kind in (DepthPro, DepthAnything):
        if any(find_weights_if_any(r) is not None for r in kind.repositories):
            return kind.name
    return ""


class _Transformer:
    """A depth network of transformers, from a local folder."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForDepthEstimation

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        model: Any = AutoModelForDepthEstimation.from_pretrained(str(folder), local_files_only=True)
        self._model = model.to(self._device).eval()

    def _run(self, picture: npt.NDArray[np.float32]) -> Any:
        """The network's answer to an (h, w, 3) picture that is normalised."""
        pixels = self._torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None])).to(self._device)
        with self._torch.inference_mode():
            return self._model(pixel_values=pixels)


def _normalised(
    color: npt.NDArray[np.uint8],
    size: tuple[int, int],
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
) -> npt.NDArray[np.float32]:
    resized = np.asarray(cv2.resize(color, size, interpolation=cv2.INTER_CUBIC), np.float32) / np.float32(255)
    return ((resized - np.array(mean, np.float32)) / np.array(deviation, np.float32)).astype(np.float32)


class DepthAnythingNetwork(_Transformer):
    """Depth Anything V2 of a local folder.

    Args:
        folder: With ``config.json`` and weights.

    Raises:
        ValueError: The weights give relative depth only.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        kind = self._model.config.depth_estimation_type
        if kind != "metric":
            raise ValueError(f"{folder}: expected weights of metric depth, got {kind}; take a Depth-Anything-V2-Metric")

    def depth(self, color: npt.NDArray[np.uint8], pinhole: Pinhole) -> npt.NDArray[np.float32]:
        """See ``DepthNetwork``. The shorter side becomes the network's own, both multiples of its patches."""
        height, width = color.shape[:2]
        backbone = self._model.config.backbone_config
        patch = backbone.patch_size
        factor = backbone.image_size / min(height, width)
        size = tuple(max(patch, round(side * factor / patch) * patch) for side in (width, height))
        picture = _normalised(color, (size[0], size[1]), IMAGENET_MEAN, IMAGENET_DEVIATION)
        found = self._run(picture).predicted_depth[0].float().cpu().numpy()
        return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


class DepthProNetwork(_Transformer):
    """Depth Pro of a local folder.

    Args:
        folder: With ``config.json`` and weights.
    """

    def depth(self, color: npt.NDArray[np.uint8], pinhole: Pinhole) -> npt.NDArray[np.float32]:
        """See ``DepthNetwork``. The answer is inverse depth for a focal length of the picture's width."""
        height, width = color.shape[:2]
        config = self._model.config
        side = round(config.patch_size / min(config.scaled_images_ratios))
        half = (0.5, 0.5, 0.5)
        found = self._run(_normalised(color, (side, side), half, half)).predicted_depth[0].float().cpu().numpy()
        inverse = np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        inverse *= np.float32(width / pinhole.fx)
        return (1.0 / np.clip(inverse, MIN_INVERSE_DEPTH, MAX_INVERSE_DEPTH)).astype(np.float32)
