"""Showing pictures: a window through SDL and OpenGL, through SDL alone where there is none, or nowhere."""

import os
import sys
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from . import shaders
from .gl_context import is_hardware_gl

DESIGN_SIZE = (832, 480)
"""Window size for which the overlay is laid out at scale 1."""

MAX_OVERLAY_SCALE = 4.0

DENSE_DESKTOP_PX = 2560
"""Desktops from this width on are taken for dense ones, on which 832x480 is a stamp."""

OPENING_SHARE = 0.6
"""Share of the desktop that a new window fills at most, unless it would have to shrink for it."""

PART_PX = 32
"""Grid of the parts of an overlay that are looked at for writing."""

MAX_PARTS = 256
"""Parts drawn at once."""

Rgba = npt.NDArray[np.uint8]


class NoDisplayError(RuntimeError):
    """There is no display to open a window on."""


class Presenter(Protocol):
    """Where pictures go. The thread that made it uses it.

    Attributes:
        title: Of the window.
        is_headless: Whether nobody sees it.
        ctx: ModernGL context of the window, or None; a ``GLRenderer`` made with it hands over its texture.
    """

    title: str
    is_headless: bool
    ctx: Any

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in the units of mouse events."""
        ...

    @property
    def drawable_size(self) -> tuple[int, int]:
        """(width, height) in pixels; the overlay is drawn at this size."""
        ...

    @property
    def scale(self) -> float:
        """How much larger than at ``DESIGN_SIZE`` the overlay's writing should be."""
        ...

    def present(self, color: Any, overlay: Rgba | None = None) -> None:
        """Show a picture with an overlay on top.

        Args:
            color: (H, W, 3) or (H, W, 4) uint8, (H, W) uint32 words with red lowest, or a ModernGL texture of ``ctx``;
                any size, scaled smoothly to the window without changing its proportions.
            overlay: (H, W, 4) uint8 sRGB with straight alpha, or None. It is uploaded when it is another object than
                the last one, so a changed overlay must be a new array.
        """
        ...

    def events(self) -> list[Any]:
        """What happened since the last call: pygame's events."""
        ...

    def toggle_fullscreen(self) -> None:
        """Fill the screen, or go back."""
        ...

    def close(self) -> None:
        """Close; safe to call twice."""
        ...


class NullPresenter:
    """A presenter that keeps the last picture and shows nothing.

    Args:
        title: Kept only.
        size: What ``size`` and ``drawable_size`` say.
    """

    def __init__(self, title: str = "", size: tuple[int, int] = DESIGN_SIZE) -> None:
        self.title = title
        self.is_headless = True
        self.ctx: Any = None
        self.size = size
        self.color: Any = None
        self.overlay: Rgba | None = None
        self.num_presented = 0

    @property
    def drawable_size(self) -> tuple[int, int]:
        """Same as ``size``."""
        return self.size

    @property
    def scale(self) -> float:
        """See ``Presenter``."""
        return overlay_scale(self.size)

    def present(self, color: Any, overlay: Rgba | None = None) -> None:
        """Keep references."""
        self.color, self.overlay = color, overlay
        self.num_presented += 1

    def events(self) -> list[Any]:
        """Nothing ever happens."""
        return []

    def toggle_fullscreen(self) -> None:
        """Nothing to fill."""

    def close(self) -> None:
        """Nothing to close."""


