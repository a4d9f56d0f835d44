"""Adapters to learned models: imported only when they are chosen, weights only from local folders and caches."""
