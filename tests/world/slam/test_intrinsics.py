"""A clip with a wrong camera is rejected by that name where the surface tells it, and changes nothing otherwise."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.points import PointClass
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.update import build_update
from spatia.world.transforms import look

POSES = np.stack([look((0.15 * k, 0.0, 0.0), 0.05 * k, 0.1) for k in range(3)])


def _with_focal(frames: FrameStack, factor: float) -> FrameStack:
    p = frames.pinhole
    return replace(frames, pinhole=Pinhole(p.width, p.height, factor * p.fx, factor * p.fy, p.cx, p.cy))


def _lift(frames: FrameStack, memory):
    fields = {"point_class": PointClass.INVENTED, "rank": 40, "request_id": 1, "first_keyframe_id": 9}
    return build_update(frames, memory=memory, **fields)


@pytest.mark.parametrize("factor", [0.77, 1.3])
def test_a_wrong_focal_length_is_named_and_changes_nothing(room, memory_of, factor: float):
    frames = room(POSES)
    memory = SpatialMemory(0.01)
    memory.insert(memory_of(frames).points())
    update = _lift(_with_focal(frames, factor), memory.snapshot())
    assert "wrong intrinsics" in update.report.rejected
    assert update.report.tests["rejected_by_intrinsics"] == 1.0
    assert update.report.tests["focal_factor"] == pytest.approx(1 / factor, rel=0.1)
    digest = memory.content_hash()
    memory.apply(stage_update(memory.snapshot(), update))
    assert memory.content_hash() == digest


WRONG = {
    "principal point 10 % right": (lambda p: replace(p, cx=p.cx + 0.1 * p.width), "principal_x", -0.1),
    "principal point 15 % left": (lambda p: replace(p, cx=p.cx - 0.15 * p.width), "principal_x", 0.15),
    "principal point 12 % down": (lambda p: replace(p, cy=p.cy + 0.12 * p.height), "principal_y", -0.12),
    "centre swapped": (lambda p: replace(p, cx=p.cy, cy=p.cx), "principal_x", 0.125),
    "normalised by the other side": (
        lambda p: replace(p, fx=p.fx * p.height / p.width, fy=p.fy * p.width / p.height),
        "focal_factor",
        4 / 3,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_centre_or_aspect_is_named_and_changes_nothing(room, memory_of, name: str):
    change, figure, expected = WRONG[name]
    frames = room(POSES)
    memory = SpatialMemory(0.01)
    memory.insert(memory_of(frames).points())
    update = _lift(replace(frames, pinhole=change(frames.pinhole)), memory.snapshot())
    assert "wrong intrinsics" in update.report.rejected
    assert update.report.tests["rejected_by_intrinsics"] == 1.0
    assert update.report.tests[figure] == pytest.approx(expected, abs=0.06)
    digest = memory.content_hash()
    memory.apply(stage_update(memory.snapshot(), update))
    assert memory.content_hash() == digest


def test_a_camera_of_another_size_than_the_pictures_is_refused(room):
    frames = room(POSES)
    p = frames.pinhole
    with pytest.raises(ValueError, match="expected"):
        replace(frames, pinhole=Pinhole(p.height, p.width, p.fx, p.fy, p.cy, p.cx))


def test_the_right_focal_length_is_not_suspected(room, memory_of):
    update = _lift(room(POSES), memory_of(room(POSES[:1])))
    assert update.report.rejected == ""
    assert update.report.tests["focal_factor"] == 1.0
    assert update.report.tests["principal_x"] == update.report.tests["principal_y"] == 0.0
