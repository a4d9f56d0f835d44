"""A pipeline of random weights, small enough for a CPU: the whole way runs in seconds, the pictures mean nothing."""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from .config import PRESETS
from .pipeline import SpatiaPipeline
from .sampling import make_scheduler
from .transformer import SpatiaTransformer3DModel

_SPECIAL = ("<pad>", "</s>", "<unk>")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are bytes; it needs no file."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def tiny_pipeline(seed: int = 0) -> SpatiaPipeline:
    """The ``tiny`` preset with random weights; the same seed gives the same ones. Leaves torch's generator alone."""
    sizes = PRESETS["tiny"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpatiaPipeline(
            tokenizer=tiny_tokenizer(),
            text_encoder=UMT5EncoderModel(UMT5Config(**sizes.text.as_arguments())).eval(),
            vae=AutoencoderKLWan(**sizes.vae.as_arguments()).eval(),
            transformer=SpatiaTransformer3DModel(**sizes.network.as_arguments()).eval(),
            scheduler=make_scheduler(),
        )
