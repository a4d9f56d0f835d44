"""What every renderer must do; a test module subclasses ``RendererContract`` and makes its renderer."""

import numpy as np
import pytest
from spatia.renderer.interface import DrawOptions, Renderer, View
from spatia.world.camera import Pinhole
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import look

OBSERVED = priority_of(PointClass.OBSERVED)
INVENTED = priority_of(PointClass.INVENTED, 3)
VOXEL_M = 0.01
CAMERA = Pinhole(64, 48, 60.0, 60.0, 32.0, 24.0)
IDENTITY = np.eye(4)


def batch_of(points, color=(200, 100, 50), priority: int = OBSERVED) -> PointBatch:
    """Points of one colour and priority."""
    positions = np.asarray(points, np.float32).reshape(-1, 3)
    colors = np.tile(np.asarray(color, np.uint8), (len(positions), 1))
    return PointBatch.uniform(positions, colors, priority=priority, keyframe=1)


def memory_of(*batches: PointBatch, voxel_size_m: float = VOXEL_M) -> MemorySnapshot:
    """A snapshot that holds the given points."""
    memory = SpatialMemory(voxel_size_m)
    for batch in batches:
        memory.insert(batch)
    return memory.snapshot()


def wall(depth_m: float = 2.0, half_m: float = 2.0, step_m: float = 0.01) -> np.ndarray:
    """(N, 3) points of a wall that faces the camera."""
    side = np.arange(-half_m, half_m, step_m) + step_m / 2
    x, y = np.meshgrid(side, side)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, depth_m)], axis=1)


