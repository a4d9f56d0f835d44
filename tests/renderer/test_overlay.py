"""What is written over the picture, and the small map."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from spatia.renderer.minimap import Minimap
from spatia.renderer.overlay import DETAILS_EVERY, TINT_LEGEND, Overlay, OverlayState
from spatia.tests.contracts.renderer_contract import batch_of, memory_of
from spatia.world.memory import MemorySnapshot
from spatia.world.transforms import look

SIZE = (832, 480)
STATUS = OverlayState(status="merged 3")
HELP = (("W", "walk forward"), ("F5", "save the world"))
DETAILS = (("frame", "9.4 ms"), ("memory", "1 200 points"))


def box(canvas: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not clear."""
    rows, columns = np.nonzero(canvas[..., 3])
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_nothing_to_show_is_no_overlay():
    assert Overlay().draw(OverlayState(), SIZE) is None


def test_the_status_stands_at_the_bottom_left():
    left, top, right, bottom = box(Overlay().draw(STATUS, SIZE))
    assert (left, bottom) == (10, 480 - 11)
    assert right < 200
    assert top > 430


@pytest.mark.parametrize(
    ("state", "horizontal", "vertical"),
    [
        (OverlayState(notice="not metric"), "right", "bottom"),
        (OverlayState(map_tile=np.full((100, 100, 4), 255, np.uint8)), "right", "top"),
        (OverlayState(details=DETAILS, details_shown=True), "left", "top"),
        (OverlayState(help=HELP, help_shown=True), "middle", "middle"),
        (OverlayState(toast="saved"), "middle", "bottom"),
        (OverlayState(prompt_text="a red door"), "middle", "bottom"),
        (OverlayState(tint_shown=True), "right", "bottom"),
    ],
)
def test_each_part_has_its_place(state, horizontal, vertical):
    left, top, right, bottom = box(Overlay().draw(state, SIZE))
    x, y = (left + right) / 2 / SIZE[0], (top + bottom) / 2 / SIZE[1]
    ranges = {"left": (0, 0.4), "middle": (0.4, 0.6), "right": (0.7, 1), "top": (0, 0.35), "bottom": (0.65, 1)}
    assert ranges[horizontal][0] <= x <= ranges[horizontal][1]
    assert ranges[vertical][0] <= y <= ranges[vertical][1]


def test_writing_stands_out_from_its_plate():
    canvas = Overlay().draw(STATUS, SIZE)
    left, top, right, bottom = box(canvas)
    part = canvas[top:bottom, left:right]
    assert part[..., :3].max() > 220
    assert np.median(part[..., :3]) < 30
    assert np.median(part[..., 3]) > 150


def test_writing_is_larger_on_a_larger_scale():
    small = box(Overlay().draw(STATUS, SIZE))
    large = box(Overlay().draw(STATUS, (1664, 960), 2.0))
    assert large[3] - large[1] == pytest.approx(2 * (small[3] - small[1]), abs=2)


def test_an_unchanged_state_gives_the_same_object_and_draws_nothing():
    overlay = Overlay()
    first = overlay.draw(STATUS, SIZE)
    assert overlay.draw(replace(STATUS), SIZE) is first
    assert overlay.num_drawn == 1


def test_a_changed_state_gives_another_object_with_only_the_new_writing():
    overlay = Overlay()
    canvases = [overlay.draw(replace(STATUS, status=text), SIZE) for text in ("long " * 20, "b", "longer " * 9, "b")]
    assert all(a is not b for a, b in pairwise(canvases))
    np.testing.assert_array_equal(canvases[-1], Overlay().draw(replace(STATUS, status="b"), SIZE))


def test_what_is_closed_disappears():
    overlay = Overlay()
    overlay.draw(replace(STATUS, help=HELP, help_shown=True), SIZE)
    np.testing.assert_array_equal(overlay.draw(STATUS, SIZE), Overlay().draw(STATUS, SIZE))


def test_another_window_size_is_laid_out_anew():
    overlay = Overlay()
    overlay.draw(STATUS, SIZE)
    assert overlay.draw(STATUS, (400, 300)).shape == (300, 400, 4)


def test_figures_of_every_frame_are_drawn_some_times_a_second_only():
    overlay = Overlay()
    for frame in range(3 * DETAILS_EVERY):
        overlay.draw(replace(STATUS, details=(("frame", str(frame)),), details_shown=True), SIZE)
    assert overlay.num_drawn == 3


def test_a_slow_frame_stands_out_in_the_graph():
    state = OverlayState(details=DETAILS, details_shown=True, frame_times_ms=np.full(60, 8.0))
    slow = replace(state, frame_times_ms=np.r_[np.full(30, 8.0), 80.0, np.full(29, 8.0)])
    reds = [(Overlay().draw(s, SIZE)[..., :3] == (240, 96, 84)).all(-1).sum() for s in (state, slow)]
    assert reds[0] == 0
    assert reds[1] > 10


def test_the_wipes_line_stands_where_the_wipe_is():
    canvas = Overlay().draw(OverlayState(wipe_fraction=0.25, wipe_text="24.1 dB"), SIZE)
    columns = np.flatnonzero(canvas[5, :, 3])
    assert columns.mean() == pytest.approx(0.25 * 832, abs=2)
    assert len(np.flatnonzero(canvas[250, :, 3])) > 30


