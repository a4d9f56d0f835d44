"""The software renderer: its contract, photos, fog and fading."""

import numpy as np
import pytest
from spatia.renderer.factory import create_renderer
from spatia.renderer.interface import DrawOptions
from spatia.renderer.photos import PhotoShelf, shrink_level
from spatia.renderer.software import SoftwareRenderer
from spatia.tests.contracts.renderer_contract import (
    CAMERA,
    IDENTITY,
    INVENTED,
    OBSERVED,
    RendererContract,
    batch_of,
    memory_of,
    wall,
)
from spatia.world.camera import Pinhole, unproject
from spatia.world.keyframes import Keyframe
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass
from spatia.world.transforms import look

PHOTO = Pinhole(96, 72, 90.0, 90.0, 48.0, 36.0)


class TestSoftwareRendererContract(RendererContract):
    """The software renderer keeps the contract."""

    def make(self):
        return SoftwareRenderer()


@pytest.fixture
def renderer():
    made = SoftwareRenderer()
    yield made
    made.close()


def checkers(pinhole: Pinhole, side: int = 3) -> np.ndarray:
    """(H, W, 3) uint8 pattern too fine for the voxels."""
    v, u = np.mgrid[: pinhole.height, : pinhole.width]
    return np.repeat((((u // side + v // side) % 2) * 200 + 20).astype(np.uint8)[..., None], 3, axis=2)


def photographed(depth_m: np.ndarray, *, keep_depth: bool = True, point_class=PointClass.OBSERVED, **fields):
    """A keyframe at the origin and the memory lifted from it at voxels of 5 cm."""
    color = checkers(PHOTO)
    memory = SpatialMemory(0.05)
    drawn = depth_m > 0
    points = unproject(depth_m, PHOTO, IDENTITY)
    memory.insert(PointBatch.uniform(points, color[drawn].copy(), priority=int(point_class) << 6, keyframe=1))
    depth = depth_m.copy() if keep_depth else None
    keyframe = Keyframe(1, 0, color.copy(), PHOTO, np.eye(4), point_class, depth_m=depth, **fields)
    return memory.snapshot(), keyframe


def flat(depth_m: float = 2.0) -> np.ndarray:
    return np.full((PHOTO.height, PHOTO.width), depth_m, np.float32)


@pytest.mark.parametrize("keep_depth", [True, False])
def test_a_photo_is_given_back_at_its_own_pose(renderer, keep_depth):
    snapshot, keyframe = photographed(flat(), keep_depth=keep_depth)
    renderer.update(snapshot, [keyframe])
    view = renderer.render(IDENTITY, PHOTO)
    np.testing.assert_array_equal(view.color, keyframe.color)


def test_a_photo_is_given_back_across_a_depth_edge(renderer):
    depth = flat(3.0)
    depth[:, 40:] = 1.5
    snapshot, keyframe = photographed(depth)
    renderer.update(snapshot, [keyframe])
    np.testing.assert_array_equal(renderer.render(IDENTITY, PHOTO).color, keyframe.color)


def test_without_keyframes_the_points_colours_are_drawn(renderer):
    snapshot, keyframe = photographed(flat())
    renderer.update(snapshot, [keyframe])
    view = renderer.render(IDENTITY, PHOTO, DrawOptions(use_keyframes=False))
    assert np.abs(view.color.astype(int) - keyframe.color).mean() > 20


def test_detail_finer_than_the_voxels_moves_with_the_surface(renderer):
    snapshot, keyframe = photographed(flat())
    renderer.update(snapshot, [keyframe])
    shifted = np.eye(4)
    shifted[0, 3] = 6 * 2.0 / 90.0  # six pixels at 2 m: a full period of the pattern
    view = renderer.render(shifted, PHOTO)
    inner = np.s_[4:-4, 4:80]
    assert np.abs(view.color[inner].astype(int) - keyframe.color[inner]).mean() < 4


def test_a_photo_is_not_sampled_on_a_surface_that_it_did_not_see(renderer):
    snapshot, keyframe = photographed(flat(2.0))
    memory = SpatialMemory(0.05)
    memory.insert(snapshot.points())
    memory.insert(batch_of(wall(1.0, half_m=0.3), (255, 0, 0)))
    renderer.update(memory.snapshot(), [keyframe])
    pose = look((0.4, 0.0, -0.5), 0.0, 0.0)
    view = renderer.render(pose, PHOTO)
    near = (view.depth_m > 0) & (view.depth_m < 1.7)
    assert near.any()
    red = view.color[near].astype(int)
    assert np.median(red[:, 0]) > 250
    assert np.median(red[:, 1]) < 5


def test_what_moved_in_a_photo_is_not_painted_on_memory(renderer):
    moving = np.zeros((PHOTO.height, PHOTO.width), bool)
    moving[20:40, 30:60] = True
    snapshot, keyframe = photographed(flat(), moving=moving)
    renderer.update(snapshot, [keyframe])
    plain = renderer.render(IDENTITY, PHOTO, DrawOptions(use_keyframes=False)).color
    sampled = renderer.render(IDENTITY, PHOTO).color
    np.testing.assert_array_equal(sampled[moving], plain[moving])
    np.testing.assert_array_equal(sampled[~moving], keyframe.color[~moving])


def test_an_invented_frame_is_not_painted_on_an_observed_surface(renderer):
    snapshot, keyframe = photographed(flat())
    invented = Keyframe(
        2, 1, np.full_like(keyframe.color, 255), PHOTO, np.eye(4), PointClass.INVENTED, depth_m=flat().copy()
    )
    renderer.update(snapshot, [invented, keyframe])
    np.testing.assert_array_equal(renderer.render(IDENTITY, PHOTO).color, keyframe.color)


def test_a_photo_below_the_wanted_priority_is_not_sampled(renderer):
    snapshot, keyframe = photographed(flat(), point_class=PointClass.INVENTED)
    renderer.update(snapshot, [keyframe])
    view = renderer.render(IDENTITY, PHOTO, DrawOptions(min_priority=OBSERVED))
    assert not view.color.any()


def test_at_its_own_pose_a_photo_fills_what_has_no_depth(renderer):
    depth = flat()
    depth[10:50, 20:50] = 0
    snapshot, keyframe = photographed(depth)
    renderer.update(snapshot, [keyframe])
    view = renderer.render(IDENTITY, PHOTO, DrawOptions(fill=True))
    np.testing.assert_array_equal(view.color, keyframe.color)
    assert not view.depth_m[14:46, 24:46].any()


def test_a_photo_without_depth_gives_way_to_fog_when_walking_off(renderer):
    depth = flat()
    depth[10:50, 20:50] = 0
    snapshot, keyframe = photographed(depth)
    renderer.update(snapshot, [keyframe])
    view = renderer.render(look((0.3, 0, 0), 0.0, 0.0), PHOTO, DrawOptions(fill=True))
    hole = view.depth_m == 0
    assert view.color[hole].std() < 20


def test_a_forgotten_keyframe_is_no_longer_sampled(renderer):
    snapshot, keyframe = photographed(flat())
    renderer.update(snapshot, [keyframe])
    renderer.render(IDENTITY, PHOTO)
    renderer.update(snapshot, [])
    assert np.abs(renderer.render(IDENTITY, PHOTO).color.astype(int) - keyframe.color).mean() > 20


def test_a_photo_without_depth_follows_memory_when_surface_comes_in(renderer):
    far, keyframe = photographed(flat(4.0), keep_depth=False)
    near, _ = photographed(flat(2.0))
    renderer.update(far, [keyframe])
    renderer.render(look((0.3, 0, 0), 0.0, 0.0), PHOTO)
    renderer.update(near, [keyframe])
    view = renderer.render(look((0.3, 0, 0), 0.0, 0.0), PHOTO)
    points = renderer.render(look((0.3, 0, 0), 0.0, 0.0), PHOTO, DrawOptions(use_keyframes=False))
    assert np.abs(view.color.astype(int) - points.color).mean() > 20


def live_pictures(renderer, monkeypatch):
    """A live loop whose memory changes before every picture; the depths that it drew itself are counted."""
    depths = []
    draw = renderer.draw_depth
    monkeypatch.setattr(renderer, "draw_depth", lambda keyframe: depths.append(1) or draw(keyframe))
    memory = SpatialMemory(0.05)
    snapshot, keyframe = photographed(flat(), keep_depth=False)
    memory.insert(snapshot.points())
    for k in range(30):
        memory.insert(batch_of([[2.0 + k, 0, 4.0]]))
        renderer.update(memory.snapshot(), [keyframe], budget_s=None if k == 0 else 1.0)
        renderer.render(IDENTITY, PHOTO)
    return memory.snapshot(), keyframe, depths


def test_a_live_loop_draws_photo_depth_only_in_its_first_picture(renderer, monkeypatch):
    _, keyframe, depths = live_pictures(renderer, monkeypatch)
    assert len(depths) == 1
    assert [w.keyframe for w in renderer.wanted_photos] == [keyframe]


def test_photos_made_by_another_renderer_are_taken(renderer, monkeypatch):
    snapshot, _, _ = live_pictures(renderer, monkeypatch)
    maker = SoftwareRenderer()
    maker.update(snapshot)
    made = maker.make_photos(renderer.wanted_photos)
    renderer.take_photos(made)
    assert renderer.wanted_photos == ()
    assert renderer._shelf.photo(made[0].keyframe, PHOTO.fx, 0, make_depth=None, refresh=False) is made[0]


def test_a_photo_made_for_a_keyframe_that_is_gone_is_dropped(renderer, monkeypatch):
    snapshot, _, _ = live_pictures(renderer, monkeypatch)
    maker = SoftwareRenderer()
    maker.update(snapshot)
    made = maker.make_photos(renderer.wanted_photos)
    renderer.update(snapshot, [], budget_s=1.0)
    renderer.take_photos(made)
    assert renderer._shelf.photo(made[0].keyframe, PHOTO.fx, 0, make_depth=None, refresh=False) is None


def test_a_smaller_picture_after_a_larger_one_is_as_if_it_came_first():
    snapshot = memory_of(batch_of(wall(2.0), (200, 60, 60)))
    small, large = Pinhole.from_fov(64, 48, 1.2), Pinhole.from_fov(128, 96, 1.2)
    used, fresh = SoftwareRenderer(), SoftwareRenderer()
    for renderer in (used, fresh):
        renderer.update(snapshot)
    for size in (small, large):
        used.render(IDENTITY, size, DrawOptions(fill=True))
    after, first = (r.render(IDENTITY, small, DrawOptions(fill=True)) for r in (used, fresh))
    np.testing.assert_array_equal(after.color, first.color)
    np.testing.assert_array_equal(after.depth_m, first.depth_m)


def test_fog_takes_the_nearest_colour_but_dimmer(renderer):
    red = batch_of(wall(2.0, half_m=0.4) - np.array([0.5, 0, 0]), (250, 20, 20))
    green = batch_of(wall(2.0, half_m=0.4) + np.array([0.5, 0, 0]), (20, 250, 20))
    renderer.update(memory_of(red, green))
    color = renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True)).color.astype(int)
    left, right = color[18:30, 0].mean(0), color[18:30, 63].mean(0)
    assert left[0] > left[1] + 20
    assert right[1] > right[0] + 20
    assert max(left.max(), right.max()) < 180


def test_the_floor_grid_lies_below_the_horizon(renderer):
    renderer.update(memory_of())
    camera = Pinhole.from_fov(128, 96, 1.2)
    gray = renderer.render(IDENTITY, camera, DrawOptions(fill=True)).color.astype(int).sum(-1)
    assert gray[:46].std() == 0
    assert gray[50:].std() > 0
    assert gray[47:49].min() > gray[:46].max()


def test_new_surface_fades_in_over_its_time(renderer):
    renderer.update(memory_of(batch_of(wall(2.0), (250, 250, 250))), now_s=1.0)
    levels = [
        renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True, fade_tick=tick)).color.mean() for tick in (60, 66, 72)
    ]
    assert levels[0] < levels[1] - 20 < levels[2] - 40
    assert levels[2] == pytest.approx(250, abs=1)


