"""Counts live memory and arithmetic of code that runs on the meta device: nothing is computed or allocated."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True, slots=True)
class Tally:
    """What a piece of code needs.

    Attributes:
        peak_bytes: Most memory that its tensors held at one time; weights and inputs do not count.
        flops: Of its matrix products, convolutions and attention; a multiplication and an addition are two.
    """

    peak_bytes: int
    flops: int


def tally(run: Callable[[], Any], owned: Iterable[torch.Tensor] = ()) -> Tally:
    """Run a piece of code and count.

    Attention is taken as fused: it holds its result and no table of all pairs.

    Args:
        run: Works on meta tensors; without gradients.
        owned: Weights and inputs, which are counted elsewhere.
    """
    counter = _Counter(owned)
    with torch.no_grad(), _FusedAttention(counter), counter:
        run()
    return Tally(counter.peak_bytes, counter.flops)


class _Counter(TorchDispatchMode):
    """Follows storages from the operation that makes them to their end."""

    def __init__(self, owned: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.flops = self.peak_bytes = self._now = 0
        self._owned = [tensor.untyped_storage() for tensor in owned]
        self._known = {storage._cdata for storage in self._owned}
        self._watched: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._watch(leaf.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self._now += size
        self.peak_bytes = max(self.peak_bytes, self._now)
        self._watched[key] = weakref.ref(storage, partial(self._forget, key, size))

    def _forget(self, key: int, size: int, _: Any) -> None:
        self._now -= size
        self._known.discard(key)
        self._watched.pop(key, None)


class _FusedAttention(TorchFunctionMode):
    """Stands in for attention: on the meta device it would be taken apart into a table of all pairs of tokens."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
        query, key, value = named["query"], named["key"], named["value"]
        *batch, tokens, channels = query.shape
        pairs = tokens * key.shape[-2] * torch.Size(batch).numel()
        self._counter.flops += 2 * pairs * (channels + value.shape[-1])
        return query.new_empty((*batch, tokens, value.shape[-1]))
