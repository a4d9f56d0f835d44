"""Any diffusers image-to-video pipeline as a generator: what it is given, where its clips are placed, what it says."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from spatia.generator.errors import MissingExtraError, UnusableModelError
from spatia.generator.ledger import Outcome
from spatia.generator.pipeline import check_clip, lift, new_renderer, render_scene
from spatia.generator.queue import GenerationQueue
from spatia.generator.registry import check_generator_name, generator_class
from spatia.generator.requests import ClipRequest, Effort, ReferenceFrame, SceneVideo
from spatia.input.intents import Intent
from spatia.runtime.headless import session_facts
from spatia.runtime.session import Session
from spatia.tests.contracts.generator_contract import turning_request
from spatia.tests.fakes import RecordingProgress, make_request
from spatia.tests.runtime.tiny import SIZE, tiny_world
from spatia.world.camera import Pinhole
from spatia.world.slam.placement import Anchor, place_frames

needs_models = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "diffusers", "transformers")),
    reason="needs torch, diffusers and transformers: pip install 'spatia[models]'",
)
DEPTH_M = 2.0
WIDE = Pinhole.from_fov(320, 240, 1.2)


def texture() -> np.ndarray:
    """(240, 640, 3) uint8 with corners that are told apart."""
    small = np.random.default_rng(3).integers(0, 256, (60, 160, 3), dtype=np.uint8)
    return cv2.resize(small, (640, 240), interpolation=cv2.INTER_CUBIC)


def shifted(pixels: int) -> np.ndarray:
    """What a camera sees of the texture, a wall 2 m away, after it moved to the right."""
    return np.ascontiguousarray(texture()[:, pixels : pixels + 320])


def moved_by(x_m: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x_m
    return pose


def wall_anchor() -> Anchor:
    return Anchor(shifted(0), np.full((240, 320), DEPTH_M, np.float32), WIDE, np.eye(4))


def test_frames_are_placed_by_what_they_share_with_a_known_view() -> None:
    shifts = range(0, 45, 5)
    placed = place_frames(np.stack([shifted(s) for s in shifts]), WIDE, [wall_anchor()])
    assert placed.reason == ""
    truth = np.stack([moved_by(s * DEPTH_M / WIDE.fx) for s in shifts])
    np.testing.assert_allclose(placed.world_T_camera[:, :3, 3], truth[:, :3, 3], atol=0.01)


def test_frames_between_two_that_were_found_move_evenly() -> None:
    frames = np.stack([shifted(s) for s in (0, 90, 90, 90, 40)])
    x = place_frames(frames, WIDE, [wall_anchor()]).world_T_camera[:, 0, 3]
    np.testing.assert_allclose(np.diff(x), 10 * DEPTH_M / WIDE.fx, atol=0.004)


def test_frames_that_show_nothing_known_are_not_placed_and_say_why() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 240, 320, 3), dtype=np.uint8)
    placed = place_frames(noise, WIDE, [wall_anchor()])
    assert placed.reason == "cannot be placed: 0 of 2 frames show what memory knows"


class Sliding:
    """A stand-in of a pipeline: its clip slides along the texture."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __call__(
        self,
        image: Any,
        prompt: str,
        num_frames: int = 5,
        num_inference_steps: int = 50,
        generator: Any = None,
        output_type: str = "pil",
        callback_on_step_end: Any = None,
    ) -> Any:
        self.asked = dict(locals())
        callback_on_step_end(self, 0, 0, {})
        return SimpleNamespace(frames=[np.stack([shifted(5 * k) for k in range(num_frames)]) / 255.0])


@pytest.fixture
def sliding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, Sliding]:
    pytest.importorskip("torch", reason="the adapter needs torch")
    (tmp_path / "model_index.json").write_text("{}")
    generator, pipeline = generator_class(f"diffusers:{tmp_path}")(str(tmp_path)), Sliding()  # type: ignore[call-arg]
    monkeypatch.setattr(generator, "_pipeline", pipeline)
    return generator, pipeline