def test_surface_that_was_there_does_not_fade_again(renderer):
    memory = SpatialMemory(0.01)
    memory.insert(batch_of(wall(2.0), (250, 250, 250)))
    renderer.update(memory.snapshot())
    memory.insert(batch_of([[0.0, 0.0, 2.1]], (250, 250, 250)))
    renderer.update(memory.snapshot(), now_s=1.0)
    view = renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True, fade_tick=60))
    assert view.color.min() >= 249


def test_reused_arrays_hold_the_same_picture(renderer):
    snapshot, keyframe = photographed(flat())
    renderer.update(snapshot, [keyframe])
    fresh = renderer.render(IDENTITY, PHOTO)
    reused = renderer.render(IDENTITY, PHOTO, reuse=True)
    np.testing.assert_array_equal(fresh.color, reused.color)
    np.testing.assert_array_equal(fresh.depth_m, reused.depth_m)
    np.testing.assert_array_equal(renderer.rgba >> 24, 255)
    np.testing.assert_array_equal(renderer.rgba & 255, fresh.color[..., 0])


def test_chunks_behind_a_wall_are_passed_over(renderer):
    camera = Pinhole.from_fov(320, 240, 1.0)
    hidden = [batch_of(wall(4.0 + 0.05 * k, half_m=1.5)) for k in range(4)]
    renderer.update(memory_of(batch_of(wall(1.0, half_m=2.0, step_m=0.005)), *hidden, voxel_size_m=0.005))
    view = renderer.render(IDENTITY, camera)
    assert renderer.statistics.chunks_hidden > 0
    assert np.abs(view.depth_m - 1.0).max() < 0.01


