"""MapAnything, the paper's estimator: installed by the user from its authors, with weights under the Apache licence.

Only the clip's own frames and a few anchor keyframes go in, never the whole history. What comes out lies in the frame
of the first view, at the network's scale; it is laid on memory: scale by the surface that both show, then each view's
pose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ...camera import Pinhole
from ...errors import MissingLibraryError
from ...keyframes import Keyframe
from ...memory import MemorySnapshot
from ...transforms import Transform, as_rigid, invert
from ..estimators import FrameStack, GeometryEstimate
from ..given import find_flying
from ..lift import choose_frames
from ..scale import ScaleLock, fit_scale, memory_depth
from ..similarity import BodyView, fit_body
from .weights import find_weights, find_weights_if_any

APACHE_WEIGHTS = "facebook/map-anything-apache"
"""The other weights, ``facebook/map-anything``, are for non-commercial use."""
INPUT_WIDTH, PATCH = 518, 14
IMAGE_MEAN, IMAGE_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_VIEWS, MAX_ANCHORS = 16, 3
MANY_VIEWS = 200
"""With more the network is asked to spare memory, as the release does."""
SCALE_WIDTH = 148
MIN_AGREEMENT = 0.3
"""Share of the points before memory that must lie on its surface."""
SAME_DEPTH, NEAREST_M = 0.04, 0.05
NUM_WITNESSES = 2


class Network(Protocol):
    """What is called of MapAnything: views in, one prediction for each out; arrays have a leading axis of 1."""

    def infer(self, views: list[dict[str, Any]], **options: Any) -> list[Mapping[str, Any]]:
        """Estimate geometry.

        Args:
            views: ``img`` (1, 3, h, w), ``true_shape``, ``idx``, ``instance``, ``data_norm_type`` and, where they are
                known, ``intrinsics`` (1, 3, 3), ``camera_poses`` (1, 4, 4) camera to world and ``is_metric_scale``.
            options: As of the authors' call.

        Returns:
            ``pts3d`` (1, h, w, 3) in the frame of the first view, ``camera_poses`` (1, 4, 4), ``intrinsics``
            (1, 3, 3), ``conf`` (1, h, w) and ``mask`` (1, h, w, 1).
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A view as the network sees it: its picture, grid, and what is known of its camera."""

    color: npt.NDArray[np.uint8]
    pinhole: Pinhole
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class _Prediction:
    """What the network says of a view: depth along +Z, confidence in [0, 1], and its pose in the first view."""

    depth: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    first_T_camera: Transform
    pinhole: Pinhole


class MapAnythingEstimator:
    """Depth and poses of a clip's frames by MapAnything.

    Args:
        network: Loaded from the models' folder or the hub's cache if not given.
        is_posed: Tell it the poses that the frames were asked for; without them it finds its own.
        anchors: Keyframes that are known already, to hang the clip on; a few suffice.

    Raises:
        MissingLibraryError: MapAnything or its weights are not installed.
    """

    name = "mapanything"
    uses_all_frames = True

    def __init__(
        self, network: Network | None = None, *, is_posed: bool = True, anchors: Sequence[Keyframe] = ()
    ) -> None:
        self._network = _load() if network is None else network
        self._is_posed, self._anchors = is_posed, tuple(anchors)[:MAX_ANCHORS]

    def anchored(self, anchors: Sequence[Keyframe]) -> "MapAnythingEstimator":
        """The same with other anchors."""
        return MapAnythingEstimator(self._network, is_posed=self._is_posed, anchors=anchors)

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Estimate depth and poses of the frames that a clip's motion sets apart; the others get no depth."""
        chosen = _chosen(frames)
        views = [_view_of(k.color, k.pinhole, k.world_T_camera) for k in self._anchors]
        views += [_view_of(frames.color[k], frames.pinhole, frames.world_T_camera[k]) for k in chosen]
        seen = _without_contradicted(self._ask(views))
        settled, first = _settle(views, seen, memory), len(self._anchors)
        return _estimate_of(frames, chosen, seen[first:], settled.world_T_camera[first:], settled.lock)

    def _ask(self, views: list[_View]) -> list[_Prediction]:
        asked = [_input_of(v, k, views[0], is_posed=self._is_posed) for k, v in enumerate(views)]
        found = self._network.infer(
            asked,
            memory_efficient_inference=len(views) > MANY_VIEWS,
            use_amp=True,
            amp_dtype="bf16",
            apply_mask=True,
            mask_edges=True,
            apply_confidence_mask=False,
            confidence_percentile=10,
        )
        if len(found) != len(views):
            raise ValueError(f"mapanything: expected {len(views)} predictions, got {len(found)}")
        return [_prediction_of(p, v.pinhole) for p, v in zip(found, views, strict=True)]


