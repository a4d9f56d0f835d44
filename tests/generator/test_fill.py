"""Filling a view: what was hidden takes after the far side, planes go on, the place model closes the rest."""

import numpy as np
import pytest
from spatia.generator.outpaint.depth_fill import RAY_STEPS, _follow_rays, continue_depth, find_far_side
from spatia.generator.outpaint.fill import fill_view
from spatia.generator.outpaint.pyramid import push_pull
from spatia.generator.requests import GenerationCancelledError
from spatia.tests.fakes import RecordingProgress
from spatia.world.camera import Pinhole

W, H = 96, 72
PINHOLE = Pinhole.from_fov(W, H, np.radians(60))
NEAR, FAR = (200, 30, 30), (40, 60, 180)
SHOWN = np.ones((H, W), np.float32)


def post_before_wall() -> tuple[np.ndarray, np.ndarray]:
    """A red post 1 m away, a blue wall 3 m away, and a hole beside the post where it hid the wall."""
    color = np.full((H, W, 3), FAR, np.uint8)
    depth = np.full((H, W), 3.0, np.float32)
    color[:, 40:50], depth[:, 40:50] = NEAR, 1.0
    color[:, 50:62], depth[:, 50:62] = 0, 0.0
    return color, depth


def fill(color, depth, **options):
    return fill_view(color, depth, (depth > 0).astype(np.float32), PINHOLE, **options)


def test_a_hole_behind_a_post_takes_the_wall_behind():
    view = fill(*post_before_wall())
    hole = np.s_[8:-8, 50:62]
    assert np.median(view.depth_m[hole]) == pytest.approx(3.0, rel=0.02)
    assert np.abs(np.median(view.color[hole].reshape(-1, 3), axis=0) - FAR).max() < 12


def test_a_gap_in_a_near_thing_is_not_taken_for_a_view_of_the_wall():
    color, depth = np.full((H, W, 3), NEAR, np.uint8), np.full((H, W), 1.0, np.float32)
    color[:, :8], depth[:, :8] = FAR, 3.0
    color[25:45, 40:60], depth[25:45, 40:60] = 0, 0.0
    depth[34:37, 60:90] = 3.0  # a slit through which single rays see the wall
    view = fill(color, depth)
    assert np.median(view.depth_m[25:45, 40:60]) == pytest.approx(1.0, rel=0.05)


def test_known_pixels_stay_and_everything_else_is_new_and_has_depth():
    color, depth = post_before_wall()
    view = fill(color, depth)
    known = depth > 0
    np.testing.assert_array_equal(view.new_surface, ~known)
    np.testing.assert_array_equal(view.color[known], color[known])
    np.testing.assert_array_equal(view.depth_m[known], depth[known])
    assert (view.depth_m > 0).all()


def test_thin_coverage_counts_as_unknown():
    color, depth = post_before_wall()
    coverage = np.where(depth > 0, 1.0, 0.0).astype(np.float32)
    coverage[:10] = 0.2
    view = fill_view(color, depth, coverage, PINHOLE)
    assert view.new_surface[:10].all()


def test_a_slanted_plane_goes_on_beyond_the_edge():
    rows = np.arange(H, dtype=np.float32)
    floor = np.broadcast_to(1.5 / (0.15 + 0.01 * rows)[:, None], (H, W)).astype(np.float32)
    known = np.ones((H, W), bool)
    known[:, 64:] = False
    known[:5] = False
    error = np.abs(continue_depth(floor, known) / floor - 1.0)
    assert np.median(error[~known]) < 0.03
    assert error[known].max() == 0.0


def test_outside_the_known_there_is_texture_and_no_fog():
    rng = np.random.default_rng(0)
    color = rng.integers(60, 200, (H, W, 1)).repeat(3, axis=2).astype(np.uint8)
    depth = np.full((H, W), 2.0, np.float32)
    depth[:, 64:] = 0.0
    view = fill(color, depth)
    fog = push_pull(color.astype(np.float32), (depth > 0).astype(np.float32))
    assert view.color[:, 70:].std() > 0.5 * color[:, :64].std()
    assert view.color[:, 70:].std() > 2.0 * fog[:, 70:].std()


def test_the_place_model_shows_outside_but_not_right_behind_a_post():
    color, depth = post_before_wall()
    depth[:, 80:] = 0.0
    backdrop = np.full((H, W, 3), (40, 200, 60), np.uint8), np.full((H, W), 5.0, np.float32)
    view = fill(color, depth, backdrop=backdrop)
    assert np.abs(view.color[:, 84:].astype(int) - (40, 200, 60)).max() < 3
    np.testing.assert_allclose(view.depth_m[:, 84:], 5.0, rtol=1e-3)
    assert np.abs(np.median(view.color[20:50, 51:58].reshape(-1, 3), axis=0) - FAR).max() < 12


def test_the_place_model_takes_the_tone_of_the_known_beside_it():
    color, depth = np.full((H, W, 3), 100, np.uint8), np.full((H, W), 3.0, np.float32)
    depth[:, 60:] = 0.0
    backdrop = np.full((H, W, 3), 130, np.uint8), np.full((H, W), 3.03, np.float32)
    view = fill(color, depth, backdrop=backdrop)
    step = view.color[:, 61].mean() - 100.0
    assert step < 3.0
    assert view.color[:, -1].mean() > view.color[:, 61].mean() + 5.0
    assert np.abs(view.depth_m[:, 61] - 3.0).max() < 0.01


