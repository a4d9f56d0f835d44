"""The conditioning render: this package beside a plain torch version of the same picture, on the same points.

    python benchmarks/conditioning.py [--quick] [--json FILE]

PyTorch3D's own rasteriser, which the picture is defined by, took 26 s on a processor for one frame of 352x624 with
71,000 points; rows that name it compare with that figure.
"""

import time

import numpy as np
from comparison import DATA, Result, compare_ms, describe_machine, measure_ms, parse_options, report
from spatia.renderer.conditioning import RADIUS_HEIGHT, RADIUS_PX, render_scene_video
from spatia.world.camera import Pinhole
from spatia.world.transforms import invert, look

PYTORCH3D_S = 26.0
PYTORCH3D_NAME = "PyTorch3D (26 s, stated)"
LAYERS = 5


def room(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the inside of a box, in random order."""
    rng = np.random.default_rng(0)
    face, points = rng.integers(0, 6, num), rng.uniform(-3, 3, (num, 3))
    points[np.arange(num), face % 3] = np.where(face < 3, -3, 3)
    points[:, 1] *= 0.45
    return points.astype(np.float32), rng.integers(0, 256, (num, 3), dtype=np.uint8)


def torch_frame(points: np.ndarray, colors: np.ndarray, pose: np.ndarray, camera: Pinhole, radius: float) -> np.ndarray:
    """The same picture by plain torch: every point's pixels, sorted by pixel and depth, the first five composited."""
    import torch

    camera_T_world = torch.from_numpy(invert(pose)).float()
    p = torch.from_numpy(points) @ camera_T_world[:3, :3].T + camera_T_world[:3, 3]
    color = torch.from_numpy(colors).float()
    u, v = camera.fx * p[:, 0] / p[:, 2] + camera.cx, camera.fy * p[:, 1] / p[:, 2] + camera.cy
    keep = (p[:, 2] > 1e-3) & (u > -radius) & (u < camera.width + radius) & (v > -radius)
    keep &= v < camera.height + radius
    u, v, z, color = u[keep], v[keep], p[keep, 2], color[keep]
    reach = torch.arange(-int(radius + 1), int(radius + 1) + 1)
    pixel_x = (u.floor().long()[:, None, None] + reach[None, None, :]).expand(-1, len(reach), -1)
    pixel_y = (v.floor().long()[:, None, None] + reach[None, :, None]).expand(-1, -1, len(reach))
    dx, dy = pixel_x + 0.5 - u[:, None, None], pixel_y + 0.5 - v[:, None, None]
    weight = 1 - (dx**2 + dy**2) / radius**2
    ok = (weight > 0) & (pixel_x >= 0) & (pixel_x < camera.width) & (pixel_y >= 0) & (pixel_y < camera.height)
    pixel, w = (pixel_y * camera.width + pixel_x)[ok], weight[ok]
    point = torch.arange(len(u))[:, None, None].expand_as(ok)[ok]
    order = torch.argsort(z[point], stable=True)
    order = order[torch.argsort(pixel[order], stable=True)]
    pixel, w, point = pixel[order], w[order], point[order]
    start = torch.searchsorted(pixel, pixel)
    layer = torch.arange(len(pixel)) - start
    out = torch.zeros(camera.height * camera.width, 3)
    through = torch.ones(camera.height * camera.width)
    for k in range(LAYERS):
        at = layer == k
        q = pixel[at]
        out[q] += (through[q] * w[at])[:, None] * color[point[at]]
        through[q] *= 1 - w[at]
    return out.clamp(0, 255).byte().reshape(camera.height, camera.width, 3).numpy()


def compare_room(results: list[Result], num: int, size: tuple[int, int], repetitions: int) -> None:
    """Ours against torch on a room, one frame."""
    machine, camera = describe_machine(), Pinhole.from_fov(*size, 1.2)
    points, colors = room(num)
    pose = look((0.3, 0.1, 0.2), 0.3, 0.05)
    radius = RADIUS_PX * size[1] / RADIUS_HEIGHT
    frame = {}

    def ours() -> None:
        frame["ours"] = render_scene_video(points, colors, pose[None], camera, release_projection=False).color[0]

    def torch_() -> None:
        frame["torch"] = torch_frame(points, colors, pose, camera, radius)

    name = f"{num / 1e6:g} M points, a frame of {size[0]}x{size[1]}"
    try:
        import torch  # noqa: F401
    except ImportError:
        times = measure_ms({"ours": ours}, repetitions)
    else:
        times = measure_ms({"ours": ours, "plain torch": torch_}, repetitions)
        difference = np.abs(frame["ours"].astype(int) - frame["torch"]).mean()
        results.append(
            Result(f"{name}: mean difference", "levels", float(difference), None, "plain torch", None, None, machine)
        )
    results.extend(compare_ms(name, times, "ours", {}, machine))


def compare_reference(results: list[Result]) -> None:
    """The frame that PyTorch3D was timed on, and how near the picture is to its own."""
    path = DATA / "parity" / "splat_b.npz"
    if not path.exists():
        return
    data, machine = np.load(path), describe_machine()
    height, width = (int(x) for x in data["image_size"])
    camera = Pinhole(width, height, *(float(x) for x in data["intrinsics"]))
    poses = np.linalg.inv(data["world_to_camera"].astype(np.float64))
    radius = float(data["radius_px"]) * RADIUS_HEIGHT / height
    video = {}

    def ours() -> None:
        video["frame"] = render_scene_video(data["points"], data["colors"], poses, camera, radius_px=radius)

    times = measure_ms({"ours": ours}, 9) | {PYTORCH3D_NAME: 1e3 * PYTORCH3D_S}
    results.extend(compare_ms("71 k points, a frame of 624x352", times, "ours", {PYTORCH3D_NAME: 50.0}, machine))
    error = np.mean((video["frame"].color.astype(float) - data["image"]) ** 2)
    decibels = float(10 * np.log10(255**2 / max(error, 1e-9)))
    results.append(Result("PSNR to PyTorch3D's picture", "dB", decibels, None, "", None, 40.0, machine))


def measure_clip(results: list[Result], num: int, frames: int) -> None:
    """A whole clip with coverage."""
    points, colors = room(num)
    poses = np.stack([look((0.02 * k, 0, 0.01 * k), 0.01 * k, 0) for k in range(frames)])
    start = time.perf_counter()
    render_scene_video(points, colors, poses, Pinhole.from_fov(1248, 704, 1.2))
    seconds = time.perf_counter() - start
    stated = PYTORCH3D_S * frames
    name = f"{num / 1e6:g} M points, {frames} frames of 1248x704 with coverage"
    results.append(
        Result(name, "s", seconds, stated, f"PyTorch3D (26 s a quarter-size frame, x {frames}, stated)",
               stated / seconds, 50.0, describe_machine())
    )  # fmt: skip


def main() -> None:
    """Run the comparison."""
    options = parse_options((__doc__ or "").splitlines()[0])
    results: list[Result] = []
    compare_reference(results)
    compare_room(results, 100_000 if options.quick else 1_000_000, (624, 352) if options.quick else (1248, 704), 3)
    measure_clip(results, 300_000 if options.quick else 1_000_000, 9 if options.quick else 81)
    report(results, options.json)


if __name__ == "__main__":
    main()
