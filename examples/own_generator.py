"""A clip generator of one's own: what memory does not know becomes a checkered dome round the photographed garage.

You will see ``own_generator.png``: the garage from its photo, and the same place after turning 34° to the right, where
the dome begins. To make it known by a short name, a package declares it:

    [project.entry-points."spatia.generators"]
    dome = "my_package.own_generator:Dome"
"""

import sys
from pathlib import Path

import numpy as np
import spatia
from PIL import Image
from spatia.generator.requests import Clip, ClipRequest, Progress, SceneVideo

RADIUS_M = 6.0


class Dome:
    """Paints a sphere round the world's origin wherever memory shows nothing."""

    name = "dome"
    rank = 1  # a placeholder: better generators replace what it invented
    native_speed = None  # any camera motion will do
    wants_key_views = True  # fills single views

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Keep what is known, put the dome behind it."""
        frames, depth_m, new = scene.color.copy(), scene.depth_m.copy(), scene.coverage < 0.5
        for k, world_T_camera in enumerate(request.world_T_camera):
            progress.check("dome", k / request.num_frames)
            eye = world_T_camera[:3, 3]
            rays = request.pinhole.rays() @ world_T_camera[:3, :3].T
            # |eye + t * ray| = radius; the rays have Z = 1 in the camera, so t is the depth.
            a, b = (rays**2).sum(-1), rays @ eye
            t = (-b + np.sqrt(b**2 - a * (eye @ eye - RADIUS_M**2))) / a
            x, y, z = np.moveaxis(eye + t[..., None] * rays, -1, 0)
            is_light = (np.floor(np.arctan2(x, z) * 12) + np.floor(y)) % 2 > 0
            paint = np.where(is_light[..., None], (236, 214, 170), (70, 96, 120)).astype(np.uint8)
            frames[k] = np.where(new[k, ..., None], paint, frames[k])
            depth_m[k] = np.where(new[k], t, depth_m[k])
        return Clip(frames, depth_m, new_surface=new)


def main(out: Path) -> None:
    """Turn in the garage and keep the first and the last picture."""
    world = spatia.samples.garage()
    with spatia.Session(world, generator="own_generator:Dome", seed=1, wait=True, size=(416, 240)) as session:
        pictures = [session.step(spatia.Intent()).color]
        for _ in range(9):
            pictures.append(session.step(spatia.Intent(yaw=1.0)).color)
    Image.fromarray(np.hstack([pictures[0], pictures[-1]])).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own_generator.png"))
