"""The model of the Spatia paper: network, weights, sampling and the generator that puts it behind the queue.

Nothing here is imported by the core; only ``config``, ``errors``, ``generator`` and ``rounds`` do without torch.
"""
