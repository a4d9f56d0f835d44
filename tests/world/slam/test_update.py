"""From frames to a map update: what is lifted, what is left out, and what is rejected."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.keyframes import Keyframe
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.lift import choose_frames, free_space_view, hides_surface, push_behind
from spatia.world.slam.update import build_update, recommended_voxel_size_m, source_update
from spatia.world.transforms import rotation_about
from spatia.world.updates import DepthView, MapUpdate
from spatia.world.visibility import render_depth

EMPTY = SpatialMemory(0.02).snapshot()


def _invent(frames: FrameStack, memory: MemorySnapshot = EMPTY, **options: object) -> MapUpdate:
    fields = {"point_class": PointClass.INVENTED, "rank": 3, "request_id": 7, "first_keyframe_id": 20}
    return build_update(frames, memory=memory, **{**fields, **options})


def _with(frames: FrameStack, **changes: object) -> FrameStack:
    return replace(frames, **changes)


def _moved_right(distance_m: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = distance_m
    return pose


def test_points_lie_on_the_surface_with_their_colours_and_origin(room):
    frames = room(np.eye(4)[None])
    update = _invent(frames)
    assert len(update.points) > 0.95 * frames.depth_m.size
    pixels, z = frames.pinhole.project(update.points.positions_world, np.eye(4))
    columns, rows = np.floor(pixels).astype(int).T
    np.testing.assert_allclose(z, frames.depth_m[0, rows, columns], rtol=1e-5)
    np.testing.assert_array_equal(update.points.colors, frames.color[0, rows, columns])
    assert set(update.points.priority) == {priority_of(PointClass.INVENTED, 3)}
    assert set(update.points.keyframe) == {20}
    assert update.points.weights.min() >= 1
    assert update.points.weights.max() <= 15


def test_weights_rise_with_confidence(room):
    frames = room(np.eye(4)[None])
    confidence = np.full(frames.depth_m.shape, 0.1, np.float32)
    confidence[:, :, 80:] = 1.0
    points = _invent(_with(frames, confidence=confidence)).points
    left = frames.pinhole.project(points.positions_world, np.eye(4))[0][:, 0] < 80
    assert points.weights[left].mean() < points.weights[~left].mean() - 2


def test_moving_pixels_are_never_lifted(room):
    frames = room(np.eye(4)[None])
    clips, users = np.zeros(frames.depth_m.shape, bool), np.zeros(frames.depth_m.shape[1:], bool)
    clips[0, 20:50, 30:60], users[70:90, 100:130] = True, True
    update = _invent(_with(frames, moving=clips), user_moving=users)
    columns, rows = np.floor(frames.pinhole.project(update.points.positions_world, np.eye(4))[0]).astype(int).T
    assert not (clips[0] | users)[rows, columns].any()
    assert update.keyframes[0].moving[30, 40]
    assert update.keyframes[0].moving[80, 110]
    assert update.report.moving_share >= (clips[0] | users).mean()


def test_invented_points_never_hide_what_memory_sees(room, memory_of):
    frames = room(np.eye(4)[None])
    use = np.zeros(frames.depth_m.shape[1:], bool)
    use[:, :100] = True
    memory = memory_of(frames, use=use)
    before = render_depth(memory, frames.pinhole, np.eye(4)).depth_m
    near = _with(frames, depth_m=(frames.depth_m * 0.97).astype(np.float32))
    update = _invent(near, memory, align=False)
    assert len(update.points) > 3000
    grown = SpatialMemory(0.01)
    grown.insert(memory.points())
    grown.insert(update.points)
    after = render_depth(grown.snapshot(), frames.pinhole, np.eye(4)).depth_m
    known = before > 0
    known[:, 98:] = False
    assert (after[known] < before[known] * 0.99).mean() == 0


def test_invented_points_do_not_hide_what_a_kept_view_sees(room):
    frames = room(np.eye(4)[None])
    view = DepthView(frames.depth_m[0], frames.pinhole, np.eye(4), priority_of(PointClass.OBSERVED))
    beside = room(_moved_right(0.3)[None])
    near = _with(beside, depth_m=(beside.depth_m * 0.6).astype(np.float32))
    assert hides_surface(_invent(near).points.positions_world, [view]).any()
    update = _invent(near, keep_visible=[view])
    assert len(update.points) > 0
    assert not hides_surface(update.points.positions_world, [view]).any()
    assert update.report.tests["would_hide"] > 0


def test_invented_points_just_before_a_kept_view_are_put_behind_it_on_their_pixel(room):
    frames = room(np.eye(4)[None])
    view = DepthView(frames.depth_m[0], frames.pinhole, np.eye(4), priority_of(PointClass.OBSERVED))
    beside = room(_moved_right(0.3)[None])
    points = _invent(beside).points.positions_world
    eye = np.array([0.3, 0.0, 0.0])
    moved, hiding = push_behind(points, eye, [view])
    assert hides_surface(points, [view]).mean() > 0.5
    assert hiding.mean() < 0.05
    np.testing.assert_array_equal(hiding, hides_surface(moved, [view]))
    before, after = points - eye, moved - eye
    assert np.linalg.norm(np.cross(before, after), axis=1).max() < 1e-4 * np.linalg.norm(after, axis=1).max() ** 2
    assert (np.linalg.norm(after, axis=1) <= 1.26 * np.linalg.norm(before, axis=1)).all()


def test_better_generator_replaces_what_a_placeholder_invented(room, memory_of):
    frames = room(np.eye(4)[None])
    memory = memory_of(frames, priority=priority_of(PointClass.INVENTED, 1))
    assert len(_invent(frames, memory, rank=40).points) > 0.9 * frames.depth_m.size
    assert len(_invent(frames, memory, rank=1).points) < 0.05 * frames.depth_m.size


def test_only_new_surface_is_lifted(room):
    frames = room(np.eye(4)[None])
    new = np.zeros(frames.depth_m.shape, bool)
    new[0, :, 120:] = True
    update = _invent(_with(frames, new_surface=new))
    columns = frames.pinhole.project(update.points.positions_world, np.eye(4))[0][:, 0]
    assert columns.min() >= 120
    assert update.free_space == ()


def test_new_surface_may_lie_behind_a_rim_but_neither_on_it_nor_before_it(room, memory_of):
    frames = room(np.eye(4)[None])
    use = np.zeros(frames.depth_m.shape[1:], bool)
    use[:, :100] = True
    memory = memory_of(frames, use=use)
    new = np.zeros(frames.depth_m.shape, bool)
    new[0, :, 90:] = True
    counts = []
    for factor in (0.9, 1.0, 1.1):
        clip = _with(frames, depth_m=(frames.depth_m * factor).astype(np.float32), new_surface=new)
        points = _invent(clip, memory, align=False).points.positions_world
        counts.append((frames.pinhole.project(points, np.eye(4))[0][:, 0] < 98).sum())
    assert counts[0] == counts[1] == 0
    assert counts[2] > 0.8 * 8 * 120


def test_an_exact_clip_leaves_no_seam_where_splats_reach_beyond_memory(room):
    frames = room(np.eye(4)[None])
    frames = _with(frames, depth_m=np.full_like(frames.depth_m, 2.0))
    sparse = np.zeros_like(frames.depth_m[0])
    sparse[3::4, 3:80:4] = 2.0  # a point a voxel, the last ones in column 79
    points = unproject(sparse, frames.pinhole, np.eye(4))
    memory = SpatialMemory(0.06)
    color = np.zeros((len(points), 3), np.uint8)
    memory.insert(PointBatch.uniform(points, color, priority=priority_of(PointClass.INVENTED, 3), keyframe=1))
    new = render_depth(memory.snapshot(), frames.pinhole, np.eye(4)).depth_m[None] == 0
    assert not new[0, 3:-3, 80].any()  # what memory draws reaches beyond its last point
    beside = []
    for is_exact in (True, False):
        clip = _with(frames, new_surface=new, is_exact=is_exact)
        added = _invent(clip, memory.snapshot(), align=False).points.positions_world
        columns = frames.pinhole.project(added, np.eye(4))[0][:, 0]
        beside.append(((columns >= 80) & (columns < 82)).sum())
    assert beside[0] > 0.8 * 2 * frames.pinhole.height
    assert beside[1] < 0.5 * beside[0]


def test_clip_without_anything_new_is_empty_but_not_rejected(room):
    frames = room(np.eye(4)[None])
    update = _invent(_with(frames, new_surface=np.zeros(frames.depth_m.shape, bool)))
    assert (len(update.points), update.keyframes, update.report.rejected) == (0, (), "")


def test_second_frame_of_a_clip_adds_only_what_the_first_did_not_show(room):
    one = _invent(room(np.eye(4)[None]))
    two = _invent(room(np.stack([np.eye(4), _moved_right(0.15)])))
    assert len(one.points) < len(two.points) < 1.4 * len(one.points)


def test_flying_pixels_are_not_lifted(room):
    frames = room(np.eye(4)[None])
    depth = frames.depth_m.copy()
    depth[0, 10, 10] = 0.5
    points = _invent(_with(frames, depth_m=depth)).points
    assert np.abs(points.positions_world[:, 2] - 0.5).min() > 0.1


def test_depth_without_numbers_is_rejected_as_blank(room):
    frames = room(np.eye(4)[None])
    update = _invent(_with(frames, depth_m=np.full(frames.depth_m.shape, np.nan, np.float32)))
    assert update.report.rejected == "blank depth: no pixel has a depth"
    assert (len(update.points), update.free_space, update.keyframes) == (0, (), ())


def test_frames_of_one_colour_are_rejected_as_blank(room):
    frames = room(np.eye(4)[None])
    update = _invent(_with(frames, color=np.full(frames.color.shape, 90, np.uint8)))
    assert update.report.rejected == "blank frames: every pixel has the same colour"


def test_mask_over_everything_is_rejected(room):
    frames = room(np.eye(4)[None])
    update = _invent(_with(frames, moving=np.ones(frames.depth_m.shape, bool)))
    assert update.report.rejected.startswith("nothing stands still")


def test_clip_that_does_not_fit_memory_is_rejected_with_the_reason(room, memory_of):
    frames = room(np.eye(4)[None])
    wrong = np.full(frames.depth_m.shape, 9.0, np.float32)
    update = _invent(_with(frames, depth_m=wrong), memory_of(frames))
    assert update.report.rejected.startswith("does not fit memory")
    assert update.report.rejected.endswith("(1 of 1 frames)")
    assert len(update.points) == 0


def test_offset_of_a_clip_is_corrected_and_reported(room, memory_of):
    frames = room(np.eye(4)[None])
    pose = np.eye(4)
    pose[:3, :3] = rotation_about((0.3, 1, 0.2), np.radians(1.0))
    pose[:3, 3] = (0.01, -0.01, 0.015)
    shifted = _with(frames, world_T_camera=pose[None])
    update = _invent(shifted, memory_of(frames))
    assert np.linalg.norm(update.world_T_camera[0, :3, 3]) < 0.006
    assert 0.01 < update.report.pose_correction_m < 0.04
    assert update.report.residual < 0.01
    assert update.report.covisible_share > 0.9


def test_a_clip_that_marks_what_is_new_stays_at_its_poses(room, memory_of):
    frames = room(np.eye(4)[None])
    nearer = np.eye(4)
    nearer[2, 3] = 0.02
    shifted = _with(frames, world_T_camera=nearer[None])
    new = np.zeros(frames.depth_m.shape, bool)
    new[:, :10, :10] = True
    marked = _invent(_with(shifted, new_surface=new), memory_of(frames))
    assert _invent(shifted, memory_of(frames)).report.pose_correction_m > 0.01
    assert marked.report.pose_correction_m == 0.0
    assert marked.report.covisible_share > 0.5
    np.testing.assert_array_equal(marked.world_T_camera, shifted.world_T_camera)


def test_correction_of_aligned_frames_carries_over_to_all(room, memory_of):
    poses = np.stack([_moved_right(x) for x in (0.0, 0.05, 0.1, 0.15)])
    truth = room(poses)
    offset = np.eye(4)
    offset[2, 3] = 0.02
    shifted = _with(truth, world_T_camera=offset @ poses)
    update = _invent(shifted, memory_of(truth))
    assert np.abs(update.world_T_camera[:, 2, 3]).max() < 0.006


def test_keyframes_carry_identity_pose_and_depth(room):
    frames = room(np.stack([_moved_right(x) for x in (0.0, 0.02, 0.3)]))
    update = _invent(frames, prompt="a room", tick=5)
    assert [k.keyframe_id for k in update.keyframes] == [20, 22]
    last = update.keyframes[-1]
    assert (last.request_id, last.rank, last.prompt, last.tick) == (7, 3, "a room", 5)
    assert last.point_class is PointClass.INVENTED
    assert isinstance(last, Keyframe)
    assert last.depth_m is not None
    assert _invent(frames, keep_depth=False).keyframes[0].depth_m is None


def test_points_of_a_frame_are_thinned_out_to_the_limit(room):
    update = _invent(room(np.eye(4)[None]), max_points_per_frame=1000)
    assert len(update.points) == 1000


def test_source_with_depth_is_observed_and_sees_free_space(room):
    update = source_update(room(np.eye(4)[None]), memory=EMPTY)
    assert PointClass.OBSERVED << 6 in update.points.priority
    (view,) = update.free_space
    assert view.priority == priority_of(PointClass.OBSERVED)


def test_missing_depth_of_a_photo_is_filled_with_estimated_points(room):
    frames = room(np.eye(4)[None])
    depth = frames.depth_m.copy()
    depth[0, 30:40, 30:40] = np.nan
    update = source_update(_with(frames, depth_m=depth), memory=EMPTY)
    estimated = update.points.priority == priority_of(PointClass.ESTIMATED)
    columns, rows = (
        np.floor(frames.pinhole.project(update.points.positions_world[estimated], np.eye(4))[0]).astype(int).T
    )
    assert 60 <= estimated.sum() <= 100
    assert ((rows >= 30) & (rows < 40) & (columns >= 30) & (columns < 40)).all()
    filled = update.keyframes[0].depth_m[0:, :][30:40, 30:40]
    assert (filled > 0).mean() > 0.6


def test_frames_of_a_recording_are_not_filled(room):
    frames = room(np.stack([np.eye(4), _moved_right(0.1)]))
    depth = frames.depth_m.copy()
    depth[:, 30:40, 30:40] = 0
    update = source_update(_with(frames, depth_m=depth), memory=EMPTY)
    assert set(update.points.priority) == {priority_of(PointClass.OBSERVED)}


def test_lone_photo_is_estimated_and_not_metric(room):
    frames = room(np.eye(4)[None])
    update = source_update(_with(frames, depth_m=None), memory=EMPTY)
    assert set(update.points.priority) == {priority_of(PointClass.ESTIMATED)}
    assert update.report.estimator == "diorama"
    assert update.report.tests["is_metric"] == 0.0
    assert update.free_space == ()


def test_source_with_depth_is_metric(room):
    assert source_update(room(np.eye(4)[None]), memory=EMPTY).report.tests["is_metric"] == 1.0


def test_frames_of_a_path_are_chosen_by_motion():
    poses = np.stack([_moved_right(x) for x in np.arange(0, 0.35, 0.03)])
    assert choose_frames(poses, None, every=False) == [0, 4, 8, 11]
    assert choose_frames(poses[:3], None, every=False) == [0, 2]
    assert choose_frames(poses, None, every=True) == list(range(12))


def test_frames_with_new_surface_are_all_chosen():
    new = np.zeros((3, 4, 4), bool)
    new[1, 0, 0] = True
    assert choose_frames(np.stack([np.eye(4)] * 3), new, every=False) == [1]


def test_free_space_view_is_small_and_never_reaches_beyond_the_surface():
    pinhole = Pinhole(800, 400, 800.0, 800.0, 400.0, 200.0)
    depth = np.full((400, 800), 3.0, np.float32)
    depth[10, 10], depth[20, 20] = 1.0, 0.0
    view = free_space_view(depth, pinhole, np.eye(4), 192)
    assert view.depth_m.shape == (200, 400)
    assert view.depth_m[5, 5] == 1.0
    assert view.depth_m[10, 10] == 0.0
    assert view.pinhole == Pinhole(400, 200, 400.0, 400.0, 200.0, 100.0)


def test_voxel_follows_the_footprint_of_the_pixels():
    pinhole = Pinhole(741, 500, 995.0, 995.0, 311.7, 255.4)
    assert recommended_voxel_size_m(np.full((500, 741), 2.6, np.float32), pinhole) == 0.005
    assert recommended_voxel_size_m(np.full((500, 741), 0.8, np.float32), pinhole) == 0.0025
    assert recommended_voxel_size_m(np.full((500, 741), 20.0, np.float32), pinhole) == 0.01
    assert recommended_voxel_size_m(np.zeros((500, 741), np.float32), pinhole) == 0.01


def test_recording_of_many_frames_takes_1_cm_voxels():
    pinhole = Pinhole(4, 3, 4.0, 4.0, 2.0, 1.5)
    assert recommended_voxel_size_m(np.full((40, 3, 4), 0.01, np.float32), pinhole) == 0.01


def test_wrong_mask_is_an_error(room):
    with pytest.raises(ValueError, match="moving mask"):
        _invent(room(np.eye(4)[None]), user_moving=np.zeros((3, 3), bool))
