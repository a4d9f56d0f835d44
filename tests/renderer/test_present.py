"""Presenters: without a window, and through SDL's surface (the OpenGL window is tested on a virtual display)."""

import os
import subprocess
import sys

import numpy as np
import pytest
from spatia.renderer.present import (
    NoDisplayError,
    NullPresenter,
    WindowPresenter,
    as_rgba,
    fit,
    has_display,
    open_presenter,
    opening_size,
    overlay_scale,
    written_parts,
)


@pytest.fixture
def surface_window(monkeypatch):
    """A window of SDL's own software driver, which has no OpenGL and needs no display."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    presenter = WindowPresenter("test", (64, 32))
    yield presenter
    presenter.close()


def test_without_opengl_a_surface_shows_the_picture_scaled_up(surface_window):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8, 0] = picture[:, 8:, 2] = 200
    surface_window.present(picture)
    assert not surface_window.has_gl
    shown = surface_window.read()
    assert shown.shape == (32, 64, 3)
    assert shown[16, 10].tolist() == [200, 0, 0]
    assert shown[16, 50].tolist() == [0, 0, 200]


def test_without_opengl_the_overlay_lies_over_the_picture(surface_window):
    overlay = np.zeros((32, 64, 4), np.uint8)
    overlay[:16] = (0, 250, 0, 255)
    overlay[16:, :32] = (250, 250, 250, 128)
    surface_window.present(np.zeros((32, 64, 3), np.uint8), overlay)
    shown = surface_window.read()
    assert shown[4, 4].tolist() == [0, 250, 0]
    assert 120 <= shown[20, 4, 0] <= 130
    assert shown[20, 60].tolist() == [0, 0, 0]


def test_a_changed_overlay_replaces_the_last_one(surface_window):
    picture = np.zeros((32, 64, 3), np.uint8)
    surface_window.present(picture, np.full((32, 64, 4), 255, np.uint8))
    surface_window.present(picture, np.zeros((32, 64, 4), np.uint8))
    assert surface_window.read().max() == 0


def test_another_shape_of_window_keeps_the_pictures_proportions(surface_window):
    surface_window.present(np.full((32, 32, 3), 255, np.uint8))
    shown = surface_window.read()
    assert shown[16, 32].tolist() == [255, 255, 255]
    assert shown[16, 2].max() < 20
    assert shown[16, 61].max() < 20


def test_closing_twice_is_safe(surface_window):
    surface_window.close()
    surface_window.close()


def test_no_display_is_an_error_that_says_what_to_do(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not has_display()
    with pytest.raises(NoDisplayError, match="--headless"):
        open_presenter("test", (64, 32))


def test_a_display_that_is_not_there_is_the_same_error(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(NoDisplayError, match="SDL says"):
        open_presenter("test", (64, 32))


def test_headless_keeps_the_last_picture_and_shows_nothing():
    presenter = open_presenter("test", (64, 32), headless=True)
    picture = np.zeros((32, 64, 3), np.uint8)
    presenter.present(picture)
    presenter.toggle_fullscreen()
    presenter.close()
    assert isinstance(presenter, NullPresenter)
    assert presenter.color is picture
    assert (presenter.events(), presenter.size, presenter.num_presented) == ([], (64, 32), 1)


@pytest.mark.parametrize(
    ("content", "window", "expected"),
    [
        ((832, 480), (832, 480), (0, 0, 1, 1)),
        ((100, 100), (200, 100), (0.25, 0, 0.5, 1)),
        ((200, 100), (100, 100), (0, 0.25, 1, 0.5)),
        ((10, 5), (1000, 500), (0, 0, 1, 1)),
    ],
)
def test_a_picture_fits_into_any_window(content, window, expected):
    assert fit(content, window) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("desktop", "expected"),
    [((1280, 800), (832, 480)), ((1920, 1080), (832, 480)), ((3840, 2160), (1664, 960)), ((640, 400), (832, 480))],
)
def test_a_window_opens_larger_on_a_screen_of_many_pixels(desktop, expected):
    assert opening_size((832, 480), desktop) == expected


def test_writing_grows_with_the_window_but_slower_and_never_shrinks():
    assert overlay_scale((832, 480)) == 1.0
    assert overlay_scale((400, 300)) == 1.0
    assert 1.5 < overlay_scale((1920, 1080)) < 2.2
    assert overlay_scale((3840, 2160)) > 2.5


def test_three_bytes_four_bytes_and_words_are_the_same_picture():
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    rgba = as_rgba(rgb)
    assert np.array_equal(rgba[..., :3], rgb)
    assert (rgba[..., 3] == 255).all()
    assert np.array_equal(as_rgba(rgba.view("<u4")[..., 0]), rgba)


def test_parts_hold_all_writing_once_and_little_else():
    rng = np.random.default_rng(1)
    overlay = np.zeros((150, 233, 4), np.uint8)
    for x, y in rng.integers(0, 150, (6, 2)):
        overlay[y : y + 9, x : x + 50, 3] = 200
    overlay[149, 232, 3] = 1
    times = np.zeros((150, 233), int)
    for left, top, width, height in written_parts(overlay):
        times[top : top + height, left : left + width] += 1
    assert times.max() == 1
    assert (times[overlay[..., 3] > 0] == 1).all()
    assert times.sum() < 6 * 3 * 3 * 32 * 32


def test_a_clear_overlay_has_no_parts():
    assert len(written_parts(np.zeros((40, 40, 4), np.uint8))) == 0


def test_a_grey_picture_is_refused():
    with pytest.raises(ValueError, match="expected"):
        as_rgba(np.zeros((4, 4), np.uint8))


def test_importing_the_presenter_does_not_import_pygame_or_moderngl():
    code = "import sys, spatia.renderer.present; sys.exit('pygame' in sys.modules or 'moderngl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
