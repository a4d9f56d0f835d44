"""Samples of procedural places: they start in the place, go on through it, and are still it when they are reopened."""

from pathlib import Path

import numpy as np
import pytest
from spatia.generator.procedural.place import Place, PlaceSpec
from spatia.input.intents import Intent
from spatia.runtime.errors import UserError
from spatia.runtime.samples import sample_source
from spatia.runtime.session import Session, own_generator
from spatia.runtime.world import World, create
from spatia.runtime.world import open as open_world

SIZE = (160, 96)


@pytest.fixture(scope="module")
def rooms() -> World:
    return create(sample_source("rooms"), voxel_size_m=0.01)


def test_the_sample_stands_on_the_places_floor(rooms: World) -> None:
    assert rooms.info.is_metric
    assert rooms.info.floor is not None
    assert rooms.info.floor.normal == pytest.approx((0.0, -1.0, 0.0), abs=0.02)
    assert abs(rooms.info.floor.offset_m) < 0.05


def test_what_moves_is_not_in_memory(rooms: World) -> None:
    source = sample_source("rooms")
    place = Place(PlaceSpec.parse(source.place))
    view = place.render(source.frames[0].world_T_camera, source.frames[0].pinhole)
    assert source.frames[0].moving is not None
    assert (source.frames[0].moving == view.moving).all()


def test_the_walk_goes_on_through_the_place(rooms: World) -> None:
    before = len(rooms.memory.points().positions_world)
    with Session(rooms, wait=True, size=SIZE) as session:
        assert session.generator == "procedural"
        for _ in range(12):
            session.step(Intent(yaw=1.0))
    points = rooms.memory.points().positions_world
    assert len(points) > before
    near = points[np.linalg.norm(points - rooms.info.world_T_start[:3, 3], axis=1) < 8.0]
    assert near[:, 1].max() < 0.05


def test_another_generator_can_be_asked_for(rooms: World) -> None:
    with Session(rooms, "none", wait=True, size=SIZE) as session:
        assert session.generator == "none"


def test_a_reopened_world_is_still_the_place(rooms: World, tmp_path: Path) -> None:
    rooms.save(tmp_path / "rooms.spatia")
    with Session(open_world(tmp_path / "rooms.spatia", read_only=True), wait=True, size=SIZE) as session:
        assert session.world.info.place == rooms.info.place == "rooms:3:day"
        assert session.generator == "procedural"


def test_a_name_chooses_seed_and_time_of_day() -> None:
    source = sample_source("yard:7:evening")
    assert (source.name, source.place) == ("yard-7-evening", "yard:7:evening")
    assert source.frames[0].color.mean() < 0.8 * sample_source("yard:7").frames[0].color.mean()


def test_another_generator_can_be_forced_in_a_place(rooms: World) -> None:
    with Session(rooms.fork(), "outpaint", wait=True, size=SIZE) as session:
        assert session.generator == "outpaint"


def test_a_world_goes_on_with_its_last_generator_but_none(rooms: World) -> None:
    world = rooms.fork()
    names = []
    for last in ("outpaint", "none", "gone_module", ""):
        world.walk.generator = last
        names.append(own_generator(world))
    assert names == ["outpaint", "procedural", "procedural", "procedural"]


@pytest.mark.parametrize("name", ["rooms:noon", "rooms:-1", "yard:3:day:4", "yard:", "garage:3"])
def test_a_place_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"sample|rooms:7:evening"):
        sample_source(name)
