"""A whole path as a film, round after round, as the authors' program makes it, with nothing lossy on the way.

Between rounds the caller updates its memory and says what the next round is conditioned on; see ``Conditions``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .config import SamplingConfig
from .pipeline import SpatiaPipeline
from .rounds import HISTORY_FRAMES, Round, num_latents, plan_rounds, prompts_for
from .vae import decode, frames_of

HISTORIES = ("pixels", "latents")


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What a round follows.

    Attributes:
        scene_video: (F, H, W, 3) uint8, memory rendered at the round's poses, padded ones included.
        coverage: (F, H, W), where memory has points: uint8, or in [0, 1].
        references: (H, W, 3) uint8 each, in the order of the round's poses.
    """

    scene_video: npt.NDArray[np.uint8]
    coverage: npt.NDArray[Any]
    references: tuple[npt.NDArray[np.uint8], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FilmRound:
    """What a round made.

    Attributes:
        round: Its place in the path.
        frames: (N, H, W, 3) uint8, the frames that it adds to the film.
        latents: (1, z, F', h, w) of the whole round, history and padding included.
    """

    round: Round
    frames: npt.NDArray[np.uint8]
    latents: torch.Tensor


def film_rounds(
    pipeline: SpatiaPipeline,
    image: npt.NDArray[np.uint8],
    *,
    num_frames: int,
    prompts: Sequence[str],
    conditions: Callable[[Round, npt.NDArray[np.uint8]], Conditions],
    set_lora: Callable[[bool], None],
    seed: int = 20917,
    sampling: SamplingConfig = SamplingConfig(),  # noqa: B008 - frozen
    history: str = "pixels",
    options: dict[str, Any] | None = None,
) -> Iterator[FilmRound]:
    """Make a film.

    Args:
        pipeline: The model.
        image: (H, W, 3) uint8, the first frame; its size is the film's.
        num_frames: Poses of the path.
        prompts: One for each round; the last is repeated.
        conditions: Called before a round with all frames so far, (N, H, W, 3) uint8, beginning with the image.
        set_lora: Called before a round: False for the first, True later.
        seed: Of the noise; the same in every round, as with the authors.
        sampling: Steps and guidance.
        history: "pixels" encodes the last nine frames again, as released; "latents" keeps the sampler's own last ones,
            which loses nothing but is not what the model was trained with.
        options: Further arguments of the pipeline, such as ``batch_guidance``.

    Yields:
        Every round when it is done.

    Raises:
        ValueError: An argument makes no sense.
    """
    if history not in HISTORIES:
        raise ValueError(f"history: expected one of {', '.join(HISTORIES)}, got {history!r}")
    rounds = plan_rounds(num_frames)
    told = prompts_for(prompts, len(rounds))
    frames, last = image[None], None
    for this, prompt in zip(rounds, told, strict=True):
        set_lora(this.uses_lora)
        given = conditions(this, frames)
        known: dict[str, Any] = {"image": image}
        if last is not None and history == "latents":
            known = {"history_latents": last[:, :, -num_latents(HISTORY_FRAMES) :]}
        elif this.index:
            known = {"history": frames[-HISTORY_FRAMES:]}
        made: Any = pipeline(
            prompt,
            **known,
            references=given.references,
            scene_video=given.scene_video,
            coverage=given.coverage,
            height=image.shape[0],
            width=image.shape[1],
            num_frames=this.num_frames,
            num_inference_steps=sampling.num_steps,
            guidance_scale=sampling.guidance,
            control_scale=sampling.control_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="uint8",
            **(options or {}),
        )
        last = made.latents
        new = made.frames[0][this.new_frames()]
        frames = new if this.index == 0 else np.concatenate((frames, new))
        yield FilmRound(this, new, made.latents)


def final_film(pipeline: SpatiaPipeline, made: Sequence[FilmRound]) -> npt.NDArray[np.uint8]:
    """(N, H, W, 3) uint8: all rounds' latents decoded at once, so that no seam is between them; without padding.

    Unlike the authors' film it ends where the path ends.
    """
    parts = [r.latents[:, :, num_latents(HISTORY_FRAMES) if r.round.index else 0 :] for r in made]
    film = frames_of(decode(pipeline.vae, torch.cat(parts, dim=2)))
    return film[: made[-1].round.stop]
