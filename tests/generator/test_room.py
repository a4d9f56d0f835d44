"""The closed room: watertight, behind what the photo saw, the same for a seed, and declined where it should be."""

from types import MappingProxyType

import numpy as np
import pytest
from spatia.generator.outpaint import room as room_module
from spatia.generator.outpaint.flats import floor_surface
from spatia.generator.outpaint.known import behind_filled, gather_known, solid_depth
from spatia.generator.outpaint.place import PlaceModel, model_place, render_place
from spatia.generator.outpaint.relief import (
    RELIEF_WEIGHT,
    WallFrame,
    WallMap,
    draw_wall,
    nearest_filled,
    supported,
    wall_surface,
    without_spikes,
)
from spatia.generator.outpaint.walls import ended_columns, vertical_pitch
from spatia.generator.requests import GenerationCancelledError, ReferenceFrame
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look

EYE_M, WALL_M = 1.5, 4.0
UP = (0.0, -1.0, 0.0)
FLOOR = (0.0, -1.0, 0.0, EYE_M)
EMPTY = MemorySnapshot(0.01, 0, MappingProxyType({}))
PHOTO = Pinhole.from_fov(320, 240, np.radians(60))


class _Silent:
    """Progress that only counts."""

    def __init__(self, stop_after=10**9):
        self.seen, self._stop = [], stop_after

    def check(self, phase, fraction):
        self.seen.append((phase, fraction))
        if len(self.seen) > self._stop:
            raise GenerationCancelledError


def _photo(wall_m=WALL_M, crate=True):
    """A wall of upright boards over a speckled floor, with a crate in between, as one level photo with depth."""
    rays = PHOTO.rays()
    with np.errstate(divide="ignore"):
        to_floor = np.where(rays[..., 1] > 0, EYE_M / rays[..., 1], np.inf)
    depth = np.minimum(to_floor, wall_m)
    x, y = rays[..., 0] * depth, rays[..., 1] * depth
    noise = np.random.default_rng(0).integers(0, 40, depth.shape)
    boards = 120 + 60 * (np.floor(x / 0.15) % 2)
    color = np.where(depth == wall_m, boards, 90)[..., None] + noise[..., None] - 20
    if crate:
        front = (np.abs(rays[..., 0] * 2.5) < 0.25) & (rays[..., 1] * 2.5 > 1.0) & (rays[..., 1] * 2.5 < EYE_M)
        depth = np.where(front, 2.5, depth)
        color = np.where(front[..., None], 220, color)
    assert np.isfinite(y).all()
    return ReferenceFrame(
        np.clip(np.repeat(color, 3, 2), 0, 255).astype(np.uint8), depth.astype(np.float32), PHOTO, np.eye(4), True, 1
    )


def _model(photo, memory=EMPTY, seed=1, floor=FLOOR, progress=None):
    return model_place([photo], memory, up_world=UP, floor=floor, seed=seed, progress=progress or _Silent())


