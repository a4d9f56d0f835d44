"""Intrinsics as people keep them: normalised text, pixel matrices, Open3D's JSON."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from .errors import SourceError
from .trajectories import read_text

Intrinsics = str | os.PathLike[str] | Pinhole | Sequence[float] | npt.NDArray[np.floating]
"""A file, a camera, four normalised numbers (fx, fy, cx, cy), or a (3, 3) matrix in pixels of the picture."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_EXPECTED = "normalised fx fy cx cy, or a 3x3 matrix in pixels"
_MAX_NORMALIZED = 20.0
"""A focal length of 20 picture widths sees 2.9°; larger numbers are pixels."""


def resolve_intrinsics(intrinsics: Intrinsics, width: int, height: int) -> Pinhole:
    """Make a camera for a picture from any of the accepted forms.

    Args:
        intrinsics: See ``Intrinsics``. A camera for another size is scaled if the shape is the same.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        SourceError: None of the forms, or numbers that no camera has.
    """
    if isinstance(intrinsics, Pinhole):
        return _resized(intrinsics, width, height, "intrinsics")
    if isinstance(intrinsics, str | os.PathLike):
        return read_intrinsics(intrinsics, width, height)
    try:
        values = np.asarray(intrinsics, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SourceError("intrinsics", expected=_EXPECTED, got=repr(intrinsics)[:60]) from error
    return _from_values(values, width, height, "intrinsics")


def read_intrinsics(path: str | os.PathLike[str], width: int, height: int) -> Pinhole:
    """Read an intrinsics file for a picture of the given size.

    Text with exactly four numbers is taken as fx fy cx cy divided by width and height (the authors' format); nine as a
    3x3 matrix in pixels, row by row; JSON with ``intrinsic_matrix``, ``width``, ``height`` as Open3D writes it (column
    by column, pixel centres on whole numbers).

    Raises:
        SourceError: None of these, or numbers that no camera has.
    """
    text = read_text(path, _EXPECTED)
    if '"intrinsic_matrix"' in text:
        return _resized(_from_open3d(text, path), width, height, path)
    values = np.array([float(v) for v in _NUMBER.findall(text)], dtype=np.float64)
    if values.size == 9:
        values = values.reshape(3, 3)
    return _from_values(values, width, height, path)


def _from_values(values: npt.NDArray[np.float64], width: int, height: int, where: str | os.PathLike[str]) -> Pinhole:
    if not np.isfinite(values).all():
        raise SourceError(where, expected=_EXPECTED, got="NaN or infinity")
    if values.shape == (3, 3):
        if np.abs(values[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - (0, 0, 0, 0, 1)).max() > 1e-6:
            raise SourceError(where, expected="a matrix fx 0 cx, 0 fy cy, 0 0 1", got=str(values.tolist()))
        fx, fy, cx, cy = (float(v) for v in values[[0, 1, 0, 1], [0, 1, 2, 2]])
        camera = (fx / width, fy / height, cx / width, cy / height)
    elif values.shape == (4,):
        camera = tuple(float(v) for v in values)
        if max(camera) > _MAX_NORMALIZED:
            do = "divide fx and cx by the width, fy and cy by the height"
            raise SourceError(where, expected=_EXPECTED, got=f"{max(camera):g}, as in pixels", do=do)
    else:
        shape = "x".join(map(str, values.shape))
        got = f"{values.size} numbers" if values.ndim == 1 else f"shape {shape}"
        raise SourceError(where, expected=_EXPECTED, got=got)
    if camera[0] <= 0 or camera[1] <= 0 or not all(-1 <= c <= 2 for c in camera[2:]):
        got = " ".join(f"{v:.4g}" for v in camera) + " (normalised)"
        raise SourceError(where, expected="fx, fy > 0 and a principal point near the picture", got=got)
    return Pinhole.from_normalized(width, height, camera)


def _from_open3d(text: str, path: str | os.PathLike[str]) -> Pinhole:
    expected = "Open3D's JSON with width, height and nine numbers of intrinsic_matrix"
    try:
        data = json.loads(text)
        m = np.array(data["intrinsic_matrix"], dtype=np.float64).reshape(3, 3).T
        fx, fy, cx, cy = (float(v) for v in m[[0, 1, 0, 1], [0, 1, 2, 2]])
        half = 0.5  # Open3D counts pixel centres as whole numbers
        return Pinhole(int(data["width"]), int(data["height"]), fx, fy, cx + half, cy + half)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise SourceError(path, expected=expected, got=f"{type(error).__name__}: {error}") from error


def _resized(camera: Pinhole, width: int, height: int, where: str | os.PathLike[str]) -> Pinhole:
    if abs(camera.width * height - camera.height * width) > max(width, height, *camera.size):
        got = f"intrinsics of {camera.width}x{camera.height}"
        raise SourceError(where, expected=f"intrinsics of a {width}x{height} picture", got=got)
    return camera if camera.size == (width, height) else camera.resized(width, height)


def write_intrinsics(path: str | os.PathLike[str], pinhole: Pinhole) -> None:
    """Write fx fy cx cy, divided by width and height, as ``[fx fy cx cy]`` (the authors' format)."""
    Path(path).write_text("[" + " ".join(repr(v) for v in pinhole.normalized()) + "]", encoding="utf-8")
