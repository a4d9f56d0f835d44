"""A place without walls: closed all round, behind what the photo saw, the same for a seed."""

from types import MappingProxyType

import numpy as np
import pytest
from spatia.generator.outpaint.outdoor import model_outdoor
from spatia.generator.outpaint.panorama import is_stage_set, make_stage, unroll
from spatia.generator.outpaint.place import PlaceModel, render_place
from spatia.generator.requests import GenerationCancelledError, ReferenceFrame
from spatia.tests.fakes import RecordingProgress
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import MemorySnapshot
from spatia.world.transforms import look

EYE_M, WALL_M, SKY_M = 1.5, 8.0, 20.0
UP = (0.0, -1.0, 0.0)
FLOOR = (0.0, -1.0, 0.0, EYE_M)
EMPTY = MemorySnapshot(0.01, 0, MappingProxyType({}))
PHOTO = Pinhole.from_fov(160, 120, np.radians(60))
VIEW = Pinhole.from_fov(64, 48, np.radians(70))
GREEN, BROWN, BLUE, RED = (60, 140, 50), (130, 90, 60), (120, 170, 230), (220, 20, 20)


def meadow(top_m: float = 2.0, *, with_post: bool = False) -> ReferenceFrame:
    """Grass, a wall 8 m away that ends ``top_m`` over the eye, sky above; perhaps a red post 3 m away."""
    rng = np.random.default_rng(0)
    rays = PHOTO.rays()
    down = rays[..., 1]
    ground = EYE_M / np.maximum(down, 1e-6)
    depth = np.where((down > 0) & (ground < WALL_M), ground, WALL_M)
    sky = -down * WALL_M > top_m
    depth[sky] = SKY_M
    color = np.where((depth < WALL_M)[..., None], GREEN, np.where(sky[..., None], BLUE, BROWN)).astype(float)
    color += rng.normal(0, 12, depth.shape)[..., None] * (~sky)[..., None]
    if with_post:
        post = (np.abs(rays[..., 0]) < 0.06) & (down < EYE_M / 3.0) & (down > -0.2)
        depth[post], color[post] = 3.0, RED
    photo = np.clip(color, 0, 255).astype(np.uint8)
    return ReferenceFrame(photo, depth.astype(np.float32), PHOTO, np.eye(4), True, 1)


def model(photo: ReferenceFrame, seed: int = 3) -> PlaceModel:
    place = model_outdoor([photo], EMPTY, up_world=UP, floor=FLOOR, seed=seed, progress=RecordingProgress())
    assert place is not None
    return place


@pytest.fixture(scope="module")
def place() -> PlaceModel:
    return model(meadow())


def with_photo(place: PlaceModel, photo: ReferenceFrame) -> PlaceModel:
    """The model and the photo's own points, as memory would hold both."""
    assert photo.depth_m is not None
    points = unproject(photo.depth_m, photo.pinhole, photo.world_T_camera)
    spacing = (1.2 * photo.depth_m[photo.depth_m > 0] / photo.pinhole.fx).astype(np.float32)
    return PlaceModel(
        place.kind,
        np.concatenate([place.positions_world, points]),
        np.concatenate([place.colors, photo.color[photo.depth_m > 0]]),
        np.concatenate([place.spacing_m, spacing]),
        place.world_T_room.copy(),
        place.inside_low.copy(),
        place.inside_high.copy(),
    )


def test_all_directions_are_closed_at_the_start_and_after_a_step(place):
    whole = with_photo(place, meadow())
    for position in ((0.0, 0.0, 0.0), (0.8, 0.0, 1.0), (-1.0, 0.0, -0.5)):
        for pitch in (-0.9, 0.0, 0.9):
            for yaw in np.arange(12) * np.pi / 6:
                depth = render_place(whole, VIEW, look(position, yaw, pitch))[1]
                assert (depth == 0).mean() < 0.01


def test_nothing_stands_before_what_the_photo_saw(place):
    photo = meadow()
    assert photo.depth_m is not None
    pixels, z = PHOTO.project(place.positions_world, np.eye(4))
    column, row = np.floor(np.where(np.isfinite(pixels), pixels, -1.0)).astype(int).T
    seen = (z > 0.05) & (row >= 0) & (column >= 0) & (row < PHOTO.height) & (column < PHOTO.width)
    assert seen.any()
    assert (z[seen] > photo.depth_m[row[seen], column[seen]]).all()