class WindowPresenter:
    """A resizable window: one textured quad through ModernGL, an SDL surface where there is no OpenGL 3.3.

    Args:
        title: Of the window.
        size: (width, height) in pixels to open with; a multiple of it on a screen with very many pixels.
        use_gl: False shows through a surface even where there is OpenGL.

    Raises:
        NoDisplayError: There is no display.
    """

    def __init__(self, title: str, size: tuple[int, int], *, use_gl: bool = True) -> None:
        self.title = title
        self.is_headless = False
        self.ctx: Any = None
        self._pygame = _open_display()
        size = opening_size(size, self._pygame.display.get_desktop_sizes()[0])
        self._is_open = True
        self._quads: _Quads | None = None
        self._surface: _SurfaceQuads | None = None
        if use_gl:
            self._open_gl(size)
        if self.ctx is None:
            self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
            self._surface = _SurfaceQuads(self._pygame)
        self._pygame.display.set_caption(title)

    def _open_gl(self, size: tuple[int, int]) -> None:
        pygame = self._pygame
        import moderngl

        for name, value in (
            (pygame.GL_CONTEXT_MAJOR_VERSION, 3),
            (pygame.GL_CONTEXT_MINOR_VERSION, 3),
            (pygame.GL_CONTEXT_PROFILE_MASK, pygame.GL_CONTEXT_PROFILE_CORE),
        ):
            pygame.display.gl_set_attribute(name, value)
        try:
            pygame.display.set_mode(size, pygame.OPENGL | pygame.DOUBLEBUF | pygame.RESIZABLE)
            self.ctx = moderngl.create_context(require=330)
        except Exception:  # SDL and ModernGL raise their own kinds and bare Exception; the surface takes over
            self.ctx = None
            pygame.display.quit()
            pygame.display.init()
            return
        self._quads = _Quads(self.ctx)

    @property
    def has_gl(self) -> bool:
        """Whether pictures go through OpenGL."""
        return self.ctx is not None

    @property
    def is_hardware(self) -> bool:
        """Whether the window's OpenGL runs on graphics hardware."""
        return self.ctx is not None and is_hardware_gl(self.ctx)

    @property
    def size(self) -> tuple[int, int]:
        """See ``Presenter``."""
        width, height = self._pygame.display.get_window_size()
        return width, height

    @property
    def drawable_size(self) -> tuple[int, int]:
        """See ``Presenter``."""
        if self.ctx is not None:
            return self.size  # pygame asks SDL for no denser buffer; its surface does not follow an OpenGL window
        return self._pygame.display.get_surface().get_size()

    @property
    def scale(self) -> float:
        """See ``Presenter``."""
        return overlay_scale(self.drawable_size)

    def present(self, color: Any, overlay: Rgba | None = None) -> None:
        """See ``Presenter``."""
        if self._quads is not None:
            self._quads.draw(color, overlay, self.drawable_size)
        elif self._surface is not None:
            self._surface.draw(color, overlay)
        self._pygame.display.flip()

    def events(self) -> list[Any]:
        """See ``Presenter``."""
        return list(self._pygame.event.get())

    def toggle_fullscreen(self) -> None:
        """See ``Presenter``."""
        self._pygame.display.toggle_fullscreen()

    def read(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 of what the window shows; slow, for pictures of the whole window and tests."""
        width, height = self.drawable_size
        if self.ctx is not None:
            data = self.ctx.screen.read(viewport=(0, 0, width, height), components=3, alignment=1)
            return np.frombuffer(data, np.uint8).reshape(height, width, 3)[::-1].copy()
        surface = self._pygame.display.get_surface()
        data = self._pygame.image.tobytes(surface, "RGB")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3).copy()

    def close(self) -> None:
        """See ``Presenter``."""
        if not self._is_open:
            return
        self._is_open = False
        if self._quads is not None:
            self._quads.release()
            self._quads = None
        self.ctx = None
        self._pygame.display.quit()


def open_presenter(title: str, size: tuple[int, int], *, headless: bool = False) -> "WindowPresenter | NullPresenter":
    """A window, or a presenter that shows nothing.

    Args:
        title: Of the window.
        size: (width, height) to open with.
        headless: Open no window.

    Raises:
        NoDisplayError: A window is wanted and there is no display.
    """
    return NullPresenter(title, size) if headless else WindowPresenter(title, size)


def has_display() -> bool:
    """Whether a window can be expected to open, without trying."""
    if not sys.platform.startswith("linux") or os.environ.get("SDL_VIDEODRIVER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def opening_size(size: tuple[int, int], desktop: tuple[int, int]) -> tuple[int, int]:
    """The size, or on a desktop of very many pixels the largest multiple that fills ``OPENING_SHARE`` of it."""
    if desktop[0] < DENSE_DESKTOP_PX:
        return size
    times = min(OPENING_SHARE * desktop[0] / size[0], OPENING_SHARE * desktop[1] / size[1])
    return size[0] * max(1, int(times)), size[1] * max(1, int(times))


def overlay_scale(drawable_size: tuple[int, int]) -> float:
    """Size of the overlay's writing: it grows with the window, but slower, and never below that of 832x480."""
    ratio = min(drawable_size[0] / DESIGN_SIZE[0], drawable_size[1] / DESIGN_SIZE[1])
    return float(np.clip(max(ratio, 0.0) ** 0.7, 1.0, MAX_OVERLAY_SCALE))


def fit(content: tuple[int, int], window: tuple[int, int]) -> tuple[float, float, float, float]:
    """Where content lies in a window that it fills as far as its proportions allow.

    Args:
        content: (width, height).
        window: (width, height).

    Returns:
        Left, top, width, height as shares of the window.
    """
    factor = min(window[0] / content[0], window[1] / content[1])
    width, height = content[0] * factor / window[0], content[1] * factor / window[1]
    return (1.0 - width) / 2.0, (1.0 - height) / 2.0, width, height


def as_rgba(color: npt.NDArray[Any], out: Rgba | None = None) -> Rgba:
    """A picture with four bytes a pixel, which drivers take over several times as fast as three.

    Args:
        color: (H, W, 3) or (H, W, 4) uint8, or (H, W) uint32 words with red lowest.
        out: (H, W, 4) uint8 to write to where a conversion is needed.

    Returns:
        (H, W, 4) uint8, contiguous; a view of ``color`` where it has four bytes already.

    Raises:
        ValueError: Another shape or dtype.
    """
    if color.ndim == 2 and color.dtype == np.uint32:
        return np.ascontiguousarray(color).view(np.uint8).reshape(*color.shape, 4)
    if color.ndim == 3 and color.dtype == np.uint8 and color.shape[2] == 4:
        return np.ascontiguousarray(color)
    if color.ndim == 3 and color.dtype == np.uint8 and color.shape[2] == 3:
        return np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2RGBA, dst=out), np.uint8)
    raise ValueError(f"picture: expected (H, W, 3 or 4) uint8 or (H, W) uint32, got {color.shape} {color.dtype}")