def test_hidden_chunks_leave_the_picture_as_it_was(renderer):
    camera = Pinhole.from_fov(320, 240, 1.0)
    front = batch_of(wall(1.0, half_m=2.0, step_m=0.005))
    behind = [batch_of(wall(4.0 + 0.05 * k, half_m=1.5)) for k in range(4)]
    renderer.update(memory_of(front, voxel_size_m=0.005))
    alone = renderer.render(IDENTITY, camera)
    renderer.update(memory_of(front, *behind, voxel_size_m=0.005))
    np.testing.assert_array_equal(renderer.render(IDENTITY, camera).depth_m, alone.depth_m)


def test_near_surface_does_not_fall_apart_into_dots(renderer):
    renderer.update(memory_of(batch_of(wall(0.35))))
    view = renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 1.2))
    assert (view.depth_m > 0).mean() > 0.999


def test_small_gaps_of_a_surface_do_not_show_what_is_behind(renderer):
    near = wall(2.0, half_m=1.5)
    keep = np.random.default_rng(0).random(len(near)) > 0.15
    renderer.update(memory_of(batch_of(near[keep], (0, 255, 0)), batch_of(wall(3.0, half_m=2.5), (255, 0, 0))))
    view = renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 0.9))
    assert (view.depth_m > 2.5).mean() < 0.002


