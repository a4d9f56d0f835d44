"""Pictures become latents and come back; the score is inverted and stays in [0, 1]."""

import numpy as np
import pytest
import torch
from spatia.generator.spatia import vae as vae_module
from spatia.generator.spatia.pipeline import SpatiaPipeline
from spatia.generator.spatia.tiny import tiny_pipeline
from spatia.generator.spatia.vae import decode, decode_pieces, encode, encode_each, frames_of, pixels_of, score_of


@pytest.fixture(scope="module")
def pipeline() -> SpatiaPipeline:
    return tiny_pipeline()


def some_frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 64, 3), dtype=np.uint8)


def test_pixels_go_from_minus_one_to_one_and_back() -> None:
    frames = some_frames(2)
    frames[0, 0, 0], frames[0, 0, 1] = 0, 255
    pixels = pixels_of(frames)
    assert (float(pixels.min()), float(pixels.max())) == (-1.0, 1.0)
    np.testing.assert_array_equal(frames_of(pixels), frames)


def test_score_is_one_where_memory_is_empty_and_zero_where_it_has_points() -> None:
    score = score_of(np.array([[[0.0, 0.5, 1.0]]], np.float32))
    assert score.shape == (1, 3, 1, 1, 3)
    assert score[0, 0, 0, 0].tolist() == pytest.approx([1.0, (255 - 127) / 255, 0.0])
    assert torch.equal(score[0, 0], score[0, 2])


def test_score_of_eight_bits_is_the_same_given_as_shares() -> None:
    eight = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert torch.equal(score_of(eight), score_of(eight / np.float32(255.0)))
    assert torch.equal(score_of(eight)[0, 0, 0].flatten() * 255, 255 - torch.arange(256.0))


def test_control_is_the_scene_then_the_score(pipeline: SpatiaPipeline) -> None:
    scene, coverage = some_frames(5), np.random.default_rng(1).random((5, 32, 64), np.float32)
    control = pipeline.encode_control(scene, coverage, 5, (64, 32))
    assert control.shape == (1, 16, 2, 2, 4)
    torch.testing.assert_close(control[:, :8], encode(pipeline.vae, pixels_of(scene)))
    torch.testing.assert_close(control[:, 8:], encode(pipeline.vae, score_of(coverage)))


def test_what_is_missing_of_the_control_is_grey_and_empty(pipeline: SpatiaPipeline) -> None:
    scene, coverage = some_frames(5), np.ones((5, 32, 64), np.float32)
    grey = pipeline.encode_control(None, coverage, 5, (64, 32))
    torch.testing.assert_close(grey[:, :8], encode(pipeline.vae, torch.zeros(1, 3, 5, 32, 64)))
    empty = pipeline.encode_control(scene, None, 5, (64, 32))
    torch.testing.assert_close(empty[:, 8:], encode(pipeline.vae, torch.ones(1, 3, 5, 32, 64)))
    assert pipeline.encode_control(None, None, 5, (64, 32)) is None


def test_latents_are_the_normed_mean(pipeline: SpatiaPipeline) -> None:
    pixels = pixels_of(some_frames(5))
    with torch.no_grad():
        mean = pipeline.vae.encode(pixels).latent_dist.mean
    shift = torch.tensor(pipeline.vae.config.latents_mean).view(1, -1, 1, 1, 1)
    scale = torch.tensor(pipeline.vae.config.latents_std).view(1, -1, 1, 1, 1)
    torch.testing.assert_close(encode(pipeline.vae, pixels), (mean - shift) / scale)


def test_every_reference_is_encoded_alone(pipeline: SpatiaPipeline) -> None:
    pictures = [pixels_of(some_frames(1, seed)) for seed in range(3)]
    latents = encode_each(pipeline.vae, pictures)
    assert latents.shape[2] == 3
    torch.testing.assert_close(latents[:, :, 2:], encode(pipeline.vae, pictures[2]))


def test_pieces_put_together_are_the_whole(pipeline: SpatiaPipeline) -> None:
    latents = torch.randn(1, 8, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    pieces = list(decode_pieces(pipeline.vae, latents))
    assert [piece.shape[2] for piece in pieces] == [1, 4, 4]
    torch.testing.assert_close(torch.cat(pieces, dim=2), decode(pipeline.vae, latents))


def test_after_an_iteration_that_was_given_up_the_vae_is_clean(pipeline: SpatiaPipeline) -> None:
    latents = torch.randn(1, 8, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    wanted = decode(pipeline.vae, latents)
    begun = decode_pieces(pipeline.vae, latents)
    next(begun)
    begun.close()
    assert all(part is None for part in pipeline.vae._feat_map)
    torch.testing.assert_close(decode(pipeline.vae, latents), wanted)


def test_latents_are_float32_whatever_the_vae_computes_in() -> None:
    vae = tiny_pipeline().vae.to(torch.bfloat16)
    assert vae_module.encode(vae, pixels_of(some_frames(1))).dtype == torch.float32
