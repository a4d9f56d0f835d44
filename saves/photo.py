"""A photo, with or without depth, intrinsics and a mask of what moves, as a source."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from .errors import SourceError
from .frames import Source, SourceFrame
from .intrinsics import Intrinsics, resolve_intrinsics
from .pictures import Photo, clean_depth, fit_to_photo, read_depth, read_mask, read_photo

DEFAULT_FOV_X_DEG = 60.0
"""Assumed horizontal field of view of a photo that says nothing about its lens: between a phone's main camera (65-70°)
and a 35 mm lens (54°)."""

DepthInput = str | os.PathLike[str] | npt.NDArray[np.floating]
MaskInput = str | os.PathLike[str] | npt.NDArray


def load_photo(
    path: str | os.PathLike[str],
    *,
    depth: DepthInput | None = None,
    intrinsics: Intrinsics | None = None,
    mask: MaskInput | None = None,
) -> Source:
    """Read a photo; its camera is the identity of its world.

    Args:
        path: JPEG, PNG, WebP or another format that Pillow reads.
        depth: 16-bit millimetres, ``.npy`` float metres, or a (H, W) float array in metres. A file of the same shape
            but another size is brought to the photo's by the nearest pixel.
        intrinsics: See ``intrinsics.Intrinsics``; otherwise the EXIF focal length, otherwise 60° across.
        mask: Image or array, white (True) where something moves.

    Raises:
        SourceError: Any of them cannot be used.
    """
    photo = read_photo(path)
    height, width = photo.color.shape[:2]
    pinhole, note = camera_of(photo, intrinsics)
    depth_m = None if depth is None else _depth_of(depth, width, height)
    moving = None if mask is None else _mask_of(mask, width, height)
    if depth_m is None:
        note = f"{note}; no depth: not metric"
    frame = SourceFrame(photo.color, depth_m, pinhole, np.eye(4), moving)
    return Source(Path(path).stem, "photo", (frame,), metric=depth_m is not None, note=note)


def camera_of(photo: Photo, intrinsics: Intrinsics | None, what: str = "photo") -> tuple[Pinhole, str]:
    """The camera of a picture, and how it was come by: as given, by EXIF, or assumed to see 60 degrees across.

    Raises:
        SourceError: The intrinsics cannot be used.
    """
    height, width = photo.color.shape[:2]
    if intrinsics is not None:
        return resolve_intrinsics(intrinsics, width, height), "intrinsics as given"
    if photo.focal_px is not None:
        camera = Pinhole(width, height, photo.focal_px, photo.focal_px, width / 2.0, height / 2.0)
        return camera, f"field of view {np.degrees(camera.fov_x_rad):.0f}° across ({photo.focal_note})"
    camera = Pinhole.from_fov(width, height, float(np.radians(DEFAULT_FOV_X_DEG)))
    return camera, f"field of view {DEFAULT_FOV_X_DEG:.0f}° across (assumed: the {what} does not say)"


def _depth_of(depth: DepthInput, width: int, height: int) -> npt.NDArray[np.float32]:
    if isinstance(depth, str | os.PathLike):
        where, depth_m = depth, read_depth(depth)
    else:
        where, array = "depth", np.asarray(depth)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise SourceError(where, expected="(H, W) float metres", got=f"shape {array.shape} of {array.dtype}")
        depth_m = clean_depth(array, where)
    if not depth_m.any():
        raise SourceError(where, expected="some pixels with known depth", got="none (all 0 or unknown)")
    return fit_to_photo(depth_m, width, height, where)


def _mask_of(mask: MaskInput, width: int, height: int) -> npt.NDArray[np.bool_]:
    if isinstance(mask, str | os.PathLike):
        return fit_to_photo(read_mask(mask), width, height, mask)
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in ("b", "u"):
        raise SourceError("mask", expected="(H, W) bool or uint8", got=f"shape {array.shape} of {array.dtype}")
    return fit_to_photo(array.copy() if array.dtype.kind == "b" else array > 127, width, height, "mask")
