"""The generator ``spatia`` keeps the protocol; without weights it says which files to put where."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from spatia.generator.errors import MissingExtraError
from spatia.generator.ledger import Outcome
from spatia.generator.pipeline import check_clip, lift, new_renderer, render_scene
from spatia.generator.queue import GenerationQueue
from spatia.generator.requests import ClipRequest, Effort, ReferenceFrame, SceneVideo
from spatia.generator.spatia import accounting
from spatia.generator.spatia.config import SamplingConfig
from spatia.generator.spatia.generator import Control, SpatiaGenerator, round_inputs
from spatia.generator.spatia.settings import GeneratorSettings, settings_from
from spatia.generator.spatia.sizes import fitted, order_references
from spatia.generator.worker import Runner
from spatia.renderer.conditioning import render_scene_video
from spatia.tests.contracts.generator_contract import GeneratorContract, turning_request
from spatia.tests.fakes import RecordingProgress, make_request, wall_memory
from spatia.tests.generator.spatia.makers import write_spatia
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of

TINY = GeneratorSettings("tiny", Path("nowhere"), SamplingConfig(num_steps=2))
PHASES = ["load", "condition", "encode", "denoise", "decode"]


@pytest.fixture
def asked() -> tuple[ClipRequest, SceneVideo]:
    request = turning_request(3)
    return request, render_scene(request, SpatiaGenerator.rank, new_renderer(), RecordingProgress())


def a_tail(request: ClipRequest, count: int = 9) -> np.ndarray:
    shape = (count, request.pinhole.height, request.pinhole.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def control_of(scene: SceneVideo) -> Control:
    return Control(scene.color, (scene.coverage * 255).astype(np.uint8))


class TestContract(GeneratorContract):
    def make(self) -> SpatiaGenerator:
        return SpatiaGenerator(TINY)


def test_a_clip_that_continues_has_the_frames_that_were_asked_for(asked: tuple[ClipRequest, SceneVideo]) -> None:
    request = replace(asked[0], tail=a_tail(asked[0]))
    clip = SpatiaGenerator(TINY).generate(request, asked[1], RecordingProgress())
    check_clip(clip, request)
    first = SpatiaGenerator(TINY).generate(asked[0], asked[1], RecordingProgress())
    assert clip.frames.tobytes() != first.frames.tobytes()


def test_it_tells_its_phases_in_order(asked: tuple[ClipRequest, SceneVideo]) -> None:
    progress = RecordingProgress()
    clip = SpatiaGenerator(TINY).generate(*asked, progress)
    assert list(dict.fromkeys(phase for phase, _ in progress.steps)) == PHASES
    shares = [share for _, share in progress.steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert set(clip.seconds) == set(PHASES)


class _Watching(RecordingProgress):
    """Keeps what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, np.ndarray]] = []

    def show(self, first_index: int, frames: np.ndarray) -> None:
        self.shown.append((first_index, frames.copy()))


def test_frames_are_shown_as_they_are_decoded_without_the_history() -> None:
    request = turning_request(6)
    request = replace(request, tail=a_tail(request))
    scene = render_scene(request, SpatiaGenerator.rank, new_renderer(), RecordingProgress())
    watching = _Watching()
    clip = SpatiaGenerator(TINY).generate(request, scene, watching)
    firsts = [first for first, _ in watching.shown]
    assert firsts == list(np.cumsum([0, *(len(f) for _, f in watching.shown)])[:-1])
    assert len(watching.shown) > 1
    assert max(len(f) for _, f in watching.shown) <= 4
    np.testing.assert_array_equal(np.concatenate([f for _, f in watching.shown]), clip.frames)


@pytest.mark.parametrize("phase", PHASES)
def test_after_a_cancelled_clip_the_next_one_is_right(asked: tuple[ClipRequest, SceneVideo], phase: str) -> None:
    from spatia.generator.requests import GenerationCancelledError

    generator = SpatiaGenerator(TINY)
    with pytest.raises(GenerationCancelledError):
        generator.generate(*asked, RecordingProgress(cancel_at=phase))
    wanted = SpatiaGenerator(TINY).generate(*asked, RecordingProgress())
    assert generator.generate(*asked, RecordingProgress()).frames.tobytes() == wanted.frames.tobytes()


def test_a_clip_brings_no_depth_so_that_it_is_found_when_it_is_lifted(asked: tuple[ClipRequest, SceneVideo]) -> None:
    clip = SpatiaGenerator(TINY).generate(*asked, RecordingProgress())
    assert clip.depth_m is None
    assert clip.new_surface is None


