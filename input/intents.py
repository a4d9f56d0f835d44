"""What the person or agent wants in one tick, without units."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intent:
    """Wishes for one tick. Axes are -1..1; the rig gives them units (1.0 is 1.4 m/s, or 90°/s).

    Attributes:
        forward: Positive walks forward.
        right: Positive steps to the right.
        up: Positive rises (fly mode only).
        yaw: Rate; positive turns right.
        pitch: Rate; positive looks up.
        look_yaw_rad: Angle turned at once, as from a mouse; never multiplied by time.
        look_pitch_rad: Likewise; positive looks up.
        fast: Run.
        rewind: Go back along the way that was come, and the world with it.
        commands: One-shot wishes, such as "save", "undo", "reroll", "home", "fly", "help", "details", "tint", "mark",
            "wipe", "picture", "video", "fullscreen", "prompt", "quit"; see ``keymap``. Devices also tell "release" (Esc
            let the mouse go; once more leaves) and "drag_look" (the mouse jumps: look by dragging from now on).
        text: What was typed for the command "prompt".
    """

    forward: float = 0.0
    right: float = 0.0
    up: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    look_yaw_rad: float = 0.0
    look_pitch_rad: float = 0.0
    fast: bool = False
    rewind: bool = False
    commands: tuple[str, ...] = ()
    text: str = ""
