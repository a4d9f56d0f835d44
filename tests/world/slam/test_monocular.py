"""Depth of a lone photo by a network: metric worlds where weights lie ready, the diorama elsewhere, no downloads."""

from pathlib import Path

import numpy as np
import pytest
from spatia.runtime.world import create
from spatia.saves.sources import Source, SourceFrame
from spatia.world.errors import MissingLibraryError
from spatia.world.memory import SpatialMemory
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.learned import monocular
from spatia.world.slam.learned.monocular import (
    DepthAnything,
    DepthAnythingNetwork,
    DepthPro,
    DepthProNetwork,
    installed_monocular,
)
from spatia.world.slam.update import source_update
from spatia.world.transforms import look

from .corner import PINHOLE, view


class TrueDepth:
    """A network that knows: the depth of the room that the test's pictures show, in an unit of its own."""

    def __init__(self, pose: np.ndarray, scale: float = 1.0) -> None:
        self._pose, self._scale = pose, scale

    def depth(self, color: np.ndarray, pinhole: object) -> np.ndarray:
        return (view(self._pose).depth_m * self._scale).astype(np.float32)


def _stack(pose: np.ndarray) -> FrameStack:
    return FrameStack(view(pose).color[None], None, None, None, None, pose[None].copy(), PINHOLE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models' folder and an empty hub cache."""
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "models"


def _tiny_depth_anything(folder: Path, kind: str = "metric") -> Path:
    transformers = pytest.importorskip("transformers", reason="needs spatia[models]")
    pytest.importorskip("torch", reason="needs spatia[models]")
    backbone = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20,
    )
    place = folder / "Depth-Anything-V2-Metric-Indoor-Small-hf"
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(place)
    return place


def test_a_photo_becomes_a_metric_world_of_estimated_points():
    pose = np.eye(4)
    update = source_update(
        _stack(pose), memory=SpatialMemory(0.01).snapshot(), estimator=DepthAnything(TrueDepth(pose))
    )
    assert update.report.tests["is_metric"] == 1.0
    p = update.points.positions_world
    planes = np.min([np.abs(p[:, 2] - 3), np.abs(p[:, 0] + 1.5), np.abs(p[:, 1] - 1)], axis=0)
    assert np.quantile(planes, 0.95) < 0.01


def test_a_later_pictures_scale_is_locked_to_memory():
    first, second = np.eye(4), look((0.1, 0.0, 0.1), 0.1, 0.0)
    memory = SpatialMemory(0.01)
    memory.insert(source_update(_stack(first), memory=memory.snapshot(), estimator=DepthPro(TrueDepth(first))).points)
    update = source_update(
        _stack(second), memory=memory.snapshot(), estimator=DepthPro(TrueDepth(second, 1.3)), align=False
    )
    assert update.report.tests["scale_factor"] == pytest.approx(1 / 1.3, rel=0.01)


def test_tiny_weights_of_depth_anything_run_from_a_folder(folder: Path):
    network = DepthAnythingNetwork(_tiny_depth_anything(folder))
    found = network.depth(view(np.eye(4)).color, PINHOLE)
    assert found.shape == (240, 320)
    assert 0 <= found.min() <= found.max() <= 20


def test_relative_weights_are_refused(folder: Path):
    place = _tiny_depth_anything(folder, "relative")
    with pytest.raises(ValueError, match="metric depth, got relative"):
        DepthAnythingNetwork(place)


def test_tiny_weights_of_depth_pro_run_from_a_folder(folder: Path):
    transformers = pytest.importorskip("transformers", reason="needs spatia[models]")
    pytest.importorskip("torch", reason="needs spatia[models]")
    vit = {
        "model_type": "dinov2",
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "patch_size": 4,
        "image_size": 16,
        "mlp_ratio": 2,
    }
    config = transformers.DepthProConfig(
        fusion_hidden_size=8,
        patch_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[8, 8],
        image_model_config=vit,
        patch_model_config=vit,
        fov_model_config=vit,
        use_fov_model=False,
    )
    place = folder / "DepthPro-hf"
    transformers.DepthProForDepthEstimation(config).save_pretrained(place)
    found = DepthProNetwork(place).depth(view(np.eye(4)).color, PINHOLE)
    assert found.shape == (240, 320)
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_installed_weights_are_chosen_over_the_diorama(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert installed_monocular() == ""
    _tiny_depth_anything(folder)
    assert installed_monocular() == "depth-anything"
    photo = SourceFrame(view(np.eye(4)).color, None, PINHOLE, np.eye(4), None)
    monkeypatch.setattr(DepthAnything, "_load", classmethod(lambda cls: TrueDepth(np.eye(4))))
    world = create(Source("photo", "photo", (photo,), metric=False, note="a photo"), voxel_size_m=0.02)
    assert world.info.is_metric
    assert "depth-anything" in world.info.note


def test_without_weights_a_photo_is_a_diorama_as_before(folder: Path):
    photo = SourceFrame(view(np.eye(4)).color, None, PINHOLE, np.eye(4), None)
    world = create(Source("photo", "photo", (photo,), metric=False, note="a photo"), voxel_size_m=0.05)
    assert not world.info.is_metric


def test_without_torch_no_network_is_offered(folder: Path, monkeypatch: pytest.MonkeyPatch):
    _tiny_depth_anything(folder)
    monkeypatch.setattr(monocular, "find_spec", lambda name: None)
    assert installed_monocular() == ""


def test_missing_weights_are_named_with_the_place_for_them(folder: Path):
    with pytest.raises(MissingLibraryError, match="apple/DepthPro-hf"):
        DepthPro()
