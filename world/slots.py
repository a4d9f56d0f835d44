"""Slots for models: what can be put in by name, ours and third parties', behind one registry.

A third party's package declares its class under a slot's group::

    [project.entry-points."spatia.estimators"]
    mine = "my_package.my_module:MyEstimator"

While it is being written, ``my_module:MyEstimator`` works as a name without any installation. Classes are called
without arguments; they import heavy libraries only then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .errors import MissingLibraryError

EXTRA_OF = {
    "torch": "models",
    "diffusers": "models",
    "transformers": "models",
    "accelerate": "models",
    "peft": "models",
    "safetensors": "models",
    "tokenizers": "models",
    "huggingface_hub": "models",
    "ftfy": "models",
    "open3d": "slam",
    "sam2": "sam2",
    "ray": "ray",
}
"""The extra of this package that brings a library."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one kind of model.

    Attributes:
        kind: What is put in, for people.
        group: Group of the entry points.
        built_in: ``module:Class`` by name; an entry point of the same name does not replace them.
        methods: What a class must have.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    methods: tuple[str, ...]

    def names(self) -> list[str]:
        """Names that ``make`` takes, sorted. Imports none of them."""
        return sorted(places(self.group, self.built_in))

    def make(self, name: str) -> Any:
        """Make the one of a name, importing nothing of the others.

        Args:
            name: One of ``names()``, or ``module:Class``.

        Raises:
            ValueError: Unknown name (the message lists the choices), or the class lacks a method.
            MissingLibraryError: It needs a library or package that is not installed; the message names it.
        """
        module_name, colon, attribute = name.partition(":")
        place = name if colon and module_name and attribute else places(self.group, self.built_in).get(name)
        if place is None:
            raise ValueError(f"{self.kind}: expected one of {', '.join(self.names())}, got {name!r}")
        try:
            made = _import(place)()
        except ImportError as error:
            raise explain_missing(f"{self.kind} {name!r}", error) from error
        lacks = [method for method in self.methods if not callable(getattr(made, method, None))]
        if lacks:
            raise ValueError(f"{self.kind} {name!r}: expected the method {', '.join(lacks)}, {place} has none")
        return made


def places(group: str, built_in: Mapping[str, str]) -> dict[str, str]:
    """``module:Class`` by name: the entry points of a group, and those that come along, which win. Imports nothing."""
    return {point.name: point.value for point in entry_points(group=group)} | dict(built_in)


def find_at(place: str) -> Any:
    """What stands at ``module:Class``; None if the module has no such thing.

    Raises:
        ImportError: The module, or what it needs, is not installed.
    """
    module_name, _, attribute = place.partition(":")
    found: Any = import_module(module_name)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def _import(place: str) -> Any:
    found = find_at(place)
    if not callable(found):
        raise ValueError(f"expected a class at {place}, got {found!r}")
    return found


def explain_missing(who: str, error: ImportError) -> MissingLibraryError:
    """The error that names the extra, or at least the module, that something lacks."""
    if isinstance(error, MissingLibraryError):
        return error
    missing = error.name or str(error)
    extra = EXTRA_OF.get(missing.partition(".")[0])
    do = f"pip install 'spatia[{extra}]'" if extra else f"install it from its authors ({error})"
    return MissingLibraryError(f"{who} needs {missing!r}, which is not installed: {do}", name=missing)


_SLAM = f"{__name__.rsplit('.', 1)[0]}.slam"

ESTIMATORS = Slot(
    "geometry estimator",
    "spatia.estimators",
    {
        "given": f"{_SLAM}.given:GivenDepth",
        "diorama": f"{_SLAM}.diorama:Diorama",
        "multiview": f"{_SLAM}.multiview:MultiView",
        "mapanything": f"{_SLAM}.learned.mapanything:MapAnythingEstimator",
        "depth-anything": f"{_SLAM}.learned.monocular:DepthAnything",
        "depth-pro": f"{_SLAM}.learned.monocular:DepthPro",
    },
    ("estimate",),
)
"""Depth and poses of frames (``slam.estimators.GeometryEstimator``)."""

SEGMENTERS = Slot(
    "segmenter",
    "spatia.segmenters",
    {
        "sam2": f"{_SLAM}.learned.sam2:Sam2",
        "sam2-transformers": f"{_SLAM}.learned.sam2:Sam2Transformers",
    },
    ("track",),
)
"""Masks followed through a clip (``slam.segmenters.Segmenter``)."""

SLOTS = (ESTIMATORS, SEGMENTERS)
"""All but the generators, whose registry is in ``generator.registry``: they live in another process."""