class RendererContract:
    """Inherit and override ``make``."""

    def make(self) -> Renderer:
        raise NotImplementedError

    @pytest.fixture
    def renderer(self):
        made = self.make()
        yield made
        made.close()

    def draw(self, renderer: Renderer, *batches: PointBatch, options: DrawOptions | None = None) -> View:
        renderer.update(memory_of(*batches))
        return renderer.render(IDENTITY, CAMERA, options or DrawOptions())

    def test_empty_memory_is_black_without_depth_and_coverage(self, renderer):
        view = self.draw(renderer)
        assert not view.color.any()
        assert not view.depth_m.any()
        assert not view.coverage.any()

    def test_view_has_the_camera_s_shape_and_types(self, renderer):
        view = self.draw(renderer, batch_of(wall()))
        assert (view.color.shape, view.color.dtype) == ((48, 64, 3), np.uint8)
        assert (view.depth_m.shape, view.depth_m.dtype) == ((48, 64), np.float32)
        assert (view.coverage.shape, view.coverage.dtype) == ((48, 64), np.float32)

    @pytest.mark.parametrize("pixel", [(0, 0), (63, 47), (10, 40), (31, 23)])
    def test_a_point_lands_on_the_pixel_that_contains_it(self, renderer, pixel):
        z = 4.0
        x, y = (pixel[0] + 0.5 - CAMERA.cx) / CAMERA.fx * z, (pixel[1] + 0.5 - CAMERA.cy) / CAMERA.fy * z
        view = self.draw(renderer, batch_of([[x, y, z]]))
        rows, columns = np.nonzero(view.depth_m)
        assert (pixel[1], pixel[0]) in set(zip(rows.tolist(), columns.tolist(), strict=True))
        assert len(rows) <= 4
        np.testing.assert_allclose(view.color[pixel[1], pixel[0]], (200, 100, 50), atol=1)

    def test_depth_is_exact_within_a_voxel(self, renderer):
        view = self.draw(renderer, batch_of(wall(2.345)))
        middle = view.depth_m[8:40, 8:56]
        assert np.abs(middle - 2.345).max() <= VOXEL_M

    def test_a_dense_wall_is_covered_fully_and_evenly(self, renderer):
        view = self.draw(renderer, batch_of(wall()))
        assert view.coverage.min() > 0.99
        assert np.abs(view.color.astype(int) - (200, 100, 50)).max() <= 1

    def test_the_nearer_surface_wins(self, renderer):
        far, near = batch_of(wall(3.0), (255, 0, 0)), batch_of(wall(2.0), (0, 255, 0))
        view = self.draw(renderer, far, near)
        assert view.color[..., 0].max() <= 1
        assert view.color[..., 1].min() >= 254

    def test_points_behind_the_camera_are_not_drawn(self, renderer):
        view = self.draw(renderer, batch_of(wall(-2.0)))
        assert not view.depth_m.any()

    def test_turning_round_shows_what_is_behind(self, renderer):
        renderer.update(memory_of(batch_of(wall(-2.0))))
        view = renderer.render(look((0, 0, 0), np.pi, 0.0), CAMERA)
        assert view.coverage.min() > 0.99

    def test_points_below_the_lowest_wanted_priority_are_left_out(self, renderer):
        invented = batch_of(wall(2.0), (0, 255, 0), INVENTED)
        observed = batch_of(wall(3.0), (255, 0, 0), OBSERVED)
        view = self.draw(renderer, invented, observed, options=DrawOptions(min_priority=INVENTED + 1))
        assert view.color[..., 1].max() <= 1
        assert view.color[..., 0].min() >= 254

    def test_priorities_that_share_a_chunk_are_told_apart(self, renderer):
        points = wall(2.0, half_m=0.3)
        left, right = points[points[:, 0] < 0], points[points[:, 0] >= 0]
        batches = batch_of(left, priority=INVENTED), batch_of(right, priority=OBSERVED)
        view = self.draw(renderer, *batches, options=DrawOptions(min_priority=OBSERVED))
        columns = np.nonzero(view.depth_m)[1]
        assert columns.min() >= 31

    def test_coverage_lies_between_nothing_and_full(self, renderer):
        points = wall(2.0, step_m=0.2)
        view = self.draw(renderer, batch_of(points))
        assert view.coverage.min() >= 0.0
        assert view.coverage.max() <= 1.0
        assert 0.0 < view.coverage.mean() < 0.5

    def test_sparse_points_cover_less_than_a_surface(self, renderer):
        sparse = self.draw(renderer, batch_of(wall(2.0, step_m=0.2))).coverage.mean()
        dense = self.draw(renderer, batch_of(wall(2.0))).coverage.mean()
        assert sparse < 0.5 * dense

    @pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 5), (130, 1)])
    def test_any_picture_size_can_be_drawn(self, renderer, size):
        renderer.update(memory_of(batch_of(wall(2.0))))
        view = renderer.render(IDENTITY, Pinhole.from_fov(*size, 1.0))
        assert view.depth_m.shape == size[::-1]
        assert (view.depth_m > 0).all()

    def test_drawing_twice_gives_the_same_picture(self, renderer):
        renderer.update(memory_of(batch_of(wall(2.0))))
        first = renderer.render(IDENTITY, CAMERA)
        renderer.render(look((0.3, 0, 0), 0.5, 0.1), CAMERA)
        second = renderer.render(IDENTITY, CAMERA)
        np.testing.assert_array_equal(first.color, second.color)
        np.testing.assert_array_equal(first.depth_m, second.depth_m)
        np.testing.assert_array_equal(first.coverage, second.coverage)

    def test_views_are_independent(self, renderer):
        renderer.update(memory_of(batch_of(wall(2.0))))
        first = renderer.render(IDENTITY, CAMERA)
        kept = first.depth_m.copy()
        renderer.render(look((0, 0, -1.0), 0.0, 0.0), CAMERA)
        np.testing.assert_array_equal(first.depth_m, kept)

    def test_an_update_on_a_budget_goes_on_until_all_is_there(self, renderer):
        snapshot = memory_of(batch_of(wall(2.0, half_m=1.0)))
        calls = 1
        while not renderer.update(snapshot, budget_s=0.0):
            calls += 1
            assert calls <= len(snapshot.chunks) + 1
        assert calls > 1
        view = renderer.render(IDENTITY, CAMERA)
        whole = self.make()
        whole.update(snapshot)
        np.testing.assert_array_equal(view.depth_m, whole.render(IDENTITY, CAMERA).depth_m)
        whole.close()

    def test_a_removed_chunk_disappears(self, renderer):
        snapshot = memory_of(batch_of(wall(2.0)))
        renderer.update(snapshot)
        assert renderer.render(IDENTITY, CAMERA).depth_m.any()
        renderer.update(MemorySnapshot(snapshot.voxel_size_m, snapshot.revision + 1, {}))
        assert not renderer.render(IDENTITY, CAMERA).depth_m.any()

    def test_a_changed_chunk_is_drawn_anew(self, renderer):
        memory = SpatialMemory(VOXEL_M)
        memory.insert(batch_of([[0.005, 0.005, 2.005]], (255, 0, 0), INVENTED))
        renderer.update(memory.snapshot())
        memory.insert(batch_of([[0.005, 0.005, 2.005]], (0, 255, 0), OBSERVED))
        renderer.update(memory.snapshot())
        assert renderer.render(IDENTITY, CAMERA).color[24, 32].tolist() == [0, 255, 0]

    def test_another_voxel_size_replaces_the_old_world(self, renderer):
        renderer.update(memory_of(batch_of(wall(2.0))))
        renderer.update(memory_of(batch_of(wall(3.0)), voxel_size_m=0.02))
        depth = renderer.render(IDENTITY, CAMERA).depth_m
        assert np.abs(depth - 3.0).max() <= 0.02

    def test_nothing_of_the_unknown_stays_black_when_filled(self, renderer):
        renderer.update(memory_of(batch_of(wall(2.0, half_m=0.3))))
        view = renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True))
        assert view.color.max(-1).min() > 8

    def test_filling_changes_neither_depth_nor_coverage(self, renderer):
        renderer.update(memory_of(batch_of(wall(2.0, half_m=0.3))))
        bare = renderer.render(IDENTITY, CAMERA, DrawOptions())
        filled = renderer.render(IDENTITY, CAMERA, DrawOptions(fill=True))
        np.testing.assert_array_equal(bare.depth_m, filled.depth_m)
        np.testing.assert_array_equal(bare.coverage, filled.coverage)

    def test_tint_tells_observed_from_invented(self, renderer):
        gray = (120, 120, 120)
        options = DrawOptions(tint=True)
        observed = self.draw(renderer, batch_of(wall(2.0), gray, OBSERVED), options=options).color[24, 32]
        invented = self.draw(renderer, batch_of(wall(2.0), gray, INVENTED), options=options).color[24, 32]
        assert observed[1] > observed[0]
        assert invented[0] > invented[2]

    def test_closing_twice_is_harmless(self):
        renderer = self.make()
        renderer.update(memory_of(batch_of(wall(2.0))))
        renderer.close()
        renderer.close()