def written_parts(overlay: Rgba) -> npt.NDArray[np.int32]:
    """Rectangles that hold everything written on an overlay, which is mostly clear: blending it whole is slow.

    Args:
        overlay: (H, W, 4) uint8.

    Returns:
        (N, 4) int32 left, top, width, height in pixels; rectangles do not overlap.
    """
    height, width = overlay.shape[:2]
    alpha = np.ascontiguousarray(overlay[..., 3])
    rows, columns = np.arange(0, height, PART_PX), np.arange(0, width, PART_PX)
    is_written = np.maximum.reduceat(np.maximum.reduceat(alpha, rows, axis=0), columns, axis=1) > 0
    edges = np.diff(np.pad(is_written, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, first = np.nonzero(edges == 1)  # both walk row by row, so runs pair up
    last = np.nonzero(edges == -1)[1]
    left, right = first * PART_PX, np.minimum(last * PART_PX, width)
    top, bottom = row * PART_PX, np.minimum((row + 1) * PART_PX, height)
    return np.stack([left, top, right - left, bottom - top], axis=1).astype(np.int32)


class _Quads:
    """The picture as a textured quad, and the overlay as some more where it has writing."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._program = ctx.program(vertex_shader=shaders.QUAD_VERTEX, fragment_shader=shaders.QUAD_FRAGMENT)
        self._places = ctx.buffer(reserve=MAX_PARTS * 32, dynamic=True)
        layout = [(self._places, "4f 4f /i", "in_place", "in_source")]
        self._array = ctx.vertex_array(self._program, layout)
        self._picture: Any = None
        self._overlay: Any = None
        self._shown: Rgba | None = None  # the overlay that is in the texture
        self._parts = np.zeros((0, 4), np.int32)
        self._scratch = np.empty((0, 0, 4), np.uint8)  # pictures of three bytes a pixel are converted into it

    def draw(self, color: Any, overlay: Rgba | None, window: tuple[int, int]) -> None:
        """Draw both to the window's back buffer."""
        import moderngl

        ctx = self._ctx
        texture = self._upload(color) if isinstance(color, np.ndarray) else color
        ctx.screen.use()
        ctx.viewport = (0, 0, *window)
        ctx.enable_only(moderngl.NOTHING)
        ctx.screen.clear(0.03, 0.035, 0.04)
        filtering = moderngl.NEAREST if texture.size == window else moderngl.LINEAR
        texture.filter = filtering, filtering
        self._quads(texture, np.array([[*fit(texture.size, window), 0.0, 0.0, 1.0, 1.0]], np.float32), opaque=True)
        if overlay is None:
            return
        self._upload_overlay(overlay)
        if len(self._parts):
            shares = self._parts / np.array([overlay.shape[1], overlay.shape[0]] * 2, np.float32)
            ctx.enable(moderngl.BLEND)
            ctx.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
            self._quads(self._overlay, np.concatenate([shares, shares], axis=1).astype(np.float32), opaque=False)
            ctx.disable(moderngl.BLEND)

    def _quads(self, texture: Any, places: npt.NDArray[np.float32], *, opaque: bool) -> None:
        import moderngl

        texture.use(0)
        self._program["image"] = 0
        self._program["opaque"] = opaque
        for start in range(0, len(places), MAX_PARTS):
            some = places[start : start + MAX_PARTS]
            self._places.write(np.ascontiguousarray(some))
            self._array.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(some))

    def _upload(self, color: npt.NDArray[Any]) -> Any:
        if color.ndim == 3 and color.shape[2] == 3 and self._scratch.shape[:2] != color.shape[:2]:
            self._scratch = np.empty((*color.shape[:2], 4), np.uint8)
        rgba = as_rgba(color, self._scratch)
        self._picture = self._texture(self._picture, (rgba.shape[1], rgba.shape[0]))
        self._picture.write(rgba)
        return self._picture

    def _upload_overlay(self, overlay: Rgba) -> None:
        if overlay is self._shown:
            return
        import moderngl

        before = self._overlay
        self._overlay = self._texture(before, (overlay.shape[1], overlay.shape[0]))
        self._overlay.filter = moderngl.NEAREST, moderngl.NEAREST
        self._parts = written_parts(overlay)
        for left, top, width, height in self._parts.tolist():
            part = np.ascontiguousarray(overlay[top : top + height, left : left + width])
            self._overlay.write(part, viewport=(left, top, width, height))
        self._shown = overlay

    def _texture(self, old: Any, size: tuple[int, int]) -> Any:
        """The old texture if it has the size, otherwise a new one."""
        if old is not None and old.size == size:
            return old
        if old is not None:
            old.release()
        texture = self._ctx.texture(size, 4)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def release(self) -> None:
        """Free textures and program."""
        for item in (self._picture, self._overlay, self._array, self._places, self._program):
            if item is not None:
                item.release()


class _SurfaceQuads:
    """The same through SDL's own surface."""

    def __init__(self, pygame: Any) -> None:
        self._pygame = pygame
        self._shown: Rgba | None = None
        self._parts: list[tuple[Any, tuple[int, int]]] = []

    def draw(self, color: Any, overlay: Rgba | None) -> None:
        """Draw both to the window's surface."""
        pygame = self._pygame
        window = pygame.display.get_surface()
        size = window.get_size()
        rgba = as_rgba(color)
        left, top, width, height = fit((rgba.shape[1], rgba.shape[0]), size)
        target = (max(1, round(width * size[0])), max(1, round(height * size[1])))
        if target != (rgba.shape[1], rgba.shape[0]):
            rgba = np.ascontiguousarray(cv2.resize(rgba, target, interpolation=cv2.INTER_LINEAR), np.uint8)
        if target != size:
            window.fill((8, 9, 10))
        window.blit(pygame.image.frombuffer(rgba, target, "RGBX"), (round(left * size[0]), round(top * size[1])))
        if overlay is None:
            return
        if overlay is not self._shown:
            self._parts = [
                (pygame.image.frombuffer(overlay[y : y + h, x : x + w].tobytes(), (w, h), "RGBA"), (x, y))
                for x, y, w, h in written_parts(overlay).tolist()
            ]
            self._shown = overlay
        for part, corner in self._parts:
            window.blit(part, corner)


def _open_display() -> Any:
    """pygame with its display initialised, and nothing else of it: the rest would open the sound card."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")  # pixels, not stretched ones
    if not has_display():
        raise NoDisplayError(
            "expected a display for the window, found none (DISPLAY and WAYLAND_DISPLAY are unset); "
            "walk with --headless, or start it where a display is"
        )
    import pygame

    try:
        pygame.display.init()
    except pygame.error as error:
        raise NoDisplayError(f"expected a display for the window, SDL says: {error}; walk with --headless") from error
    return pygame
