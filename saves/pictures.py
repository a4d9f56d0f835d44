"""Colour, depth and mask files, read with limits: nothing is decoded before its size is known to be sane."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from .errors import SourceError

PathLike = str | os.PathLike[str]

MAX_PIXELS = 80_000_000
"""Largest picture that is decoded: 80 megapixels take 240 MB as colour. Below Pillow's own limit of 89 million."""

UNKNOWN_DEPTHS = (0, 65535)
MILLIMETRES_PER_METRE = 1000.0

_FULL_FRAME_DIAGONAL_MM = float(np.hypot(36.0, 24.0))
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF FocalPlaneResolutionUnit
_PLAUSIBLE_FOCAL = (0.15, 20.0)
"""Focal length over the longer side: 147° to 2.9° of view. Anything else in EXIF is taken for a mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        color: (H, W, 3) uint8 sRGB, turned upright.
        focal_px: Focal length in pixels of this picture by its EXIF data, or None.
        focal_note: Where the focal length came from.
    """

    color: npt.NDArray[np.uint8]
    focal_px: float | None
    focal_note: str = ""


def existing_file(path: PathLike, expected: str) -> Path:
    """Check that a path names a readable file that is not empty.

    Raises:
        SourceError: It is missing, a folder, empty or unreadable.
    """
    p = Path(path)
    try:
        if not p.exists():
            raise SourceError(p, expected=expected, got="no such file", do="check the path")
        if not p.is_file():
            raise SourceError(p, expected=expected, got="a folder" if p.is_dir() else "no ordinary file")
        if p.stat().st_size == 0:
            raise SourceError(p, expected=expected, got="an empty file")
    except OSError as error:
        raise SourceError(p, expected=expected, got=_reason(error)) from error
    return p