@pytest.fixture(scope="module", autouse=True)
def coarse_rooms():
    """Texels of about 2 cm: a room is made in about a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room_module, "MAX_WALL_TEXELS", 1.5e5)
        patch.setattr(room_module, "MAX_FLAT_TEXELS", 0.8e5)
        yield


@pytest.fixture(scope="module")
def photo():
    return _photo()


@pytest.fixture(scope="module")
def room(photo, coarse_rooms):
    return _model(photo)


def test_every_direction_from_the_photo_is_closed(room):
    view = Pinhole.from_fov(120, 90, np.radians(75))
    for yaw in range(0, 360, 45):
        for pitch in (-50, 0, 40):
            depth = render_place(room, view, look((0, 0, 0), np.radians(yaw), np.radians(pitch)), 1)[1]
            assert (depth == 0).mean() <= 0.01, (yaw, pitch)


def test_a_walk_stays_closed(room):
    view = Pinhole.from_fov(120, 90, np.radians(60))
    for x, z in ((0, 1.5), (0, -1.5), (1, 0), (-1, 0)):
        for yaw in range(0, 360, 60):
            depth = render_place(room, view, look((x, 0, z), np.radians(yaw), np.radians(-8)), 1)[1]
            assert (depth == 0).mean() <= 0.01, (x, z, yaw)


def test_nothing_is_invented_in_front_of_what_the_photo_saw(room, photo):
    pixels, z = PHOTO.project(room.positions_world, np.eye(4))
    u, v = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
    inside = (z > 0.1) & (u >= 0) & (v >= 0) & (u < PHOTO.width) & (v < PHOTO.height)
    seen = photo.depth_m[v[inside].astype(int), u[inside].astype(int)]
    assert inside.sum() > 1000
    assert (z[inside] > 1.005 * seen).all()


def test_the_invented_wall_has_the_texture_of_the_known(room, photo):
    back = render_place(room, PHOTO, look((0, 0, 0), np.pi, 0.0), 2)[0]
    local = [np.abs(np.diff(image[:100, :, 0].astype(float), axis=1)).mean() for image in (back, photo.color)]
    assert 0.3 < local[0] / local[1] < 2.0


def test_the_inside_holds_the_camera_and_ends_at_the_floor(room):
    assert (room.inside_low < [-0.8, -EYE_M, -0.8]).all()
    assert (room.inside_high[[0, 2]] > 0.8).all()
    assert room.inside_high[1] == 0


def test_the_same_seed_gives_the_same_room(room, photo):
    again = _model(photo)
    np.testing.assert_array_equal(again.positions_world, room.positions_world)
    np.testing.assert_array_equal(again.colors, room.colors)


def test_another_seed_gives_another_room(room, photo):
    other = _model(photo, seed=2)
    assert len(other) != len(room) or (other.colors != room.colors).any()


def test_progress_rises_and_can_cancel(photo):
    progress = _Silent(stop_after=4)
    with pytest.raises(GenerationCancelledError):
        _model(photo, progress=progress)
    fractions = [f for _, f in progress.seen]
    assert fractions == sorted(fractions)


def test_a_far_backdrop_is_declined():
    assert _model(_photo(wall_m=15.0)) is None


def test_a_photo_without_depth_is_declined(photo):
    assert _model(ReferenceFrame(photo.color, None, PHOTO, np.eye(4), True, 1)) is None


def test_no_references_are_declined():
    assert model_place([], EMPTY, up_world=UP, floor=FLOOR, seed=1, progress=_Silent()) is None


def test_invented_points_in_memory_are_passed_over(photo):
    memory = SpatialMemory()
    point = np.array([[0.5, 0.0, 2.0]], np.float32)
    memory.insert(
        PointBatch.uniform(point, np.zeros((1, 3), np.uint8), priority=priority_of(PointClass.INVENTED), keyframe=2)
    )
    alone, beside = gather_known([photo], EMPTY), gather_known([photo, photo], memory.snapshot())
    assert len(beside.positions_world) == 2 * len(alone.positions_world)


def test_flying_pixels_are_dropped():
    depth = np.full((20, 20), 2.0, np.float32)
    depth[:, 10:] = 4.0
    depth[10, 10] = 3.0
    solid = solid_depth(depth)
    assert solid[10, 10] == 0
    assert (solid > 0).sum() > 300


def test_small_gaps_take_the_farther_side():
    depth = np.full((20, 20), 2.0, np.float32)
    depth[:, 12:] = 5.0
    depth[:, 10:12] = 0.0
    assert (behind_filled(depth)[:, 10:12] == 5.0).all()


def test_nearest_filled_prefers_columns_where_upright():
    picture, known = np.zeros((9, 9, 1), np.float32), np.zeros((9, 9), bool)
    picture[0, 4], known[0, 4] = 7.0, True
    picture[4, 1], known[4, 1] = 3.0, True
    assert nearest_filled(picture, known, upright=0.3)[4, 4, 0] == 7.0
    assert nearest_filled(picture, known)[4, 4, 0] == 3.0


def _wall(relief, texel=0.02):
    h, w = relief.shape
    picture = np.full((h, w, 4), 100, np.float32)
    picture[..., 3] = relief * RELIEF_WEIGHT
    frame = WallFrame((0.0, 3.0), (1.0, 0.0), (0.0, -1.0), w * texel, h * texel, 0.62)
    return WallMap(frame, texel, picture, np.ones((h, w), bool))


def test_steps_of_relief_are_closed_by_skirts():
    relief = np.zeros((40, 40), np.float32)
    relief[10:30, 10:30] = 0.4
    surface = wall_surface(_wall(relief))
    side = np.abs(surface.points_room[:, 0] - 10 * 0.02) < 0.011
    depths = np.sort(3.0 - surface.points_room[side & (np.abs(surface.points_room[:, 1] + 0.4) < 0.011), 2])
    assert depths[0] < 0.03
    assert depths[-1] > 0.37
    assert np.diff(depths).max() < 0.03


def test_a_wall_is_drawn_with_its_foremost_surface():
    frame = WallFrame((0.0, 3.0), (1.0, 0.0), (0.0, -1.0), 1.0, 1.0, 0.62)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(0.01, 1, 0.02), np.arange(0.03, 1, 0.02)))
    behind = np.stack([x, -y, np.full_like(x, 3.0)], 1)
    front = np.stack([x, -y, np.full_like(x, 2.6)], 1)[np.abs(x - 0.5) < 0.2]
    points = np.concatenate([behind, front]).astype(np.float32)
    wall = draw_wall(frame, 0.02, points, np.zeros((len(points), 3), np.uint8), np.full(len(points), 0.02, np.float32))
    assert wall.relief_m[25, 25] == pytest.approx(0.4, abs=0.02)
    assert wall.relief_m[25, 5] == pytest.approx(0.0, abs=0.02)


def test_a_post_alone_falls_back_on_the_wall_and_a_crate_stays():
    relief = np.zeros((60, 60), np.float32)
    relief[20:30, 5:7] = 0.5
    relief[30:60, 30:50] = 0.5
    out = without_spikes(relief, 0.02)
    assert out[25, 5] < 0.1
    assert out[45, 40] == 0.5


def test_nothing_hangs_in_front_of_a_bare_wall():
    relief = np.zeros((60, 60), np.float32)
    relief[10:20, 5:25] = 0.5
    relief[10:60, 40:60] = 0.5
    out = supported(relief, 30, 3)
    assert out[15, 10] < 0.2
    assert out[15, 50] == 0.5


def test_columns_whose_furniture_ends_below_the_known_top_are_told():
    relief = np.zeros((100, 80), np.float32)
    relief[40:, :40] = 0.5
    relief[:, 40:] = 0.5
    ended = ended_columns(_wall(relief, texel=0.01), 100)
    assert ended[5:30].all()
    assert not ended[50:].any()


def test_the_pitch_is_that_of_the_shelves():
    rows = (np.arange(100) % 43 < 5) * 200.0
    band = np.repeat(np.repeat(rows[:, None, None], 60, 1), 4, 2).astype(np.float32)
    assert vertical_pitch(band, 12) == 43


def test_known_floor_keeps_its_colours():
    x, z = (g.ravel() for g in np.meshgrid(np.arange(-0.5, 0.5, 0.01), np.arange(1, 2, 0.01)))
    points = np.stack([x, np.zeros_like(x), z], 1).astype(np.float32)
    colors = np.full((len(points), 3), 77, np.uint8)
    low, high = np.array([-1.0, -2.5, 0.0]), np.array([1.0, 0.0, 3.0])
    footprint = np.full(len(points), 0.005, np.float32)
    nothing = np.zeros((0, 3), np.float32)
    surface = floor_surface(points, nothing, colors, footprint, low, high, 0.02, np.random.default_rng(0))
    inside = (np.abs(surface.points_room[:, 0]) < 0.4) & (np.abs(surface.points_room[:, 2] - 1.5) < 0.4)
    np.testing.assert_allclose(surface.colors[inside], 77, atol=0.5)
    assert len(surface.points_room) == 100 * 150


def _one_point(color=(10, 20, 30), z=2.0):
    return PlaceModel(
        "room",
        np.array([[0, 0, z]], np.float32),
        np.array([color], np.uint8),
        np.array([0.2], np.float32),
        np.eye(4),
        np.zeros(3),
        np.ones(3),
    )


def test_a_point_is_drawn_where_the_camera_sees_it():
    view = Pinhole(20, 10, 20.0, 20.0, 10.0, 5.0)
    color, depth = render_place(_one_point(), view, np.eye(4))
    assert tuple(color[5, 10]) == (10, 20, 30)
    assert depth[5, 10] == 2.0
    assert depth[0, 0] == 0


def test_a_model_refuses_arrays_of_the_wrong_kind():
    with pytest.raises(ValueError, match="colors: expected"):
        PlaceModel(
            "room",
            np.zeros((2, 3), np.float32),
            np.zeros((1, 3), np.uint8),
            np.zeros(2, np.float32),
            np.eye(4),
            np.zeros(3),
            np.ones(3),
        )


def test_points_of_the_photo_are_lifted_with_their_footprint(photo):
    known = gather_known([photo], EMPTY)
    assert len(known.positions_world) <= len(unproject(photo.depth_m, PHOTO, np.eye(4)))
    assert known.spacing_m.max() == pytest.approx(1.15 * WALL_M / PHOTO.fx, rel=0.01)
