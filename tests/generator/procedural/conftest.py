"""One place by day for all tests that only look at it."""

from collections.abc import Iterator

import pytest
from spatia.generator.procedural.place import Place, PlaceSpec


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    made = Place(PlaceSpec("rooms", 3))
    yield made
    made.close()
