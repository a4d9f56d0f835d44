"""Prompts as the network reads them: cleaned, cut to 512 umT5 tokens, zeros after the end."""

import html
import re
from collections.abc import Sequence
from typing import Any

import torch

from .config import PROMPT_SUFFIX, TEXT_TOKENS


def clean_text(text: str) -> str:
    """Mend broken Unicode, resolve HTML entities twice, collapse white space."""
    import ftfy

    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text)))).strip()


def with_suffix(prompt: str) -> str:
    """The prompt with the words that the authors append."""
    return prompt if prompt.endswith(PROMPT_SUFFIX) else prompt + PROMPT_SUFFIX


@torch.no_grad()
def encode_prompts(
    texts: Sequence[str], tokenizer: Any, encoder: Any, *, max_tokens: int = TEXT_TOKENS, device: Any = None
) -> torch.Tensor:
    """Embed texts.

    Args:
        texts: B prompts.
        tokenizer: Of umT5.
        encoder: umT5's encoder.
        max_tokens: Length of every embedding; longer texts are cut.
        device: Of the encoder; where it is if not given.

    Returns:
        (B, max_tokens, text_dim) in the encoder's type; 0 after a text's last token.
    """
    device = encoder.device if device is None else device
    tokens = tokenizer(
        [clean_text(text) for text in texts],
        padding="max_length",
        max_length=max_tokens,
        truncation=True,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    ids, mask = tokens.input_ids.to(device), tokens.attention_mask.to(device)
    embedded = encoder(ids, mask).last_hidden_state
    return embedded * mask[..., None].to(embedded.dtype)
