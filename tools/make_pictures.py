"""Makes the pictures of the README: the garage's photo, a walk away from it, and the way round.

Usage: python tools/make_pictures.py [FOLDER]; some minutes without a graphics card.
"""

import sys
from pathlib import Path

import numpy as np
import spatia
from PIL import Image
from spatia.renderer.capture import contact_sheet
from spatia.renderer.overlay import Overlay, OverlayState
from spatia.world.transforms import level_frame, look

VIEW = spatia.Pinhole.from_fov(640, 370, float(np.radians(75.0)))
JPEG_QUALITY = 88


def save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, quality=JPEG_QUALITY)
    print(path)


def with_overlay(image: np.ndarray, state: OverlayState) -> np.ndarray:
    height, width = image.shape[:2]
    overlay = Overlay().draw(state, (width, height), 0.8)
    if overlay is None:
        return image
    alpha = overlay[..., 3:].astype(float) / 255.0
    return (image * (1.0 - alpha) + overlay[..., :3] * alpha).astype(np.uint8)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    world = spatia.samples.garage(seed=1)
    level = level_frame(world.info.up_world)
    with spatia.Session(world, generator="outpaint", seed=1, wait=True, size=(832, 480)) as session:
        session.generate_ring()
        ring = [session.draw(look((0, 0, 0), np.radians(y), -0.12, level), pinhole=VIEW) for y in range(0, 360, 30)]
        save(
            contact_sheet([f.color for f in ring], [f"{y}°" for y in range(0, 360, 30)], columns=4), folder / "ring.jpg"
        )
        places = [
            ("the photo's place", (0.0, 0.0, 0.0), 0.0),
            ("0.7 m aside", (0.7, 0.0, 0.2), -0.1),
            ("behind, looking back", (-0.3, 0.0, 1.2), 2.6),
            ("by origin", (0.7, 0.0, 0.2), -0.1),
        ]
        tiles = []
        for name, (right, up, forward), yaw in places:
            pose = look(level @ np.array([right, up, forward]), yaw, -0.12, level)
            for _ in range(7):  # a quarter of a second: the director looks once
                session.follow([pose])
            tint = name == "by origin"
            frame = session.draw(pose, pinhole=VIEW, tint=tint)
            state = OverlayState(status="12 clips merged · saved", tint_shown=tint)
            tiles.append((name, with_overlay(frame.color, state)))
    save(contact_sheet([t for _, t in tiles], [n for n, _ in tiles], columns=2, tile_width=560), folder / "walk.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
