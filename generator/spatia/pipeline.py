"""One round of the paper as a diffusers pipeline: prompt, image or history, references and scene to a clip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from PIL import Image

from .config import NEGATIVE_PROMPT, ROUND_UP_PX, TEXT_TOKENS, SamplingConfig
from .rounds import num_latents, padded_frames
from .sampling import CleanLatents, guided, sample
from .speed import Kept, cache_steps, keep_conditions
from .text import encode_prompts, with_suffix
from .vae import decode, encode, encode_each, frames_of, pixels_of, score_of

Picture = Image.Image | npt.NDArray[np.uint8]
Video = Sequence[Image.Image] | npt.NDArray[np.uint8]
StepCallback = Callable[[Any, int, torch.Tensor, dict[str, Any]], dict[str, Any]]
OUTPUT_TYPES = ("np", "pil", "pt", "uint8", "latent")


@dataclass
class SpatiaPipelineOutput(BaseOutput):
    """What a round gives.

    Attributes:
        frames: By ``output_type``: (1, F, H, W, 3) float in [0, 1] ("np") or uint8 ("uint8"), a list with one list of
            pictures ("pil"), (1, F, 3, H, W) in [0, 1] ("pt"), or the latents ("latent").
        latents: (1, z, F', H / 16, W / 16) float32, the clip's, history included.
    """

    frames: Any
    latents: torch.Tensor


class SpatiaPipeline(DiffusionPipeline):
    """Generates one clip that follows a rendered scene.

    The first round begins with a clean image, later ones with the last frames of the clip before. Frames that are known
    (image, history, references) keep their latents through all steps.

    Args:
        tokenizer: Of umT5; may be None if embeddings are passed.
        text_encoder: ``UMT5EncoderModel``; may be None if embeddings are passed.
        vae: ``AutoencoderKLWan`` of Wan2.2.
        transformer: ``SpatiaTransformer3DModel``.
        scheduler: From ``sampling.make_scheduler``.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components: ClassVar[list[str]] = ["tokenizer", "text_encoder"]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", "negative_prompt_embeds"]

    def __init__(self, tokenizer: Any, text_encoder: Any, vae: Any, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer, scheduler=scheduler
        )
        self.video_processor = VideoProcessor(vae_scale_factor=vae.config.scale_factor_spatial if vae else 16)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | None = None,
        negative_prompt: str | None = NEGATIVE_PROMPT,
        *,
        image: Picture | None = None,
        history: Video | None = None,
        history_latents: torch.Tensor | None = None,
        references: Sequence[Picture] = (),
        scene_video: Video | None = None,
        coverage: npt.NDArray[Any] | None = None,
        height: int = 704,
        width: int = 1248,
        num_frames: int = 121,
        num_inference_steps: int = 40,
        guidance_scale: float = 3.5,
        control_scale: float | Sequence[float] = 1.0,
        generator: torch.Generator | None = None,
        latents: torch.Tensor | None = None,
        latents_dtype: torch.dtype = torch.float32,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        max_sequence_length: int = TEXT_TOKENS,
        batch_guidance: bool = False,
        step_cache: float = 0.0,
        attention_kwargs: dict[str, Any] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_start: Callable[[], None] | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> SpatiaPipelineOutput | tuple[Any, torch.Tensor]:
        """Generate a clip.

        Args:
            prompt: What to show; the authors' closing words are appended.
            negative_prompt: What to stay away from.
            image: First frame of a first round.
            history: Last frames (9) of the clip that this one continues; they become its first frames.
            history_latents: (1, z, K, h, w), the sampler's own latents of the history instead of ``history``.
            references: Pictures of the same surface, each of the clip's size.
            scene_video: Memory rendered along the path, one picture a frame; none: no control at all.
            coverage: (F, H, W), where memory has points: uint8, or in [0, 1]; none: nowhere.
            height: Multiple of 32.
            width: Multiple of 32.
            num_frames: 4k + 1, history included.
            num_inference_steps: Denoising steps.
            guidance_scale: 1 or less makes one pass a step instead of two.
            control_scale: Factor of the control's hints.
            generator: Of the noise. On the CPU the noise is drawn there in float32, as the authors do; it is then the
                same on every device.
            latents: (1, z, F', h, w) noise instead of the generator's.
            latents_dtype: Of the latents between steps; bfloat16 rounds as the authors' program does.
            prompt_embeds: (1, L, text_dim) instead of ``prompt``.
            negative_prompt_embeds: Like ``prompt_embeds``.
            max_sequence_length: Text tokens.
            batch_guidance: Both passes in one batch: faster where memory allows.
            step_cache: Relative change of the first block below which a step takes the others from the step before;
                0 computes every step.
            attention_kwargs: ``{"scale": s}`` scales LoRA.
            output_type: One of ``OUTPUT_TYPES``.
            return_dict: False for a tuple of frames and latents.
            callback_on_start: Called when all is encoded and denoising begins.
            callback_on_step_end: Called with pipeline, step, timestep and tensors; may give back others.
            callback_on_step_end_tensor_inputs: Names of the tensors that it gets.

        Raises:
            ValueError: An argument does not fit the others; the message says which.
        """
        self._check(height, width, num_frames, output_type, image, history, history_latents)
        self._check_texts(prompt, prompt_embeds, callback_on_step_end_tensor_inputs)
        device, size = self._execution_device, (width, height)
        texts: dict[str, Any] = {"prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative_prompt_embeds}
        if prompt_embeds is None:
            texts["prompt_embeds"] = self.encode_text(with_suffix(prompt or ""), max_sequence_length)
        if guidance_scale > 1.0 and negative_prompt_embeds is None:
            texts["negative_prompt_embeds"] = self.encode_text(negative_prompt or "", max_sequence_length)
        elif guidance_scale <= 1.0:
            texts["negative_prompt_embeds"] = None
        clean = self.encode_known(image, history, history_latents, references, size)
        control = self.encode_control(scene_video, coverage, num_frames, size)
        noise = self._noise(latents, (num_latents(num_frames), height, width), generator, latents_dtype)

        control = None if control is None else control.to(self.transformer.dtype)
        paired = Kept()

        def velocity(current: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            positive, negative = texts["prompt_embeds"], texts["negative_prompt_embeds"]
            rest = (clean.num_references, control_scale, attention_kwargs)
            if negative is not None and batch_guidance:
                told = paired.of(id(negative), positive, lambda: torch.cat((positive, negative)))
                twice = paired.of("control", control, lambda: _twice(control))
                both = self._predict(_twice(current), told, timesteps, twice, *rest)
                return guided(both[:1], both[1:], guidance_scale)
            told = self._predict(current, positive, timesteps, control, *rest)
            other = None if negative is None else self._predict(current, negative, timesteps, control, *rest)
            return guided(told, other, guidance_scale)

        if callback_on_start is not None:
            callback_on_start()
        make_bar: Any = self.progress_bar
        with make_bar(total=num_inference_steps) as shown:

            def on_step(index: int, timestep: torch.Tensor, current: torch.Tensor) -> torch.Tensor | None:
                shown.update()
                if callback_on_step_end is None:
                    return None
                known = {"latents": current} | texts
                given = {name: known[name] for name in callback_on_step_end_tensor_inputs}
                back = callback_on_step_end(self, index, timestep, given) or {}
                texts.update({name: back[name] for name in texts if name in back})
                return back.get("latents")

            with keep_conditions(self.transformer), cache_steps(self.transformer, step_cache):
                done = sample(
                    velocity,
                    noise,
                    clean,
                    scheduler=self.scheduler,
                    config=SamplingConfig(num_steps=num_inference_steps),
                    on_step=on_step,
                )
        frames = self._output(done.float(), output_type, device)
        self.maybe_free_model_hooks()
        return SpatiaPipelineOutput(frames, done.float()) if return_dict else (frames, done.float())

    def encode_text(self, text: str, max_tokens: int = TEXT_TOKENS) -> torch.Tensor:
        """(1, max_tokens, text_dim) embedding of a text, cleaned, on the device that computes."""
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError("prompt: this pipeline has no text encoder; pass prompt_embeds and negative_prompt_embeds")
        device = self._execution_device
        return encode_prompts([text], self.tokenizer, self.text_encoder, max_tokens=max_tokens, device=device)

    def encode_known(
        self,
        image: Picture | None,
        history: Video | None,
        history_latents: torch.Tensor | None,
        references: Sequence[Picture],
        size: tuple[int, int],
    ) -> CleanLatents:
        """Latents of what is known: image or history, and every reference alone."""
        device = self._execution_device
        beginning = history_latents
        if image is not None:
            beginning = encode(self.vae, pixels_of(_sized([image], size)).to(device))
        elif history is not None:
            beginning = encode(self.vae, pixels_of(_sized(history, size)).to(device))
        pictures = [pixels_of(_sized([picture], size)).to(device) for picture in references]
        return CleanLatents(encode_each(self.vae, pictures) if pictures else None, beginning)

    def encode_control(
        self,
        scene_video: Video | None,
        coverage: npt.NDArray[Any] | None,
        num_frames: int,
        size: tuple[int, int],
    ) -> torch.Tensor | None:
        """(1, 2z, F', h, w): the scene video's latents, then the score's; None if there is neither.

        A missing scene video is mid-grey, a missing coverage is empty everywhere, as with the authors.
        """
        if scene_video is None and coverage is None:
            return None
        device, (width, height) = self._execution_device, size
        scene = torch.zeros(1, 3, num_frames, height, width)
        score = torch.ones(1, 3, num_frames, height, width)
        if scene_video is not None:
            scene = pixels_of(_sized(scene_video, size))
        if coverage is not None:
            score = score_of(coverage)
        for name, given in (("scene_video", scene), ("coverage", score)):
            if tuple(given.shape[2:]) != (num_frames, height, width):
                raise ValueError(f"{name}: expected ({num_frames}, {height}, {width}), got {tuple(given.shape[2:])}")
        return torch.cat([encode(self.vae, given.to(device)) for given in (scene, score)], dim=1)

    def _noise(
        self,
        latents: torch.Tensor | None,
        sizes: tuple[int, int, int],
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        stride = self.vae.config.scale_factor_spatial
        shape = (1, self.vae.config.z_dim, sizes[0], sizes[1] // stride, sizes[2] // stride)
        if latents is not None and tuple(latents.shape) != shape:
            raise ValueError(f"latents: expected {shape}, got {tuple(latents.shape)}")
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=torch.float32)
        return latents.to(self._execution_device, dtype)

    def _predict(
        self,
        latents: torch.Tensor,
        text: torch.Tensor,
        timesteps: torch.Tensor,
        control: torch.Tensor | None,
        num_references: int,
        control_scale: float | Sequence[float],
        attention_kwargs: dict[str, Any] | None,
    ) -> torch.Tensor:
        batch = latents.shape[0]
        return self.transformer(
            latents.to(self.transformer.dtype),
            timesteps[None].expand(batch, -1),
            text,
            control,
            num_references,
            control_scale,
            attention_kwargs=attention_kwargs,
        ).sample.float()

    def _output(self, latents: torch.Tensor, output_type: str, device: torch.device) -> Any:
        if output_type == "latent":
            return latents
        pixels = decode(self.vae, latents.to(device))
        if output_type == "uint8":
            return frames_of(pixels)[None]
        return self.video_processor.postprocess_video(pixels, output_type=output_type)

    def _check(
        self,
        height: int,
        width: int,
        num_frames: int,
        output_type: str,
        image: Picture | None,
        history: Video | None,
        history_latents: torch.Tensor | None,
    ) -> None:
        if height % ROUND_UP_PX or width % ROUND_UP_PX or min(height, width) < ROUND_UP_PX:
            raise ValueError(f"height, width: expected multiples of {ROUND_UP_PX}, got {height}, {width}")
        if num_frames < 1 or padded_frames(num_frames) != num_frames:
            raise ValueError(
                f"num_frames: expected 4k + 1 such as {padded_frames(max(1, num_frames))}, got {num_frames}"
            )
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type: expected one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}")
        if sum(known is not None for known in (image, history, history_latents)) > 1:
            raise ValueError("image, history, history_latents: expected one of them at most")
        if history is not None and (len(history) >= num_frames or padded_frames(len(history)) != len(history)):
            raise ValueError(f"history: expected 4k + 1 frames, fewer than {num_frames}, got {len(history)}")

    def _check_texts(
        self, prompt: str | None, prompt_embeds: torch.Tensor | None, callback_inputs: Sequence[str]
    ) -> None:
        if (prompt is None) == (prompt_embeds is None):
            raise ValueError("prompt: expected either prompt or prompt_embeds")
        unknown = [name for name in callback_inputs if name not in self._callback_tensor_inputs]
        if unknown:
            choices = ", ".join(self._callback_tensor_inputs)
            raise ValueError(f"callback_on_step_end_tensor_inputs: expected some of {choices}, got {unknown}")


def _twice(tensor: torch.Tensor | None) -> Any:
    """A batch of two of a batch of one."""
    return None if tensor is None else tensor.expand(2, *tensor.shape[1:])


def _sized(video: Video | Sequence[Picture], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(F, H, W, 3) uint8 of pictures; resized (bicubic) where the size differs."""
    frames = []
    for picture in video:
        array = np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"pictures: expected (H, W, 3) uint8, got {array.shape} {array.dtype}")
        if array.shape[1::-1] != size:
            array = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC))
        frames.append(array)
    return np.stack(frames)
