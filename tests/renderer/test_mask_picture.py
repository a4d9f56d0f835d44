"""The small picture of a keyframe with what moves marked in it."""

import numpy as np
import pytest
from spatia.renderer.mask_picture import draw_mask
from spatia.renderer.overlay import Overlay, OverlayState

COLOR = np.full((60, 80, 3), 100, np.uint8)
MOVING = np.zeros((60, 80), bool)
MOVING[20:40, 30:60] = True


def test_what_moves_is_tinted_and_the_rest_is_as_it_was():
    picture = draw_mask(COLOR, MOVING, 40)
    assert picture.shape == (30, 40, 4)
    assert (picture[:8, :, :3] == 100).all()
    assert picture[15, 22, 0] > 150 > picture[15, 22, 2]


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected \(60, 80\)"):
        draw_mask(COLOR, MOVING[:30], 40)


def test_the_overlay_shows_the_picture_and_who_says_so():
    overlay, size = Overlay(), (320, 240)
    shown = overlay.draw(OverlayState(mask_tile=draw_mask(COLOR, MOVING, 80), mask_text="keyframe 3: residual"), size)
    assert shown is not None
    row, column = np.argwhere((shown[..., :3] == (255, 235, 120)).all(axis=2))[0]
    assert column < 120
    assert 60 < row < 180
    assert overlay.draw(OverlayState(), size) is None