def test_a_single_frame_has_memorys_depth_and_nothing_new() -> None:
    request = turning_request(1)
    scene = render_scene(request, SpatiaGenerator.rank, new_renderer(), RecordingProgress())
    clip = SpatiaGenerator(TINY).generate(request, scene, RecordingProgress())
    known = (scene.coverage >= 0.5) & (scene.depth_m > 0)
    assert known.any()
    np.testing.assert_array_equal(clip.depth_m, np.where(known, scene.depth_m, 0))
    assert not clip.new_surface.any()
    lift(clip, request, SpatiaGenerator.rank)


def test_a_photo_at_the_first_pose_is_the_clean_first_frame(asked: tuple[ClipRequest, SceneVideo]) -> None:
    inputs = round_inputs(asked[0], control_of(asked[1]))
    assert inputs.image is not None
    assert not inputs.references
    assert not inputs.uses_lora


@pytest.mark.parametrize("size", [(40, 48), (64, 30)])
def test_a_photo_whose_middle_is_asked_for_is_the_clean_first_frame(size: tuple[int, int]) -> None:
    request = turning_request(3)
    photo = np.random.default_rng(0).integers(0, 256, (*request.pinhole.size[::-1], 3), dtype=np.uint8)
    reference = replace(request.references[0], color=photo)
    cropped = replace(request, pinhole=request.pinhole.covering(*size), references=(reference,))
    scene = np.zeros((3, size[1], size[0]), np.uint8)
    inputs = round_inputs(cropped, Control(scene[..., None].repeat(3, 3), scene))
    assert inputs.image is not None
    assert not inputs.uses_lora
    np.testing.assert_array_equal(inputs.image[: size[1], : size[0]], fitted(photo, size[::-1]))


def test_a_later_round_of_72_poses_and_a_tail_has_the_length_that_the_model_was_trained_on() -> None:
    request = turning_request(72)
    request = replace(request, tail=a_tail(request), num_padded=63)
    blank = np.zeros((72, *request.pinhole.size[::-1]), np.uint8)
    inputs = round_inputs(request, Control(blank[..., None].repeat(3, 3), blank))
    assert (len(inputs.scene), inputs.num_history) == (81, 9)
    assert inputs.image is None
    assert inputs.uses_lora


def test_a_photo_taken_elsewhere_is_a_reference(asked: tuple[ClipRequest, SceneVideo]) -> None:
    photo = asked[0].references[0]
    moved = photo.world_T_camera.copy()
    moved[0, 3] += 0.5
    request = replace(asked[0], references=(replace_reference(photo, moved),) * 9)
    inputs = round_inputs(request, control_of(asked[1]))
    assert inputs.image is None
    assert len(inputs.references) == 7
    assert inputs.uses_lora


def replace_reference(reference: ReferenceFrame, world_T_camera: np.ndarray) -> ReferenceFrame:
    return replace(reference, world_T_camera=world_T_camera)


def test_a_tail_comes_first_fully_covered_then_the_scene_then_its_last_frame(
    asked: tuple[ClipRequest, SceneVideo],
) -> None:
    request, scene = asked
    tail = a_tail(request, 12)
    inputs = round_inputs(replace(request, tail=tail), control_of(scene))
    assert inputs.history is not None
    assert inputs.scene.shape == (13, 64, 64, 3)
    np.testing.assert_array_equal(inputs.history[:, :48], tail[-9:])
    np.testing.assert_array_equal(inputs.scene[:9], inputs.history)
    assert (inputs.coverage[:9] == 255).all()
    np.testing.assert_array_equal(inputs.scene[9:12, :48], scene.color)
    np.testing.assert_array_equal(inputs.coverage[9:12, :48], control_of(scene).coverage)
    np.testing.assert_array_equal(inputs.scene[12], inputs.scene[11])
    assert inputs.image is None


def test_a_tail_with_poses_is_conditioned_on_memory_from_where_it_stood(asked: tuple[ClipRequest, SceneVideo]) -> None:
    request, scene = asked
    poses = np.repeat(np.eye(4)[None], 9, 0)
    poses[:, 0, 3] = np.linspace(-0.4, -0.1, 9)
    request = replace(request, tail=a_tail(request), tail_world_T_camera=poses)
    control = SpatiaGenerator(TINY)._control(request, scene, RecordingProgress())
    inputs = round_inputs(request, control)
    points = request.memory.points()
    pinhole = replace(request.pinhole, height=64)
    drawn = render_scene_video(points.positions_world, points.colors, poses, pinhole)
    np.testing.assert_array_equal(inputs.scene[:9], drawn.color)
    np.testing.assert_array_equal(inputs.coverage[:9], drawn.coverage)
    np.testing.assert_array_equal(inputs.scene[9 : 9 + request.num_frames], control.color[9:])


