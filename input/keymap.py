"""Which key, button and axis means what: defaults from ``keymap.toml`` and a person's own file over them."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

HELD_ACTIONS = (
    "forward",
    "left",
    "back",
    "right",
    "rise",
    "sink",
    "turn_left",
    "turn_right",
    "look_up",
    "look_down",
    "run",
    "rewind",
)
"""What a key does for as long as it is held."""

_HELP_GROUPS = (
    (("forward", "left", "back", "right"), "walk"),
    (("rise", "sink"), "rise and sink, when flying"),
    (("turn_left", "turn_right", "look_up", "look_down"), "turn, look up and down"),
    (("run",), "faster, while held"),
    (("rewind",), "go back in time, while held"),
)

COMMANDS: Mapping[str, str] = {
    "save": "save the world",
    "undo": "undo the last clip",
    "reroll": "make the undone place anew",
    "home": "go back to the start",
    "fly": "fly or walk",
    "help": "this help",
    "details": "all details",
    "tint": "tint by origin",
    "masks": "show what moves",
    "mark": "say that what is in the middle moves",
    "wipe": "compare with the true photo",
    "picture": "take a picture",
    "video": "start or stop a video",
    "fullscreen": "fill the screen",
    "prompt": "describe what to make",
}
"""What a key does once when pressed, with the words of the help."""

_SCANCODE_MASK = 1 << 30  # SDL: keys without a character are their scan code with this bit

_NAMED_KEYS: dict[str, int] = {
    "backspace": 8,
    "tab": 9,
    "return": 13,
    "escape": 27,
    "space": 32,
    "delete": 127,
    **{f"f{n}": _SCANCODE_MASK | (57 + n) for n in range(1, 13)},
    **{
        name: _SCANCODE_MASK | code
        for name, code in {
            "insert": 73,
            "home": 74,
            "page up": 75,
            "end": 77,
            "page down": 78,
            "right": 79,
            "left": 80,
            "down": 81,
            "up": 82,
            "left ctrl": 224,
            "left shift": 225,
            "left alt": 226,
            "right ctrl": 228,
            "right shift": 229,
            "right alt": 230,
        }.items()
    },
}

_ARROWS = ["down", "left", "right", "up"]

KEY_ESCAPE, KEY_RETURN, KEY_BACKSPACE = 27, 13, 8

DEFAULT_FILE = Path(__file__).with_name("keymap.toml")


class KeymapError(ValueError):
    """A key map that cannot be read, with the file, the entry and what is allowed."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """Bindings. Keys are SDL key codes (what pygame events carry), buttons and axes the gamepad's numbers.

    Attributes:
        held: Key to what it does while held (``HELD_ACTIONS``).
        pressed: Key to the command it gives once (``COMMANDS``).
        pad_held: Gamepad button to what it does while held.
        pad_pressed: Gamepad button to the command it gives once.
        pad_axes: Axis numbers of move_x, move_y, look_x, look_y; positive is right and down (back).
        dead_zone: How far a stick may rest from its middle, 0..0.9.
        radians_per_pixel: Turn for one pixel of the mouse.
        invert_y: Pushing the mouse or stick forward looks down.
    """

    held: Mapping[int, str]
    pressed: Mapping[int, str]
    pad_held: Mapping[int, str] = field(default_factory=dict[int, str])
    pad_pressed: Mapping[int, str] = field(default_factory=dict[int, str])
    pad_axes: tuple[int, int, int, int] = (0, 1, 3, 4)
    dead_zone: float = 0.15
    radians_per_pixel: float = 0.0022
    invert_y: bool = False

    def help_lines(self) -> tuple[tuple[str, str], ...]:
        """(keys, what they do) for the help, movement first; things that belong together share a line."""
        lines: list[tuple[str, str]] = [("click", "look with the mouse"), ("Esc", "let the mouse go; twice: leave")]
        for actions, words in _HELP_GROUPS:
            keys = [key_name(code) for action in actions for code, what in self.held.items() if what == action]
            if keys:
                text = " ".join(keys)
                lines.append(("arrow keys" if sorted(keys) == _ARROWS else text, words))
        for command, words in COMMANDS.items():
            keys = [key_name(code) for code, what in self.pressed.items() if what == command]
            if keys:
                lines.append((", ".join(keys), words))
        return tuple(lines)


def key_code(name: str) -> int:
    """SDL key code of a key's name.

    Raises:
        KeyError: There is no key of this name.
    """
    lowered = name.strip().lower() if len(name) > 1 else name.lower()
    if len(lowered) == 1 and lowered.isprintable():
        return ord(lowered)
    return _NAMED_KEYS[lowered]


def key_name(code: int) -> str:
    """Name of a key for people: ``"W"``, ``"F5"``, ``"left shift"``."""
    for name, known in _NAMED_KEYS.items():
        if known == code:
            return name.upper() if name[0] == "f" and name[1:].isdigit() else name
    return chr(code).upper() if 0 < code < _SCANCODE_MASK else f"key {code}"


def user_file() -> Path:
    """Where a person's own key map lies, whether or not it exists."""
    import platformdirs

    return platformdirs.user_config_path("spatia") / "keymap.toml"


