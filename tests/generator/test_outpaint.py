"""The embedded generator: quick where little is missing, one place model for a world, views that agree."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from spatia.generator.outpaint import outpaint as module
from spatia.generator.outpaint.outpaint import OutpaintGenerator
from spatia.generator.outpaint.place import PlaceModel, render_place
from spatia.generator.requests import ClipRequest, ReferenceFrame, SceneVideo
from spatia.tests.fakes import RecordingProgress
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import MemorySnapshot
from spatia.world.transforms import look

PINHOLE = Pinhole.from_fov(160, 120, np.radians(60))
EMPTY = MemorySnapshot(0.01, 0, MappingProxyType({}))
WALL_M = 3.0


def photo() -> ReferenceFrame:
    """A speckled wall, 3 m away."""
    color = np.random.default_rng(0).integers(90, 160, (120, 160, 3)).astype(np.uint8)
    return ReferenceFrame(color, np.full((120, 160), WALL_M, np.float32), PINHOLE, np.eye(4), True, 1)


def sphere(*_: object, **__: object) -> PlaceModel:
    """A grey ball 6 m round the origin, in place of a real model."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60_000, 3))
    points *= 6.0 / np.linalg.norm(points, axis=1, keepdims=True)
    colors, spacing = np.full((60_000, 3), 90, np.uint8), np.full(60_000, 0.2, np.float32)
    low, high = np.full(3, -4.0), np.full(3, 4.0)
    return PlaceModel("outdoor", points.astype(np.float32), colors, spacing, np.eye(4), low, high)


@pytest.fixture
def counted(monkeypatch):
    """Place models are balls, and each one that is made is noted."""
    made = []

    def build(photos, memory, **options):
        made.append((tuple(p.keyframe_id for p in photos), memory.num_points, options["seed"]))
        return sphere()

    monkeypatch.setattr(module, "model_place", build)
    monkeypatch.setattr(module, "is_stage_set", lambda *_: False)
    return made


def request_and_scene(*yaws: float, seed: int = 1, hole: tuple[slice, slice] | None = None, **changes):
    """Views of the wall, turned; the wall is known where the photo saw it."""
    own = photo()
    poses = np.stack([look((0.0, 0.0, 0.0), yaw, 0.0) for yaw in yaws])
    points = unproject(own.depth_m, PINHOLE, np.eye(4))
    wall = PlaceModel(
        "wall", points, own.color.reshape(-1, 3).copy(), np.full(len(points), 0.03, np.float32),
        np.eye(4), np.zeros(3), np.zeros(3),
    )  # fmt: skip
    drawn = [render_place(wall, PINHOLE, pose) for pose in poses]
    color, depth = np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn])
    if hole is not None:
        depth[(slice(None), *hole)] = 0.0
    scene = SceneVideo(color, depth, (depth > 0).astype(np.float32))
    request = ClipRequest(1, 0, seed, "", poses, PINHOLE, EMPTY, 2, references=(own,), floor=(0.0, -1.0, 0.0, 1.5))
    return replace(request, **changes), scene


def test_a_small_hole_does_not_wait_for_a_place(counted):
    clip = OutpaintGenerator().generate(*request_and_scene(0.0, hole=np.s_[50:70, 60:90]), RecordingProgress())
    assert counted == []
    assert clip.new_surface is not None
    assert clip.new_surface[0, 50:70, 60:90].all()
    assert np.median(clip.depth_m[0, 50:70, 60:90]) == pytest.approx(WALL_M, rel=0.02)


def test_a_look_beyond_the_known_shows_the_place(counted):
    clip = OutpaintGenerator().generate(*request_and_scene(0.9), RecordingProgress())
    assert len(counted) == 1
    assert np.linalg.norm(PINHOLE.rays()[60, 150]) * clip.depth_m[0, 60, 150] == pytest.approx(6.0, rel=0.02)


