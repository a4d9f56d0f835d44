"""The generator ``spatia``: the paper's model behind the queue.

A request becomes one round. Memory's points, drawn as the model was trained on, are the control; a photo taken at the
first pose, if there is one, is the clean first frame; a tail is the history; references stand before the clip. Torch is
imported when the generator is made, weights are loaded with the first request.
"""

import math
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...world.camera import Pinhole
from ...world.points import PointClass, priority_of
from ...world.transforms import invert, rotation_angle_rad
from ..requests import Clip, ClipRequest, Effort, Progress, ReferenceFrame, SceneVideo, show_frames
from .catalogue import SpatiaFiles, find_spatia
from .config import NEGATIVE_PROMPT
from .rounds import FIRST_ROUND_FRAMES, HISTORY_FRAMES, NUM_REFERENCES, ROUND_FRAMES, padded_frames, padded_side
from .settings import GeneratorSettings, settings_from
from .sizes import enlarged, fitted, order_references, padded, scaled_request, scaled_scene

if TYPE_CHECKING:
    import torch

    from .accounting import Work
    from .pipeline import SpatiaPipeline

LOAD_SHARE = 0.3
"""Share of the first request's progress that loading takes."""
CONDITION_SHARE = 0.33
ENCODE_SHARE = 0.36
DENOISE_SHARE = 0.9
"""Progress at the end of drawing the control, of encoding and of denoising."""
DRAWN_AT_ONCE = 8
"""Frames of the control between two looks at whether the clip is still wanted."""
COVERED = 0.5
SAME_POSE_M = 0.02
SAME_POSE_RAD = math.radians(1.0)
SAME_VIEW = 0.02
"""A photo this near to the first pose is taken as the first frame."""
KEPT_TEXTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """What the model follows, frame by frame.

    Attributes:
        color: (F, H, W, 3) uint8 sRGB, black where memory is empty; the history's frames come first where drawn.
        coverage: (F, H, W) uint8, 255 where memory covers the pixel fully. H and W are the request's, or padded to
            multiples of 32.
    """

    color: npt.NDArray[np.uint8]
    coverage: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class RoundInputs:
    """A request as the model wants it: padded to 4k + 1 frames and sides of multiples of 32.

    Attributes:
        scene: (F, H, W, 3) uint8.
        coverage: (F, H, W) uint8.
        history: (K, H, W, 3) uint8, last frames of the clip before, or None.
        image: (H, W, 3) uint8, clean first frame, or None.
        references: (H, W, 3) uint8 each.
    """

    scene: npt.NDArray[np.uint8]
    coverage: npt.NDArray[np.uint8]
    history: npt.NDArray[np.uint8] | None
    image: npt.NDArray[np.uint8] | None
    references: tuple[npt.NDArray[np.uint8], ...]

    @property
    def num_history(self) -> int:
        """K."""
        return 0 if self.history is None else len(self.history)

    @property
    def uses_lora(self) -> bool:
        """LoRA knows history and references; a first round goes without."""
        return self.history is not None or bool(self.references)


