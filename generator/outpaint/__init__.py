"""The generator that needs no weights: it continues what is known."""
