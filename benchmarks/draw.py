"""Drawing memory without a GPU: this package beside ModernGL on its software driver and Open3D, on the same points.

    python benchmarks/draw.py [--quick] [--json FILE]

Both baselines draw one pixel a point; ours draws gapless splats of the points' spacing, culls and hides chunks. Picture
quality is measured on the garage: PSNR to the withheld right photo on covered pixels, to the photo at its own pose, and
flicker while turning; and on a wall right before the eye, which must be closed.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

import cv2
import numpy as np
from comparison import DATA, Result, compare_ms, describe_machine, measure_ms, parse_options, report, within
from spatia.renderer.interface import DrawOptions
from spatia.renderer.software import SoftwareRenderer
from spatia.world.camera import Pinhole, unproject
from spatia.world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from spatia.world.keyframes import Keyframe
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import Transform, as_rigid, invert, look

VOXEL_M = 0.01
OBSERVED = priority_of(PointClass.OBSERVED)
GARAGE_FOCAL, GARAGE_BASELINE_M = 994.978, 0.193001
GARAGE_CX, GARAGE_CY, GARAGE_SHIFT_PX = 311.193 + 0.5, 254.877 + 0.5, 31.086
TARGETS = {"ModernGL, llvmpipe": 15.0, "Open3D projection": 8.0}
LARGE_FPS = 30.0
WALK_FPS, OVERVIEW_FPS = 60.0, 40.0
NEAR_M, GAP_SHARE = 0.5, 0.001
"""A wall so near must be closed: at most this share of its pixels shows nothing, or what is behind."""


# ------------------------------------------------------------------------------------------------ scenes


def kitchen_points(every: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Voxel means of the RGB-D recording at 1 cm, or None where it is absent."""
    frames = sorted((DATA / "rgbd" / "kitchen").glob("*.depth.png"))[::every]
    if not frames:
        return None
    k = np.loadtxt(frames[0].parent / "camera-intrinsics.txt")
    pinhole = Pinhole(640, 480, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5)
    memory = SpatialMemory(VOXEL_M)
    for path in frames:
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32)
        depth[depth == 65535] = 0
        color = cv2.imread(str(path).replace("depth.png", "color.jpg"))[..., ::-1]
        pose = as_rigid(np.loadtxt(str(path).replace("depth.png", "pose.txt")))
        points = unproject(depth / np.float32(1000), pinhole, pose)
        memory.insert(PointBatch.uniform(points, color[depth > 0].copy(), priority=OBSERVED, keyframe=1))
    batch = memory.points()
    return batch.positions_world, batch.colors


def room_points(num: int) -> tuple[np.ndarray, np.ndarray]:
    """The inside of a box room of about ``num`` voxels, all of it seen from its middle."""
    rng = np.random.default_rng(0)
    unit = np.sqrt(num * VOXEL_M**2 / (2 * (4 + 2 + 2)))
    half = np.array([unit, unit / 2, unit])
    parts = []
    for axis in range(3):
        a, b = (k for k in range(3) if k != axis)
        u, v = np.meshgrid(np.arange(-half[a], half[a], VOXEL_M), np.arange(-half[b], half[b], VOXEL_M))
        for side in (-half[axis], half[axis]):
            p = np.empty((u.size, 3), np.float32)
            p[:, a], p[:, b], p[:, axis] = u.ravel(), v.ravel(), side
            parts.append(p + rng.normal(0, 0.003, p.shape).astype(np.float32))
    points = np.concatenate(parts)
    return points, (np.sin(points * (5, 7, 3)) * 90 + 120 + rng.integers(0, 40, points.shape)).astype(np.uint8)


