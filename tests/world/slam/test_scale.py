"""A clip's depth is brought to memory's scale, or it is not merged."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointClass, priority_of
from spatia.world.slam.estimators import GeometryEstimate
from spatia.world.slam.scale import fit_scale
from spatia.world.slam.update import build_update


def _pairs(seed: int, factor: float, shift: float = 0.0, outliers: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    memory = rng.uniform(1.0, 4.0, 3000)
    clip = (memory - shift) / factor * (1 + rng.normal(0, 0.01, 3000))
    wrong = rng.random(3000) < outliers
    return np.where(wrong, rng.uniform(0.3, 1.0, 3000), clip), memory


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_the_factor_is_found_in_spite_of_noise_and_outliers(factor: float, outliers: float):
    lock = fit_scale(*_pairs(1, factor, outliers=outliers))
    assert lock.rejected == ""
    assert lock.scale == pytest.approx(factor, rel=0.01)
    assert lock.shift_m == 0.0


def test_a_shift_is_found_where_it_is_evident():
    lock = fit_scale(*_pairs(2, 1.2, shift=0.4))
    assert lock.scale == pytest.approx(1.2, rel=0.02)
    assert lock.shift_m == pytest.approx(0.4, abs=0.05)


def test_a_warp_is_no_shift():
    clip, memory = _pairs(3, 1.3)
    lock = fit_scale(clip * (1 + 0.03 * np.sin(3 * memory)), memory)
    assert lock.shift_m == 0.0
    assert lock.scale == pytest.approx(1.3, rel=0.02)


def test_depth_that_has_nothing_to_do_with_memory_is_rejected():
    rng = np.random.default_rng(4)
    lock = fit_scale(rng.uniform(0.2, 8, 3000), rng.uniform(0.2, 8, 3000))
    assert "co-visible surface agrees" in lock.rejected


def test_too_few_samples_are_rejected():
    assert "needs 200" in fit_scale(np.ones(50), np.ones(50)).rejected


class UpToScale:
    """Depth that is right but for a factor."""

    name = "up to scale"
    uses_all_frames = False

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def estimate(self, frames, memory) -> GeometryEstimate:
        depth = (frames.depth_m * self.factor).astype(np.float32)
        return GeometryEstimate(depth, (depth > 0).astype(np.float32), frames.world_T_camera, is_up_to_scale=True)


def _update(frames, memory, factor: float):
    return build_update(
        frames,
        memory=memory,
        estimator=UpToScale(factor),
        point_class=PointClass.INVENTED,
        rank=40,
        request_id=1,
        first_keyframe_id=5,
    )


def test_a_clip_of_another_scale_is_brought_to_memorys(room, memory_of):
    frames = room(np.eye(4)[None])
    update = _update(frames, memory_of(frames), 0.7)
    assert update.report.rejected == ""
    assert update.report.scale == pytest.approx(1 / 0.7, rel=0.01)
    assert update.report.tests["scale_agreement"] > 0.8
    assert np.median(np.abs(update.keyframes[0].depth_m / frames.depth_m[0] - 1)) < 0.01


def test_observed_points_decide_the_scale(room, memory_of):
    frames = room(np.eye(4)[None])
    memory = SpatialMemory(0.01)
    left = np.zeros(frames.depth_m.shape[1:], bool)
    left[:, :60] = True
    memory.insert(memory_of(frames, use=left).points())
    wrong = replace(frames, depth_m=(frames.depth_m * 1.2).astype(np.float32))
    memory.insert(memory_of(wrong, priority=priority_of(PointClass.INVENTED, 2), use=~left).points())
    assert _update(frames, memory.snapshot(), 0.7).report.scale == pytest.approx(1 / 0.7, rel=0.02)


def test_a_clip_whose_scale_cannot_be_found_is_rejected_with_the_reason(room, memory_of):
    frames = room(np.eye(4)[None])
    rng = np.random.default_rng(0)
    noise = replace(frames, depth_m=rng.uniform(0.3, 9, frames.depth_m.shape).astype(np.float32))
    update = _update(noise, memory_of(frames), 1.0)
    assert update.report.rejected.startswith("scale:")
    assert update.report.tests["rejected_by_scale"] == 1.0
    assert len(update.points) == 0


def test_without_memory_a_scale_is_a_guess(room):
    update = _update(room(np.eye(4)[None]), SpatialMemory(0.01).snapshot(), 0.7)
    assert update.report.rejected == ""
    assert update.report.tests["is_metric"] == 0.0
