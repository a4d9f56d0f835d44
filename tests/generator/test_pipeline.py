"""One request: the scene is rendered, the clip checked, and what it adds is lifted."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.generator import pipeline
from spatia.generator.errors import GarbageClipError
from spatia.generator.none import NoneGenerator
from spatia.generator.pipeline import check_clip, run_request
from spatia.generator.requests import Clip, ClipRequest, GenerationCancelledError, Progress, ReferenceFrame, SceneVideo
from spatia.tests.fakes import PLANE_DEPTH_M, InstantGenerator, RecordingProgress, make_request, wall_memory
from spatia.tests.world.slam.panels import PANELS, WAY, panels
from spatia.world.camera import unproject
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, class_of, priority_of


class _Fixed(InstantGenerator):
    """Gives back one clip, and keeps the scene that it was given."""

    def __init__(self, clip: Clip | None = None) -> None:
        self.clip = clip
        self.scene: SceneVideo | None = None

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        self.scene = scene
        return self.clip or self.painted(scene)


def good_clip() -> Clip:
    return Clip(np.zeros((1, 24, 32, 3), np.uint8), np.ones((1, 24, 32), np.float32))


def test_the_scene_video_shows_memory_where_it_has_points() -> None:
    generator = _Fixed()
    run_request(make_request(memory=wall_memory().snapshot()), generator, RecordingProgress())
    scene = generator.scene
    assert scene is not None
    assert scene.coverage[0, :, 2:14].mean() > 0.9
    assert scene.coverage[0, :, 18:].max() == 0.0
    assert np.median(scene.depth_m[0, :, 2:14]) == pytest.approx(1.0, abs=0.05)
    assert np.median(scene.color[0, :, 2:14, 0]) == 200


def test_poses_that_fill_a_round_are_pictured_and_dropped() -> None:
    shape = (5, 24, 32)
    whole = Clip(
        np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(24, 1).repeat(32, 2).repeat(3, 3),
        np.ones(shape, np.float32),
        confidence=np.ones(shape, np.float32),
        moving=np.zeros(shape, bool),
        new_surface=np.ones(shape, bool),
        world_T_camera=np.repeat(np.eye(4)[None], 5, 0),
    )
    generator = _Fixed(whole)
    request = replace(make_request(num_frames=5, memory=wall_memory().snapshot()), num_padded=2)
    result = run_request(request, generator, RecordingProgress())
    assert generator.scene is not None
    assert len(generator.scene.color) == 5
    assert result.frames is not None
    assert result.frames[:, 0, 0, 0].tolist() == result.tail[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert len(result.update.world_T_camera) == 3


@pytest.mark.parametrize(("rank", "is_covered"), [(2, False), (3, True), (4, True)])
def test_what_a_lower_generator_invented_counts_as_uncovered(rank: int, is_covered: bool) -> None:
    base = wall_memory().points()
    memory = SpatialMemory(0.05)
    memory.insert(
        PointBatch.uniform(
            base.positions_world.copy(),
            base.colors.copy(),
            priority=priority_of(PointClass.INVENTED, rank),
            keyframe=1,
        )
    )
    generator = _Fixed()
    run_request(make_request(memory=memory.snapshot()), generator, RecordingProgress())
    assert generator.scene is not None
    assert (generator.scene.coverage[0, :, 2:14].mean() > 0.5) == is_covered


def test_new_surface_is_lifted_with_the_generators_class_and_rank() -> None:
    request = make_request(4, memory=wall_memory().snapshot())
    result = run_request(request, InstantGenerator(), RecordingProgress())
    points = result.update.points
    assert len(points) > 100
    assert set(points.priority.tolist()) == {priority_of(PointClass.INVENTED, InstantGenerator.rank)}
    assert set(class_of(points.priority).tolist()) == {int(PointClass.INVENTED)}
    assert np.abs(points.positions_world[:, 2] - PLANE_DEPTH_M).max() < 0.05
    assert set(points.keyframe.tolist()) == {request.first_keyframe_id}
    assert (result.request_id, result.epoch) == (4, 0)


def test_memory_itself_is_not_proposed_again() -> None:
    result = run_request(make_request(memory=wall_memory().snapshot()), InstantGenerator(), RecordingProgress())
    assert result.update.points.positions_world[:, 2].min() > 1.5


def test_the_generator_none_proposes_nothing() -> None:
    result = run_request(make_request(memory=wall_memory().snapshot()), NoneGenerator(), RecordingProgress())
    assert len(result.update.points) == 0
    assert result.frames is not None
    assert result.frames.shape == (1, 24, 32, 3)


def test_what_an_observed_reference_sees_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_request()
    depth_m = np.full((24, 32), 3.0, np.float32)
    color = np.zeros((24, 32, 3), np.uint8)
    photo = ReferenceFrame(color, depth_m, request.pinhole, np.eye(4), True, 1)
    request = replace(request, references=(photo, replace(photo, is_observed=False), replace(photo, depth_m=None)))
    result = run_request(request, InstantGenerator(), RecordingProgress())
    assert len(pipeline.observed_views(request.references)) == 1
    assert len(result.update.points) == 0


def test_the_tail_is_the_last_nine_frames() -> None:
    result = run_request(make_request(num_frames=12), NoneGenerator(), RecordingProgress())
    assert result.frames is not None
    assert result.tail.shape == (9, 24, 32, 3)
    np.testing.assert_array_equal(result.tail, result.frames[3:])


def test_progress_rises_from_nothing_to_all_through_the_phases() -> None:
    progress = RecordingProgress()
    run_request(make_request(num_frames=2), InstantGenerator(), progress)
    fractions = [f for _, f in progress.steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert list(dict.fromkeys(phase for phase, _ in progress.steps)) == ["condition", "paint", "lift"]


@pytest.mark.parametrize("phase", ["condition", "paint", "lift"])
def test_cancellation_ends_the_request_in_each_phase(phase: str) -> None:
    progress = RecordingProgress(cancel_at=phase)
    with pytest.raises(GenerationCancelledError):
        run_request(make_request(), InstantGenerator(), progress)
    assert progress.steps[-1][0] == phase


def test_time_is_told_by_phase() -> None:
    times = iter(range(100))
    result = run_request(make_request(), InstantGenerator(), RecordingProgress(), now_s=lambda: float(next(times)))
    assert result.seconds == {"condition": 1.0, "generate": 1.0, "check": 1.0, "lift": 1.0, "generate/paint": 0.0}


def test_a_good_clip_passes_the_check() -> None:
    check_clip(good_clip(), make_request())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((2, 24, 32, 3), np.uint8)}, r"frames: expected \(1, 24, 32, 3\) uint8, got \(2,"),
        ({"frames": np.zeros((1, 24, 32, 3), np.float32)}, "frames: .*float32"),
        ({"frames": [[1]]}, "frames: .*list"),
        ({"depth_m": np.ones((1, 24, 31), np.float32)}, "depth_m: expected"),
        ({"depth_m": np.ones((1, 24, 32))}, "depth_m: expected .*float64"),
        ({"depth_m": np.full((1, 24, 32), np.nan, np.float32)}, "depth_m: expected finite"),
        ({"depth_m": np.full((1, 24, 32), np.inf, np.float32)}, "depth_m: expected finite"),
        ({"depth_m": np.full((1, 24, 32), -1, np.float32)}, "depth_m: expected finite"),
        ({"confidence": np.full((1, 24, 32), 1.5, np.float32)}, "confidence: expected finite"),
        ({"moving": np.zeros((1, 24, 32), np.uint8)}, "moving: expected"),
        ({"new_surface": np.zeros((24, 32), bool)}, "new_surface: expected"),
    ],
)
def test_a_garbage_clip_is_refused_with_what_is_wrong(change: dict, words: str) -> None:
    with pytest.raises(GarbageClipError, match=words):
        check_clip(replace(good_clip(), **change), make_request())


def test_something_that_is_no_clip_is_refused() -> None:
    with pytest.raises(GarbageClipError, match="returned str, expected Clip"):
        run_request(make_request(), _Fixed("no clip"), RecordingProgress())  # type: ignore[arg-type]


def test_new_surface_without_depth_is_refused() -> None:
    clip = replace(good_clip(), depth_m=None)
    with pytest.raises(GarbageClipError, match="expected depth"):
        run_request(make_request(), _Fixed(clip), RecordingProgress())


class _Filmed(InstantGenerator):
    """Shows the panels in colour alone, as a video model would."""

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        return Clip(np.stack([panels(pose).color for pose in request.world_T_camera]), None)


def test_memory_grows_where_a_clip_without_depth_shows_new_surface() -> None:
    first = panels(WAY[0])
    depth = first.depth_m.copy()
    depth[:, 160:] = 0  # memory knows the left half
    positions = unproject(depth, first.pinhole, WAY[0])
    memory = SpatialMemory(0.02)
    priority = priority_of(PointClass.OBSERVED)
    memory.insert(PointBatch.uniform(positions, first.color[depth > 0], priority=priority, keyframe=1))
    request = replace(
        make_request(2, memory=memory.snapshot()), world_T_camera=np.stack(WAY[:4]), pinhole=first.pinhole
    )
    update = run_request(request, _Filmed(), RecordingProgress()).update
    assert (update.report.estimator, update.report.rejected) == ("multiview", "")
    memory.insert(update.points)
    grown = memory.points()
    new = grown.positions_world[class_of(grown.priority) == PointClass.INVENTED]
    distance_m = np.abs(new[:, 2:] - np.array([panel[0] for panel in PANELS])).min(axis=1)
    assert len(new) > 1000
    assert np.mean(distance_m < 0.1) > 0.9
    assert np.mean(new[:, 0] > 0) > 0.9, "the right half was unknown"


def test_what_moves_stays_in_the_clip_and_its_tail_and_out_of_memory() -> None:
    moving = np.zeros((3, 24, 32), bool)
    moving[:, 8:16, 12:20] = True
    frames = np.random.default_rng(0).integers(0, 255, (3, 24, 32, 3), np.uint8)
    clip = Clip(frames, np.ones((3, 24, 32), np.float32), moving=moving)
    result = run_request(make_request(num_frames=3), _Fixed(clip), RecordingProgress())
    assert result.frames is not None
    np.testing.assert_array_equal(result.frames, frames)
    np.testing.assert_array_equal(result.tail, frames)
    places = result.update.points.positions_world
    assert len(places) > 0
    assert not (np.abs(places[:, :2]).max(1) < 0.2).any()
