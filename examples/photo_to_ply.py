"""Make a world of one photo, look at it from beside, and export it.

Usage: python examples/photo_to_ply.py PHOTO [FOLDER]. Without a photo, scikit-image's picture of a rocket is taken.
You will see ``beside.png``, drawn from half a metre to the right, and ``world.ply``, which MeshLab, Blender and
CloudCompare open. A lone photo's depth is guessed from its layout: the world is not metric, and says so.
"""

import sys
from pathlib import Path

import numpy as np
import spatia
from spatia.renderer.capture import write_png
from spatia.saves.exports import export_world


def sample_photo(folder: Path) -> Path:
    from skimage import data, io

    path = folder / "rocket.png"
    io.imsave(path, data.rocket(), check_contrast=False)
    return path


def main(photo: Path | None, folder: Path) -> None:
    world = spatia.create(photo or sample_photo(folder))
    print(f"{world.memory.num_points:,} points; metric: {world.info.is_metric}; {world.info.note}")
    beside = np.eye(4)
    beside[0, 3] = 0.5
    view = world.render(beside)
    print(f"from beside, memory covers {np.mean(view.coverage > 0.5):.0%} of the picture")
    write_png(folder / "beside.png", view.color)
    export_world(folder / "world.ply", world.memory.snapshot(), metric=world.info.is_metric)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, Path(sys.argv[2] if len(sys.argv) > 2 else "."))