def test_dots_of_a_sparse_surface_do_not_show_what_is_behind(renderer):
    dense = wall(2.0, half_m=1.0)
    rows = np.round(dense[:, 1] / 0.01 - 0.5).astype(int)
    sparse = dense[rows % 3 == 0]  # rows 3 cm apart, dense along each
    renderer.update(memory_of(batch_of(sparse, (0, 255, 0)), batch_of(wall(3.0, half_m=1.6), (255, 0, 0))))
    view = renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 0.9))
    assert (view.depth_m[8:-8, 8:-8] > 2.5).mean() < 0.002


def test_an_opening_wider_than_some_pixels_stays_open(renderer):
    frame = wall(2.0, half_m=1.0)
    opening = (np.abs(frame[:, 0]) < 0.06) & (np.abs(frame[:, 1]) < 0.06)
    renderer.update(memory_of(batch_of(frame[~opening], (0, 255, 0)), batch_of(wall(3.0, half_m=1.6), (255, 0, 0))))
    view = renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 0.7))
    pixels = 0.12 / 2.0 * Pinhole.from_fov(320, 240, 0.7).fx
    assert (view.depth_m > 2.5).sum() > 0.6 * pixels**2


def test_statistics_count_what_was_drawn(renderer):
    snapshot = memory_of(batch_of(wall(2.0, half_m=0.2)))
    renderer.update(snapshot, budget_s=0.0)
    renderer.render(IDENTITY, CAMERA)
    assert renderer.statistics.chunks_pending == len(snapshot.chunks) - 1
    renderer.update(snapshot)
    renderer.render(IDENTITY, Pinhole.from_fov(320, 240, 0.9))
    assert renderer.statistics.points == snapshot.num_points
    assert renderer.statistics.chunks_visible == len(snapshot.chunks)
    assert renderer.statistics.chunks_pending == 0
    assert renderer.statistics.uploaded_bytes > 0


def test_a_pixel_between_splats_takes_the_colour_of_the_nearest_centre(renderer):
    """Two points of one surface, 5 pixels apart in splats of 6, the nearer to the eye by a millimetre on the right."""
    f, z = 600.0, 1.0
    left, right = [[-2.5 / f * z, 0.0, z + 0.001]], [[2.5 / f * z, 0.0, z]]
    camera = Pinhole(64, 48, f, f, 32.0, 24.0)
    renderer.update(memory_of(batch_of(left, (255, 0, 0)), batch_of(right, (0, 255, 0))))
    view = renderer.render(IDENTITY, camera)
    assert view.color[24, 30].tolist() == [255, 0, 0]
    assert view.color[24, 33].tolist() == [0, 255, 0]