def test_the_control_is_memory_drawn_as_discs_at_the_padded_size(asked: tuple[ClipRequest, SceneVideo]) -> None:
    request, scene = asked
    control = SpatiaGenerator(TINY)._control(request, scene, RecordingProgress())
    points = request.memory.points()
    pinhole = replace(request.pinhole, height=64)
    drawn = render_scene_video(points.positions_world, points.colors, request.world_T_camera, pinhole)
    np.testing.assert_array_equal(control.color, drawn.color)
    np.testing.assert_array_equal(control.coverage, drawn.coverage)
    assert control.coverage.max() > 200
    assert control.coverage.min() == 0


def test_points_of_a_lower_rank_do_not_condition_it(asked: tuple[ClipRequest, SceneVideo]) -> None:
    memory = SpatialMemory(0.02)
    places = asked[0].memory.points().positions_world
    invented = priority_of(PointClass.INVENTED, SpatiaGenerator.rank - 1)
    memory.insert(PointBatch.uniform(places, np.zeros_like(places, np.uint8), priority=invented, keyframe=1, weights=8))
    request = replace(asked[0], memory=memory.snapshot())
    control = SpatiaGenerator(TINY)._control(request, asked[1], RecordingProgress())
    assert not control.coverage.any()


def test_the_scene_video_can_be_the_control(asked: tuple[ClipRequest, SceneVideo]) -> None:
    generator = SpatiaGenerator(replace(TINY, control="scene"))
    assert generator._control(*asked, RecordingProgress()).color is asked[1].color


def test_references_fill_the_picture_from_their_middle() -> None:
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 40:80] = 255
    got = fitted(picture, (20, 20))
    assert got.shape == (20, 20, 3)
    assert (got == 255).all()


def test_without_weights_it_says_which_files_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))
    monkeypatch.delenv("SPATIA_PRESET", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        Runner("spatia")
    told = str(caught.value)
    assert told.startswith("model 'spatia' is not complete in")
    for words in ("Wan2.2-TI2V-5B/Wan2.2_VAE.pth", "Spatia/step-8500.safetensors", "Jinjing713/Spatia", "fetch spatia"):
        assert words in told


def test_a_walk_without_weights_learns_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))
    monkeypatch.delenv("SPATIA_PRESET", raising=False)
    with GenerationQueue("spatia", backend="inline") as queue:
        queue.submit(make_request(1, memory=wall_memory().snapshot()))
        queue.wait(5.0)
        assert "Spatia/step-8500.safetensors" in queue.last_error


def test_its_module_imports_no_torch() -> None:
    code = (
        "import sys; from spatia.generator.registry import generator_class; generator_class('spatia');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_in_the_authors_layout_make_a_clip(asked: tuple[ClipRequest, SceneVideo], tmp_path: Path) -> None:
    from spatia.generator.spatia import assembly
    from spatia.generator.spatia.catalogue import find_spatia
    from spatia.generator.spatia.config import PRESETS

    write_spatia(tmp_path)
    clips = []
    for is_fused in (False, True):
        settings = GeneratorSettings("tiny", tmp_path, SamplingConfig(num_steps=2), "cpu", is_lora_fused=is_fused)
        generator = SpatiaGenerator(settings)
        generator._files = find_spatia(tmp_path)
        request = replace(asked[0], tail=a_tail(asked[0]))
        later = generator.generate(request, asked[1], RecordingProgress())
        first = generator.generate(asked[0], asked[1], RecordingProgress())
        again = generator.generate(request, asked[1], RecordingProgress())
        assert again.frames.tobytes() == later.frames.tobytes()
        pipeline, _ = assembly.load_pipeline(find_spatia(tmp_path), settings, sizes=PRESETS["tiny"])
        assert pipeline.transformer.dtype == generator._pipeline.transformer.dtype
        clips.append((first.frames, later.frames))
    assert clips[0][0].tobytes() == clips[1][0].tobytes()
    assert np.abs(clips[0][1].astype(int) - clips[1][1].astype(int)).mean() < 8


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"SPATIA_PRESET": "tiny", "SPATIA_STEPS": "4", "SPATIA_GUIDANCE": "1", "SPATIA_LORA": "fused"}
    settings = settings_from(environment | {"SPATIA_MODELS": str(tmp_path)})
    assert (settings.preset, settings.models, settings.is_lora_fused) == ("tiny", tmp_path, True)
    assert settings.sampling == SamplingConfig(num_steps=4, guidance=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SPATIA_PRESET", "6b"), ("SPATIA_STEPS", "0"), ("SPATIA_STEPS", "many"), ("SPATIA_GUIDANCE", "nan")],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected .* got '{value}'"):
        settings_from({name: value})


