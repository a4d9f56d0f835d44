"""The conditioning render: this package beside a plain torch version of the same picture, on the same points.

    python benchmarks/conditioning.py [--quick] [--json FILE] [--device DEVICE]

Where torch finds CUDA, what draws there follows: Triton's kernel where that is installed, and torch, beside the plain
version on the same device. ``--device cuda`` times that alone, ``--device cpu`` the torch version on the processor,
where the compiled loops draw in its place.

PyTorch3D's own rasteriser, which the picture is defined by, took 26 s on a processor for one frame of 352x624 with
71,000 points; rows that name it compare with that figure.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from comparison import DATA, Result, compare_ms, describe_machine, measure_ms, options_parser, report
from spatia.renderer.conditioning import NEAR_M, RADIUS_HEIGHT, RADIUS_PX, render_scene_video
from spatia.world.camera import Pinhole
from spatia.world.transforms import invert, look

PYTORCH3D_S = 26.0
PYTORCH3D_NAME = "PyTorch3D (26 s, stated)"
LAYERS = 5
GPU_FRAMES_PER_S = 60.0


def room(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on the inside of a box, in random order."""
    rng = np.random.default_rng(0)
    face, points = rng.integers(0, 6, num), rng.uniform(-3, 3, (num, 3))
    points[np.arange(num), face % 3] = np.where(face < 3, -3, 3)
    points[:, 1] *= 0.45
    return points.astype(np.float32), rng.integers(0, 256, (num, 3), dtype=np.uint8)


def torch_frame(points: Any, colors: Any, pose: np.ndarray, camera: Pinhole, radius: float) -> np.ndarray:
    """The same picture by plain torch: every point's pixels, sorted by pixel and depth, the first five composited.

    Points and colours are tensors; the device is theirs.
    """
    import torch

    device = points.device
    camera_T_world = torch.from_numpy(invert(pose)).float().to(device)
    p = points @ camera_T_world[:3, :3].T + camera_T_world[:3, 3]
    color = colors.float()
    u, v = camera.fx * p[:, 0] / p[:, 2] + camera.cx, camera.fy * p[:, 1] / p[:, 2] + camera.cy
    keep = (p[:, 2] > 1e-3) & (u > -radius) & (u < camera.width + radius) & (v > -radius)
    keep &= v < camera.height + radius
    u, v, z, color = u[keep], v[keep], p[keep, 2], color[keep]
    reach = torch.arange(-int(radius + 1), int(radius + 1) + 1, device=device)
    pixel_x = (u.floor().long()[:, None, None] + reach[None, None, :]).expand(-1, len(reach), -1)
    pixel_y = (v.floor().long()[:, None, None] + reach[None, :, None]).expand(-1, -1, len(reach))
    dx, dy = pixel_x + 0.5 - u[:, None, None], pixel_y + 0.5 - v[:, None, None]
    weight = 1 - (dx**2 + dy**2) / radius**2
    ok = (weight > 0) & (pixel_x >= 0) & (pixel_x < camera.width) & (pixel_y >= 0) & (pixel_y < camera.height)
    pixel, w = (pixel_y * camera.width + pixel_x)[ok], weight[ok]
    point = torch.arange(len(u), device=device)[:, None, None].expand_as(ok)[ok]
    order = torch.argsort(z[point], stable=True)
    order = order[torch.argsort(pixel[order], stable=True)]
    pixel, w, point = pixel[order], w[order], point[order]
    start = torch.searchsorted(pixel, pixel)
    layer = torch.arange(len(pixel), device=device) - start
    out = torch.zeros(camera.height * camera.width, 3, device=device)
    through = torch.ones(camera.height * camera.width, device=device)
    for k in range(LAYERS):
        at = layer == k
        q = pixel[at]
        out[q] += (through[q] * w[at])[:, None] * color[point[at]]
        through[q] *= 1 - w[at]
    return out.clamp(0, 255).byte().cpu().reshape(camera.height, camera.width, 3).numpy()


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
        frame["torch"] = torch_frame(*_tensors(points, colors, "cpu"), pose, camera, radius)

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


