"""What the model's tests share: they need torch and diffusers, and a tiny network made of random numbers."""

from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="the model's tests need torch: pip install 'spatia[models]'")
pytest.importorskip("diffusers", reason="the model's tests need diffusers: pip install 'spatia[models]'")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads, and much slower on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