@contextmanager
def opened_image(path: PathLike, expected: str) -> Iterator[Image.Image]:
    """Open an image file; every way in which it may be unreadable becomes a ``SourceError``."""
    p = existing_file(path, expected)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # from memory, so that a damaged length inside cannot ask for more than the file has
            with Image.open(io.BytesIO(p.read_bytes())) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}x{image.height}"
                    raise SourceError(p, expected=f"at most {MAX_PIXELS // 10**6} megapixels", got=size, do="shrink it")
                yield image
    except UnidentifiedImageError as error:
        raise SourceError(p, expected=expected, got="a file that is no image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SourceError(p, expected=f"at most {MAX_PIXELS // 10**6} megapixels", got="a larger image") from error
    except SourceError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, ZeroDivisionError) as error:
        got = f"a damaged or truncated image ({_reason(error)})"  # the types that Pillow's decoders raise
        raise SourceError(p, expected=expected, got=got) from error


def image_size(path: PathLike, expected: str = "an image") -> tuple[int, int]:
    """(width, height) by the file's header."""
    with opened_image(path, expected) as image:
        return image.size


def read_photo(path: PathLike) -> Photo:
    """Decode a photo, turned upright by its EXIF orientation.

    Raises:
        SourceError: Not a colour or grey image, damaged, or too large.
    """
    with opened_image(path, "a photo (JPEG, PNG, WebP, …)") as image:
        if image.mode.startswith("I") or image.mode == "F":
            got = f"a {image.mode} image, as depth files are"
            raise SourceError(path, expected="a photo with 8 bits a channel", got=got, do="pass depth with --depth")
        focal_px, note = _exif_focal_px(image)
        upright = ImageOps.exif_transpose(image)
        color = np.array(upright.convert("RGB"))
    if min(color.shape[:2]) < 16:
        size = f"{color.shape[1]}x{color.shape[0]}"
        raise SourceError(path, expected="a photo of at least 16x16 pixels", got=size)
    return Photo(color, focal_px, note)


def _exif_focal_px(image: Image.Image) -> tuple[float | None, str]:
    """Focal length in pixels: by the 35 mm equivalent (on the diagonal), else by the sensor's resolution."""
    try:
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        diagonal, longer = float(np.hypot(*image.size)), float(max(image.size))
        equivalent_mm = _number(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
        if equivalent_mm > 0:
            focal_px = equivalent_mm / _FULL_FRAME_DIAGONAL_MM * diagonal
            note = f"EXIF, {equivalent_mm:g} mm equivalent"
        else:
            focal_mm = _number(tags.get(ExifTags.Base.FocalLength))
            per_unit = _number(tags.get(ExifTags.Base.FocalPlaneXResolution))
            unit_mm = _MM_PER_UNIT.get(int(_number(tags.get(ExifTags.Base.FocalPlaneResolutionUnit)) or 2), 25.4)
            taken = max(
                _number(tags.get(ExifTags.Base.ExifImageWidth)), _number(tags.get(ExifTags.Base.ExifImageHeight))
            )
            focal_px = focal_mm * per_unit / unit_mm * (longer / taken if taken > 0 else 1.0)
            note = f"EXIF, {focal_mm:g} mm and the sensor's resolution"
    except (ValueError, TypeError, KeyError, ZeroDivisionError, SyntaxError, OSError):
        return None, ""
    if not np.isfinite(focal_px) or not _PLAUSIBLE_FOCAL[0] < focal_px / longer < _PLAUSIBLE_FOCAL[1]:
        return None, ""
    return focal_px, note


def _number(value: object) -> float:
    """An EXIF number as float; 0 where it is missing or 0/0."""
    if value is None:
        return 0.0
    number = float(value)  # type: ignore[arg-type]  # IFDRational, int or float
    return number if np.isfinite(number) else 0.0


def read_depth(path: PathLike, *, steps_per_metre: float = MILLIMETRES_PER_METRE) -> npt.NDArray[np.float32]:
    """Read a depth file: a 16-bit image (0 and 65535 unknown) or a ``.npy`` array of float metres.

    Args:
        path: The file. In a ``.npy`` array 0, NaN and infinity are unknown.
        steps_per_metre: What one metre is in a 16-bit file: 1000 for millimetres, 5000 in TUM's recordings.

    Returns:
        (H, W) float32 metres along +Z, 0 unknown. Fresh memory.

    Raises:
        SourceError: No depth file, damaged, or negative.
    """
    if Path(path).suffix.lower() == ".npy":
        depth_m = _read_npy_depth(path)
    else:
        with opened_image(path, "a 16-bit depth image or a .npy array") as image:
            if not image.mode.startswith("I"):
                got = f"an image of mode {image.mode}"
                raise SourceError(path, expected="16-bit depth in millimetres", got=got, do="save it as 16-bit PNG")
            raw = np.array(image)
        if raw.min(initial=0) < 0 or raw.max(initial=0) > 65535:
            raise SourceError(path, expected="16-bit depth in millimetres", got="values beyond 0..65535")
        depth_m = (raw / steps_per_metre).astype(np.float32)
        depth_m[np.isin(raw, UNKNOWN_DEPTHS)] = 0.0
    return depth_m


def _read_npy_depth(path: PathLike) -> npt.NDArray[np.float32]:
    expected = "a .npy array (H, W) of float metres"
    p = existing_file(path, expected)
    try:
        array = np.load(p, mmap_mode="r", allow_pickle=False)  # mapped: nothing is read before its size is checked
    except (ValueError, OSError, EOFError, SyntaxError, TypeError) as error:
        raise SourceError(p, expected=expected, got=f"a damaged or foreign file ({_reason(error)})") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or array.size > MAX_PIXELS:
        got = f"shape {getattr(array, 'shape', '?')} of {getattr(array, 'dtype', 'unknown type')}"
        raise SourceError(p, expected=expected, got=got)
    return clean_depth(np.asarray(array), p)


def clean_depth(depth_m: npt.NDArray[np.floating], where: PathLike) -> npt.NDArray[np.float32]:
    """Float depth with NaN and infinity as 0 (unknown). Fresh memory.

    Raises:
        SourceError: A depth is negative.
    """
    out = np.array(depth_m, dtype=np.float32)
    out[~np.isfinite(out)] = 0.0
    if (out < 0).any():
        raise SourceError(where, expected="depth in metres, 0 where unknown", got=f"{float(out.min()):g}")
    return out


def read_mask(path: PathLike) -> npt.NDArray[np.bool_]:
    """Read a mask; what is lighter than half moves.

    Returns:
        (H, W) bool. Fresh memory.
    """
    with opened_image(path, "a mask image, white where something moves") as image:
        full = 65535 if image.mode.startswith("I") else 255
        raw = np.array(image) if full == 65535 else np.array(image.convert("L"))
    return raw > full // 2


def fit_to_photo(array: npt.NDArray, width: int, height: int, where: PathLike) -> npt.NDArray:
    """Bring depth or a mask to the photo's size by the nearest pixel, if its shape is the same.

    Raises:
        SourceError: Its aspect differs by more than a pixel's rounding.
    """
    h, w = array.shape[:2]
    if (w, h) == (width, height):
        return array
    if abs(w * height - h * width) > max(width, height, w, h):
        do = "give a file of the photo's size, or one of the same shape"
        raise SourceError(where, expected=f"{width}x{height} pixels as the photo", got=f"{w}x{h}", do=do)
    rows = ((np.arange(height) + 0.5) * h / height).astype(int)
    columns = ((np.arange(width) + 0.5) * w / width).astype(int)
    return array[rows[:, None], columns[None, :]]


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
