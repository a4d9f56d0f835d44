"""Textures of all materials, made from noise and patterns, and kept on disk once they are made.

Colours are square roots of linear light. A texture repeats after its size in metres; sizes divide 1024 m, after which
place coordinates wrap.
"""

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from . import greenery, materials, prints
from .noise import TEXELS, Array, Maker
from .scene import Textures

LEVELS = 10
VERSION = 7
"""Raised with every change of the textures; older files are left alone."""

SIZES_M = {
    "plaster": 2.56,
    "wallpaper": 1.28,
    "stripes": 1.28,
    "planks": 2.56,
    "parquet": 1.6,
    "tiles": 1.6,
    "checker": 1.6,
    "carpet": 0.8,
    "brick": 2.0,
    "paving": 2.56,
    "grass": 2.0,
    "wood": 1.28,
    "fabric": 0.64,
    "knit": 0.64,
    "paint": 1.28,
    "books": 1.28,
    "pictures": 1.0,
    "leaf": 0.8,
    "flowers": 0.64,
    "bark": 1.28,
    "rug": 1.0,
    "kilim": 1.0,
    "ceiling": 2.0,
    "flat": 1.0,
    "screen": 1.0,
    "curtain": 1.28,
    "cardboard": 0.64,
    "cloud": 1.0,
    "marble": 1.6,
    "soil": 0.8,
    "quilt": 0.8,
    "hedge": 0.8,
    "panel": 1.6,
    "paintings": 1.0,
    "rounds": 1.0,
}
MATERIAL_INDEX = {name: index for index, name in enumerate(SIZES_M)}


def _recipe(name: str) -> Callable[[Maker], Array]:
    module = next(m for m in (materials, prints, greenery) if hasattr(m, name))
    return getattr(module, name)


def make_textures(progress: Callable[[str, float], None] | None = None) -> Textures:
    """Make all textures with their coarser levels; takes seconds.

    Args:
        progress: Told what is going on and the share that is done.
    """
    tell = progress or (lambda what, share: None)
    fine = np.empty((len(SIZES_M), TEXELS, TEXELS, 3), np.float32)
    for name, index in MATERIAL_INDEX.items():
        tell("painting textures", index / len(SIZES_M))
        fine[index] = np.clip(_recipe(name)(Maker(1000 + index)), 0, 1)
    linear, levels, offsets, start = fine**2, [], [], 0
    for _ in range(LEVELS):
        offsets.append(start)
        start += linear.shape[1] ** 2
        q = np.round(np.sqrt(linear) * 255).astype(np.uint32)
        levels.append((q[..., 0] | q[..., 1] << 8 | q[..., 2] << 16).reshape(len(SIZES_M), -1))
        half = linear.shape[1] // 2
        if half:
            linear = linear.reshape(len(SIZES_M), half, 2, half, 2, 3).mean((2, 4))
    mean = linear.reshape(len(SIZES_M), 3).astype(np.float32)
    who = greenery.scatter(Maker(77), 520, (15.0, 27.0), 0.4)[0]
    texels = np.ascontiguousarray(np.concatenate(levels, axis=1)).reshape(-1)
    return _with_sizes(texels, np.array(offsets, np.int64), mean, (who[::2, ::2] > 0).astype(np.uint8))


def load_textures(progress: Callable[[str, float], None] | None = None, folder: Path | None = None) -> Textures:
    """The textures from the user's cache, or made anew and put there.

    Args:
        progress: Told what is going on and the share that is done.
        folder: Where they are kept; the user's cache folder if not given. One that cannot be written is no error.
    """
    where = folder or Path(platformdirs.user_cache_dir("spatia"))
    file = where / f"place-textures-{VERSION}.npz"
    damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), file.open("rb") as opened, np.load(opened) as held:
        return _with_sizes(held["texels"], held["offsets"], held["mean"], held["leaves"])
    made = make_textures(progress)
    with contextlib.suppress(OSError):
        where.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=where, suffix=".npz")
        with os.fdopen(handle, "wb") as out:
            np.savez(out, texels=made.texels, offsets=made.offsets, mean=made.mean, leaves=made.leaves)
        Path(temporary).replace(file)
    return made


def _with_sizes(
    texels: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], mean: Array, leaves: npt.NDArray[np.uint8]
) -> Textures:
    return Textures(texels, offsets, np.array([1 / v for v in SIZES_M.values()], np.float32), mean, leaves)
