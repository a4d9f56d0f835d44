"""What every generator must do; a test module subclasses ``GeneratorContract`` and makes its generator."""

from dataclasses import replace

import numpy as np
import pytest
from spatia.generator.pipeline import check_clip, new_renderer, render_scene
from spatia.generator.requests import (
    Clip,
    ClipRequest,
    GenerationCancelledError,
    Generator,
    ReferenceFrame,
    SceneVideo,
)
from spatia.tests.fakes import RecordingProgress, make_request, wall_memory
from spatia.world.transforms import look

SIZE = (64, 48)


class _StopAtFirstStep(RecordingProgress):
    def check(self, phase: str, fraction: float) -> None:
        super().check(phase, fraction)
        raise GenerationCancelledError(phase)


def turning_request(num_frames: int = 2) -> ClipRequest:
    """Key views that turn away from a wall, with the photo of the wall as their reference."""
    request = make_request(1, memory=wall_memory(0.02).snapshot(), num_frames=num_frames, size=SIZE)
    depth_m = np.where(np.arange(SIZE[0]) < SIZE[0] // 2, np.ones((SIZE[1], 1)), 0.0).astype(np.float32)
    color = np.where(depth_m[..., None] > 0, (200, 0, 0), (90, 90, 90)).astype(np.uint8)
    photo = ReferenceFrame(color, depth_m, request.pinhole, np.eye(4), True, 1)
    poses = np.stack([look((0.0, 0.0, 0.0), 0.3 * k, 0.0) for k in range(num_frames)])
    return replace(request, world_T_camera=poses, references=(photo,), floor=(0.0, -1.0, 0.0, 1.5))


class GeneratorContract:
    """Inherit and override ``make``."""

    def make(self) -> Generator:
        raise NotImplementedError

    @pytest.fixture
    def asked(self) -> tuple[ClipRequest, SceneVideo]:
        request = turning_request()
        scene = render_scene(request, self.make().rank, new_renderer(), RecordingProgress())
        return request, scene

    def generate(self, asked: tuple[ClipRequest, SceneVideo], progress: RecordingProgress | None = None) -> Clip:
        return self.make().generate(*asked, progress or RecordingProgress())

    def test_the_clip_is_what_was_asked_for(self, asked):
        check_clip(self.generate(asked), asked[0])

    def test_the_same_request_and_seed_give_the_same_clip(self, asked):
        first, second = self.generate(asked), self.generate(asked)
        for name in ("frames", "depth_m", "confidence", "moving", "new_surface"):
            one, other = getattr(first, name), getattr(second, name)
            assert (one is None) == (other is None)
            assert one is None or one.tobytes() == other.tobytes(), name

    def test_asked_stay_as_they_were(self, asked):
        request, scene = asked
        arrays = [scene.color, scene.depth_m, scene.coverage, request.world_T_camera, request.references[0].color]
        before = [a.tobytes() for a in arrays]
        self.generate(asked)
        assert [a.tobytes() for a in arrays] == before

    def test_it_tells_its_steps(self, asked):
        progress = RecordingProgress()
        self.generate(asked, progress)
        assert progress.steps
        assert all(phase and 0.0 <= fraction <= 1.0 for phase, fraction in progress.steps)

    def test_cancellation_passes_through(self, asked):
        with pytest.raises(GenerationCancelledError):
            self.generate(asked, _StopAtFirstStep())

    def test_what_it_adds_has_depth(self, asked):
        clip = self.generate(asked)
        if clip.new_surface is not None and clip.new_surface.any():
            assert clip.depth_m is not None
            assert (clip.depth_m[clip.new_surface] > 0).mean() > 0.9