def test_the_ground_lies_on_the_floor_and_is_grass_behind_the_photographer(place):
    color, depth = render_place(place, VIEW, look((0.0, 0.0, 0.0), np.pi, -0.6))
    rays = VIEW.rays()[40, 32]
    down = rays @ look((0.0, 0.0, 0.0), np.pi, -0.6)[:3, :3].T
    assert depth[40, 32] * down[1] == pytest.approx(EYE_M, rel=0.03)
    assert np.abs(color[30:].reshape(-1, 3).mean(0) - GREEN).max() < 25


def test_the_sky_goes_on_overhead(place):
    color, depth = render_place(place, VIEW, look((0.0, 0.0, 0.0), 1.0, 1.3))
    assert np.abs(color.reshape(-1, 3).mean(0) - BLUE).max() < 20
    assert np.median(depth) > 2.0 * WALL_M


def test_without_sky_something_like_a_ceiling_closes_above():
    closed = model(meadow(top_m=50.0))
    color, depth = render_place(closed, VIEW, look((0.0, 0.0, 0.0), 1.0, 1.3))
    assert (depth > 0).mean() > 0.99
    assert np.median(depth) < WALL_M
    assert np.abs(color.reshape(-1, 3).mean(0) - BROWN).max() < 30


def test_what_goes_round_has_texture(place):
    def spread(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image.astype(float).mean(2), axis=1)).mean())

    ahead = spread(render_place(with_photo(place, meadow()), VIEW, look((0.0, 0.0, 0.0), 0.0, -0.2))[0])
    around = [spread(render_place(place, VIEW, look((0.0, 0.0, 0.0), yaw, -0.2))[0]) for yaw in (1.5, 3.0, 4.5)]
    assert min(around) > 0.6 * ahead


def test_what_stands_in_front_is_not_repeated():
    photo = meadow(with_post=True)
    part = unroll(photo, make_stage(photo, UP, FLOOR), 1)
    assert part is not None
    red = (part.color[..., 0] > 170) & (part.color[..., 1] < 70)
    assert red.mean() < 0.002


def test_the_same_seed_gives_the_same_place(place):
    again = model(meadow())
    assert again.positions_world.tobytes() == place.positions_world.tobytes()
    assert again.colors.tobytes() == place.colors.tobytes()


def test_painted_scenery_is_told_from_measured_depth():
    painted, measured = meadow(), meadow()
    assert measured.depth_m is not None
    rough = 1.0 + 0.03 * np.random.default_rng(1).normal(size=measured.depth_m.shape)
    measured = ReferenceFrame(measured.color, (measured.depth_m * rough).astype(np.float32), PHOTO, np.eye(4), True, 1)
    assert is_stage_set(painted, make_stage(painted, UP, FLOOR))
    assert not is_stage_set(measured, make_stage(measured, UP, FLOOR))


def test_without_a_floor_the_lowest_points_stand_in():
    stage = make_stage(meadow(), UP, None)
    assert stage.eye_m == pytest.approx(EYE_M, rel=0.05)


def turned_meadow(pitch_rad: float) -> ReferenceFrame:
    photo = meadow()
    return ReferenceFrame(photo.color, photo.depth_m, PHOTO, look((0.0, 0.0, 0.0), 0.0, pitch_rad), True, 1)


@pytest.mark.parametrize("pitch", [-1.2, -0.7, 0.5])
def test_a_photo_that_looks_down_or_up_closes_as_well(pitch):
    photo = turned_meadow(pitch)
    place = model_outdoor([photo], EMPTY, up_world=UP, floor=None, seed=1, progress=RecordingProgress())
    assert place is not None
    for yaw in (0.0, 1.5, 3.0, 4.5):
        depth = render_place(with_photo(place, photo), VIEW, look((0.0, 0.0, 0.0), yaw, 0.0))[1]
        assert (depth == 0).mean() < 0.01


def test_a_narrow_photo_straight_up_gives_no_place():
    narrow = Pinhole.from_fov(64, 48, 0.4)
    color, depth = np.full((48, 64, 3), 99, np.uint8), np.full((48, 64), 5.0, np.float32)
    photo = ReferenceFrame(color, depth, narrow, look((0.0, 0.0, 0.0), 0.0, 1.57), True, 1)
    assert model_outdoor([photo], EMPTY, up_world=UP, floor=None, seed=1, progress=RecordingProgress()) is None


def test_without_depth_there_is_no_place():
    photo = meadow()
    blind = ReferenceFrame(photo.color, None, PHOTO, np.eye(4), True, 1)
    assert model_outdoor([blind], EMPTY, up_world=UP, floor=FLOOR, seed=1, progress=RecordingProgress()) is None


def test_cancellation_passes_through():
    progress = RecordingProgress(cancel_at="place: ground")
    with pytest.raises(GenerationCancelledError):
        model_outdoor([meadow()], EMPTY, up_world=UP, floor=FLOOR, seed=1, progress=progress)