def wall_request(num_frames: int = 7) -> tuple[ClipRequest, SceneVideo]:
    request = make_request(1, num_frames=num_frames, size=(320, 240), prompt="a wall")
    photo = ReferenceFrame(shifted(0), np.full((240, 320), DEPTH_M, np.float32), WIDE, np.eye(4), True, 1)
    shape = (num_frames, 240, 320)
    scene = SceneVideo(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    return replace(request, pinhole=WIDE, references=(photo,), effort=Effort(3, 1.0, 10**6)), scene


def test_a_clip_comes_with_the_poses_that_were_found(sliding: tuple[Any, Sliding]) -> None:
    request, scene = wall_request()
    clip = sliding[0].generate(request, scene, RecordingProgress())
    check_clip(clip, request)
    assert clip.unplaced == ""
    assert clip.depth_m is None
    looked_for = clip.world_T_camera[[0, 4, 6], 0, 3]
    np.testing.assert_allclose(looked_for, np.array([0, 25, 40]) * DEPTH_M / WIDE.fx, atol=0.01)


def test_the_pipeline_gets_what_it_takes_and_nothing_else(sliding: tuple[Any, Sliding]) -> None:
    request, scene = wall_request()
    progress = RecordingProgress()
    sliding[0].generate(request, scene, progress)
    asked = sliding[1].asked
    assert (asked["prompt"], asked["num_frames"], asked["num_inference_steps"]) == ("a wall", 9, 3)
    assert asked["image"].size == (320, 224)
    assert [phase for phase, _ in progress.steps] == ["load", "denoise", "denoise", "place"]


def test_a_clip_that_cannot_be_placed_is_rejected_with_the_reason() -> None:
    from spatia.generator.requests import Clip

    request, scene = wall_request()
    clip = Clip(scene.color, world_T_camera=request.world_T_camera.copy(), unplaced="cannot be placed: 0 of 3")
    update = lift(clip, request, 32)
    assert update.report.rejected == "cannot be placed: 0 of 3"
    assert len(update.points) == 0
    assert not update.keyframes


def test_a_name_with_a_source_is_known_and_imports_no_torch() -> None:
    check_generator_name("diffusers:owner/name")
    code = (
        "import sys; from spatia.generator.registry import generator_class as g; k = g('diffusers:owner/name');"
        "sys.exit(k.follows_poses or any(m in sys.modules for m in ('torch', 'diffusers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_models
def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for source in (str(tmp_path), "nowhere", str(tmp_path / "a" / "b" / "c")):
        with pytest.raises(MissingExtraError):
            generator_class("diffusers:x")(source)  # type: ignore[call-arg]
    request, scene = wall_request()
    with pytest.raises(MissingExtraError, match="hf download owner/name"):
        generator_class("diffusers:x")("owner/name").generate(request, scene, RecordingProgress())  # type: ignore[call-arg]


def test_the_walk_says_that_poses_are_ignored() -> None:
    with Session(tiny_world(), "diffusers:owner/name", wait=True, size=SIZE) as session:
        assert "diffusers:owner/name follows no path" in session.status.notice
        facts = session_facts(session, "walk", SIZE, 1.0)
    assert "follows no path" in json.loads(json.dumps(facts["generator_note"]))
    with Session(tiny_world(), "none", wait=True, size=SIZE) as session:
        session.step(Intent())
        assert session_facts(session, "walk", SIZE, 1.0)["generator_note"] == ""


@needs_models
def test_a_real_pipeline_makes_a_clip_and_noise_is_rejected(tmp_path: Path) -> None:
    save_tiny_wan(tmp_path)
    request = turning_request(5)
    request = replace(request, effort=Effort(1, 1.0, 10**6))
    with GenerationQueue(f"diffusers:{tmp_path}", backend="inline") as queue:
        queue.submit(request)
        (ended,) = queue.wait(60.0)
    assert ended.outcome is Outcome.DONE, ended.reason
    assert ended.result.frames.shape == (5, 48, 64, 3)
    assert ended.result.update.report.rejected.startswith("cannot be placed")


@needs_models
def test_a_pipeline_without_an_image_is_refused(tmp_path: Path) -> None:
    from diffusers import WanPipeline

    WanPipeline(**wan_parts()).save_pretrained(tmp_path)
    generator = generator_class("diffusers:x")(str(tmp_path))  # type: ignore[call-arg]
    scene = render_scene(turning_request(2), 32, new_renderer(), RecordingProgress())
    with pytest.raises(UnusableModelError, match="takes an image"):
        generator.generate(turning_request(2), scene, RecordingProgress())


def wan_parts() -> dict[str, Any]:
    from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
    from spatia.generator.spatia.tiny import tiny_pipeline

    tiny = tiny_pipeline()
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=8,
        out_channels=8,
        text_dim=32,
        ffn_dim=64,
        num_layers=1,
    )
    return {
        "tokenizer": tiny.tokenizer,
        "text_encoder": tiny.text_encoder,
        "vae": tiny.vae,
        "transformer": transformer,
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
    }


def save_tiny_wan(folder: Path) -> None:
    """A Wan2.2 image-to-video pipeline of random weights."""
    from diffusers import WanImageToVideoPipeline

    WanImageToVideoPipeline(**wan_parts(), expand_timesteps=True).save_pretrained(folder)
