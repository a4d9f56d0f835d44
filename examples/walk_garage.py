"""Walk two steps through the photographed garage, turn, save, and come back.

You will see the number of points grow while places are generated that the photo does not show, a picture of the way
back (``garage_walk.png``) and a world file (``garage.spatia``) that ``spatia walk garage.spatia`` opens.
"""

import sys
from pathlib import Path

import spatia
from spatia.renderer.capture import write_png


def main(folder: Path, ticks: int = 24) -> None:
    world = spatia.samples.garage(seed=7)
    print(f"the photo alone: {world.memory.num_points:,} points")
    with spatia.Session(world, generator="outpaint", seed=7, wait=True, size=(416, 240)) as session:
        for _ in range(ticks):
            session.step(spatia.Intent(forward=0.6))
        for _ in range(ticks):
            frame = session.step(spatia.Intent(yaw=-0.3))
    print(f"after {session.status.merged_clips} clips: {world.memory.num_points:,} points")
    write_png(folder / "garage_walk.png", frame.color)
    print(world.save(folder / "garage.spatia"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
