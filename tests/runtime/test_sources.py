"""From a name to a world: the source is read once and shown before the world is made."""

from pathlib import Path

import numpy as np
import pytest
from spatia.renderer.capture import write_png
from spatia.runtime import sources
from spatia.saves.sources import Source, load_source

OPTIONS = {"depth": None, "intrinsics": None, "mask": None, "scale": None}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_png(path, np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    return path


def test_a_source_is_read_once_and_shown_before_its_world_is_made(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    seen: list[Source] = []

    def read(path: str, **given: object) -> Source:
        events.append("read")
        return load_source(path, **given)

    def see(source: Source) -> None:
        events.append("seen")
        seen.append(source)

    def tell(what: str, share: float) -> None:
        events.append(what)

    monkeypatch.setattr(sources, "load_source", read)
    world = sources.make_world(str(photo), OPTIONS, seed=0, prompt="", progress=tell, seen=see)
    assert events[:2] == ["read", "seen"]
    assert "read" not in events[2:]
    assert "lifting frames" in events
    assert np.array_equal(seen[0].frames[0].color, next(iter(world.bank.keyframes)).color)
