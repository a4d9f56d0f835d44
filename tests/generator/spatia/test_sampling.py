"""The schedule equals the authors', the solver equals its formulas, and clean latents stay clean."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from spatia.generator.spatia.config import SamplingConfig
from spatia.generator.spatia.sampling import CleanLatents, guided, make_scheduler, sample, set_steps

TIMESTEPS = (
    *(999, 994, 989, 983, 978, 972, 965, 959, 952, 944, 937, 929, 920, 911, 902, 892, 882, 870, 859, 846),
    *(833, 818, 803, 786, 768, 749, 728, 706, 681, 654, 624, 591, 555, 514, 468, 416, 356, 288, 208, 113),
)
REFERENCE = Path(__file__).parents[4] / "shared/data/parity/sigmas_40_shift5.json"


def test_forty_steps_have_the_authors_timesteps() -> None:
    assert tuple(set_steps(make_scheduler(), 40).tolist()) == TIMESTEPS


def test_forty_steps_have_the_authors_sigmas() -> None:
    if not REFERENCE.is_file():
        pytest.skip(f"no {REFERENCE}")
    scheduler = make_scheduler()
    set_steps(scheduler, 40)
    wanted = json.loads(REFERENCE.read_text())
    assert np.round(scheduler.sigmas.double().numpy(), 7).tolist() == wanted["sigmas"]
    assert scheduler.timesteps.tolist() == wanted["timesteps"]


def test_an_unknown_sampler_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="one of uni_pc, euler"):
        make_scheduler("ddim")


def curve(latents: np.ndarray, sigma: float) -> np.ndarray:
    """A velocity that bends, so that the solver's order matters."""
    return np.sin(latents) + sigma * latents


def unipc_oracle(noise: np.ndarray, sigmas: list[float]) -> np.ndarray:
    """UniPC of order 2 with B(h) = e^h - 1 on predicted data, corrector on, last step of order 1 (arXiv:2302.04867)."""
    x, previous, last = noise.astype(np.float64), [], None
    for i, sigma in enumerate(sigmas[:-1]):
        data = x - sigma * curve(x, sigma)
        if last is not None:
            x = corrected(last, data, previous, sigmas, i)
        previous = [*previous, data]
        last = x
        order = min(2, len(sigmas) - 1 - i, i + 1)
        x = predicted(x, previous, sigmas, i, order)
    return x


def lam(sigma: float) -> float:
    return math.log(1.0 - sigma) - math.log(sigma) if sigma > 0 else math.inf


def predicted(x: np.ndarray, data: list[np.ndarray], sigmas: list[float], i: int, order: int) -> np.ndarray:
    s, t = sigmas[i], sigmas[i + 1]
    h = lam(t) - lam(s)
    x1 = t / s * x - (1 - t) * math.expm1(-h) * data[i]
    if order == 1:
        return x1
    r = (lam(sigmas[i - 1]) - lam(s)) / h
    slope = (data[i - 1] - data[i]) / r
    return x1 - (1 - t) * math.expm1(-h) * 0.5 * slope


def corrected(x: np.ndarray, data: np.ndarray, previous: list[np.ndarray], sigmas: list[float], i: int) -> np.ndarray:
    s, t = sigmas[i - 1], sigmas[i]
    hh = -(lam(t) - lam(s))
    x1 = t / s * x - (1 - t) * math.expm1(hh) * previous[-1]
    change = data - previous[-1]
    if i == 1:
        return x1 - (1 - t) * math.expm1(hh) * 0.5 * change
    r = (lam(sigmas[i - 2]) - lam(s)) / -hh
    slope = (previous[-2] - previous[-1]) / r
    phi, wanted, factorial = math.expm1(hh) / hh - 1, [], 1
    for k in (1, 2):
        wanted.append(phi * factorial / math.expm1(hh))
        factorial *= k + 1
        phi = phi / hh - 1 / factorial
    rho = np.linalg.solve(np.array([[1.0, 1.0], [r, 1.0]]), np.array(wanted))
    return x1 - (1 - t) * math.expm1(hh) * (rho[0] * slope + rho[1] * change)


def test_unipc_follows_its_formulas() -> None:
    noise = torch.randn(1, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scheduler = make_scheduler()
    set_steps(scheduler, 8)
    sigmas = [float(s) for s in scheduler.sigmas]
    wanted = unipc_oracle(noise.numpy(), sigmas)
    steps = iter(sigmas)

    def velocity(latents: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(curve(latents.numpy(), next(steps)))

    got = sample(velocity, noise, CleanLatents(), scheduler=make_scheduler(), config=SamplingConfig(num_steps=8))
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_euler_walks_straight_to_zero_noise() -> None:
    noise, target = torch.ones(1, 1, 1, 1, 1), 3.0

    def velocity(latents: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.full_like(latents, 1.0 - target)

    scheduler = make_scheduler("euler")
    got = sample(velocity, noise, CleanLatents(), scheduler=scheduler, config=SamplingConfig(num_steps=5))
    torch.testing.assert_close(got, torch.full_like(noise, target))
    assert float(scheduler.timesteps[0]) == 1000.0


@pytest.mark.parametrize("sampler", ["uni_pc", "euler"])
def test_clean_latents_are_the_same_before_every_step_and_at_the_end(sampler: str) -> None:
    references, history = torch.full((1, 1, 2, 1, 1), 7.0), torch.full((1, 1, 3, 1, 1), 5.0)
    seen: list[torch.Tensor] = []

    def velocity(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        seen.append(torch.cat((latents.flatten(), timesteps.float())))
        return torch.full_like(latents, 9.0)

    clean = CleanLatents(references, history)
    got = sample(
        velocity,
        torch.zeros(1, 1, 5, 1, 1),
        clean,
        scheduler=make_scheduler(sampler),
        config=SamplingConfig(num_steps=4),
    )
    assert len(seen) == 4
    for step in seen:
        assert step[:5].tolist() == [7, 7, 5, 5, 5]
        assert step[7:12].tolist() == [0] * 5
        assert (step[12:] > 0).all()
    assert got.shape[2] == 5
    assert got[:, :, :3].unique().tolist() == [5.0]


def test_without_anything_known_every_frame_has_the_timestep() -> None:
    assert CleanLatents().timesteps(torch.tensor(42), 3).tolist() == [42, 42, 42]


def test_history_without_references_alone_is_at_zero() -> None:
    clean = CleanLatents(None, torch.zeros(1, 1, 3, 1, 1))
    assert clean.timesteps(torch.tensor(42), 5).tolist() == [0, 0, 0, 42, 42]


def test_guidance_goes_from_the_negative_to_beyond_the_positive() -> None:
    positive, negative = torch.tensor(3.0), torch.tensor(1.0)
    assert float(guided(positive, negative, 3.5)) == 1.0 + 3.5 * 2.0
    assert float(guided(positive, None, 3.5)) == 3.0


def test_what_a_step_gives_back_replaces_the_latents() -> None:
    got = sample(
        lambda latents, _: torch.zeros_like(latents),
        torch.zeros(1, 1, 1, 1, 1),
        CleanLatents(),
        scheduler=make_scheduler("euler"),
        config=SamplingConfig(num_steps=2),
        on_step=lambda index, _, latents: latents + 1.0 if index == 1 else None,
    )
    assert float(got) == 1.0