def _tensors(points: np.ndarray, colors: np.ndarray, device: str) -> tuple[Any, Any]:
    import torch

    return torch.from_numpy(points).to(device), torch.from_numpy(colors).to(device)


def compare_device(results: list[Result], num: int, plain_num: int, device: str, repetitions: int) -> None:
    """What draws on a device against plain torch there, and frames a second of a larger cloud."""
    import torch
    from spatia.renderer.conditioning_torch import memory_bound

    is_gpu = device != "cpu"
    machine = torch.cuda.get_device_name(device) if is_gpu else describe_machine()
    camera, pose = Pinhole.from_fov(1248, 704, 1.2), look((0.3, 0.1, 0.2), 0.3, 0.05)
    frame: dict[str, np.ndarray] = {}
    plain = _tensors(*room(plain_num), device)

    def torch_() -> None:
        frame["plain"] = torch_frame(*plain, pose, camera, RADIUS_PX)

    for kind, raster in _rasters(is_gpu=is_gpu).items():
        ours, large = (_drawn_by(raster, n, camera, pose, device) for n in (plain_num, num))
        times = measure_ms({"ours": lambda draw=ours: frame.update(ours=draw()), "plain torch": torch_}, repetitions)
        name = f"{kind} on {device}, {plain_num / 1e6:g} M points, a frame of 1248x704"
        results.extend(compare_ms(name, times, "ours", {}, machine))
        error = float(np.abs(frame["ours"].astype(int) - frame["plain"]).mean())
        results.append(Result(f"{name}: mean difference", "levels", error, None, "plain torch", None, None, machine))
        rate = 1e3 / measure_ms({"ours": large}, repetitions)["ours"]
        name = f"{kind} on {device}, {num / 1e6:g} M points, frames of 1248x704"
        target = GPU_FRAMES_PER_S if is_gpu else None
        results.append(Result(name, "frames/s", rate, None, "", None, target, machine))
        if is_gpu:
            torch.cuda.reset_peak_memory_stats(device)
            large()
            peak, bound = torch.cuda.max_memory_allocated(device) / 2**20, memory_bound(num, 1248, 704) / 2**20
            note = f"bound {bound:.0f} MiB"
            results.append(Result(f"{name}: peak", "MiB", peak, None, note, None, None, machine))


def _rasters(*, is_gpu: bool) -> dict[str, Any]:
    """What can draw there, by name; the first is what a device is drawn by."""
    from spatia.renderer.conditioning_torch import TorchRaster

    if not is_gpu or importlib.util.find_spec("triton") is None:
        return {"torch": TorchRaster}
    from spatia.renderer.conditioning_triton import TritonRaster

    return {"Triton": TritonRaster, "torch": TorchRaster}


def _drawn_by(raster: Any, num: int, camera: Pinhole, pose: np.ndarray, device: str) -> Callable[[], np.ndarray]:
    """Draws one frame of a room that lies on the device already."""
    made = raster(*room(num), camera.size, radius=RADIUS_PX, points_per_pixel=LAYERS, device=device, near_m=NEAR_M)
    matrix = (camera.matrix @ invert(pose)[:3]).astype(np.float32)
    shape = (camera.height, camera.width)
    color, coverage, depth = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8), np.empty(shape, np.float32)

    def draw() -> np.ndarray:
        made.draw(matrix, color, coverage, depth)
        return color

    return draw


def has_cuda() -> bool:
    """Whether torch is there and finds CUDA."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


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
    parser = options_parser((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--device", default="", help="time only what torch or Triton draws on this device, such as cuda or cpu"
    )
    options = parser.parse_args()
    results: list[Result] = []
    if not options.device:
        compare_reference(results)
        compare_room(results, 100_000 if options.quick else 1_000_000, (624, 352) if options.quick else (1248, 704), 3)
        measure_clip(results, 300_000 if options.quick else 1_000_000, 9 if options.quick else 81)
    if device := options.device or ("cuda" if has_cuda() else ""):
        is_small = options.quick or device == "cpu"
        compare_device(results, *((300_000, 100_000) if is_small else (5_000_000, 1_000_000)), device, 3)
    report(results, options.json)


if __name__ == "__main__":
    main()
