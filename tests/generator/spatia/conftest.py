"""What the model's tests share. Without torch, diffusers and transformers none of them is collected."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

MISSING = [name for name in ("torch", "diffusers", "transformers", "peft", "ftfy") if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str:
    if MISSING:
        return f"no tests of the spatia model: {', '.join(MISSING)} not installed, pip install 'spatia[models]'"
    return ""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads, and much slower on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
