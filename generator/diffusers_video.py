"""Any diffusers image-to-video pipeline as a generator: ``diffusers:REPOSITORY`` or ``diffusers:FOLDER``.

Such a pipeline follows no path: the clip begins with a picture from where the path begins and goes where it likes. Its
poses are found afterwards by what it shares with memory; a clip that cannot be placed is rejected.
"""

import inspect
import time
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..world.slam.placement import Anchor, place_frames
from .errors import MissingExtraError, UnusableModelError
from .requests import Clip, ClipRequest, Progress, SceneVideo

SIDE_MULTIPLE = 32
LOAD_SHARE, SAMPLE_SHARE = 0.2, 0.9
"""Progress at the end of loading and of sampling."""
COVERED = 0.5


class DiffusersGenerator:
    """Makes clips with a diffusers image-to-video pipeline; nothing is fetched, weights must be there.

    Args:
        source: Folder with a ``model_index.json``, or a repository that was downloaded before.

    Raises:
        ImportError: torch or diffusers is not installed.
        MissingExtraError: The folder is not there or is no pipeline.
    """

    name: ClassVar[str] = "diffusers"
    rank: ClassVar[int] = 32
    native_speed: ClassVar[tuple[float, float] | None] = None
    wants_key_views: ClassVar[bool] = False
    follows_poses: ClassVar[bool] = False
    """Its clips are not where they were asked for."""

    def __init__(self, source: str) -> None:
        for library in ("torch", "diffusers"):
            import_module(library)
        folder = Path(source).expanduser()
        if folder.is_dir() and not (folder / "model_index.json").is_file():
            raise MissingExtraError(f"{source} holds no model_index.json: it is no diffusers pipeline", name=source)
        if not folder.is_dir() and source.count("/") != 1:
            raise MissingExtraError(f"diffusers: expected a folder or OWNER/NAME, got {source!r}", name=source)
        self._source = str(folder) if folder.is_dir() else source
        self._pipeline: Any = None

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Make one clip and find its poses. See ``Generator.generate``."""
        started = time.perf_counter()
        progress.check("load", 0.0)
        pipeline = self._loaded()
        loaded = time.perf_counter()
        progress.check("denoise", LOAD_SHARE)
        frames = self._frames(pipeline, request, first_picture(request, scene), progress)
        denoised = time.perf_counter()
        progress.check("place", SAMPLE_SHARE)
        placed = place_frames(frames, request.pinhole, _anchors(request, scene))
        seconds = {"load": loaded - started, "denoise": denoised - loaded, "place": time.perf_counter() - denoised}
        return Clip(frames, world_T_camera=placed.world_T_camera, unplaced=placed.reason, seconds=seconds)

    def _loaded(self) -> Any:
        if self._pipeline is None:
            import torch
            from diffusers.pipelines.pipeline_utils import DiffusionPipeline

            is_gpu = torch.cuda.is_available()
            kind = torch.bfloat16 if is_gpu else torch.float32
            try:
                pipeline: Any = DiffusionPipeline.from_pretrained(self._source, dtype=kind, local_files_only=True)
            except OSError as error:
                told = f"{self._source} is not on this machine; get it with: hf download {self._source}"
                raise MissingExtraError(told, name=self._source) from error
            if "image" not in _parameters(pipeline):
                raise UnusableModelError(f"{self._source}: expected a pipeline that takes an image and gives a video")
            pipeline.set_progress_bar_config(disable=True)
            if is_gpu:
                pipeline.enable_model_cpu_offload()
            self._pipeline = pipeline
        return self._pipeline

    def _frames(
        self, pipeline: Any, request: ClipRequest, picture: npt.NDArray[np.uint8], progress: Progress
    ) -> npt.NDArray[np.uint8]:
        """(F, H, W, 3) uint8 of the request's size and number."""
        import torch
        from PIL import Image

        width, height = (max(SIDE_MULTIPLE, side // SIDE_MULTIPLE * SIDE_MULTIPLE) for side in request.pinhole.size)

        def on_step(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            steps = max(1, getattr(pipeline, "num_timesteps", index + 1))
            progress.check("denoise", LOAD_SHARE + (SAMPLE_SHARE - LOAD_SHARE) * min(1.0, (index + 1) / steps))
            return {}

        wanted = {
            "image": Image.fromarray(_resized(picture[None], (width, height))[0]),
            "prompt": request.prompt,
            "height": height,
            "width": width,
            "num_frames": (request.num_frames + 2) // 4 * 4 + 1,
            "generator": torch.Generator("cpu").manual_seed(request.seed),
            "output_type": "np",
            "callback_on_step_end": on_step,
        }
        if request.effort is not None:
            wanted |= {"num_inference_steps": request.effort.num_steps, "guidance_scale": request.effort.guidance}
        known = _parameters(pipeline)
        made = np.asarray(pipeline(**{k: v for k, v in wanted.items() if k in known}).frames[0])
        return _resized(_as_bytes(made, request.num_frames), request.pinhole.size)


def _parameters(pipeline: Any) -> set[str]:
    return set(inspect.signature(pipeline.__call__).parameters)


def _as_bytes(made: npt.NDArray[Any], num_frames: int) -> npt.NDArray[np.uint8]:
    """As many frames as were asked for, spread over those that were made; uint8."""
    if made.ndim != 4 or made.shape[-1] != 3:
        raise UnusableModelError(f"expected a video of colour frames from the pipeline, got shape {made.shape}")
    index = np.linspace(0, len(made) - 1, num_frames).round().astype(int)
    if made.dtype == np.uint8:
        return made[index]
    return (np.clip(np.nan_to_num(made[index]), 0.0, 1.0) * 255.0).round().astype(np.uint8)


def _resized(frames: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    import cv2

    if frames.shape[2:0:-1] == size:
        return np.ascontiguousarray(frames)
    return np.stack([np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_AREA), np.uint8) for f in frames])


def first_picture(request: ClipRequest, scene: SceneVideo) -> npt.NDArray[np.uint8]:
    """What the clip begins with: the end of the clip before, what memory shows, or the best reference."""
    if request.tail is not None and len(request.tail):
        return request.tail[-1]
    if request.references and float((scene.coverage[0] >= COVERED).mean()) < COVERED:
        return request.references[0].color
    return scene.color[0]


def _anchors(request: ClipRequest, scene: SceneVideo) -> list[Anchor]:
    """References with depth, and memory as it looks from where the path begins and ends."""
    known = [
        Anchor(r.color, r.depth_m, r.pinhole, r.world_T_camera) for r in request.references if r.depth_m is not None
    ]
    ends = sorted({0, request.num_frames - 1})
    return known + [Anchor(scene.color[k], scene.depth_m[k], request.pinhole, request.world_T_camera[k]) for k in ends]
