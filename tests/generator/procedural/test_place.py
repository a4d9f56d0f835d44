"""A place's pictures are the same whatever was seen before, its depth is exact, and its light has no seams."""

import numpy as np
import pytest
from spatia.generator.procedural import scene as s
from spatia.generator.procedural.classes import CLASS_INDEX
from spatia.generator.procedural.movers import MOVING_CLASSES, build_mover
from spatia.generator.procedural.place import EYE_HEIGHT_M, Place, PlaceSpec
from spatia.generator.procedural.plan import CellPlan
from spatia.generator.procedural.route import WALKER_RADIUS_M, Route
from spatia.world.camera import Pinhole, unproject
from spatia.world.transforms import Transform, look

PINHOLE = Pinhole.from_fov(96, 72, 1.3)


def cell_middle(place: Place, i: int, j: int) -> tuple[float, float]:
    cell = place.plan.cell(i, j)
    return cell.x + cell.width / 2, cell.y + cell.depth / 2


def middle(place: Place, i: int, j: int, yaw: float, pitch: float = -0.1) -> Transform:
    x, y = cell_middle(place, i, j)
    return look((x, -EYE_HEIGHT_M, y), yaw, pitch)


def same(a, b) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in ("color", "depth_m", "surface_class", "moving")
    )


def test_a_place_is_the_same_whatever_was_visited_before() -> None:
    asked = [middle(Place(PlaceSpec("rooms", 11)), 0, 0, 0.7)]
    fresh, walked = Place(PlaceSpec("rooms", 11)), Place(PlaceSpec("rooms", 11))
    for i, j in ((3, 3), (-2, 1), (1, 0), (0, 2)):
        walked.render(middle(walked, i, j, 0.3 * i), PINHOLE)
    for pose in asked:
        assert same(fresh.render(pose, PINHOLE, 2.0), walked.render(pose, PINHOLE, 2.0))


def test_a_place_is_the_same_after_its_cells_were_dropped_and_made_anew() -> None:
    place = Place(PlaceSpec("rooms", 11, "evening"))
    pose = middle(place, 0, 0, 0.7)
    before = place.render(pose, PINHOLE, 1.0)
    for k in range(1, 5):
        place.render(middle(place, 40 * k, 0, 0.2), PINHOLE)
    assert (0, 0) not in place._store.slots
    assert same(before, place.render(pose, PINHOLE, 1.0))


def test_threads_change_nothing(place: Place) -> None:
    pose = middle(place, 1, 3, 1.0)
    assert same(place.render(pose, PINHOLE, 3.0, threads=1), place.render(pose, PINHOLE, 3.0, threads=3))


def test_depth_of_the_floor_is_the_height_over_the_rays_slope(place: Place) -> None:
    pose = middle(place, 0, 1, 0.0, -0.9)
    view = place.render(pose, PINHOLE)
    rays = PINHOLE.rays().reshape(-1, 3).astype(np.float64) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        expected = (EYE_HEIGHT_M / rays[:, 1]).reshape(view.depth_m.shape)
    floor = view.surface_class == CLASS_INDEX["floor"]
    assert floor.mean() > 0.1
    assert np.abs(view.depth_m - expected)[floor].max() < 1e-4


def test_depth_of_a_wall_is_its_distance(place: Place) -> None:
    cell = place.plan.cell(0, 2)
    pose = look((cell.x + cell.width / 2, -2.45, cell.y + cell.depth / 2), 0.0, 0.0)
    view = place.render(pose, PINHOLE)
    above_the_lintel = view.depth_m[35:37, 36:60]
    assert (view.surface_class[35:37, 36:60] == CLASS_INDEX["wall"]).all()
    assert np.allclose(above_the_lintel, cell.depth / 2 - 0.1, atol=1e-4)


