"""SAM2: follows what is pointed at through a video, by the package ``sam2``, or by transformers where that is missing.

Weights lie in the models' folder or the hub's cache; nothing is downloaded here.
"""

import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ...errors import MissingLibraryError
from ..segmenters import Prompt
from .weights import find_file, find_weights, find_weights_if_any, has_file

CHECKPOINT_REPOSITORY, CHECKPOINT_FILE = "facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt"
CONFIG_NAME = "configs/sam2.1/sam2.1_hiera_l.yaml"
TRANSFORMERS_NEEDS = ("torch", "transformers", "torchvision")
"""Transformers prepares SAM2's pictures by torchvision alone."""
JPEG_QUALITY = 98
"""The package reads a video from a folder of JPEG files; this is as good as they get without wasting room."""


class VideoPredictor(Protocol):
    """What is called of ``sam2``'s video predictor."""

    def init_state(self, video_path: str) -> Any:
        """A state for the frames ``00000.jpg``, ``00001.jpg``, … of a folder."""
        ...

    def add_new_mask(self, inference_state: Any, frame_idx: int, obj_id: int, mask: Any) -> Any:
        """Point at a thing by an (H, W) bool mask."""
        ...

    def add_new_points_or_box(
        self, inference_state: Any, frame_idx: int, obj_id: int, *, points: Any, labels: Any
    ) -> Any:
        """Point at a thing by (N, 2) pixels; labels are 1 on it and 0 beside it."""
        ...

    def propagate_in_video(
        self, inference_state: Any, start_frame_idx: int | None = None, *, reverse: bool = False
    ) -> Iterable[tuple[int, Sequence[int], Any]]:
        """Frame index, object identities and (O, 1, H, W) logits, frame by frame."""
        ...


class Sam2:
    """Masks by the package ``sam2``; by transformers where the package is missing.

    Args:
        predictor: Loaded from weights that are installed if not given.

    Raises:
        MissingLibraryError: Neither package, or no weights.
    """

    name = "sam2"

    def __init__(self, predictor: VideoPredictor | None = None) -> None:
        self._predictor = _load() if predictor is None else predictor

    def track(self, color: npt.NDArray[np.uint8], prompts: Sequence[Prompt]) -> npt.NDArray[np.bool_]:
        """See ``Segmenter``. Each thing is followed forwards from its prompt, then backwards."""
        out = np.zeros((len(prompts), *color.shape[:3]), bool)
        if not prompts:
            return out
        with tempfile.TemporaryDirectory(prefix="spatia-sam2-") as folder:
            _write_frames(color, Path(folder))
            state = self._predictor.init_state(video_path=folder)
            for identity, prompt in enumerate(prompts):
                self._point(state, identity, prompt)
            first = min(p.frame_index for p in prompts)
            last = max(p.frame_index for p in prompts)
            for start, is_reverse in ((first, False), (last, True)):
                for frame, identities, logits in self._predictor.propagate_in_video(
                    state, start_frame_idx=start, reverse=is_reverse
                ):
                    masks = _as_array(logits)[:, 0] > 0
                    for identity, mask in zip(identities, masks, strict=True):
                        out[identity, frame] |= mask
        return out

    def _point(self, state: Any, identity: int, prompt: Prompt) -> None:
        if prompt.mask is not None:
            self._predictor.add_new_mask(state, prompt.frame_index, identity, prompt.mask)
            return
        assert prompt.is_inside is not None, "clicks say whether they are inside"
        labels = prompt.is_inside.astype(np.int32)
        self._predictor.add_new_points_or_box(
            state, prompt.frame_index, identity, points=prompt.points_px, labels=labels
        )


