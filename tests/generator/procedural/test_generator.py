"""The procedural generator keeps the contract of generators and gives the place's truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spatia.generator.pipeline import new_renderer, render_scene, run_request
from spatia.generator.procedural.generator import SKY_M, ProceduralGenerator
from spatia.generator.procedural.place import EYE_HEIGHT_M, Place, PlaceSpec
from spatia.generator.procedural.plan import Plan
from spatia.generator.procedural.scene import Textures
from spatia.generator.procedural.textures import load_textures
from spatia.generator.registry import generator_class
from spatia.generator.requests import ClipRequest, SceneVideo
from spatia.tests.contracts.generator_contract import GeneratorContract
from spatia.tests.fakes import RecordingProgress, make_request
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.transforms import look


class TestContract(GeneratorContract):
    generator = ProceduralGenerator()

    def make(self) -> ProceduralGenerator:
        return self.generator


def place_request(
    memory: SpatialMemory | None = None, place: str = "yard:3:day", size: tuple[int, int] = (96, 72)
) -> ClipRequest:
    spec = PlaceSpec.parse(place)
    cell = Plan(spec.seed).cell(1, 3 if spec.kind == "yard" else 0)
    pose = look((cell.x + cell.width / 2, -EYE_HEIGHT_M, cell.y + cell.depth / 2), 0.4, 0.1)
    held = memory or SpatialMemory(0.02)
    return replace(make_request(1, memory=held.snapshot(), size=size), world_T_camera=pose[None], place=place)


def nothing(request: ClipRequest) -> SceneVideo:
    shape = (request.num_frames, request.pinhole.height, request.pinhole.width)
    return SceneVideo(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def test_it_is_found_by_name() -> None:
    assert generator_class("procedural") is ProceduralGenerator


def test_the_request_names_the_place() -> None:
    generator = ProceduralGenerator()
    clips = [
        generator.generate(r, nothing(r), RecordingProgress())
        for r in (place_request(place="yard:3:day"), place_request(place="yard:3:evening"))
    ]
    assert clips[0].frames.mean() > 1.3 * clips[1].frames.mean()


def test_depth_is_the_places_and_the_sky_is_far() -> None:
    request = place_request()
    clip = ProceduralGenerator().generate(request, nothing(request), RecordingProgress())
    view = Place(PlaceSpec("yard", 3)).render(request.world_T_camera[0], request.pinhole, request.time_s)
    known = view.depth_m > 0
    assert (clip.depth_m[0][known] == view.depth_m[known]).all()
    assert (~known).any()
    assert clip.depth_m[0][~known].min() > 0.5 * SKY_M


def test_without_depth_it_gives_pictures_alone() -> None:
    request = place_request()
    clip = ProceduralGenerator(with_depth=False).generate(request, nothing(request), RecordingProgress())
    assert clip.depth_m is clip.moving is clip.new_surface is None


def test_what_memory_shows_already_is_not_new() -> None:
    memory, generator = SpatialMemory(0.02), ProceduralGenerator()
    request = place_request(memory, "rooms:3:day", (320, 240))
    first = run_request(request, generator, RecordingProgress())
    memory.apply(stage_update(memory.snapshot(), first.update))
    again = place_request(memory, "rooms:3:day", (320, 240))
    scene = render_scene(again, generator.rank, new_renderer(), RecordingProgress())
    clip = generator.generate(again, scene, RecordingProgress())
    assert clip.new_surface is not None
    assert clip.new_surface.mean() < 0.15


def test_movers_are_never_new_surface() -> None:
    generator = ProceduralGenerator()
    request = place_request()
    clip = generator.generate(request, nothing(request), RecordingProgress())
    assert not (clip.new_surface & clip.moving).any()


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Textures, list[float]]:
    """Textures baked into a folder, and how far it said it was; baking them takes seconds."""
    folder, steps = tmp_path_factory.mktemp("textures"), []
    return folder, load_textures(lambda what, share: steps.append(share), folder), steps


@pytest.mark.slow
def test_textures_come_from_the_folder_once_they_lie_there(baked: tuple[Path, Textures, list[float]]) -> None:
    folder, made, _ = baked
    steps: list[str] = []
    held = load_textures(lambda what, share: steps.append(what), folder)
    assert steps == []
    assert held.texels.tobytes() == made.texels.tobytes()


@pytest.mark.slow
def test_a_damaged_texture_file_is_made_anew(baked: tuple[Path, Textures, list[float]], tmp_path: Path) -> None:
    folder, made, _ = baked
    file = next(folder.glob("*.npz"))
    (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    assert load_textures(folder=tmp_path).texels.tobytes() == made.texels.tobytes()


@pytest.mark.slow
def test_textures_tell_how_far_they_are(baked: tuple[Path, Textures, list[float]]) -> None:
    _, _, steps = baked
    assert steps == sorted(steps)
    assert len(steps) > 10


def test_depth_of_a_clip_of_pictures_is_found() -> None:
    request = place_request(place="rooms:3:day", size=(160, 120))
    poses = np.repeat(request.world_T_camera, 5, axis=0)
    poses[:, :3, 3] += np.linspace(0, 0.5, 5)[:, None] * poses[0, :3, 0]
    request = replace(request, world_T_camera=poses)
    update = run_request(request, ProceduralGenerator(with_depth=False), RecordingProgress()).update
    assert update.report.estimator == "multiview"
    assert not update.report.rejected
    view = Place(PlaceSpec("rooms", 3)).render(poses[0], request.pinhole, request.time_s)
    found = update.keyframes[0].depth_m
    known = (found > 0) & (view.depth_m > 0)
    assert known.mean() > 0.4
    assert np.median(np.abs(found - view.depth_m)[known] / view.depth_m[known]) < 0.05
    assert update.keyframes[0].moving[found <= 0].all(), "pixels without depth are not sampled"
