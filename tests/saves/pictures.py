"""Small files for the tests of sources."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared_data(relative: str) -> Path:
    """A folder or file of the shared test data, or a skip where the data is not there."""
    path = Path(os.environ.get("SPATIA_TEST_DATA", DATA)) / relative
    if not path.exists():
        pytest.skip(f"the shared test data ({relative}) is not on this machine")
    return path


def ramp(width: int = 48, height: int = 32) -> np.ndarray:
    """(H, W, 3) uint8, no two corners alike."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)


def save_photo(path: Path, color: np.ndarray | None = None, exif: Image.Exif | None = None) -> Path:
    """A lossless picture, or JPEG by the name's ending."""
    image = Image.fromarray(ramp() if color is None else color)
    options = {"quality": 98, "subsampling": 0} if path.suffix in (".jpg", ".jpeg") else {}
    image.save(path, **options, **({"exif": exif} if exif is not None else {}))
    return path


def save_depth(path: Path, steps: np.ndarray) -> Path:
    """A 16-bit PNG."""
    Image.fromarray(steps.astype(np.uint16)).save(path)
    return path