def tiled(points: np.ndarray, colors: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies side by side on the ground until there are ``num`` points."""
    copies = max(1, round(num / len(points)))
    extent = points.max(0) - points.min(0)
    side = int(np.ceil(np.sqrt(copies)))
    shifts = [(i % side * extent[0], 0, i // side * extent[2]) for i in range(copies)]
    shifted = np.concatenate([points + np.array(s, np.float32) for s in shifts])
    return shifted, np.tile(colors, (copies, 1))


def snapshot_of(points: np.ndarray, colors: np.ndarray) -> MemorySnapshot:
    memory = SpatialMemory(VOXEL_M)
    memory.insert(PointBatch.uniform(points, colors, priority=OBSERVED, keyframe=1))
    return memory.snapshot()


def overview(points: np.ndarray, pinhole: Pinhole) -> Transform:
    """A pose above the scene that sees all of it."""
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    middle, size = (low + high) / 2, high - low
    height = max(size[0] * pinhole.fx / pinhole.width, size[2] * pinhole.fy / pinhole.height) + size[1] / 2
    return look(middle - (0, height, 0), 0.0, -np.pi / 2)


# --------------------------------------------------------------------------------------------- baselines


def gl_points(points: np.ndarray, colors: np.ndarray, pinhole: Pinhole) -> Callable[[Transform], object]:
    """Plain ModernGL: one vertex buffer, one pixel a point, picture and depth read back."""
    import moderngl

    context = moderngl.create_standalone_context(backend="egl")
    program = context.program(
        vertex_shader="""#version 330
            uniform mat4 m; in vec3 p; in vec3 c; out vec3 color;
            void main() { gl_Position = m * vec4(p, 1); gl_PointSize = 1.0; color = c; }""",
        fragment_shader="""#version 330
            in vec3 color; out vec4 o; void main() { o = vec4(color, 1); }""",
    )
    padded = np.concatenate([colors, np.full((len(colors), 1), 255, np.uint8)], axis=1)
    buffers = [(context.buffer(points.tobytes()), "3f", "p"), (context.buffer(padded.tobytes()), "3f1 x1", "c")]
    array = context.vertex_array(program, buffers)
    target = context.simple_framebuffer(pinhole.size)
    depth = context.depth_texture(pinhole.size)
    target = context.framebuffer([context.renderbuffer(pinhole.size)], depth)
    context.enable(moderngl.DEPTH_TEST)

    def draw(world_T_camera: Transform) -> object:
        near, far = 0.02, 200.0
        projection = np.zeros((4, 4))
        projection[0, :3] = 2 * pinhole.fx / pinhole.width, 0, 2 * pinhole.cx / pinhole.width - 1
        projection[1, 1:3] = 2 * pinhole.fy / pinhole.height, 2 * pinhole.cy / pinhole.height - 1
        projection[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
        projection[3, 2] = 1
        program["m"].write((projection @ invert(world_T_camera)).T.astype("f4").tobytes())
        target.use()
        target.clear(depth=1.0)
        array.render(moderngl.POINTS)
        return target.read(components=3), depth.read()

    return draw


def open3d_points(points: np.ndarray, colors: np.ndarray, pinhole: Pinhole) -> Callable[[Transform], object]:
    """Open3D's tensor projection on the processor."""
    import open3d as o3d

    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(points))
    cloud.point.colors = o3d.core.Tensor(colors.astype(np.float32) / 255)
    intrinsics = o3d.core.Tensor(pinhole.matrix)

    def draw(world_T_camera: Transform) -> object:
        extrinsics = o3d.core.Tensor(invert(world_T_camera))
        return cloud.project_to_rgbd_image(
            pinhole.width, pinhole.height, intrinsics, extrinsics, depth_scale=1000.0, depth_max=200.0
        )

    return draw


# ------------------------------------------------------------------------------------------- comparisons


def compare(
    results: list[Result], name: str, points: np.ndarray, colors: np.ndarray, *,
    poses: dict[str, Transform], size: tuple[int, int], repetitions: int,
) -> None:  # fmt: skip
    """Ours against the baselines, from each pose."""
    pinhole, machine = Pinhole.from_fov(*size, 1.3), describe_machine()
    renderer = SoftwareRenderer()
    snapshot = snapshot_of(points, colors)
    renderer.update(snapshot)
    baselines: dict[str, Callable[[Transform], object]] = {}
    for label, make in (("ModernGL, llvmpipe", gl_points), ("Open3D projection", open3d_points)):
        try:
            batch = snapshot.points()
            baselines[label] = make(batch.positions_world, batch.colors, pinhole)
        except Exception as error:  # an absent library or driver is named in the table
            results.append(Result(name, "ms", 0.0, None, f"{label}: {error}"[:60], None, None, machine))
    for view, pose in poses.items():
        runs: dict[str, Callable[[], object]] = {"ours": lambda p=pose: renderer.render(p, pinhole)}
        runs |= {label: (lambda draw=draw, p=pose: draw(p)) for label, draw in baselines.items()}
        label = f"{snapshot.num_points / 1e6:.1f} M {name}, {view}, {size[0]}x{size[1]}"
        results.extend(compare_ms(label, measure_ms(runs, repetitions), "ours", TARGETS, machine))
    measure_walk(results, renderer, name, snapshot.num_points, pinhole, poses)
    renderer.close()


def measure_walk(
    results: list[Result], renderer: SoftwareRenderer, name: str, num: int, pinhole: Pinhole,
    poses: dict[str, Transform],
) -> None:  # fmt: skip
    """Frames a second, each read back: turning and walking on from inside, and with all in view."""
    walks = {"walking and turning": ([look(poses["inside"][:3, 3] + (0.004 * k, 0, 0.008 * k), 0.02 * k, 0.0)
                                      for k in range(160)], WALK_FPS)}  # fmt: skip
    if "all in view" in poses:
        walks["all in view, 1 cm splats"] = [poses["all in view"]] * 15, OVERVIEW_FPS
    for view, (path, target) in walks.items():
        seconds = frame_seconds(renderer, path, pinhole)
        label, machine = f"{num / 1e6:.1f} M {name}, {view}", describe_machine()
        rate = len(seconds) / float(np.sum(seconds))
        results.append(within(f"{label}, sustained", "fps", rate, target, machine, at_most=False))
        p99 = 1e3 * float(np.percentile(seconds, 99))
        results.append(Result(f"{label}, p99 of a frame", "ms", p99, None, "", None, None, machine))


