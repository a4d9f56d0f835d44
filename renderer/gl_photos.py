"""Keyframes' pixels in graphics memory, and how shaders are told where they lie."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.keyframes import Keyframe
from ..world.transforms import Transform, invert
from . import shaders
from .gl_table import NEAREST

KEPT_PHOTOS = 12
"""Keyframes whose pixels stay in graphics memory."""

OWN_DEPTH = -1


@dataclass(slots=True)
class PhotoTexture:
    """A keyframe in graphics memory.

    Attributes:
        keyframe: What it was made from.
        color: Texture of its pixels.
        depth: Texture of ``photo_depth``.
        revision: Of the memory that its depth was drawn from; ``OWN_DEPTH`` where the keyframe has its own.
    """

    keyframe: Keyframe
    color: Any
    depth: Any
    revision: int


class PhotoTextures:
    """The photos that were sampled last. The GL thread uses it.

    Args:
        ctx: ModernGL context.
        draw_depth: Draws memory's depth at a keyframe's pose, (H, W) float32 metres, for those that keep none.
    """

    def __init__(self, ctx: Any, draw_depth: Callable[[Keyframe], npt.NDArray[np.float32]]) -> None:
        self._ctx = ctx
        self._draw_depth = draw_depth
        self._photos: OrderedDict[int, PhotoTexture] = OrderedDict()
        self._blank = ctx.texture((1, 1), 4, b"\0\0\0\0")
        self.uploaded_bytes = 0

    def ready(self, chosen: Sequence[Keyframe], *, revision: int, max_uploads: int) -> list[PhotoTexture]:
        """Textures of the chosen keyframes, in order, without those that there was no room to upload.

        Args:
            chosen: What a picture wants to sample.
            revision: Of memory; a drawn depth of another one is drawn again.
            max_uploads: At most this many are uploaded now; an outdated depth is used on rather than left out.
        """
        photos: list[PhotoTexture] = []
        for keyframe in chosen:
            photo = self._photos.get(keyframe.keyframe_id)
            if photo is not None and photo.keyframe is not keyframe:
                photo = None
            if (photo is None or photo.revision not in (OWN_DEPTH, revision)) and max_uploads > 0:
                photo = self._upload(keyframe, revision)
                max_uploads -= 1
            if photo is not None:
                self._photos.move_to_end(keyframe.keyframe_id)
                photos.append(photo)
        while len(self._photos) > KEPT_PHOTOS:
            self._drop(next(iter(self._photos)))
        return photos

    def keep_only(self, identities: set[int]) -> None:
        """Drop photos of keyframes that are gone."""
        for identity in [i for i in self._photos if i not in identities]:
            self._drop(identity)

    def bind(self, program: Any, world_T_camera: Transform, photos: Sequence[PhotoTexture]) -> None:
        """Give a program the photos to sample, on texture units from 2 on."""
        num = shaders.MAX_KEYFRAMES
        rotations, offsets = np.zeros((num, 3, 3), np.float32), np.zeros((num, 3), np.float32)
        intrinsics, parallax = np.ones((num, 4), np.float32), np.zeros(num, np.float32)
        for k in range(num):
            photo = photos[k] if k < len(photos) else None
            (self._blank if photo is None else photo.color).use(2 + k)
            (self._blank if photo is None else photo.depth).use(2 + num + k)
            if photo is not None:
                photo_T_camera = invert(photo.keyframe.world_T_camera) @ world_T_camera
                rotations[k] = photo_T_camera[:3, :3].T  # GL reads columns
                offsets[k] = photo_T_camera[:3, 3]
                intrinsics[k] = intrinsics_of(photo.keyframe.pinhole)
                parallax[k] = intrinsics[k, 0] * np.linalg.norm(offsets[k])
        units = np.arange(num, dtype=np.int32) + 2
        set_uniform(program, "num_photos", np.array([len(photos)], np.int32))
        set_uniform(program, "photo", units)
        set_uniform(program, "photo_depth", units + num)
        set_uniform(program, "photo_R_camera", rotations)
        set_uniform(program, "photo_t_camera", offsets)
        set_uniform(program, "photo_intrinsics", intrinsics)
        set_uniform(program, "photo_parallax", parallax)

    def release(self) -> None:
        """Free all textures."""
        for identity in list(self._photos):
            self._drop(identity)
        self._blank.release()

    def _upload(self, keyframe: Keyframe, revision: int) -> PhotoTexture:
        self._drop(keyframe.keyframe_id)
        depth = keyframe.depth_m
        is_own = depth is not None
        facts = photo_depth(depth if depth is not None else self._draw_depth(keyframe), keyframe.moving)
        size = keyframe.pinhole.size
        color = self._ctx.texture(size, 3, np.ascontiguousarray(keyframe.color), alignment=1)
        texture = self._ctx.texture(size, 2, facts, dtype="f4")
        texture.filter = NEAREST  # depth must not be blended over an edge
        texture.repeat_x = texture.repeat_y = color.repeat_x = color.repeat_y = False
        self.uploaded_bytes += keyframe.color.nbytes + facts.nbytes
        photo = PhotoTexture(keyframe, color, texture, OWN_DEPTH if is_own else revision)
        self._photos[keyframe.keyframe_id] = photo
        return photo

    def _drop(self, identity: int) -> None:
        photo = self._photos.pop(identity, None)
        if photo is not None:
            photo.color.release()
            photo.depth.release()


def photo_depth(depth_m: npt.NDArray[np.float32], moving: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """A photo's depth as the shaders read it.

    Args:
        depth_m: (H, W) float32 metres, 0 unknown.
        moving: (H, W) True where the photo shows what moves, or None.

    Returns:
        (H, W, 2) float32: depth, of the nearest known pixel where it is unknown; then 1 known, 0 unknown, -1 moving.
    """
    import cv2

    known = depth_m > 0
    out = np.zeros((*depth_m.shape, 2), np.float32)
    out[..., 0], out[..., 1] = depth_m, known
    if known.any() and not known.all():
        mask = (~known).astype(np.uint8)
        _, found = cv2.distanceTransformWithLabels(mask, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
        labels = np.asarray(found, np.int32)
        by_label = np.zeros(int(labels.max()) + 1, np.float32)
        by_label[labels[known]] = depth_m[known]
        out[..., 0] = by_label[labels]
    if moving is not None:
        out[moving, 1] = -1.0
    return out


def set_uniform(program: Any, name: str, values: npt.NDArray[Any]) -> None:
    """Set a uniform; drivers leave out those that a program does not need."""
    if name in program:
        program[name].write(values)


def intrinsics_of(pinhole: Pinhole) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in pixels."""
    return pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy
