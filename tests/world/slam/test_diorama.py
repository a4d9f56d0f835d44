"""A lone photo as a stage set."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data
from spatia.world.camera import Pinhole, unproject
from spatia.world.ground import fit_floor
from spatia.world.slam.diorama import EYE_HEIGHT_M, estimate_diorama
from spatia.world.slam.layout import find_down
from spatia.world.slam.regions import find_ground_edge, find_sky

CASES = Path(__file__).parents[3] / ".." / "shared" / "data" / "cases"
WIDE = Pinhole.from_fov(320, 200, np.radians(60.0))


def _meadow() -> np.ndarray:
    """Green ground up to row 120, a brown wall above it, blue sky above row 50; some noise."""
    picture = np.zeros((200, 320, 3), np.int16)
    picture[:50] = (90, 140, 220)
    picture[50:120] = (120, 80, 50)
    picture[120:] = (60, 150, 60)
    noise = np.random.default_rng(0).integers(-3, 4, picture.shape)
    return (picture + noise).astype(np.uint8)


def _case(name: str) -> tuple[np.ndarray, Pinhole]:
    if not CASES.exists():
        pytest.skip(f"needs the photos at {CASES}")
    photo = cv2.cvtColor(cv2.imread(str(CASES / name / "img.jpg")), cv2.COLOR_BGR2RGB)
    text = (CASES / name / "intrinsics.txt").read_text()
    values = [float(v) for v in text.replace("[", " ").replace("]", " ").replace(",", " ").split()]
    return photo, Pinhole.from_normalized(photo.shape[1], photo.shape[0], values)


def test_every_pixel_gets_a_finite_depth():
    for photo in (_meadow(), np.zeros((200, 320, 3), np.uint8), np.full((200, 320, 3), 255, np.uint8)):
        depth = estimate_diorama(photo, WIDE).depth_m
        assert depth.dtype == np.float32
        assert np.isfinite(depth).all()
        assert depth.min() > 0.2


def test_same_photo_and_seed_give_the_same_depth():
    first, second = estimate_diorama(_meadow(), WIDE, seed=4), estimate_diorama(_meadow(), WIDE, seed=4)
    np.testing.assert_array_equal(first.depth_m, second.depth_m)
    assert first.floor == second.floor


def test_ground_edge_is_found_where_the_colour_changes():
    edge = find_ground_edge(_meadow(), np.full(320, 20.0))
    np.testing.assert_allclose(edge, 120, atol=2)


def test_edge_stays_below_the_highest_row():
    assert find_ground_edge(_meadow(), np.full(320, 150.0)).min() >= 150


def test_what_stands_on_the_ground_does_not_cut_it_off():
    picture = _meadow()
    picture[140:170, 140:170] = (200, 30, 30)
    np.testing.assert_allclose(find_ground_edge(picture, np.full(320, 20.0)), 120, atol=3)


def test_blue_sky_is_found_and_a_white_ceiling_is_not():
    sky = find_sky(_meadow(), np.full(320, 120.0))
    assert sky[:45].all()
    assert not sky[55:].any()
    ceiling = _meadow()
    ceiling[:50] = (240, 238, 235)
    assert not find_sky(ceiling, np.full(320, 120.0)).any()


def test_bluish_wall_that_goes_on_below_the_horizon_is_no_sky():
    wall = _meadow()
    wall[50:190, 100:250] = wall[:1, 100:250]
    assert not find_sky(wall, np.full(320, 100.0)).any()


def test_sky_stands_behind_everything():
    guess = estimate_diorama(_meadow(), WIDE)
    assert guess.sky[:40].all()
    assert guess.depth_m[guess.sky].min() > guess.depth_m[~guess.sky].max()


def test_ground_lies_1_50_m_below_the_camera():
    guess = estimate_diorama(_meadow(), WIDE)
    points = unproject(np.where(guess.ground, guess.depth_m, 0).astype(np.float32), WIDE, np.eye(4))
    np.testing.assert_allclose(guess.floor.plane.height_m(points), 0.0, atol=1e-3)
    assert guess.floor.eye_height_m == EYE_HEIGHT_M


def test_backdrop_stands_on_the_ground_without_a_gap():
    guess = estimate_diorama(_meadow(), WIDE)
    rows = np.arange(200)[:, None]
    top = np.where(guess.ground, rows, 999).min(axis=0)
    columns = np.arange(320)
    assert (np.abs(guess.depth_m[top - 1, columns] / guess.depth_m[top, columns] - 1) < 0.1).all()


def test_floor_of_the_stage_is_found_among_its_points():
    guess = estimate_diorama(_meadow(), WIDE)
    floor = fit_floor(unproject(guess.depth_m, WIDE, np.eye(4)))
    assert floor is not None
    assert floor.eye_height_m == pytest.approx(EYE_HEIGHT_M, abs=0.05)


def test_garage_photo_alone_tells_its_pitch_of_15_degrees():
    photo, _, _ = data.stereo_motorcycle()
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    found = find_down(gray, Pinhole(741, 500, 994.978, 994.978, 311.693, 255.377))
    assert found is not None
    assert np.degrees(np.arctan2(found.down[2], found.down[1])) == pytest.approx(15.0, abs=2.0)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut"])
def test_photos_without_a_room_give_no_level(name: str):
    photo = getattr(data, name)()
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    assert find_down(gray, Pinhole.from_fov(photo.shape[1], photo.shape[0], np.radians(60.0))) is None


def test_blank_photo_gives_no_level():
    assert find_down(np.full((200, 320), 90, np.uint8), WIDE) is None


def test_room_photo_gets_a_wall_behind_its_floor():
    photo, pinhole = _case("1")
    guess = estimate_diorama(photo, pinhole)
    assert guess.is_level_known
    assert not guess.sky.any()
    assert guess.horizon_row / pinhole.height == pytest.approx(0.45, abs=0.05)
    assert 0.2 < guess.ground.mean() < 0.5
    assert guess.depth_m[100, 624] > 1.5 * guess.depth_m[690, 624]


def test_quadrangle_photo_gets_sky_buildings_and_lawn():
    photo, pinhole = _case("2")
    guess = estimate_diorama(photo, pinhole)
    assert guess.sky[20, 800]
    assert not guess.sky[300, 600]
    assert guess.ground[650, 600]
    assert 0.03 < guess.sky.mean() < 0.35


def test_meadow_photo_without_sky_is_ground_up_to_the_trees():
    photo, pinhole = _case("3")
    guess = estimate_diorama(photo, pinhole)
    assert guess.ground[500, 200]
    assert not guess.ground[40, 600]
    assert guess.depth_m.max() < 40


def test_photo_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r"photo: expected \(200, 320, 3\) uint8"):
        estimate_diorama(np.zeros((100, 320, 3), np.uint8), WIDE)
    with pytest.raises(ValueError, match="uint8"):
        estimate_diorama(np.zeros((200, 320, 3), np.float32), WIDE)
