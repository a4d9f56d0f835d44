"""Means that make a clip cheaper, each with its price; ``benchmarks/generation.py`` measures both.

Exact but for the order of additions: what stays the same through the steps is computed once, query, key and value are
one product, both passes of guidance are one batch, blocks are compiled. Not exact: with a step cache a step whose first
block changes little takes the others' contribution from the step before (first-block cache, after TeaCache's idea).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Kept:
    """Values that stay the same through all steps of a clip."""

    def __init__(self) -> None:
        self._values: dict[tuple[Any, int], tuple[Any, Any]] = {}

    def of(self, name: Any, source: Any, make: Callable[[], Any]) -> Any:
        """What was made of a source, made if it is the first time. The source is kept, so that it stays itself."""
        key = (name, id(source))
        if key not in self._values:
            self._values[key] = (source, make())
        return self._values[key][1]


def once(kept: Kept | None, name: Any, source: Any, make: Callable[[], Any]) -> Any:
    """``Kept.of``, or made anew where nothing is kept."""
    return make() if kept is None or torch.compiler.is_compiling() else kept.of(name, source, make)


@contextmanager
def keep_conditions(network: Any) -> Iterator[None]:
    """Within it the network keeps what it makes of text, control and positions, by identity of these tensors."""
    kept = Kept()
    attentions = [block.attn2 for block in (*network.blocks, *network.vace_blocks)]
    try:
        for part in (network, *attentions):
            part.kept = kept
        yield
    finally:
        for part in (network, *attentions):
            part.kept = None


class StepCache:
    """Contribution of all blocks after the first, of the step before; one for each pass of a clip.

    Args:
        threshold: Mean relative change of the first block's contribution below which the others' is taken over.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.num_steps = self.num_cached = 0
        self._passes: dict[int, tuple[Any, torch.Tensor, torch.Tensor]] = {}

    def rest(self, of: Any, first: torch.Tensor) -> torch.Tensor | None:
        """The others' contribution if the first block's is nearly as it was when they last ran.

        Args:
            of: Tells the passes apart: the text's tokens.
            first: (B, T, D) contribution of the first block.
        """
        self.num_steps += 1
        known = self._passes.get(id(of))
        if known is None:
            return None
        change = (first - known[1]).abs().mean() / known[1].abs().mean()
        if float(change) >= self.threshold:
            return None
        self.num_cached += 1
        return known[2]

    def keep(self, of: Any, first: torch.Tensor, rest: torch.Tensor) -> None:
        """Keep what the blocks contributed; see ``rest``."""
        self._passes[id(of)] = (of, first, rest)


@contextmanager
def cache_steps(network: Any, threshold: float) -> Iterator[StepCache | None]:
    """Within it the network caches steps; a threshold of 0 does nothing."""
    cache = StepCache(threshold) if threshold > 0 else None
    network.step_cache = cache
    try:
        yield cache
    finally:
        network.step_cache = None


@torch.no_grad()
def fuse_qkv(network: Any) -> None:
    """Make query, key and value of self-attention one product; call it again when weights have changed.

    The three layers' weights become parts of one, so that no memory is lost.

    Raises:
        ValueError: A layer is wrapped, as by a LoRA at run time, or its weights are in fp8.
    """
    for block in (*network.blocks, *network.vace_blocks):
        attn = block.attn1
        layers = (attn.to_q, attn.to_k, attn.to_v)
        if any(type(layer) is not nn.Linear or layer.weight.itemsize < 2 for layer in layers):
            raise ValueError("fused q, k, v: expected plain layers of 16 or 32 bits; fuse LoRA first and use no fp8")
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])
        for layer, part, offset in zip(layers, weight.chunk(3), bias.chunk(3), strict=True):
            layer.weight.data, layer.bias.data = part, offset
        attn.qkv = (weight, bias)


def split_qkv(network: Any) -> None:
    """Compute query, key and value apart again."""
    for block in (*network.blocks, *network.vace_blocks):
        block.attn1.qkv = None


def compile_blocks(network: Any) -> None:
    """Compile the blocks, each kind once; the first clip of each size takes a minute longer."""
    network.compile_repeated_blocks(dynamic=False)