def test_depth_survives_the_packing(renderer):
    for depth in (0.3, 1.0, 1.99, 2.01, 7.7, 63.0):
        renderer.update(memory_of(batch_of([[0.0, 0.0, depth]])))
        drawn = renderer.render(IDENTITY, CAMERA).depth_m
        assert drawn.max() == pytest.approx(depth, rel=1e-5, abs=0.0001)


def test_far_chunks_are_drawn_from_fewer_points_without_gaps(renderer):
    snapshot = memory_of(batch_of(wall(8.0, half_m=2.0)))
    renderer.update(snapshot)
    view = renderer.render(IDENTITY, Pinhole.from_fov(96, 72, 0.4))
    assert renderer.statistics.points < 0.4 * snapshot.num_points
    assert (view.depth_m > 0).mean() > 0.995


def test_pages_are_used_again_after_many_changes(renderer):
    for k in range(6):
        renderer.update(memory_of(batch_of(wall(2.0 + 0.001 * k, half_m=0.3))))
    first = renderer._pool._num_pages
    for k in range(6):
        renderer.update(memory_of(batch_of(wall(2.0 + 0.001 * k, half_m=0.3))))
    assert renderer._pool._num_pages == first


def test_more_than_one_thread_is_refused():
    with pytest.raises(ValueError, match="1 thread"):
        SoftwareRenderer(threads=2)


def test_far_keyframes_are_not_chosen():
    shelf = PhotoShelf()
    color = np.zeros((72, 96, 3), np.uint8)
    poses = [look((0, 0, 0), 0, 0), look((0.1, 0, 0), 0, 0), look((0, 0, 0), np.pi, 0), look((0, 0, 9.0), 0, 0)]
    keyframes = [Keyframe(k + 1, 0, color.copy(), PHOTO, p, PointClass.OBSERVED) for k, p in enumerate(poses)]
    shelf.update(keyframes)
    chosen = shelf.choose(wall(2.0, half_m=0.5, step_m=0.1), np.array([0.1, 0, 0]), 90.0)
    assert chosen == [keyframes[1]]


@pytest.mark.parametrize(("ratio", "level"), [(0.5, 0), (1.0, 0), (1.05, 0), (2.0, 4), (4.0, 8)])
def test_photos_are_shrunk_only_when_finer_than_the_view(ratio, level):
    assert shrink_level(ratio) == level


def test_invented_points_take_the_lower_tint_of_their_pixel(renderer):
    renderer.update(memory_of(batch_of(wall(2.0), (100, 100, 100), INVENTED)))
    pixel = renderer.render(IDENTITY, CAMERA, DrawOptions(tint=True)).color[24, 32].astype(int)
    assert np.abs(pixel - (131, 108, 86)).max() <= 1


def test_renderers_are_made_by_name():
    assert isinstance(create_renderer("software"), SoftwareRenderer)


def test_without_hardware_the_software_renderer_is_chosen(monkeypatch):
    monkeypatch.setattr("spatia.renderer.factory._has_hardware_gl", lambda: False)
    assert isinstance(create_renderer(), SoftwareRenderer)


def test_an_unknown_renderer_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="auto, software, gl, got 'vulkan'"):
        create_renderer("vulkan")


def test_the_best_of_many_keyframes_is_found():
    shelf = PhotoShelf()
    rng = np.random.default_rng(0)
    color = np.zeros((72, 96, 3), np.uint8)
    poses = [look(rng.uniform(3, 9, 3), rng.uniform(-3, 3), 0) for _ in range(120)]
    poses[77] = look((0.1, 0, 0), 0, 0)
    keyframes = [Keyframe(k + 1, 0, color.copy(), PHOTO, p, PointClass.OBSERVED) for k, p in enumerate(poses)]
    shelf.update(keyframes)
    assert shelf.choose(wall(2.0, half_m=0.5, step_m=0.1), np.array([0.1, 0, 0]), 90.0)[0] is keyframes[77]


def test_a_coarse_renderer_covers_what_a_fine_one_does_with_fewer_points():
    rng = np.random.default_rng(2)
    points = np.column_stack([rng.uniform(-2, 2, 60_000), rng.uniform(-2, 2, 60_000), np.full(60_000, 3.0)])
    snapshot = memory_of(batch_of(points, (200, 60, 60)))
    fine, coarse = SoftwareRenderer(), SoftwareRenderer(finest_level=1)
    small = Pinhole.from_fov(64, 48, 1.0)
    views = []
    for renderer in (fine, coarse):
        renderer.update(snapshot)
        views.append(renderer.render(IDENTITY, small).coverage > 0.5)
    assert coarse._pool.num_points < 0.7 * fine._pool.num_points
    np.testing.assert_array_equal(views[0], views[1])


