"""Keyboard, mouse and gamepad events on their way to an ``Intent``.

The window hands over pygame's events; nothing here needs a window, so tests feed event objects. pygame is imported
when devices are made, and of it only what is used is initialised: ``pygame.init`` would open the sound card.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .intents import Intent
from .keymap import KEY_BACKSPACE, KEY_ESCAPE, KEY_RETURN, Keymap

IMPLAUSIBLE_FRACTION = 0.25
"""A motion of this part of the window in one event is no hand's: absolute pointers and remote desktops make them."""

JUMPS_UNTIL_DRAG = 2
"""The first jump after a capture may be the pointer's warp to the middle; a second tells of an absolute pointer."""

MAX_TEXT = 400
"""Characters of a prompt."""

_SCANCODE_A = 4  # USB usage of the key at the place of A on a US keyboard; Z is 29


@dataclass(slots=True)
class TextLine:
    """A line of text being typed.

    Attributes:
        text: What stands there.
        swallow: The character of the key that opened the line is still to come and does not belong to it.
    """

    text: str = ""
    swallow: bool = True

    def type(self, characters: str) -> None:
        """Append printable characters up to ``MAX_TEXT``."""
        if self.swallow:
            self.swallow = False
            return
        self.text = (self.text + "".join(c for c in characters if c.isprintable()))[:MAX_TEXT]

    def erase(self) -> None:
        """Drop the last character."""
        self.text = self.text[:-1]