def load_keymap(path: Path | None = None) -> Keymap:
    """Read the defaults and a person's own file over them.

    A key that the person's file binds is taken from whatever the defaults gave it to.

    Args:
        path: The person's file; the one in the configuration folder, if it exists, when not given.

    Raises:
        KeymapError: The file is missing, no TOML, or names an unknown table, action, key or number.
    """
    own = path if path is not None else user_file()
    defaults = _read(DEFAULT_FILE)
    if path is None and not own.is_file():
        return _build(defaults, {}, own)
    return _build(defaults, _read(own), own)


Table = dict[str, object]
CodeOf = Callable[[object, str, Path], int]


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeymapError(f"{path}: expected a key map, cannot read it: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeymapError(f"{path}: expected a key map in TOML, {error}") from error


def _build(defaults: Table, own: Table, path: Path) -> Keymap:
    _refuse_unknown(own, ("held", "pressed", "mouse", "gamepad"), "table", path)
    pad, own_pad = _table(defaults, "gamepad", path), _table(own, "gamepad", path)
    mouse = _table(defaults, "mouse", path) | _table(own, "mouse", path)
    numbers = {k: v for k, v in (pad | own_pad).items() if k not in ("held", "pressed")}
    _refuse_unknown(mouse, ("radians_per_pixel", "invert_y"), "entry in [mouse]", path)
    _refuse_unknown(numbers, ("move_x", "move_y", "look_x", "look_y", "dead_zone"), "entry in [gamepad]", path)
    keys = _bindings(defaults, own, _code, path, where="")
    buttons = _bindings(pad, own_pad, _button, path, where="gamepad.")
    if not isinstance(mouse["invert_y"], bool):
        raise KeymapError(f"{path}: invert_y: expected true or false, got {mouse['invert_y']!r}")
    axes = [int(_number(numbers, name, (0, 31), path)) for name in ("move_x", "move_y", "look_x", "look_y")]
    return Keymap(
        held={code: what for code, what in keys.items() if what in HELD_ACTIONS},
        pressed={code: what for code, what in keys.items() if what in COMMANDS},
        pad_held={code: what for code, what in buttons.items() if what in HELD_ACTIONS},
        pad_pressed={code: what for code, what in buttons.items() if what in COMMANDS},
        pad_axes=(axes[0], axes[1], axes[2], axes[3]),
        dead_zone=_number(numbers, "dead_zone", (0.0, 0.9), path),
        radians_per_pixel=_number(mouse, "radians_per_pixel", (1e-5, 0.1), path),
        invert_y=mouse["invert_y"],
    )


def _bindings(defaults: Table, own: Table, code_of: CodeOf, path: Path, *, where: str) -> dict[int, str]:
    """Code to action of both kinds, the person's bindings first in rank."""
    mine: dict[int, str] = {}
    named: set[str] = set()
    for kind, names in (("held", HELD_ACTIONS), ("pressed", tuple(COMMANDS))):
        table = _table(own, kind, path)
        _refuse_unknown(table, names, f"action in [{where}{kind}]", path)
        named.update(table)
        for action, keys in table.items():
            for key in _list(keys, f"[{where}{kind}] {action}", path):
                code = code_of(key, f"[{where}{kind}] {action}", path)
                if mine.setdefault(code, action) != action:
                    raise KeymapError(f"{path}: {key!r} is bound to both {mine[code]!r} and {action!r}; choose one")
    out: dict[int, str] = {}
    for kind in ("held", "pressed"):
        for action, keys in _table(defaults, kind, path).items():
            if action not in named:
                out.update({code_of(key, action, path): action for key in _list(keys, action, path)})
    return out | mine


def _code(key: object, where: str, path: Path) -> int:
    """Key code of a name in a file."""
    try:
        code = key_code(key) if isinstance(key, str) and key else -1
    except KeyError:
        code = -1
    if code < 0:
        names = ", ".join(sorted(_NAMED_KEYS))
        raise KeymapError(f"{path}: {where}: unknown key {key!r}; expected one character, or {names}")
    if code == KEY_ESCAPE:
        raise KeymapError(f"{path}: {where}: escape releases the mouse and leaves; choose another key")
    return code


def _button(key: object, where: str, path: Path) -> int:
    """Button number in a file."""
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < 64:
        raise KeymapError(f"{path}: {where}: expected a button's number from 0 to 63, got {key!r}")
    return key


def _table(parent: Table, name: str, path: Path) -> Table:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise KeymapError(f"{path}: {name}: expected a table, got {value!r}")
    return cast(Table, value)


def _list(value: object, where: str, path: Path) -> list[object]:
    if not isinstance(value, list):
        raise KeymapError(f'{path}: {where}: expected a list such as ["w"], got {value!r}')
    return cast("list[object]", value)


def _number(table: Table, name: str, bounds: tuple[float, float], path: Path) -> float:
    value = table[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not bounds[0] <= value <= bounds[1]:
        raise KeymapError(f"{path}: {name}: expected a number from {bounds[0]} to {bounds[1]}, got {value!r}")
    return float(value)


def _refuse_unknown(table: Table, known: tuple[str, ...], what: str, path: Path) -> None:
    for name in table:
        if name not in known:
            raise KeymapError(f"{path}: unknown {what}: {name!r}; expected {', '.join(known)}")
