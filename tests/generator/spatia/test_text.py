"""Prompts are cleaned, cut and padded as the network was trained to read them."""

import pytest
import torch
from spatia.generator.spatia.config import NEGATIVE_PROMPT, PROMPT_SUFFIX
from spatia.generator.spatia.text import clean_text, encode_prompts, with_suffix
from spatia.generator.spatia.tiny import tiny_pipeline


def test_text_is_mended_unescaped_twice_and_collapsed() -> None:
    assert clean_text("  a\n\tb &amp;lt;c&amp;gt; ") == "a b <c>"
    assert clean_text("cafÃ©") == "café"


def test_the_closing_words_are_appended_once() -> None:
    assert with_suffix("a room") == "a room 4K, realistic, high quality, HDR."
    assert with_suffix(with_suffix("a room")) == "a room" + PROMPT_SUFFIX


def test_the_negative_prompt_has_the_authors_terms() -> None:
    terms = NEGATIVE_PROMPT.split(", ")
    assert terms[0].startswith("画面切换")
    assert len(terms[0].split("\uff0c")) == 6
    assert terms[-1] == "画面发灰"
    assert len(terms) == 39


@pytest.mark.parametrize("text", ["a room", "x" * 500])
def test_embeddings_after_the_end_are_zero(text: str) -> None:
    pipeline = tiny_pipeline()
    embedded = encode_prompts([text], pipeline.tokenizer, pipeline.text_encoder, max_tokens=32)
    length = min(32, len(text.encode()) + 1)
    assert embedded.shape == (1, 32, 32)
    assert (embedded[0, :length].abs().sum(-1) > 0).all()
    assert not embedded[0, length:].any()


def test_padding_does_not_change_the_text() -> None:
    pipeline = tiny_pipeline()
    short = encode_prompts(["a room"], pipeline.tokenizer, pipeline.text_encoder, max_tokens=7)
    long = encode_prompts(["a room"], pipeline.tokenizer, pipeline.text_encoder, max_tokens=64)
    torch.testing.assert_close(long[:, :7], short)
