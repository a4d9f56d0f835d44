"""From a name on the command line to a new world."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..saves.sources import Source, load_source
from .errors import UserError
from .samples import SAMPLES, is_sample, sample_source
from .tracked import KnownDistance
from .world import Progress, World, create


def make_world(
    source: str,
    options: dict[str, Any],
    *,
    seed: int,
    prompt: str,
    progress: Progress,
    sheet: Path | None = None,
    seen: Callable[[Source], None] = lambda source: None,
) -> World:
    """A new world from a sample's name or a path.

    Args:
        source: Name or path.
        options: "depth", "intrinsics", "mask" and "scale" as given on the command line; None where not given.
        seed: Of everything random.
        prompt: Words for generators.
        progress: Called with what is going on and the share that is done.
        sheet: Where a contact sheet of what was tracked goes, if anything has to be.
        seen: Gets the source as soon as it was read, before the world is made of it.

    Raises:
        UserError: A sample was given what only files take.
        SourceError: The source cannot be used.
    """
    given = {k: v for k, v in options.items() if v is not None}
    if is_sample(source):
        if given:
            raise UserError(f"no --{next(iter(given))} with a sample", "one", "leave it out")
        sample = sample_source(source)
        seen(sample)
        return create(sample, seed=seed, prompt=prompt, progress=progress)
    if not Path(source).exists() and not any(c in source for c in "/\\."):
        raise UserError(f"a file, a folder or a sample ({', '.join(SAMPLES)})", repr(source), "check the name")
    known = given.pop("scale", None)
    scale = None if known is None else KnownDistance.parse(known)
    loaded = load_source(source, **given)
    seen(loaded)
    return create(loaded, seed=seed, prompt=prompt, progress=progress, scale=scale, sheet=sheet)
