"""Renderers by name."""

from .interface import Renderer

RENDERERS = ("software", "gl")


def create_renderer(name: str = "auto", *, threads: int = 1) -> Renderer:
    """Make a renderer that draws offscreen.

    Args:
        name: "software", "gl", or "auto": GL where a graphics card's driver is, otherwise software.
        threads: Threads of the software renderer.

    Raises:
        ValueError: No such renderer.
        ImportError: The GL renderer's library or driver is missing.
    """
    if name == "auto":
        name = "gl" if _has_hardware_gl() else "software"
    if name == "software":
        from .software import SoftwareRenderer

        return SoftwareRenderer(threads)
    if name == "gl":
        from .gl import GLRenderer

        return GLRenderer()
    raise ValueError(f"renderer: expected one of auto, {', '.join(RENDERERS)}, got {name!r}")


def _has_hardware_gl() -> bool:
    try:
        from .gl import is_hardware_gl
    except ImportError:
        return False
    return is_hardware_gl()