def test_a_picture_that_may_not_take_long_is_coarse_only_behind_what_is_near():
    near, far = dense_wall(1.5, 0.4), dense_wall(3.0, 3.0)
    snapshot = memory_of(batch_of(near, (200, 60, 60)), batch_of(far, (60, 60, 200)))
    renderer = SoftwareRenderer()
    renderer.update(snapshot)
    camera = Pinhole.from_fov(320, 240, 1.2)
    full = renderer.render(IDENTITY, camera)
    drawn = renderer.statistics.points
    quick = renderer.render(IDENTITY, camera, DrawOptions(max_full_points=8_000))
    assert renderer.statistics.points < 0.6 * drawn
    np.testing.assert_array_equal(quick.coverage > 0.5, full.coverage > 0.5)
    inside = full.depth_m < 2.0
    np.testing.assert_array_equal(quick.depth_m[inside], full.depth_m[inside])


def dense_wall(z_m, half_m):
    """Points of a wall across the view, 8 mm apart."""
    x, y = np.meshgrid(np.arange(-half_m, half_m, 0.008), np.arange(-half_m, half_m, 0.008))
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z_m)])


@pytest.mark.parametrize("spacing_px", [2.0, 3.0, 6.0])
def test_splats_of_invented_points_do_not_hide_known_surface_beside_them(renderer, spacing_px):
    near_m, behind_m, f = 2.0, 3.0, 600.0
    side_m, camera = spacing_px / f * near_m, Pinhole(96, 72, f, f, 48.3, 36.4)
    near, behind = wall(near_m, half_m=24 * near_m / f, step_m=side_m), wall(behind_m, half_m=0.4, step_m=side_m)
    near = near[near[:, 0] < 0]
    shown = []
    for priority in (OBSERVED, INVENTED):
        memory = memory_of(batch_of(near, (0, 255, 0), priority), batch_of(behind, (255, 0, 0)), voxel_size_m=side_m)
        renderer.update(memory)
        shown.append(renderer.render(IDENTITY, camera).depth_m < 2.5)
    low, high = (edge(near[:, :2] / near_m * f + [48.3, 36.4], axis=0) for edge in (np.min, np.max))
    v, u = np.indices((72, 96)) + 0.5
    between = (u > low[0]) & (u < high[0]) & (v > low[1]) & (v < high[1])
    assert shown[1][between].all()
    known, invented = (np.count_nonzero(mask & ~between) for mask in shown)
    assert invented < 0.6 * known


def test_known_points_are_drawn_as_wide_as_before_others_were_invented_beside_them(renderer):
    known = wall(2.0, half_m=0.3)
    dense = wall(2.02, half_m=0.3, step_m=0.02)[:, [0, 1, 2]]
    renderer.update(memory_of(batch_of(known)))
    before = renderer._pool.slots.spacing[sorted(s for some in renderer._pool.slots_of.values() for s in some)].copy()
    snapshot = memory_of(batch_of(known), batch_of(dense, (0, 255, 0), INVENTED))
    renderer.update(snapshot)
    pool = renderer._pool
    slots = [s for some in pool.slots_of.values() for s in some if pool.slots.prio_high[s] >= OBSERVED]
    assert len(slots) == len(before) < len([s for some in pool.slots_of.values() for s in some])
    np.testing.assert_array_equal(np.sort(pool.slots.spacing[slots]), np.sort(before))
    assert pool.num_points == snapshot.num_points


def test_a_voxel_that_was_invented_before_it_was_seen_does_not_fade_in_again(renderer):
    invented = memory_of(batch_of(wall(2.0, half_m=0.3), (0, 255, 0), INVENTED))
    renderer.update(invented, now_s=0.0)
    memory = SpatialMemory(0.01)
    memory.load(invented.chunks.values())
    some = wall(2.0, half_m=0.3)[::2]
    memory.insert(batch_of(some, (255, 0, 0)))
    renderer.update(memory.snapshot(), now_s=10.0)
    fresh = renderer.render(IDENTITY, CAMERA, DrawOptions(fade_tick=600, fill=True)).color
    later = renderer.render(IDENTITY, CAMERA, DrawOptions(fade_tick=9000, fill=True)).color
    np.testing.assert_array_equal(fresh, later)