def test_the_end_of_a_long_prompt_stays_in_sight():
    head = replace(OverlayState(), prompt_text="x" * 300)
    tails = [Overlay().draw(replace(head, prompt_text="x" * 300 + end), SIZE) for end in ("a", "b")]
    assert (tails[0] != tails[1]).any()
    assert box(tails[0])[2] < 832


def test_the_tint_names_its_colours():
    canvas = Overlay().draw(OverlayState(tint_shown=True), SIZE)
    for _, color in TINT_LEGEND:
        assert (np.abs(canvas.astype(int) - color).max(-1) < 40).any()


def test_a_tiny_window_cuts_off_what_does_not_fit():
    state = OverlayState(status="merged", help=HELP, help_shown=True, prompt_text="x", wipe_fraction=1.0, toast="saved")
    assert Overlay().draw(state, (40, 20)).shape == (20, 40, 4)


# the map


def drawn(minimap: Minimap, snapshot: MemorySnapshot) -> None:
    minimap.update(snapshot)
    while minimap.num_pending:
        minimap.update(snapshot)


def block(x: float, z: float, color, y: float = 0.5) -> np.ndarray:
    side = np.arange(-0.25, 0.25, 0.02)
    a, b = np.meshgrid(side, side)
    return batch_of(np.stack([a.ravel() + x, np.full(a.size, y), b.ravel() + z], axis=1), color)


def test_ahead_is_up_and_right_is_right_on_the_map():
    minimap = Minimap()
    drawn(minimap, memory_of(block(0, 2, (255, 0, 0)), block(2, 0, (0, 0, 255))))
    tile = minimap.draw(np.eye(4), size_px=160, radius_m=4.0)
    assert tile[40, 80, :3].tolist() == [255, 0, 0]
    assert tile[80, 120, :3].tolist() == [0, 0, 255]


def test_the_map_moves_with_you_and_keeps_its_direction():
    minimap = Minimap()
    drawn(minimap, memory_of(block(0, 2, (255, 0, 0))))
    tile = minimap.draw(look((1.0, 0, 1.0), 1.2, 0.3), size_px=160, radius_m=4.0)
    assert tile[60, 60, :3].tolist() == [255, 0, 0]


def test_a_ceiling_does_not_hide_the_room():
    minimap = Minimap()
    drawn(minimap, memory_of(block(0, 2, (255, 0, 0)), block(0, 2, (0, 255, 0), y=-1.0)))
    assert minimap.draw(np.eye(4), size_px=160, radius_m=4.0)[40, 80, :3].tolist() == [255, 0, 0]


def test_another_gravity_has_another_map():
    minimap = Minimap(up_world=(0, 0, 1))  # world +Y lies ahead on the level
    side = np.arange(-0.25, 0.25, 0.02)
    a, b = np.meshgrid(side, side)
    points = np.stack([a.ravel(), b.ravel() + 2.0, np.full(a.size, -0.5)], axis=1)
    drawn(minimap, memory_of(batch_of(points, (255, 0, 0))))
    tile = minimap.draw(np.eye(4), size_px=160, radius_m=4.0)
    reds = np.argwhere((tile[..., :3] == (255, 0, 0)).all(-1))
    assert len(reds) > 50
    assert np.abs(np.linalg.norm(reds.mean(0) - 80) - 40) < 3


def test_a_removed_chunk_leaves_the_map():
    minimap = Minimap()
    snapshot = memory_of(block(0, 2, (255, 0, 0)))
    drawn(minimap, snapshot)
    drawn(minimap, MemorySnapshot(snapshot.voxel_size_m, snapshot.revision + 1, {}))
    assert not (minimap.draw(np.eye(4))[..., 0] > 240).all(-1).any()
    assert minimap.draw(np.eye(4), size_px=160, radius_m=4.0)[40, 80, 0] < 30


def test_the_map_takes_over_a_few_chunks_at_a_time():
    minimap = Minimap()
    snapshot = memory_of(*(block(x, 2, (255, 0, 0)) for x in (-3, -1, 1, 3)))
    assert minimap.update(snapshot, max_chunks=1)
    assert minimap.num_pending == len(snapshot.chunks) - 1


def test_the_path_walked_is_drawn():
    tile = Minimap().draw(np.eye(4), [(-2, 0, 0), (-2, 0, 2)], size_px=160, radius_m=4.0)
    np.testing.assert_allclose(tile[60, 38:42, :3].max(0), [255, 184, 77], atol=30)
    assert tile[100, 38:42, 0].max() < 30


def test_you_look_where_the_arrow_points():
    ahead = Minimap().draw(np.eye(4), size_px=160)
    right = Minimap().draw(look((0, 0, 0), np.pi / 2, 0), size_px=160)
    white = [np.argwhere((t[..., :3] == 255).all(-1)) for t in (ahead, right)]
    assert 80 - white[0][:, 0].min() > white[0][:, 0].max() - 80
    assert white[1][:, 1].max() - 80 > 80 - white[1][:, 1].min()


def test_a_place_off_the_map_does_not_break_it():
    assert Minimap(side_m=4.0).draw(look((500, 0, -900), 0, 0)).shape == (132, 132, 4)
