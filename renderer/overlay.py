"""What is written over the picture: status, details, help, map, messages, the wipe and the prompt's line.

Each part is a small tile that is drawn again only when what it shows changed; parts that change with every frame are
drawn again some times a second. The overlay is a new array whenever anything on it changed, and the same one otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Rgba = npt.NDArray[np.uint8]

PLATE = (12, 14, 18, 185)
TEXT = (236, 238, 241, 255)
QUIET = (158, 165, 174, 255)
ACCENT = (255, 184, 77, 255)
GOOD = (112, 201, 128, 255)
BAD = (240, 96, 84, 255)

TINT_LEGEND = (("observed", (89, 204, 115, 255)), ("estimated", (77, 153, 255, 255)), ("invented", (255, 140, 51, 255)))
"""Names and colours of the tint by origin, as the renderers draw it."""

FONT_PX = 13
MARGIN_PX = 10
DETAILS_EVERY = 15
"""Calls between two drawings of figures that change with every frame (a quarter of a second at 60 Hz)."""

GRAPH_TOP_MS = 34.0
FRAME_BUDGET_MS = 1000.0 / 60.0


@dataclass(frozen=True, slots=True, eq=False)
class OverlayState:
    """Everything the overlay can show. Texts are shown as they are; empty ones are not shown.

    Attributes:
        status: The quiet line at the bottom left, such as "generating 0.8 s · merged 3 · saved".
        is_busy: A clip is being made; the line gets a mark.
        is_recording: A video is being recorded.
        details: (name, value) rows of the details panel.
        details_shown: Whether the panel is open.
        frame_times_ms: Times of the last frames, oldest first, for the panel's graph.
        help: (keys, what they do) rows of the help.
        help_shown: Whether the help is open.
        map_tile: (S, S, 4) uint8 drawn by ``Minimap``, or None. Another array is another map.
        toast: A short message, such as "saved".
        notice: Something to know all the time, such as that distances are a guess.
        mask_tile: (h, w, 4) uint8, a keyframe with what moves in it, or None. Another array is another picture.
        mask_text: What stands beside it; empty while masks are not shown.
        preview_tile: (h, w, 4) uint8, the newest finished frame of a clip that is being made, or None. Another array is
            another picture.
        preview_text: What stands beside it.
        tint_shown: Whether the picture is tinted by origin; shows the colours' names.
        wipe_fraction: Where the wipe's line stands, 0..1 from the left, or None.
        wipe_text: What stands at the wipe's line, such as "24.1 dB".
        prompt_text: The line being typed, or None.
    """

    status: str = ""
    is_busy: bool = False
    is_recording: bool = False
    details: tuple[tuple[str, str], ...] = ()
    details_shown: bool = False
    frame_times_ms: npt.NDArray[np.floating] | Sequence[float] = ()
    help: tuple[tuple[str, str], ...] = ()
    help_shown: bool = False
    map_tile: Rgba | None = None
    mask_tile: Rgba | None = None
    mask_text: str = ""
    preview_tile: Rgba | None = None
    preview_text: str = ""
    toast: str = ""
    notice: str = ""
    tint_shown: bool = False
    wipe_fraction: float | None = None
    wipe_text: str = ""
    prompt_text: str | None = None


@dataclass(slots=True)
class _Tile:
    """A drawn part: what it was drawn from, its pixels and its corner."""

    source: Any
    image: Rgba | None
    corner: tuple[int, int] = (0, 0)


class Overlay:
    """Draws overlays and remembers what it drew. One thread uses it."""

    def __init__(self) -> None:
        self._tiles: dict[str, _Tile] = {}
        self._canvas: Rgba | None = None
        self._spare: tuple[Rgba, list[_Tile]] | None = None  # the canvas before it, and what stands on it
        self._layout: tuple[tuple[int, int], float] = ((0, 0), 0.0)
        self._placed: list[_Tile] = []
        self._calls = 0
        self.num_drawn = 0

    def draw(self, state: OverlayState, size: tuple[int, int], scale: float = 1.0) -> Rgba | None:
        """The overlay for a state.

        Args:
            state: What to show.
            size: (width, height) of the window in pixels.
            scale: Size of the writing; 1 suits 832x480.

        Returns:
            (height, width, 4) uint8 sRGB with straight alpha, or None when there is nothing to show. The same object
            as the last one while nothing changed; not to be written to, and valid until the second change from now.
        """
        if (size, scale) != self._layout:
            self._layout = (size, scale)
            self._tiles.clear()
            self._canvas = self._spare = None
            self._placed: list[_Tile] = []
        changed = self._canvas is None
        for name, source, paint in self._parts(state):
            changed |= self._refresh(name, source, paint)
        self._calls += 1
        if changed:
            self._canvas = self._compose()
            self.num_drawn += 1
        return self._canvas if any(t.image is not None for t in self._tiles.values()) else None

    def _parts(self, s: OverlayState) -> list[tuple[str, Any, Callable[[], tuple[Rgba, tuple[int, int]] | None]]]:
        """Name, what it is drawn from, and how, back to front."""
        beat = self._calls // DETAILS_EVERY if s.details_shown else -1
        tile = None if s.map_tile is None else id(s.map_tile)
        return [
            ("wipe", (s.wipe_fraction, s.wipe_text), lambda: self._wipe(s)),
            ("map", tile, lambda: self._map(s)),
            ("masks", (None if s.mask_tile is None else id(s.mask_tile), s.mask_text), lambda: self._masks(s)),
            (
                "preview",
                (None if s.preview_tile is None else id(s.preview_tile), s.preview_text),
                lambda: self._preview(s),
            ),
            ("legend", s.tint_shown, lambda: self._legend(s)),
            ("notice", s.notice, lambda: self._notice(s)),
            ("status", (s.status, s.is_busy, s.is_recording), lambda: self._status(s)),
            ("details", (beat, s.details_shown), lambda: self._details(s)),
            ("toast", (s.toast, s.prompt_text is None), lambda: self._toast(s)),
            ("prompt", s.prompt_text, lambda: self._prompt(s)),
            ("help", s.help if s.help_shown else None, lambda: self._help(s)),
        ]

    def _refresh(self, name: str, source: Any, paint: Callable[[], tuple[Rgba, tuple[int, int]] | None]) -> bool:
        tile = self._tiles.get(name)
        if tile is not None and tile.source == source:
            return False
        painted = paint()
        was_empty = tile is None or tile.image is None
        self._tiles[name] = _Tile(source, None) if painted is None else _Tile(source, *painted)
        return not (was_empty and painted is None)

    def _compose(self) -> Rgba:
        """The tiles on the canvas that is not shown: only what stood on it is cleared, large windows are slow to."""
        (width, height), _ = self._layout
        if self._spare is None:
            canvas = np.zeros((height, width, 4), np.uint8)
        else:
            canvas, stale = self._spare
            for tile in stale:
                _clear(canvas, tile)
        self._spare = None if self._canvas is None else (self._canvas, self._placed)
        self._placed = [t for t in self._tiles.values() if t.image is not None]
        for tile in self._placed:
            if tile.image is not None:
                _place(canvas, tile.image, tile.corner)
        return canvas

    # parts

    @property
    def _scale(self) -> float:
        return self._layout[1]

    def _px(self, value: float) -> int:
        return max(1, round(value * self._scale))

    def _status(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not (s.status or s.is_busy or s.is_recording):
            return None
        marks = [color for shown, color in ((s.is_recording, BAD), (s.is_busy, ACCENT)) if shown]
        image = _line(s.status, self._scale, marks=tuple(marks))
        return image, (self._px(MARGIN_PX), self._layout[0][1] - image.shape[0] - self._px(MARGIN_PX))

    def _notice(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.notice:
            return None
        image = _line(s.notice, self._scale, color=QUIET)
        width, height = self._layout[0]
        margin = self._px(MARGIN_PX)
        return image, (width - image.shape[1] - margin, height - image.shape[0] - margin)

    def _toast(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.toast or s.prompt_text is not None:
            return None
        image = _line(s.toast, self._scale * 1.25)
        width, height = self._layout[0]
        return image, ((width - image.shape[1]) // 2, round(height * 0.82) - image.shape[0])

    def _prompt(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if s.prompt_text is None:
            return None
        width, height = self._layout[0]
        room = max(self._px(200), round(width * 0.7))
        text = _fitted_end(s.prompt_text, room - self._px(110), _font(self._px(FONT_PX * 1.15)))
        rows = [("describe what to make", QUIET), (text + "_", TEXT), ("Enter takes it, Esc drops it", QUIET)]
        image = _rows(rows, self._scale, min_width=room, large=1)
        return image, ((width - image.shape[1]) // 2, round(height * 0.86) - image.shape[0])

    def _map(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if s.map_tile is None:
            return None
        margin = self._px(MARGIN_PX)
        return s.map_tile, (self._layout[0][0] - s.map_tile.shape[1] - margin, margin)

    def _masks(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.mask_text:
            return None
        picture = np.zeros((0, 1, 4), np.uint8) if s.mask_tile is None else s.mask_tile
        image = _stack(picture, _line(s.mask_text, self._scale), gap=0)
        return image, (self._px(MARGIN_PX), (self._layout[0][1] - image.shape[0]) // 2)

    def _preview(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if s.preview_tile is None:
            return None
        image = _stack(s.preview_tile, _line(s.preview_text, self._scale), gap=0)
        above_status = self._px(MARGIN_PX) + self._px(FONT_PX * 2.2)
        return image, (self._px(MARGIN_PX), self._layout[0][1] - image.shape[0] - above_status)

    def _legend(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.tint_shown:
            return None
        image = _rows(TINT_LEGEND, self._scale)
        width, height = self._layout[0]
        margin = self._px(MARGIN_PX)
        return image, (width - image.shape[1] - margin, height - image.shape[0] - margin - self._px(30))

    def _wipe(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if s.wipe_fraction is None:
            return None
        width, height = self._layout[0]
        label = _line(s.wipe_text, self._scale) if s.wipe_text else np.zeros((1, 1, 4), np.uint8)
        span = max(label.shape[1], self._px(3))
        image = np.zeros((height, span, 4), np.uint8)
        thick = self._px(1.5)
        middle = span // 2
        image[:, max(0, middle - thick // 2) : middle - thick // 2 + thick] = (255, 255, 255, 220)
        _place(image, label, ((span - label.shape[1]) // 2, height // 2))
        return image, (round(s.wipe_fraction * width) - middle, 0)

    def _help(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.help_shown or not s.help:
            return None
        width, height = self._layout[0]
        columns = 2 if len(s.help) > 12 else 1
        image = _table(s.help, self._scale, columns=columns, name_color=ACCENT)
        return image, ((width - image.shape[1]) // 2, max(0, (height - image.shape[0]) // 2))

    def _details(self, s: OverlayState) -> tuple[Rgba, tuple[int, int]] | None:
        if not s.details_shown:
            return None
        table = _table(s.details, self._scale, columns=1, name_color=QUIET)
        times = np.asarray(s.frame_times_ms, np.float64)
        if len(times):
            graph = _graph(times, max(table.shape[1], self._px(180)), self._px(44), self._scale)
            table = _stack(table, graph)
        return table, (self._px(MARGIN_PX), self._px(MARGIN_PX))


def _place(canvas: Rgba, tile: Rgba, corner: tuple[int, int]) -> None:
    """Lay a tile over the canvas; what sticks out is cut off, what is clear in the tile stays as it is."""
    x, y = corner
    left, top = max(0, x), max(0, y)
    right, bottom = min(canvas.shape[1], x + tile.shape[1]), min(canvas.shape[0], y + tile.shape[0])
    if right <= left or bottom <= top:
        return
    part = tile[top - y : bottom - y, left - x : right - x]
    target = canvas[top:bottom, left:right]
    np.copyto(target, part, where=(part[..., 3:] > 0))


def _clear(canvas: Rgba, tile: _Tile) -> None:
    """Empty the place of a tile."""
    if tile.image is not None:
        x, y = tile.corner
        height, width = tile.image.shape[:2]
        canvas[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = 0


@lru_cache(maxsize=16)
def _font(size_px: int) -> Any:
    """Pillow's own font, which needs no file."""
    import PIL.ImageFont

    return PIL.ImageFont.load_default(size_px)