def test_far_from_the_origin_depth_is_as_exact() -> None:
    place = Place(PlaceSpec("rooms", 3))
    i, j = 200_000, 80_001
    view = place.render(middle(place, i, j, 0.0, -0.9), PINHOLE)
    points = unproject(view.depth_m, PINHOLE, middle(place, i, j, 0.0, -0.9))
    floor = view.surface_class[view.depth_m > 0] == CLASS_INDEX["floor"]
    assert floor.any()
    assert np.abs(points[floor][:, 1]).max() < 1e-3


def test_the_same_surface_is_found_from_two_poses(place: Place) -> None:
    one, other = middle(place, 2, 0, 0.4), middle(place, 2, 0, 0.6)
    a, b = place.render(one, PINHOLE), place.render(other, PINHOLE)
    points = unproject(a.depth_m, PINHOLE, one)
    pixels, z = PINHOLE.project(points, other)
    inside = (z > 0) & (pixels > 1).all(1) & (pixels < (95, 71)).all(1)
    seen = b.depth_m[pixels[inside, 1].astype(int), pixels[inside, 0].astype(int)]
    assert inside.sum() > 1000
    assert np.mean(np.abs(seen - z[inside]) < 0.02 * z[inside] + 0.02) > 0.8


def test_only_movers_are_marked_as_moving(place: Place) -> None:
    found = 0
    for i in range(8):
        for j in (1, 3):
            view = place.render(middle(place, i, j, 1.57), PINHOLE, 4.0)
            is_mover = np.isin(view.surface_class, list(MOVING_CLASSES))
            assert (view.moving == is_mover).all()
            found += int(is_mover.sum())
    assert found > 50


def test_what_does_not_move_looks_alike_at_any_time(place: Place) -> None:
    pose = middle(place, 1, 3, 1.57)
    a, b = place.render(pose, PINHOLE, 0.0), place.render(pose, PINHOLE, 2.0)
    still = ~a.moving & ~b.moving
    assert (a.depth_m[still] == b.depth_m[still]).all()


def routes_of(place: Place) -> list[tuple[CellPlan, Route]]:
    """Ways of some cells of every kind, with their cells."""
    found = []
    for i in range(6):
        for j in range(4):
            route = place._store.routes[place._store.slot_at(*cell_middle(place, i, j))]
            if route is not None:
                found.append((place.plan.cell(i, j), route))
    return found


def test_movers_stay_clear_of_walls_and_things(place: Place) -> None:
    routes = routes_of(place)
    for plan, route in routes:
        for t in np.linspace(0.0, route.length_m / 0.3, 60):
            at = route.at(float(t))
            assert not place.is_blocked((plan.x + at.x, 0.0, plan.y + at.y), route.radius_m - 0.05)
            body = build_mover(plan, route, float(t)).floats
            assert (body[:, s.PX] > 0.0).all()
            assert (body[:, s.PX] < plan.width).all()
    assert len(routes) >= 5


def test_movers_never_walk_through_the_walker_nor_into_walls(place: Place) -> None:
    moved = 0
    for plan, route in routes_of(place):
        stood = route.at(0.2 * route.length_m / route.speed_m_s)
        for t in np.linspace(0.0, route.length_m / 0.3, 60):
            at = route.at(float(t), (stood.x, stood.y))
            assert np.hypot(at.x - stood.x, at.y - stood.y) >= route.radius_m + WALKER_RADIUS_M - 1e-6
            assert not place.is_blocked((plan.x + at.x, 0.0, plan.y + at.y), route.radius_m - 0.08)
            moved += at != route.at(float(t))
    assert moved >= 5


def test_the_same_moment_shows_the_same_movers_whatever_came_before(place: Place) -> None:
    pose = middle(place, 1, 3, 0.5)
    first = place.render(pose, PINHOLE, 3.0)
    place.render(middle(place, 0, 0, 0.5), PINHOLE, 9.0)
    assert (place.render(pose, PINHOLE, 3.0).color == first.color).all()