def _chosen(frames: FrameStack) -> list[int]:
    chosen = choose_frames(frames.world_T_camera, None, every=len(frames) <= 2)
    if len(chosen) <= MAX_VIEWS:
        return chosen
    return [chosen[k] for k in np.linspace(0, len(chosen) - 1, MAX_VIEWS).round().astype(int)]


def _view_of(color: npt.NDArray[np.uint8], pinhole: Pinhole, world_T_camera: Transform) -> _View:
    """Resized to a width of 518 and a multiple of 14 rows, the middle cropped if it is taller than wide."""
    rows = max(PATCH, round(pinhole.height * INPUT_WIDTH / pinhole.width / PATCH) * PATCH)
    grid = pinhole.resized(INPUT_WIDTH, rows)
    picture = np.asarray(cv2.resize(color, (INPUT_WIDTH, rows), interpolation=cv2.INTER_CUBIC), np.uint8)
    if rows > INPUT_WIDTH:
        top = (rows - INPUT_WIDTH) // 2
        picture = picture[top : top + INPUT_WIDTH]
        grid = Pinhole(INPUT_WIDTH, INPUT_WIDTH, grid.fx, grid.fy, grid.cx, grid.cy - top)
    return _View(picture, grid, world_T_camera)


def _input_of(view: _View, index: int, first: _View, *, is_posed: bool) -> dict[str, Any]:
    mean, deviation = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_DEVIATION, np.float32)
    normal = (view.color.astype(np.float32) / 255 - mean) / deviation
    out: dict[str, Any] = {
        "img": np.ascontiguousarray(normal.transpose(2, 0, 1)[None]),
        "true_shape": np.array([[view.pinhole.height, view.pinhole.width]], np.int32),
        "idx": index,
        "instance": str(index),
        "data_norm_type": ["dinov2"],
        "intrinsics": view.pinhole.matrix[None].astype(np.float32),
    }
    if is_posed:
        out["camera_poses"] = (invert(first.world_T_camera) @ view.world_T_camera)[None].astype(np.float32)
        out["is_metric_scale"] = np.array([True])
    return out


def _prediction_of(found: Mapping[str, Any], pinhole: Pinhole) -> _Prediction:
    """Depth in the view's own camera. Masked pixels, which the network sets to the origin, are dropped."""
    points = np.asarray(found["pts3d"], np.float64)[0]
    pose = as_rigid(np.asarray(found["camera_poses"], np.float64)[0], "mapanything: camera_poses")
    confidence = np.asarray(found["conf"], np.float32)[0]
    valid = np.isfinite(points).all(axis=2) & (confidence > 0)
    if found.get("mask") is not None:
        valid &= np.asarray(found["mask"])[0].reshape(valid.shape).astype(bool)
    camera = (points - pose[:3, 3]) @ pose[:3, :3]
    depth = np.where(valid & (camera[..., 2] > 0), camera[..., 2], 0).astype(np.float32)
    depth = np.where(find_flying(depth), np.float32(0), depth)
    high = float(np.percentile(confidence[valid], 90)) if valid.any() else 1.0
    return _Prediction(depth, np.clip(confidence / max(high, 1e-6), 0, 1), pose, _seen_with(found, pinhole))


