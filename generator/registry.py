"""Generators by name: the ones that come along, and third parties' through entry points.

A third party's package declares its class under the group ``spatia.generators``::

    [project.entry-points."spatia.generators"]
    mine = "my_package.my_module:MyGenerator"

While it is being written, ``my_module:MyGenerator`` works as a name without any installation.
"""

from typing import Any

from ..world.points import MAX_RANK
from ..world.slots import EXTRA_OF, find_at, places
from .errors import MissingExtraError
from .pipeline import TAIL_FRAMES
from .requests import Generator

GROUP = "spatia.generators"

_PACKAGE = __name__.rsplit(".", 1)[0]
_BUILT_IN = {
    "none": f"{_PACKAGE}.none:NoneGenerator",
    "outpaint": f"{_PACKAGE}.outpaint.outpaint:OutpaintGenerator",
    "procedural": f"{_PACKAGE}.procedural.generator:ProceduralGenerator",
    "spatia": f"{_PACKAGE}.spatia.generator:SpatiaGenerator",
}
"""Known without installed metadata; an entry point of the same name does not replace them."""
_WITH_SOURCE = {"diffusers": f"{_PACKAGE}.diffusers_video:DiffusersGenerator"}
"""Generators that are named with what they shall load, such as ``diffusers:OWNER/NAME``."""


def generator_names() -> list[str]:
    """Names that ``generator_class`` takes, sorted. Imports no generator."""
    return sorted(_locations())


def check_generator_name(name: str) -> None:
    """Check a name without importing the generator.

    Raises:
        ValueError: Neither a known name nor of the form ``module:Class``.
    """
    _location(name)


def generator_class(name: str) -> type[Generator]:
    """Import a generator's class, and nothing of the other generators.

    Args:
        name: One of ``generator_names()``, or ``module:Class``.

    Raises:
        ValueError: Unknown name (the message lists the choices), or the class is no generator.
        MissingExtraError: Its module needs a library that is not installed.
    """
    try:
        found = find_at(_location(name))
    except ImportError as error:
        raise explain_import_error(name, error) from error
    _check_class(name, found)
    return found


def make_generator(name: str) -> Generator:
    """Make a generator, in the process that uses it.

    Args:
        name: As for ``generator_class``, or ``diffusers:REPOSITORY_OR_FOLDER``.

    Raises:
        ValueError: See ``generator_class``.
        MissingExtraError: A library or a model is missing; the message says which.
    """
    kind: Any = generator_class(name)
    prefix, _, source = name.partition(":")
    try:
        return kind(source) if prefix in _WITH_SOURCE else kind()
    except ImportError as error:
        raise explain_import_error(name, error) from error


def explain_import_error(name: str, error: ImportError) -> MissingExtraError:
    """The error that names the extra, or at least the module, that generator ``name`` lacks."""
    if isinstance(error, MissingExtraError):
        return error
    missing = error.name or str(error)
    extra = EXTRA_OF.get(missing.partition(".")[0])
    if extra is None:
        return MissingExtraError(
            f"generator {name!r} needs {missing!r}, which cannot be imported ({error})", name=missing
        )
    return MissingExtraError(
        f"generator {name!r} needs {missing!r}, which is not installed: pip install 'spatia[{extra}]'", name=missing
    )


def _locations() -> dict[str, str]:
    """``module:Class`` by name."""
    return places(GROUP, _BUILT_IN)


def _location(name: str) -> str:
    module_name, colon, attribute = name.partition(":")
    if module_name in _WITH_SOURCE and attribute:
        return _WITH_SOURCE[module_name]
    if colon and module_name and attribute:
        return name
    known = _locations()
    if name not in known:
        choices = ", ".join(sorted(known))
        raise ValueError(
            f"generator: expected one of {choices}, diffusers:REPOSITORY_OR_FOLDER, or module:Class, got {name!r}"
        )
    return known[name]


def _check_class(name: str, found: Any) -> None:
    wrong = [
        what
        for what, is_right in (
            ("to be a class", isinstance(found, type)),
            ("name: str", isinstance(getattr(found, "name", None), str)),
            (f"rank: int in 0..{MAX_RANK}", _is_rank(getattr(found, "rank", None))),
            ("native_speed: (m/s, rad/s) or None", _is_speed(getattr(found, "native_speed", "missing"))),
            ("wants_key_views: bool", isinstance(getattr(found, "wants_key_views", None), bool)),
            ("rounds: (first, later, history) in frames, or none", _are_rounds(getattr(found, "rounds", None))),
            ("a method generate", callable(getattr(found, "generate", None))),
        )
        if not is_right
    ]
    if wrong:
        raise ValueError(f"generator {name!r}: expected {'; '.join(wrong)} (docs/generators.md has the fields)")


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RANK


def _are_rounds(value: object) -> bool:
    if value is None:
        return True
    if not (isinstance(value, tuple) and len(value) == 3 and all(isinstance(v, int) for v in value)):
        return False
    first, later, history = value
    return 0 < history <= TAIL_FRAMES and history <= first and 2 * history <= later


def _is_speed(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) and v > 0 for v in value)