def frame_seconds(renderer: SoftwareRenderer, poses: list[Transform], pinhole: Pinhole) -> list[float]:
    """Time of each picture as the walk draws them; one untimed first."""
    renderer.render(poses[0], pinhole, reuse=True)
    seconds = []
    for pose in poses:
        start = time.perf_counter()
        renderer.render(pose, pinhole, reuse=True)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_near_wall(results: list[Result]) -> None:
    """Whether a wall right before the eye is closed: share of pixels that show nothing, or what is behind it."""
    points, colors = room_points(300_000)
    renderer, pinhole = SoftwareRenderer(), Pinhole.from_fov(832, 480, 1.3)
    memory = SpatialMemory(VOXEL_M)
    for shift_m in (0.0, 0.5):  # the same room again, half a metre further off
        batch = PointBatch.uniform(points + np.float32([0, 0, shift_m]), colors, priority=OBSERVED, keyframe=1)
        memory.insert(batch)
    renderer.update(memory.snapshot())
    wall_m = float(points[:, 2].max()) - 0.01
    depth = renderer.render(look((0.0, 0.0, wall_m - NEAR_M), 0.0, 0.0), pinhole).depth_m
    share = float(((depth == 0) | (depth > NEAR_M + 0.1)).mean())
    name = f"wall at {NEAR_M:g} m: pixels with a hole or what is behind"
    results.append(within(name, "share", share, GAP_SHARE, describe_machine()))
    renderer.close()


def measure_large(results: list[Result], points: np.ndarray, colors: np.ndarray, num: int, repetitions: int) -> None:
    """Frames a second of a very large world: the same chunks side by side by reference, drawn by level of detail."""
    part = snapshot_of(points, colors)
    keys = np.array(list(part.chunks))
    span = keys.max(0) - keys.min(0) + 1
    side = int(np.ceil(np.sqrt(num / part.num_points)))
    chunks: dict[ChunkKey, Chunk] = {}
    for column, row in np.ndindex(side, side):
        for (x, y, z), chunk in part.chunks.items():
            key = (x + column * int(span[0]), y, z + row * int(span[2]))
            chunks[key] = replace(chunk, key=key)
    snapshot = MemorySnapshot(VOXEL_M, 1, MappingProxyType(chunks))
    renderer, pinhole = SoftwareRenderer(), Pinhole.from_fov(832, 480, 1.3)
    renderer.update(snapshot)
    size = span * CHUNK_SIDE * VOXEL_M
    middle = keys.min(0) * CHUNK_SIDE * VOXEL_M + size * (side / 2, 0.5, side / 2)
    above = middle - (0.0, 12.0, 0.75 * side * size[2])
    step = np.array([0.05, 0.0, 0.1])
    walks = {
        "turning inside": [look(middle, 0.15 * k, 0.0) for k in range(8 * repetitions)],
        "walking inside": [look(middle + k * step, 0.3, 0.0) for k in range(8 * repetitions)],
        "all in view": [look(above, 0.01 * k, -0.35) for k in range(3 * repetitions)],
    }
    for view, poses in walks.items():
        seconds = frame_seconds(renderer, poses, pinhole)
        name = f"{snapshot.num_points / 1e6:.0f} M kitchen, tiled, {view}, levels of detail"
        rate = 1.0 / float(np.median(seconds))
        results.append(within(name, "fps", rate, LARGE_FPS, describe_machine(), at_most=False))
    renderer.close()


def load_garage() -> tuple[np.ndarray, np.ndarray, np.ndarray, Pinhole]:
    """Left photo, right photo, depth of the left one without flying pixels, and its camera."""
    from skimage.data import stereo_motorcycle
    from spatia.world.slam.given import clean_depth, find_flying

    left, right, disparity = stereo_motorcycle()
    depth = GARAGE_FOCAL * GARAGE_BASELINE_M / (disparity.astype(np.float64) + GARAGE_SHIFT_PX)
    depth = clean_depth(np.where(np.isfinite(disparity) & (disparity > 0), depth, 0).astype(np.float32))
    depth = np.where(find_flying(depth), np.float32(0), depth)
    height, width = depth.shape
    camera = Pinhole(width, height, GARAGE_FOCAL, GARAGE_FOCAL, GARAGE_CX, GARAGE_CY)
    return np.ascontiguousarray(left[..., :3]), np.ascontiguousarray(right[..., :3]), depth, camera