def _write_frames(color: npt.NDArray[np.uint8], folder: Path) -> None:
    for k, picture in enumerate(color):
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(folder / f"{k:05d}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"cannot write frame {k} of {len(color)} to {folder}")


def _as_array(value: Any) -> npt.NDArray[np.floating]:
    return value.float().cpu().numpy() if hasattr(value, "cpu") else np.asarray(value)


def _load() -> VideoPredictor:
    try:
        from sam2.build_sam import build_sam2_video_predictor  # pyright: ignore[reportMissingImports]
    except ImportError:
        return TransformersPredictor()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return build_sam2_video_predictor(CONFIG_NAME, str(find_file(CHECKPOINT_REPOSITORY, CHECKPOINT_FILE)), device)


class Sam2Transformers(Sam2):
    """The same by transformers' ``Sam2VideoModel``, whether or not the package ``sam2`` is there."""

    name = "sam2-transformers"

    def __init__(self) -> None:
        super().__init__(TransformersPredictor())


class TransformersPredictor:
    """transformers' ``Sam2VideoModel`` behind the package's interface.

    Raises:
        MissingLibraryError: No weights, or a library is missing.
    """

    def __init__(self) -> None:
        lacking = [name for name in TRANSFORMERS_NEEDS if find_spec(name) is None]
        if lacking:
            raise MissingLibraryError(
                f"SAM2 by transformers needs {', '.join(lacking)}, which is not installed: "
                f"pip install {' '.join(lacking)}, or pip install 'spatia[sam2]' for its authors' package",
                name=lacking[0],
            )
        import torch
        from transformers import Sam2VideoModel, Sam2VideoProcessor

        folder = str(find_weights(CHECKPOINT_REPOSITORY))
        self._torch, self._device = torch, "cuda" if torch.cuda.is_available() else "cpu"
        model: Any = Sam2VideoModel.from_pretrained(folder, local_files_only=True)
        self._model = model.to(self._device).eval()
        self._processor: Any = Sam2VideoProcessor.from_pretrained(folder, local_files_only=True)

    def init_state(self, video_path: str) -> Any:
        """See ``VideoPredictor``."""
        frames = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(Path(video_path).glob("*.jpg"))]
        return self._processor.init_video_session(video=frames, inference_device=self._device)

    def add_new_mask(self, inference_state: Any, frame_idx: int, obj_id: int, mask: Any) -> None:
        """See ``VideoPredictor``."""
        self._processor.add_inputs_to_inference_session(
            inference_state, frame_idx=frame_idx, obj_ids=obj_id, input_masks=mask.astype(np.float32)
        )

    def add_new_points_or_box(
        self, inference_state: Any, frame_idx: int, obj_id: int, *, points: Any, labels: Any
    ) -> None:
        """See ``VideoPredictor``."""
        self._processor.add_inputs_to_inference_session(
            inference_state,
            frame_idx=frame_idx,
            obj_ids=obj_id,
            input_points=[[np.asarray(points).tolist()]],
            input_labels=[[np.asarray(labels).tolist()]],
        )

    def propagate_in_video(
        self, inference_state: Any, start_frame_idx: int | None = None, *, reverse: bool = False
    ) -> Iterable[tuple[int, Sequence[int], Any]]:
        """See ``VideoPredictor``."""
        size = [[inference_state.video_height, inference_state.video_width]]
        with self._torch.inference_mode():
            for found in self._model.propagate_in_video_iterator(
                inference_state, start_frame_idx=start_frame_idx, reverse=reverse
            ):
                masks = self._processor.post_process_masks([found.pred_masks], original_sizes=size, binarize=False)
                yield found.frame_idx, list(inference_state.obj_ids), masks[0]


def is_sam2_installed() -> bool:
    """Whether a package and its weights are there. Imports neither."""
    if find_spec("torch") is None:
        return False
    if find_spec("sam2") is not None:
        return has_file(CHECKPOINT_REPOSITORY, CHECKPOINT_FILE)
    has_libraries = all(find_spec(name) is not None for name in TRANSFORMERS_NEEDS)
    return has_libraries and find_weights_if_any(CHECKPOINT_REPOSITORY) is not None
