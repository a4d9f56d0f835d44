"""From a name on the command line to a new world."""

from pathlib import Path
from typing import Any

from ..saves.sources import load_source
from .errors import UserError
from .samples import SAMPLES, is_sample, sample_source
from .world import Progress, World, create


def make_world(source: str, options: dict[str, Any], *, seed: int, prompt: str, progress: Progress) -> World:
    """A new world from a sample's name or a path.

    Raises:
        UserError: A sample was given what only files take.
        SourceError: The source cannot be used.
    """
    given = {k: v for k, v in options.items() if v is not None}
    if is_sample(source):
        if given:
            raise UserError(f"no --{next(iter(given))} with a sample", "one", "leave it out")
        return create(sample_source(source), seed=seed, prompt=prompt, progress=progress)
    if not Path(source).exists() and not any(c in source for c in "/\\."):
        raise UserError(f"a file, a folder or a sample ({', '.join(SAMPLES)})", repr(source), "check the name")
    return create(load_source(source, **given), seed=seed, prompt=prompt, progress=progress)
