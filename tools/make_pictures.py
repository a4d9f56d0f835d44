"""Makes the pictures of the README and of docs/: the garage, procedural places, closed loops, and what SLAM finds.

Usage: python tools/make_pictures.py [FOLDER [garage] [places] [loops] [slam]]; minutes each without a graphics card.
"""

import sys
from pathlib import Path

import numpy as np
import spatia
from PIL import Image
from spatia.generator.procedural.place import EYE_HEIGHT_M, Place, PlaceSpec
from spatia.renderer.capture import contact_sheet
from spatia.renderer.mask_picture import draw_mask
from spatia.renderer.overlay import Overlay, OverlayState
from spatia.runtime.tracked import KnownDistance, track_source
from spatia.runtime.tracking_sheet import tracking_sheet
from spatia.saves.frames import Source, SourceFrame
from spatia.world.camera import unproject
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.motion_masks import find_motion
from spatia.world.transforms import level_frame, look

VIEW = spatia.Pinhole.from_fov(640, 370, float(np.radians(75.0)))
JPEG_QUALITY = 88
PLACES = (
    ("rooms:7", (1, 2), (0.85, 0.2), -0.8, -0.1),
    ("rooms:12", (2, 0), (0.8, 0.8), -2.2, -0.15),
    ("yard:7", (1, 3), (0.5, 0.5), 1.4, 0.0),
    ("yard:4", (1, 3), (0.5, 0.5), 1.4, 0.0),
)
"""Name, cell, where in it, heading and pitch in radians."""
"""Places, and the direction in degrees if it is not the start's."""
LOOPS = tuple((kind, n) for kind in ("rooms", "yard") for n in (2, 4, 6))

CAMERA = spatia.Pinhole.from_fov(640, 480, float(np.radians(65.0)))
TRACKED_PLACE, TRACKED_STEP_M, TRACKED_TURN_RAD, TRACKED_FRAMES = "rooms:5", -0.06, 0.02, 16
MOVING_PLACE, MOVING_TIMES_S = "rooms:6", np.arange(5.0, 7.2, 0.3)
EMPTY_TIMES_S = np.arange(0.0, 60.0, 4.0)


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


def places(folder: Path) -> None:
    """Places by day and in the evening."""
    tiles, labels = [], []
    for name, key, (u, v), yaw, pitch in PLACES:
        for light in ("day", "evening"):
            place = Place(PlaceSpec.parse(f"{name}:{light}"))
            cell = place.plan.cell(*key)
            pose = look((cell.x + u * cell.width, -EYE_HEIGHT_M, cell.y + v * cell.depth), yaw, pitch)
            tiles.append(place.render(pose, spatia.Pinhole.from_fov(832, 480, float(np.radians(75.0))), 2.0).color)
            labels.append(f"{name}:{light}")
            place.close()
    save(contact_sheet(tiles, labels, columns=2, tile_width=560), folder / "places.jpg")


def loops(folder: Path) -> None:
    """First picture, last view and truth of closed loops, as ``benchmarks/loop.py`` walks them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import loop

    endings = {f"{kind}, {n} clips": loop.measure(PlaceSpec(kind, loop.SEED), n, None)[0] for kind, n in LOOPS}
    save(loop.side_by_side(endings), folder / "loops.jpg")


def garage(folder: Path) -> None:
    """A walk away from the garage's photo, and the way round."""
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


def tracked(folder: Path) -> None:
    """A camera that moves sideways through a room: colour alone goes in, places and depth come out."""
    place = Place(PlaceSpec.parse(TRACKED_PLACE))
    start = place.start_pose()
    poses = [start @ look((TRACKED_STEP_M * k, 0, 0), TRACKED_TURN_RAD * k, 0.0) for k in range(TRACKED_FRAMES)]
    frames = [SourceFrame(place.render(p, CAMERA).color, None, CAMERA, np.eye(4)) for p in poses]
    place.close()
    source = Source("room", "pictures", tuple(frames), metric=False, has_poses=False)
    known = KnownDistance(abs(TRACKED_STEP_M) * (TRACKED_FRAMES - 1))
    sheet = Image.fromarray(tracking_sheet(source, track_source(source, scale=known)))
    save(np.asarray(sheet.resize((1000, round(1000 * sheet.height / sheet.width)))), folder / "tracked.jpg")


def masks(folder: Path) -> None:
    """What moves through a room, as free space and colour tell it, with how well it overlaps the truth."""
    place = Place(PlaceSpec.parse(MOVING_PLACE))
    start = place.start_pose()
    poses = [start @ look((0.03 * k, 0, 0), 0.01 * k, 0.0) for k in range(len(MOVING_TIMES_S))]
    memory = empty_room(place, [poses[0], poses[-1]])
    views = [place.render(p, CAMERA, float(t)) for p, t in zip(poses, MOVING_TIMES_S, strict=True)]
    place.close()
    color = np.stack([v.color for v in views])
    depth_m = np.stack([v.depth_m for v in views])
    found = find_motion(depth_m, CAMERA, np.stack(poses), memory, color=color).moving
    tiles, labels = [], []
    for t, view, mask in zip(MOVING_TIMES_S, views, found, strict=True):
        overlap = (mask & view.moving).sum() / max((mask | view.moving).sum(), 1)
        tiles.append(draw_mask(view.color, mask, 360)[..., :3])
        labels.append(f"{t:.1f} s, IoU {overlap:.2f}")
    save(contact_sheet(tiles, labels, columns=4, tile_width=300), folder / "masks.jpg")


def empty_room(place: Place, poses: list[np.ndarray]) -> MemorySnapshot:
    """Memory of what stands: seen at several times, without what moved then."""
    memory = SpatialMemory(0.01)
    for t in EMPTY_TIMES_S:
        for pose in poses:
            view = place.render(pose, CAMERA, float(t))
            depth = np.where(view.moving, np.float32(0), view.depth_m)
            points, colors = unproject(depth, CAMERA, pose), view.color[depth > 0]
            priority = priority_of(PointClass.OBSERVED)
            memory.insert(PointBatch.uniform(points, colors, priority=priority, keyframe=0))
    return memory.snapshot()


def slam(folder: Path) -> None:
    """A contact sheet of what was tracked, and masks over what moves."""
    tracked(folder)
    masks(folder)


KINDS = {"garage": garage, "places": places, "loops": loops, "slam": slam}


def main(folder: Path, kinds: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds or list(KINDS):
        KINDS[kind](folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"), sys.argv[2:])
