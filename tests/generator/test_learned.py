"""What lifts clips is chosen by name or by what is installed, and kept."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.generator import learned
from spatia.generator.learned import LearnedTools
from spatia.generator.pipeline import lift
from spatia.generator.requests import Clip, ReferenceFrame
from spatia.tests.fakes import make_request, wall_memory
from spatia.world.errors import MissingLibraryError
from spatia.world.slam.estimators import GeometryEstimate


class Follower:
    """A segmenter that marks the left third of every frame, whatever it is asked."""

    name = "follower"

    def __init__(self) -> None:
        self.num_frames = 0

    def track(self, color, prompts):
        self.num_frames = len(color)
        return np.zeros((len(prompts), *color.shape[:3]), bool)


def test_without_weights_everything_is_weight_free(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learned, "is_mapanything_installed", lambda: False)
    monkeypatch.setattr(learned, "is_sam2_installed", lambda: False)
    tools = LearnedTools({})
    assert tools.estimator([]).name == "multiview"
    assert tools.segmenter() is None


def test_installed_models_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learned, "is_mapanything_installed", lambda: True)
    monkeypatch.setattr(learned, "is_sam2_installed", lambda: True)
    tools = LearnedTools({})
    assert (tools.estimator_name, tools.segmenter_name) == ("mapanything", "sam2")


def test_a_name_goes_before_what_is_installed():
    tools = LearnedTools({"SPATIA_ESTIMATOR": "diorama", "SPATIA_SEGMENTER": f"{__name__}:Follower"})
    assert tools.estimator([]).name == "diorama"
    assert tools.segmenter() is tools.segmenter()


def test_a_named_model_that_is_not_there_is_an_error_that_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingLibraryError):
        LearnedTools({"SPATIA_ESTIMATOR": "depth-pro"}).estimator([])


def test_a_segmenter_sees_the_clip_and_the_frames_before_it():
    request = make_request(memory=wall_memory().snapshot(), num_frames=2)
    request = replace(request, tail=np.zeros((3, 24, 32, 3), np.uint8))
    rng = np.random.default_rng(0)
    depth = np.full((2, 24, 32), 1.0, np.float32)
    depth[:, 6:18, 4:12] = 0.5
    clip = Clip(rng.integers(0, 255, (2, 24, 32, 3), np.uint8), depth)
    tools = LearnedTools({"SPATIA_SEGMENTER": f"{__name__}:Follower"})
    lift(clip, request, 40, tools)
    assert tools.segmenter().num_frames in (0, 5)


class Pointed:
    """A segmenter whose thing covers the middle 8x8 pixels of every frame."""

    name = "pointed"

    def track(self, color, prompts):
        out = np.zeros((len(prompts), *color.shape[:3]), bool)
        out[:, :, 8:16, 12:20] = True
        return out


def test_what_a_person_clicked_on_stays_out_of_memory_and_says_by_whom():
    request = make_request(num_frames=2)
    frames = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8)
    clip = Clip(frames, np.full((2, 24, 32), 1.0, np.float32))
    tools = LearnedTools({"SPATIA_SEGMENTER": f"{__name__}:Pointed"})
    without = lift(clip, request, 40, tools)
    update = lift(clip, replace(request, clicks=((0.02, 0.02, 1.0),)), 40, tools)
    assert all(not k.moving_by for k in without.keyframes)
    for keyframe in update.keyframes:
        assert keyframe.moving_by == "pointed+user"
        assert keyframe.moving[8:16, 12:20].all()
        np.testing.assert_array_equal(keyframe.color, clip.frames[keyframe.keyframe_id - request.first_keyframe_id])
    inside = np.abs(update.points.positions_world[:, :2]).max(1) < 0.2
    assert len(update.points.positions_world) > 0
    assert not inside.any()


def test_what_moves_in_the_tail_is_told_for_the_clip_that_it_belongs_to():
    request = replace(make_request(2, num_frames=2), clicks=((0.02, 0.02, 1.0),), tail_request_id=1)
    frames = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8)
    request = replace(request, tail=frames, tail_world_T_camera=request.world_T_camera)
    tools = LearnedTools({"SPATIA_SEGMENTER": f"{__name__}:Pointed"})
    update = lift(Clip(frames, np.full((2, 24, 32), 1.0, np.float32)), request, 40, tools)
    assert [(v.request_id, v.moving_by) for v in update.moving_before] == [(1, "pointed+user")] * 2


def test_an_estimator_that_hangs_a_clip_on_keyframes_gets_the_references():
    class Anchored:
        name, uses_all_frames = "anchored", True
        anchors = ()

        def anchored(self, anchors):
            type(self).anchors = anchors
            return self

        def estimate(self, frames, memory):
            ones = np.ones(frames.color.shape[:3], np.float32)
            return GeometryEstimate(ones, ones, frames.world_T_camera)

    photo = ReferenceFrame(np.zeros((24, 32, 3), np.uint8), None, make_request().pinhole, np.eye(4), True, 7)
    request = replace(make_request(num_frames=2), references=(photo,))
    clip = Clip(np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8))
    tools = LearnedTools({"SPATIA_ESTIMATOR": "mine", "SPATIA_SEGMENTER": "none"})
    tools._made["mine"] = Anchored()
    lift(clip, request, 40, tools)
    assert [k.keyframe_id for k in Anchored.anchors] == [7]
