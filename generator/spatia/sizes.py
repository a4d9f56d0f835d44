"""Makes a request fit the model: its pictures' size, and the order of its references."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...world.camera import Pinhole
from ...world.keyframes import shared_surface
from ..pipeline import keyframe_of
from ..requests import ClipRequest, SceneVideo
from .config import ROUND_UP_PX
from .rounds import NUM_REFERENCES


def scaled_request(request: ClipRequest) -> ClipRequest:
    """The request with frames of no more pixels than its effort allows; camera and tail follow."""
    pinhole = request.pinhole
    width, height = pinhole.width, pinhole.height
    if request.effort is None or width * height <= request.effort.max_pixels:
        return request
    factor = (request.effort.max_pixels / (width * height)) ** 0.5
    small = pinhole.resized(
        *(max(ROUND_UP_PX, int(side * factor) // ROUND_UP_PX * ROUND_UP_PX) for side in (width, height))
    )
    return replace(request, pinhole=small, tail=None if request.tail is None else _resized(request.tail, small))


def scaled_scene(scene: SceneVideo, pinhole: Pinhole) -> SceneVideo:
    """The scene video at a camera's size; depth is taken from the nearest pixel."""
    import cv2

    if scene.color.shape[1:3] == (pinhole.height, pinhole.width):
        return scene
    return SceneVideo(
        _resized(scene.color, pinhole),
        _resized(scene.depth_m, pinhole, cv2.INTER_NEAREST),
        _resized(scene.coverage, pinhole),
    )


def enlarged(frames: npt.NDArray[np.uint8], pinhole: Pinhole) -> npt.NDArray[np.uint8]:
    """(F, H, W, 3) frames at a camera's size; as they are if they have it."""
    import cv2

    is_there = frames.shape[1:3] == (pinhole.height, pinhole.width)
    return frames if is_there else _resized(frames, pinhole, cv2.INTER_CUBIC)


def _resized(video: npt.NDArray[Any], pinhole: Pinhole, method: int | None = None) -> npt.NDArray[Any]:
    import cv2

    size, method = (pinhole.width, pinhole.height), cv2.INTER_AREA if method is None else method
    return np.stack([np.asarray(cv2.resize(frame, size, interpolation=method)) for frame in video])


def order_references(request: ClipRequest) -> ClipRequest:
    """The request with its references along the path, as the network was trained: in the order of the target cameras.

    Each reference is given a camera of its own, evenly spread along the path, so that the shared surface is largest in
    sum; one that shares none with any camera is left out. Where memory is empty they stay as they are.
    """
    references = request.references[:NUM_REFERENCES]
    if not references:
        return request
    from scipy.optimize import linear_sum_assignment

    targets = request.world_T_camera[np.linspace(0, request.num_frames - 1, len(references)).round().astype(int)]
    shared = shared_surface(request.memory, request.pinhole, targets, [keyframe_of(r) for r in references])
    if not shared.any():
        return replace(request, references=references)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    order = [int(c) for r, c in sorted(zip(rows, columns, strict=True)) if shared[:, c].any()]
    return replace(request, references=tuple(references[i] for i in order))


def padded(video: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """(F, H, W, …) with its last row and column repeated to a size."""
    pad = [(0, 0), (0, size[0] - video.shape[1]), (0, size[1] - video.shape[2])]
    return np.pad(video, pad + [(0, 0)] * (video.ndim - 3), mode="edge")


def fitted(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Fill a (height, width) with the middle of a picture, resized."""
    import cv2

    height, width = size
    scale = max(height / picture.shape[0], width / picture.shape[1])
    rows, columns = max(height, round(picture.shape[0] * scale)), max(width, round(picture.shape[1] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(picture, (columns, rows), interpolation=method)
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width], dtype=np.uint8)
