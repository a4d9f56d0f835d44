"""Rounds of a long path, as in the authors' program: which frames, which strides, what is padded. Imports no torch.

Round 0 makes up to 121 frames from the photo. Every later round makes 81, of which the first 9 are the last 9 of the
round before; a short last round repeats its last pose.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .config import ROUND_UP_PX

FIRST_ROUND_FRAMES = 121
ROUND_FRAMES = 81
HISTORY_FRAMES = 9
FRAME_RATE_HZ = 24.0
NUM_REFERENCES = 7
MAP_RATE_HZ = 4.0
REFERENCE_RATE_HZ = 2.0
CANDIDATE_RATE_HZ = 6.0
FIRST_VOXEL_SIZE_M = 0.01
VOXEL_SIZE_STEP_M = 0.005
TIME_STRIDE = 4
"""Frames of a latent after the first, which is one frame's alone."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        index: 0 for the first.
        start: First frame of the path.
        stop: One after its last frame of the path.
        num_padded: Poses that repeat the last one, so that the round has its full length.
        num_history: Frames at its beginning that the round before made.
    """

    index: int
    start: int
    stop: int
    num_padded: int
    num_history: int

    @property
    def num_frames(self) -> int:
        """Frames to sample, padding included."""
        return self.stop - self.start + self.num_padded

    @property
    def num_new(self) -> int:
        """Frames that the round adds to the film."""
        return self.stop - self.start - self.num_history

    @property
    def uses_lora(self) -> bool:
        """LoRA is off in the first round and on later."""
        return self.index > 0

    def pose_indices(self) -> npt.NDArray[np.intp]:
        """(num_frames,) frames of the path, the last one repeated."""
        return np.minimum(np.arange(self.start, self.start + self.num_frames), self.stop - 1)

    def new_frames(self) -> slice:
        """Of the sampled frames, those that the round adds to the film."""
        return slice(self.num_history, self.num_history + self.num_new)

    def voxel_size_m(self) -> float:
        """Side of the voxels that the authors render the round's scene with."""
        return FIRST_VOXEL_SIZE_M + VOXEL_SIZE_STEP_M * self.index


def plan_rounds(
    num_frames: int,
    *,
    first_round: int = FIRST_ROUND_FRAMES,
    later_round: int = ROUND_FRAMES,
    history: int = HISTORY_FRAMES,
) -> tuple[Round, ...]:
    """Rounds that make a path.

    Args:
        num_frames: Poses of the path, 1 or more.
        first_round: Frames of round 0.
        later_round: Frames of the others.
        history: Frames that a later round takes from the one before.

    Raises:
        ValueError: A number makes no sense.
    """
    if num_frames < 1 or not 0 < history < min(first_round, later_round):
        raise ValueError(
            f"rounds: expected 1 frame or more and history in 1..{min(first_round, later_round) - 1}, "
            f"got {num_frames} frames and history {history}"
        )
    new = later_round - history
    count = 1 + max(0, math.ceil((num_frames - first_round) / new))
    rounds = []
    for index in range(count):
        length = later_round if index else first_round
        start = first_round + (index - 1) * new - history if index else 0
        stop = min(start + length, num_frames)
        rounds.append(Round(index, start, stop, length - (stop - start), history if index else 0))
    return tuple(rounds)


def stride(rate_hz: float, frame_rate_hz: float = FRAME_RATE_HZ) -> int:
    """Every how many-th frame is taken at a lower rate: 6 for the map, 12 for targets, 4 for candidates."""
    return max(1, round(frame_rate_hz / rate_hz))


def candidate_frames(this: Round) -> range:
    """Frames of the path that may become references: those before the round, every fourth."""
    return range(0, this.start, stride(CANDIDATE_RATE_HZ))


def target_frames(this: Round) -> range:
    """Frames of the round (counted in it) that references are looked for."""
    return range(0, this.num_frames, stride(REFERENCE_RATE_HZ))


def prompts_for(lines: Sequence[str], num_rounds: int) -> tuple[str, ...]:
    """One prompt for every round: the last is repeated, surplus ones are dropped.

    Raises:
        ValueError: No prompt that says anything.
    """
    told = [line.strip() for line in lines if line.strip()]
    if not told:
        raise ValueError("prompt: expected at least one line, got none")
    return tuple(told[min(i, len(told) - 1)] for i in range(num_rounds))


def num_latents(num_frames: int) -> int:
    """Latents of 4k + 1 frames."""
    return (num_frames - 1) // TIME_STRIDE + 1


def padded_frames(num_frames: int) -> int:
    """The next 4k + 1."""
    return math.ceil((num_frames - 1) / TIME_STRIDE) * TIME_STRIDE + 1


def padded_side(pixels: int) -> int:
    """The next multiple of 32."""
    return math.ceil(pixels / ROUND_UP_PX) * ROUND_UP_PX