class SpatiaGenerator:
    """Makes continuous clips with the paper's model; the same request and seed give the same clip.

    Its clips hold colour; their depth is found when they are lifted.

    Args:
        settings: From the environment if not given, see ``settings``.

    Raises:
        ImportError: torch, diffusers or transformers is not installed.
        MissingWeightsError: Weights are not there; the message says which files to put where.
    """

    name = "spatia"
    rank = 40
    native_speed = (0.53, math.radians(9.0))
    wants_key_views = False
    rounds = (FIRST_ROUND_FRAMES, ROUND_FRAMES, HISTORY_FRAMES)

    def __init__(self, settings: GeneratorSettings | None = None) -> None:
        for library in ("torch", "diffusers", "transformers"):
            import_module(library)
        self._settings = settings or settings_from(os.environ)
        self._files: SpatiaFiles | None = None
        if self._settings.preset != "tiny":
            self._files = find_spatia(self._settings.models)
        self._pipeline: SpatiaPipeline | None = None
        self._fused: Any = None
        self._texts: OrderedDict[str, Any] = OrderedDict()

    def prepare(self, request: ClipRequest, progress: Progress) -> None:
        """Load weights before the first request; see ``Generator``."""
        self._loaded(scaled_request(request), progress, num_frames=ROUND_FRAMES)

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Make one clip. See ``Generator.generate``."""
        started = time.perf_counter()
        asked, given = request.pinhole, scene
        request = scaled_request(request)
        pipeline = self._loaded(request, progress, num_frames=request.num_frames)
        request = self._that_fits(request)
        scene = scaled_scene(scene, request.pinhole)
        loaded = time.perf_counter()
        inputs = round_inputs(request, self._control(request, scene, progress))
        drawn = time.perf_counter()
        try:
            latents, encoded = self._denoise(pipeline, request, inputs, progress)
            denoised = time.perf_counter()
            frames = self._decode(pipeline, latents, request, inputs, progress)
        finally:
            pipeline.maybe_free_model_hooks()
        frames = enlarged(frames, asked)
        decoded = time.perf_counter()
        seconds = {"load": loaded - started, "condition": drawn - loaded, "encode": encoded - drawn}
        seconds |= {"denoise": denoised - encoded, "decode": decoded - denoised}
        return Clip(frames, seconds=seconds) if len(frames) > 1 else _of_memory(frames, given, seconds)

    def _loaded(self, request: ClipRequest, progress: Progress, *, num_frames: int) -> "SpatiaPipeline":
        """The pipeline, its weights kept so that a round of so many new frames fits."""
        if self._pipeline is None:

            def report(phase: str, fraction: float) -> None:
                progress.check(phase, fraction * LOAD_SHARE)

            report("load", 0.0)
            self._pipeline = self._load(_work_of(request, num_frames), report)
        return self._pipeline

    def _that_fits(self, request: ClipRequest) -> ClipRequest:
        """The request, made smaller if what is free now does not hold its activations.

        Raises:
            TooLittleMemoryError: Not even the smallest size fits.
        """
        if self._files is None:
            return request
        from .accounting import largest_size

        device = None if self._pipeline is None else self._pipeline._execution_device
        work = _work_of(request, request.num_frames)
        size = largest_size(self._settings.preset, work, device)
        if size == (work.width, work.height):
            return request
        effort = request.effort or Effort(self._settings.sampling.num_steps, self._settings.sampling.guidance, 0)
        return scaled_request(replace(request, effort=replace(effort, max_pixels=size[0] * size[1])))

    def _load(self, work: "Work", report: Any) -> "SpatiaPipeline":
        if self._files is None:
            from .tiny import tiny_pipeline

            pipeline = tiny_pipeline()
        else:
            from .assembly import load_pipeline, plan_for

            plan = plan_for(self._settings, work)
            pipeline, self._fused = load_pipeline(self._files, self._settings, report, plan=plan)
        if self._settings.speed.is_compiled:
            from .speed import compile_blocks

            compile_blocks(pipeline.transformer)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _control(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Control:
        """What the model follows: memory's points as discs, or the scene video as it is."""
        if self._settings.control == "scene":
            return Control(scene.color, np.round(scene.coverage * 255.0).astype(np.uint8))
        from ...renderer.conditioning import SceneDrawer

        height, width = padded_side(request.pinhole.height), padded_side(request.pinhole.width)
        pinhole = replace(request.pinhole, width=width, height=height)
        points = request.memory.points()
        counts = points.priority >= priority_of(PointClass.INVENTED, self.rank)
        positions, colors = points.positions_world[counts], points.colors[counts]
        poses = np.concatenate([_history_poses(request), request.world_T_camera])
        drawer = SceneDrawer(positions, colors, pinhole, device=self._drawing_device(len(positions), (width, height)))
        color = np.empty((len(poses), height, width, 3), np.uint8)
        coverage = np.empty((len(poses), height, width), np.uint8)
        for start in range(0, len(poses), DRAWN_AT_ONCE):
            share = start / len(poses)
            progress.check("condition", LOAD_SHARE + (CONDITION_SHARE - LOAD_SHARE) * share)
            part = slice(start, start + DRAWN_AT_ONCE)
            drawn = drawer.draw(poses[part])
            color[part], coverage[part] = drawn.color, drawn.coverage
        return Control(color, coverage)

    def _drawing_device(self, num_points: int, size: tuple[int, int]) -> Any:
        """The model's GPU if drawing fits beside the model; the processor otherwise."""
        device = None if self._pipeline is None else self._pipeline._execution_device
        if device is None or device.type != "cuda":
            return "cpu"
        from ...renderer.conditioning_torch import memory_bound
        from .accounting import free_memory

        return device if memory_bound(num_points, *size) <= free_memory(device).gpu_bytes else "cpu"

    def _denoise(
        self, pipeline: "SpatiaPipeline", request: ClipRequest, inputs: RoundInputs, progress: Progress
    ) -> tuple["torch.Tensor", float]:
        """(1, z, F', h, w) latents of the clip, history included, and when encoding was done."""
        import torch

        sampling = self._settings.sampling_of(request.effort)
        progress.check("encode", CONDITION_SHARE)
        self._switch_lora(pipeline, is_on=inputs.uses_lora)
        positive = self._text(pipeline, request.prompt, is_negative=False)
        negative = self._text(pipeline, NEGATIVE_PROMPT, is_negative=True) if sampling.guidance > 1.0 else None
        encoded = [time.perf_counter()]

        def on_step(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            share = (index + 1) / sampling.num_steps
            progress.check("denoise", ENCODE_SHARE + (DENOISE_SHARE - ENCODE_SHARE) * share)
            return {}

        def on_start() -> None:
            encoded[0] = time.perf_counter()
            progress.check("denoise", ENCODE_SHARE)

        made: Any = pipeline(
            image=inputs.image,
            history=inputs.history,
            references=inputs.references,
            scene_video=inputs.scene,
            coverage=inputs.coverage,
            height=inputs.scene.shape[1],
            width=inputs.scene.shape[2],
            num_frames=len(inputs.scene),
            num_inference_steps=sampling.num_steps,
            guidance_scale=sampling.guidance,
            batch_guidance=self._settings.speed.is_batched,
            step_cache=self._settings.speed.step_cache,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            output_type="latent",
            callback_on_start=on_start,
            callback_on_step_end=on_step,
        )
        return made.latents, encoded[0]

    def _text(self, pipeline: "SpatiaPipeline", text: str, *, is_negative: bool) -> "torch.Tensor":
        """Embedding of a prompt, kept for the next request."""
        from .text import with_suffix

        told = text if is_negative else with_suffix(text)
        if told not in self._texts:
            self._texts[told] = pipeline.encode_text(told)
        self._texts.move_to_end(told)
        while len(self._texts) > KEPT_TEXTS:
            self._texts.popitem(last=False)
        return self._texts[told]

    def _switch_lora(self, pipeline: "SpatiaPipeline", *, is_on: bool) -> None:
        network = pipeline.transformer
        if self._fused is not None and is_on:
            self._fused.fuse()
        elif self._fused is not None:
            self._fused.unfuse()
        elif self._files is not None:
            from .lora import set_lora

            set_lora(network, is_on=is_on)
        if self._settings.speed.is_qkv_fused and (self._fused is not None or self._files is None):
            from .speed import fuse_qkv

            fuse_qkv(network)

    def _decode(
        self,
        pipeline: "SpatiaPipeline",
        latents: "torch.Tensor",
        request: ClipRequest,
        inputs: RoundInputs,
        progress: Progress,
    ) -> npt.NDArray[np.uint8]:
        """The frames that were asked for, at their size: without history and padding."""
        from .vae import decode_pieces, frames_of

        first, height, width = inputs.num_history, *request.pinhole.size[::-1]
        pieces: list[npt.NDArray[np.uint8]] = []
        num_decoded = num_shown = 0
        for index, piece in enumerate(decode_pieces(pipeline.vae, latents)):
            pieces.append(frames_of(piece)[:, :height, :width])
            skipped = max(0, first - num_decoded)
            num_decoded += len(pieces[-1])
            new = pieces[-1][skipped : skipped + request.num_frames - num_shown]
            if len(new):
                show_frames(progress, num_shown, new)
                num_shown += len(new)
            progress.check("decode", DENOISE_SHARE + (1.0 - DENOISE_SHARE) * (index + 1) / latents.shape[2])
        return np.ascontiguousarray(np.concatenate(pieces)[first : first + request.num_frames])


def _work_of(request: ClipRequest, num_frames: int) -> "Work":
    """The round of a request with so many new frames, at most."""
    from .accounting import Work

    return Work(*request.pinhole.size, num_frames + HISTORY_FRAMES, NUM_REFERENCES)


def _of_memory(frames: npt.NDArray[np.uint8], scene: SceneVideo, seconds: dict[str, float]) -> Clip:
    """A clip of one frame: its depth is memory's, for no other can be found from it, and nothing is new."""
    is_known = (scene.coverage >= COVERED) & (scene.depth_m > 0)
    depth_m = np.where(is_known, scene.depth_m, 0).astype(np.float32)
    nothing = np.zeros(is_known.shape, bool)
    return Clip(frames, depth_m, is_known.astype(np.float32), new_surface=nothing, seconds=seconds)


def round_inputs(request: ClipRequest, control: Control) -> RoundInputs:
    """Make a round of a request.

    Where the control lacks the history's frames (their poses are not known), the history itself, fully covered, stands
    in for it.
    """
    height, width = padded_side(request.pinhole.height), padded_side(request.pinhole.width)
    history = _history(request, (height, width))
    num_history = 0 if history is None else len(history)
    num_frames = max(padded_frames(num_history + request.num_frames), 5)
    color = np.empty((num_frames, height, width, 3), np.uint8)
    coverage = np.empty((num_frames, height, width), np.uint8)
    count = request.num_frames
    num_drawn = len(control.color) - count
    if history is not None:
        color[:num_history], coverage[:num_history] = history, 255
    first = num_history - num_drawn
    color[first : num_history + count] = padded(control.color, (height, width))
    coverage[first : num_history + count] = padded(control.coverage, (height, width))
    color[num_history + count :] = color[num_history + count - 1]
    coverage[num_history + count :] = coverage[num_history + count - 1]
    photo = None if history is not None else _photo_at_start(request)
    image = None if photo is None else _first_frame(photo, request.pinhole, (height, width))
    pictures = (
        ()
        if photo is not None
        else tuple(fitted(r.color, (height, width)) for r in order_references(request).references)
    )
    return RoundInputs(color, coverage, history, image, pictures)


def _history_poses(request: ClipRequest) -> npt.NDArray[np.float64]:
    """(K, 4, 4) poses of the frames that ``_history`` takes, or none where they are not known."""
    if request.tail is None or request.tail_world_T_camera is None or len(request.tail) == 0:
        return np.zeros((0, 4, 4))
    return request.tail_world_T_camera[-_history_length(request.tail) :]


def _history_length(tail: npt.NDArray[np.uint8]) -> int:
    return (min(len(tail), HISTORY_FRAMES) - 1) // 4 * 4 + 1


def _history(request: ClipRequest, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """Last 4k + 1 frames of the tail, 9 at most."""
    if request.tail is None or len(request.tail) == 0:
        return None
    return padded(request.tail[-_history_length(request.tail) :], size)


def _photo_at_start(request: ClipRequest) -> ReferenceFrame | None:
    """An observed reference that was taken where the path begins, of the same view."""
    start = request.world_T_camera[0]
    for reference in request.references:
        apart = invert(start) @ reference.world_T_camera
        is_near = np.linalg.norm(apart[:3, 3]) <= SAME_POSE_M and rotation_angle_rad(apart) <= SAME_POSE_RAD
        if reference.is_observed and is_near and _shows_view(reference.pinhole, request.pinhole):
            return reference
    return None


def _first_frame(photo: ReferenceFrame, asked: Pinhole, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(*size, 3) uint8, a photo as the frame that is asked for, padded as its control is."""
    return padded(fitted(photo.color, (asked.height, asked.width))[None], size)[0]


def _shows_view(photo: Pinhole, asked: Pinhole) -> bool:
    """Whether a photo is as wide as the view that is asked for, whole or cropped to its shape."""
    views = (photo, photo.covering(*asked.size))
    return any(abs(v.fx / v.width / (asked.fx / asked.width) - 1) < SAME_VIEW for v in views)
