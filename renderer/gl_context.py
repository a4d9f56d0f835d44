"""OpenGL without a window, and whether it runs on graphics hardware."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swiftshader", "swrast", "software rasterizer", "basic render driver")


class GLUnavailableError(RuntimeError):
    """OpenGL 3.3 cannot be had on this machine."""


def create_offscreen_context() -> Any:
    """A ModernGL context without a window: through EGL on Linux, the system's own way elsewhere.

    Raises:
        GLUnavailableError: There is no OpenGL 3.3 driver.
    """
    import moderngl

    try:
        if sys.platform.startswith("linux"):
            return moderngl.create_context(standalone=True, backend="egl", require=330)  # type: ignore[call-arg]
        return moderngl.create_context(standalone=True, require=330)
    except Exception as error:  # glcontext and moderngl raise several kinds, bare Exception among them
        raise GLUnavailableError(
            f"expected OpenGL 3.3 through EGL, got: {error}. On Debian and Ubuntu install libegl1 and libgl1-mesa-dri,"
            " or use the software renderer"
        ) from error


def is_hardware_gl(ctx: Any = None) -> bool:
    """Whether OpenGL runs on graphics hardware; False without OpenGL or where its driver computes on the processor.

    Args:
        ctx: A ModernGL context to ask; without one, the machine's driver is asked, once in a process (some 50 ms).
    """
    if ctx is not None:
        name = str(ctx.info["GL_RENDERER"]).lower()
        return not any(software in name for software in SOFTWARE_DRIVERS)
    with ThreadPoolExecutor(1, "spatia-gl-probe") as thread:  # a context becomes current on the thread that makes it
        return thread.submit(has_hardware_driver).result()


@cache
def has_hardware_driver() -> bool:
    """``is_hardware_gl`` of a fresh context, which is made on the calling thread; asked once in a process."""
    try:
        probe = create_offscreen_context()
    except GLUnavailableError:
        return False
    try:
        return is_hardware_gl(probe)
    finally:
        probe.release()