def _canvas(width: int, height: int, scale: float) -> tuple[Any, Any]:
    """An empty plate with round corners and its pen."""
    import PIL.Image
    import PIL.ImageDraw

    image = PIL.Image.new("RGBA", (max(1, width), max(1, height)), (0, 0, 0, 0))
    pen = PIL.ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, width - 1, height - 1), radius=round(4 * scale), fill=PLATE)
    return image, pen


def _line(text: str, scale: float, *, color: tuple[int, ...] = TEXT, marks: tuple[tuple[int, ...], ...] = ()) -> Rgba:
    """One line on a plate, with round marks before it."""
    size = max(8, round(FONT_PX * scale))
    font = _font(size)
    pad, dot = round(0.45 * size), round(0.62 * size)
    width = 2 * pad + len(marks) * (dot + pad) + round(font.getlength(text)) - (pad if marks and not text else 0)
    height = round(size * 1.7)
    image, pen = _canvas(width, height, scale)
    x = pad
    for mark in marks:
        pen.ellipse((x, (height - dot) // 2, x + dot, (height + dot) // 2), fill=mark)
        x += dot + pad
    pen.text((x, height // 2), text, font=font, fill=color, anchor="lm")
    return np.asarray(image)


def _rows(
    rows: Sequence[tuple[str, tuple[int, ...]]], scale: float, *, min_width: int = 0, large: int | None = None
) -> Rgba:
    """Lines of different colours on one plate; the ``large`` one is written a bit larger."""
    size = max(8, round(FONT_PX * scale))
    fonts = [_font(round(size * 1.15)) if i == large else _font(size) for i in range(len(rows))]
    pad, step = round(0.6 * size), round(1.5 * size)
    width = max(min_width, 2 * pad + max(round(f.getlength(t)) for f, (t, _) in zip(fonts, rows, strict=True)))
    image, pen = _canvas(width, 2 * pad + step * len(rows), scale)
    for i, (font, (text, color)) in enumerate(zip(fonts, rows, strict=True)):
        pen.text((pad, pad + step * i + step // 2), text, font=font, fill=color, anchor="lm")
    return np.asarray(image)


def _table(rows: Sequence[tuple[str, str]], scale: float, *, columns: int, name_color: tuple[int, ...]) -> Rgba:
    """Names and values, in one or more columns of rows."""
    size = max(8, round(FONT_PX * scale))
    font = _font(size)
    pad, step = round(0.8 * size), round(1.45 * size)
    per_column = -(-len(rows) // columns) if rows else 0
    names = max((round(font.getlength(name)) for name, _ in rows), default=0) + pad
    values = max((round(font.getlength(value)) for _, value in rows), default=0) + 2 * pad
    image, pen = _canvas(columns * (names + values), 2 * pad + step * per_column, scale)
    for index, (name, value) in enumerate(rows):
        x = pad + index // per_column * (names + values)
        y = pad + index % per_column * step + step // 2
        pen.text((x, y), name, font=font, fill=name_color, anchor="lm")
        pen.text((x + names, y), value, font=font, fill=TEXT, anchor="lm")
    return np.asarray(image)


def _graph(times_ms: npt.NDArray[np.float64], width: int, height: int, scale: float) -> Rgba:
    """Frame times as bars, the newest at the right, with a line at the budget of 60 Hz."""
    image, pen = _canvas(width, height, scale)
    pad = round(4 * scale)
    inner = height - 2 * pad
    room = max(1, width - 2 * pad)
    times = times_ms[-room:]
    bar = max(1, room // max(1, len(times)))
    times = times[-(room // bar) :]
    for i, t in enumerate(times[::-1]):
        x = width - pad - (i + 1) * bar
        top = height - pad - max(1, round(min(t / GRAPH_TOP_MS, 1.0) * inner))
        color = GOOD if t <= FRAME_BUDGET_MS * 1.05 else ACCENT if t <= 2 * FRAME_BUDGET_MS else BAD
        pen.rectangle((x, top, x + bar - 1, height - pad - 1), fill=color)
    y = height - pad - round(FRAME_BUDGET_MS / GRAPH_TOP_MS * inner)
    pen.line((pad, y, width - pad, y), fill=(255, 255, 255, 130))
    return np.asarray(image)


def _stack(upper: Rgba, lower: Rgba, gap: int = 2) -> Rgba:
    """Two plates, one under the other."""
    out = np.zeros((upper.shape[0] + lower.shape[0] + gap, max(upper.shape[1], lower.shape[1]), 4), np.uint8)
    out[: upper.shape[0], : upper.shape[1]] = upper
    out[-lower.shape[0] :, : lower.shape[1]] = lower
    return out


def _fitted_end(text: str, room_px: int, font: Any) -> str:
    """The end of a text that fits, so that what is being typed stays in sight."""
    if font.getlength(text) <= room_px:
        return text
    start = 1
    while start < len(text) and font.getlength("…" + text[start:]) > room_px:
        start += 1
    return "…" + text[start:]