def test_one_place_serves_all_requests_of_a_world(counted):
    generator = OutpaintGenerator()
    for yaw, seed in ((0.9, 1), (-0.9, 2), (3.0, 3)):
        generator.generate(*request_and_scene(yaw, seed=seed), RecordingProgress())
    assert len(counted) == 1


def test_a_place_modelled_ahead_serves_the_first_request_as_it_would_have_itself(counted):
    request, scene = request_and_scene(0.9)
    prepared = OutpaintGenerator()
    prepared.prepare(request, RecordingProgress())
    assert len(counted) == 1
    ahead = prepared.generate(request, scene, RecordingProgress())
    assert len(counted) == 1
    unprepared = OutpaintGenerator().generate(request, scene, RecordingProgress())
    assert counted[0] == counted[1]
    np.testing.assert_array_equal(ahead.frames, unprepared.frames)


def test_without_photos_there_is_nothing_to_model_ahead(counted):
    OutpaintGenerator().prepare(replace(request_and_scene(0.9)[0], references=()), RecordingProgress())
    assert counted == []


def test_the_place_depends_on_the_photos_alone(counted):
    for yaw, seed in ((0.9, 1), (2.0, 9)):
        OutpaintGenerator().generate(*request_and_scene(yaw, seed=seed), RecordingProgress())
    assert counted[0] == counted[1]
    assert counted[0][:2] == ((1,), 0)


def test_a_reroll_gets_another_place(counted):
    generator = OutpaintGenerator()
    generator.generate(*request_and_scene(0.9), RecordingProgress())
    generator.generate(*request_and_scene(0.9, seed=77, purpose="reroll"), RecordingProgress())
    assert len({seed for _, _, seed in counted}) == 2


def test_invented_references_do_not_shape_the_place_beside_a_photo(counted):
    request, scene = request_and_scene(0.9)
    dream = replace(photo(), is_observed=False, keyframe_id=0)
    OutpaintGenerator().generate(replace(request, references=(dream, *request.references)), scene, RecordingProgress())
    assert counted[0][0] == (1,)


def test_without_references_the_rendered_view_stands_in(counted):
    request, scene = request_and_scene(0.45)
    OutpaintGenerator().generate(replace(request, references=()), scene, RecordingProgress())
    assert counted[0][0] == (0,)


def test_what_one_view_adds_is_known_to_the_next(counted):
    clip = OutpaintGenerator().generate(*request_and_scene(0.6, 0.6), RecordingProgress())
    assert clip.new_surface is not None
    assert clip.new_surface[0].mean() > 0.3
    assert clip.new_surface[1].mean() < 0.02
    difference = np.abs(clip.frames[0].astype(int) - clip.frames[1]).mean()
    assert difference < 3.0


def test_what_memory_shows_stays(counted):
    request, scene = request_and_scene(0.6)
    clip = OutpaintGenerator().generate(request, scene, RecordingProgress())
    known = scene.coverage[0] >= 0.5
    np.testing.assert_array_equal(clip.frames[0][known], scene.color[0][known])
    np.testing.assert_array_equal(clip.depth_m[0][known], scene.depth_m[0][known])
    np.testing.assert_array_equal(clip.new_surface[0], ~known)


def test_a_view_that_lacks_nothing_adds_nothing(counted):
    clip = OutpaintGenerator().generate(*request_and_scene(0.0), RecordingProgress())
    assert clip.new_surface is not None
    assert clip.new_surface.mean() < 0.05
    assert counted == []


def test_no_place_at_all_still_gives_depth_everywhere(monkeypatch):
    monkeypatch.setattr(module, "model_place", lambda *_, **__: None)
    monkeypatch.setattr(module, "model_outdoor", lambda *_, **__: None)
    monkeypatch.setattr(module, "is_stage_set", lambda *_: False)
    clip = OutpaintGenerator().generate(*request_and_scene(0.6), RecordingProgress())
    assert clip.depth_m is not None
    assert (clip.depth_m > 0).all()