class Devices:
    """Turns events into intents. One thread, the window's, uses it.

    Args:
        keymap: Bindings.
        window_size: (width, height) of the window in the units of its mouse events.
        capture: Called with True to hide and hold the pointer, with False to let it go.
    """

    def __init__(
        self, keymap: Keymap, window_size: tuple[int, int], *, capture: Callable[[bool], None] | None = None
    ) -> None:
        self._pygame = _import_pygame()
        self._keymap = keymap
        self._capture = capture if capture is not None else lambda _: None
        self.window_size = window_size
        self.is_captured = False
        self.is_drag_look = False
        self._jumps = 0
        self._dragging = False
        self._down: dict[tuple[str, int], str] = {}  # ("key" or "pad", code) to what it does
        self._tapped: set[str] = set()
        self._look = [0.0, 0.0]
        self._commands: list[str] = []
        self._line: TextLine | None = None
        self._typed = ""
        self._leaving = False
        self._pads: dict[int, Any] = {}
        self._axes: dict[tuple[int, int], float] = {}
        p = self._pygame
        self._handlers: dict[int, Callable[[Any], None]] = {
            p.KEYDOWN: self._key_down,
            p.KEYUP: self._key_up,
            p.TEXTINPUT: self._text_input,
            p.MOUSEBUTTONDOWN: self._button_down,
            p.MOUSEBUTTONUP: self._button_up,
            p.MOUSEMOTION: self._motion,
            p.WINDOWFOCUSLOST: lambda _: self.release(),
            p.WINDOWRESIZED: self._resized,
            p.VIDEORESIZE: self._resized,
            p.QUIT: lambda _: self._commands.append("quit"),
            p.JOYAXISMOTION: self._axis,
            p.JOYBUTTONDOWN: self._pad_down,
            p.JOYBUTTONUP: self._pad_up,
            p.JOYDEVICEADDED: self._pad_added,
            p.JOYDEVICEREMOVED: self._pad_removed,
        }

    @property
    def prompt_text(self) -> str | None:
        """The line being typed, or None."""
        return None if self._line is None else self._line.text

    def handle(self, events: Iterable[Any]) -> None:
        """Take in events, in order; unknown ones are passed over."""
        for event in events:
            handler = self._handlers.get(event.type)
            if handler is not None:
                handler(event)

    def intent(self) -> Intent:
        """What is wanted now. Turns, commands and typed text are handed out once; held keys until they are let go."""
        down = self._tapped.union(self._down.values())
        pad = self._pad_sticks()
        intent = Intent(
            forward=_axis_of(down, "forward", "back", -pad[1]),
            right=_axis_of(down, "right", "left", pad[0]),
            up=_axis_of(down, "rise", "sink"),
            yaw=_axis_of(down, "turn_right", "turn_left", pad[2]),
            pitch=_axis_of(down, "look_up", "look_down", pad[3] if self._keymap.invert_y else -pad[3]),
            look_yaw_rad=self._look[0],
            look_pitch_rad=self._look[1],
            fast="run" in down,
            rewind="rewind" in down,
            commands=tuple(self._commands),
            text=self._typed,
        )
        self._tapped.clear()
        self._commands.clear()
        self._look = [0.0, 0.0]
        self._typed = ""
        return intent

    def release(self) -> None:
        """Let the pointer go and forget every held key, as when the window loses the focus."""
        if self.is_captured:
            self.is_captured = False
            self._capture(False)
        self._dragging = False
        self._down.clear()
        self._tapped.clear()
        self._look = [0.0, 0.0]

    # keyboard

    def _key_down(self, event: Any) -> None:
        if self._line is not None:
            self._edit(self._line, event.key)
            return
        if event.key == KEY_ESCAPE:
            self._escape()
            return
        self._leaving = False
        code = self._code(event)
        self._begin(("key", code), self._keymap.held.get(code))
        self._command(self._keymap.pressed.get(code))

    def _key_up(self, event: Any) -> None:
        self._down.pop(("key", self._code(event)), None)

    def _code(self, event: Any) -> int:
        """The key's code; on keyboards without Latin letters that of the same place on a US keyboard."""
        scancode = getattr(event, "scancode", 0)
        if 127 < event.key < 1 << 30 and _SCANCODE_A <= scancode < _SCANCODE_A + 26:
            return ord("a") + scancode - _SCANCODE_A
        return event.key

    def _begin(self, source: tuple[str, int], action: str | None) -> None:
        if action is not None:
            self._down[source] = action
            self._tapped.add(action)  # a key let go within the same frame still counts

    def _command(self, name: str | None) -> None:
        if name == "prompt":
            self.release()
            self._line = TextLine()
        elif name is not None:
            self._commands.append(name)

    def _escape(self) -> None:
        """Release first, leave at the second time."""
        if self._leaving:
            self._commands.append("quit")
            return
        self.release()
        self._leaving = True
        self._commands.append("release")

    # prompt

    def _edit(self, line: TextLine, key: int) -> None:
        line.swallow = False
        if key == KEY_BACKSPACE:
            line.erase()
        elif key in (KEY_RETURN, 1 << 30 | 88):  # the second is the number block's
            self._typed = line.text.strip()
            self._commands.append("prompt")
            self._line = None
        elif key == KEY_ESCAPE:
            self._line = None

    def _text_input(self, event: Any) -> None:
        if self._line is not None:
            self._line.type(event.text)

    # mouse

    def _button_down(self, event: Any) -> None:
        if event.button == 3 and self.is_captured:
            self._command("mark")  # the pointer is hidden: it points at the middle
        if event.button != 1 or self._line is not None:
            return
        self._leaving = False
        if self.is_drag_look:
            self._dragging = True
        elif not self.is_captured:
            self.is_captured = True
            self._jumps = 0
            self._capture(True)

    def _button_up(self, event: Any) -> None:
        if event.button == 1:
            self._dragging = False

    def _motion(self, event: Any) -> None:
        if not (self.is_captured or self._dragging):
            return
        dx, dy = event.rel
        if (
            abs(dx) >= IMPLAUSIBLE_FRACTION * self.window_size[0]
            or abs(dy) >= IMPLAUSIBLE_FRACTION * self.window_size[1]
        ):
            self._jumped()
            return
        scale = self._keymap.radians_per_pixel
        self._look[0] += dx * scale
        self._look[1] += dy * scale if self._keymap.invert_y else -dy * scale

    def _jumped(self) -> None:
        """Drop the motion; a pointer that keeps jumping is looked with by dragging from now on."""
        self._jumps += 1
        if self.is_captured and self._jumps >= JUMPS_UNTIL_DRAG:
            self.is_drag_look = True
            self.is_captured = False
            self._capture(False)
            self._commands.append("drag_look")

    def _resized(self, event: Any) -> None:
        size = getattr(event, "size", None) or (event.x, event.y)
        self.window_size = (max(1, int(size[0])), max(1, int(size[1])))

    # gamepad

    def _pad_added(self, event: Any) -> None:
        pad = self._pygame.joystick.Joystick(event.device_index)
        self._pads[pad.get_instance_id()] = pad  # events come only while it is kept

    def _pad_removed(self, event: Any) -> None:
        self._pads.pop(event.instance_id, None)
        self._axes = {key: value for key, value in self._axes.items() if key[0] != event.instance_id}
        self._down = {source: action for source, action in self._down.items() if source[0] != "pad"}

    def _axis(self, event: Any) -> None:
        self._axes[event.instance_id, event.axis] = float(event.value)

    def _pad_down(self, event: Any) -> None:
        if self._line is None:
            self._leaving = False
            self._begin(("pad", event.button), self._keymap.pad_held.get(event.button))
            self._command(self._keymap.pad_pressed.get(event.button))

    def _pad_up(self, event: Any) -> None:
        self._down.pop(("pad", event.button), None)

    def _pad_sticks(self) -> tuple[float, float, float, float]:
        """Move x, y and look x, y, each stick past its dead zone; the one pushed farthest counts."""
        values = [0.0] * 4
        for index, number in enumerate(self._keymap.pad_axes):
            pushed = [value for (_, axis), value in self._axes.items() if axis == number]
            values[index] = max(pushed, key=abs, default=0.0)
        zone = self._keymap.dead_zone
        return (*past_dead_zone(values[0], values[1], zone), *past_dead_zone(values[2], values[3], zone))


def past_dead_zone(x: float, y: float, zone: float) -> tuple[float, float]:
    """A stick's push with the dead middle taken out, so that it starts from nothing at the zone's edge.

    Args:
        x: -1..1.
        y: -1..1.
        zone: Radius of the dead middle, below 1.

    Returns:
        Same direction, length 0..1.
    """
    length = float(np.hypot(x, y))
    if length <= zone:
        return 0.0, 0.0
    scale = min((length - zone) / (1.0 - zone), 1.0) / length
    return x * scale, y * scale


def open_devices(keymap: Keymap, window_size: tuple[int, int]) -> Devices:
    """Devices of a real window: gamepads are looked for, and a click holds pygame's pointer.

    Call it after the window is open.
    """
    pygame = _import_pygame()
    pygame.joystick.init()

    def capture(hold: bool) -> None:
        pygame.mouse.set_visible(not hold)
        pygame.event.set_grab(hold)  # hidden and grabbed: SDL reports relative motion without an edge

    return Devices(keymap, window_size, capture=capture)


def _axis_of(down: set[str], positive: str, negative: str, stick: float = 0.0) -> float:
    """-1..1 of two opposite keys and a stick."""
    return float(np.clip((positive in down) - (negative in down) + stick, -1.0, 1.0))


def _import_pygame() -> Any:
    """pygame without its greeting on standard output."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    return pygame