def _seen_with(found: Mapping[str, Any], pinhole: Pinhole) -> Pinhole:
    """The intrinsics that the network found, which its depth belongs to; the view's own where it names none."""
    if found.get("intrinsics") is None:
        return pinhole
    k = np.asarray(found["intrinsics"], np.float64)[0]
    return Pinhole(pinhole.width, pinhole.height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])


def _without_contradicted(seen: list[_Prediction]) -> list[_Prediction]:
    """Drop pixels that some other view sees through and none confirms: outliers that look confident alone."""
    out = []
    for a, view in enumerate(seen):
        known = view.depth > 0
        points = view.pinhole.rays()[known] * view.depth[known][:, None]
        confirmed, through = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
        for b in sorted((b for b in range(len(seen)) if b != a), key=lambda b, a=a: abs(b - a))[:NUM_WITNESSES]:
            z, depth = _compare(points, view, seen[b])
            with np.errstate(invalid="ignore"):
                confirmed += np.abs(depth - z) <= SAME_DEPTH * z
                through += depth - z > SAME_DEPTH * z
        kept = known.copy()
        kept[known] = (confirmed > 0) | (through == 0)
        out.append(replace(view, depth=np.where(kept, view.depth, np.float32(0))))
    return out


def _compare(
    points: npt.NDArray[np.float32], a: _Prediction, b: _Prediction
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(N,) depth of a's points in b, and b's own depth there; NaN where b shows nothing."""
    b_T_a = (invert(b.first_T_camera) @ a.first_T_camera).astype(np.float32)
    moved = points @ b_T_a[:3, :3].T + b_T_a[:3, 3]
    z = np.where(moved[:, 2] > NEAREST_M, moved[:, 2], np.float32(np.nan))
    with np.errstate(invalid="ignore"):
        u = np.floor(b.pinhole.fx * moved[:, 0] / z + b.pinhole.cx)
        v = np.floor(b.pinhole.fy * moved[:, 1] / z + b.pinhole.cy)
        inside = (u >= 0) & (v >= 0) & (u < b.pinhole.width) & (v < b.pinhole.height)
    depth = np.full(len(points), np.nan, np.float32)
    depth[inside] = b.depth[v[inside].astype(np.intp), u[inside].astype(np.intp)]
    depth[depth <= 0] = np.nan
    return z, depth


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """Where the views stand in the world, and the scale of their depth."""

    world_T_camera: list[Transform]
    lock: ScaleLock


def _settle(views: list[_View], seen: list[_Prediction], memory: MemorySnapshot) -> _Settled:
    """Lay the views on memory as one body. Without memory the network's own poses and scale are taken."""
    body = [BodyView(s.depth, s.pinhole, s.first_T_camera) for s in seen]
    start = views[0].world_T_camera
    lock = _first_scale(seen, start, memory) if memory.chunks else ScaleLock()
    if lock.rejected or not memory.chunks:
        return _Settled([v.world_T_camera(start, lock.scale) for v in body], lock)
    fit = fit_body(body, memory, start, lock.scale)
    reason = ""
    if fit.inlier_share < MIN_AGREEMENT:
        reason = f"{fit.inlier_share:.0%} of the co-visible surface agrees, needs {MIN_AGREEMENT:.0%}"
    lock = replace(lock, scale=fit.scale, agreement=fit.inlier_share, num_samples=fit.num_points, rejected=reason)
    return _Settled([v.world_T_camera(fit.world_T_body, fit.scale) for v in body], lock)


def _first_scale(seen: list[_Prediction], world_T_first: Transform, memory: MemorySnapshot) -> ScaleLock:
    """Scale by the first view alone, whose place in the world is known; by one after the other if it sees nothing."""
    lock = ScaleLock()
    for s in seen:
        small = s.pinhole.resized(SCALE_WIDTH, max(8, round(SCALE_WIDTH * s.pinhole.height / s.pinhole.width)))
        rows = ((np.arange(small.height) + 0.5) * s.pinhole.height / small.height).astype(np.intp)
        columns = ((np.arange(small.width) + 0.5) * s.pinhole.width / small.width).astype(np.intp)
        depth = s.depth[np.ix_(rows, columns)]
        surface = memory_depth(memory, small, world_T_first @ s.first_T_camera)
        both = (depth > 0) & (surface > 0)
        lock = fit_scale(depth[both], surface[both], may_shift=False)
        if not lock.rejected:
            break
    return lock


def _estimate_of(
    frames: FrameStack, chosen: list[int], seen: list[_Prediction], world_T_camera: list[Transform], lock: ScaleLock
) -> GeometryEstimate:
    """Predictions on the frames' own grid; nothing where they fit memory nowhere."""
    depth = np.zeros((len(frames), frames.pinhole.height, frames.pinhole.width), np.float32)
    confidence = np.zeros_like(depth)
    poses = frames.world_T_camera.copy()
    for k, s, pose in zip(chosen, seen, world_T_camera, strict=True):
        if not lock.rejected:
            poses[k] = pose
            depth[k] = _on_grid(s.depth, s.pinhole, frames.pinhole) * np.float32(lock.scale)
            confidence[k] = np.where(depth[k] > 0, _on_grid(s.confidence, s.pinhole, frames.pinhole), 0)
    tests = {
        "views": float(len(chosen)),
        "scale_agreement": lock.agreement,
        "scale_samples": float(lock.num_samples),
        "rejected_by_scale": float(bool(lock.rejected)),
    }
    return GeometryEstimate(depth, confidence, _filled(poses, frames, chosen), lock.scale, tests)


def _filled(poses: npt.NDArray[np.float64], frames: FrameStack, chosen: list[int]) -> npt.NDArray[np.float64]:
    """Poses of all frames: each takes the correction of the nearest chosen one."""
    asked = frames.world_T_camera
    for k in range(len(poses)):
        near = min(chosen, key=lambda j, k=k: abs(j - k))
        if k not in chosen:
            poses[k] = poses[near] @ invert(asked[near]) @ asked[k]
    return poses


def _on_grid(values: npt.NDArray[np.float32], seen: Pinhole, pinhole: Pinhole) -> npt.NDArray[np.float32]:
    """Nearest values for the frame's pixels, by both cameras' rays; 0 outside."""
    rays = pinhole.rays()
    u = np.floor(seen.fx * rays[..., 0] + seen.cx).astype(np.intp)
    v = np.floor(seen.fy * rays[..., 1] + seen.cy).astype(np.intp)
    inside = (u >= 0) & (v >= 0) & (u < seen.width) & (v < seen.height)
    out = np.zeros(u.shape, np.float32)
    out[inside] = values[v[inside], u[inside]]
    return out


def _load() -> Network:
    try:
        from mapanything.models import MapAnything  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingLibraryError(
            "geometry estimator 'mapanything' needs the package 'mapanything', which is not installed: "
            "pip install git+https://github.com/facebookresearch/map-anything",
            name="mapanything",
        ) from error
    return _Loaded(MapAnything.from_pretrained(str(find_weights(APACHE_WEIGHTS))))


class _Loaded:
    """The real network: tensors in, arrays out, on the GPU where there is one."""

    def __init__(self, model: Any) -> None:
        import torch

        self._torch, self._device = torch, "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.to(self._device).eval()

    def infer(self, views: list[dict[str, Any]], **options: Any) -> list[Mapping[str, Any]]:
        """See ``Network``."""
        tensors = [{name: self._tensor(value) for name, value in view.items()} for view in views]
        with self._torch.inference_mode():
            found = self._model.infer(tensors, **{**options, "use_amp": self._device == "cuda"})
        return [{name: self._array(value) for name, value in prediction.items()} for prediction in found]

    def _tensor(self, value: Any) -> Any:
        return self._torch.from_numpy(value).to(self._device) if isinstance(value, np.ndarray) else value

    def _array(self, value: Any) -> Any:
        return value.float().cpu().numpy() if isinstance(value, self._torch.Tensor) else value


def is_mapanything_installed() -> bool:
    """Whether package and weights are there. Imports neither."""
    return find_spec("mapanything") is not None and find_weights_if_any(APACHE_WEIGHTS) is not None
