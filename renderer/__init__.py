"""Pictures of the memory: on screen, offscreen, and as the conditioning of a generator."""
