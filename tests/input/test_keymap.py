"""The key map's defaults and a person's own file."""

import pytest
from spatia.input.keymap import COMMANDS, HELD_ACTIONS, KeymapError, key_code, key_name, load_keymap


@pytest.fixture
def own(tmp_path):
    """Writes a person's file and gives its path."""

    def write(text: str):
        path = tmp_path / "keymap.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_bind_every_action_and_command(own):
    keymap = load_keymap(own(""))
    assert set(keymap.held.values()) == set(HELD_ACTIONS)
    assert set(keymap.pressed.values()) == set(COMMANDS)


@pytest.mark.parametrize(
    ("key", "command"),
    [("f5", "save"), ("z", "undo"), ("g", "reroll"), ("home", "home"), ("f1", "help"), ("f12", "picture")],
)
def test_default_keys_are_the_documented_ones(own, key, command):
    assert load_keymap(own("")).pressed[key_code(key)] == command


@pytest.mark.parametrize("name", ["f1", "f12", "left", "home", "page up", "left shift", "space", "delete", "a", "ü"])
def test_key_codes_are_those_of_pygame(name):
    pygame = pytest.importorskip("pygame")
    constants = {"left shift": "LSHIFT", "page up": "PAGEUP", "a": "a"}
    expected = 252 if name == "ü" else getattr(pygame, f"K_{constants.get(name, name.upper())}")
    assert key_code(name) == expected


def test_an_own_binding_replaces_the_default_of_that_action_only(own):
    keymap = load_keymap(own('[held]\nforward = ["i", "up"]\n'))
    assert keymap.held[key_code("i")] == "forward"
    assert key_code("w") not in keymap.held
    assert keymap.held[key_code("s")] == "back"


def test_an_own_binding_takes_the_key_from_the_default_that_had_it(own):
    keymap = load_keymap(own('[held]\nforward = ["z"]\n'))
    assert keymap.held[key_code("z")] == "forward"
    assert key_code("z") not in keymap.pressed


def test_an_empty_list_unbinds(own):
    assert "undo" not in load_keymap(own("[pressed]\nundo = []\n")).pressed.values()


def test_mouse_and_gamepad_settings_are_read(own):
    text = (
        "[mouse]\nradians_per_pixel = 0.01\ninvert_y = true\n"
        "[gamepad]\ndead_zone = 0.3\n[gamepad.pressed]\nfly = [12]\n"
    )
    keymap = load_keymap(own(text))
    assert (keymap.radians_per_pixel, keymap.invert_y, keymap.dead_zone) == (0.01, True, 0.3)
    assert keymap.pad_pressed[12] == "fly"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forward = [", "TOML"),
        ("[keys]\n", "unknown table: 'keys'; expected held"),
        ('[held]\njump = ["x"]\n', "unknown action in .held.: 'jump'; expected forward"),
        ('[pressed]\nsave = ["f99"]\n', "unknown key 'f99'; expected one character"),
        ("[pressed]\nsave = [5]\n", "unknown key 5"),
        ('[pressed]\nsave = "x"\n', "expected a list"),
        ('[pressed]\nsave = ["escape"]\n', "escape releases the mouse"),
        ('[pressed]\nsave = ["x"]\n[held]\nrun = ["x"]\n', "bound to both 'run' and 'save'"),
        ("[mouse]\nradians_per_pixel = 9\n", "expected a number from"),
        ("[mouse]\nspeed = 9\n", "unknown entry in .mouse.: 'speed'"),
        ("[gamepad.held]\nrun = [-1]\n", "button's number"),
        ("held = 3\n", "expected a table"),
    ],
)
def test_a_mistake_names_file_entry_and_choices(own, text, message):
    with pytest.raises(KeymapError, match=rf"keymap\.toml.*{message}"):
        load_keymap(own(text))


def test_a_given_file_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(KeymapError, match="cannot read it"):
        load_keymap(tmp_path / "none.toml")


def test_the_persons_folder_is_read_when_no_file_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr("spatia.input.keymap.user_file", lambda: tmp_path / "keymap.toml")
    assert load_keymap().held[key_code("w")] == "forward"
    (tmp_path / "keymap.toml").write_text('[held]\nforward = ["i"]\n')
    assert load_keymap().held[key_code("i")] == "forward"


def test_help_names_the_keys_that_are_bound(own):
    lines = dict(load_keymap(own('[pressed]\nsave = ["f5", "k"]\n')).help_lines())
    assert lines["F5, K"] == "save the world"
    assert lines["W A S D"] == "walk"
    assert lines["arrow keys"] == "turn, look up and down"


def test_help_names_own_keys_for_walking(own):
    lines = dict(load_keymap(own('[held]\nforward = ["i"]\nturn_left = []\n')).help_lines())
    assert lines["I A S D"] == "walk"
    assert lines["right up down"] == "turn, look up and down"
    assert key_name(key_code("left shift")) == "left shift"


def test_brackets_without_end_are_refused(tmp_path):
    (tmp_path / "keymap.toml").write_text("held = " + "[" * 5000)
    with pytest.raises(KeymapError, match="TOML"):
        load_keymap(tmp_path / "keymap.toml")
