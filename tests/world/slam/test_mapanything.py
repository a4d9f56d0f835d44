"""The MapAnything adapter: a stand-in gives true geometry with known faults, and memory takes them out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.errors import MissingLibraryError
from spatia.world.keyframes import Keyframe
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.learned.mapanything import MapAnythingEstimator
from spatia.world.slam.learned.weights import find_weights
from spatia.world.slam.update import build_update
from spatia.world.transforms import invert, look, rotation_about, rotation_angle_rad

from .conftest import BALL_CENTRE, BALL_RADIUS, PINHOLE, _cast

TRUE = np.stack([look((0.15 * k, -0.03 * k, 0.1 * k), 0.05 * k, -0.02 * k) for k in range(4)])
ANCHOR = look((-0.15, 0.0, -0.1), -0.05, 0.0)


def _off(metres: float, degrees: float, axis: tuple[float, float, float] = (1, -2, 1)) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = rotation_about(axis, np.deg2rad(degrees))
    out[:3, 3] = metres * np.array([0.6, -0.5, 0.62])
    return out


@dataclass
class StandIn:
    """MapAnything's interface with true geometry behind it, and faults.

    Attributes:
        world_T_camera: True poses of the views, in the order in which they are given.
        scale: Its unit in metres: what it says times this is true.
        outliers: Share of the pixels with a random depth.
        seen: The views of the last call.
    """

    world_T_camera: list[np.ndarray]
    scale: float = 1.0
    outliers: float = 0.0
    masked_rows: int = 20
    seen: list[dict[str, Any]] = field(default_factory=list)

    def infer(self, views: list[dict[str, Any]], **options: Any) -> list[Mapping[str, Any]]:
        self.seen, rng = views, np.random.default_rng(0)
        return [self._predict(v, t, rng) for v, t in zip(views, self.world_T_camera, strict=True)]

    def _predict(self, view_in: dict[str, Any], world_T_camera: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        height, width = view_in["img"].shape[2:]
        k = view_in["intrinsics"][0]
        pinhole = Pinhole(width, height, *(float(x) for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])))
        depth = _cast(world_T_camera, pinhole)[0].astype(np.float64)
        wrong = rng.random(depth.shape) < self.outliers
        depth = np.where(wrong, depth * rng.uniform(0.3, 1.8, depth.shape), depth) / self.scale
        pose = invert(self.world_T_camera[0]) @ world_T_camera
        pose[:3, 3] /= self.scale
        points = (pinhole.rays() * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
        mask = depth > 0
        mask[: self.masked_rows] = False
        points[~mask] = 0  # the network zeroes what it masks
        return {
            "pts3d": points[None].astype(np.float32),
            "conf": np.full((1, height, width), 2.0, np.float32),
            "mask": mask[None, ..., None],
            "camera_poses": pose[None].astype(np.float32),
            "intrinsics": k[None],
        }


def _memory() -> MemorySnapshot:
    memory = SpatialMemory(0.01)
    for pose in (ANCHOR, TRUE[0], TRUE[1], TRUE[3]):
        depth = _cast(pose, PINHOLE)[0]
        points = unproject(depth, PINHOLE, pose)
        colors = np.zeros((len(points), 3), np.uint8)
        memory.insert(PointBatch.uniform(points, colors, priority=priority_of(PointClass.OBSERVED), keyframe=1))
    return memory.snapshot()


@pytest.fixture(scope="module")
def memory() -> MemorySnapshot:
    return _memory()


def _stack(poses: np.ndarray) -> FrameStack:
    color = np.stack([_cast(pose, PINHOLE)[1] for pose in TRUE])
    return FrameStack(color, None, None, None, None, poses.copy(), PINHOLE)


def _anchor() -> Keyframe:
    return Keyframe(
        1, 0, _cast(ANCHOR, PINHOLE)[1], PINHOLE, ANCHOR.copy(), PointClass.OBSERVED, depth_m=_cast(ANCHOR, PINHOLE)[0]
    )


def _pose_error(estimate: Any) -> tuple[float, float]:
    off = [invert(t) @ p for t, p in zip(TRUE, estimate.world_T_camera, strict=True)]
    return max(float(np.linalg.norm(o[:3, 3])) for o in off), max(rotation_angle_rad(o) for o in off)


def _depth_errors(estimate: Any) -> np.ndarray:
    out = []
    for k in range(len(TRUE)):
        known, true = estimate.depth_m[k] > 0, _cast(TRUE[k], PINHOLE)[0]
        out.append(np.abs(estimate.depth_m[k] - true)[known & (true > 0)] / true[known & (true > 0)])
    return np.concatenate(out)


ASKED = np.stack([pose @ _off(0.06, 2.0) @ _off(0.008, 0.2, (k, 1, 1)) for k, pose in enumerate(TRUE)])
"""Poses that the clip was asked for; the camera drew its true ones."""


@pytest.mark.parametrize(("is_posed", "scale"), [(True, 0.6), (False, 1.7)])
def test_scale_poses_and_outliers_are_recovered(scale: float, is_posed: bool, memory: MemorySnapshot):
    network = StandIn([ANCHOR, *TRUE], scale, outliers=0.1)
    engine = MapAnythingEstimator(network, is_posed=is_posed, anchors=[_anchor()])
    estimate = engine.estimate(_stack(ASKED), memory)
    off_m, off_rad = _pose_error(estimate)
    errors = _depth_errors(estimate)
    print(
        f"scale {estimate.scale / scale - 1:+.2%}, poses {100 * off_m:.1f} cm {np.degrees(off_rad):.2f}°, "
        f"depth {np.median(errors):.2%}, outliers left {np.mean(errors > 0.05):.2%}"
    )
    assert estimate.scale == pytest.approx(scale, rel=0.01)
    assert off_m < 0.02
    assert off_rad < np.deg2rad(0.5)
    assert np.median(errors) < 0.01
    assert np.mean(errors > 0.05) < 0.05


def test_masked_pixels_are_dropped_and_no_point_falls_on_the_first_camera(memory: MemorySnapshot):
    estimate = MapAnythingEstimator(StandIn(list(TRUE)), anchors=()).estimate(_stack(TRUE), memory)
    assert (estimate.depth_m[:, :5] == 0).all()
    assert (estimate.confidence[estimate.depth_m == 0] == 0).all()
    assert estimate.depth_m[estimate.depth_m > 0].min() > 0.3


def test_only_the_clip_and_a_few_anchors_go_in(memory: MemorySnapshot):
    network = StandIn([ANCHOR] * 3 + list(TRUE))
    MapAnythingEstimator(network, anchors=[_anchor()] * 9).estimate(_stack(TRUE), memory)
    assert len(network.seen) == 3 + len(TRUE)


def test_views_are_given_as_the_release_gives_them(memory: MemorySnapshot):
    network = StandIn([ANCHOR, *TRUE])
    MapAnythingEstimator(network, anchors=[_anchor()]).estimate(_stack(TRUE), memory)
    first = network.seen[0]
    assert first["img"].shape == (1, 3, 392, 518)
    assert first["data_norm_type"] == ["dinov2"]
    np.testing.assert_allclose(first["camera_poses"][0], np.eye(4), atol=1e-6)
    np.testing.assert_allclose(network.seen[1]["camera_poses"][0], invert(ANCHOR) @ TRUE[0], atol=1e-5)
    assert first["is_metric_scale"].all()


def test_without_poses_none_are_given(memory: MemorySnapshot):
    network = StandIn([ANCHOR, *TRUE])
    MapAnythingEstimator(network, is_posed=False, anchors=[_anchor()]).estimate(_stack(TRUE), memory)
    assert all("camera_poses" not in v for v in network.seen)


def test_a_clip_reaches_memory_where_it_belongs(memory: MemorySnapshot):
    network = StandIn([ANCHOR, *TRUE], 0.6, outliers=0.1)
    update = build_update(
        _stack(ASKED),
        memory=memory,
        estimator=MapAnythingEstimator(network, anchors=[_anchor()]),
        point_class=PointClass.ESTIMATED,
        rank=0,
        request_id=1,
        first_keyframe_id=10,
    )
    assert update.report.rejected == ""
    p = update.points.positions_world
    ball = np.abs(np.linalg.norm(p - BALL_CENTRE, axis=1) - BALL_RADIUS)
    distance = np.min([np.abs(p[:, 2] - 4.0), np.abs(p[:, 0] + 1.4), np.abs(p[:, 1] - 1.0), ball], axis=0)
    assert np.mean(distance < 0.04) > 0.95


def test_a_missing_package_is_an_error_that_says_how_to_get_it():
    if find_spec("mapanything") is not None:
        pytest.skip("needs an installation without the package mapanything")
    with pytest.raises(MissingLibraryError, match="map-anything"):
        MapAnythingEstimator()


def test_weights_are_found_in_the_models_folder_and_in_the_hubs_cache(tmp_path):
    place = tmp_path / "hub" / "models--owner--name" / "snapshots" / "abc"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    environment = {"SPATIA_MODELS": str(tmp_path / "models"), "HF_HUB_CACHE": str(tmp_path / "hub")}
    assert find_weights("owner/name", environment) == place
    local = tmp_path / "models" / "name"
    local.mkdir(parents=True)
    (local / "config.json").write_text("{}")
    assert find_weights("owner/name", environment) == local


def test_weights_that_lie_nowhere_are_named_with_the_place_for_them(tmp_path):
    with pytest.raises(MissingLibraryError, match=str(tmp_path / "name")):
        find_weights("owner/name", {"SPATIA_MODELS": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)})