def test_a_gap_in_the_place_model_takes_after_its_surroundings():
    color, depth = np.full((H, W, 3), NEAR, np.uint8), np.full((H, W), 1.0, np.float32)
    depth[:, 20:] = 0.0
    back, back_m = np.full((H, W, 3), FAR, np.uint8), np.full((H, W), 4.0, np.float32)
    back_m[30:36, 70:76] = 0.0
    view = fill(color, depth, backdrop=(back, back_m))
    assert np.median(view.depth_m[30:36, 70:76]) == pytest.approx(4.0, rel=0.05)
    assert np.abs(view.color[32, 73].astype(int) - FAR).max() < 25


def test_nothing_known_and_no_place_model_invents_nothing():
    view = fill(np.zeros((H, W, 3), np.uint8), np.zeros((H, W), np.float32))
    assert not view.new_surface.any()
    assert not view.depth_m.any()


def test_nothing_known_shows_the_place_model():
    backdrop = np.full((H, W, 3), FAR, np.uint8), np.full((H, W), 4.0, np.float32)
    view = fill(np.zeros((H, W, 3), np.uint8), np.zeros((H, W), np.float32), backdrop=backdrop)
    np.testing.assert_array_equal(view.color, backdrop[0])
    assert view.new_surface.all()


def test_a_whole_view_comes_back_as_it_is():
    color, depth = np.full((H, W, 3), NEAR, np.uint8), np.full((H, W), 1.0, np.float32)
    view = fill(color, depth)
    assert not view.new_surface.any()
    np.testing.assert_array_equal(view.color, color)


def test_confidence_falls_with_the_distance_from_the_known():
    color, depth = post_before_wall()
    depth[:, 66:] = 0.0
    confidence = fill(color, depth).confidence
    assert (confidence[depth > 0] == 1.0).all()
    assert confidence[36, 67] > confidence[36, 80] > confidence[36, 95] > 0.0


def test_the_same_seed_gives_the_same_view():
    color, depth = post_before_wall()
    depth[:, 66:] = 0.0
    one, same = fill(color, depth, seed=4), fill(color, depth, seed=4)
    assert one.color.tobytes() == same.color.tobytes()
    assert one.depth_m.tobytes() == same.depth_m.tobytes()


def test_cancellation_passes_through():
    with pytest.raises(GenerationCancelledError):
        fill(*post_before_wall(), progress=RecordingProgress(cancel_at="colour"))


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected 72x96"):
        fill_view(np.zeros((5, 5, 3), np.uint8), np.zeros((H, W), np.float32), SHOWN, PINHOLE)


def test_rays_end_on_the_first_known_pixel():
    rng = np.random.default_rng(2)
    known = rng.random((23, 31)) < 0.08
    ends = np.full((2 * len(RAY_STEPS), 23, 31), -1, np.int32)
    _follow_rays(known, np.array(RAY_STEPS, np.int64), ends)
    for k, (dx, dy) in enumerate(RAY_STEPS):
        for back, sign in ((0, 1), (1, -1)):
            for y, x in np.argwhere(~known):
                assert ends[2 * k + back, y, x] == first_known(known, y, x, sign * dx, sign * dy)


def first_known(known: np.ndarray, y: int, x: int, dx: int, dy: int) -> int:
    """Walk step by step; of a step of two the pixel between is looked at as well."""
    h, w = known.shape
    while True:
        if not (0 <= y + dy < h and 0 <= x + dx < w):
            return -1
        hy, hx = y + int(dy / 2), x + int(dx / 2)
        if (hy, hx) != (y, x) and known[hy, hx]:
            return hy * w + hx
        y, x = y + dy, x + dx
        if known[y, x]:
            return y * w + x


def test_enclosure_is_the_share_of_rays_that_meet_something():
    known = np.zeros((H, W), bool)
    known[:, :30] = True
    color, depth = np.zeros((H, W, 3), np.uint8), np.where(known, 2.0, 0.0).astype(np.float32)
    far = find_far_side(color, depth, known)
    assert far.enclosed[36, 31] == pytest.approx(7 / 16, abs=1 / 16)
    assert far.enclosed[36, 90] < 0.3
    assert (far.enclosed[known] == 1.0).all()


def test_the_garage_from_the_right_is_filled_better_than_by_fog():
    data = pytest.importorskip("skimage.data")
    left, right, disparity = data.stereo_motorcycle()
    depth = np.where(np.isfinite(disparity), 994.978 * 0.193001 / (disparity + 31.086), 0.0)
    shift = np.where(depth > 0, np.round(np.nan_to_num(disparity)), 0).astype(int)
    color, moved = np.zeros_like(left), np.zeros(depth.shape, np.float32)
    for row, column in np.argwhere(depth > 0)[np.argsort(-depth[depth > 0], kind="stable")]:
        target = column - shift[row, column]
        if 0 <= target < depth.shape[1]:
            color[row, target], moved[row, target] = left[row, column], depth[row, column]
    pinhole = Pinhole(left.shape[1], left.shape[0], 994.978, 994.978, 342.779, 255.377)
    view = fill_view(color, moved, (moved > 0).astype(np.float32), pinhole, seed=1)
    hole = moved == 0
    fog = push_pull(color.astype(np.float32), (~hole).astype(np.float32))
    ours = ((view.color.astype(float) - right)[hole] ** 2).mean()
    assert 10 * np.log10(255**2 / ours) > 16.0
    assert ours < 0.93 * ((fog - right)[hole] ** 2).mean()