def test_in_the_worker_process_a_clip_is_made_and_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_PRESET", "tiny")
    monkeypatch.setenv("SPATIA_STEPS", "1")
    monkeypatch.setenv("SPATIA_ESTIMATOR", "diorama")
    with GenerationQueue("spatia", backend="process") as queue:
        queue.submit(turning_request(5))
        (ended,) = queue.wait(120.0)
    assert ended.outcome is Outcome.DONE, ended.reason
    assert ended.result is not None
    assert ended.result.frames.shape == (5, 48, 64, 3)
    assert "generate/denoise" in ended.result.seconds


def shelf() -> ClipRequest:
    """A turn to the left along a long wall, and photos of its parts, right, left and middle first."""
    memory = SpatialMemory(0.05)
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(-6, 6, 0.04), np.arange(-0.5, 0.5, 0.04)))
    places = np.stack([x, y, np.full(x.size, 2.0)], 1).astype(np.float32)
    observed = priority_of(PointClass.OBSERVED)
    memory.insert(
        PointBatch.uniform(places, np.full_like(places, 90, np.uint8), priority=observed, keyframe=1, weights=8)
    )
    request = make_request(1, memory=memory.snapshot(), num_frames=3, size=(64, 48))
    photo = np.zeros((48, 64, 3), np.uint8)
    offsets = {2.4: 11, -2.4: 12, 0.0: 13}
    references = tuple(
        ReferenceFrame(photo, None, request.pinhole, moved_by(offset), True, key) for offset, key in offsets.items()
    )
    return replace(request, world_T_camera=np.stack([moved_by(x) for x in (2.0, 0.0, -2.0)]), references=references)


def moved_by(x_m: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x_m
    return pose


def test_references_come_in_the_order_of_the_cameras_that_they_are_for() -> None:
    request = shelf()
    assert [r.keyframe_id for r in order_references(request).references] == [11, 13, 12]
    backwards = replace(request, world_T_camera=request.world_T_camera[::-1].copy())
    assert [r.keyframe_id for r in order_references(backwards).references] == [12, 13, 11]
    told = replace(request, tail=a_tail(request))
    assert (
        len(round_inputs(told, Control(np.zeros((3, 64, 64, 3), np.uint8), np.zeros((3, 64, 64), np.uint8))).references)
        == 3
    )


def test_a_reference_that_shares_no_surface_with_the_path_is_left_out() -> None:
    request = shelf()
    away = replace(request.references[2], world_T_camera=moved_by(40.0))
    request = replace(request, references=(*request.references[:2], away))
    assert [r.keyframe_id for r in order_references(request).references] == [11, 12]


def test_where_memory_is_empty_references_stay_as_they_are() -> None:
    request = replace(shelf(), memory=SpatialMemory(0.05).snapshot())
    assert order_references(request).references == request.references


def test_a_clip_of_less_effort_is_made_small_and_enlarged(asked: tuple[ClipRequest, SceneVideo]) -> None:
    request = replace(asked[0], tail=a_tail(asked[0]), effort=Effort(1, 1.0, 32 * 32))
    generator = SpatiaGenerator(TINY)
    sizes = []
    control = generator._control
    generator._control = lambda small, *rest: sizes.append(small.pinhole.size) or control(small, *rest)  # type: ignore[method-assign]
    clip = generator.generate(request, asked[1], RecordingProgress())
    assert sizes == [(32, 32)]
    check_clip(clip, request)


def test_an_effort_sets_steps_and_guidance_unless_the_environment_does() -> None:
    effort = Effort(7, 1.0, 10**6)
    assert TINY.sampling_of(effort) == SamplingConfig(num_steps=7, guidance=1.0)
    assert TINY.sampling_of(None) == TINY.sampling
    fixed = settings_from({"SPATIA_STEPS": "3"})
    assert fixed.sampling_of(effort).num_steps == 3


@pytest.mark.parametrize(("free_gpu", "expected"), [(24e9, "cuda"), (1e6, "cpu")])
def test_the_control_is_drawn_where_the_model_computes_if_it_fits_there(
    free_gpu: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = SpatiaGenerator(TINY)
    monkeypatch.setattr(generator, "_pipeline", SimpleNamespace(_execution_device=torch.device("cuda")))
    monkeypatch.setattr(accounting, "free_memory", lambda device: accounting.FreeMemory(free_gpu, 0.0))
    assert str(generator._drawing_device(1_000_000, (1248, 704))) == expected
