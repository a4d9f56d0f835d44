"""Walk through a world that is generated while you walk.

The names below are loaded when they are first used, so that ``import spatia`` stays fast and needs
neither a display nor a heavy library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .runtime.agent_registration import register_when_imported

if TYPE_CHECKING:
    from .input.intents import Intent
    from .runtime import samples
    from .runtime.session import Session
    from .runtime.world import World, create, open
    from .world.camera import Pinhole

__version__ = "0.1.0"

_WHERE = {
    "Intent": ".input.intents",
    "Pinhole": ".world.camera",
    "Session": ".runtime.session",
    "World": ".runtime.world",
    "create": ".runtime.world",
    "open": ".runtime.world",
}
__all__ = ["Intent", "Pinhole", "Session", "World", "create", "open", "samples"]

register_when_imported()  # imports nothing: Gymnasium learns of the environments when it is imported


def __getattr__(name: str) -> Any:
    if name == "samples":
        return import_module(".runtime.samples", __name__)
    if name in _WHERE:
        return getattr(import_module(_WHERE[name], __name__), name)
    raise AttributeError(f"module 'spatia' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