def test_walls_and_furniture_block_and_the_middle_of_a_door_does_not(place: Place) -> None:
    cell = place.plan.cell(0, 0)
    assert place.is_blocked((cell.x + 0.02, 0.0, cell.y + 0.02))
    assert place.walkable_height((cell.x + 0.02, 0.0, cell.y + 0.02)) is None
    door = next(o for i in range(8) for o in place.plan.cell(i, 1).on(s.NORTH))
    owner = next(place.plan.cell(i, 1) for i in range(8) if place.plan.cell(i, 1).on(s.NORTH))
    at = (owner.x + (door.low + door.high) / 2, 0.0, owner.y + owner.depth)
    assert place.walkable_height(at, 0.2) == 0.0


@pytest.mark.parametrize("light", ["day", "evening"])
def test_no_seam_shows_where_two_yards_meet(light: str) -> None:
    place = Place(PlaceSpec("yard", 3, light))
    worst = []
    for i in range(12):
        cell = place.plan.cell(i, 3)
        if cell.kind != s.YARD or not cell.is_open(s.EAST):
            continue
        border = cell.x + cell.width
        pose = look((border, -1.8, cell.y + cell.depth / 2 - 1.4), 0.0, -1.5)
        pinhole = Pinhole.from_fov(240, 60, 0.6)
        view = place.render(pose, pinhole)
        column = np.where((view.surface_class == CLASS_INDEX["ground"])[..., None], view.color, np.nan)
        means = np.nanmean(column[:, 80:160].reshape(60, 80, 3).mean(2), axis=0)
        step = abs(np.nanmean(means[36:40]) - np.nanmean(means[40:44]))
        usual = np.nanmedian(np.abs(np.diff(means.reshape(20, 4).mean(1))))
        worst.append(step - 3 * usual)
    assert worst
    assert np.nanmedian(worst) < 2.0


def test_every_picture_has_corners_to_track(place: Place) -> None:
    import cv2

    detector = cv2.FastFeatureDetector_create()
    pinhole = Pinhole.from_fov(640, 480, 1.3)
    for i, j, yaw in ((0, 0, 0.0), (1, 1, 1.5), (2, 2, 3.0), (1, 3, 0.5)):
        color = place.render(middle(place, i, j, yaw), pinhole).color
        assert len(detector.detect(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY))) >= 300


def test_edges_are_closer_to_many_rays_than_one_ray_is(place: Place) -> None:
    pinhole, fine = Pinhole.from_fov(160, 120, 1.3), Pinhole.from_fov(640, 480, 1.3)
    total = 0.0
    for k in range(4):
        pose = middle(place, k, 0, 1.1 * k)
        many = place.render(pose, fine).color.reshape(120, 4, 160, 4, 3).mean((1, 3))
        total += float(np.abs(many - place.render(pose, pinhole).color).mean())
    assert total / 4 <= 3.0


def test_cells_made_ahead_look_as_those_made_when_seen() -> None:
    ahead, now = Place(PlaceSpec("rooms", 4)), Place(PlaceSpec("rooms", 4))
    pose = middle(ahead, 0, 3, 0.3)
    while not ahead.make_ahead(pose, 5.0):
        pass
    assert same(ahead.render(pose, PINHOLE), now.render(pose, PINHOLE))


@pytest.mark.parametrize("kind", ["rooms", "yard"])
def test_a_walk_starts_where_one_can_stand_and_see_far(kind: str) -> None:
    place = Place(PlaceSpec(kind, 3))
    pose = place.start_pose()
    view = place.render(pose, PINHOLE)
    assert not place.is_blocked(tuple(pose[:3, 3]), 0.3)
    assert np.median(view.depth_m[view.depth_m > 0]) > 1.5


@pytest.mark.parametrize(
    "text", ["", "cellar:1:day", "rooms:x:day", "rooms:1:noon", "rooms:1:day:more", "rooms:-1:day"]
)
def test_a_wrong_name_of_a_place_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="place"):
        PlaceSpec.parse(text)


def test_a_places_name_says_all_of_it() -> None:
    spec = PlaceSpec("yard", 12, "evening")
    assert PlaceSpec.parse(str(spec)) == spec
    assert PlaceSpec.parse("rooms") == PlaceSpec()
