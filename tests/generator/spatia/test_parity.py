"""Velocities agree with those of the authors' code, computed on tiny random networks in float32.

Every ``X.io`` / ``X.dit`` / ``X.vace`` in the folder ``SPATIA_PARITY_DIR`` is checked, whatever X is.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from spatia.generator.spatia.names import from_original
from spatia.generator.spatia.transformer import FLOAT32_PARTS, SpatiaTransformer3DModel

pytestmark = pytest.mark.parity

FOLDER = Path(os.environ.get("SPATIA_PARITY_DIR", Path(__file__).parents[4] / "shared/data/parity"))
CASES = sorted(path.name.removesuffix(".io.safetensors") for path in FOLDER.glob("*.io.safetensors"))
MAX_RELATIVE_ERROR = 1e-4


@pytest.fixture(params=CASES or ["none"])
def case(request: pytest.FixtureRequest) -> str:
    if not CASES:
        pytest.skip(f"no X.io.safetensors in {FOLDER}: set SPATIA_PARITY_DIR")
    return request.param


def read_case(case: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(FOLDER / f"{case}.io.safetensors", "pt") as file:
        return json.loads(file.metadata()["config"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def network_of(case: str, config: dict[str, Any], control_channels: int) -> SpatiaTransformer3DModel:
    network = SpatiaTransformer3DModel(
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["head_dim"],
        in_channels=config["latent_channels"],
        out_channels=config["latent_channels"],
        text_dim=config["text_dim"],
        ffn_dim=config["ffn_dim"],
        num_layers=config["num_layers"],
        control_layers=tuple(config["vace_layers"]),
        control_channels=control_channels,
    )
    tensors = load_file(FOLDER / f"{case}.dit.safetensors") | load_file(FOLDER / f"{case}.vace.safetensors")
    named = {from_original(name.removeprefix("dit.")): tensor for name, tensor in tensors.items()}
    network.load_state_dict(named, strict=True)
    return network.eval()


def frame_timesteps(config: dict[str, Any], num_frames: int) -> torch.Tensor:
    """(1, R + F): clean frames at 0. Without references and history, the first frame is the image."""
    timestep = torch.full((1, num_frames), float(config["timestep"]))
    timestep[:, : config["num_ref"] + config["num_hist_latents"] or 1] = 0
    return timestep


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@torch.no_grad()
def test_velocity_agrees_with_the_authors(case: str) -> None:
    config, tensors = read_case(case)
    network = network_of(case, config, tensors["control"].shape[1])
    velocity = network(
        tensors["latents"],
        frame_timesteps(config, tensors["latents"].shape[2]),
        tensors["context"],
        tensors["control"],
        config["num_ref"],
        config["control_scale"],
    ).sample
    clip = slice(config["num_ref"], None)
    error = relative_error(velocity[:, :, clip], tensors["velocity"][:, :, clip])
    assert error < MAX_RELATIVE_ERROR, f"{case}: relative error {error:.2e}"


@torch.no_grad()
def test_timesteps_for_every_token_are_the_frames_repeated(case: str) -> None:
    config, tensors = read_case(case)
    network = network_of(case, config, tensors["control"].shape[1])
    frames = frame_timesteps(config, tensors["latents"].shape[2])
    tokens = frames.repeat_interleave(tensors["latents"].shape[3] * tensors["latents"].shape[4] // 4, dim=1)
    arguments = (tensors["context"], tensors["control"], config["num_ref"], config["control_scale"])
    torch.testing.assert_close(
        network(tensors["latents"], tokens, *arguments).sample, network(tensors["latents"], frames, *arguments).sample
    )


@torch.no_grad()
def test_in_bfloat16_it_drifts_by_less_than_a_hundredth_and_less_than_with_a_bfloat16_stream(case: str) -> None:
    config, tensors = read_case(case)
    network = network_of(case, config, tensors["control"].shape[1])
    for name, parameter in network.named_parameters():
        if not any(part in name for part in FLOAT32_PARTS):
            parameter.data = parameter.data.to(torch.bfloat16)
    errors = []
    clip = slice(config["num_ref"], None)
    for network.float32_stream in (True, False):
        velocity = network(
            tensors["latents"],
            frame_timesteps(config, tensors["latents"].shape[2]),
            tensors["context"],
            tensors["control"],
            config["num_ref"],
            config["control_scale"],
        ).sample
        errors.append(relative_error(velocity[:, :, clip], tensors["velocity"][:, :, clip]))
    assert errors[0] < 1e-2
    assert errors[0] < errors[1]
