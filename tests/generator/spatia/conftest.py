"""What the model's tests share: they need torch and diffusers, and a tiny network made of random numbers."""

import pytest

pytest.importorskip("torch", reason="the model's tests need torch: pip install 'spatia[models]'")
pytest.importorskip("diffusers", reason="the model's tests need diffusers: pip install 'spatia[models]'")