def measure_garage(results: list[Result], voxel_m: float) -> None:
    """Quality of the picture on a true photo from elsewhere."""
    left, right, depth, camera = load_garage()
    memory = SpatialMemory(voxel_m)
    points = unproject(depth, camera, np.eye(4))
    memory.insert(PointBatch.uniform(points, left[depth > 0].copy(), priority=OBSERVED, keyframe=1))
    keyframe = Keyframe(1, 0, left, camera, np.eye(4), PointClass.OBSERVED, depth_m=depth)
    renderer = SoftwareRenderer()
    renderer.update(memory.snapshot(), [keyframe])
    beside = np.eye(4)
    beside[0, 3] = GARAGE_BASELINE_M
    shifted = Pinhole(camera.width, camera.height, camera.fx, camera.fy, camera.cx + GARAGE_SHIFT_PX, camera.cy)
    machine, name = describe_machine(), f"garage, {1e3 * voxel_m:g} mm voxels"
    plain = renderer.render(beside, shifted, DrawOptions(use_keyframes=False))
    view = renderer.render(beside, shifted)
    covered = view.coverage >= 0.5
    photo_db, points_db = psnr(view.color, right, covered), psnr(plain.color, right, plain.coverage >= 0.5)
    results.append(
        Result(f"{name}: right photo, covered pixels", "dB", photo_db, points_db, "points alone", None, None, machine)
    )
    own = renderer.render(np.eye(4), camera, DrawOptions(fill=True))
    results.append(Result(f"{name}: own pose", "dB", min(psnr(own.color, left), 99.0), None, "", None, 35.0, machine))
    window = Pinhole.from_fov(832, 480, 0.6)
    turned = [renderer.render(turned_pose(k), window).color for k in range(6)]
    still = [cv2.warpPerspective(left, window.matrix @ turned_pose(k)[:3, :3].T @ np.linalg.inv(camera.matrix),
                                 window.size) for k in range(6)]  # fmt: skip
    results.append(
        Result(f"{name}: flicker per 0.2° of turning", "levels", flicker(turned, window), flicker(still, window),
               "the photo itself", None, None, machine)
    )  # fmt: skip
    options = DrawOptions(fill=True)
    times = measure_ms({"ours": lambda: renderer.render(beside, window, options, reuse=True)}, 15)
    results.append(
        Result(f"{name}: frame with photos and fog, 832x480", "ms", times["ours"], None, "", None, None, machine)
    )


def turned_pose(k: int) -> Transform:
    """A pose a little beside the photo's, turned by 0.2° a step."""
    return look((0.1, 0, 0), np.radians(0.2 * k), -0.05)


def flicker(frames: list[np.ndarray], window: Pinhole) -> float:
    """Mean change between frames after the turn is taken out: that of resampling, dots and holes."""
    changes = []
    for k, (before, after) in enumerate(pairwise(frames)):
        rotation = turned_pose(k)[:3, :3].T @ turned_pose(k + 1)[:3, :3]
        back = cv2.warpPerspective(after, window.matrix @ rotation @ np.linalg.inv(window.matrix), window.size)
        inner = np.s_[100:-100, 200:-200]
        changes.append(np.abs(back[inner].astype(int) - before[inner]).mean())
    return float(np.mean(changes))


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Decibels over the pixels of a mask."""
    error = (image.astype(np.float64) - truth) ** 2
    return float(10 * np.log10(255**2 / max(error[where].mean() if where is not None else error.mean(), 1e-12)))


def main() -> None:
    """Run the comparison."""
    options = parse_options((__doc__ or "").splitlines()[0])
    num, repetitions = (2_000_000, 3) if options.quick else (10_000_000, 5)
    size = (832, 480)
    results: list[Result] = []
    points, colors = room_points(num)
    compare(
        results, "room", points, colors, poses={"inside": look((0, 0, 0), 0.4, 0)}, size=size, repetitions=repetitions
    )
    if (kitchen := kitchen_points(8 if options.quick else 2)) is not None:
        points, colors = tiled(*kitchen, num)
        poses = {
            "inside": look(kitchen[0].mean(0), 0.4, 0),
            "all in view": overview(points, Pinhole.from_fov(*size, 1.3)),
        }
        compare(results, "kitchen, tiled", points, colors, poses=poses, size=size, repetitions=repetitions)
        measure_large(results, *kitchen, num=5 * num, repetitions=repetitions)
    measure_near_wall(results)
    for voxel_m in (0.005,) if options.quick else (0.0025, 0.005, 0.01):
        measure_garage(results, voxel_m)
    report(results, options.json)


if __name__ == "__main__":
    main()
