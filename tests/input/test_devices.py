"""Events become intents; no window is needed."""

import sys
from types import SimpleNamespace

import pygame
import pytest
from spatia.input.devices import Devices, past_dead_zone
from spatia.input.intents import Intent
from spatia.input.keymap import Keymap, key_code, load_keymap


class Pointer:
    """Records what was asked of the pointer."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def __call__(self, hold: bool) -> None:
        self.calls.append(hold)


@pytest.fixture
def pointer() -> Pointer:
    return Pointer()


@pytest.fixture
def keymap(tmp_path) -> Keymap:
    (tmp_path / "none.toml").write_text("")
    return load_keymap(tmp_path / "none.toml")


@pytest.fixture
def devices(keymap, pointer) -> Devices:
    return Devices(keymap, (800, 400), capture=pointer)


def event(kind: int, **attributes):
    return pygame.event.Event(kind, **attributes)


def press(name: str, scancode: int = 0):
    return event(pygame.KEYDOWN, key=key_code(name), scancode=scancode)


def let_go(name: str):
    return event(pygame.KEYUP, key=key_code(name), scancode=0)


def typed(text: str):
    return event(pygame.TEXTINPUT, text=text)


def move(dx: int, dy: int):
    return event(pygame.MOUSEMOTION, rel=(dx, dy), pos=(0, 0), buttons=(0, 0, 0))


CLICK = event(pygame.MOUSEBUTTONDOWN, button=1, pos=(1, 1))
LET_GO_OF_BUTTON = event(pygame.MOUSEBUTTONUP, button=1, pos=(1, 1))
FOCUS_LOST = event(pygame.WINDOWFOCUSLOST)


def test_nothing_pressed_is_an_empty_intent(devices):
    assert devices.intent() == Intent()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("w", Intent(forward=1)),
        ("s", Intent(forward=-1)),
        ("d", Intent(right=1)),
        ("a", Intent(right=-1)),
        ("e", Intent(up=1)),
        ("q", Intent(up=-1)),
        ("right", Intent(yaw=1)),
        ("left", Intent(yaw=-1)),
        ("up", Intent(pitch=1)),
        ("down", Intent(pitch=-1)),
        ("left shift", Intent(fast=True)),
    ],
)
def test_a_held_key_counts_until_it_is_let_go(devices, key, expected):
    devices.handle([press(key)])
    assert [devices.intent(), devices.intent()] == [expected, expected]
    devices.handle([let_go(key)])
    assert devices.intent() == Intent()


def test_a_tap_between_two_frames_is_not_lost(devices):
    devices.handle([press("w"), let_go("w")])
    assert devices.intent().forward == 1
    assert devices.intent().forward == 0


def test_opposite_keys_cancel(devices):
    devices.handle([press("w"), press("s")])
    assert devices.intent().forward == 0


def test_one_of_two_keys_for_the_same_thing_may_be_let_go(devices):
    devices.handle([press("left shift"), press("right shift"), let_go("left shift")])
    devices.intent()
    assert devices.intent().fast


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("f5", "save"),
        ("z", "undo"),
        ("g", "reroll"),
        ("home", "home"),
        ("f", "fly"),
        ("f1", "help"),
        ("f3", "details"),
        ("v", "tint"),
        ("x", "mark"),
        ("h", "wipe"),
        ("f12", "picture"),
        ("f10", "video"),
    ],
)
def test_a_command_is_given_once(devices, key, command):
    devices.handle([press(key)])
    assert devices.intent().commands == (command,)
    assert devices.intent().commands == ()


def test_the_right_button_marks_the_middle_where_the_pointer_is_held(devices):
    right = event(pygame.MOUSEBUTTONDOWN, button=3, pos=(1, 1))
    devices.handle([right])
    assert devices.intent().commands == ()
    devices.handle([CLICK, right])
    assert devices.intent().commands == ("mark",)


def test_a_keyboard_without_latin_letters_walks_by_the_places_of_its_keys(devices):
    devices.handle([event(pygame.KEYDOWN, key=0x446, scancode=26)])  # Cyrillic tse at the place of W
    assert devices.intent().forward == 1
    devices.handle([event(pygame.KEYUP, key=0x446, scancode=26)])
    assert devices.intent().forward == 0


def test_the_mouse_looks_only_after_a_click(devices, pointer):
    devices.handle([move(10, 5)])
    assert devices.intent() == Intent()
    devices.handle([CLICK, move(10, 0), move(10, -20)])
    intent = devices.intent()
    assert pointer.calls == [True]
    assert intent.look_yaw_rad == pytest.approx(20 * 0.0022)
    assert intent.look_pitch_rad == pytest.approx(20 * 0.0022)


def test_a_turn_by_mouse_is_handed_out_once(devices):
    devices.handle([CLICK, move(10, 0)])
    devices.intent()
    assert devices.intent() == Intent()


def test_looking_can_be_inverted(tmp_path):
    (tmp_path / "own.toml").write_text("[mouse]\ninvert_y = true\n")
    devices = Devices(load_keymap(tmp_path / "own.toml"), (800, 400))
    devices.handle([CLICK, move(0, 10)])
    assert devices.intent().look_pitch_rad > 0


@pytest.mark.parametrize("end", [press("escape"), FOCUS_LOST])
def test_escape_or_losing_the_focus_releases_the_mouse_and_clears_keys(devices, pointer, end):
    devices.handle([CLICK, press("w"), move(10, 0), end, move(10, 0)])
    intent = devices.intent()
    assert pointer.calls == [True, False]
    assert (intent.forward, intent.look_yaw_rad) == (0, 0)


def test_escape_twice_leaves(devices):
    devices.handle([CLICK, press("escape")])
    assert devices.intent().commands == ("release",)
    devices.handle([press("escape")])
    assert devices.intent().commands == ("quit",)


def test_walking_on_after_escape_disarms_leaving(devices):
    devices.handle([press("escape"), press("w"), press("escape")])
    assert "quit" not in devices.intent().commands


def test_closing_the_window_leaves(devices):
    devices.handle([event(pygame.QUIT)])
    assert devices.intent().commands == ("quit",)


@pytest.mark.parametrize("jump", [(200, 0), (-300, 3), (0, 100), (2, -150)])
def test_an_implausible_jump_turns_nothing(devices, jump):
    devices.handle([CLICK, move(*jump)])
    assert devices.intent() == Intent()


def test_a_fast_but_plausible_motion_counts_whole(devices):
    devices.handle([CLICK, move(199, 99)])
    assert devices.intent().look_yaw_rad == pytest.approx(199 * 0.0022)


def test_jumps_again_and_again_fall_back_to_looking_by_dragging(devices, pointer):
    devices.handle([CLICK, move(300, 0), move(-300, 0), LET_GO_OF_BUTTON])
    assert devices.intent().commands == ("drag_look",)
    assert (devices.is_drag_look, pointer.calls) == (True, [True, False])
    devices.handle([move(10, 0)])
    assert devices.intent().look_yaw_rad == 0
    devices.handle([CLICK, move(10, 0), LET_GO_OF_BUTTON, move(10, 0)])
    assert devices.intent().look_yaw_rad == pytest.approx(10 * 0.0022)
    assert pointer.calls == [True, False]


def test_a_larger_window_allows_larger_motions(devices):
    devices.handle([event(pygame.WINDOWRESIZED, x=1600, y=800), CLICK, move(300, 0)])
    assert devices.intent().look_yaw_rad == pytest.approx(300 * 0.0022)


def test_a_prompt_is_typed_and_handed_out_once(devices):
    devices.handle([press("t"), typed("t"), press("a"), typed("a"), typed("ü"), press("x"), typed("x")])
    assert devices.prompt_text == "aüx"
    devices.handle([press("backspace")])
    assert devices.intent() == Intent()
    devices.handle([press("return")])
    assert devices.intent() == Intent(commands=("prompt",), text="aü")
    assert devices.intent() == Intent()
    assert devices.prompt_text is None


def test_a_prompt_stops_walking_and_releases_the_mouse(devices, pointer):
    devices.handle([CLICK, press("w"), press("t"), press("s"), press("f5")])
    assert devices.intent() == Intent()
    assert pointer.calls == [True, False]


def test_escape_drops_the_prompt_and_does_not_leave(devices):
    devices.handle([press("t"), typed("t"), press("x"), typed("x"), press("escape"), press("escape")])
    assert devices.intent() == Intent(commands=("release",))


def test_a_prompt_has_an_end(devices):
    devices.handle([press("t"), typed("t"), typed("x" * 5000)])
    assert len(devices.prompt_text) == 400


def push(axis: int, value: float, pad: int = 0):
    return event(pygame.JOYAXISMOTION, instance_id=pad, axis=axis, value=value)


def test_sticks_walk_and_turn(devices):
    devices.handle([push(1, -1.0), push(3, 1.0)])
    assert devices.intent() == Intent(forward=1, yaw=1)
    devices.handle([push(1, 0.0), push(3, 0.0), push(0, -1.0), push(4, -1.0)])
    assert devices.intent() == Intent(right=-1, pitch=1)


def test_a_stick_at_rest_does_not_drift(devices):
    devices.handle([push(0, 0.1), push(1, 0.1)])
    assert devices.intent() == Intent()


def test_past_the_dead_zone_a_push_starts_from_nothing_and_keeps_its_direction():
    assert past_dead_zone(0.16, 0.0, 0.15)[0] == pytest.approx(0.01 / 0.85)
    assert past_dead_zone(0.3, 0.4, 0.0) == pytest.approx((0.3, 0.4))
    assert past_dead_zone(0.9, 0.9, 0.15) == pytest.approx((0.5**0.5, 0.5**0.5))


def test_buttons_of_a_gamepad_are_held_or_pressed(devices):
    devices.handle([event(pygame.JOYBUTTONDOWN, instance_id=0, button=5), event(pygame.JOYBUTTONDOWN, button=3)])
    assert devices.intent() == Intent(up=1, commands=("fly",))
    devices.handle([event(pygame.JOYBUTTONUP, instance_id=0, button=5)])
    assert devices.intent() == Intent()


def test_a_gamepad_pulled_out_stops_walking(devices, monkeypatch):
    pad = SimpleNamespace(get_instance_id=lambda: 7)
    monkeypatch.setattr(pygame.joystick, "Joystick", lambda index: pad)
    devices.handle([event(pygame.JOYDEVICEADDED, device_index=0), push(1, -1.0, pad=7)])
    devices.handle([event(pygame.JOYBUTTONDOWN, instance_id=7, button=5)])
    devices.intent()
    devices.handle([event(pygame.JOYDEVICEREMOVED, instance_id=7)])
    assert devices.intent() == Intent()


def test_importing_the_devices_does_not_import_pygame():
    import subprocess

    code = "import sys, spatia.input.devices, spatia.input.keymap; sys.exit('pygame' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
